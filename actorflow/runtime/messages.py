"""What is said to a WorkflowActor, besides outcomes: those arrive as the very events that they become.

A message that becomes an event carries its time, `at`: that at which it was told, so that events in the order of the
mailbox are in the order of time.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from attrs import frozen

from actorflow.core.events import (
    AttemptCanceled,
    AttemptFailed,
    AttemptSucceeded,
    AttemptTimedOut,
    BlockingHookEvent,
    BreakerAllowed,
    BreakerClosed,
    BreakerCounted,
    BreakerOpened,
    BreakerRefused,
    HookFinished,
)
from actorflow.errors import ActorflowError

HookKey: TypeAlias = tuple[BlockingHookEvent, int, str]
"""A blocking hook that runs: its event, its place in that event's list, and what it is about."""

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
    is_now: bool = False  #: processes are killed, and get no time to end
    request: int | None = None  #: its number in the store's inbox, where it came from there


@frozen
class Pause:
    """From a caller: start nothing new, give what runs `grace_s` seconds, then leave the run to be resumed."""

    at: float
    cause: str
    grace_s: float
    request: int | None = None


@frozen
class GoOn:
    """From a caller: the pause that is under way is not wanted any more; too late once its grace is over."""

    at: float
    request: int | None = None


@frozen
class Signal:
    """From a caller: a named message for the run."""

    at: float
    name: str
    payload: Any
    signal_id: str
    request: int | None = None


Wish: TypeAlias = Cancel | Pause | GoOn | Signal
"""From a caller: what is to become of the run. As many as anybody likes; an actor takes so many at a time."""


@frozen
class StoreLost:
    """From the runtime: nothing can be kept any more, so nothing may go on."""

    error: ActorflowError


@frozen
class BreakerFailed:
    """From the BreakerActor: the store cannot say what a breaker is."""

    task: str
    error: Exception


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
    """From the HookActor: a blocking hook was ended for a pause, and nothing of it is recorded."""

    place: HookKey


BreakerAnswer: TypeAlias = BreakerAllowed | BreakerRefused | BreakerCounted | BreakerOpened | BreakerClosed
"""From the BreakerActor: what a breaker says to a question, or to an outcome."""

Message: TypeAlias = (
    AttemptEnded
    | BreakerAnswer
    | BreakerFailed
    | Wish
    | StoreLost
    | Committed
    | Woken
    | AllBegun
    | GraceOver
    | AttemptGone
    | AttemptCrashed
    | HookFinished
    | HookGone
    | SupervisorGaveUp
)
