"""What is due: the commands that follow from a run's state and the time, as one pure query."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorflow.core.commands import CancelAttempt, CancelHook, Command, Decide, Finish, Record
from actorflow.core.events import Failure, RunOutcome, StageCompleted, TaskCanceled, TaskFailed, TaskSkipped
from actorflow.core.recovery import effect_of
from actorflow.core.rendering import hook_command, run_ending, start_task

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
    if state.closing is not None:
        return Record(TaskFailed(now, task.id, effect_of(spec), failure))
    return Decide(task.id, spec, state.run_id, task.attempt, task.agent_index, task.agent_attempts, failure)


def _task_commands(state: RunState, now: float) -> list[Command]:
    frontier = state.frontier
    if state.to_fail or frontier.to_skip or frontier.stages_to_complete:
        return _facts(state, now)
    if state.closing is not None:
        if state.running:
            return [CancelAttempt(state.tasks[i].id, state.tasks[i].attempt) for i in state.running]
    elif not state.is_pausing:
        starts = _starts(state, now)
        if starts:
            return starts
    if state.frontier.open_count:
        return []
    return [Record(run_ending(state, _outcome(state), now))]


def _outcome(state: RunState) -> RunOutcome:
    if state.is_canceled:
        return "canceled"
    return "success" if state.fatal is None else "failed"


def _facts(state: RunState, now: float) -> list[Command]:
    facts: list[Command] = []
    for index, failure in state.to_fail.items():
        task = state.tasks[index]
        facts.append(Record(TaskFailed(now, task.id, effect_of(state.plan.tasks[index]), failure)))
    for index, reason in state.frontier.to_skip.items():
        task = state.tasks[index]
        is_waiting = task.status == "waiting"
        facts.append(Record(TaskCanceled(now, task.id) if is_waiting else TaskSkipped(now, task.id, reason)))
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
