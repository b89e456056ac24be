"""`actorflow validate`: what is wrong with workflow files, and what they need."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from actorflow.cli.faults import problem_documents, problem_text
from actorflow.cli.files import load_workflow
from actorflow.cli.layout import counted
from actorflow.cli.screen import Screen, as_line
from actorflow.cli.statuses import UNREADABLE, Exit
from actorflow.errors import Problem, SpecError
from actorflow.spec.model import WorkflowSpec


@frozen
class Checked:
    """A file that was looked at; `spec` is None for a bad one."""

    file: str
    spec: WorkflowSpec | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def validate(screen: Screen, files: Sequence[str]) -> int:
    """Check all files; the status is that of the worst: bad before missing."""
    checked = [_check(file) for file in files]
    if screen.is_json:
        screen.document({"files": [_document(each) for each in checked]})
    else:
        for each in checked:
            _show(screen, each)
    codes = [each.problems[0].code for each in checked if each.problems]
    if any(code not in UNREADABLE for code in codes):
        return Exit.BAD_FILE
    return Exit.NOT_FOUND if codes else Exit.SUCCESS


def unbound_agents(spec: WorkflowSpec) -> tuple[str, ...]:
    """The agents for which the file declares no runner: who runs it has to bind them."""
    declared = spec.agents
    return tuple(name for name in spec.agent_names if name not in declared or declared[name].runner is None)


def _check(file: str) -> Checked:
    try:
        loaded = load_workflow(file)
    except SpecError as error:
        return Checked(file, None, error.problems, ())
    names = unbound_agents(loaded.spec)
    if not names:
        return Checked(file, loaded.spec, (), loaded.warnings)
    message = f"agents without a runner: {', '.join(names)}"
    unbound = Problem("W110", message, file, hint="bind each with --agent NAME=RUNNER")
    return Checked(file, loaded.spec, (), (*loaded.warnings, unbound))


def _document(checked: Checked) -> dict[str, object]:
    return {
        "file": checked.file,
        "ok": checked.spec is not None,
        "problems": problem_documents(checked.problems),
        "warnings": problem_documents(checked.warnings),
    }


def _show(screen: Screen, checked: Checked) -> None:
    if checked.spec is None:
        screen.error(problem_text(checked.problems))
        return
    if checked.warnings:
        screen.note(problem_text(checked.warnings))
    names = unbound_agents(checked.spec)
    needs = f", agents to bind: {', '.join(names)}" if names else ""
    screen.result(as_line(f"ok: {checked.file}: {counted(len(checked.spec.tasks), 'task')}{needs}"))
