"""Where a process dies: before or after one of its commits, or in the middle of an agent's body."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final, Literal, NoReturn, Protocol, TypeAlias

import anyio
from attrs import field, frozen
from attrs.validators import ge, in_

__all__ = ["CURRENT", "CrashPoint", "Moment", "Mortal", "crash_at", "crash_now"]

Moment: TypeAlias = Literal["before", "after"]
"""Of a commit: nothing of it is kept, or all of it is and nobody has been told."""


@frozen(order=True)
class CrashPoint:
    """Where a process dies; see `crash_at`."""

    commit: int = field(validator=ge(1))  #: of this process, from 1
    moment: Moment = field(validator=in_(("before", "after")))


class Mortal(Protocol):
    """A process that can be killed."""

    def kill(self) -> None:
        """End it, as `kill -9` does."""
        ...


CURRENT: Final[ContextVar[Mortal]] = ContextVar("actorflow_simulated_process")
"""The process of a world in which this agent runs."""


def crash_at(commit: int, moment: Moment) -> CrashPoint:
    """A crash point: the process dies right before, or right after, its nth commit is durable.

    Args:
        commit: which one, from 1; a process that makes fewer does not die of this.
        moment: `before`: nothing of it is kept; `after`: all of it is, and nobody has been told.

    Raises:
        ValueError: there is no such commit or moment.
    """
    return CrashPoint(commit, moment)


async def crash_now() -> NoReturn:
    """Kill the simulated process that this agent runs in; nothing of what it does comes out any more.

    Raises:
        RuntimeError: this is no agent of a simulated process.
    """
    process = CURRENT.get(None)
    if process is None:
        raise RuntimeError("crash_now() is for agents that run in a World of actorflow.testing")
    process.kill()
    await anyio.sleep_forever()
    raise AssertionError("unreachable")
