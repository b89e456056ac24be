"""What is said to a WorkflowActor, besides outcomes: those arrive as the very events that they become.

A message that becomes an event carries its time, `at`: that at which it was told, so that events in the order of the
mailbox are in the order of time.
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from actorflow.core.events import (
    AttemptCanceled,
    AttemptFailed,
    AttemptSucceeded,
    AttemptTimedOut,
    HookFinished,
)

AttemptEnded: TypeAlias = AttemptSucceeded | AttemptFailed | AttemptTimedOut | AttemptCanceled
"""From a TaskActor: how its attempt ended."""


@frozen
class Committed:
    """From the JournalActor: the batch in flight is kept, or it can't be."""

    error: Exception | None


@frozen
class Woken:
    """From the alarm: a retry is due."""


@frozen
class AllBegun:
    """From a TaskActor: no attempt waits for a runner any more, so outcomes that were held back are to be kept."""


@frozen
class Cancel:
    """From a caller: end the run as canceled."""

    at: float
    cause: str


@frozen
class Pause:
    """From a caller: start nothing new, give what runs `grace_s` seconds, then leave the run to be resumed."""

    at: float
    cause: str
    grace_s: float


@frozen
class GraceOver:
    """From the alarm: what still runs is to be ended; it will be lost on resume."""


@frozen
class AttemptGone:
    """From a TaskActor: its attempt was ended for a pause, and nothing of it is recorded."""

    task: str


@frozen
class AttemptCrashed:
    """From the TaskSupervisor: the actor of an attempt crashed, and the attempt with it."""

    at: float
    task: str


@frozen
class SupervisorGaveUp:
    """From the TaskSupervisor: actors crash more often than its policy allows, the task's the last of them."""

    task: str
    error: Exception


@frozen
class HookGone:
    """From the HookActor: the blocking hook was ended for a pause, and nothing of it is recorded."""


Message: TypeAlias = (
    AttemptEnded
    | Committed
    | Woken
    | AllBegun
    | Cancel
    | Pause
    | GraceOver
    | AttemptGone
    | AttemptCrashed
    | HookFinished
    | HookGone
    | SupervisorGaveUp
)
