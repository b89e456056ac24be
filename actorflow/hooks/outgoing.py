"""What came of a run's deliveries, on its way into the journal: gathered while a record is under way, then one more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from actorflow.core.delivery import Settled
from actorflow.hooks.debtor import Debtor
from actorflow.hooks.parcel import Parcel, delivery_of, row_of
from actorflow.journal.protocol import (
    DeadLetter,
    Delivery,
    KeepDeadLetter,
    Outcome,
    PendingDelivery,
    RecordDeliveries,
)

__all__ = ["Outgoing"]

FULL: Final = 1_024
"""With so many to record, no more are taken on until some are kept."""

WORTH_IT: Final = 256
"""With so many to record, a commit is worth its price."""

LAG: Final = 1_024
"""Events that the cursor may stay behind: then what it waits for gets rows, so that it can go on."""

CURSOR_STEP: Final = 1_024
"""Events that owed nothing, after which the cursor is worth a record of its own."""


class Outgoing:
    """Settled deliveries, rows of pending ones and dead letters, until they are kept; and the cursor.

    Args:
        debtor: the run.
        cursor: as the journal has it.
        inputs: those of the run as hooks are told of them.
        on_kept: called when a record is kept.
        on_lost: called with what stood in the way of one: nothing of the run can be kept any more.
    """

    def __init__(
        self,
        debtor: Debtor,
        cursor: int,
        *,
        inputs: Callable[[], Mapping[str, Any]],
        on_kept: Callable[[], None],
        on_lost: Callable[[Exception], None],
    ) -> None:
        self._debtor = debtor
        self._cursor = cursor
        self._inputs = inputs
        self._on_kept = on_kept
        self._on_lost = on_lost
        self._uncovered: dict[
            str, Parcel
        ] = {}  #: neither settled nor with a row; in the order of their events
        self._settled: list[Delivery] = []
        self._actions: list[str] = []  #: of those
        self._rows: dict[str, PendingDelivery] = {}
        self._letters: list[KeepDeadLetter] = []
        self._awaiting: list[Callable[[], None]] = []  #: called when the rows are kept
        self._recording_count = 0

    @property
    def is_recording(self) -> bool:
        """Whether a record is under way."""
        return self._recording_count > 0

    @property
    def is_worth_it(self) -> bool:
        """Whether what there is to record need not wait for more: it is a lot, or somebody waits for it."""
        return bool(self._awaiting) or len(self._settled) + len(self._rows) >= WORTH_IT

    @property
    def is_full(self) -> bool:
        """Whether nothing more should be taken on for now."""
        return len(self._settled) + len(self._rows) >= FULL

    @property
    def is_kept(self) -> bool:
        """Whether there is nothing to record, and nothing is being recorded."""
        return not self.is_recording and not self._settled and not self._rows

    def expect(self, parcel: Parcel) -> None:
        """This delivery is in memory alone: the cursor stays in front of it. Told in the order of events."""
        self._uncovered[parcel.id] = parcel

    def settle(self, parcel: Parcel, settled: Settled, facts: Mapping[str, Any]) -> Delivery:
        """A delivery is over; what is recorded of it."""
        self._uncovered.pop(parcel.id, None)
        self._rows.pop(parcel.id, None)
        delivery = delivery_of(parcel, settled, facts)
        self._settled.append(delivery)
        self._actions.append(parcel.terms.spec.action)
        if settled.status == "dead_letter":
            self._letters.append(self._letter(parcel, settled.reason))
        return delivery

    def cover(self, parcel: Parcel) -> None:
        """A delivery is to have a row, unless it has one."""
        if parcel.id in self._uncovered:
            self.keep_row(parcel)

    def keep_row(self, parcel: Parcel) -> None:
        """A delivery is to have a row, in place of the one that it may have."""
        self._uncovered.pop(parcel.id, None)
        self._rows[parcel.id] = row_of(parcel, self._inputs())

    def keep_first(self, parcels: Sequence[Parcel], then: Callable[[], None]) -> None:
        """Deliveries are to have rows, all in one record, before anything is done with them.

        Args:
            parcels: the deliveries.
            then: called when the rows are kept; never, where they cannot be.
        """
        for parcel in parcels:
            self.keep_row(parcel)
        self._awaiting.append(then)

    def flush(self, folded_seq: int, *, is_last: bool) -> None:
        """Record what there is, unless a record is under way: `on_kept` is the time to ask for more.

        Args:
            folded_seq: number of the last event of which all that it owes has been told.
            is_last: whether the cursor is to be recorded too where nothing but it has changed.
        """
        if self.is_recording:
            return
        if folded_seq - self._next_cursor(folded_seq) > LAG:
            for parcel in list(self._uncovered.values()):
                self.keep_row(parcel)
        cursor = self._next_cursor(folded_seq)
        least = 1 if is_last else CURSOR_STEP
        if self._settled or self._rows or cursor - self._cursor >= least:
            self._record(cursor)

    def save(self) -> None:
        """Record what there is at once, and leave the cursor where it is: nothing more is told, and not all may have been."""
        if self._settled or self._rows:
            self._record(self._cursor)

    def _next_cursor(self, folded_seq: int) -> int:
        """The last event up to which everything owed is settled or has a row."""
        first = next(iter(self._uncovered.values()), None)
        return folded_seq if first is None else min(folded_seq, first.seq - 1)

    def _record(self, cursor: int) -> None:
        """All in one turn, and so in one commit."""
        settled, self._settled = self._settled, []
        actions, self._actions = self._actions, []
        rows, self._rows = self._rows, {}
        letters, self._letters = self._letters, []
        awaiting, self._awaiting = self._awaiting, []
        self._recording_count += 1
        for letter in letters:
            self._debtor.keep(letter, _no_answer)
        record = RecordDeliveries(self._debtor.run_id, settled, cursor, list(rows.values()))

        def kept(outcome: Outcome) -> None:
            self._recording_count -= 1
            if isinstance(outcome, Exception):
                self._on_lost(outcome)
            else:
                self._cursor = cursor
                for action, delivery in zip(actions, settled, strict=True):
                    self._debtor.note(action, delivery.status)
                for then in awaiting:
                    then()
                self._on_kept()

        self._debtor.keep(record, kept)

    def _letter(self, parcel: Parcel, reason: str) -> KeepDeadLetter:
        run_id, path, now = self._debtor.run_id, parcel.context.path, self._debtor.now()
        letter = DeadLetter(parcel.id, "delivery", run_id, path, reason, now, parcel.seq)
        return KeepDeadLetter(letter, row_of(parcel, self._inputs()).body)


def _no_answer(_: Outcome) -> None:
    """What stands in the way of a letter stands in the way of the record beside it."""
