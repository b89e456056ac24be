"""What a run promises, read from its history alone: the order of its tasks, and how it ends.

Each promise has a name, under which a breach is told. The readers know the rules, and nothing of the core's state; what
follows a failure is read by `promises_of_recovery`, what the breakers of a store do by `promises_of_breakers`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from actorflow.core.events import (
    AttemptCanceled,
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
    AttemptSucceeded,
    AttemptTimedOut,
    CancelRequested,
    Event,
    FallbackValueUsed,
    GenerationStarted,
    HookFinished,
    HookStarted,
    PauseRequested,
    Resumed,
    RunDeadlinePassed,
    RunEnding,
    RunFinished,
    SignalReceived,
    TaskCanceled,
    TaskFailed,
    TaskFinished,
    TaskSkipped,
)
from actorflow.spec.model import TaskSpec, WorkflowSpec
from tests.naive_hooks import is_refusal, places

SUCCESSES = (AttemptSucceeded, FallbackValueUsed)
ENDS = (*SUCCESSES, AttemptCanceled, TaskFailed, TaskCanceled, TaskSkipped)
ATTEMPT_ENDS = (AttemptSucceeded, AttemptFailed, AttemptTimedOut, AttemptCanceled, AttemptLost)


class BrokenPromise(AssertionError):
    """A promise was broken; `promise` is its name."""

    def __init__(self, promise: str, what: object) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise = promise


def expect(promise: str, is_kept: bool, what: object) -> None:
    if not is_kept:
        raise BrokenPromise(promise, what)


class OrderPromises:
    """What may start, what is skipped and canceled, and how a run ends."""

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
        self.waited_for = {task.id for task in spec.tasks if places(spec, "task_finished", task.id)}
        self.ends: dict[str, Event] = {}
        self.outcomes: dict[str, Event] = {}  #: of tasks whose hooks are not done
        self.running: set[str] = set()
        self.succeeded: set[str] = set()
        self.signals: set[str] = set()
        self.generation = 0
        self.begin_generation(())

    def begin_generation(self, retried: Sequence[str]) -> None:
        """Forget the ends of what is surely opened again; what was skipped below it may be, too."""
        self.left = {name for name, end in self.ends.items() if retried and is_left(end, retried)}
        if self.generation > 1:
            self.ends = {name: end for name, end in self.ends.items() if is_kept(end, retried)}
        self.outcomes = {}
        self.hooks = Counter[tuple[str, int]]()
        self.is_canceled = self.is_closed = self.is_aborted = self.is_pausing = False
        self.has_failed = any(isinstance(e, TaskFailed) and e.effect == "fatal" for e in self.ends.values())
        self.outcome: str | None = None

    def check(self, event: Event) -> None:
        if isinstance(event, ATTEMPT_ENDS):
            self.running.discard(event.task)
        match event:
            case GenerationStarted(generation=generation, tasks=retried):
                self.generation = generation
                self.begin_generation(retried)
            case AttemptStarted(task=name):
                self.check_start(event, self.tasks[name])
            case AttemptCanceled(task=name) | TaskCanceled(task=name):
                expect("tasks are canceled for a reason", self.is_barred(name), event)
            case TaskFailed(effect="fatal", task=name):
                self.has_failed = True
                self.is_aborted |= self.tasks[name].on_error.strategy == "abort"
            case TaskSkipped(task=name):
                self.check_skip(event, self.tasks[name])
            case PauseRequested():
                self.is_pausing = True
            case Resumed():
                self.is_pausing = False
            case CancelRequested() if self.outcome is None:
                self.is_canceled = True
                self.is_pausing = False
            case RunDeadlinePassed():
                self.is_closed = self.has_failed = True
            case SignalReceived(signal_id=signal_id):
                expect("a signal is received once", signal_id not in self.signals, event)
                self.signals.add(signal_id)
            case HookStarted():
                self.check_hook_start(event)
            case HookFinished():
                self.check_hook_end(event)
            case RunEnding():
                self.check_ending(event)
            case RunFinished():
                self.check_hooks_at_end()
            case _:
                pass
        if isinstance(event, TaskFinished):
            self.end(event.task, self.outcomes[event.task])
        elif isinstance(event, ENDS):
            is_end = isinstance(event, TaskSkipped) or event.task not in self.waited_for
            if is_end or event.task in self.outcomes:
                self.end(event.task, event)
            else:
                self.outcomes[event.task] = event

    def end(self, name: str, outcome: Event) -> None:
        """A task is over, its hooks included."""
        is_first = name not in self.ends or isinstance(self.ends[name], TaskSkipped)
        expect("a task ends once", is_first, outcome)
        self.outcomes.pop(name, None)
        self.ends[name] = outcome
        if isinstance(outcome, SUCCESSES):
            self.succeeded.add(name)

    def check_start(self, event: AttemptStarted, task: TaskSpec) -> None:
        name = task.id
        expect("a success never starts again", name not in self.succeeded, event)
        expect("a retry leaves other failures alone", name not in self.left, event)
        expect("nothing starts after a cancel", not self.is_canceled, event)
        expect("nothing starts after an abort", not self.is_barred(name), event)
        expect("nothing starts while pausing", not self.is_pausing, event)
        expect("nothing starts before its edges are satisfied", self.is_ready(task), event)
        expect("no attempt runs beside itself", name not in self.running, event)
        self.running.add(name)
        is_within = len(self.running) <= self.spec.limits.max_parallel
        expect("at most max_parallel run", is_within, event)

    @property
    def is_ended_early(self) -> bool:
        """Whether nobody asks any more what may follow a failure."""
        return self.is_canceled or self.is_closed or self.is_aborted

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
        match event.event:
            case "pre_workflow":
                expect("nothing starts after a cancel", not self.is_canceled, event)
                expect("nothing starts after an abort", not self.is_closed, event)
            case "task_started":
                expect("nothing starts after a cancel", not self.is_canceled, event)
                expect("nothing starts after an abort", not self.is_barred(event.subject), event)
                is_ready = self.is_ready(self.tasks[event.subject])
                expect("nothing starts before its edges are satisfied", is_ready, event)
            case "task_finished":
                expect("hooks on an end run after the outcome", event.subject in self.outcomes, event)
            case "on_stage_complete":
                is_complete = all(name in self.ends for name in self.stages[event.subject].tasks)
                expect("hooks on a stage run when it is complete", is_complete, event)
            case "on_error" | "post_workflow":
                expect("the last hooks run after the outcome", self.outcome is not None, event)

    def check_hook_end(self, event: HookFinished) -> None:
        self.hooks[event.event, event.index] += 1
        if is_refusal(self.spec, event):
            self.is_closed |= event.event in ("pre_workflow", "on_stage_complete")
            self.has_failed |= event.event == "on_stage_complete"

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
        for event, times in (("on_error", int(self.outcome == "failed")), ("post_workflow", 1)):
            counts = [self.hooks[place] for place in places(self.spec, event)]
            expect(f"{event} runs as often as it must", counts == [times] * len(counts), counts)


def edges_to(task: TaskSpec) -> list[tuple[str, str]]:
    """What a task waits for, and which kind of end it asks of each."""
    kinds = (("success", task.depends_on), ("failure", task.on_failure_of), ("always", task.on_end_of))
    return [(need, on) for on, needs in kinds for need in needs]


def is_unreached(end: Event | None) -> bool:
    return isinstance(end, TaskSkipped) and end.reason == "not_reached"


def is_kept(end: Event, retried: Sequence[str]) -> bool:
    """Whether an end may stand in the next generation."""
    if retried:
        return not _was_cut_off(end) and not (isinstance(end, ENDS) and end.task in retried)
    return isinstance(end, SUCCESSES) or (isinstance(end, TaskSkipped) and end.reason == "when")


def is_left(end: Event, retried: Sequence[str]) -> bool:
    """Whether a retry of these tasks leaves another's end as it is, whatever becomes of them."""
    return isinstance(end, TaskFailed) and end.task not in retried


def _was_cut_off(end: Event) -> bool:
    is_skipped_so = isinstance(end, TaskSkipped) and end.reason in ("aborted", "canceled")
    return is_skipped_so or isinstance(end, AttemptCanceled | TaskCanceled)
