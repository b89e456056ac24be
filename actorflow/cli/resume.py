"""`actorflow resume`: from an id to a run that goes on."""

from __future__ import annotations

import os
from collections.abc import Mapping

from attrs import frozen

from actorflow.cli.execution import Job, carry_out
from actorflow.cli.inspect import status_of_row
from actorflow.cli.screen import as_line
from actorflow.cli.settings import Settings
from actorflow.cli.start import check_agent_words, import_agents, limited
from actorflow.cli.statuses import Elsewhere, Exit
from actorflow.cli.stores import LAST, no_last_run, reading, store_url
from actorflow.core.events import RunStarted
from actorflow.errors import BadInputError, SpecError, UnboundAgentsError
from actorflow.journal import Journal, RunRow
from actorflow.runtime.handle import RunHandle
from actorflow.runtime.runtime import Runtime, read_state
from actorflow.spec.definition import to_json
from actorflow.spec.entries import chosen
from actorflow.spec.loading import load_with_warnings
from actorflow.spec.model import WorkflowSpec


@frozen
class ResumeRequest:
    """What `resume` was told; None: as recorded."""

    run: str
    agents: Mapping[str, str]
    backend: str | None
    grace: float | None  #: seconds


def resume(settings: Settings, request: ResumeRequest) -> int:
    """Take a run up again, as it was begun; the exit status says how it ended."""
    check_agent_words(request.agents)
    with reading(settings) as journal:
        row = _last(journal) if request.run == LAST else journal.find(request.run)
        state, seq = read_state(journal, row)
    started, spec = state.started, state.plan.spec
    assert started is not None
    if _has_changed(spec, started):
        path = as_line(spec.path or "")
        settings.screen.note(f"{path} has changed since the run began; the run keeps the definition it has")
    import_agents(request.agents, spec)
    run_id = row.run_id

    async def begin(runtime: Runtime) -> RunHandle:
        try:
            return await runtime.start_resumed(run_id)
        except UnboundAgentsError as error:
            raise Elsewhere(error, Exit.CONFIG) from error

    recorded_grace = started.flags.get("grace")
    grace_s = request.grace if request.grace is not None else recorded_grace
    job = Job(
        spec=spec,
        store=store_url(settings),
        agents=request.agents,
        backend=request.backend or ("trio" if started.flags.get("backend") == "trio" else "asyncio"),
        grace_s=float(grace_s) if isinstance(grace_s, int | float) else 10.0,
        begin=begin,
        seen_seq=seq,
    )
    return carry_out(settings, job)


def _last(journal: Journal) -> RunRow:
    """The latest run that waits to be resumed: a paused one, or one whose process is gone."""
    for row in journal.runs():
        if status_of_row(row) in ("paused", "crashed"):
            return row
    raise no_last_run("no run of this store is paused or crashed")


def _has_changed(spec: WorkflowSpec, started: RunStarted) -> bool:
    """Whether the file that the run came from now says something else; a file that is gone says nothing."""
    if spec.path is None or not os.path.exists(spec.path):  # noqa: PTH110 - any error is a no here
        return False
    try:
        now = chosen(load_with_warnings(spec.path).spec, spec.entry)
    except (SpecError, BadInputError):
        return True
    flags = started.flags
    # the definition is written anew: the store may have it in the words of an earlier version
    return to_json(limited(now, flags.get("durability"), flags.get("max_parallel"))) != to_json(spec)
