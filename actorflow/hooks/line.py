"""The deliveries of one hook in one run: in the order of their events, so many in memory, the rest in the journal.

```
owed ──► window ──► errand ──► executor
  │        ▲  ▲ │ ▲    │
  │ full   │  │ │ └ rows: a batch that is one to its target is kept before its first try
  │        │  └─ Again ┘ at its time, from the alarm: nobody waits for it
  ▼        │
 rows ─────┘ a few at a time, in order
```
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

from attrs import frozen

from actorflow.core.delivery import Again, Held, Settled, TryResult, Verdict, next_step, too_old
from actorflow.core.owed import OwedDelivery
from actorflow.hooks.batching import Batch, composed, in_step, is_whole, sealed, taken
from actorflow.hooks.debtor import Debtor
from actorflow.hooks.opening import DISABLED, WINDOW, failures_after
from actorflow.hooks.outgoing import Outgoing
from actorflow.hooks.parcel import Parcel
from actorflow.spec.model import HookSpec

__all__ = ["HookLine", "LineOffice", "Tried"]

MOST_AT_ONCE: Final = 16
"""Errands of a line whose order does not matter. The others have one."""

BATCH_MAX: Final = 64
"""Deliveries that an action takes together where its hook does not say."""

PROMPT_S: Final = 0.001
"""A try that has begun so lately may be over at once."""

TOLERANCE_S: Final = 0.001
"""What is left of a wait that is over: clocks are floats."""


@frozen(eq=False)
class Tried:
    """A try that was made of each delivery of a batch."""

    batch: Sequence[Parcel]
    results: Sequence[TryResult]  #: in the order of the batch
    began_at: float  #: in epoch seconds


class LineOffice(Protocol):
    """What the lines of a run share."""

    debtor: Debtor
    outgoing: Outgoing

    @property
    def is_all_there(self) -> bool:
        """Whether somebody waits for the end and all that is owed is known: then nothing waits for company."""
        ...

    def send(self, line: HookLine, batch: Sequence[Parcel]) -> None:
        """Have a try of each made; `line.took` is told, but where the office is closed.

        The errand may go on with `line.next_batch()`.
        """
        ...

    def send_soon(self, line: HookLine, batch: Sequence[Parcel]) -> None:
        """The same in the next slice; may be said outside of any task."""
        ...

    def read_back(self, line: HookLine, after: int) -> None:
        """Read rows of the line behind that event; `line.take_rows` is told."""
        ...

    def look_at(self, line: HookLine, at: float) -> None:
        """Have the line pumped at that time, instead of at any that was said before."""
        ...

    def look_at_once(self, line: HookLine) -> None:
        """Have the line pumped."""
        ...

    def look_when_kept(self, line: HookLine) -> None:
        """Have the line pumped when what is being recorded is kept, or soon."""
        ...


class HookLine:
    """Which deliveries of a hook are tried when. It does nothing by itself: who owns it pumps it.

    Args:
        path: of the hook.
        spec: of the hook.
        office: what it shares with the other lines.
        spilled_count: its rows in the journal that are not in memory.
        failures: of its deliveries, the last ones in a row.
        refusal: why none of its deliveries is made at all.
    """

    def __init__(
        self,
        path: str,
        spec: HookSpec,
        office: LineOffice,
        *,
        spilled_count: int = 0,
        failures: int = 0,
        refusal: str = "",
    ) -> None:
        self.path = path
        self.spec = spec
        self._office = office
        self._window: dict[str, Parcel] = {}
        self._at_work: set[str] = set()
        self._errand_count = 0
        self._begun_at: float | None = None  #: when the last try began; None: it waits for a runner
        self._spilled_count = spilled_count
        self._read_seq = 0  #: of the last delivery that has come into the window
        self._failures = failures
        self._refusal = refusal
        self._hold = office.debtor.switches.hold_reason(spec, path)
        self._is_reading = False
        self._lingers_until: float | None = None
        self._is_cut_off = False  #: whether its next batch has members among the rows that are not in memory
        self._most_errands = 1 if spec.ordered else MOST_AT_ONCE
        executor = office.debtor.executor
        self._batch_max = _batch_max(spec, is_batchable=executor.is_batchable(spec))
        self._commits_batches = executor.commits_batches(spec)

    @property
    def unsettled_count(self) -> int:
        """Its deliveries that are not settled."""
        return len(self._window) + self._spilled_count

    @property
    def resident_count(self) -> int:
        """Those of them that are in memory."""
        return len(self._window)

    def is_quiet(self, by: float) -> bool:
        """Whether nothing more comes of it here: it has nothing, or what it has is held, or due later.

        Args:
            by: in epoch seconds: later than what?
        """
        if self._errand_count or self._is_reading:
            return False
        if not self._window:
            return not self._spilled_count
        if self.spec.ordered:
            return next(iter(self._window.values())).is_idle(by)
        are_idle = all(parcel.is_idle(by) for parcel in self._window.values())
        return are_idle and not (self._spilled_count and self._has_room)

    @property
    def _has_room(self) -> bool:
        """Whether rows are to be read back: few are left that can be tried. Those that are held take room too."""
        if self._is_cut_off or len(self._window) <= WINDOW // 4:
            return True
        is_full = self.spec.ordered or len(self._window) >= WINDOW
        return not is_full and sum(not parcel.reason for parcel in self._window.values()) <= WINDOW // 4

    def is_prompt_until(self, now: float) -> float | None:
        """Whether it has a lot to do and is at it, so that nothing more need be brought and go to the journal; till when.

        Args:
            now: in epoch seconds.

        Returns:
            When it is to be asked again at the latest, in epoch seconds; None if it does not wait to be rid of some.
        """
        if self._spilled_count or not self._errand_count or len(self._window) < WINDOW // 2:
            return None
        until = (now if self._begun_at is None else self._begun_at) + PROMPT_S
        return until if now < until else None

    def admit(self, owed: OwedDelivery) -> None:
        """Take a delivery on, behind all that it has."""
        parcel = Parcel.packed(owed.context, owed.seq)
        settled = self._settled_unseen(owed)
        if settled is not None:
            self._settle(parcel, settled, owed.record)
        elif self._spilled_count or len(self._window) >= WINDOW:
            self._spill(parcel)
        else:
            self._office.outgoing.expect(parcel)
            self._enter(parcel)

    def take_rows(self, parcels: Sequence[Parcel], spilled_before: int, *, was_kept: bool) -> None:
        """The next of its rows.

        Args:
            parcels: made of them, in the order of their events.
            spilled_before: what `spilled_count` was when they were asked for.
            was_kept: whether all rows were in the journal by then.
        """
        self._is_reading = False
        for parcel in parcels:
            self._enter(parcel)
        unread = self._spilled_count - len(parcels)
        self._spilled_count = max(0, unread)
        if not parcels and was_kept and unread == spilled_before:
            self._spilled_count = 0  # they are gone: somebody has removed them
        if parcels or not self._spilled_count:
            self._office.look_at_once(self)
        else:
            self._office.look_when_kept(self)

    def load(self, parcels: Sequence[Parcel]) -> None:
        """Its first rows, as the journal had them when the run was taken up."""
        for parcel in parcels:
            self._enter(parcel)

    def pump(self) -> None:
        """Have tried what is due; read back what there is room for; say when to come again."""
        while batch := self.next_batch():
            self._office.send(self, batch)
        if self._spilled_count and self._has_room and not self._is_reading:
            self._is_reading = True
            self._office.read_back(self, self._read_seq)
        if self._errand_count < self._most_errands:
            at = self._next_look()
            if at is not None:
                self._office.look_at(self, at)

    def next_batch(self) -> Sequence[Parcel]:
        """What is to be tried now, which counts as at work until `took` is told of it; empty if there is nothing.

        What is to be kept before it is tried is at work from now on too, and sent when it is kept.
        """
        while self._errand_count < self._most_errands:
            batch = self._due_batch(self._office.debtor.now() + TOLERANCE_S)
            if not batch:
                break
            self._errand_count += 1
            self._begun_at = None
            self._at_work.update(parcel.id for parcel in batch)
            if batch[0].is_fresh:
                self._lingers_until = None
            if batch[0].batch or not self._commits_batches:
                return batch
            members = sealed(batch)
            self._office.outgoing.keep_first(members, partial(self._office.send_soon, self, members))
        return ()

    def note_begun(self, at: float) -> None:
        """A try has begun, at a time in epoch seconds."""
        self._begun_at = at

    def took(self, tried: Tried) -> None:
        """A try was made of each of a batch."""
        self._errand_count -= 1
        now, is_own = self._office.debtor.now(), self._office.debtor.is_own
        verdicts: list[Verdict] = []
        parcels: list[Parcel] = []
        for member, result in zip(tried.batch, tried.results, strict=True):
            parcel = member.tried(result, tried.began_at, now)
            verdicts.append(next_step(parcel.terms, parcel.tries, result, now, is_own=is_own))
            parcels.append(parcel)
        self._at_work.difference_update(parcel.id for parcel in parcels)
        told = in_step(verdicts) if self._commits_batches else verdicts
        for parcel, verdict, result in zip(parcels, told, tried.results, strict=True):
            self._conclude(parcel, verdict, result.record)

    @property
    def spilled_count(self) -> int:
        """Its rows that are not in memory."""
        return self._spilled_count

    def _enter(self, parcel: Parcel) -> None:
        if self._hold:
            self._wait(parcel.held(self._hold))  # who looks at the row is told why
        else:
            is_loose = bool(parcel.batch) and not self._commits_batches  # its hook was another one then
            self._window[parcel.id] = parcel.unsealed() if is_loose else parcel
        self._read_seq = max(self._read_seq, parcel.seq)

    def _spill(self, parcel: Parcel) -> None:
        """Leave a delivery to the journal, and see that those before it are there too: rows are read in their order."""
        if not self._spilled_count:
            for resident in self._window.values():
                self._office.outgoing.cover(resident)
        self._spilled_count += 1
        self._office.outgoing.keep_row(parcel)

    def _settled_unseen(self, owed: OwedDelivery) -> Settled | None:
        """What becomes of a delivery that needs no try."""
        if owed.fault:
            return Settled("failed", owed.fault)
        debtor = self._office.debtor
        skip = owed.skip or debtor.switches.skip_reason(self.spec, self.path)
        if not skip and debtor.is_own:
            skip = self._hold  # another process has nothing to do with what is new here
        if skip:
            return Settled("skipped", skip)
        return Settled("delivered") if self.spec.action == "transform" else None

    def _due_batch(self, now: float) -> Sequence[Parcel]:
        batch = self._first(now)
        if not self._lingers(batch, now):
            return batch.parcels
        # where order does not matter, those that have waited before go on
        return () if self.spec.ordered else self._first(now, but_fresh=True).parcels

    def _first(self, now: float, *, but_fresh: bool = False) -> Batch:
        """The next batch, as if there were none that have not been tried yet, if that is said."""
        compose = self._composed if self._commits_batches else self._taken
        return compose(now, but_fresh=but_fresh)

    def _taken(self, now: float, *, but_fresh: bool) -> Batch:
        return taken(self._due(now, but_fresh=but_fresh), self._batch_max)

    def _composed(self, now: float, *, but_fresh: bool) -> Batch:
        """The next batch that is one to its target: all of its members, or none as long as rows of them may be to come."""
        batch = composed(self._due(now, but_fresh=but_fresh), self._batch_max)
        is_broken = bool(batch.parcels and batch.parcels[0].batch) and not is_whole(batch.parcels)
        self._is_cut_off = is_broken and self._spilled_count > 0
        if self._is_cut_off:
            return Batch()
        if is_broken:  # what was of it has ended otherwise: the others make another one
            self._window.update((parcel.id, parcel.unsealed()) for parcel in batch.parcels)
            return composed(self._due(now, but_fresh=but_fresh), self._batch_max)
        return batch

    def _due(self, now: float, *, but_fresh: bool) -> Iterator[Parcel]:
        """What can be tried now, in order. On the way, what needs no try is settled."""
        for parcel in list(self._window.values()):
            if parcel.id in self._at_work or (but_fresh and parcel.is_fresh):
                continue
            settled = self._settled_untried(parcel, now)
            if settled is not None:
                self._settle(parcel, settled, {})
            elif not parcel.is_idle(now):
                yield parcel
            elif self.spec.ordered:
                return

    def _settled_untried(self, parcel: Parcel, now: float) -> Settled | None:
        """What becomes of a delivery in the window for other reasons than its own."""
        refusal = self._refusal or (DISABLED if self._is_disabled and not parcel.is_asked_for else "")
        return Settled("skipped", refusal) if refusal else too_old(parcel.terms, parcel.tries, now)

    @property
    def _is_disabled(self) -> bool:
        return self.spec.on_error == "disable" and self._failures >= self.spec.disable_after

    def _lingers(self, batch: Batch, now: float) -> bool:
        """Whether the first of a batch waits for more."""
        if self.spec.batch is None or not batch.parcels or batch.is_closed or self._office.is_all_there:
            return False
        if self._lingers_until is None:
            self._lingers_until = now + self.spec.batch.window
        return now < self._lingers_until

    def _next_look(self) -> float | None:
        """When something is due next that is only waiting; of an ordered line, its head."""
        if self._is_cut_off:
            return None  # there is a look when its rows are read
        idle = [parcel for parcel in self._window.values() if parcel.id not in self._at_work]
        waiting = [parcel for parcel in (idle[:1] if self.spec.ordered else idle) if not parcel.reason]
        lingers_until = self._lingers_until or 0.0
        times = (max(each.due_at, lingers_until) if each.is_fresh else each.due_at for each in waiting)
        return min(times, default=None)

    def _conclude(self, parcel: Parcel, verdict: Verdict, record: Mapping[str, Any]) -> None:
        match verdict:
            case Settled():
                self._settle(parcel, verdict, record)
            case Again(at):
                self._wait(parcel.due_again(at))
            case Held(reason):
                self._wait(parcel.held(reason))

    def _wait(self, parcel: Parcel) -> None:
        self._window[parcel.id] = parcel
        self._office.outgoing.keep_row(parcel)

    def _settle(self, parcel: Parcel, settled: Settled, facts: Mapping[str, Any]) -> None:
        self._window.pop(parcel.id, None)
        delivery = self._office.outgoing.settle(parcel, settled, facts)
        self._failures = failures_after(delivery, self._failures, self.spec.disable_after)


def _batch_max(spec: HookSpec, *, is_batchable: bool) -> int:
    if not is_batchable:
        return 1
    return BATCH_MAX if spec.batch is None else spec.batch.max
