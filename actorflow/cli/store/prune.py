"""`actorflow prune`: runs that ended long enough ago leave the store, each with the runs that its hooks have started.

A run with those runs, and theirs in turn, is a family: it goes as a whole, or stays as a whole.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from attrs import define, field, frozen

from actorflow.cli.faults import fault_of
from actorflow.cli.found import found_run
from actorflow.cli.layout import counted, duration, local_time, show_table
from actorflow.cli.screen import as_line
from actorflow.cli.settings import Settings
from actorflow.cli.signals import Interrupted
from actorflow.cli.statuses import Exit, status_of
from actorflow.cli.store.opening import parent_of_row, reading, store_url
from actorflow.core.transitions import ENDED
from actorflow.errors import (
    ActorflowError,
    DeliveriesOwedError,
    RunNotEndedError,
    RunNotFoundError,
    RunOwnedElsewhereError,
    StoreDamagedError,
    StoreFailed,
)
from actorflow.journal import Journal, RunRow
from actorflow.runtime.persistence import StatePersistence
from actorflow.runtime.result import result_from
from actorflow.spec.definition import from_json

__all__ = ["Family", "PruneRequest", "families_of", "is_due", "latest_of", "prune"]

_HEAD: Final = ("RUN", "WORKFLOW", "STATUS", "ENDED", "WHY")
_SPARE: Final = tuple(map(_HEAD.index, ("ENDED", "STATUS", "WORKFLOW")))
_DAY_S: Final = 86_400.0

_IN_USE: Final = (RunOwnedElsewhereError, RunNotEndedError, DeliveriesOwedError)
"""Why a run stays that is old enough, with nothing wrong: the next prune finds it again."""


@frozen(kw_only=True)
class PruneRequest:
    """What `prune` was told."""

    older_than_s: float | None = None  #: for runs whose workflow says nothing
    keep_count: int | None = None  #: how many of each workflow stay, however old
    is_dry: bool = False


@frozen
class Family:
    """A run that no run of the store has started, and those that its hooks have, and theirs."""

    root: RunRow
    children: tuple[RunRow, ...] = ()  #: each behind the run that it belongs to

    @property
    def rows(self) -> tuple[RunRow, ...]:
        """All of them, in the order in which they are removed: killed in between, no child has lost its parent."""
        return (*reversed(self.children), self.root)

    @property
    def ended_at(self) -> float | None:
        """When the last of them ended; None while one has not."""
        ends = [row.summary.ended_at if row.summary.status in ENDED else None for row in self.rows]
        known = [end for end in ends if end is not None]
        return max(known) if len(known) == len(ends) else None


def families_of(rows: Iterable[RunRow], parents: Mapping[str, str]) -> list[Family]:
    """Put runs together that belong together.

    Args:
        rows: all runs of a store; families come in the order of their roots in it.
        parents: whose hook has started a run, by id. One whose parent is not among the rows is a root.
    """
    known = {row.run_id: row for row in rows}
    children: dict[str, list[RunRow]] = {}
    roots: list[RunRow] = []
    for row in known.values():
        parent = parents.get(row.run_id)
        (roots if parent not in known else children.setdefault(parent, [])).append(row)
    return [Family(root, tuple(_below(root, children))) for root in roots]


def _below(root: RunRow, children: Mapping[str, Sequence[RunRow]]) -> Iterator[RunRow]:
    level: Sequence[RunRow] = [root]
    while level:
        level = [child for row in level for child in children.get(row.run_id, ())]
        yield from level


def latest_of(families: Iterable[Family], count: int) -> frozenset[str]:
    """The ids of the roots that are among the latest `count` of their workflow that have ended.

    Args:
        families: the latest first.
        count: for each workflow, by its name.
    """
    seen = Counter[str]()
    found: set[str] = set()
    for family in families:
        root = family.root
        if root.summary.status in ENDED:
            seen[root.workflow] += 1
            if seen[root.workflow] <= count:
                found.add(root.run_id)
    return frozenset(found)


def is_due(ended_at: float, keep_s: float | None, request: PruneRequest, now: float) -> bool:
    """Whether a run has stayed long enough that is not among the latest of its workflow.

    Args:
        ended_at: of the run, or of the last of its family.
        keep_s: `limits.keep` of its definition. It comes before what is typed, which is about many workflows at once.
        request: without an age of its own, `--keep` alone decides; without either, nobody has said that runs should go.
        now: epoch seconds.
    """
    at_least = request.older_than_s if keep_s is None else keep_s
    if at_least is None:
        return request.keep_count is not None
    return now - ended_at > at_least


@define
class _Pruning:
    """What was found, and what has become of it."""

    due: list[Family] = field(factory=list[Family])
    gone: set[str] = field(factory=set[str])  #: ids of runs
    refused: dict[str, ActorflowError] = field(factory=dict[str, ActorflowError])  #: by run: why it stays
    has_rule: bool = False  #: whether anything says how long any of the runs stays
    is_interrupted: bool = False

    @property
    def status(self) -> int:
        """The highest status of what is wrong; a run that is in use is not."""
        faults = [error for error in self.refused.values() if not isinstance(error, _IN_USE)]
        stopped = Exit.STOPPED if self.is_interrupted else Exit.SUCCESS
        return max([stopped, *map(status_of, faults)])


def prune(settings: Settings, request: PruneRequest) -> int:
    """Remove what is due, or say what would be.

    One that cannot be read is named, and keeps no other from going.

    Raises:
        StoreFailed: the store has failed; what was removed before stays so.
    """
    now = time.time()
    with reading(settings) as journal:
        pruning = _found(journal, request, now)
        if request.is_dry or not pruning.due:
            pruning.gone = {row.run_id for family in pruning.due for row in family.rows}
        else:
            _remove(settings, journal, pruning)
    _tell(settings, request, pruning, now)
    return pruning.status


def _found(journal: Journal, request: PruneRequest, now: float) -> _Pruning:
    """The families that are due, and nothing of which is in use."""
    pruning = _Pruning(has_rule=request.older_than_s is not None or request.keep_count is not None)
    rows = journal.runs()
    families = families_of(rows, _parents(journal, rows, pruning.refused))
    kept = latest_of(families, request.keep_count or 0)
    definitions: dict[str, float | None] = {}
    for family in families:
        root = family.root
        if root.summary.status not in ENDED or root.run_id in pruning.refused:
            continue
        try:
            if root.definition not in definitions:
                definitions[root.definition] = from_json(journal.definition(root.definition)).limits.keep
            keep_s = definitions[root.definition]
            pruning.has_rule |= keep_s is not None
            ended_at = family.ended_at or root.summary.ended_at or now
            if root.run_id not in kept and is_due(ended_at, keep_s, request, now):
                _refuse_if_in_use(journal, family)
                pruning.due.append(family)
        except (StoreDamagedError, *_IN_USE) as error:
            pruning.refused[root.run_id] = error
    return pruning


def _parents(journal: Journal, rows: Iterable[RunRow], refused: dict[str, ActorflowError]) -> dict[str, str]:
    """Whose hook has started a run, by id; what cannot be read is refused."""
    parents: dict[str, str] = {}
    for row in rows:
        try:
            parent = parent_of_row(journal, row)
        except StoreDamagedError as error:
            refused[row.run_id] = error
            continue
        if parent is not None:
            parents[row.run_id] = parent["run_id"]
    return parents


def _refuse_if_in_use(journal: Journal, family: Family) -> None:
    """Raise what keeps a family in the store: one of it is somebody's, goes on yet, or is owed something.

    It is read whole for that: the row of a run may trail its events.
    """
    for row in family.rows:
        if row.owner_pid is not None:
            raise RunOwnedElsewhereError(row.run_id, pid=row.owner_pid)
        result = result_from(journal, row, found_run(journal, row).state)
        if result.status not in ENDED:
            raise RunNotEndedError(
                row.run_id, "a run is pruned with all that its hooks have started, when all of that has ended"
            )
        if result.hooks.pending:
            raise DeliveriesOwedError(row.run_id)


def _remove(settings: Settings, journal: Journal, pruning: _Pruning) -> None:
    """Remove what is due, family by family; a signal ends this between two of them."""
    settings.early.note_only()
    with StatePersistence(store_url(settings)) as states:
        for family in pruning.due:
            try:
                settings.early.raise_noted()
                pruning.gone.update(_removed(journal, states, family))
            except Interrupted:
                pruning.is_interrupted = True
                return
            except StoreFailed:
                raise
            except ActorflowError as error:
                pruning.refused[family.root.run_id] = error


def _removed(journal: Journal, states: StatePersistence, family: Family) -> Iterator[str]:
    """Remove runs that are as they were found; the ids of those that nobody else removed before.

    Raises:
        RunNotEndedError: somebody has taken one up meanwhile.
    """
    for row in family.rows:
        with suppress(RunNotFoundError):
            if journal.find(row.run_id) != row:
                raise RunNotEndedError(row.run_id, "somebody has just gone on with it")
            if states.delete(row.run_id):
                yield row.run_id


def _tell(settings: Settings, request: PruneRequest, pruning: _Pruning, now: float) -> None:
    screen = settings.screen
    faults = {run_id: fault_of(error) for run_id, error in pruning.refused.items()}
    gone = [
        (family, row)
        for family in pruning.due
        for row in (family.root, *family.children)
        if row.run_id in pruning.gone
    ]
    if screen.is_json:
        screen.document(
            {
                "pruned": [_document(family, row) for family, row in gone],
                "refused": {
                    run_id: {"code": fault.code, "message": fault.message} for run_id, fault in faults.items()
                },
                "dry_run": request.is_dry,
            }
        )
        return
    if gone:
        rows = (_cells(family, row, now) for family, row in gone)
        show_table(screen, [_HEAD, *rows], spare=_SPARE)
    verb = "would prune" if request.is_dry else "pruned"
    screen.result(f"{verb} {counted(len(gone), 'run')}")
    for run_id, fault in faults.items():
        screen.error(as_line(f"{run_id} stays: {fault.code} {fault.message}"))
    if pruning.is_interrupted:
        screen.error("interrupted; what is left stays")
    if not pruning.has_rule:
        screen.note("nothing says how long runs stay: give --older-than or --keep, or a workflow limits.keep")


def _document(family: Family, row: RunRow) -> Mapping[str, Any]:
    return {
        "run_id": row.run_id,
        "workflow": row.workflow,
        "status": row.summary.status,
        "ended_at": row.summary.ended_at,
        "with": None if row is family.root else family.root.run_id,
    }


def _cells(family: Family, row: RunRow, now: float) -> tuple[str, ...]:
    ended_at = row.summary.ended_at
    is_root = row is family.root
    why = f"ended {_age(now - (ended_at or now))} ago" if is_root else f"goes with {family.root.run_id}"
    return (row.run_id, row.workflow, row.summary.status, local_time(ended_at), why)


def _age(seconds: float) -> str:
    days = int(seconds / _DAY_S)
    return counted(days, "day") if days else duration(seconds)
