"""A machine that does to a run whatever can happen to one, in any order, and holds it to the promises.

`Driver` is the shell around the core: it applies, settles, commits, and only then acts. A crash leaves what was
committed, and perhaps the batch that was on its way. `Promises` reads the history and what was performed, and knows
nothing of the core's state.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actorflow.core.commands import CancelAttempt, CancelHook, Finish, RunHook, StartAttempt
from actorflow.core.events import (
    AttemptCanceled,
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
    AttemptSucceeded,
    AttemptTimedOut,
    CancelRequested,
    Event,
    Failure,
    FallbackChosen,
    FallbackValueUsed,
    GenerationStarted,
    HookFinished,
    HookStarted,
    PauseRequested,
    Resumed,
    RetryScheduled,
    RunEnding,
    RunFinished,
    RunStarted,
    SleepStarted,
    TaskCanceled,
    TaskFailed,
    TaskSkipped,
)
from actorflow.core.plan import plan_of
from actorflow.core.recovery import answer
from actorflow.core.state import CORE_VERSION, RunState
from actorflow.core.step import Action, next_generation, recovered, settle
from actorflow.spec.model import RetrySpec, TaskSpec, WorkflowSpec
from tests.scenarios import snapshot, workflows

RESULTS = ["succeeds", "succeeds", "succeeds", "fails", "fails", "times out", "is not found"]
SUCCESSES = (AttemptSucceeded, FallbackValueUsed)
ENDS = (*SUCCESSES, AttemptCanceled, TaskFailed, TaskCanceled, TaskSkipped)


class BrokenPromise(AssertionError):
    """A promise was broken; `promise` is its name."""

    def __init__(self, promise: str, what: object) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise = promise


def expect(promise: str, is_kept: bool, what: object) -> None:
    if not is_kept:
        raise BrokenPromise(promise, what)


class Driver:
    """Runs the core as a process does that may die at any moment; what it performs stays performed."""

    def __init__(self, spec: WorkflowSpec) -> None:
        self.spec, self.now = spec, 1000.0
        self.state = RunState(plan_of(spec))
        self.committed: list[Event] = []
        self.unsaved: list[Event] = []
        self.held: list[Action] = []
        self.performed: list[StartAttempt | RunHook] = []  #: over all crashes
        self.bodies: dict[str, StartAttempt] = {}  #: attempts that owe an outcome
        self.hook: RunHook | None = None  #: that owes an outcome
        self.unwanted: set[str] = set()  #: attempts that were told to end, and an empty name for the hook
        self.happen(RunStarted(self.now, "r-1", spec.name, "hash", {}, {}, {}, {}, CORE_VERSION))
        self.happen(next_generation(self.state, self.now))

    @property
    def history(self) -> list[Event]:
        return self.committed + self.unsaved

    def happen(self, *events: Event) -> None:
        """Apply what happened, and hold what follows until that is committed."""
        for event in events:
            self.state.apply(event)
        step = settle(self.state, self.now, lambda failed: answer(failed, self.now))
        self.unsaved.extend((*events, *step.events))
        self.held.extend(step.actions)

    def commit(self) -> None:
        """Commit the batch at hand, then do what was held for it."""
        self.committed.extend(self.unsaved)
        self.unsaved = []
        self.perform_held()

    def perform_held(self) -> None:
        held, self.held = self.held, []
        for action in held:
            self.perform(action)

    def perform(self, action: Action) -> None:
        match action:
            case StartAttempt(task=task):
                expect_may_act(self, action)
                self.performed.append(action)
                self.bodies[task] = action
            case RunHook():
                expect_may_act(self, action)
                self.performed.append(action)
                self.hook = action
            case CancelAttempt(task) if task in self.bodies:
                self.unwanted.add(task)
            case CancelHook() if self.hook is not None:
                self.unwanted.add("")
            case CancelAttempt() | CancelHook():
                pass  # it has ended
            case Finish():
                expect("performed only after commit", isinstance(self.committed[-1], RunFinished), action)

    def crash(self, *, is_kept: bool) -> None:
        """Die while the batch at hand is on its way to the journal, and go on from what is in there."""
        if is_kept:
            self.committed.extend(self.unsaved)
        lived, self.state = self.state, RunState(plan_of(self.spec))
        self.unsaved, self.held = [], []
        self.bodies.clear()
        self.unwanted.clear()
        self.hook = None
        for event in self.committed:
            self.state.apply(event)
        if is_kept:
            expect("fold equals live", snapshot(self.state) == snapshot(lived), snapshot(lived))
        if not self.committed:
            self.happen(RunStarted(self.now, "r-1", self.spec.name, "hash", {}, {}, {}, {}, CORE_VERSION))
            self.happen(next_generation(self.state, self.now))
        elif self.state.phase != "ended":
            self.happen(*recovered(self.state, self.now))

    def end_attempt(self, number: int, result: str) -> None:
        """One of the running attempts ends; whoever was told to end may still do something else first."""
        task = list(self.bodies)[number % len(self.bodies)]
        attempt = self.bodies.pop(task).attempt
        is_unwanted = task in self.unwanted
        self.unwanted.discard(task)
        if is_unwanted and number % 2:
            self.happen(AttemptCanceled(self.now, task, attempt))
        elif result == "succeeds":
            self.happen(AttemptSucceeded(self.now, task, attempt, number % 2))
        elif result == "times out":
            self.happen(AttemptTimedOut(self.now, task, attempt, Failure("timeout", "")))
        else:
            kind = "not_found" if result == "is not found" else "Broken"
            self.happen(AttemptFailed(self.now, task, attempt, Failure(kind, "")))

    def end_hook(self, status: Any) -> None:
        assert self.hook is not None
        hook, self.hook = self.hook, None
        if "" in self.unwanted:
            self.unwanted.discard("")
            status = "canceled"
        self.happen(HookFinished(self.now, hook.event, hook.index, status))


def expect_may_act(driver: Driver, action: StartAttempt | RunHook) -> None:
    """Nothing is performed unless all that it depends on is committed, itself included; and nothing twice."""
    committed = driver.committed
    if isinstance(action, RunHook):
        hooks = [e for e in committed if isinstance(e, HookStarted)]
        is_committed = bool(hooks) and (hooks[-1].event, hooks[-1].index) == (action.event, action.index)
        expect("performed only after commit", is_committed, action.delivery_id)
        return
    key = (action.task, action.attempt, action.loss)
    starts = [(e.task, e.attempt, e.loss) for e in committed if isinstance(e, AttemptStarted)]
    expect("performed only after commit", key in starts, key)
    ended = {e.task for e in committed if isinstance(e, ENDS)}
    missing = {need for need, _ in edges_to(action.spec)} - ended
    expect("dependants only after the commit of outcomes", not missing, (key, missing))
    before = [p for p in driver.performed if isinstance(p, StartAttempt)]
    expect("performed once", key not in [(p.task, p.attempt, p.loss) for p in before], key)
    generation = sum(isinstance(event, GenerationStarted) for event in committed)
    expected = f"r-1/{action.task}/{generation}"
    expect("one idempotency key a generation", action.idempotency_key == expected, action.idempotency_key)


class Promises:
    """Reads a history from its beginning, and raises where a promise is broken."""

    def __init__(self, spec: WorkflowSpec) -> None:
        self.spec = spec
        self.tasks = {task.id: task for task in spec.tasks}
        self.stage_of = {name: stage for stage in spec.stages for name in stage.tasks}
        self.stages = {stage.name: stage for stage in spec.stages}
        self.leads = [
            (task.id, to.next, on)
            for task in spec.tasks
            for on, to in (("success", task.on_success), ("failure", task.on_error.next))
            if to is not None
        ]
        to_handlers = {target for _, target, on in self.leads if on == "failure"}
        self.handlers = {t.id for t in spec.tasks if t.on_failure_of or t.on_end_of or t.id in to_handlers}
        self.handled = {source for source, _, on in self.leads if on == "failure"}
        self.handled.update(need for task in spec.tasks for need in task.on_failure_of)
        self.ends: dict[str, Event] = {}
        self.attempts = Counter[str]()  #: number of the last attempt
        self.running: set[str] = set()
        self.succeeded: set[str] = set()
        self.begin_generation()

    def begin_generation(self) -> None:
        self.tries: dict[str, list[int]] = {name: [0] for name in self.tasks}  #: per agent that had its turn
        self.losses = Counter[str]()
        self.lost: dict[str, AttemptLost] = {}
        self.due_at: dict[str, float] = {}
        self.failures: dict[str, Failure] = {}
        self.hooks = Counter[tuple[str, int]]()
        self.is_canceled = self.is_closed = self.is_aborted = self.is_pausing = self.has_failed = False
        self.outcome: str | None = None

    def read(self, history: list[Event]) -> None:
        for event in history:
            self.check(event)

    def check(self, event: Event) -> None:
        match event:
            case GenerationStarted():
                self.begin_generation()
            case AttemptStarted(task=name):
                self.check_start(event, self.tasks[name])
            case AttemptFailed(task=name, failure=failure) | AttemptTimedOut(task=name, failure=failure):
                self.running.discard(name)
                self.failures[name] = failure
            case AttemptLost(task=name):
                self.running.discard(name)
                self.losses[name] += not self.is_pausing
                self.lost[name] = event
            case RetryScheduled(task=name):
                self.check_delay(event, self.tasks[name].retry)
                self.due_at[name] = event.due_at
            case FallbackChosen(task=name):
                self.check_used_up(self.tasks[name])
                self.tries[name].append(0)
            case FallbackValueUsed(task=name):
                self.check_used_up(self.tasks[name])
                self.check_every_agent_had_its_turn(self.tasks[name])
            case AttemptCanceled(task=name) | TaskCanceled(task=name):
                expect("tasks are canceled for a reason", self.is_barred(name), event)
            case SleepStarted(task=name, due_at=due_at):
                expect("a task sleeps before its first attempt", self.tries[name] == [0], event)
                self.due_at[name] = due_at
            case TaskFailed():
                self.check_failure(event, self.tasks[event.task])
            case TaskSkipped():
                self.check_skip(event, self.tasks[event.task])
            case PauseRequested():
                self.is_pausing = True
            case Resumed():
                self.is_pausing = False
            case CancelRequested() if self.outcome is None:
                self.is_canceled = True
                self.is_pausing = False
            case HookStarted():
                self.check_hook_start(event)
            case HookFinished():
                self.hooks[event.event, event.index] += 1
                self.is_closed |= event.event == "pre_workflow" and event.status != "ok"
            case RunEnding():
                self.check_ending(event)
            case RunFinished():
                self.check_hooks_at_end()
            case _:
                pass
        if isinstance(event, ENDS):
            self.running.discard(event.task)
            self.ends[event.task] = event
            if isinstance(event, SUCCESSES):
                self.succeeded.add(event.task)

    def check_start(self, event: AttemptStarted, task: TaskSpec) -> None:
        name = task.id
        expect("a success never starts again", name not in self.succeeded, event)
        expect("nothing starts after a cancel", not self.is_canceled, event)
        expect("nothing starts after an abort", not self.is_barred(name), event)
        expect("nothing starts while pausing", not self.is_pausing, event)
        expect("nothing starts before its edges are satisfied", self.is_ready(task), event)
        expect("no attempt runs beside itself", name not in self.running, event)
        self.running.add(name)
        is_within = len(self.running) <= self.spec.limits.max_parallel
        expect("at most max_parallel run", is_within, event)
        expect("nothing starts before it is due", event.at >= self.due_at.get(name, 0.0), event)
        self.check_number(event)
        tries = self.tries[name]
        expect("the agents have their turns", event.agent == task.agents[len(tries) - 1], event)
        expect("attempts are within limits", tries[-1] <= task.retry.max_attempts, event)

    def check_number(self, event: AttemptStarted) -> None:
        lost = self.lost.pop(event.task, None)
        if lost is not None:
            is_same = (event.attempt, event.loss) == (lost.attempt, lost.loss + 1)
            expect("a lost attempt runs again under its number", is_same, (lost, event))
            expect("what is not idempotent runs once", self.tasks[event.task].idempotent, event)
            return
        is_next = (event.attempt, event.loss) == (self.attempts[event.task] + 1, 0)
        expect("attempts are numbered without gaps", is_next, event)
        self.attempts[event.task] += 1
        self.tries[event.task][-1] += 1

    def is_barred(self, name: str) -> bool:
        """Whether a task may not start or go on: an abort spares those that are there for it."""
        is_spared = not self.is_closed and name in self.handlers
        return self.is_canceled or self.is_closed or (self.is_aborted and not is_spared)

    def is_ready(self, task: TaskSpec) -> bool:
        """Whether all that must come before a task has ended as it must, and something led to it."""
        edges, sources = edges_to(task), [(a, on) for a, target, on in self.leads if target == task.id]
        is_led_to = any(self.is_taken(name, on) for name, on in sources)
        was_reached = any(not is_unreached(self.ends.get(need)) for need, _ in edges)
        stage = self.stage_of.get(task.id)
        earlier = [name for before in stage.after for name in self.stages[before].tasks] if stage else []
        kind = "always" if task.id in self.handlers else "success"
        return (
            all(self.is_satisfied(need, on) for need, on in edges)
            and (is_led_to if sources else was_reached or not edges)
            and all(self.is_satisfied(name, kind) for name in earlier)
        )

    def is_satisfied(self, name: str, on: str) -> bool:
        match self.ends.get(name), on:
            case None, _:
                return False
            case _, "always":
                return True
            case end, "failure":
                return isinstance(end, TaskFailed)
            case TaskSkipped(reason="when" | "not_reached") | TaskFailed(effect="tolerated"), _:
                return True
            case end, _:
                return isinstance(end, SUCCESSES)

    def is_taken(self, name: str, on: str) -> bool:
        return isinstance(self.ends.get(name), SUCCESSES if on == "success" else TaskFailed)

    def check_delay(self, event: RetryScheduled, retry: RetrySpec) -> None:
        most = min(longest_delay(retry, self.tries[event.task][-1]), retry.max_delay)
        least = {"none": most, "equal": most / 2, "full": 0.0}[retry.jitter]
        slack = 1e-6  # of seconds since 1970 as floats
        expect("delays are within bounds", least - slack <= event.due_at - event.at <= most + slack, event)

    def check_used_up(self, task: TaskSpec) -> None:
        """The agent at hand has had all its attempts, or can't be mended by another."""
        used, kind = self.tries[task.id][-1], self.failures[task.id].type
        retry = task.retry
        is_excluded = bool(retry.retry_on) and kind not in retry.retry_on
        is_hopeless = kind == "not_found" or kind in retry.no_retry_on or is_excluded
        expect("every agent has its attempts", is_hopeless or used == retry.max_attempts, (task.id, used))

    def check_every_agent_had_its_turn(self, task: TaskSpec) -> None:
        expect("every fallback is tried", len(self.tries[task.id]) == len(task.agents), task.id)

    def check_failure(self, event: TaskFailed, task: TaskSpec) -> None:
        is_handled = "handled" if task.id in self.handled else "fatal"
        effect = "tolerated" if task.on_error.strategy == "skip" else is_handled
        expect("failures have their effect", event.effect == effect, event)
        is_ended_early = self.is_canceled or self.is_closed or self.is_aborted
        if event.failure.type == "lost":
            is_due = self.losses[task.id] == task.on_error.max_losses + 1 or not task.idempotent
            expect("a task may be lost five times", is_due, event)
        elif event.failure.type != "expression" and not is_ended_early:
            self.check_used_up(task)
            self.check_every_agent_had_its_turn(task)
            expect("a fallback value is used", not task.on_error.has_fallback_value, event)
        if effect == "fatal":
            self.has_failed = True
            self.is_aborted |= task.on_error.strategy == "abort"

    def check_skip(self, event: TaskSkipped, task: TaskSpec) -> None:
        edges = edges_to(task)
        match event.reason:
            case "upstream":
                is_barred = not all(self.is_satisfied(need, on) for need, on in edges)
                is_due = task.id in self.stage_of or is_barred
            case "not_reached":
                is_due = not self.is_ready(task)
            case "aborted":
                is_due = self.is_barred(task.id)
            case "canceled":
                is_due = self.is_canceled
            case _:
                is_due = task.when is not None and self.is_ready(task)
        expect("tasks are skipped for a reason", is_due, event)

    def check_hook_start(self, event: HookStarted) -> None:
        expect("nothing starts while pausing", not self.is_pausing, event)
        if event.event == "pre_workflow":
            expect("nothing starts after a cancel", not self.is_canceled, event)
            expect("nothing starts after an abort", not self.is_closed, event)
        else:
            expect("the last hooks run after the outcome", self.outcome is not None, event)

    def check_ending(self, event: RunEnding) -> None:
        self.outcome = event.outcome
        for task in self.spec.tasks:
            end = self.ends.get(task.id)
            expect("a run ends when all its tasks have", end is not None, task.id)
            is_below = not all(self.is_satisfied(need, on) for need, on in edges_to(task))
            is_passed_on = isinstance(end, TaskSkipped) or task.id in self.succeeded or not is_below
            expect("what waits for a failure is skipped", is_passed_on, end)
        failed_set_up = self.is_closed and not self.has_failed
        expected = "failed" if self.has_failed or failed_set_up else "success"
        expected = "canceled" if self.is_canceled else expected
        expect("the outcome is that of the tasks", event.outcome == expected, event)

    def check_hooks_at_end(self) -> None:
        hooks = self.spec.hooks
        for event, lines, times in (
            ("on_error", hooks.of("on_error"), int(self.outcome == "failed")),
            ("post_workflow", hooks.of("post_workflow"), 1),
        ):
            counts = [self.hooks[event, index] for index in range(len(lines))]
            expect(f"{event} runs as often as it must", counts == [times] * len(lines), counts)


def edges_to(task: TaskSpec) -> list[tuple[str, str]]:
    """What a task waits for, and which kind of end it asks of each."""
    kinds = (("success", task.depends_on), ("failure", task.on_failure_of), ("always", task.on_end_of))
    return [(need, on) for on, needs in kinds for need in needs]


def is_unreached(end: Event | None) -> bool:
    return isinstance(end, TaskSkipped) and end.reason == "not_reached"


def longest_delay(retry: RetrySpec, failed: int) -> float:
    """By the documentation, for the small numbers of these tests."""
    match retry.backoff:
        case "constant":
            return retry.delay
        case "linear":
            return retry.delay * failed
        case "exponential":
            return retry.delay * retry.factor ** (failed - 1)


class RunMachine(RuleBasedStateMachine):
    """All that can happen to a run."""

    driver: Driver

    @initialize(spec=workflows(max_tasks=5))
    def start(self, spec: WorkflowSpec) -> None:
        self.driver = Driver(spec)
        self.driver.commit()

    @property
    def state(self) -> RunState:
        return self.driver.state

    @rule()
    def commit(self) -> None:
        self.driver.commit()

    @precondition(lambda self: self.driver.bodies)
    @rule(number=st.integers(0, 7), result=st.sampled_from(RESULTS), is_committed=st.booleans())
    def an_attempt_ends(self, number: int, result: str, is_committed: bool) -> None:
        self.driver.end_attempt(number, result)
        if is_committed:
            self.driver.commit()

    @precondition(lambda self: self.driver.bodies)
    @rule(results=st.lists(st.sampled_from(RESULTS), min_size=1, max_size=12))
    def attempts_end(self, results: list[str]) -> None:
        for number, result in enumerate(results):
            if self.driver.bodies:
                self.driver.end_attempt(number, result)
                self.driver.commit()

    @precondition(lambda self: self.driver.hook)
    @rule(status=st.sampled_from(["ok", "ok", "ok", "failed", "timed_out"]))
    def a_hook_ends(self, status: str) -> None:
        self.driver.end_hook(status)
        self.driver.commit()

    @precondition(lambda self: self.state.next_due_at() is not None)
    @rule(share=st.sampled_from([0.5, 1.0, 1.0, 1.5]))
    def time_passes(self, share: float) -> None:
        due_at = self.state.next_due_at()
        assert due_at is not None
        self.driver.now += max(0.0, due_at - self.driver.now) * share
        self.driver.happen()
        self.driver.commit()

    @rule(is_kept=st.booleans())
    def the_process_dies(self, is_kept: bool) -> None:
        self.driver.crash(is_kept=is_kept)

    @precondition(lambda self: self.state.phase != "ended" and not self.state.is_pausing)
    @rule()
    def pause(self) -> None:
        self.driver.happen(PauseRequested(self.driver.now, ""))

    @precondition(lambda self: self.state.phase != "ended" and self.state.is_pausing)
    @rule()
    def resume(self) -> None:
        self.driver.happen(Resumed(self.driver.now))
        self.driver.commit()

    @precondition(lambda self: self.state.phase != "ended" and len(self.driver.history) > 8)
    @rule()
    def cancel(self) -> None:
        self.driver.happen(CancelRequested(self.driver.now, ""))

    @precondition(lambda self: self.state.phase == "ended" and not self.driver.unsaved)
    @rule()
    def run_another_generation(self) -> None:
        self.driver.happen(next_generation(self.state, self.driver.now))
        self.driver.commit()

    @invariant()
    def promises_are_kept(self) -> None:
        if hasattr(self, "driver"):
            Promises(self.driver.spec).read(self.driver.history)

    def teardown(self) -> None:
        """Every run ends when outcomes keep coming."""
        if not hasattr(self, "driver"):
            return
        for _ in range(200):
            if self.state.phase == "ended":
                return
            self.go_on()
            self.promises_are_kept()
        raise BrokenPromise("every run ends", self.driver.history)

    def go_on(self) -> None:
        driver = self.driver
        driver.commit()
        if driver.hook is not None:
            driver.end_hook("ok")
        elif driver.bodies:
            driver.end_attempt(len(driver.bodies), "fails" if len(driver.history) % 3 else "succeeds")
        elif self.state.is_pausing:
            driver.happen(Resumed(driver.now))
        else:
            driver.now = max(driver.now, self.state.next_due_at() or 0.0)
            driver.happen()


RunMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyRunKeepsThePromises = RunMachine.TestCase
