"""The core, which keeps counts and heaps, wants at every moment what the naive model works out from the whole history."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow.core.commands import (
    AskBreaker,
    CancelAttempt,
    CancelHook,
    Command,
    Decide,
    Finish,
    Record,
    RunHook,
    StartAttempt,
    TellBreaker,
)
from actorflow.core.events import (
    AttemptCanceled,
    AttemptFailed,
    AttemptSucceeded,
    AttemptTimedOut,
    BreakerAllowed,
    BreakerClosed,
    BreakerCounted,
    BreakerOpened,
    BreakerRefused,
    BudgetExhausted,
    CancelRequested,
    DeadLettered,
    DefinitionChanged,
    Event,
    Failure,
    FallbackChosen,
    FallbackValueUsed,
    HookFinished,
    HookStatus,
    PauseRequested,
    Resumed,
    RetriesExhausted,
    RetryScheduled,
    RunDeadlinePassed,
    RunEnding,
    RunStarted,
    SignalReceived,
    SleepStarted,
    StageCompleted,
    TaskCanceled,
    TaskDeadlinePassed,
    TaskFailed,
    TaskFinished,
    TaskSkipped,
)
from actorflow.core.hook_line import HookLine
from actorflow.core.plan import plan_of
from actorflow.core.recovery import answer
from actorflow.core.state import CORE_VERSION, RunState
from actorflow.core.step import next_generation, recovered, settle
from actorflow.spec.model import WorkflowSpec
from tests.naive import Due, due
from tests.random_runs import random_workflow
from tests.scenarios import workflows

KINDS = ["succeed"] * 9 + ["fail"] * 7 + ["time out", "not found", "goes on", "told to wait", "hook fails"]
KINDS += ["answer"] * 7 + ["wait"] * 4 + ["crash", "gap", "pause", "resume", "resume", "cancel"]
KINDS += ["closed by others", "signal", "change", "generation", "retry", "retry"]
histories = st.binary(
    min_size=20, max_size=120
)  # of each two bytes, one is what happens, and one is a number
WAITS = [0.125, 0.5, 1.0, 2.0, 4.0, 60.0, 0.0, 1.0]
FAILURES = {
    "fail": Failure("Broken", ""),
    "not found": Failure("not_found", ""),
    "goes on": Failure("did_not_stop", ""),
    "told to wait": Failure("Broken", "", {"retry_after_s": 3.0}),
}


def accidents(history: bytes) -> Iterator[tuple[str, int]]:
    """What is to happen to a run, one after the other, and what it is to happen to or by."""
    for kind, number in zip(history[::2], history[1::2], strict=False):
        yield KINDS[kind % len(KINDS)], number


@settings(max_examples=100, deadline=None)
@given(workflows(is_guarded=True), histories)
def test_the_core_wants_what_the_naive_model_wants(spec: WorkflowSpec, history: bytes) -> None:
    run = ComparedRun(spec)
    for kind, number in accidents(history):
        run.let_happen(kind, number)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**48))
def test_it_wants_the_same_in_dense_histories(seed: int) -> None:
    draw = Random(seed)
    run = ComparedRun(random_workflow(draw))
    for kind, number in accidents(draw.randbytes(2 * draw.randint(10, 60))):
        run.let_happen(kind, number)


class ComparedRun:
    """A run whose state is compared with the naive model after each event.

    Breakers say what they like, but in order: an outcome is counted before the same task asks again.
    """

    def __init__(self, spec: WorkflowSpec) -> None:
        self.spec, self.now = spec, 1000.0
        self.state, self.journal = ComparedState(spec), list[Event]()
        self.asked: dict[str, AskBreaker] = {}  #: what a breaker owes an answer to
        self.told: dict[str, TellBreaker] = {}
        self.signal_count = 0
        self.happen(RunStarted(self.now, "r-1", spec.name, "hash", {}, {}, {}, {}, CORE_VERSION))
        self.happen(next_generation(self.state, self.now))

    def happen(self, *events: Event) -> None:
        for event in events:
            self.state.apply(event)
        for action in settle(self.state, self.now, lambda failed: answer(failed, self.now)).actions:
            match action:
                case AskBreaker(task):
                    self.asked[task] = action
                case TellBreaker(task):
                    self.told[task] = action
                case _:
                    pass
        self.state.compare(self.now)
        due_at = self.state.next_due_at()
        if due_at is not None and due_at > self.now:
            self.expect_nothing_before(due_at)

    def expect_nothing_before(self, due_at: float) -> None:
        """Until something is due, time changes nothing; whoever looks ahead changes nothing either."""
        now, between = self.state.commands(self.now), (self.now + due_at) / 2
        assert len(self.state.commands(between)) == len(now)
        self.state.compare(between)
        self.state.compare(due_at)
        assert self.state.next_due_at() == due_at

    def let_happen(self, kind: str, number: int) -> None:
        """Let something happen, if it can happen now; `number` chooses among what it can happen to."""
        state, now = self.state, self.now
        match kind:
            case "wait":
                self.now += WAITS[number % len(WAITS)]
                self.happen()
            case "generation" if state.phase == "ended":
                self.happen(next_generation(state, now))
            case "retry" if state.phase == "ended" and self.letters():
                letters = self.letters()
                self.happen(next_generation(state, now, letters[: 1 + number % len(letters)]))
            case _ if state.phase == "ended":
                pass
            case "crash" | "gap":
                self.now += WAITS[number % len(WAITS)] if kind == "gap" else 0.0
                for _ in range([1, 1, 1, 1, 1, 2, 2, 3, 6, 6][number % 10]):
                    if self.state.phase != "ended":
                        self.crash()
            case "pause":
                self.happen(PauseRequested(now, ""))
            case "resume":
                self.happen(Resumed(now))
            case "cancel" if number < 128:
                self.happen(CancelRequested(now, ""))
            case "signal":
                self.signal_count += 1
                self.happen(SignalReceived(now, "go", number, f"s-{self.signal_count}"))
            case "change":
                self.happen(DefinitionChanged(now, "hash", {}))
            case "closed by others" if state.breakers.refused:
                keys = list(state.breakers.refused.values())
                self.happen(BreakerClosed(now, None, keys[number % len(keys)]))
            case "answer" if self.told or self.asked:
                self.let_answer(number)
            case _ if self.has_hook(number):
                lines = state.running_lines()
                line = lines[number // 2 % len(lines)]
                self.happen(hook_end(line, kind, number, now))
            case _ if state.running:
                self.happen(self.outcome(kind, number))
            case _ if self.told or self.asked:
                self.let_answer(number)
            case _:
                pass

    def has_hook(self, number: int) -> bool:
        """Whether it is a hook's turn to end, rather than an attempt's."""
        return bool(self.state.running_lines()) and (not self.state.running or number % 2 == 0)

    def let_answer(self, number: int) -> None:
        """A breaker answers; what the run has moved on from meanwhile is dropped."""
        tasks = list({**self.told, **self.asked})
        task = tasks[number % len(tasks)]
        if task in self.told:
            report = self.told.pop(task).report
            self.happen(
                [
                    BreakerCounted(self.now, task, report.key),
                    BreakerOpened(self.now, task, report.key, self.now + 1.0),
                    BreakerClosed(self.now, task, report.key),
                ][number // 16 % 3]
            )
            return
        key, until = self.asked.pop(task).ask.key, self.now + [0.5, 4.0][number % 2]
        said = [
            BreakerAllowed(self.now, task, key, is_probe=True),
            BreakerAllowed(self.now, task, key, is_probe=False),
            BreakerRefused(self.now, task, key, until),
            BreakerRefused(self.now, task, key, until, is_probing=True),
        ][number // 16 % 4]
        if self.is_of_use(said):
            self.happen(said)
        else:
            self.happen()  # it is asked again, if it still wants to know

    def is_of_use(self, said: BreakerAllowed | BreakerRefused) -> bool:
        """Whether the answer's question still stands; leave has to find a slot as well."""
        state, index = self.state, self.state.plan.index[said.task]
        is_open = state.phase == "tasks" and state.tasks[index].status in ("pending", "waiting")
        has_room = isinstance(said, BreakerRefused) or state.free_slots > len(state.breakers.allowed)
        return is_open and has_room and state.breakers.key(index) == said.key

    def letters(self) -> list[str]:
        """The tasks that an operator may have tried again."""
        return [task.id for task in self.state.tasks if task.status == "failed" and task.effect == "fatal"]

    def crash(self) -> None:
        journal = self.state.journal
        self.state = ComparedState(self.spec)
        self.asked, self.told = {}, {}
        self.state.fold(journal)
        self.happen(*recovered(self.state, self.now))

    def outcome(self, kind: str, number: int) -> Event:
        running = [self.state.tasks[i] for i in self.state.running]
        task = running[number % len(running)]
        if self.state.closing and number % 2:
            return AttemptCanceled(self.now, task.id, task.attempt)
        if kind == "succeed":
            return AttemptSucceeded(self.now, task.id, task.attempt, [1, 2, None][number % 3])
        if kind == "time out":
            return AttemptTimedOut(self.now, task.id, task.attempt, Failure("timeout", ""))
        return AttemptFailed(self.now, task.id, task.attempt, FAILURES.get(kind, FAILURES["fail"]))


def hook_end(line: HookLine, kind: str, number: int, now: float) -> HookFinished:
    """What comes of a running hook."""
    event, index = line.head
    status: HookStatus = "failed" if kind in ("fail", "hook fails", "time out") or number % 5 == 0 else "ok"
    return HookFinished(now, event, index, status, {}, line.subject)


class ComparedState(RunState):
    """A state that remembers its events, and is compared after each."""

    def __init__(self, spec: WorkflowSpec) -> None:
        super().__init__(plan_of(spec))
        self.journal: list[Event] = []

    def fold(self, events: list[Event]) -> None:
        for event in events:
            super().apply(event)
        self.journal.extend(events)

    def apply(self, event: Event) -> None:
        super().apply(event)
        self.journal.append(event)
        self.compare(event.at)

    def compare(self, now: float) -> None:
        commands = [as_due(command, now) for command in self.commands(now)]
        assert in_order(commands) == in_order(due(self.plan.spec, self.journal, now))


def in_order(dues: list[Due]) -> list[Due]:
    """Facts alone, which follow from the same moment, have no order; everything else has."""
    return sorted(dues) if all(each[0] in FACTS for each in dues) else dues


FACTS = ("fail", "letter", "fallback", "skip", "deadline", "cancel task", "stage", "finished")


def as_due(command: Command, now: float) -> Due:
    """A command as the naive model writes it."""
    match command:
        case StartAttempt():
            return ("start", command.task, command.attempt, command.loss, command.agent)
        case CancelAttempt(task, attempt):
            return ("cancel", task, attempt)
        case Decide():
            return ("decide", command.task, command.attempt, [verdict(each) for each in answer(command, now)])
        case AskBreaker(task, ask):
            return ("ask", task, ask.key)
        case TellBreaker(task, told):
            return ("tell", task, told.attempt, told.key, told.outcome)
        case RunHook():
            return ("hook", command.event, command.index, command.subject)
        case CancelHook(event, index, subject):
            return ("cancel hook", event, index, subject)
        case Finish(outcome):
            return ("finish", outcome)
        case Record(event):
            return fact(event)


def verdict(event: Event) -> object:
    match event:
        case RetriesExhausted():
            return "exhausted"
        case BudgetExhausted():
            return "no budget"
        case RetryScheduled(due_at=due_at):
            return due_at
        case FallbackChosen(agent=agent):
            return agent
        case FallbackValueUsed():
            return "value"
        case TaskFailed(effect=effect):
            return effect
        case _:
            raise AssertionError(event)


def fact(event: Any) -> Due:
    match event:
        case TaskFailed(task=task, effect=effect, failure=failure):
            return ("fail", task, effect, failure.type)
        case TaskSkipped(task=task, reason=reason):
            return ("skip", task, reason)
        case DeadLettered(task=task):
            return ("letter", task)
        case FallbackChosen(task=task, agent=agent):
            return ("fallback", task, agent)
        case TaskDeadlinePassed(task=task):
            return ("deadline", task)
        case RunDeadlinePassed():
            return ("run deadline",)
        case SleepStarted(task=task, due_at=due_at):
            return ("sleep", task, due_at)
        case TaskCanceled(task=task):
            return ("cancel task", task)
        case TaskFinished(task=task, status=status):
            return ("finished", task, status)
        case HookFinished(event=name, index=index, subject=subject, status=status, record=record):
            made = {key: record[key] for key in ("vars", "output") if key in record}
            return ("passed", name, index, subject, status, made)
        case StageCompleted(stage=stage, status=status):
            return ("stage", stage, status)
        case RunEnding(outcome=outcome, task=task, failure=failure):
            return ("ending", outcome, task, failure and failure.type)
        case _:
            raise AssertionError(event)
