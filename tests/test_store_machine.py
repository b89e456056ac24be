"""A machine of processes that share one store, each with a journal of its own, which stop, die and take runs over.

The journals are real, in a file; the clock is ours. What the store should hold is kept beside it, in plain values, and
compared after each step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias, get_args

from attrs import define, field
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from actorflow.core.breaker import (
    Allowed,
    BreakerAsk,
    BreakerReport,
    Counted,
    Refused,
)
from actorflow.core.events import Event, SignalReceived
from actorflow.errors import FencedError, RunOwnedElsewhereError
from actorflow.journal import (
    Answered,
    Append,
    AskBreaker,
    CreateRun,
    DeadLetter,
    Delivery,
    DropDeadLetters,
    KeepDeadLetter,
    Outcome,
    PendingDelivery,
    RecordDeliveries,
    Release,
    RunSummary,
    TellBreaker,
)
from actorflow.journal.protocol import STALE_S, RequestKind, Write
from actorflow.journal.sqlite import SqliteJournal
from actorflow.spec.model import BreakerSpec
from tests.promises import expect
from tests.promises_of_breakers import BreakerPromises

RUNNING = RunSummary("running", 1, 1000.0, None)
BREAKERS = {
    "quick": BreakerSpec(threshold=1, cooldown=0.05),
    "slow": BreakerSpec(threshold=2, window=300.0, cooldown=20.0),
}
KEYS = st.sampled_from(sorted(BREAKERS))
NUMBERS = st.integers(0, 5)
TryEnd: TypeAlias = Literal["again", "delivered", "dead_letter"]
TRY_ENDS = st.sampled_from(get_args(TryEnd))
Told: TypeAlias = tuple[RecordDeliveries, KeepDeadLetter | DropDeadLetters]
LONG_S = 2 * STALE_S
MOST_RUNS = 3
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where a folder lies whose flushes cost nothing; None: there is no such place."""


@define(eq=False)
class Process:
    """A process as the others see it; it may be stopped without knowing."""

    journal: SqliteJournal
    cookie: str
    is_stopped: bool = False
    is_fenced: bool = False


@define(eq=False)
class KeptRun:
    """What the store should hold of a run."""

    owner: Process | None
    is_orphan: bool = False  #: its owner died, or was fenced, without giving it up
    events: list[Event] = field(factory=list[Event])
    requests: list[int] = field(factory=list[int])
    letters: list[DeadLetter] = field(factory=list[DeadLetter])
    settled: list[Delivery] = field(factory=list[Delivery])
    pending: dict[str, PendingDelivery] = field(factory=dict[str, PendingDelivery])
    bodies: dict[str, int] = field(factory=dict[str, int])  #: of the letters of deliveries, by their ids
    cursor: int = 0


class StoreMachine(RuleBasedStateMachine):
    """All that processes can do to a store, and to each other."""

    @initialize()
    def open(self) -> None:
        self.folder = TemporaryDirectory(dir=IN_MEMORY)
        self.path = str(Path(self.folder.name) / "state.db")
        self.now = 1000.0
        self.runs: dict[str, KeptRun] = {}
        self.processes: list[Process] = []
        self.outcomes = 0
        self.tries = 0
        self.promises = BreakerPromises()
        self.reader = SqliteJournal(self.path, clock=lambda: self.now)
        self.start_process()
        self.start_process()

    def running(self) -> list[Process]:
        return [each for each in self.processes if not each.is_stopped]

    def stopped(self) -> list[Process]:
        return [each for each in self.processes if each.is_stopped]

    def a_process(self, number: int) -> Process:
        return self.running()[number % len(self.running())]

    def a_run(self, number: int) -> tuple[str, KeptRun]:
        return list(self.runs.items())[number % len(self.runs)]

    def write(self, process: Process, write: Write) -> Outcome:
        """Have a process write one thing; see `write_all`."""
        (outcome,) = self.write_all(process, [write])
        return outcome

    def write_all(self, process: Process, writes: Sequence[Write]) -> Sequence[Outcome]:
        """Have a process write things in one commit; a fenced one can't, and is at its end."""
        try:
            outcomes = process.journal.commit(writes)
        except FencedError as error:
            expect("only who is fenced is told so", process.is_fenced, writes)
            self.end(process)
            return [error] * len(writes)
        expect("a fenced owner writes nothing", not process.is_fenced, writes)
        return outcomes

    def end(self, process: Process) -> None:
        """The process is no more; what it owned is left behind."""
        self.processes.remove(process)
        process.journal.close()
        self.orphan(process)

    def orphan(self, process: Process) -> None:
        for run in self.runs.values():
            if run.owner is process:
                run.owner, run.is_orphan = None, True

    @precondition(lambda self: len(self.processes) < 3)
    @rule()
    def start_process(self) -> None:
        journal = SqliteJournal(self.path, clock=lambda: self.now)
        self.processes.append(Process(journal, journal.cookie))

    @precondition(lambda self: self.running() and len(self.runs) < MOST_RUNS)
    @rule(number=NUMBERS)
    def create(self, number: int) -> None:
        process, run_id = self.a_process(number), f"r-{len(self.runs) + 1}"
        outcome = self.write(process, CreateRun(run_id, "w", "hash", b"{}", RUNNING))
        if process in self.processes:
            expect("a run can be created", outcome is None, outcome)
            self.runs[run_id] = KeptRun(process)

    @precondition(lambda self: self.running() and self.runs)
    @rule(number=NUMBERS, run=NUMBERS, is_next=st.booleans())
    def append(self, number: int, run: int, is_next: bool) -> None:
        self.try_to_append(self.a_process(number), run, is_next=is_next)

    def try_to_append(self, process: Process, number: int, *, is_next: bool) -> None:
        """Whoever tries, only the owner's events are kept, and only those that follow the last one."""
        run_id, run = self.a_run(number)
        seq = len(run.events) + 1
        event = SignalReceived(self.now, "go", None, f"s-{seq}")
        may_write = run.owner is process and not process.is_fenced
        outcome = self.write(process, Append(run_id, seq + (not is_next), [event]))
        expect("only the owner writes", outcome is not None or may_write, (run_id, outcome))
        expect("numbers have no gaps", outcome is not None or is_next, (run_id, outcome))
        expect("an owner can write", outcome is None or not (may_write and is_next), (run_id, outcome))
        if outcome is None:
            run.events.append(event)

    @precondition(lambda self: self.running() and self.runs)
    @rule(number=NUMBERS, run=NUMBERS)
    def release(self, number: int, run: int) -> None:
        process, (run_id, kept) = self.a_process(number), self.a_run(run)
        is_owner = kept.owner is process and not process.is_fenced
        outcome = self.write(process, Release(run_id))
        expect("only the owner gives a run up", (outcome is None) == is_owner, (run_id, outcome))
        if is_owner:
            kept.owner = None

    @precondition(lambda self: self.running() and self.runs)
    @rule(number=NUMBERS, run=NUMBERS, take_over=st.booleans())
    def claim(self, number: int, run: int, take_over: bool) -> None:
        self.try_to_claim(self.a_process(number), run, take_over=take_over)

    @precondition(lambda self: len(self.running()) > 1 and any(run.owner for run in self.runs.values()))
    @rule(number=NUMBERS, is_woken=st.booleans())
    def take_over(self, number: int, is_woken: bool) -> None:
        """An owner is stopped for so long that another takes its run; perhaps it finds that out at once."""
        owned = [place for place, run in enumerate(self.runs.values()) if run.owner is not None]
        place = owned[number % len(owned)]
        before = self.a_run(place)[1].owner
        assert before is not None
        before.is_stopped = True
        self.pass_time(LONG_S)
        others = [each for each in self.running() if each is not before]
        if others:
            self.try_to_claim(others[0], place, take_over=True)
        if is_woken:
            before.is_stopped = False
            self.try_to_append(before, place, is_next=True)

    def try_to_claim(self, process: Process, number: int, *, take_over: bool) -> None:
        """Only a run of nobody alive can be had, and its last owner's processes are seen to before."""
        self.look_for_requests(process)
        if process in self.processes:
            self.claim_run(process, *self.a_run(number), take_over=take_over)
        if process in self.processes:
            self.look_for_requests(process)

    def claim_run(self, process: Process, run_id: str, kept: KeptRun, *, take_over: bool) -> None:
        before, called = kept.owner, list[str]()
        is_left = before is None or before is process
        was_stopped = before is not None and before.is_stopped
        may_claim = is_left or (take_over and was_stopped and self.is_silent(before))

        def end_survivors(prefix: str) -> None:
            called.append(prefix)
            (outcome,) = process.journal.commit([Append(run_id, len(kept.events) + 1, [])])
            expect("survivors end before a run changes hands", outcome is not None, run_id)

        try:
            process.journal.claim(run_id, take_over=take_over, end_survivors=end_survivors)
        except FencedError:
            expect("only who is fenced is told so", process.is_fenced, run_id)
            self.end(process)
            return
        except RunOwnedElsewhereError:
            expect("a run of nobody alive can be claimed", not may_claim, run_id)
            expect("nothing is done for a claim that fails", not called, called)
            return
        expect("a fenced owner writes nothing", not process.is_fenced, run_id)
        expect("one owner at a time", may_claim, run_id)
        if before is not None and before is not process:
            before.is_fenced = True
            self.orphan(before)
        is_told = len(called) == int(kept.is_orphan) and all(each.endswith(f"/{run_id}/") for each in called)
        expect("survivors end before a run changes hands", is_told, called)
        kept.owner, kept.is_orphan = process, False

    def is_silent(self, process: Process | None) -> bool:
        assert process is not None
        return self.now - process.journal._heartbeat_at >= STALE_S

    @precondition(lambda self: self.running())
    @rule(number=NUMBERS)
    def stop(self, number: int) -> None:
        self.a_process(number).is_stopped = True

    @precondition(lambda self: self.stopped())
    @rule(run=NUMBERS)
    def wake(self, run: int) -> None:
        process = self.stopped()[0]
        process.is_stopped = False
        if self.runs:
            self.try_to_append(process, run, is_next=True)

    @precondition(lambda self: self.processes)
    @rule(number=NUMBERS)
    def kill(self, number: int) -> None:
        process = self.processes[number % len(self.processes)]
        process.journal._store.fail("its process died")
        self.end(process)

    @rule(is_long=st.booleans())
    def time_passes(self, is_long: bool) -> None:
        self.pass_time(LONG_S if is_long else 0.1)

    def pass_time(self, seconds: float) -> None:
        """Whoever is not stopped gives signs of life meanwhile."""
        self.now += seconds
        for process in self.running() if seconds >= STALE_S else ():
            try:
                process.journal.heartbeat()
            except FencedError:
                expect("only who is fenced is told so", process.is_fenced, process)
                self.end(process)

    def is_owned(self, run_id: str) -> bool:
        return self.runs[run_id].owner is not None

    @precondition(lambda self: self.running() and self.runs)
    @rule(number=NUMBERS, run=NUMBERS, key=KEYS, task=st.sampled_from("ab"))
    def ask(self, number: int, run: int, key: str, task: str) -> None:
        self.try_to_ask(self.a_process(number), self.a_run(run)[0], key, task)

    @precondition(lambda self: self.running() and self.runs)
    @rule(number=NUMBERS, key=KEYS, have_failed=st.booleans())
    def all_ask(self, number: int, key: str, have_failed: bool) -> None:
        """After a rest everybody wants to go on at once: of a breaker that was open, one may."""
        for run_id in self.runs if have_failed else ():
            if self.running():
                self.outcomes += 1
                self.try_to_report(self.a_process(number), run_id, key, "a", "failure")
        self.pass_time(LONG_S)
        for run_id in self.runs:
            if self.running():
                self.try_to_ask(self.a_process(number), run_id, key, "a")

    def try_to_ask(self, process: Process, run_id: str, key: str, task: str) -> None:
        question = BreakerAsk(key, BREAKERS[key], run_id, task)
        answer = self.write(process, AskBreaker(question, self.now))
        if isinstance(answer, Allowed | Refused):
            self.promises.check_answer(question, answer, self.now, self.is_owned)

    @precondition(lambda self: self.running() and self.runs)
    @rule(
        number=NUMBERS,
        run=NUMBERS,
        key=KEYS,
        task=st.sampled_from("ab"),
        outcome=st.sampled_from(["failure", "failure", "success", "released"]),
        is_new=st.booleans(),
        late_s=st.sampled_from([0.0, 0.0, 0.1, 20.0, 300.0]),
    )
    def report(
        self, number: int, run: int, key: str, task: str, outcome: Any, is_new: bool, late_s: float
    ) -> None:
        """Tell how an attempt has ended, perhaps a while ago."""
        self.outcomes += is_new
        self.try_to_report(self.a_process(number), self.a_run(run)[0], key, task, outcome, late_s=late_s)

    def try_to_report(
        self, process: Process, run_id: str, key: str, task: str, outcome: Any, *, late_s: float = 0.0
    ) -> None:
        told = BreakerReport(key, BREAKERS[key], run_id, task, self.outcomes, self.now - late_s, outcome)
        answer = self.write(process, TellBreaker(told, self.now))
        if isinstance(answer, Counted):
            self.promises.check_count(told, answer, self.now)

    @precondition(lambda self: self.runs)
    @rule(run=NUMBERS, kind=st.sampled_from(["cancel", "pause", "resume"]))
    def post(self, run: int, kind: RequestKind) -> None:
        run_id, kept = self.a_run(run)
        kept.requests.append(self.reader.post(run_id, kind, {}))

    @precondition(lambda self: self.running())
    @rule(number=NUMBERS)
    def answer_requests(self, number: int) -> None:
        self.look_for_requests(self.a_process(number))

    def look_for_requests(self, process: Process) -> None:
        """An owner is told all that is asked of its runs, and answers the first."""
        try:
            asked = process.journal.requests()
        except FencedError:
            expect("only who is fenced is told so", process.is_fenced, process)
            self.end(process)
            return
        expected = [id_ for run in self.runs.values() if run.owner is process for id_ in run.requests]
        ids = [request.id for request in asked]
        expect("a request is told until it is answered, and once", ids == sorted(expected), (ids, expected))
        if ids:
            self.write(process, Answered(ids[:1]))
            for run in self.runs.values():
                run.requests = [id_ for id_ in run.requests if id_ != ids[0]]

    @precondition(lambda self: self.running() and self.runs)
    @rule(number=NUMBERS, run=NUMBERS, task=st.sampled_from("ab"), is_dropped=st.booleans())
    def letters(self, number: int, run: int, task: str, is_dropped: bool) -> None:
        process, (run_id, kept) = self.a_process(number), self.a_run(run)
        letter = DeadLetter(
            f"{run_id}/1/{task}", "task", run_id, task, "Broken: no", self.now, len(kept.events)
        )
        is_owner = kept.owner is process and not process.is_fenced
        outcome = self.write(
            process, DropDeadLetters(run_id, [task]) if is_dropped else KeepDeadLetter(letter)
        )
        expect("only the owner writes", outcome is not None or is_owner, (run_id, outcome))
        if outcome is None:
            kept.letters = [each for each in kept.letters if each.task != task]
            kept.letters += [] if is_dropped else [letter]

    @precondition(lambda self: self.running() and self.runs)
    @rule(
        number=NUMBERS,
        run=NUMBERS,
        ends=st.lists(TRY_ENDS, min_size=1, max_size=4),
        is_passed_on=st.booleans(),
    )
    def deliver(self, number: int, run: int, ends: Sequence[TryEnd], is_passed_on: bool) -> None:
        """Tries of a run's deliveries, by its owner more often than not; the run may rest before the last one."""
        run_id, kept = self.a_run(run)
        for place, end in enumerate(ends, 1):
            is_by_owner = number > 0 and kept.owner in self.running()
            process = kept.owner if is_by_owner else self.a_process(number)
            if process is None or not self.running():
                return
            if is_passed_on and place == len(ends) and self.write(process, Release(run_id)) is None:
                kept.owner = None
                self.claim_run(process, run_id, kept, take_over=False)
            self.try_to_deliver(process, run_id, kept, end)
            if not self.running():
                return

    def try_to_deliver(self, process: Process, run_id: str, kept: KeptRun, end: TryEnd) -> None:
        """What has been pending longest is tried, or what a new event owes."""
        self.tries += 1
        last = len(kept.events)
        news = [] if kept.pending else [SignalReceived(self.now, "go", None, f"s-{last + 1}")]
        seq = min((each.seq for each in kept.pending.values()), default=last + 1)
        told = self.told_of(run_id, seq, end)
        is_owner = kept.owner is process and not process.is_fenced
        outcomes = self.write_all(process, [Append(run_id, last + 1, news), *told])
        expect("only the owner writes", is_owner or None not in outcomes, outcomes)
        if is_owner:
            expect("an owner can write", outcomes == [None] * 3, outcomes)
            kept.events += news
            self.note_delivery(kept, told)

    def told_of(self, run_id: str, seq: int, end: TryEnd) -> Told:
        """What is written of a try: that of one that was given up has a letter, and no other."""
        delivery_id, body = f"{run_id}/{seq}/h[0]", {"try": self.tries}
        letter = DeadLetter(f"letter of {delivery_id}", "delivery", run_id, "h[0]", "no", self.now, seq)
        dropped = DropDeadLetters(run_id, ids=[letter.id])
        if end == "again":
            pending = PendingDelivery(delivery_id, "h[0]", seq, self.now, body)
            return RecordDeliveries(run_id, [], seq, [pending]), dropped
        record = RecordDeliveries(run_id, [Delivery(delivery_id, "h[0]", seq, end, body)], seq)
        return record, KeepDeadLetter(letter, body) if end == "dead_letter" else dropped

    def note_delivery(self, kept: KeptRun, told: Told) -> None:
        record, about = told
        kept.cursor = max(kept.cursor, record.cursor)
        kept.settled += record.deliveries
        for settled in record.deliveries:
            kept.pending.pop(settled.delivery_id, None)
        kept.pending |= {each.delivery_id: each for each in record.pending}
        if isinstance(about, KeepDeadLetter):
            kept.bodies[about.letter.id] = self.tries
        else:
            kept.bodies.pop(about.ids[0], None)

    @invariant()
    def the_store_holds_what_was_acknowledged(self) -> None:
        if not hasattr(self, "reader"):
            return
        for run_id, run in self.runs.items():
            events = list(self.reader.events(run_id))
            expect("what was acknowledged is kept", [e for _, e in events] == run.events, run_id)
            numbers = [number for number, _ in events]
            expect("numbers have no gaps", numbers == list(range(1, len(events) + 1)), numbers)
            is_owned = self.reader.find(run_id).owner_pid is not None
            expect("one owner at a time", is_owned == (run.owner is not None), run_id)
            self.the_store_holds_deliveries(run_id, run)
            waiting = [self.reader.is_asked(request) for request in run.requests]
            expect("a request is told until it is answered, and once", all(waiting), run_id)
        kept = sorted(each.id for each in self.reader.dead_letters())
        expected = sorted(letter.id for run in self.runs.values() for letter in run.letters)
        expected = sorted([*expected, *(each for run in self.runs.values() for each in run.bodies)])
        expect("dead letters are kept until they are dropped", kept == expected, kept)

    def the_store_holds_deliveries(self, run_id: str, run: KeptRun) -> None:
        """What is settled, what is pending, and what can be tried again; of each delivery the last word."""
        row, pending = self.reader.find(run_id), self.reader.pending(run_id)
        counts = (row.last_seq, row.cursor, self.reader.pending_counts().get(run_id, 0))
        expect("a run's row is not behind", counts == (len(run.events), run.cursor, len(run.pending)), counts)
        settled = self.reader.deliveries(run_id)
        expect("what is settled is kept in its order", settled == run.settled, run_id)
        late = [each for each in run.settled if each.seq > 1]
        expect("what is settled is kept in its order", self.reader.deliveries(run_id, 1) == late, run_id)
        expect(
            "a delivery is pending until it is settled",
            sorted_by_id(pending) == sorted_by_id(run.pending.values()),
            run_id,
        )
        seqs = [each.seq for each in pending]
        expect("what is pending comes in the order of its events", seqs == sorted(seqs), seqs)
        bodies = {letter_id: self.reader.dead_letter_body(letter_id) for letter_id in run.bodies}
        kept = {letter_id: {"try": number} for letter_id, number in run.bodies.items()}
        expect("dead letters are kept until they are dropped", bodies == kept, bodies)

    def teardown(self) -> None:
        if not hasattr(self, "reader"):
            return
        for process in self.processes:
            process.journal.close()
        self.reader.close()
        self.folder.cleanup()


def sorted_by_id(deliveries: Iterable[PendingDelivery]) -> list[PendingDelivery]:
    return sorted(deliveries, key=lambda each: each.delivery_id)


StoreMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAnyStoreKeepsThePromises = StoreMachine.TestCase
