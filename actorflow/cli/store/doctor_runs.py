"""What can be said of the runs of a store by folding them anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import define, field

from actorflow.cli.layout import counted
from actorflow.core.checkpoint import freeze, thaw
from actorflow.core.events import Event
from actorflow.core.plan import Plan, plan_of
from actorflow.core.state import CORE_VERSION, RunState
from actorflow.errors import ActorflowError, RunNotFoundError
from actorflow.journal import Journal, RunRow
from actorflow.journal.care.findings import Finding
from actorflow.journal.projection import folded
from actorflow.journal.protocol import RunSummary
from actorflow.journal.remedy import DAMAGE_REMEDY
from actorflow.spec.definition import from_json

__all__ = ["RunsExamined", "examine_runs"]


@define
class RunsExamined:
    """What is to be mended of rows and checkpoints, and how much was looked at."""

    summaries: dict[str, tuple[RunSummary, int]] = field(factory=dict[str, tuple[RunSummary, int]])
    checkpoints: list[str] = field(factory=list[str])
    run_count: int = 0
    event_count: int = 0


def examine_runs(journal: Journal, examined: RunsExamined) -> Iterator[Finding]:
    """Look at every run: its definition, the chain of its events, its row and its checkpoint against the fold, its deliveries.

    Args:
        journal: of the store.
        examined: is filled in on the way.
    """
    try:
        rows = journal.runs()
    except ActorflowError as error:
        yield _damage("runs", error)
        return
    has_damage = False
    for row in rows:
        for finding in _examine_run(journal, row, examined):
            has_damage = has_damage or finding.is_damage
            yield finding
    if not has_damage:
        told = f"{counted(examined.run_count, 'run')} with {counted(examined.event_count, 'event')}: all chains hold"
        yield Finding("runs", "ok", told)
    yield from _owed(journal, rows)


def _examine_run(journal: Journal, row: RunRow, examined: RunsExamined) -> Iterator[Finding]:
    run_id = row.run_id
    examined.run_count += 1
    try:
        plan = plan_of(from_json(journal.definition(row.definition)))
        events = [event for _, event in journal.events(run_id)]
        state, summary = folded(plan, events)
        journal.deliveries(run_id)
        journal.pending(run_id)
    except ActorflowError as error:
        if not _has_gone_on(journal, row):
            yield _damage("run", error, run_id)
        return
    examined.event_count += len(events)
    if row.owner_pid is not None:
        return  # what is derived may trail while it is written to
    if summary is not None and (row.summary != summary or row.last_seq != len(events)):
        if _has_gone_on(journal, row):
            return
        examined.summaries[run_id] = (summary, len(events))
        told = (
            f"its row says {row.summary.status}, generation {row.summary.generation}, {row.last_seq} events; "
        )
        told += f"its events say {summary.status}, generation {summary.generation}, {len(events)} events"
        yield Finding("run", "problem", told, "`actorflow doctor --repair`", run_id, is_mendable=True)
    is_right = _is_checkpoint_right(journal, run_id, plan, events, state)
    if not is_right and not _has_gone_on(journal, row):
        examined.checkpoints.append(run_id)
        told = "its checkpoint is not what its events come to"
        yield Finding("run", "problem", told, "`actorflow doctor --repair`", run_id, is_mendable=True)


def _has_gone_on(journal: Journal, row: RunRow) -> bool:
    """Whether a run was gone on with or removed since its row was read: what does not fit that is no damage then."""
    try:
        return journal.find(row.run_id) != row
    except RunNotFoundError:
        return True
    except ActorflowError:
        return False


def _is_checkpoint_right(
    journal: Journal, run_id: str, plan: Plan, events: Sequence[Event], state: RunState
) -> bool:
    checkpoint = journal.checkpoint(run_id)
    if checkpoint is None or checkpoint.core_version != CORE_VERSION:
        return True  # nobody uses it
    thawed = thaw(plan, checkpoint.body, checkpoint.rows)
    if thawed is None:
        return True
    for event in events[checkpoint.seq :]:
        thawed.apply(event)
    theirs, ours = freeze(thawed), freeze(state)
    is_same = _without_heaps(theirs.body) == _without_heaps(ours.body) and [*theirs.rows] == [*ours.rows]
    return is_same and thawed.commands(state.last_at) == state.commands(state.last_at)


def _without_heaps(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a state says but for its heaps: they may hold what is done with, until somebody asks for what is due."""
    return {name: value for name, value in body.items() if name != "heaps"}


def _owed(journal: Journal, rows: Iterable[RunRow]) -> Iterator[Finding]:
    """What waits for somebody: nothing of it is wrong."""
    try:
        pending, letters = sum(journal.pending_counts().values()), len(journal.dead_letters())
    except ActorflowError as error:
        yield _damage("hooks", error)
        return
    crashed = sum(1 for row in rows if row.owner_pid is None and row.summary.status == "running")
    if crashed:
        told = f"{counted(crashed, 'run')} of which the process is gone"
        yield Finding("owed", "warning", told, "`actorflow recover` goes on with them")
    if pending:
        told = "1 delivery is" if pending == 1 else f"{pending} deliveries are"
        remedy = "`actorflow hooks drain RUN` makes what is due"
        yield Finding("owed", "warning", f"{told} not made yet", remedy)
    if letters:
        yield Finding("owed", "warning", counted(letters, "dead letter"), "`actorflow dead-letters list`")
    if not (crashed or pending or letters):
        yield Finding("owed", "ok", "nothing")


def _damage(check: str, error: ActorflowError, run_id: str | None = None) -> Finding:
    return Finding(check, "problem", str(error), DAMAGE_REMEDY, run_id, is_damage=True)
