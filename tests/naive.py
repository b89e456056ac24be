"""The naive model of a run: what is due, worked out anew from the whole history each time.

A second specification of the core, written to be read and not to be fast; it knows the events and the workflow model,
and nothing else of the core. What is due comes as tuples, such as `("start", task, attempt, loss, agent)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

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
    HookLost,
    HookStarted,
    PauseRequested,
    Resumed,
    RetryScheduled,
    RunEnding,
    RunFinished,
    SleepStarted,
    StageCompleted,
    TaskCanceled,
    TaskFailed,
    TaskSkipped,
)
from actorflow.errors import ExpressionError
from actorflow.expression import compile_template, condition
from actorflow.spec.model import StageSpec, TaskSpec, WorkflowSpec

Due = tuple[Any, ...]
SUCCESSES = (AttemptSucceeded, FallbackValueUsed)
ENDS = (*SUCCESSES, AttemptCanceled, TaskFailed, TaskCanceled, TaskSkipped)


def due(spec: WorkflowSpec, events: Sequence[Event], now: float) -> list[Due]:
    """All that is due at `now`, in order."""
    return NaiveRun(spec, events, now).due()


class NaiveRun:
    """What follows from all that has happened."""

    def __init__(self, spec: WorkflowSpec, events: Sequence[Event], now: float) -> None:
        self.spec, self.events, self.now = spec, list(enumerate(events)), now
        begun = [at for at, event in self.events if isinstance(event, GenerationStarted)]
        self.here = self.events[begun[-1] :] if begun else []  #: of this generation, with positions
        self.ends = ends_that_stand(spec, self.events)
        self.tasks = sorted(spec.tasks, key=lambda task: task.priority)
        self.by_task: dict[str, list[Any]] = {task.id: [] for task in spec.tasks}
        for _, event in self.here:
            if hasattr(event, "task") and event.task is not None:
                self.by_task[event.task].append(event)

    def due(self) -> list[Due]:
        if not self.here or self.has(RunFinished):
            return []
        ending = next((event for _, event in self.here if isinstance(event, RunEnding)), None)
        if ending is not None:
            on_error = self.spec.hooks.of("on_error") if ending.outcome == "failed" else ()
            line = places("on_error", on_error) + places("post_workflow", self.spec.hooks.of("post_workflow"))
            hooks = self.next_hook(line)
            return [("finish", ending.outcome)] if hooks is None else hooks
        hooks = self.set_up()
        return self.work() if hooks is None else hooks

    def set_up(self) -> list[Due] | None:
        """What is due before the tasks, if anything is; a closed run goes on to them once no hook is running."""
        running = self.running_hook()
        if self.closed() is None:
            return self.next_hook(places("pre_workflow", self.spec.hooks.of("pre_workflow")))
        return [("cancel hook", *running)] if running else None

    def next_hook(self, line: list[tuple[str, int]]) -> list[Due] | None:
        """The next hook of a line, which has its turn when none is running; None where all have ended."""
        ended = [(e.event, e.index) for _, e in self.here if isinstance(e, HookFinished)]
        left = [place for place in line if place not in ended]
        if not left:
            return None
        return [] if self.running_hook() or self.is_pausing() else [("hook", *left[0])]

    def running_hook(self) -> tuple[str, int] | None:
        hooks = [e for _, e in self.here if isinstance(e, HookStarted | HookFinished | HookLost)]
        return (hooks[-1].event, hooks[-1].index) if hooks and isinstance(hooks[-1], HookStarted) else None

    def work(self) -> list[Due]:
        deciding = self.in_order_of(self.with_status("deciding"))
        if deciding:
            return [self.verdict(task) for task in deciding]
        facts = [*self.lost_too_often(), *self.skips(), *self.completed_stages()]
        if facts:
            return facts
        running = self.in_order_of(self.with_status("running"))
        due: list[Due] = [
            ("cancel", task.id, self.attempt(task)) for task in running if self.closed_for(task) is not None
        ]
        if not self.is_pausing():
            due.extend(self.starts(self.spec.limits.max_parallel - len(running)))
        return due if due or self.with_status("pending", "running", "waiting") else [self.ending()]

    def verdict(self, task: TaskSpec) -> Due:
        """What follows a failed attempt: a retry, the next agent, a value, or the end of the task."""
        failure: Failure = self.last(task).failure
        if self.closed_for(task) is not None:
            return ("fail", task.id, self.effect(task), failure.type)
        tried = [e for e in self.of(task) if isinstance(e, FallbackChosen | AttemptStarted)]
        fallbacks = [e for e in tried if isinstance(e, FallbackChosen)]
        mine = tried[1 + max((i for i, e in enumerate(tried) if e in fallbacks), default=-1) :]
        attempts = {e.attempt for e in mine if isinstance(e, AttemptStarted)}
        what_is_left = [*task.agents[len(fallbacks) + 1 :], *["value"] * task.on_error.has_fallback_value]
        if len(attempts) < task.retry.max_attempts and is_worth_another_try(task, failure):
            what_is_left.insert(0, "retry")
        return ("decide", task.id, self.attempt(task), [*what_is_left, self.effect(task)][0])

    def effect(self, task: TaskSpec) -> str:
        """What it means for the run when nobody is left to try the task."""
        if task.on_error.strategy == "skip":
            return "tolerated"
        is_handled = any(task.id in other.on_failure_of for other in self.spec.tasks)
        return "handled" if is_handled or task.on_error.next is not None else "fatal"

    def is_handler(self, task: TaskSpec) -> bool:
        """Whether an abort lets the task start and go on."""
        nexts = [other.on_error.next.next for other in self.spec.tasks if other.on_error.next is not None]
        return bool(task.on_failure_of or task.on_end_of or task.id in nexts)

    def lost_too_often(self) -> Iterator[Due]:
        for task in self.with_status("waiting"):
            if self.is_lost(task):
                yield ("fail", task.id, self.effect(task), "lost")

    def is_lost(self, task: TaskSpec) -> bool:
        """Whether crashes have cut the task off too often; what a pause cuts off does not count."""
        losses = [at for at, event in self.here if isinstance(event, AttemptLost) and event.task == task.id]
        if not task.idempotent and isinstance(self.last(task), AttemptLost):
            return True
        return sum(not self.is_pausing(at) for at in losses) > task.on_error.max_losses

    def skips(self) -> Iterator[Due]:
        """Tasks that can't run any more; what barred them first is the reason."""
        for task in self.with_status("pending"):
            bars = list(self.bars(task))
            if bars:
                yield ("skip", task.id, min(bars)[2])
        for task in self.with_status("waiting"):
            closed = self.closed_for(task)
            if closed is None or self.is_lost(task):
                continue
            has_tried = any(isinstance(event, AttemptStarted) for event in self.of(task))
            yield ("cancel task", task.id) if has_tried else ("skip", task.id, closed[1])

    def bars(self, task: TaskSpec) -> Iterator[tuple[int, int, str]]:
        """Each thing that bars a task: its position in the history, its rank there, and the reason that it gives."""
        for stage in self.spec.stages:
            is_member = task.id in stage.tasks and not self.is_handler(task)
            if is_member and (at := self.barred_at(stage)) is not None:
                yield (at, 0, "upstream")
        for need, on in edges_to(task):
            if need in self.ends and (reason := why_barred(on, self.ends[need][1])) is not None:
                yield (self.ends[need][0], 1, reason)
        sources = self.sources(task)
        if sources and all(
            name in self.ends and not is_taken(on, self.ends[name][1]) for name, on in sources
        ):
            yield (max(self.ends[name][0] for name, _ in sources), 2, "not_reached")
        if self.is_free(task) and not self.is_reached_task(task):
            ends = [self.ends[need][0] for need, _ in edges_to(task)]
            yield (max(*ends, *map(self.over_at, self.stages_before(task)), 0), 1, "not_reached")
        closed = self.closed_for(task)
        if closed is not None:
            yield (closed[0], 3, closed[1])

    def sources(self, task: TaskSpec) -> list[tuple[str, str]]:
        """The transitions that may lead to a task: where from, and after which end."""
        found: list[tuple[str, str]] = []
        for other in self.spec.tasks:
            for on, to in (("success", other.on_success), ("failure", other.on_error.next)):
                if to is not None and to.next == task.id:
                    found.append((other.id, on))
        return found

    def is_reached_task(self, task: TaskSpec) -> bool:
        """Whether something that was reached itself led to a task; or nothing has to."""
        sources, edges = self.sources(task), edges_to(task)
        if sources:
            return any(name in self.ends and is_taken(on, self.ends[name][1]) for name, on in sources)
        return not edges or not all(is_unreached(self.ends[need][1]) for need, _ in edges)

    def is_free(self, task: TaskSpec) -> bool:
        """Whether nothing holds a pending task any more: no edge, no transition to come, no stage before."""
        edges = edges_to(task)
        if not all(need in self.ends and why_barred(on, self.ends[need][1]) is None for need, on in edges):
            return False
        is_led_to = not self.sources(task) or self.is_reached_task(task)
        return is_led_to and all(map(self.is_over, self.stages_before(task)))

    def stages_before(self, task: TaskSpec) -> list[StageSpec]:
        """The stages that the one of the task waits for."""
        return [
            before for stage in self.spec.stages if task.id in stage.tasks for before in self.before(stage)
        ]

    def starts(self, free: int) -> Iterator[Due]:
        """The first tasks, by priority and in file order, that are ready, or whose time has come."""
        ready = [task for task in self.tasks if self.may_start(task)]
        for task in ready[: max(free, 0)]:
            start = self.start(task)
            yield start
            if start[0] == "fail":
                return  # it may bar the others

    def may_start(self, task: TaskSpec) -> bool:
        if self.status(task) == "waiting":
            last = self.last(task)
            due_at = last.due_at if isinstance(last, RetryScheduled | SleepStarted) else last.at
            return self.closed_for(task) is None and due_at <= self.now
        return self.status(task) == "pending" and not any(self.bars(task)) and self.is_free(task)

    def start(self, task: TaskSpec) -> Due:
        events = self.of(task)
        last = events[-1] if events else None
        attempt, loss = self.attempt(task) + 1, 0
        if isinstance(last, AttemptLost):
            attempt, loss = last.attempt, last.loss + 1
        context = {"tasks": self.known(), "task": {"attempt": attempt}, "now": self.now}
        try:
            if not events and task.when is not None and not condition(task.when).evaluate(context):
                return ("skip", task.id, "when")
            compile_template(task.with_).render(context)
        except ExpressionError:
            return ("fail", task.id, self.effect(task), "expression")
        if not events and task.sleep is not None:
            return ("sleep", task.id, self.now + task.sleep)
        agent = task.agents[sum(isinstance(event, FallbackChosen) for event in events)]
        return ("start", task.id, attempt, loss, agent)

    def known(self) -> dict[str, Any]:
        """What templates see of ended tasks."""
        known = {}
        for name, (_, event) in self.ends.items():
            output = event.output if isinstance(event, SUCCESSES) else None
            error = {"message": event.failure.message} if isinstance(event, TaskFailed) else None
            known[name] = {"output": output, "error": error}
        return known

    def completed_stages(self) -> Iterator[Due]:
        for stage in self.spec.stages:
            if self.ended_at(stage) is not None and self.is_reached(stage) and self.completion(stage) is None:
                yield ("stage", stage.name, self.stage_status(stage))

    def before(self, stage: StageSpec) -> list[StageSpec]:
        return [other for other in self.spec.stages if other.name in stage.after]

    def is_over(self, stage: StageSpec) -> bool:
        """Whether what comes after the stage knows how it went; one without anything to do goes by those before."""
        if not all(map(self.is_over, self.before(stage))):
            return False
        if self.had_nothing_to_do(stage):
            return True
        if self.ended_at(stage) is None:
            return False
        return self.completion(stage) is not None or not self.is_reached(stage)

    def over_at(self, stage: StageSpec) -> int:
        """The position of what made a stage that is over be so."""
        completion, ended_at = self.completion(stage), self.ended_at(stage)
        if completion is not None:
            return completion[0]
        before = [self.over_at(other) for other in self.before(stage)]
        return max([*before, self.here[0][0] if ended_at is None else ended_at])

    def is_passed(self, stage: StageSpec) -> bool:
        """Whether a stage that is over lets the next ones begin."""
        completion = self.completion(stage)
        if completion is not None:
            return completion[1].status == "success"
        is_well = self.had_nothing_to_do(stage) or self.stage_status(stage) == "success"
        return is_well and all(map(self.is_passed, self.before(stage)))

    def barred_at(self, stage: StageSpec) -> int | None:
        """The position of what keeps the stage from ever beginning."""
        bars = [self.bars_later_at(before) for before in self.before(stage)]
        return min((at for at in bars if at is not None), default=None)

    def bars_later_at(self, stage: StageSpec) -> int | None:
        """The position of what made the stage bar those after it: it ended badly, or is barred itself."""
        return None if not self.is_over(stage) or self.is_passed(stage) else self.over_at(stage)

    def had_nothing_to_do(self, stage: StageSpec) -> bool:
        return all(name in self.ends and self.ends[name][0] < self.here[0][0] for name in stage.tasks)

    def ended_at(self, stage: StageSpec) -> int | None:
        """Where in this generation the last task of the stage ended."""
        if self.had_nothing_to_do(stage) or any(name not in self.ends for name in stage.tasks):
            return None
        return max(self.ends[name][0] for name in stage.tasks)

    def is_reached(self, stage: StageSpec) -> bool:
        return any(
            isinstance(event, AttemptStarted | TaskFailed) or is_false_when(event)
            for task in self.spec.tasks
            if task.id in stage.tasks
            for event in self.of(task)
        )

    def completion(self, stage: StageSpec) -> tuple[int, StageCompleted] | None:
        found = [(i, e) for i, e in self.here if isinstance(e, StageCompleted) and e.stage == stage.name]
        return found[0] if found else None

    def stage_status(self, stage: StageSpec) -> str:
        ends = [self.ends[name][1] for name in stage.tasks]
        reasons = [end.reason for end in ends if isinstance(end, TaskSkipped)]
        if any(isinstance(end, TaskFailed) and end.effect != "tolerated" for end in ends):
            return "failed"
        if any(isinstance(end, AttemptCanceled | TaskCanceled) for end in ends):
            return "canceled"
        if "canceled" in reasons or "aborted" in reasons:
            return "canceled"
        return "failed" if "upstream" in reasons else "success"

    def closings(self) -> Iterator[tuple[int, str, bool]]:
        """Where and why it was decided that nothing new starts, and whether handlers are spared."""
        aborting = {task.id for task in self.spec.tasks if task.on_error.strategy == "abort"}
        for at, event in self.here:
            match event:
                case CancelRequested():
                    yield (at, "canceled", False)
                case HookFinished(event="pre_workflow", status=status) if status != "ok":
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

    def ending(self) -> Due:
        if self.has(CancelRequested):
            return ("ending", "canceled", None, None)
        for _, event in self.here:
            match event:
                case HookFinished(event="pre_workflow", status=status) if status != "ok":
                    return ("ending", "failed", None, "hook_failed")
                case TaskFailed(task=task, effect="fatal", failure=failure):
                    return ("ending", "failed", task, failure.type)
        return ("ending", "success", None, None)

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
        return self.of(task)[-1]

    def attempt(self, task: TaskSpec) -> int:
        """The number of the last attempt, over all generations."""
        starts = [e for _, e in self.events if isinstance(e, AttemptStarted) and e.task == task.id]
        return max((event.attempt for event in starts), default=0)

    def status(self, task: TaskSpec) -> str:
        if task.id in self.ends:
            return "ended"
        events = self.of(task)
        match events[-1] if events else None:
            case None:
                return "pending"
            case AttemptStarted():
                return "running"
            case AttemptFailed() | AttemptTimedOut():
                return "deciding"
            case _:
                return "waiting"

    def with_status(self, *statuses: str) -> list[TaskSpec]:
        return [task for task in self.spec.tasks if self.status(task) in statuses]

    def in_order_of(self, tasks: list[TaskSpec]) -> list[TaskSpec]:
        """Tasks in the order in which what happened last to each happened."""
        latest = {getattr(event, "task", None): at for at, event in self.here}
        return sorted(tasks, key=lambda task: latest[task.id])


def ends_that_stand(spec: WorkflowSpec, events: list[tuple[int, Event]]) -> dict[str, tuple[int, Event]]:
    """What ended each task, and where. A new generation lets stand what succeeded, and what its own `when` ruled out."""
    ends: dict[str, tuple[int, Event]] = {}
    before = {task.id: [need for need, _ in edges_to(task)] for task in spec.tasks}
    for task in spec.tasks:
        for to in (task.on_success, task.on_error.next):
            if to is not None:
                before[to.next].append(task.id)

    def stands(name: str) -> bool:
        end = ends[name][1]
        return isinstance(end, SUCCESSES) or (is_false_when(end) and all(map(stands, before[name])))

    for at, event in events:
        if isinstance(event, ENDS):
            ends[event.task] = (at, event)
        elif isinstance(event, GenerationStarted):
            ends = {name: end for name, end in ends.items() if stands(name)}
    return ends


def edges_to(task: TaskSpec) -> list[tuple[str, str]]:
    """What a task waits for, and which kind of end it asks of each."""
    return [
        *((need, "success") for need in task.depends_on),
        *((need, "failure") for need in task.on_failure_of),
        *((need, "always") for need in task.on_end_of),
    ]


def why_barred(on: str, end: Event) -> str | None:
    """Why an end does not satisfy an edge; None where it does."""
    is_passed_over = is_false_when(end) or is_unreached(end)
    is_tolerated = isinstance(end, TaskFailed) and end.effect == "tolerated"
    match on:
        case "success" if not (isinstance(end, SUCCESSES) or is_passed_over or is_tolerated):
            return "upstream"
        case "failure" if not isinstance(end, TaskFailed):
            return "not_reached" if isinstance(end, SUCCESSES) or is_passed_over else "upstream"
        case _:
            return None


def is_taken(on: str, end: Event) -> bool:
    """Whether a transition is taken when its task ends so."""
    return isinstance(end, SUCCESSES) if on == "success" else isinstance(end, TaskFailed)


def is_unreached(end: Event) -> bool:
    return isinstance(end, TaskSkipped) and end.reason == "not_reached"


def is_worth_another_try(task: TaskSpec, failure: Failure) -> bool:
    """Whether the same agent may try again after such a failure."""
    if failure.type == "not_found" or failure.type in task.retry.no_retry_on:
        return False
    return not task.retry.retry_on or failure.type in task.retry.retry_on


def is_false_when(event: Event) -> bool:
    return isinstance(event, TaskSkipped) and event.reason == "when"


def places(event: str, hooks: Sequence[Any]) -> list[tuple[str, int]]:
    return [(event, index) for index in range(len(hooks))]
