"""A run as it goes on: one line for each task that ends, and for what happens to it on the way."""

from __future__ import annotations

from actorflow.cli.happenings import Narrator
from actorflow.cli.hooks.hiding import HookHiding, shown_reason
from actorflow.cli.hooks.runs import hook_name
from actorflow.cli.layout import columns, counted, duration
from actorflow.cli.screen import as_line
from actorflow.cli.sensitive import sensitive_tasks, shown_failure
from actorflow.core.events import (
    AttemptCanceled,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptTimedOut,
    DeadLettered,
    Event,
    Failure,
    FallbackChosen,
    FallbackValueUsed,
    GenerationStarted,
    HookFinished,
    HookLost,
    RetryScheduled,
    StageCompleted,
    TaskCanceled,
    TaskFailed,
    TaskFinished,
    TaskSkipped,
)
from actorflow.core.hook_config import HookEntry
from actorflow.core.plan import plan_of
from actorflow.spec.model import WorkflowSpec

_LONGEST_ID = 40


class Progress:
    """Turns the events of a run into lines; it must see all of them, from the first on."""

    def __init__(self, spec: WorkflowSpec, *, is_kept: bool = True) -> None:
        self._hooks = plan_of(spec).hooks
        self._hiding = HookHiding(spec)
        self._is_kept = is_kept  #: of a run in memory nobody can look up anything later
        self._width = min(_LONGEST_ID, max((len(task.id) for task in spec.tasks), default=0))
        self._sensitive = sensitive_tasks(spec)
        self._narrator = Narrator()
        self._started_at: dict[str, float] = {}
        self._attempts: dict[str, int] = {}
        self._failures: dict[str, Failure] = {}
        self._held: dict[str, str] = {}  #: ends of tasks that have hooks on them which are waited for

    def line(self, event: Event) -> str | None:
        """What is said of an event, if anything."""
        match event:
            case GenerationStarted(generation=generation, tasks=tasks):
                self._started_at.clear()
                self._held.clear()
                again = f": {', '.join(tasks)} again, and what is below" if tasks else ""
                return None if generation == 1 else as_line(f"generation {generation}{again}")
            case AttemptStarted(task=task, at=at, attempt=attempt):
                self._started_at.setdefault(task, at)
                self._attempts[task] = attempt
                return None
            case AttemptFailed(task=task, failure=failure) | AttemptTimedOut(task=task, failure=failure):
                self._failures[task] = self._shown(task, failure)
                return None
            case AttemptSucceeded(task=task, at=at):
                return self._end(task, "success", at)
            case TaskFailed(task=task, at=at, effect=effect, failure=failure):
                why = failure_text(self._shown(task, failure))
                return self._end(task, "failed", at, why if effect == "fatal" else f"{why} ({effect})")
            case FallbackValueUsed(task=task, at=at):
                return self._end(task, "success", at, f"by its fallback value{self._why(task)}")
            case AttemptCanceled(task=task, at=at) | TaskCanceled(task=task, at=at):
                return self._end(task, "canceled", at)
            case TaskFinished(task=task):
                return self._held.pop(task, None)
            case TaskSkipped(task=task, reason=reason):
                return self._row(task, "skipped", reason)
            case _:
                return self._other(event)

    def _other(self, event: Event) -> str | None:
        match event:
            case StageCompleted(stage=stage, status=status):
                return as_line(f"  stage {stage}: {status}")
            case HookFinished(status="failed" | "timed_out" | "canceled" as status, record=record):
                hook, how = self._entry(event), status.replace("_", " ")
                summary = str(record.get("summary", ""))
                why = shown_reason(summary) if self._hiding.hides(hook, _task_of(event)) else summary
                why = f"{why} ({hook_name(hook.spec)})"
                return as_line(f"  hook {hook.path}{_about(event)} {how}: {why}")
            case HookLost():
                return as_line(f"  hook {self._entry(event).path}{_about(event)} was cut off, and runs again")
            case _:
                return self._happening(event)

    def _happening(self, event: Event) -> str | None:
        told = self._narrator.happening(event)
        if told is None or (isinstance(event, DeadLettered) and not self._is_kept):
            return None
        if told.task is None:
            return as_line(f"  {told.word} {told.text}")
        why = self._why(told.task) if isinstance(event, RetryScheduled | FallbackChosen) else ""
        return self._row(told.task, told.word, told.text + why)

    def _shown(self, task: str, failure: Failure) -> Failure:
        return shown_failure(failure) if task in self._sensitive else failure

    def _why(self, task: str) -> str:
        failure = self._failures.get(task)
        return "" if failure is None else f", after {failure_text(failure)}"

    def _entry(self, event: HookFinished | HookLost) -> HookEntry:
        return self._hooks.of(event.event, _task_of(event))[event.index]

    def _end(self, task: str, status: str, at: float, why: str = "") -> str | None:
        """The line of a task's end; where hooks on it are waited for, TaskFinished has it, unless they change the end."""
        attempts = self._attempts.get(task, 0)
        started_at = self._started_at.get(task)
        seconds = duration(None if started_at is None else at - started_at)
        line = self._row(task, status, f"{counted(attempts, 'attempt'):11} {seconds:>8}  {why}")
        is_changed = self._held.pop(task, None) is not None
        if is_changed or not self._hooks.blocking("task_finished", task):
            return line
        self._held[task] = line
        return None

    def _row(self, task: str, status: str, rest: str) -> str:
        return columns([(task.ljust(self._width), status.ljust(8), rest)], indent="  ")[0]


def _task_of(event: HookFinished | HookLost) -> str:
    """The task that a hook is on; empty: it is on the run, or on a stage."""
    return "" if event.event == "on_stage_complete" else event.subject


def _about(event: HookFinished | HookLost) -> str:
    """The task or stage that a hook is on, if it is on one."""
    if not event.subject:
        return ""
    return f" {'after stage' if event.event == 'on_stage_complete' else 'of'} {event.subject}"


def failure_text(failure: Failure) -> str:
    """Why something failed, in one line."""
    return f"{failure.type}: {failure.message}" if failure.message else failure.type
