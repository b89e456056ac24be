"""What is due: the commands that follow from a run's state and the time, as one pure query."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.core.commands import CancelAttempt, CancelHook, Command, Decide, Finish, Record
from actorflow.core.events import Failure, RunOutcome, StageCompleted, TaskCanceled, TaskFailed, TaskSkipped
from actorflow.core.rendering import effect_on_run, fallback_value, hook_command, run_ending, start_task
from actorflow.errors import ExpressionError

if TYPE_CHECKING:
    from actorflow.core.state import RunState


def due_commands(state: RunState, now: float) -> list[Command]:
    """All commands due at `now`: verdicts first, then facts, then what ends or starts work."""
    if state.undecided:
        return [_decision(state, index, failure, now) for index, failure in state.undecided.items()]
    match state.phase:
        case "tasks":
            return _task_commands(state, now)
        case "setup" | "ending":
            return _hook_commands(state)
        case "new" | "idle" | "ended":
            return []


def _decision(state: RunState, index: int, failure: Failure, now: float) -> Command:
    task = state.tasks[index]
    spec = state.plan.tasks[index]
    effect = effect_on_run(state, index)
    if state.is_barred(index):
        return Record(TaskFailed(now, task.id, effect, failure))
    value = None
    if spec.on_error.has_fallback_value and task.agent_index + 1 == len(spec.agents):
        try:
            value = fallback_value(state, index, now)
        except ExpressionError as error:
            message = f"{failure.message}; and its fallback_value cannot be rendered: {error}"
            return Record(TaskFailed(now, task.id, effect, Failure("expression", message)))
    return Decide(
        task.id,
        spec,
        state.run_id,
        task.attempt,
        task.agent_index,
        task.agent_attempts,
        failure,
        effect,
        value,
    )


def _task_commands(state: RunState, now: float) -> list[Command]:
    frontier = state.frontier
    if state.to_fail or frontier.to_skip or frontier.stages_to_complete:
        return _facts(state, now)
    due: list[Command] = []
    if state.closing is not None:
        due.extend(
            CancelAttempt(state.tasks[i].id, state.tasks[i].attempt)
            for i in state.running
            if state.is_barred(i)
        )
    if not state.is_pausing and (state.closing is None or state.spares_handlers):
        due.extend(_starts(state, now))
    if due or frontier.open_count:
        return due
    return [Record(run_ending(state, _outcome(state), now))]


def _outcome(state: RunState) -> RunOutcome:
    if state.is_canceled:
        return "canceled"
    return "success" if state.fatal is None else "failed"


def _facts(state: RunState, now: float) -> list[Command]:
    facts: list[Command] = []
    for index, failure in state.to_fail.items():
        task = state.tasks[index]
        facts.append(Record(TaskFailed(now, task.id, effect_on_run(state, index), failure)))
    for index, reason in state.frontier.to_skip.items():
        task = state.tasks[index]
        was_tried = task.status == "waiting" and task.agent is not None
        facts.append(Record(TaskCanceled(now, task.id) if was_tried else TaskSkipped(now, task.id, reason)))
    for number, status in state.frontier.stages_to_complete.items():
        facts.append(Record(StageCompleted(now, state.plan.stages[number].name, status)))
    return facts


def _starts(state: RunState, now: float) -> list[Command]:
    """Starts of ready tasks and of waiting ones that are due, in file order, as far as slots are free."""
    free = state.free_slots
    if free <= 0:
        return []
    starts: list[Command] = []
    for index in state.frontier.startable(now, free):
        start = start_task(state, index, now)
        starts.append(start)
        if isinstance(start, Record) and isinstance(start.event, TaskFailed):
            break  # it may close the run: what comes after it is asked for again
    return starts


def _hook_commands(state: RunState) -> list[Command]:
    hooks = state.hooks
    if hooks.is_running:
        is_unwanted = state.phase == "setup" and state.closing is not None
        return [CancelHook(*hooks.head)] if is_unwanted else []
    if hooks.is_done:
        assert state.ending is not None
        return [Finish(state.ending.outcome)]
    return [] if state.is_pausing else [hook_command(state, *hooks.head)]
