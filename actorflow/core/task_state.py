"""What a run knows of one task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define

from actorflow.core.events import Failure, SkipReason
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
    output: Any = None
    failure: Failure | None = None
    is_tolerated: bool = False
    started_at: float | None = None
    ended_at: float | None = None


def known_of(task: TaskState) -> Mapping[str, Any]:
    """What templates see of a task that has ended."""
    error = None
    if task.failure is not None and task.status == "failed":
        error = {
            "type": task.failure.type,
            "message": task.failure.message,
            "attempt": task.attempt,
            "task": task.id,
        }
    return {"output": task.output, "status": task.status, "error": error, "attempts": task.attempt}


def reopen(task: TaskState) -> None:
    """Make it pending for another generation; its attempt numbers go on."""
    task.status = "pending"
    task.reason = task.failure = task.agent = task.started_at = task.ended_at = task.output = None
    task.loss = task.losses = task.agent_index = task.agent_attempts = 0
    task.is_tolerated = False
