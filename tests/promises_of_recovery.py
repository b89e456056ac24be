"""What a run promises about failures: attempts, delays, budgets, deadlines, breakers and dead letters.

Read from its history alone, as `promises` is; the delays are computed once more, from the documentation.
"""

from __future__ import annotations

from collections import Counter
from random import Random

from attrs import define, field

from actorflow.core.events import (
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
    AttemptTimedOut,
    BreakerAllowed,
    BreakerClosed,
    BreakerCounted,
    BreakerOpened,
    BreakerRefused,
    BudgetExhausted,
    DeadLettered,
    DefinitionChanged,
    Event,
    Failure,
    FallbackChosen,
    FallbackValueUsed,
    GenerationStarted,
    HookLost,
    Resumed,
    RetriesExhausted,
    RetryScheduled,
    RunDeadlinePassed,
    RunEnding,
    SignalReceived,
    SleepStarted,
    TaskDeadlinePassed,
    TaskFailed,
    TaskFinished,
)
from actorflow.spec.model import RetrySpec, TaskSpec, WorkflowSpec
from tests.promises import ENDS, OrderPromises, expect
from tests.promises_of_hooks import HookPromises

SLACK = 1e-6
"""Of seconds since 1970 as floats."""

UNOWNED = (AttemptLost, HookLost, DefinitionChanged, SignalReceived)
"""What may happen to a run that nobody owns."""

NO_TIME_S = 0.001 + SLACK
"""As good as no time left."""


@define
class Tried:
    """What a task has been through in this generation."""

    agents: list[int] = field(factory=lambda: [0])  #: attempts of each agent that had its turn
    losses: int = 0
    lost: AttemptLost | None = None
    due_at: float = 0.0
    deadline_at: float | None = None
    failure: Failure | None = None
    is_undecided: bool = False
    is_exhausted: bool = False  #: that the agent at hand has no attempts left was told
    has_leave: bool = False  #: its breaker lets its next attempt start
    is_waiting: bool = False  #: after an attempt, or for a breaker
    refused_by: str | None = None  #: the key of the breaker that it waits for
    is_hopeless: bool = False  #: its breaker lets nobody through before its deadline
    must_fall_back: bool = False
    holds_probe: bool = False
    untold: int = 0  #: outcomes that its breaker has not answered
    fatal: Failure | None = None
    to_bury: Failure | None = None


class RecoveryPromises:
    """What follows failures; `order` has read as far as the event before."""

    def __init__(self, spec: WorkflowSpec, run_id: str, order: OrderPromises, cooldown: float = 0.0) -> None:
        self.spec, self.run_id, self.order = spec, run_id, order
        self.cooldown = max([cooldown, *cooldowns_of(spec)])  #: the longest of any who share a breaker
        self.attempts = Counter[str]()  #: number of the last attempt
        self.alive_at = 0.0
        self.begin_generation(None)

    def begin_generation(self, at: float | None) -> None:
        self.tried = {task.id: Tried() for task in self.spec.tasks}
        self.spent = 0
        self.is_budget_told = False
        deadline = self.spec.limits.deadline
        self.deadline_at = None if deadline is None or at is None else at + deadline

    def check(self, event: Event) -> None:
        name = None if isinstance(event, RunEnding) else getattr(event, "task", None)
        if isinstance(name, str):
            self.check_task(event, self.order.tasks[name], self.tried[name])
        else:
            self.check_run(event)
        if not isinstance(event, UNOWNED):
            self.alive_at = event.at

    def check_run(self, event: Event) -> None:
        match event:
            case GenerationStarted(at=at):
                self.begin_generation(at)
            case Resumed(at=at):
                self.go_on(max(0.0, at - self.alive_at))
            case BreakerClosed(key=key):
                self.wake(key, event.at)
            case RunDeadlinePassed(at=at):
                is_due = self.deadline_at is not None and at >= self.deadline_at - SLACK
                expect("a deadline passes when it has come", is_due, event)
            case RunEnding():
                for name, tried in self.tried.items():
                    expect("a run ends when all is told", not tried.untold, (name, event))
            case _:
                pass

    def check_task(self, event: Event, task: TaskSpec, tried: Tried) -> None:
        match event:
            case AttemptStarted():
                self.check_start(event, task, tried)
            case AttemptFailed(failure=failure) | AttemptTimedOut(failure=failure):
                self.note_failure(event, tried, failure)
                self.owe_outcome(task, tried, is_failure=True)
            case AttemptLost():
                tried.losses += not self.order.is_pausing
                tried.lost = event
                tried.due_at = event.at
                tried.is_waiting = True
            case RetryScheduled() | FallbackChosen() | FallbackValueUsed():
                self.check_verdict(event, task, tried)
            case RetriesExhausted():
                self.check_exhausted(event, task, tried)
            case BudgetExhausted():
                expect("a used-up budget is told once", not self.is_budget_told, event)
                expect("a used-up budget is told once", self.spent == self.spec.limits.retry_budget, event)
                self.is_budget_told = True
            case SleepStarted(due_at=due_at):
                expect("a task sleeps before its first attempt", tried.agents == [0], event)
                tried.due_at = due_at
            case TaskDeadlinePassed(at=at):
                assert tried.deadline_at is not None
                is_due = tried.is_waiting and (tried.is_hopeless or at >= tried.deadline_at - SLACK)
                expect("a deadline passes when it has come", is_due, event)
                self.owe_outcome(task, tried, is_failure=False)
                self.note_failure(event, tried, Failure("timeout", ""))
                tried.deadline_at = min(tried.deadline_at, at)
                tried.refused_by, tried.lost = None, None
                tried.is_waiting = tried.is_hopeless = False
            case BreakerAllowed() | BreakerRefused():
                self.check_leave(event, task, tried)
            case BreakerCounted() | BreakerOpened() | BreakerClosed():
                expect("an outcome is told once", tried.untold > 0, event)
                tried.untold -= 1
                if isinstance(event, BreakerClosed):
                    self.wake(event.key, event.at)
            case TaskFailed():
                self.check_failure(event, task, tried)
                tried.fatal = event.failure if event.effect == "fatal" else None
                if task.id not in self.order.waited_for or task.id in self.order.outcomes:
                    self.owe_letter(tried)
            case TaskFinished():
                self.owe_letter(tried)
            case DeadLettered():
                self.check_letter(event, tried)
            case _:
                pass
        if isinstance(event, ENDS):
            self.owe_outcome(task, tried, is_failure=False)
            tried.refused_by = None
            tried.is_undecided = tried.must_fall_back = tried.is_waiting = tried.is_hopeless = False

    def check_start(self, event: AttemptStarted, task: TaskSpec, tried: Tried) -> None:
        expect("one verdict for each failure", not tried.is_undecided, event)
        expect("nothing starts before it is due", event.at >= tried.due_at - SLACK, event)
        for deadline_at in (tried.deadline_at, self.deadline_at):
            is_in_time = deadline_at is None or event.at < deadline_at + SLACK
            expect("no attempt starts after its deadline", is_in_time, (deadline_at, event))
        is_let = task.on_error.breaker is None or tried.has_leave
        expect("no attempt without its breaker's leave", is_let, event)
        tried.has_leave = tried.is_waiting = False
        self.begin_deadline(task, tried, event.at)
        self.check_number(event, task, tried)
        expect("the agents have their turns", event.agent == task.agents[len(tried.agents) - 1], event)
        expect("attempts are within limits", tried.agents[-1] <= task.retry.max_attempts, event)

    def check_number(self, event: AttemptStarted, task: TaskSpec, tried: Tried) -> None:
        lost, tried.lost = tried.lost, None
        if lost is not None:
            is_same = (event.attempt, event.loss) == (lost.attempt, lost.loss + 1)
            expect("a lost attempt runs again under its number", is_same, (lost, event))
            expect("what is not idempotent runs once", task.idempotent, event)
            expect("a task may be lost five times", tried.losses <= task.on_error.max_losses, event)
            return
        is_next = (event.attempt, event.loss) == (self.attempts[task.id] + 1, 0)
        expect("attempts are numbered without gaps", is_next, event)
        self.attempts[task.id] += 1
        tried.agents[-1] += 1

    def note_failure(self, event: Event, tried: Tried, failure: Failure) -> None:
        expect("one verdict for each failure", not tried.is_undecided, event)
        tried.is_undecided = True
        tried.failure = failure

    def check_verdict(
        self, event: RetryScheduled | FallbackChosen | FallbackValueUsed, task: TaskSpec, tried: Tried
    ) -> None:
        is_asked = tried.is_undecided or (isinstance(event, FallbackChosen) and tried.must_fall_back)
        expect("one verdict for each failure", is_asked, event)
        if isinstance(event, RetryScheduled):
            self.check_retry(event, task.retry, tried)
        elif not tried.must_fall_back:
            self.check_used_up(event, task, tried)
        if isinstance(event, FallbackValueUsed):
            self.check_every_agent_had_its_turn(event, task, tried)
        if isinstance(event, FallbackChosen):
            is_final = tried.failure is not None and tried.failure.type == "did_not_stop"
            expect("nobody tries beside what did not stop", not is_final or tried.must_fall_back, event)
            tried.agents.append(0)
            tried.is_exhausted = tried.holds_probe = tried.must_fall_back = False
            tried.refused_by = tried.lost = None
            tried.due_at = event.at
        tried.is_undecided = False
        tried.is_waiting = not isinstance(event, FallbackValueUsed)

    def check_retry(self, event: RetryScheduled, retry: RetrySpec, tried: Tried) -> None:
        assert tried.failure is not None
        kind = tried.failure.type
        expect("nobody tries beside what did not stop", kind != "did_not_stop", event)
        self.spent += 1
        budget = self.spec.limits.retry_budget
        expect("the budget is never exceeded", budget is None or self.spent <= budget, event)
        delay, slack = event.due_at - event.at, SLACK
        least, most = delay_bounds(retry, tried.agents[-1], retry_after(tried.failure))
        expect("delays are within bounds", least - slack <= delay <= most + slack, event)
        is_that = abs(delay - self.delay(event.task, retry, tried)) <= slack
        expect("delays are exactly those of the seed", is_that, event)
        is_in_time = tried.deadline_at is None or event.due_at < tried.deadline_at + slack
        expect("no retry waits past its deadline", is_in_time, event)
        tried.due_at = event.due_at

    def delay(self, name: str, retry: RetrySpec, tried: Tried) -> float:
        assert tried.failure is not None
        seed = f"{self.run_id}/{name}/{self.attempts[name]}"
        return seeded_delay(retry, tried.agents[-1], seed, retry_after(tried.failure))

    def check_used_up(self, event: Event, task: TaskSpec, tried: Tried) -> None:
        """The agent at hand has had all its attempts, or can't be mended by another, or may not spend one."""
        assert tried.failure is not None
        retry, used, kind = task.retry, tried.agents[-1], tried.failure.type
        is_excluded = bool(retry.retry_on) and kind not in retry.retry_on
        is_hopeless = kind in ("not_found", "did_not_stop", "not_allowed", *retry.no_retry_on) or is_excluded
        is_used_up = used == retry.max_attempts
        expect("exhausted retries are told", tried.is_exhausted == (is_used_up and used > 1), event)
        left = self.time_left(event, tried)
        if is_hopeless or is_used_up or self.delay(task.id, retry, tried) >= left - SLACK:
            return
        expect("every agent has its attempts", self.spent == self.spec.limits.retry_budget, event)
        expect("a used-up budget is told", self.is_budget_told, event)

    def time_left(self, event: Event, tried: Tried) -> float:
        return float("inf") if tried.deadline_at is None else tried.deadline_at - event.at

    def check_every_agent_had_its_turn(self, event: Event, task: TaskSpec, tried: Tried) -> None:
        assert tried.failure is not None
        is_over = tried.failure.type == "did_not_stop" or self.time_left(event, tried) <= NO_TIME_S
        expect("every fallback is tried", is_over or len(tried.agents) == len(task.agents), event)

    def check_exhausted(self, event: RetriesExhausted, task: TaskSpec, tried: Tried) -> None:
        expect("exhausted retries are told once", tried.is_undecided and not tried.is_exhausted, event)
        is_so = event.attempts == tried.agents[-1] == task.retry.max_attempts > 1
        expect("exhausted retries are told once", is_so, event)
        tried.is_exhausted = True

    def check_leave(self, event: BreakerAllowed | BreakerRefused, task: TaskSpec, tried: Tried) -> None:
        breaker = task.on_error.breaker
        assert breaker is not None
        place = len(tried.agents) - 1
        own_key = breaker.key if place == 0 and breaker.key is not None else task.agents[place]
        expect("each agent has its own breaker", event.key == own_key, event)
        expect("who is refused falls back at once", not tried.must_fall_back, event)
        tried.has_leave = isinstance(event, BreakerAllowed)
        tried.holds_probe = isinstance(event, BreakerAllowed) and event.is_probe
        if isinstance(event, BreakerRefused):
            self.note_refusal(event, task, tried)
            return
        if tried.refused_by is not None:
            tried.due_at = min(tried.due_at, event.at)  # what others were told meanwhile does not matter
        tried.refused_by, tried.is_hopeless = None, False
        if not event.is_probe:
            self.wake(event.key, event.at)

    def note_refusal(self, event: BreakerRefused, task: TaskSpec, tried: Tried) -> None:
        """Who waits for the same key waits as long: one of them has asked for all."""
        expect("nobody waits longer than a cooldown", event.until <= event.at + self.cooldown, event)
        self.begin_deadline(task, tried, event.at)
        tried.refused_by, tried.is_waiting = None, True
        tried.must_fall_back = len(tried.agents) < len(task.agents)
        if tried.must_fall_back:
            return
        tried.refused_by = event.key
        for each in self.tried.values():
            if each.refused_by == event.key:
                each.due_at = event.until
                is_too_late = each.deadline_at is not None and each.deadline_at <= event.until
                each.is_hopeless = is_too_late and not event.is_probing

    def wake(self, key: str, at: float) -> None:
        """A breaker is closed: who waits for it may ask for itself."""
        for tried in self.tried.values():
            if tried.refused_by == key:
                tried.due_at = at
                tried.refused_by, tried.is_hopeless = None, False

    def owe_outcome(self, task: TaskSpec, tried: Tried, *, is_failure: bool) -> None:
        """A failure is told to its breaker, and whatever became of a probe."""
        tried.untold += task.on_error.breaker is not None and (is_failure or tried.holds_probe)
        tried.holds_probe = tried.has_leave = False

    def begin_deadline(self, task: TaskSpec, tried: Tried, at: float) -> None:
        if task.deadline is not None and tried.deadline_at is None:
            tried.deadline_at = at + task.deadline

    def go_on(self, gap_s: float) -> None:
        """Somebody owns the run again: what its breakers said is long ago, and deadlines did not run."""
        if self.deadline_at is not None:
            self.deadline_at += gap_s
        for tried in self.tried.values():
            tried.has_leave = tried.is_hopeless = False
            if tried.deadline_at is not None:
                tried.deadline_at += gap_s

    def check_failure(self, event: TaskFailed, task: TaskSpec, tried: Tried) -> None:
        is_handled = "handled" if task.id in self.order.handled else "fatal"
        effect = "tolerated" if task.on_error.strategy == "skip" else is_handled
        expect("failures have their effect", event.effect == effect, event)
        if event.failure.type == "lost":
            is_due = tried.losses == task.on_error.max_losses + 1 or not task.idempotent
            expect("a task may be lost five times", is_due, event)
        elif event.failure.type not in ("expression", "hook_failed") and not self.order.is_ended_early:
            expect("one verdict for each failure", tried.is_undecided, event)
            self.check_used_up(event, task, tried)
            self.check_every_agent_had_its_turn(event, task, tried)
            expect("a fallback value is used", not task.on_error.has_fallback_value, event)

    def owe_letter(self, tried: Tried) -> None:
        """A task that failed for good is at its end."""
        if not self.order.is_canceled:
            tried.to_bury = tried.fatal

    def check_letter(self, event: DeadLettered, tried: Tried) -> None:
        expect("a fatal failure has one dead letter", event.failure == tried.to_bury, event)
        tried.to_bury = None
        letter = f"{self.run_id}/{self.order.generation}/{event.task}"
        is_its_own = (event.letter, event.attempts) == (letter, self.attempts[event.task])
        expect("a dead letter is that of its task", is_its_own, event)

    def check_end_of_step(self, at: float) -> None:
        """What must not be left for another step than the one at this time."""
        for name, tried in self.tried.items():
            if tried.is_waiting and not self.order.is_pausing:
                is_over = tried.deadline_at is not None and tried.deadline_at < at - SLACK
                expect("a deadline is noticed when it comes", not is_over, (at, name, tried))
                expect("who has no hope does not wait", not tried.is_hopeless, (at, name, tried))
            expect("one verdict for each failure", not tried.is_undecided, name)
            expect("who is refused falls back at once", not tried.must_fall_back, name)
            expect("a fatal failure has one dead letter", tried.to_bury is None, name)


def retry_after(failure: Failure) -> float:
    return float(failure.detail.get("retry_after_s", 0.0))


def delay_bounds(retry: RetrySpec, failed: int, at_least: float) -> tuple[float, float]:
    longest = min(longest_delay(retry, failed), retry.max_delay)
    least = {"none": longest, "equal": longest / 2, "full": 0.0}[retry.jitter]
    asked = min(at_least, retry.max_delay)
    return max(least, asked), max(longest, asked)


def seeded_delay(retry: RetrySpec, failed: int, seed: str, at_least: float = 0.0) -> float:
    """The delay that the same run, task and attempt always have."""
    longest = min(longest_delay(retry, failed), retry.max_delay)
    least = {"none": longest, "equal": longest / 2, "full": 0.0}[retry.jitter]
    drawn = longest if least == longest else Random(seed).uniform(least, longest)
    return min(max(drawn, at_least), retry.max_delay)


def longest_delay(retry: RetrySpec, failed: int) -> float:
    """By the documentation, for the small numbers of these tests."""
    match retry.backoff:
        case "constant":
            return retry.delay
        case "linear":
            return retry.delay * failed
        case "exponential":
            return retry.delay * retry.factor ** (failed - 1)


def cooldowns_of(spec: WorkflowSpec) -> list[float]:
    """Those of its breakers."""
    return [task.on_error.breaker.cooldown for task in spec.tasks if task.on_error.breaker]


def read_history(spec: WorkflowSpec, run_id: str, history: list[Event], cooldown: float = 0.0) -> None:
    """Hold a run's history to all promises.

    Args:
        spec: its definition.
        run_id: its id.
        history: its events.
        cooldown: the longest of other definitions whose runs share its breakers: whoever opens one says for how long.

    Raises:
        BrokenPromise: the first one that is broken.
    """
    order = OrderPromises(spec)
    recovery = RecoveryPromises(spec, run_id, order, cooldown)
    hooks = HookPromises(spec, order)
    for event in history:
        recovery.check(event)
        hooks.check(event)
        order.check(event)
    recovery.check_end_of_step(history[-1].at)
