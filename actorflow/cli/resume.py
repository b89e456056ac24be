"""`actorflow resume`: from an id to a run that goes on."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from attrs import evolve, frozen

from actorflow.cli.allowances import terms_for
from actorflow.cli.execution import Job, carry_out
from actorflow.cli.faults import problem_text
from actorflow.cli.files import load_workflow
from actorflow.cli.found import Found, Means, found_run, place_for, status_of_row
from actorflow.cli.report import result_document
from actorflow.cli.screen import as_line
from actorflow.cli.sensitive import shown_result
from actorflow.cli.settings import Settings
from actorflow.cli.signals import Interruption
from actorflow.cli.start import check_agent_words, import_agents, limited
from actorflow.cli.statuses import Elsewhere, Exit
from actorflow.cli.store.opening import LAST, no_last_run, reading
from actorflow.core.events import RunStarted
from actorflow.errors import BadInputError, SpecError, UnboundAgentsError
from actorflow.journal import Journal, RunRow
from actorflow.runtime.handle import RunHandle
from actorflow.runtime.result import result_from
from actorflow.runtime.runtime import Runtime
from actorflow.spec.definition import to_json
from actorflow.spec.entries import chosen
from actorflow.spec.loading import OWN, Terms, load_with_warnings
from actorflow.spec.model import WorkflowSpec
from actorflow.spec.needs import needs
from actorflow.spec.unsupported import unsupported

_OWNER_ANSWERS_S: Final = 10.0
"""How long an owner that pauses a run may take to go on with it instead, or to let go of it."""

_LOOK_AGAIN_S: Final = 0.05


@frozen(kw_only=True)
class ResumeRequest:
    """What `resume` was told."""

    run: str
    means: Means
    accept: str | None = None  #: the file whose changes are accepted
    take_over: bool = False
    is_strict: bool = False  #: whether a success with hooks amiss is none


def resume(settings: Settings, request: ResumeRequest) -> int:
    """Take a run up again, as it was begun; the exit status says how it ended."""
    check_agent_words(request.means.agents)
    with reading(settings) as journal:
        found = found_run(journal, _last(journal) if request.run == LAST else journal.find(request.run))
    accepted = None if request.accept is None else _accepted(settings, found, request)
    if accepted is None and not request.take_over and _goes_on_elsewhere(settings, found):
        return Exit.SUCCESS
    if accepted is None and _has_changed(found.spec, found.started):
        path = found.spec.path or ""
        settings.screen.note(
            as_line(
                f"{path} has changed since the run began; the run keeps the definition it has, "
                f"but for --accept-changes {shlex.quote(path)}"
            )
        )

    async def begin(runtime: Runtime) -> RunHandle:
        return await runtime.start_resumed(found.run_id, accept=accepted, take_over=request.take_over)

    return take_up(settings, found, request.means, begin, accepted, is_strict=request.is_strict)


def take_up(
    settings: Settings,
    found: Found,
    means: Means,
    begin: Callable[[Runtime], Awaitable[RunHandle]],
    accepted: WorkflowSpec | None = None,
    *,
    is_strict: bool = False,
) -> int:
    """Set a run going again and see it to its end; the exit status says how it ended.

    Args:
        settings: of the command.
        found: the run.
        means: how; agents that are given come before the recorded ones.
        begin: sets it going.
        accepted: the definition that it has from now on; None: the one that it has.
        is_strict: whether a success with hooks amiss is none.
    """
    spec = accepted or found.spec
    import_agents(means.agents, spec)

    async def begun(runtime: Runtime, _: Interruption) -> RunHandle:
        try:
            return await begin(runtime)
        except UnboundAgentsError as error:
            raise Elsewhere(error, Exit.CONFIG) from error

    place = place_for(settings, found, means, spec)
    job = Job(spec=spec, place=place, begin=begun, seen_seq=found.seq, is_strict=is_strict)
    return carry_out(settings, job)


def _last(journal: Journal) -> RunRow:
    """The latest run that waits to be resumed: a paused one, or one whose process is gone."""
    for row in journal.runs():
        if status_of_row(row) in ("paused", "pausing", "crashed"):
            return row
    raise no_last_run("no run of this store is paused or crashed")


def _accepted(settings: Settings, found: Found, request: ResumeRequest) -> WorkflowSpec:
    """The run's workflow as a file has it now, with the limits and on the terms that the run was begun with.

    What it may name is said anew.

    Raises:
        SpecError: with all that is wrong with the file, or that cannot be run yet.
        BadInputError: the file has no such workflow any more.
    """
    file = request.accept or ""
    loaded = load_workflow(file, terms_for(settings, found.spec.trust, request.means.allows))
    if loaded.warnings:
        settings.screen.note(problem_text(loaded.warnings))
    flags = found.started.flags
    spec = limited(chosen(loaded.spec, found.spec.entry), flags.get("durability"), flags.get("max_parallel"))
    refused = unsupported(spec)
    if refused:
        raise SpecError(tuple(replace(problem, file=file) for problem in refused))
    return spec if spec.trust == "own" else evolve(spec, folder=found.spec.folder)


def _goes_on_elsewhere(settings: Settings, found: Found) -> bool:
    """Have the process that is pausing the run go on with it, and tell so; whether there is one, and it does."""
    if found.row.owner_pid is None or not found.state.is_pausing:
        return False
    with reading(settings) as journal:
        request = journal.post(found.run_id, "resume", {})
        now = _after_answer(journal, found.run_id, request)
        if now is None:
            return False
        result = shown_result(now.spec, result_from(journal, now.row, now.state))
    screen = settings.screen
    if screen.is_json:
        screen.document(result_document(result))
    else:
        screen.result(f"running  {now.run_id}")
    screen.note(f"process {found.row.owner_pid} was pausing the run, and goes on with it")
    return True


def _after_answer(journal: Journal, run_id: str, request: int) -> Found | None:
    """The run as its owner goes on with it; None if it is paused by now, or its owner does not answer."""
    deadline = time.monotonic() + _OWNER_ANSWERS_S
    while time.monotonic() < deadline:
        row = journal.find(run_id)
        if row.owner_pid is None:
            return None
        if not journal.is_asked(request):
            found = found_run(journal, row)
            if not found.state.is_pausing:
                return found
        time.sleep(_LOOK_AGAIN_S)
    return None


def _has_changed(spec: WorkflowSpec, started: RunStarted) -> bool:
    """Whether the file that the run came from now says something else; a file that is gone says nothing."""
    if spec.path is None or not os.path.exists(spec.path):  # noqa: PTH110 - any error is a no here
        return False
    try:
        loaded = load_with_warnings(spec.path, terms=_terms_of(spec))
        now = evolve(chosen(loaded.spec, spec.entry), folder=spec.folder)
    except (SpecError, BadInputError):
        return True
    flags = started.flags
    # the definition is written anew: the store may have it in the words of an earlier version
    return to_json(limited(now, flags.get("durability"), flags.get("max_parallel"))) != to_json(spec)


def _terms_of(spec: WorkflowSpec) -> Terms:
    """Those on which a definition loads again: what it was allowed to name it was allowed for good."""
    return OWN if spec.trust == "own" else Terms("data", frozenset(needs(spec).environment), may_reach=True)
