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
    FallbackChosen,
    GenerationStarted,
    HookFinished,
    HookLost,
    HookStarted,
    PauseRequested,
    Resumed,
    RetryScheduled,
    RunEnding,
    RunFinished,
    StageCompleted,
    TaskCanceled,
    TaskFailed,
    TaskSkipped,
)
from actorflow.errors import ExpressionError
from actorflow.expression import compile_template, condition
from actorflow.spec.model import StageSpec, TaskSpec, WorkflowSpec

Due = tuple[Any, ...]
MAX_LOSSES = 5
ENDS = (AttemptSucceeded, AttemptCanceled, TaskFailed, TaskCanceled, TaskSkipped)


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
        self.by_task: dict[str, list[Any]] = {task.id: [] for task in spec.tasks}
        for _, event in self.here:
            if hasattr(event, "task") and event.task is not None:
                self.by_task[event.task].append(event)

    def due(self) -> list[Due]:
        if not self.here or self.has(RunFinished):
            return []
        ending = next((event for _, event in self.here if isinstance(event, RunEnding)), None)
        if ending is not None:
            on_error = self.spec.hooks.on_error if ending.outcome == "failed" else ()
            line = places("on_error", on_error) + places("post_workflow", self.spec.hooks.post_workflow)
            hooks = self.next_hook(line)
            return [("finish", ending.outcome)] if hooks is None else hooks
        hooks = self.set_up()
        return self.work() if hooks is None else hooks

    def set_up(self) -> list[Due] | None:
        """What is due before the tasks, if anything is; a closed run goes on to them once no hook is running."""
        running = self.running_hook()
        if self.closed() is None:
            return self.next_hook(places("pre_workflow", self.spec.hooks.pre_workflow))
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
        if self.closed() is not None and running:
            return [("cancel", task.id, self.attempt(task)) for task in running]
        if self.closed() is None and not self.is_pausing():
            starts = list(self.starts(self.spec.limits.max_parallel - len(running)))
            if starts:
                return starts
        return [] if self.with_status("pending", "running", "waiting") else [self.ending()]

    def verdict(self, task: TaskSpec) -> Due:
        """What follows a failed attempt: a retry, the next agent, or the end of the task."""
        effect = "tolerated" if task.on_error.strategy == "skip" else "fatal"
        failure: Any = self.last(task)
        if self.closed() is not None:
            return ("fail", task.id, effect, failure.failure.type)
        tried = [e for e in self.of(task) if isinstance(e, FallbackChosen | AttemptStarted)]
        fallbacks = [e for e in tried if isinstance(e, FallbackChosen)]
        mine = tried[1 + max((i for i, e in enumerate(tried) if e in fallbacks), default=-1) :]
        attempts = {e.attempt for e in mine if isinstance(e, AttemptStarted)}
        if len(attempts) < task.retry.max_attempts and failure.failure.type != "not_found":
            return ("decide", task.id, self.attempt(task), "retry")
        agents = task.agents[len(fallbacks) + 1 :]
        return ("decide", task.id, self.attempt(task), agents[0] if agents else effect)

    def lost_too_often(self) -> Iterator[Due]:
        for task in self.with_status("waiting"):
            if self.is_lost(task):
                effect = "tolerated" if task.on_error.strategy == "skip" else "fatal"
                yield ("fail", task.id, effect, "lost")

    def is_lost(self, task: TaskSpec) -> bool:
        return sum(isinstance(event, AttemptLost) for event in self.of(task)) > MAX_LOSSES

    def skips(self) -> Iterator[Due]:
        """Tasks that can't run any more; what barred them first is the reason."""
        for task in self.with_status("pending"):
            bars = list(self.bars(task))
            if bars:
                yield ("skip", task.id, min(bars)[2])
        if self.closed() is not None:
            for task in self.with_status("waiting"):
                if not self.is_lost(task):
                    yield ("cancel task", task.id)

    def bars(self, task: TaskSpec) -> Iterator[tuple[int, int, str]]:
        """Each thing that bars a task: its position in the history, and the reason that it gives."""
        for need in task.depends_on:
            if need in self.ends and not is_satisfying(self.ends[need][1]):
                yield (self.ends[need][0], 0, "upstream")
        for stage in self.spec.stages:
            if task.id in stage.tasks and (at := self.barred_at(stage)) is not None:
                yield (at, 0, "upstream")
        closed = self.closed()
        if closed is not None:
            yield (closed[0], 1, closed[1])

    def starts(self, free: int) -> Iterator[Due]:
        """The first tasks in file order that are ready, or whose time has come."""
        ready = [task for task in self.spec.tasks if self.may_start(task)]
        for task in ready[: max(free, 0)]:
            start = self.start(task)
            yield start
            if start[0] == "fail":
                return  # it may bar the others

    def may_start(self, task: TaskSpec) -> bool:
        if self.status(task) == "waiting":
            last = self.last(task)
            return (last.due_at if isinstance(last, RetryScheduled) else last.at) <= self.now
        stages = [stage for stage in self.spec.stages if task.id in stage.tasks]
        return (
            self.status(task) == "pending"
            and all(need in self.ends for need in task.depends_on)
            and all(self.is_passed(before) for stage in stages for before in self.before(stage))
        )

    def start(self, task: TaskSpec) -> Due:
        events = self.of(task)
        last = events[-1] if events else None
        attempt, loss = self.attempt(task) + 1, 0
        if isinstance(last, AttemptLost):
            attempt, loss = last.attempt, last.loss + 1
        context = {"tasks": self.known(), "task": {"attempt": attempt}, "now": self.now}
        try:
            is_first = not any(isinstance(event, AttemptStarted) for event in events)
            if is_first and task.when is not None and not condition(task.when).evaluate(context):
                return ("skip", task.id, "when")
            compile_template(task.with_).render(context)
        except ExpressionError:
            effect = "tolerated" if task.on_error.strategy == "skip" else "fatal"
            return ("fail", task.id, effect, "expression")
        agent = task.agents[sum(isinstance(event, FallbackChosen) for event in events)]
        return ("start", task.id, attempt, loss, agent)

    def known(self) -> dict[str, Any]:
        """What templates see of ended tasks."""
        known = {}
        for name, (_, event) in self.ends.items():
            output = event.output if isinstance(event, AttemptSucceeded) else None
            error = {"message": event.failure.message} if isinstance(event, TaskFailed) else None
            known[name] = {"output": output, "error": error}
        return known

    def completed_stages(self) -> Iterator[Due]:
        for stage in self.spec.stages:
            if self.ended_at(stage) is not None and self.is_reached(stage) and self.completion(stage) is None:
                yield ("stage", stage.name, self.stage_status(stage))

    def before(self, stage: StageSpec) -> list[StageSpec]:
        return [other for other in self.spec.stages if other.name in stage.after]

    def is_passed(self, stage: StageSpec) -> bool:
        """Whether what comes after the stage may begin; one that had nothing left to do is passed with those before."""
        if self.had_nothing_to_do(stage):
            return all(self.is_passed(before) for before in self.before(stage))
        completion = self.completion(stage)
        return completion is not None and completion[1].status == "success"

    def barred_at(self, stage: StageSpec) -> int | None:
        """The position of what keeps the stage from ever beginning."""
        bars = [self.bars_later_at(before) for before in self.before(stage)]
        return min((at for at in bars if at is not None), default=None)

    def bars_later_at(self, stage: StageSpec) -> int | None:
        """The position of what made the stage bar those after it: it failed, or was not reached, or is barred itself."""
        if self.had_nothing_to_do(stage):
            return self.barred_at(stage)
        completion = self.completion(stage)
        if completion is not None:
            return completion[0] if completion[1].status != "success" else None
        return None if self.is_reached(stage) else self.ended_at(stage)

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

    def closed(self) -> tuple[int, str] | None:
        """Where and why it was decided that nothing new starts."""
        aborting = {task.id for task in self.spec.tasks if task.on_error.strategy == "abort"}
        for at, event in self.here:
            match event:
                case CancelRequested():
                    return (at, "canceled")
                case HookFinished(event="pre_workflow", status=status) if status != "ok":
                    return (at, "aborted")
                case TaskFailed(task=task, effect="fatal") if task in aborting:
                    return (at, "aborted")
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

    def is_pausing(self) -> bool:
        is_pausing = is_ending = False
        for _, event in self.here:
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
    needs = {task.id: task.depends_on for task in spec.tasks}

    def stands(name: str) -> bool:
        end = ends[name][1]
        return isinstance(end, AttemptSucceeded) or (is_false_when(end) and all(map(stands, needs[name])))

    for at, event in events:
        if isinstance(event, ENDS):
            ends[event.task] = (at, event)
        elif isinstance(event, GenerationStarted):
            ends = {name: end for name, end in ends.items() if stands(name)}
    return ends


def is_satisfying(end: Event) -> bool:
    """Whether what waits for the task may start: it succeeded, was ruled out by its own `when`, or failed tolerably."""
    is_tolerated = isinstance(end, TaskFailed) and end.effect == "tolerated"
    return isinstance(end, AttemptSucceeded) or is_tolerated or is_false_when(end)


def is_false_when(event: Event) -> bool:
    return isinstance(event, TaskSkipped) and event.reason == "when"


def places(event: str, hooks: Sequence[Any]) -> list[tuple[str, int]]:
    return [(event, index) for index in range(len(hooks))]
