"""A trio loop with nothing beside it: virtual time, no threads, and a seed that says how long each thing takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from random import Random
from typing import Final, Protocol, TypeVar, TypeVarTuple

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from actorflow.actors.trio_host import TrioHost
from actorflow.testing.news import News

__all__ = ["Machine", "SimulatedHost"]

_Result = TypeVar("_Result")
_Args = TypeVarTuple("_Args")

_DELAYS_S: Final = (0.0, 0.0, 0.0, 0.0001, 0.001, 0.02)
"""What being called in a thread, and hearing of it, takes: often nothing, so that much happens at once."""

_SLICES: Final = (1, 2, 3, 8, 1000)
"""After so many looks a slice is over, whatever it was to be."""

_LONGEST_PAUSE_S: Final = 60.0
"""Between two looks where nobody has changed anything."""


class Machine(Protocol):
    """What a simulated process runs on."""

    @property
    def random(self) -> Random:
        """Draws what a real machine leaves to chance."""
        ...

    @property
    def news(self) -> News:
        """What other processes have written."""
        ...

    def wall(self) -> float:
        """The wall clock."""
        ...

    def may_go_on(self) -> Awaitable[None]:
        """Wait while the process is stopped."""
        ...

    def take_delay_s(self) -> float:
        """What the last call in a thread takes besides."""
        ...


class SimulatedHost(TrioHost):
    """The running trio loop, as one process of a simulated world sees it."""

    has_threads = False

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine
        self._random = machine.random

    def wall(self) -> float:
        """The world's."""
        return self._machine.wall()

    def slice(self, seconds: float) -> Callable[[], bool]:
        """Over after a number of looks that is drawn: no time passes while the loop is held."""
        del seconds
        looks, most = count(1), self._random.choice(_SLICES)
        return lambda: next(looks) >= most

    async def pause(self, seconds: float) -> None:
        """At least so long, and until another process has written something: looks that find nothing take no time.

        What is left lying for a later look is looked at again, further and further apart.
        """
        await anyio.sleep(seconds)
        longest = min(seconds * self._machine.news.patience(), _LONGEST_PAUSE_S)
        with anyio.move_on_after(longest):
            await self._machine.news.wait()

    async def in_thread(
        self, fn: Callable[[*_Args], _Result], *args: *_Args, limiter: anyio.CapacityLimiter | None = None
    ) -> _Result:
        """In place, after a moment and with a moment until the answer is there."""
        del limiter
        await checkpoint_if_cancelled()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(self._random.choice(_DELAYS_S))
            await self._machine.may_go_on()
            try:
                return fn(*args)
            finally:
                await anyio.sleep(self._random.choice(_DELAYS_S) + self._machine.take_delay_s())
                await self._machine.may_go_on()
