"""The core, which keeps counts and heaps, wants at every moment what the naive model works out from the whole history."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow.core.commands import (
    CancelAttempt,
    CancelHook,
    Command,
    Decide,
    Finish,
    Record,
    RunHook,
    StartAttempt,
)
from actorflow.core.events import (
    AttemptCanceled,
    AttemptFailed,
    AttemptSucceeded,
    AttemptTimedOut,
    CancelRequested,
    Event,
    Failure,
    FallbackChosen,
    FallbackValueUsed,
    HookFinished,
    PauseRequested,
    Resumed,
    RetryScheduled,
    RunEnding,
    RunStarted,
    SleepStarted,
    StageCompleted,
    TaskCanceled,
    TaskFailed,
    TaskSkipped,
)
from actorflow.core.plan import plan_of
from actorflow.core.recovery import answer
from actorflow.core.state import CORE_VERSION, RunState
from actorflow.core.step import next_generation, recovered, settle
from actorflow.spec.model import WorkflowSpec
from tests.naive import Due, due
from tests.scenarios import workflows

KINDS = ["succeed"] * 9 + ["fail"] * 5 + ["time out", "not found", "hook fails", "wait", "wait", "wait"]
KINDS += ["crash", "pause", "resume", "resume", "cancel", "generation", "generation"]
histories = st.binary(min_size=10, max_size=60)  # each byte is something that happens, and a number


@settings(max_examples=250, deadline=None)
@given(workflows(), histories)
def test_the_core_wants_what_the_naive_model_wants(spec: WorkflowSpec, history: bytes) -> None:
    run = ComparedRun(spec)
    for byte in history:
        run.let_happen(KINDS[byte % len(KINDS)], byte // len(KINDS))


class ComparedRun:
    """A run whose state is compared with the naive model after each event."""

    def __init__(self, spec: WorkflowSpec) -> None:
        self.spec, self.now = spec, 1000.0
        self.state, self.journal = ComparedState(spec), list[Event]()
        self.happen(RunStarted(self.now, "r-1", spec.name, "hash", {}, {}, {}, {}, CORE_VERSION))
        self.happen(next_generation(self.state, self.now))

    def happen(self, *events: Event) -> None:
        for event in events:
            self.state.apply(event)
        settle(self.state, self.now, lambda failed: answer(failed, self.now))
        self.state.compare(self.now)

    def let_happen(self, kind: str, number: int) -> None:
        """Let something happen, if it can happen now; `number` chooses among what it can happen to."""
        state, now = self.state, self.now
        match kind:
            case "wait":
                self.now += [0.1, 0.5, 1.0, 2.0, 4.0, 60.0, 0.0, 1.0, 1.0, 1.0][number]
                self.happen()
            case "generation" if state.phase == "ended":
                self.happen(next_generation(state, now))
            case _ if state.phase == "ended":
                pass
            case "crash":
                for _ in range([1, 1, 1, 1, 1, 2, 2, 3, 6, 6][number]):
                    if self.state.phase != "ended":
                        self.crash()
            case "pause":
                self.happen(PauseRequested(now, ""))
            case "resume":
                self.happen(Resumed(now))
            case "cancel":
                self.happen(CancelRequested(now, ""))
            case _ if state.hooks.is_running:
                self.happen(HookFinished(now, *state.hooks.head, "failed" if kind == "hook fails" else "ok"))
            case _ if state.running:
                self.happen(self.outcome(kind, number))
            case _:
                pass

    def crash(self) -> None:
        journal = self.state.journal
        self.state = ComparedState(self.spec)
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
        failure = Failure("not_found" if kind == "not found" else "Broken", "")
        return AttemptFailed(self.now, task.id, task.attempt, failure)


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
    return sorted(dues) if all(each[0] in ("fail", "skip", "cancel task", "stage") for each in dues) else dues


def as_due(command: Command, now: float) -> Due:
    """A command as the naive model writes it."""
    match command:
        case StartAttempt():
            return ("start", command.task, command.attempt, command.loss, command.agent)
        case CancelAttempt(task, attempt):
            return ("cancel", task, attempt)
        case Decide():
            return ("decide", command.task, command.attempt, verdict(answer(command, now)))
        case RunHook():
            return ("hook", command.event, command.index)
        case CancelHook(event, index):
            return ("cancel hook", event, index)
        case Finish(outcome):
            return ("finish", outcome)
        case Record(event):
            return fact(event)


def verdict(event: Event) -> str:
    match event:
        case RetryScheduled():
            return "retry"
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
        case SleepStarted(task=task, due_at=due_at):
            return ("sleep", task, due_at)
        case TaskCanceled(task=task):
            return ("cancel task", task)
        case StageCompleted(stage=stage, status=status):
            return ("stage", stage, status)
        case RunEnding(outcome=outcome, task=task, failure=failure):
            return ("ending", outcome, task, failure and failure.type)
        case _:
            raise AssertionError(event)
