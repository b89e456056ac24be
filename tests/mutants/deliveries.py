"""Ways to break what is said of async hooks: ids, tries, batches, and what the next process knows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from time import time_ns
from typing import Any, Final

from attrs import evolve

from actorflow.core import owed
from actorflow.core.delivery import Settled, Tries
from actorflow.core.hook_context import HookContext
from actorflow.hooks import batching, deliveries, open_deliveries
from actorflow.hooks import line as hook_line
from actorflow.hooks.outgoing import Outgoing
from actorflow.hooks.parcel import Parcel
from actorflow.journal.protocol import Delivery
from actorflow.runtime import open_runtime
from tests.mutants import delivery_hunts as hunts
from tests.mutants.mutant import Mutant
from tests.mutants.switches import replaced


@contextmanager
def id_from_a_clock() -> Iterator[None]:
    """The id of a delivery is drawn when it is rendered."""
    snapshot = owed.snapshot

    def snapshot_now(*facts: Any) -> HookContext:
        state, entry, occasion, delivery_id, *more = facts
        return snapshot(state, entry, occasion, f"{delivery_id}/{time_ns()}", *more)

    with replaced(owed, "snapshot", snapshot_now):
        yield


@contextmanager
def cursor_passes_what_is_owed() -> Iterator[None]:
    """The cursor is the last event that was looked at, whether or not all that it owes is settled."""
    with replaced(Outgoing, "_next_cursor", lambda outgoing, folded_seq: folded_seq):
        yield


@contextmanager
def settled_not_known() -> Iterator[None]:
    """Who goes on does not look at what is settled behind the cursor."""
    open_all = deliveries.open_deliveries

    def open_unknown(*facts: Any) -> Any:
        return evolve(open_all(*facts), known=frozenset[str]())

    with replaced(deliveries, "open_deliveries", open_unknown):
        yield


@contextmanager
def tries_in_memory() -> Iterator[None]:
    """How often a delivery was tried is forgotten with the process."""
    opened = open_deliveries.opened

    def opened_anew(*facts: Any) -> Parcel:
        return evolve(opened(*facts), tries=Tries())

    with replaced(open_deliveries, "opened", opened_anew):
        yield


@contextmanager
def given_up_without_a_letter() -> Iterator[None]:
    """Of a delivery that was given up, the journal has no dead letter."""
    settle = Outgoing.settle

    def settle_quietly(
        outgoing: Outgoing, parcel: Parcel, settled: Settled, facts: Mapping[str, Any]
    ) -> Delivery:
        delivery = settle(outgoing, parcel, settled, facts)
        outgoing._letters.clear()
        return delivery

    with replaced(Outgoing, "settle", settle_quietly):
        yield


@contextmanager
def rows_not_written() -> Iterator[None]:
    """A delivery that is to be tried again is in the memory of its process alone, and the cursor goes on."""

    def leave(outgoing: Outgoing, parcel: Parcel) -> None:
        outgoing._uncovered.pop(parcel.id, None)

    with replaced(Outgoing, "keep_row", leave):
        yield


@contextmanager
def members_chosen_for_each_try() -> Iterator[None]:
    """Which deliveries go together is settled anew for each try."""
    with replaced(hook_line, "sealed", lambda parcels: parcels):
        yield


@contextmanager
def batch_named_by_a_counter() -> Iterator[None]:
    """A batch has another id for each try."""
    numbers = count()

    with replaced(batching, "name_of", lambda parcels: f"b_{next(numbers)}"):
        yield


@contextmanager
def sent_before_it_is_kept() -> Iterator[None]:
    """A batch is sent while its members are on their way to the journal."""

    def keep_and_send(outgoing: Outgoing, parcels: Sequence[Parcel], then: Callable[[], None]) -> None:
        for parcel in parcels:
            outgoing.keep_row(parcel)
        then()

    with replaced(Outgoing, "keep_first", keep_and_send):
        yield


@contextmanager
def child_named_by_a_counter() -> Iterator[None]:
    """A hook that starts a run starts another one each time that it is tried."""
    numbers = count()

    with replaced(open_runtime, "dispatched_id", lambda target, delivery_id: f"{target}-{next(numbers)}"):
        yield


DELIVERIES: Final = {
    "delivery id from a clock": Mutant(id_from_a_clock, {hunts.SAME_ID, hunts.OWED, hunts.ONCE}, hunts.LIVES),
    "cursor passes what is owed": Mutant(
        cursor_passes_what_is_owed, {hunts.OWED, hunts.COUNTED}, hunts.STUCK
    ),
    "settled deliveries not known": Mutant(settled_not_known, {hunts.ONCE}, hunts.STUCK),
    "tries of a delivery in memory": Mutant(tries_in_memory, {hunts.COUNTED}, hunts.STUCK),
    "given up without a dead letter": Mutant(given_up_without_a_letter, {hunts.LETTERS}, hunts.LIVES),
    "retry of a delivery in memory": Mutant(rows_not_written, {hunts.OWED}, hunts.STUCK),
    "membership of a batch recomputed": Mutant(
        members_chosen_for_each_try, {hunts.SAME_MEMBERS}, hunts.MEMBERS
    ),
    "batch id drawn for each try": Mutant(batch_named_by_a_counter, {hunts.SAME_MEMBERS}, hunts.MEMBERS),
    "batch sent before it is kept": Mutant(sent_before_it_is_kept, {hunts.KEPT_FIRST}, hunts.MEMBERS_FIRST),
    "a dispatched run for each try": Mutant(child_named_by_a_counter, {hunts.ONE_RUN}, hunts.DISPATCH),
}
