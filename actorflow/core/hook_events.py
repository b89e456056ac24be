"""What the events of blocking hooks do to the state of their run: in its phases, between its stages, around its tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from actorflow.core.events import Event, Failure, HookFinished, HookLost, HookStarted
from actorflow.core.hook_config import HookEntry
from actorflow.core.hook_line import HookLine
from actorflow.errors import IllegalTransitionError
from actorflow.spec.model import HookSpec

if TYPE_CHECKING:
    from actorflow.core.state import RunState

GONE: Final = "gone"
"""Under this name the record of a hook has the hash of its target, where that has said that it is gone for good."""

BACK: Final = "back"
"""The same, where a target that was gone has taken what an operator asked for."""


def has_target(spec: HookSpec) -> bool:
    """Whether the action of a hook sends something to somebody."""
    return spec.action == "webhook" or spec.action.startswith("notify.")


def new_line(state: RunState, task: str) -> HookLine:
    """The line of a task that is about to begin."""
    return HookLine(
        task, (("task_started", place) for place in state.plan.hooks.blocking("task_started", task))
    )


def enter_tasks_when_set_up(state: RunState) -> None:
    """Go on to the tasks once the last pre_workflow hook has ended, or the run is closed."""
    if state.phase == "setup" and not state.hooks.is_running and (state.hooks.is_done or state.closing):
        state.phase = "tasks"


def leave_finished_stage(state: RunState, number: int) -> None:
    """Let what comes after a stage begin, once its hooks are done."""
    line = state.stage_lines[number]
    if line.is_done:
        del state.stage_lines[number]
        is_passed = state.stage_statuses.pop(number) == "success" and line.failure is None
        state.frontier.leave_stage(number, is_passed=is_passed)


def _hook_started(state: RunState, event: HookStarted) -> None:
    if state.is_pausing or (state.phase == "setup" and state.closing):
        raise IllegalTransitionError("the run", "closing", "HookStarted")
    line = _line(state, event)
    if event.event == "task_started" and state.is_barred(state.plan.index[event.subject]):
        raise IllegalTransitionError(f"task {event.subject!r}", "not to begin any more", "HookStarted")
    line.start(event.event, event.index)
    if event.subject:
        _enter(state, event, line)
        state.hooks_running_count += 1


def _hook_finished(state: RunState, event: HookFinished) -> None:
    line = _line(state, event)
    line.expect_next(event.event, event.index)
    entry = state.plan.hooks.entry_of(event)
    if event.subject:
        _enter(state, event, line)
        state.hooks_running_count -= line.is_running
    _count(state, entry, event)
    _take_values(state, line, event)
    if GONE in event.record and has_target(entry.spec):
        state.gone_targets = [*state.gone_targets, event.record[GONE]]
    has_failed = event.status not in ("ok", "skipped")
    ends_line = has_failed and entry.spec.on_error == "fail"
    line.finish(event.event, event.index, _failure(entry, event) if ends_line else None)
    _AFTER[event.event](state, line, event)


def _hook_lost(state: RunState, event: HookLost) -> None:
    line = _line(state, event)
    line.lose(event.event, event.index)
    if event.subject:
        state.hooks_running_count -= 1
    enter_tasks_when_set_up(state)


def _count(state: RunState, entry: HookEntry, event: HookFinished) -> None:
    match event.status:
        case "ok":
            state.hooks_ok_count += 1
            state.hook_failures.pop(entry.path, None)
        case "skipped":
            state.hooks_skipped_count += 1
        case "failed" | "timed_out" | "canceled":
            state.hooks_failed_count += 1
            if entry.spec.on_error == "disable":
                state.hook_failures[entry.path] = state.hook_failures.get(entry.path, 0) + 1


def _take_values(state: RunState, line: HookLine, event: HookFinished) -> None:
    """A transform has set something for the hooks behind it, or has made another output."""
    record: Mapping[str, Any] = event.record
    if event.status != "ok" or "vars" not in record:
        return
    line.vars = {**line.vars, **record["vars"]}
    if event.event in ("task_started", "task_finished"):
        task = state.task(event.subject)
        task.vars = line.vars
        if "output" in record and task.outcome == "success":
            task.output = record["output"]


# What follows a hook, by what it is on


def _after_phase_hook(state: RunState, line: HookLine, _event: HookFinished) -> None:
    if state.phase == "setup" and line.failure is not None and not state.closing:
        state.fatal = (None, line.failure)
        state.close("aborted", spares_handlers=False)
    enter_tasks_when_set_up(state)


def _after_stage_hook(state: RunState, line: HookLine, event: HookFinished) -> None:
    """A refusal bars the stages behind it first, as any failure of a stage does, and then all that is left."""
    leave_finished_stage(state, _stage_number(state, event.subject))
    if line.failure is not None:
        if state.fatal is None:
            state.fatal = (None, line.failure)
        state.close("aborted", spares_handlers=False)


def _after_start_hook(state: RunState, line: HookLine, event: HookFinished) -> None:
    """One that may not begin any more stays as it is: it is skipped next."""
    index = state.plan.index[event.subject]
    if not line.is_done or state.is_barred(index):
        return
    del state.task_lines[index]
    task = state.tasks[index]
    task.status = "waiting"
    task.is_prepared = True
    if line.failure is not None:
        state.to_fail[index] = line.failure
    else:
        state.wait_until(index, event.at)


def _after_end_hook(state: RunState, line: HookLine, event: HookFinished) -> None:
    del state, line, event  # what follows is an event of its own: TaskFinished, or TaskFailed


_AFTER: Mapping[str, Callable[[RunState, HookLine, HookFinished], None]] = {
    "pre_workflow": _after_phase_hook,
    "on_error": _after_phase_hook,
    "post_workflow": _after_phase_hook,
    "on_stage_complete": _after_stage_hook,
    "task_started": _after_start_hook,
    "task_finished": _after_end_hook,
}


def _line(state: RunState, event: HookStarted | HookFinished | HookLost) -> HookLine:
    """The line that a hook is of; that of a task which is about to begin is made with its first hook."""
    line: HookLine | None = None
    match event.event:
        case "pre_workflow" | "on_error" | "post_workflow":
            line = state.hooks
        case "on_stage_complete":
            line = state.stage_lines.get(_stage_number(state, event.subject))
        case "task_started" | "task_finished":
            index = state.plan.index.get(event.subject, -1)
            line = state.task_lines.get(index)
            if line is None and event.event == "task_started" and index >= 0 and _is_ready(state, index):
                line = new_line(state, event.subject)
    if line is None:
        raise IllegalTransitionError(
            f"{event.subject!r}", f"without hooks on {event.event} to come", type(event).__name__
        )
    return line


def _is_ready(state: RunState, index: int) -> bool:
    task = state.tasks[index]
    is_held = state.is_pausing or state.is_barred(index)
    return task.status in ("pending", "waiting") and not task.is_prepared and not is_held


def _enter(state: RunState, event: HookStarted | HookFinished, line: HookLine) -> None:
    if event.event == "task_started":
        index = state.plan.index[event.subject]
        state.task_lines[index] = line
        state.tasks[index].status = "preparing"


def _stage_number(state: RunState, name: str) -> int:
    return next((number for number, stage in enumerate(state.plan.stages) if stage.name == name), -1)


def _failure(entry: HookEntry, event: HookFinished) -> Failure:
    called = f"{event.event} hook {entry.spec.name!r}" if entry.spec.name else f"hook {entry.path}"
    what = f"{called} {event.status.replace('_', ' ')}"
    return Failure("hook_failed", f"{what}: {event.record.get('summary', '')}".rstrip(": "), event.record)


HOOK_EVENTS: dict[type[Event], Callable[[RunState, Any], None]] = {
    HookStarted: _hook_started,
    HookFinished: _hook_finished,
    HookLost: _hook_lost,
}
