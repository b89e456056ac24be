"""Ways to break the journal in a file, as processes that share one find out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from attrs import evolve
from hypothesis.stateful import initialize

from actorflow.core import breaker as rules
from actorflow.core.breaker import Allowed, Breaker, BreakerAsk, Refused
from actorflow.journal import claims, inbox, outbox, records, transaction
from actorflow.journal.driver import Cursor
from actorflow.journal.sqlite import SqliteJournal
from actorflow.journal.transaction import Transaction
from tests.mutants.mutant import Machine, Mutant
from tests.mutants.switches import replaced
from tests.test_store_machine import StoreMachine


class OpenedStoreMachine(StoreMachine):
    """A store in which something has happened before anything else does."""

    def __init__(self, opening: Callable[[StoreMachine], None]) -> None:
        super().__init__()
        self.opening = opening

    @initialize()
    def open(self) -> None:
        super().open()
        self.opening(self)


def owes_a_try(machine: StoreMachine) -> None:
    """A run has a delivery that is to be tried again, and by now another owner."""
    machine.create(0)
    machine.try_to_deliver(machine.a_process(0), *machine.a_run(0), "again")
    machine.release(0, 0)
    machine.try_to_claim(machine.a_process(1), 0, take_over=False)


def waits_for_an_owner(machine: StoreMachine) -> None:
    """Something is asked of a run that nobody has."""
    machine.create(0)
    machine.release(0, 0)
    machine.post(0, "pause")


def has_an_open_breaker(machine: StoreMachine) -> None:
    """Two processes have a run each, and a breaker is open."""
    machine.create(0)
    machine.create(1)
    machine.outcomes += 1
    machine.try_to_report(machine.a_process(0), "r-1", "quick", "a", "failure")


def processes(opening: Callable[[StoreMachine], None]) -> Machine:
    """Processes with a store in which that has happened."""
    return Machine(partial(OpenedStoreMachine, opening), examples=300, steps=40)


PROCESSES: Final = Machine(StoreMachine, examples=1_000, steps=40)
OWING: Final = processes(owes_a_try)
ASKED: Final = processes(waits_for_an_owner)
GUARDED: Final = processes(has_an_open_breaker)


@contextmanager
def fence_unchecked() -> Iterator[None]:
    """Who has lost its runs writes on."""
    with replaced(SqliteJournal, "_refuse_if_fenced", lambda journal: None):
        yield


@contextmanager
def locks_ignored() -> Iterator[None]:
    """Every owner is taken for dead."""
    with replaced(claims, "find_live", lambda cursor, store, owner: None):
        yield


@contextmanager
def two_probes() -> Iterator[None]:
    """A half-open breaker lets everybody try."""
    ask = rules.ask

    def ask_anyhow(
        kept: Breaker, question: BreakerAsk, now: float, *, is_probe_held: bool
    ) -> tuple[Breaker, Allowed | Refused]:
        return ask(kept, question, now, is_probe_held=False)

    with replaced(rules, "ask", ask_anyhow):
        yield


@contextmanager
def survivors_left() -> Iterator[None]:
    """A run changes hands, whatever its owner has left behind."""
    claim = SqliteJournal.claim

    def claim_at_once(
        journal: SqliteJournal, run_id: str, *, take_over: bool = False, end_survivors: object = None
    ) -> Any:
        return claim(journal, run_id, take_over=take_over)

    with replaced(SqliteJournal, "claim", claim_at_once):
        yield


@contextmanager
def silence_ignored() -> Iterator[None]:
    """Who wants to take over may, however lately the owner has given a sign of life."""
    with replaced(claims, "STALE_S", 0.0):
        yield


@contextmanager
def requests_seen_once() -> Iterator[None]:
    """An owner that claims a run does not look for what was asked of it before."""
    with replaced(inbox.Inbox, "look_anew", lambda box: None):
        yield


@contextmanager
def settled_still_pending() -> Iterator[None]:
    """A delivery that is settled keeps its row."""
    with replaced(outbox.OutboxChanges, "drop", lambda changes, run, ids: None):
        yield


@contextmanager
def outbox_taken_for_empty() -> Iterator[None]:
    """Who claims a run takes it that nothing of it is pending."""
    find_tail = records.find_tail

    def empty(cursor: Cursor, record: records.RunRecord) -> records.HeldRun:
        return evolve(find_tail(cursor, record), may_have_pending=False)

    with replaced(claims, "find_tail", empty):
        yield


@contextmanager
def claimed_without_fencing() -> Iterator[None]:
    """Who takes a run over leaves its owner before as it was."""
    with replaced(claims, "fence", lambda cursor, owner: None):
        yield


@contextmanager
def never_beats() -> Iterator[None]:
    """An owner never says again that it is alive."""

    def only_listen(journal: SqliteJournal) -> None:
        if journal._is_registered:
            journal._refuse_if_fenced()

    with (
        replaced(SqliteJournal, "heartbeat", only_listen),
        replaced(SqliteJournal, "_is_heartbeat_due", lambda journal, now: False),
    ):
        yield


@contextmanager
def probes_of_others_are_free() -> Iterator[None]:
    """A probe counts as somebody's only in the process that has it."""
    with replaced(Transaction, "_is_owned", lambda those, run_id: run_id in those._held):
        yield


@contextmanager
def answered_and_still_there() -> Iterator[None]:
    """A request that was answered stays in the inbox."""
    with replaced(transaction, "drop_requests", lambda cursor, numbers: 0):
        yield


STORE: Final = {
    "fence unchecked in a file": Mutant(
        fence_unchecked, {"a fenced owner writes nothing", "only the owner writes"}, PROCESSES
    ),
    "locks ignored": Mutant(locks_ignored, {"one owner at a time"}, PROCESSES),
    "two probes at once in a file": Mutant(two_probes, {"one probe at a time"}, GUARDED),
    "survivors left": Mutant(survivors_left, {"survivors end before a run changes hands"}, PROCESSES),
    "silence ignored": Mutant(silence_ignored, {"one owner at a time"}, PROCESSES),
    "settled and still pending": Mutant(
        settled_still_pending,
        {"a run's row is not behind", "a delivery is pending until it is settled"},
        OWING,
    ),
    "an outbox that is taken for empty": Mutant(
        outbox_taken_for_empty,
        {"a run's row is not behind", "a delivery is pending until it is settled"},
        OWING,
    ),
    "requests not looked for after a claim": Mutant(
        requests_seen_once, {"a request is told until it is answered, and once"}, ASKED
    ),
    "claim without fencing": Mutant(
        claimed_without_fencing,
        {"a fenced owner writes nothing", "only the owner writes", "one owner at a time"},
        PROCESSES,
    ),
    "heartbeat never": Mutant(never_beats, {"one owner at a time"}, PROCESSES),
    "a probe in each process": Mutant(probes_of_others_are_free, {"one probe at a time"}, GUARDED),
    "request answered twice": Mutant(
        answered_and_still_there, {"a request is told until it is answered, and once"}, ASKED
    ),
}
