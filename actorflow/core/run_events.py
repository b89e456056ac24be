"""What each event about a run as a whole does to its state; see `state`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from actorflow.core.breaker_book import BreakerBook
from actorflow.core.events import (
    BlockingHookEvent,
    CancelRequested,
    DefinitionChanged,
    Event,
    Failure,
    GenerationStarted,
    PauseRequested,
    Resumed,
    RunDeadlinePassed,
    RunEnding,
    RunFinished,
    RunStarted,
    SignalReceived,
    StageCompleted,
)
from actorflow.core.frontier import Frontier
from actorflow.core.hook_events import enter_tasks_when_set_up, leave_finished_stage
from actorflow.core.hook_line import HookLine, HookPlace
from actorflow.core.reopening import reopen_tasks
from actorflow.errors import IllegalTransitionError

if TYPE_CHECKING:
    from actorflow.core.state import RunState


def _run_started(state: RunState, event: RunStarted) -> None:
    state.started = event
    state.definition, state.bindings = event.definition, event.bindings
    state.phase = "idle"


def _generation_started(state: RunState, event: GenerationStarted) -> None:
    if event.generation != state.generation + 1:
        raise IllegalTransitionError("the run", f"in generation {state.generation}", "GenerationStarted")
    for name in event.tasks:
        found = state.plan.index.get(name)
        status = "unknown" if found is None else state.tasks[found].status
        if status in ("unknown", "success"):
            raise IllegalTransitionError(f"task {name!r}", status, "GenerationStarted")
    state.ending = state.ended_at = state.fatal = state.closing = None
    state.is_pausing = state.had_errors = state.is_canceled = state.spares_handlers = False
    if state.generation:
        _reopen(state, event.tasks)
    state.generation = event.generation
    state.generation_started_at = event.at
    state.retries_spent = 0
    state.is_budget_noted = state.is_out_of_time = False
    deadline = state.plan.spec.limits.deadline
    state.deadline_at = None if deadline is None else event.at + deadline
    state.stage = ""
    state.phase = "setup"
    state.hooks = HookLine("", _places(state, "pre_workflow"))
    state.task_lines.clear()
    state.stage_lines.clear()
    state.stage_statuses.clear()
    state.hooks_running_count = 0
    enter_tasks_when_set_up(state)


def _stage_completed(state: RunState, event: StageCompleted) -> None:
    index = next((i for i, stage in enumerate(state.plan.stages) if stage.name == event.stage), -1)
    if index not in state.frontier.stages_to_complete:
        raise IllegalTransitionError(f"stage {event.stage!r}", "open", "StageCompleted")
    state.frontier.complete_stage(index)
    state.stage_statuses[index] = event.status
    state.stage_lines[index] = HookLine(event.stage, _places(state, "on_stage_complete"))
    leave_finished_stage(state, index)


def _pause_requested(state: RunState, _event: PauseRequested) -> None:
    state.is_pausing = True


def _resumed(state: RunState, event: Resumed) -> None:
    state.is_pausing = False
    state.breakers.allowed.clear()  # long ago: they are asked again
    state.breakers.hopeless.clear()  # deadlines may have moved since
    _prolong(state, max(0.0, event.at - state.alive_at))


def _cancel_requested(state: RunState, _event: CancelRequested) -> None:
    if state.phase == "ending":
        return  # the outcome is decided
    state.is_canceled = True
    state.is_pausing = False  # it is to end, not to wait
    state.close("canceled", spares_handlers=False)
    enter_tasks_when_set_up(state)


def _signal_received(state: RunState, event: SignalReceived) -> None:
    if event.signal_id in state.signal_ids:
        raise IllegalTransitionError("the run", f"told signal {event.signal_id!r} before", "SignalReceived")
    state.signal_ids[event.signal_id] = None
    state.signals.setdefault(event.name, []).append(event.payload)


def _definition_changed(state: RunState, event: DefinitionChanged) -> None:
    """The plan is that of the last definition from the first event on: whoever reads a run sees to that."""
    state.definition, state.bindings = event.definition, event.bindings


def _run_deadline_passed(state: RunState, event: RunDeadlinePassed) -> None:
    if state.deadline_at is None or state.is_out_of_time or event.at < state.deadline_at:
        raise IllegalTransitionError("the run", "within its deadline", "RunDeadlinePassed")
    state.is_out_of_time = True
    if state.fatal is None:
        deadline = state.plan.spec.limits.deadline
        state.fatal = (
            None,
            Failure("timeout", f"the run was not done within its deadline of {deadline:g} s"),
        )
    state.close("aborted", spares_handlers=False)
    enter_tasks_when_set_up(state)


def _run_ending(state: RunState, event: RunEnding) -> None:
    if state.frontier.open_count or state.stage_lines:
        raise IllegalTransitionError("the run", f"at work on {state.frontier.open_count} tasks", "RunEnding")
    state.ending = event
    state.phase = "ending"
    on_error = _places(state, "on_error") if event.outcome == "failed" else ()
    state.hooks = HookLine("", (*on_error, *_places(state, "post_workflow")))


def _run_finished(state: RunState, event: RunFinished) -> None:
    if not state.hooks.is_done:
        raise IllegalTransitionError("the run", "before its last hook", "RunFinished")
    state.ended_at = event.at
    state.phase = "ended"


def _reopen(state: RunState, only: Sequence[str]) -> None:
    """Open tasks again for another generation; what failed and is left as it is fails that one too."""
    for index in reopen_tasks(state.plan, state.tasks, only):
        state.known.pop(state.tasks[index].id, None)
    state.to_fail.clear()
    state.to_bury.clear()
    state.breakers = BreakerBook(state.plan, state.tasks)
    left = [task for task in state.tasks if task.status == "failed"] if only else []
    state.had_errors = bool(left)
    for task in left:
        if task.effect == "fatal" and task.failure is not None and state.fatal is None:
            state.fatal = (task.id, task.failure)
    state.frontier = Frontier(state.plan, state.tasks)


def _prolong(state: RunState, gap_s: float) -> None:
    """Deadlines do not count the time in which nobody owned the run."""
    if state.deadline_at is not None:
        state.deadline_at += gap_s
    if state.plan.has_deadlines:
        for task in state.tasks:
            if task.deadline_at is not None and task.ended_at is None:
                task.deadline_at += gap_s
                state.frontier.note_deadline(state.plan.index[task.id])


def _places(state: RunState, event: BlockingHookEvent) -> tuple[HookPlace, ...]:
    return tuple((event, place) for place in state.plan.hooks.blocking(event))


RUN_EVENTS: dict[type[Event], Callable[[RunState, Any], None]] = {
    RunStarted: _run_started,
    GenerationStarted: _generation_started,
    StageCompleted: _stage_completed,
    PauseRequested: _pause_requested,
    Resumed: _resumed,
    CancelRequested: _cancel_requested,
    SignalReceived: _signal_received,
    DefinitionChanged: _definition_changed,
    RunDeadlinePassed: _run_deadline_passed,
    RunEnding: _run_ending,
    RunFinished: _run_finished,
}
