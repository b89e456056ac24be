"""A trio loop with nothing beside it: virtual time, no threads, and a machine that says how long each thing takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Final, Protocol, TypeVar, TypeVarTuple

import anyio
import trio

from actorflow.actors.trio_host import TrioHost
from actorflow.testing.news import News

__all__ = ["Machine", "SimulatedHost"]

_Result = TypeVar("_Result")
_Args = TypeVarTuple("_Args")

_LONGEST_PAUSE_S: Final = 60.0
"""Between two looks where nobody has changed anything."""


class Machine(Protocol):
    """What a simulated process runs on."""

    @property
    def news(self) -> News:
        """What other processes have written."""
        ...

    @property
    def is_stopped(self) -> bool:
        """Whether the process does nothing for now."""
        ...

    def may_go_on(self) -> Awaitable[None]:
        """Wait while it is stopped."""
        ...

    def wall(self) -> float:
        """The wall clock."""
        ...

    def delay_s(self) -> float:
        """What it takes until a thread begins, or until its answer is heard."""
        ...

    def looks(self) -> int:
        """After how many looks a slice of work is over."""
        ...


class SimulatedHost(TrioHost):
    """The running trio loop, as one process of a simulated world sees it.

    Args:
        machine: what the process runs on.
    """

    has_threads = False

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine

    def wall(self) -> float:
        """The machine's."""
        return self._machine.wall()

    def slice(self, seconds: float) -> Callable[[], bool]:
        """Over after as many looks as the machine says: no time passes while the loop is held."""
        del seconds
        looks, most = count(1), self._machine.looks()
        return lambda: next(looks) >= most

    async def pause(self, seconds: float) -> None:
        """At least so long, and until another process has written something: looks that find nothing take no time.

        What is left lying for a later look is looked at again, further and further apart.
        """
        await trio.sleep(seconds)
        longest = min(seconds * self._machine.news.patience(), _LONGEST_PAUSE_S)
        with trio.move_on_after(longest):
            await self._machine.news.wait()

    async def in_thread(
        self, fn: Callable[[*_Args], _Result], *args: *_Args, limiter: anyio.CapacityLimiter | None = None
    ) -> _Result:
        """In place, after a moment and with a moment until the answer is there."""
        del limiter
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._pass()
        try:
            return fn(*args)
        finally:
            await self._pass()

    async def _pass(self) -> None:
        """Let time pass, and wait while the process is stopped, whoever cancels."""
        seconds = self._machine.delay_s()
        if seconds or self._machine.is_stopped:
            with anyio.CancelScope(shield=True):
                await trio.sleep(seconds)
                await self._machine.may_go_on()
