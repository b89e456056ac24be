"""What is due of blocking hooks: the next of each line, as far as there are slots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from actorflow.core.commands import CancelHook, Command, Record, RunHook
from actorflow.core.events import Event, HookFinished, HookStatus, TaskFailed, TaskFinished, TaskSkipped
from actorflow.core.hook_config import HookEntry
from actorflow.core.hook_line import HookLine
from actorflow.core.hook_rendering import (
    Occasion,
    is_wanted,
    names_of,
    rendered_params,
    snapshot,
    transformed,
    with_input,
)
from actorflow.core.rendering import effect_on_run
from actorflow.errors import ExpressionError
from actorflow.spec.model import HookEvent

if TYPE_CHECKING:
    from actorflow.core.state import RunState


def facts_of_lines(state: RunState, now: float) -> Iterator[Event]:
    """What follows where a line is at its end, or its task may not begin any more."""
    for index, line in state.task_lines.items():
        task = state.tasks[index]
        if task.status == "preparing" and not line.is_running and state.is_barred(index):
            yield TaskSkipped(now, task.id, state.closing or "canceled")
        elif task.outcome is not None and line.is_done:
            if line.failure is not None and task.outcome == "success":
                yield TaskFailed(now, task.id, effect_on_run(state, index), line.failure)
            else:
                yield TaskFinished(now, task.id, task.outcome)


def hooks_of_stages(state: RunState, now: float) -> list[Command]:
    """What is next of the stages that are complete, as far as slots are free."""
    return _next_of(state, state.stage_lines.values(), now, state.free_slots)


def hooks_of_tasks(state: RunState, now: float, free: int) -> list[Command]:
    """Ends of the hooks of tasks that will not begin, then what is next of the others, as far as slots are free."""
    unwanted: list[Command] = [
        CancelHook(*line.head, line.subject)
        for index, line in state.task_lines.items()
        if line.is_running and state.tasks[index].status == "preparing" and state.is_barred(index)
    ]
    return [*unwanted, *_next_of(state, state.task_lines.values(), now, free)]


def _next_of(state: RunState, lines: Iterable[HookLine], now: float, free: int) -> list[Command]:
    idle = (line for line in lines if not line.is_running and not line.is_done)
    return [] if state.is_pausing else [next_hook(state, line, now) for line in islice(idle, max(free, 0))]


def ends_of_hooks(state: RunState) -> list[CancelHook]:
    """The ends of all hooks of tasks and stages that are running: for a cancel that waits for none of them."""
    lines = (*state.stage_lines.values(), *state.task_lines.values())
    return [CancelHook(*line.head, line.subject) for line in lines if line.is_running]


def next_hook(state: RunState, line: HookLine, now: float) -> Command:
    """The head of a line: a RunHook, or what it comes to without one."""
    event, index = line.head
    occasion = _occasion(state, event, line.subject, now)
    task = "" if occasion.task is None else line.subject
    entry = state.plan.hooks.of(event, task)[index]
    if state.hook_failures.get(entry.path, 0) >= entry.spec.disable_after:
        return _passed(now, line, "skipped", reason="disabled")
    try:
        names = with_input(state, entry, occasion, {**names_of(state, occasion), "vars": line.vars})
        skip = is_wanted(entry, names)
        if skip:
            return _passed(now, line, "skipped", reason=skip)
        if entry.spec.action == "transform":
            return _passed(now, line, "ok", **transformed(entry, names))
        params = rendered_params(entry, names)
    except ExpressionError as error:
        return _passed(now, line, "failed", summary=f"it cannot be rendered: {error}")
    context = snapshot(state, entry, occasion, _delivery_id(state, line, entry), names, params)
    return RunHook(event, index, line.subject, context)


def _occasion(state: RunState, event: HookEvent, subject: str, now: float) -> Occasion:
    match event:
        case "on_stage_complete":
            number = next(i for i, stage in enumerate(state.plan.stages) if stage.name == subject)
            return Occasion(event, now, status=state.stage_statuses[number], stage=subject)
        case "task_started" | "task_finished":
            return Occasion(event, now, state.plan.index[subject])
        case "pre_workflow":
            return Occasion(event, now, stage="")
        case _:
            return Occasion(event, now)


def _delivery_id(state: RunState, line: HookLine, entry: HookEntry) -> str:
    subject = f"{line.subject}/" if line.subject else ""
    return f"{state.run_id}/{state.generation}/{subject}{entry.path}"


def _passed(now: float, line: HookLine, status: HookStatus, **record: Any) -> Record:
    event, index = line.head
    return Record(HookFinished(now, event, index, status, record, line.subject))
