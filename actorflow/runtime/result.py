"""What a run has come to: the result that callers and `--json` see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from attrs import frozen

from actorflow.core.events import Failure
from actorflow.core.owed import owes_hooks
from actorflow.core.state import RunState
from actorflow.core.task_state import TaskState
from actorflow.core.transitions import SHOWN
from actorflow.errors import RunFailedError
from actorflow.hooks.unsettled import unsettled_count
from actorflow.journal.protocol import Delivery, Journal, RunRow

RunStatus: TypeAlias = Literal["running", "paused", "success", "failed", "canceled"]


@frozen
class TaskResult:
    """What a task of a run has come to."""

    status: str  #: pending, running, waiting, or its outcome: success, failed, canceled, skipped
    reason: str | None  #: of a skipped task
    attempts: int  #: over all agents and generations
    losses: int  #: attempts cut off by crashes, in this generation; what a pause cuts off does not count
    agent: str | None  #: the last one tried; `python` or `command` for an inline runner
    output: Any
    error: Mapping[str, Any] | None  #: `{type, message, task, attempt}`
    started_at: float | None  #: epoch seconds
    ended_at: float | None


@frozen
class HookCounts:
    """Hooks and deliveries of a run over all its generations, blocking hooks included."""

    delivered: int
    failed: int
    pending: int  #: owed, and neither given up nor settled yet
    dead_letters: int  #: given up, and kept for an operator
    skipped: int = 0  #: by `when` and `enabled`, the environment, a switch, or the depth of dispatched runs


@frozen
class RunResult:
    """A run as it stands, or as it ended."""

    run_id: str
    workflow: str
    status: RunStatus
    generation: int
    progress: float  #: ended tasks over tasks, 1.0 where there are none
    had_errors: bool  #: a task failed, whatever became of that
    started_at: float
    ended_at: float | None
    outputs: Mapping[str, Any]
    error: Mapping[str, Any] | None  #: `{type, message, task, attempt}`
    tasks: Mapping[str, TaskResult]
    hooks: HookCounts

    def raise_for_status(self) -> RunResult:
        """Return itself after a success.

        Raises:
            RunFailedError: the run ended otherwise, or is paused.
        """
        if self.status != "success":
            reason = "" if self.error is None else str(self.error["message"])
            raise RunFailedError(self.run_id, self.status, reason, self)
        return self


def result_of(state: RunState, deliveries: Sequence[Delivery], pending: int = 0) -> RunResult:
    """Read the result off a state.

    Args:
        state: of the run.
        deliveries: settled ones, in the order in which they were.
        pending: how many are not.
    """
    assert state.started is not None
    ending = state.ending
    error = None
    if ending is not None and ending.failure is not None:
        attempt = state.task(ending.task).attempt if ending.task else None
        error = _error(ending.failure, ending.task, attempt)
    return RunResult(
        run_id=state.run_id,
        workflow=state.started.workflow,
        status=status_of(state),
        generation=state.generation,
        progress=state.progress,
        had_errors=state.had_errors,
        started_at=state.run_started_at,
        ended_at=state.ended_at,
        outputs=ending.outputs if ending is not None else {},
        error=error,
        tasks={task.id: _task_result(state.task(task.id)) for task in state.plan.spec.tasks},
        hooks=_hook_counts(state, deliveries, pending),
    )


def result_from(journal: Journal, row: RunRow, state: RunState) -> RunResult:
    """The result of a run, with what its journal says of its hooks; blocks."""
    if not owes_hooks(state):
        return result_of(state, ())
    settled = _settled_for_good(journal, row.run_id)
    return result_of(state, settled, unsettled_count(journal, row, state.plan))


def _settled_for_good(journal: Journal, run_id: str) -> Sequence[Delivery]:
    """Without dead letters that an operator is having tried again."""
    settled = journal.deliveries(run_id)
    if not any(each.status == "dead_letter" for each in settled):
        return settled
    pending = {each.delivery_id for each in journal.pending(run_id)}
    return [each for each in settled if each.delivery_id not in pending]


def status_of(state: RunState) -> RunStatus:
    """The status of the run that a state describes."""
    if state.phase == "ended":
        assert state.ending is not None
        return state.ending.outcome
    return "paused" if state.is_pausing else "running"


def _task_result(task: TaskState) -> TaskResult:
    shows_error = task.failure is not None and task.status != "success"
    return TaskResult(
        status=SHOWN.get(task.status, task.status),
        reason=task.reason,
        attempts=task.attempt,
        losses=task.losses,
        agent=task.agent,
        output=task.output,
        error=_error(task.failure, task.id, task.attempt) if shows_error and task.failure else None,
        started_at=task.started_at,
        ended_at=task.ended_at,
    )


def _error(failure: Failure, task: str | None, attempt: int | None) -> dict[str, Any]:
    return {"type": failure.type, "message": failure.message, "task": task, "attempt": attempt}


def _hook_counts(state: RunState, deliveries: Sequence[Delivery], pending: int) -> HookCounts:
    """Of a delivery that was tried again by an operator, what came of it last counts."""
    last = {each.delivery_id: each.status for each in deliveries}
    settled = Counter(last.values())
    return HookCounts(
        delivered=state.hooks_ok_count + settled["delivered"],
        failed=state.hooks_failed_count + settled["failed"],
        pending=pending,
        dead_letters=settled["dead_letter"],
        skipped=state.hooks_skipped_count + settled["skipped"],
    )
