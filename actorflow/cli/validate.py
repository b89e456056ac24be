"""`actorflow validate`: what is wrong with workflow files, and what the good ones need."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from attrs import asdict, evolve, frozen

from actorflow.cli.allowances import Allowances, guard_for, terms_for
from actorflow.cli.faults import problem_documents, problem_text
from actorflow.cli.files import load_workflow
from actorflow.cli.layout import columns, counted
from actorflow.cli.reach import Reach, reaches
from actorflow.cli.screen import Screen, as_line
from actorflow.cli.settings import Settings
from actorflow.cli.statuses import UNREADABLE, Exit
from actorflow.errors import Problem, SpecError
from actorflow.spec.entries import chosen
from actorflow.spec.model import Trust, WorkflowSpec
from actorflow.spec.needs import Needs, needs
from actorflow.spec.short_secrets import short_secrets
from actorflow.spec.unsupported import unsupported


@frozen
class Good:
    """A file that loads."""

    file: str
    spec: WorkflowSpec
    needs: Needs
    warnings: tuple[Problem, ...]
    not_yet: tuple[Problem, ...]  #: what a run of it would be refused for
    reaches: tuple[Reach, ...]


@frozen
class Bad:
    """A file that does not load."""

    file: str
    problems: tuple[Problem, ...]


def validate(settings: Settings, files: Sequence[str], trust: Trust, given: Allowances) -> int:
    """Check all files, each by the actorflow.toml beside it; the status is that of the worst: bad before missing.

    Raises:
        Elsewhere: a configuration is wrong.
    """
    screen = settings.screen
    checked = [_check(settings.for_file(file, trust), file, trust, given) for file in files]
    if screen.is_json:
        screen.document({"files": [_document(each) for each in checked]})
    else:
        for each in checked:
            _show(screen, each)
    codes = [each.problems[0].code for each in checked if isinstance(each, Bad)]
    if any(code not in UNREADABLE for code in codes):
        return Exit.BAD_FILE
    return Exit.NOT_FOUND if codes else Exit.SUCCESS


def _check(settings: Settings, file: str, trust: Trust, given: Allowances) -> Good | Bad:
    terms, guard = terms_for(settings, trust, given), guard_for(settings, given)
    try:
        loaded = load_workflow(file, terms)
    except SpecError as error:
        return Bad(file, error.problems)
    needed, warnings = needs(loaded.spec), (*loaded.warnings, *short_secrets(loaded.spec, file, os.environ))
    unbound_agents = _unbound(settings, needed)
    if unbound_agents:
        message = f"agents without a runner: {', '.join(unbound_agents)}"
        unbound = Problem("W110", message, file, hint="bind each with --agent NAME=RUNNER")
        warnings = (*warnings, unbound)
    needed = evolve(needed, unbound_agents=unbound_agents)
    not_yet = _not_yet(loaded.spec, file)
    return Good(file, loaded.spec, needed, warnings, not_yet, reaches(loaded.spec, guard))


def _unbound(settings: Settings, needed: Needs) -> tuple[str, ...]:
    """The agents that neither the file nor the configuration has a runner for."""
    bound = settings.configuration.agents
    return () if "*" in bound else tuple(name for name in needed.unbound_agents if name not in bound)


def _not_yet(spec: WorkflowSpec, file: str) -> tuple[Problem, ...]:
    """What a run cannot do; of several workflows, what a run of any of them cannot."""
    ways = [chosen(spec, entry.name) for entry in spec.entries] or [spec]
    found = dict.fromkeys(problem for way in ways for problem in unsupported(way))
    return tuple(replace(problem, file=file) for problem in found)


def _document(checked: Good | Bad) -> dict[str, Any]:
    if isinstance(checked, Bad):
        problems = problem_documents(checked.problems)
        return {"file": checked.file, "ok": False, "problems": problems, "warnings": []}
    return {
        "file": checked.file,
        "ok": True,
        "problems": [],
        "warnings": problem_documents(checked.warnings),
        "workflows": [entry.name for entry in checked.spec.entries],
        "needs": {name: list(found) for name, found in asdict(checked.needs).items()},
        "reach": [asdict(reach) for reach in checked.reaches],
        "runnable": not checked.not_yet,
        "not_yet": problem_documents(checked.not_yet),
    }


def _show(screen: Screen, checked: Good | Bad) -> None:
    if isinstance(checked, Bad):
        screen.error(problem_text(checked.problems))
        return
    if checked.warnings:
        screen.note(problem_text(checked.warnings))
    unbound = checked.needs.unbound_agents
    binding = f", agents to bind: {', '.join(unbound)}" if unbound else ""
    screen.result(as_line(f"ok: {checked.file}: {_size(checked.spec)}{binding}"))
    lines = _needs_lines(checked, _width(screen))
    if lines:
        screen.result("\n".join(lines))
    if checked.not_yet:
        screen.note(problem_text(checked.not_yet))


def _size(spec: WorkflowSpec) -> str:
    """How many tasks a run has; for a file with several workflows, how many of them there are."""
    return counted(len(spec.entries), "workflow") if spec.entries else counted(len(spec.tasks), "task")


def _needs_lines(good: Good, width: int | None) -> list[str]:
    """A line for each kind of thing that the file needs, its names broken to the width of a terminal."""
    found = good.needs
    facts = {
        "workflows": tuple(entry.name for entry in good.spec.entries),
        "agents": found.agents,
        "programs": found.programs,
        "hosts": found.hosts,
        "allowed": tuple(reach.host for reach in good.reaches if reach.verdict == "allowed"),
        "to allow": tuple(reach.flag for reach in good.reaches if reach.flag),
        "refused": tuple(_refusal(reach) for reach in good.reaches if _is_hopeless(reach)),
        "environment": found.environment,
        "files": found.files,
    }
    longest = max(map(len, facts))
    room = None if width is None else max(width - longest - 4, 20)
    rows = [
        (label if index == 0 else "", line)
        for label, names in facts.items()
        for index, line in enumerate(_broken(names, room, " " if label == "to allow" else ", "))
    ]
    return columns([("".ljust(longest), ""), *rows], indent="  ")[1:]


def _is_hopeless(reach: Reach) -> bool:
    """Whether no list would allow it."""
    return reach.verdict == "refused" and not reach.flag


def _refusal(reach: Reach) -> str:
    hint = f"; {reach.hint}" if reach.hint else ""
    return as_line(f"{reach.host} ({reach.code} {reach.problem}{hint})")


def _broken(names: Sequence[str], room: int | None, between: str) -> list[str]:
    """Names with a comma between them, or a blank for words that are typed, in lines of at most `room` characters.

    A name that is longer has a line of its own.
    """
    lines: list[str] = []
    for name in names:
        if lines and (room is None or len(lines[-1]) + len(name) + 3 <= room):
            lines[-1] += f"{between}{name}"
        else:
            lines = [*lines[:-1], f"{lines[-1]}{between.rstrip()}", name] if lines else [name]
    return lines


def _width(screen: Screen) -> int | None:
    """The columns of the terminal; None where the result goes elsewhere, and is not to be broken."""
    if screen.out is None or not screen.out.isatty():
        return None
    return shutil.get_terminal_size().columns
