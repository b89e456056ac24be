"""What a run knows of one task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define

from actorflow.core.events import Effect, Failure, SkipReason, TaskOutcome
from actorflow.core.transitions import TaskStatus


@define
class TaskState:
    """What a run knows of one task."""

    id: str
    status: TaskStatus = "pending"
    reason: SkipReason | None = None  #: of a skipped task
    attempt: int = 0  #: number of the last attempt; goes on over agents and generations
    loss: int = 0  #: of the attempt at hand
    losses: int = 0  #: in this generation
    agent_index: int = 0  #: who performs it, in `TaskSpec.agents`
    agent_attempts: int = 0  #: attempts of that agent in this generation
    agent: str | None = None  #: the last one that was tried
    due_at: float = 0.0  #: of a waiting task
    deadline_at: float | None = None  #: when it has used up its deadline, from its first attempt on
    output: Any = None
    failure: Failure | None = None
    effect: Effect | None = None  #: of a failed task
    reached_by: int | None = None  #: number of the task whose transition reached it first
    is_prepared: bool = False  #: its blocking hooks on task_started are done
    outcome: TaskOutcome | None = None  #: of a task that is finishing
    vars: Mapping[str, Any] | None = None  #: what its blocking transforms have set, in the last of its lines
    led_by: Mapping[str, Any] | None = None  #: of a handler that has started: the error that led to it
    started_at: float | None = None
    restarted_at: float | None = None  #: when its last attempt started, if that is not its first
    ended_at: float | None = None

    @property
    def attempt_started_at(self) -> float | None:
        """When its last attempt in this generation started."""
        return self.started_at if self.restarted_at is None else self.restarted_at


def known_of(task: TaskState) -> Mapping[str, Any]:
    """What templates see of a task that has ended."""
    error = error_of(task) if task.status == "failed" else None
    return {"output": task.output, "status": task.status, "error": error, "attempts": task.attempt}


def error_of(task: TaskState) -> Mapping[str, Any] | None:
    """Why its last attempt, or the task itself, failed, as templates see it."""
    failure = task.failure
    if failure is None:
        return None
    return {"type": failure.type, "message": failure.message, "attempt": task.attempt, "task": task.id}


def reopen(task: TaskState) -> None:
    """Make it pending for another generation; its attempt numbers go on."""
    task.status = "pending"
    task.reason = task.failure = task.agent = task.output = None
    task.started_at = task.restarted_at = task.ended_at = None
    task.loss = task.losses = task.agent_index = task.agent_attempts = 0
    task.effect = task.reached_by = task.led_by = task.deadline_at = task.outcome = task.vars = None
    task.is_prepared = False
