"""What the naive model knows of a run's history, and of what follows failures: retries, breakers, limits, dead letters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from attrs import frozen

from actorflow.core.events import (
    AttemptCanceled,
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
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
    GenerationStarted,
    HookFinished,
    HookLost,
    PauseRequested,
    Resumed,
    RetriesExhausted,
    RetryScheduled,
    RunDeadlinePassed,
    RunEnding,
    SignalReceived,
    SleepStarted,
    TaskCanceled,
    TaskDeadlinePassed,
    TaskFailed,
    TaskSkipped,
)
from actorflow.spec.model import TaskSpec, WorkflowSpec
from tests.naive_ends import ends_that_stand, is_failed_set_up, is_failed_stage
from tests.naive_hooks import Line

Due = tuple[Any, ...]
TOLD = (BreakerCounted, BreakerOpened, BreakerClosed)
NOTES = (*TOLD, BreakerAllowed, RetriesExhausted, BudgetExhausted, DeadLettered)
"""About a task, but leaving it where it is."""
INFINITE = float("inf")
CLOCK_TOLERANCE = 0.001
UNOWNED = (AttemptLost, HookLost, DefinitionChanged, SignalReceived)
"""What may be recorded of a run that nobody has owned until then."""


@frozen
class Wait:
    """Until when a task waits for a breaker."""

    key: str | None = None  #: None: it may ask for itself
    until: float = 0.0
    is_hopeless: bool = False  #: it has no time for that


class History:
    """What has happened to a run."""

    def __init__(self, spec: WorkflowSpec, events: Sequence[Event], now: float) -> None:
        self.spec, self.events, self.now = spec, list(enumerate(events)), now
        begun = [at for at, event in self.events if isinstance(event, GenerationStarted)]
        self.here = self.events[begun[-1] :] if begun else []  #: of this generation, with positions
        self.ends, self.outcomes = ends_that_stand(spec, self.events)
        self.lines: dict[tuple[str, str], Line] = {}
        self.tasks = sorted(spec.tasks, key=lambda task: task.priority)
        self.by_task: dict[str, list[Any]] = {task.id: [] for task in spec.tasks}
        for _, event in self.here:
            if not isinstance(event, (*NOTES, RunEnding)) and hasattr(event, "task"):
                self.by_task[event.task].append(event)

    def is_pausing(self, before: int | None = None) -> bool:
        """Whether the run is pausing now, or was right before a position."""
        is_pausing = is_ending = False
        for at, event in self.here:
            if at == before:
                break
            match event:
                case PauseRequested():
                    is_pausing = True
                case Resumed():
                    is_pausing = False
                case CancelRequested() if not is_ending:
                    is_pausing = False
                case RunEnding():
                    is_ending = True
        return is_pausing

    def has(self, kind: type[Event]) -> bool:
        return any(isinstance(event, kind) for _, event in self.here)

    def of(self, task: TaskSpec) -> list[Any]:
        """What happened to a task in this generation."""
        return self.by_task[task.id]

    def last(self, task: TaskSpec) -> Any:
        return self.of(task)[-1] if self.of(task) else None

    def line(self, event: str, subject: str) -> Line:
        """The hooks of a task or stage."""
        if (event, subject) not in self.lines:
            self.lines[event, subject] = Line(self.spec, [event], subject, self.here)
        return self.lines[event, subject]

    def start_line(self, task: TaskSpec) -> Line:
        """The hooks that a task waits for before its first attempt."""
        return self.line("task_started", task.id)

    def attempt(self, task: TaskSpec) -> int:
        """The number of the last attempt, over all generations."""
        starts = [e for _, e in self.events if isinstance(e, AttemptStarted) and e.task == task.id]
        return max((event.attempt for event in starts), default=0)

    def status(self, task: TaskSpec) -> str:
        if task.id in self.ends:
            return "ended"
        if task.id in self.outcomes:
            return "finishing"
        if self.start_line(task).began_at is not None and not self.is_prepared(task):
            return "preparing"
        match self.last(task):
            case None:
                return "waiting" if self.is_prepared(task) else "pending"
            case AttemptStarted():
                return "running"
            case AttemptFailed() | AttemptTimedOut() | TaskDeadlinePassed():
                return "deciding"
            case _:
                return "waiting"

    def with_status(self, *statuses: str) -> list[TaskSpec]:
        return [task for task in self.spec.tasks if self.status(task) in statuses]

    def in_order_of(self, tasks: list[TaskSpec]) -> list[TaskSpec]:
        """Tasks in the order in which what happened last to each happened."""
        latest = {getattr(e, "task", None): at for at, e in self.here if not isinstance(e, NOTES)}
        return sorted(tasks, key=lambda task: latest[task.id])

    def open_tasks(self) -> list[TaskSpec]:
        return [task for task in self.spec.tasks if task.id not in self.ends]

    def unowned_s(self, after: int, before: int | None = None) -> float:
        """Seconds between two positions in which no process owned the run."""
        gaps = 0.0
        for at, event in self.events[after:before]:
            if isinstance(event, Resumed):
                owned = [e.at for _, e in self.events[:at] if not isinstance(e, UNOWNED)]
                gaps += max(0.0, event.at - owned[-1])
        return gaps

    def closings(self) -> Iterator[tuple[int, str, bool]]:
        """Where and why it was decided that nothing new starts, and whether handlers are spared."""
        aborting = {task.id for task in self.spec.tasks if task.on_error.strategy == "abort"}
        for at, event in self.here:
            match event:
                case CancelRequested():
                    yield (at, "canceled", False)
                case HookFinished() if is_failed_set_up(self.spec, event) or is_failed_stage(
                    self.spec, event
                ):
                    yield (at, "aborted", False)
                case RunDeadlinePassed():
                    yield (at, "aborted", False)
                case TaskFailed(task=task, effect="fatal") if task in aborting:
                    yield (at, "aborted", True)

    def closed(self) -> tuple[int, str, bool] | None:
        return next(self.closings(), None)

    def closed_for(self, task: TaskSpec) -> tuple[int, str] | None:
        """Where and why it was decided that this task may not start, or go on."""
        for at, reason, spares_handlers in self.closings():
            if not spares_handlers or not self.is_handler(task):
                return (at, reason)
        return None

    def is_handler(self, task: TaskSpec) -> bool:
        """Whether an abort lets the task start and go on."""
        nexts = [other.on_error.next.next for other in self.spec.tasks if other.on_error.next is not None]
        return bool(task.on_failure_of or task.on_end_of or task.id in nexts)

    def is_prepared(self, task: TaskSpec) -> bool:
        """Whether its hooks let it begin, or have refused it, before it was too late for both."""
        line, closed = self.start_line(task), self.closed_for(task)
        if line.left or line.over_at is None:
            return False
        return closed is None or closed[0] > line.over_at


class Recovery(History):
    """What follows failures, and what may not start any more."""

    def verdict(self, task: TaskSpec) -> Due:
        """What follows a failed attempt: a retry, the next agent, a value, or the end of the task."""
        last = self.last(task)
        failure = Failure("timeout", "") if isinstance(last, TaskDeadlinePassed) else last.failure
        if self.closed_for(task) is not None:
            return ("fail", task.id, self.effect(task), failure.type)
        attempts, left = self.attempts_of_agent(task), self.budget_left()
        deadline = self.deadline_of(task)
        time_left = INFINITE if deadline is None else deadline - self.now
        if isinstance(last, TaskDeadlinePassed):
            time_left = 0.0
        is_over = time_left <= CLOCK_TOLERANCE
        may_retry = attempts < task.retry.max_attempts and is_worth_another_try(task, failure)
        notes: list[Any] = []
        if attempts >= task.retry.max_attempts > 1:
            notes.append("exhausted")
        elif may_retry and not is_over and left == 0 and not self.has(BudgetExhausted):
            notes.append("no budget")
        delay = self.delay(task, attempts, failure)
        what_is_left: list[Any] = []
        if may_retry and delay < time_left and left != 0:
            what_is_left.append(self.now + delay)
        what_is_left += task.agents[self.agent_number(task) + 1 :]
        if is_over or failure.type == "did_not_stop":
            what_is_left = []
        what_is_left += ["value"] * task.on_error.has_fallback_value
        return ("decide", task.id, self.attempt(task), [*notes, [*what_is_left, self.effect(task)][0]])

    def attempts_of_agent(self, task: TaskSpec) -> int:
        """How many attempts the agent at hand has had; a lost one is the same attempt again."""
        tried = [e for e in self.of(task) if isinstance(e, FallbackChosen | AttemptStarted)]
        mine = tried[1 + max((i for i, e in enumerate(tried) if isinstance(e, FallbackChosen)), default=-1) :]
        return len({e.attempt for e in mine if isinstance(e, AttemptStarted)})

    def agent_number(self, task: TaskSpec) -> int:
        return sum(isinstance(event, FallbackChosen) for event in self.of(task))

    def budget_left(self) -> int | None:
        """Retries that this generation may still spend; None where there is no bound."""
        budget = self.spec.limits.retry_budget
        spent = sum(isinstance(event, RetryScheduled) for _, event in self.here)
        return None if budget is None else max(0, budget - spent)

    def delay(self, task: TaskSpec, attempts: int, failure: Failure) -> float:
        """Seconds until a retry: by the backoff, jittered with a seed of run, task and attempt, no longer than allowed."""
        retry = task.retry
        grown = {
            "constant": 1,
            "linear": attempts,
            "exponential": retry.factor ** (attempts - 1),
        }
        full = min(retry.max_delay, retry.delay * grown[retry.backoff])
        least = {"none": full, "equal": full / 2, "full": 0.0}[retry.jitter]
        started: Any = self.events[0][1]
        random = Random(f"{started.run_id}/{task.id}/{self.attempt(task)}")
        drawn = full if retry.jitter == "none" else random.uniform(least, full)
        asked: float = failure.detail.get("retry_after_s", 0.0)
        return min(retry.max_delay, max(drawn, asked))

    def deadline_of(self, task: TaskSpec, before: int | None = None) -> float | None:
        """When the task has used up its deadline, as was known before a position; None where it has none."""
        begun = [
            at
            for at, event in self.here
            if isinstance(event, AttemptStarted | BreakerRefused) and event.task == task.id
        ]
        if task.deadline is None or not begun:
            return None
        return self.events[begun[0]][1].at + task.deadline + self.unowned_s(begun[0], before)

    def is_out_of_time(self) -> bool:
        """Whether the run has used up its deadline, and that means something still."""
        deadline, begun = self.spec.limits.deadline, self.here[0]
        if deadline is None or self.is_pausing() or self.has(CancelRequested) or self.has(RunDeadlinePassed):
            return False
        return self.now >= begun[1].at + deadline + self.unowned_s(begun[0])

    def dead_letters(self) -> Iterator[Due]:
        """Fatal failures are kept for an operator, once each, unless the run was being canceled."""
        kept = [event.task for _, event in self.here if isinstance(event, DeadLettered)]
        canceled = [at for at, event in self.here if isinstance(event, CancelRequested)]
        for task, (at, end) in self.ends.items():
            is_fatal = isinstance(end, TaskFailed) and end.effect == "fatal" and at > self.here[0][0]
            if is_fatal and task not in kept and not (canceled and canceled[0] < at):
                yield ("letter", task)

    def ways_around_breakers(self) -> Iterator[Due]:
        """A refused agent's work goes to the next one at once."""
        for task in self.with_status("waiting"):
            others = task.agents[self.agent_number(task) + 1 :]
            if isinstance(self.last(task), BreakerRefused) and others and self.closed_for(task) is None:
                yield ("fallback", task.id, others[0])

    def key(self, task: TaskSpec, agent_number: int) -> str:
        """Under which key the breaker of an agent is kept; the one that a task names is for its own agent."""
        breaker = task.on_error.breaker
        if breaker is not None and breaker.key is not None and agent_number == 0:
            return breaker.key
        return task.agents[agent_number]

    def is_allowed(self, task: TaskSpec) -> bool:
        """Whether the breaker has been asked for the attempt to come, by the process that has the run now."""
        kinds = (BreakerAllowed, BreakerRefused, AttemptStarted)
        asked = [
            event
            for _, event in self.here
            if isinstance(event, Resumed) or (isinstance(event, kinds) and event.task == task.id)
        ]
        return bool(asked) and isinstance(asked[-1], BreakerAllowed)

    def tells(self) -> list[Due]:
        """What breakers have not been told: each failure, and whatever became of a probe, in the order of the ends."""
        found: dict[str, tuple[int, Due]] = {}
        for task in self.spec.tasks:
            is_probe, agent, attempt = False, 0, 0
            for at, event in self.here:
                if getattr(event, "task", None) != task.id or task.on_error.breaker is None:
                    continue
                outcome = None
                match event:
                    case BreakerAllowed(is_probe=is_probe):
                        pass
                    case BreakerRefused():
                        is_probe = False
                    case AttemptStarted(attempt=attempt):
                        pass
                    case FallbackChosen():
                        agent += 1
                    case AttemptFailed() | AttemptTimedOut():
                        outcome = "failure"
                    case AttemptSucceeded() if is_probe:
                        outcome = "success"
                    case (
                        AttemptCanceled()
                        | TaskCanceled()
                        | TaskSkipped()
                        | TaskFailed()
                        | TaskDeadlinePassed()
                    ):
                        outcome = "released" if is_probe else None
                    case BreakerCounted() | BreakerOpened() | BreakerClosed():
                        del found[task.id]
                    case _:
                        pass
                if outcome is not None:
                    is_probe = False
                    tell = ("tell", task.id, attempt or self.attempt(task), self.key(task, agent), outcome)
                    found[task.id] = (at, tell)
        return [tell for _, tell in sorted(found.values())]

    def effect(self, task: TaskSpec) -> str:
        """What it means for the run when nobody is left to try the task."""
        if task.on_error.strategy == "skip":
            return "tolerated"
        is_handled = any(task.id in other.on_failure_of for other in self.spec.tasks)
        return "handled" if is_handled or task.on_error.next is not None else "fatal"

    def due_at(self, task: TaskSpec) -> float:
        """When a waiting task may go on."""
        last, prepared_at = self.last(task), self.start_line(task).over_at
        if prepared_at is not None and (last is None or isinstance(last, SleepStarted)):
            return self.events[prepared_at][1].at
        if isinstance(last, RetryScheduled | SleepStarted):
            return last.due_at
        if not isinstance(last, BreakerRefused):
            return last.at
        return self.wait_at_breaker(task).until

    def has_other_agents(self, task: TaskSpec, before: int) -> bool:
        """Whether an agent was left, before a position, that has not had its turn."""
        turns = (isinstance(e, FallbackChosen) and e.task == task.id for at, e in self.here if at < before)
        return sum(turns) + 1 < len(task.agents)

    def wait_at_breaker(self, task: TaskSpec) -> Wait:
        """What a task waits for that was refused last; who waits for the same key hears of all that is said of it."""
        last = self.last(task) if self.of(task) else None
        if not isinstance(last, BreakerRefused):
            return Wait()
        specs = {each.id: each for each in self.spec.tasks}
        begun = max(at for at, event in self.here if event is last)
        if self.has_other_agents(task, begun):
            return Wait(until=last.at)
        wait = Wait(last.key)
        for at, event in self.here:
            if at < begun or wait.key is None:
                continue
            match event:
                case BreakerRefused(key=last.key, task=other, until=until, is_probing=is_probing):
                    if not self.has_other_agents(specs[other], at):
                        deadline = self.deadline_of(task, at + 1)
                        is_too_late = deadline is not None and deadline <= until
                        wait = Wait(last.key, until, is_too_late and not is_probing)
                case BreakerAllowed(task=task.id):
                    wait = Wait(until=wait.until)
                case BreakerClosed(key=last.key) | BreakerAllowed(key=last.key, is_probe=False):
                    wait = Wait(until=event.at)
                case Resumed():
                    wait = Wait(wait.key, wait.until)
                case _:
                    pass
        return wait


def is_worth_another_try(task: TaskSpec, failure: Failure) -> bool:
    """Whether the same agent may try again after such a failure."""
    if failure.type in ("not_found", "did_not_stop", "not_allowed") or failure.type in task.retry.no_retry_on:
        return False
    return not task.retry.retry_on or failure.type in task.retry.retry_on
