"""What each event about a task does to the state of its run; see `state`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actorflow.core.breaker import Outcome as BreakerOutcome
from actorflow.core.events import (
    AttemptCanceled,
    AttemptEvent,
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
    AttemptSucceeded,
    AttemptTimedOut,
    BreakerAllowed,
    BreakerClosed,
    BreakerCounted,
    BreakerOpened,
    BreakerRefused,
    BudgetExhausted,
    DeadLettered,
    Event,
    Failure,
    FallbackChosen,
    FallbackValueUsed,
    RetriesExhausted,
    RetryScheduled,
    SleepStarted,
    TaskCanceled,
    TaskDeadlinePassed,
    TaskEvent,
    TaskFailed,
    TaskFinished,
    TaskSkipped,
)
from actorflow.core.rendering import error_behind
from actorflow.core.task_state import TaskState
from actorflow.core.transitions import TASK_TRANSITIONS, TaskStatus
from actorflow.errors import IllegalTransitionError

if TYPE_CHECKING:
    from actorflow.core.state import RunState


def _attempt_started(state: RunState, event: AttemptStarted) -> None:
    index, task, status = _next(state, event)
    if state.is_pausing or state.is_barred(index):
        raise IllegalTransitionError(
            "the run", "pausing" if state.is_pausing else "closing", "AttemptStarted"
        )
    number = task.attempt if task.loss else task.attempt + 1
    if event.attempt != number or event.loss != task.loss:
        raise IllegalTransitionError(f"task {task.id!r}", f"at attempt {task.attempt}", "AttemptStarted")
    if state.plan.has_breakers:
        state.breakers.start(index)
    if task.started_at is None:
        task.started_at = event.at
        if index in state.plan.handlers:
            task.led_by = error_behind(state, index)  # another generation may reopen what has failed
    else:
        task.restarted_at = event.at
    if not task.loss:
        task.agent_attempts += 1
    if state.plan.has_deadlines:
        _begin_deadline(state, index, event.at)
    task.status = status
    task.attempt = number
    task.agent = event.agent
    state.running[index] = None
    state.reach(index)


def _attempt_succeeded(state: RunState, event: AttemptSucceeded) -> None:
    index, task, _ = _next_running(state, event)
    task.output = event.output
    _note_end(state, index, "success", event.at)
    state.conclude(index, "success", event.at)


def _attempt_failed(state: RunState, event: AttemptFailed | AttemptTimedOut) -> None:
    index, task, status = _next_running(state, event)
    task.status = status
    task.loss = 0
    task.failure = event.failure
    del state.running[index]
    state.undecided[index] = event.failure
    _note_end(state, index, "failure", event.at)


def _attempt_canceled(state: RunState, event: AttemptCanceled) -> None:
    index, _, _ = _next_running(state, event)
    _note_end(state, index, "released", event.at)
    state.conclude(index, "canceled", event.at)


def _attempt_lost(state: RunState, event: AttemptLost) -> None:
    """A pause that cuts an attempt off is nobody's fault: it does not count toward `max_losses`."""
    index, task, status = _next_running(state, event)
    spec = state.plan.tasks[index]
    task.status = status
    task.loss += 1
    task.losses += not state.is_pausing
    del state.running[index]
    if not spec.idempotent:
        state.to_fail[index] = Failure("lost", "cut off, and not to be run again: it is not idempotent")
    elif task.losses > spec.on_error.max_losses:
        state.to_fail[index] = Failure("lost", f"cut off by a crash {task.losses} times")
    else:
        state.wait_until(index, event.at)


def _retry_scheduled(state: RunState, event: RetryScheduled) -> None:
    index, task, status = _next(state, event)
    task.status = status
    state.retries_spent += 1
    del state.undecided[index]
    state.wait_until(index, event.due_at)


def _fallback_chosen(state: RunState, event: FallbackChosen) -> None:
    index, task, status = _next(state, event)
    if state.plan.tasks[index].agents[task.agent_index + 1 :][:1] != (event.agent,):
        raise IllegalTransitionError(f"task {task.id!r}", f"without {event.agent!r} next", "FallbackChosen")
    if task.status == "waiting" and index not in state.breakers.to_fall_back:
        raise IllegalTransitionError(f"task {task.id!r}", "not refused", "FallbackChosen")
    task.status = status
    task.agent_index += 1
    task.agent_attempts = task.loss = 0
    state.undecided.pop(index, None)
    state.breakers.to_fall_back.pop(index, None)
    state.wait_until(index, event.at)


def _used_up(state: RunState, event: RetriesExhausted | BudgetExhausted) -> None:
    _next(state, event)
    if isinstance(event, BudgetExhausted):
        state.is_budget_noted = True


def _breaker_allowed(state: RunState, event: BreakerAllowed) -> None:
    index, _, _ = _next(state, event)
    state.breakers.allow(index, is_probe=event.is_probe)
    if not event.is_probe:
        for each in state.breakers.set_free(event.key):
            state.wait_until(each, event.at)


def _breaker_refused(state: RunState, event: BreakerRefused) -> None:
    index, task, status = _next(state, event)
    task.status = status
    _begin_deadline(state, index, event.at)
    state.breakers.refuse(index, event.key)
    if index in state.breakers.to_fall_back:
        state.wait_until(index, event.at)
        return
    for each in state.breakers.waiting_for(event.key):
        deadline_at = state.tasks[each].deadline_at
        state.breakers.hopeless.pop(each, None)  # by what was said last
        if deadline_at is not None and deadline_at <= event.until and not event.is_probing:
            state.breakers.hopeless[each] = None
        state.wait_until(each, event.until)


def _breaker_told(state: RunState, event: BreakerCounted | BreakerOpened) -> None:
    index = state.plan.index.get(event.task, -1)
    if index not in state.breakers.untold:
        raise IllegalTransitionError(f"task {event.task!r}", "not counted", type(event).__name__)
    del state.breakers.untold[index]


def _breaker_closed(state: RunState, event: BreakerClosed) -> None:
    if event.task is not None:
        _breaker_told(state, BreakerCounted(event.at, event.task, event.key))
    for index in state.breakers.set_free(event.key):
        state.wait_until(index, event.at)


def _task_deadline_passed(state: RunState, event: TaskDeadlinePassed) -> None:
    index, task, status = _next(state, event)
    is_hopeless = index in state.breakers.hopeless
    if task.deadline_at is None or (event.at < task.deadline_at and not is_hopeless):
        raise IllegalTransitionError(f"task {task.id!r}", "within its deadline", "TaskDeadlinePassed")
    task.status = status
    task.loss = 0
    key = state.breakers.refused.get(index)
    why = "" if key is None else f": its circuit breaker {key!r} is open"
    state.breakers.drop(state.run_id, index, event.at)
    deadline = state.plan.tasks[index].deadline
    task.deadline_at = min(task.deadline_at, event.at)  # what is left of it is of no use
    state.undecided[index] = Failure("timeout", f"not done within its deadline of {deadline:g} s{why}")


def _fallback_value_used(state: RunState, event: FallbackValueUsed) -> None:
    index, task, _ = _next(state, event)
    del state.undecided[index]
    task.output = event.output
    state.conclude(index, "success", event.at)


def _sleep_started(state: RunState, event: SleepStarted) -> None:
    index, task, status = _next(state, event)
    task.status = status
    state.wait_until(index, event.due_at)


def _task_failed(state: RunState, event: TaskFailed) -> None:
    index, task, _ = _next(state, event)
    state.undecided.pop(index, None)
    state.to_fail.pop(index, None)
    task.failure = event.failure
    task.output = None  # of a success that a hook turned down
    task.effect = event.effect
    state.had_errors = True
    state.reach(index)
    state.conclude(index, "failed", event.at)
    if event.effect == "fatal":
        if state.fatal is None:
            state.fatal = (task.id, event.failure)
        if state.plan.tasks[index].on_error.strategy == "abort":
            state.close("aborted", spares_handlers=True)


def _dead_lettered(state: RunState, event: DeadLettered) -> None:
    index, _, _ = _next(state, event)
    if index not in state.to_bury:
        raise IllegalTransitionError(f"task {event.task!r}", "no dead letter to be", "DeadLettered")
    del state.to_bury[index]


def _task_canceled(state: RunState, event: TaskCanceled) -> None:
    index, _, _ = _next(state, event)
    state.conclude(index, "canceled", event.at)


def _task_finished(state: RunState, event: TaskFinished) -> None:
    index, task, _ = _next(state, event)
    line = state.task_lines.get(index)
    if line is None or not line.is_done or event.status != task.outcome:
        raise IllegalTransitionError(f"task {task.id!r}", f"finishing as {task.outcome}", "TaskFinished")
    state.end(index, event.status, event.at)


def _task_skipped(state: RunState, event: TaskSkipped) -> None:
    index, task, _ = _next(state, event)
    task.reason = event.reason
    if event.reason == "when":
        state.reach(index)
    state.end(index, "skipped", event.at)


def _begin_deadline(state: RunState, index: int, at: float) -> None:
    task, deadline = state.tasks[index], state.plan.tasks[index].deadline
    if deadline is not None and task.deadline_at is None:
        task.deadline_at = at + deadline


def _note_end(state: RunState, index: int, outcome: BreakerOutcome, at: float) -> None:
    if state.plan.has_breakers:
        state.breakers.note_end(state.run_id, index, outcome, at)


def _next(state: RunState, event: TaskEvent) -> tuple[int, TaskState, TaskStatus]:
    """The task that an event is about, and its status once the event is applied."""
    index = state.plan.index.get(event.task, -1)
    if index < 0:
        raise IllegalTransitionError(f"task {event.task!r}", "unknown", type(event).__name__)
    task = state.tasks[index]
    status = TASK_TRANSITIONS.get((task.status, type(event)))
    if status is None:
        raise IllegalTransitionError(f"task {task.id!r}", task.status, type(event).__name__)
    return index, task, status


def _next_running(state: RunState, event: AttemptEvent) -> tuple[int, TaskState, TaskStatus]:
    """The same for an event about the attempt at hand."""
    found = _next(state, event)
    if event.attempt != found[1].attempt:
        at = f"at attempt {found[1].attempt}"
        raise IllegalTransitionError(f"task {event.task!r}", at, type(event).__name__)
    return found


TASK_EVENTS: dict[type[Event], Callable[[RunState, Any], None]] = {
    AttemptStarted: _attempt_started,
    AttemptSucceeded: _attempt_succeeded,
    AttemptFailed: _attempt_failed,
    AttemptTimedOut: _attempt_failed,
    AttemptCanceled: _attempt_canceled,
    AttemptLost: _attempt_lost,
    RetryScheduled: _retry_scheduled,
    FallbackChosen: _fallback_chosen,
    FallbackValueUsed: _fallback_value_used,
    RetriesExhausted: _used_up,
    BudgetExhausted: _used_up,
    BreakerAllowed: _breaker_allowed,
    BreakerRefused: _breaker_refused,
    BreakerCounted: _breaker_told,
    BreakerOpened: _breaker_told,
    BreakerClosed: _breaker_closed,
    SleepStarted: _sleep_started,
    TaskDeadlinePassed: _task_deadline_passed,
    TaskFailed: _task_failed,
    DeadLettered: _dead_lettered,
    TaskCanceled: _task_canceled,
    TaskFinished: _task_finished,
    TaskSkipped: _task_skipped,
}
