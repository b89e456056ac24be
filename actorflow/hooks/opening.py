"""How deliveries are taken up again: what the journal says about them, read whole and blocking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from attrs import frozen

from actorflow.core.checkpoint import thaw
from actorflow.core.hook_config import HookEntry
from actorflow.core.hook_events import BACK, GONE, has_target
from actorflow.core.owed import functions_of
from actorflow.core.plan import Plan
from actorflow.core.state import CORE_VERSION, RunState
from actorflow.journal.protocol import Delivery, Journal, PendingDelivery
from actorflow.spec.model import HookSpec

__all__ = [
    "DISABLED",
    "WINDOW",
    "Opened",
    "failures_after",
    "folded_to",
    "open_deliveries",
    "specs_of",
]

DISABLED: Final = "disabled"
"""Why a delivery is passed over whose hook has failed too often."""

WINDOW: Final = 256
"""Deliveries of a hook that are in memory; those behind them are rows of the journal."""

_SWEEP: Final = 512

_FIRST: Final = 1
"""The first event of a run owes nothing, and says what its hooks are told of it: rows may be there before the cursor is."""


@frozen
class Opened:
    """The deliveries of a run as its journal has them."""

    fold: Callable[[], RunState]  #: the run behind the event at the cursor; asked for once, when it is needed
    cursor: int
    last_seq: int
    known: frozenset[str]  #: deliveries owed by events behind the cursor that are settled, or have a row
    rows: Mapping[str, list[PendingDelivery]]  #: the first `WINDOW` pending ones, by hook
    row_counts: Mapping[str, int]  #: of all pending ones, by hook
    failures: Mapping[str, int]  #: in a row, of hooks that are disabled by them
    gone: frozenset[str] = frozenset()  #: targets that have said that they are


def open_deliveries(journal: Journal, run_id: str, plan: Plan) -> Opened:
    """Read what a run's hooks were given, and fold its state up to there."""
    row = journal.find(run_id)
    settled = {one.delivery_id for one in journal.deliveries(run_id, row.cursor)}
    rows: dict[str, list[PendingDelivery]] = {}
    counts: Counter[str] = Counter()
    ahead: set[str] = set()
    for pending in _all_rows(journal, run_id):
        counts[pending.hook] += 1
        if counts[pending.hook] <= WINDOW:
            rows.setdefault(pending.hook, []).append(pending)
        if pending.seq > row.cursor:
            ahead.add(pending.delivery_id)
    cursor = max(row.cursor, _FIRST)
    state = folded_to(journal, run_id, plan, cursor)
    failures, gone = _said_before(journal, run_id, specs_of(state))
    return Opened(
        lambda: state, cursor, row.last_seq, frozenset(settled | ahead), rows, counts, failures, gone
    )


def folded_to(journal: Journal, run_id: str, plan: Plan, seq: int) -> RunState:
    """The state of a run behind one of its events, by its checkpoint where that is not beyond it."""
    state, after = _thawed(journal, run_id, plan, seq) or (RunState(plan), 0)
    if after < seq:
        for number, event in journal.events(run_id, after):
            state.apply(event)
            if number == seq:
                break
    return state


def specs_of(state: RunState) -> Mapping[str, HookSpec]:
    """The async hooks of a run by their paths: those of its definition, and functions of its program."""
    return {entry.path: entry.spec for entry in _entries(state) if not entry.is_blocking}


def _entries(state: RunState) -> Iterator[HookEntry]:
    yield from state.plan.hooks.entries
    if state.started is not None:
        for entries in functions_of(state.started.flags).values():
            yield from entries


def _thawed(journal: Journal, run_id: str, plan: Plan, seq: int) -> tuple[RunState, int] | None:
    checkpoint = journal.checkpoint(run_id) if seq else None
    if checkpoint is None or checkpoint.core_version != CORE_VERSION or checkpoint.seq > seq:
        return None
    state = thaw(plan, checkpoint.body, checkpoint.rows)
    return None if state is None else (state, checkpoint.seq)


def _all_rows(journal: Journal, run_id: str) -> Iterator[PendingDelivery]:
    """A few at a time: an event's rows are not torn apart, since what comes next is asked for by the event."""
    after, limit = 0, _SWEEP
    while found := journal.pending(run_id, after=after, limit=limit):
        is_last = len(found) < limit
        whole = found if is_last else [row for row in found if row.seq < found[-1].seq]
        yield from whole
        if is_last:
            return
        if whole:
            after = whole[-1].seq
        else:
            limit *= 2  # one event owes all of them


def _said_before(
    journal: Journal, run_id: str, specs: Mapping[str, HookSpec]
) -> tuple[Mapping[str, int], frozenset[str]]:
    """The failures in a row of hooks that are disabled by them, and the targets that are gone; read only where it matters."""
    watched = {path: spec.disable_after for path, spec in specs.items() if spec.on_error == "disable"}
    counts: dict[str, int] = {}
    gone: set[str] = set()
    if watched or any(has_target(spec) for spec in specs.values()):
        for one in journal.deliveries(run_id):
            if one.hook in watched:
                counts[one.hook] = failures_after(one, counts.get(one.hook, 0), watched[one.hook])
            if GONE in one.record:
                gone.add(one.record[GONE])
            gone.discard(one.record.get(BACK, ""))
    return counts, frozenset(gone)


def failures_after(settled: Delivery, count: int, most: int) -> int:
    """Failures in a row of a hook once another delivery of it is settled; `most` of them are never undone."""
    if count >= most or settled.status == "skipped":
        return count
    return 0 if settled.status == "delivered" else count + 1
