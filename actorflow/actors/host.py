"""The event loop that hosts the actors: what asyncio and trio do differently, in one place.

anyio covers everything that is not on the hot path. A chain of tasks passes here several times per step, where anyio's
events and checkpoints would cost more than the step itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from time import perf_counter
from typing import Protocol, TypeVar, TypeVarTuple

import anyio
import sniffio
from anyio import to_thread

_Result = TypeVar("_Result")
_Args = TypeVarTuple("_Args")


class Gate(Protocol):
    """One waiter, any number of openers. Opening an unwatched gate lets the next waiter pass at once."""

    def open(self) -> None:
        """Let the waiter, or the next one, pass; call it on the loop's thread only."""
        ...

    async def wait(self) -> None:
        """Wait until the gate is opened, and close it behind; cancelling leaves it as it was."""
        ...


class Host(Protocol):
    """The loop that runs in this thread, its clocks, and the threads beside it."""

    name: str  #: as sniffio says it
    cancelled_class: type[BaseException]  #: what cancellation raises here
    has_threads: bool  #: whether anything may go on beside the loop; a simulated host has the loop alone

    def is_cancelled(self) -> bool:
        """Whether the running task was really asked to end, seen where `cancelled_class` was caught."""
        ...

    def time(self) -> float:
        """Seconds on the loop's clock: monotonic, with an arbitrary start; virtual under trio's MockClock."""
        ...

    def wall(self) -> float:
        """The wall clock, in epoch seconds; anybody may set it."""
        ...

    def slice(self, seconds: float) -> Callable[[], bool]:
        """A stretch of work that may hold the loop up for so long; says whether it has."""
        ...

    async def pause(self, seconds: float) -> None:
        """Wait between two looks at what other processes may have changed."""
        ...

    async def in_thread(
        self, fn: Callable[[*_Args], _Result], *args: *_Args, limiter: anyio.CapacityLimiter | None = None
    ) -> _Result:
        """Call what may block where it keeps nobody waiting; once it has begun, cancelling waits for it."""
        ...

    def gate(self) -> Gate:
        """A new gate, closed."""
        ...

    def call_from_thread(self, callback: Callable[[], None]) -> None:
        """Have the loop call `callback` soon; for any thread. Raises RuntimeError when the loop is gone."""
        ...


def current_host() -> Host:
    """The host of the running loop.

    Raises:
        RuntimeError: the loop is neither asyncio's nor trio's.
    """
    match sniffio.current_async_library():
        case "asyncio":
            return AsyncioHost()
        case "trio":
            return _trio_host()
        case other:
            raise RuntimeError(f"actorflow runs on asyncio and trio, not on {other}")


class RealHost:
    """What both loops share: the machine's clocks, and anyio's threads."""

    has_threads = True

    def wall(self) -> float:
        """The machine's."""
        return time.time()

    def slice(self, seconds: float) -> Callable[[], bool]:
        """By the performance counter."""
        ends_at = perf_counter() + seconds
        return lambda: perf_counter() >= ends_at

    async def pause(self, seconds: float) -> None:
        """As long as that."""
        await anyio.sleep(seconds)

    async def in_thread(
        self, fn: Callable[[*_Args], _Result], *args: *_Args, limiter: anyio.CapacityLimiter | None = None
    ) -> _Result:
        """In one of anyio's threads: as many as `limiter` lets begin, or else as anyio does by itself."""
        return await to_thread.run_sync(fn, *args, limiter=limiter)


class AsyncioHost(RealHost):
    """The running asyncio loop."""

    name = "asyncio"
    cancelled_class: type[BaseException] = asyncio.CancelledError

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.time = self._loop.time

    def is_cancelled(self) -> bool:
        """Anyone can raise CancelledError; only `Task.cancel` counts."""
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0

    def gate(self) -> Gate:
        """A gate over one future at a time."""
        return _AsyncioGate(self._loop)

    def call_from_thread(self, callback: Callable[[], None]) -> None:
        """By call_soon_threadsafe."""
        self._loop.call_soon_threadsafe(callback)


class _AsyncioGate:
    __slots__ = ("_is_open", "_loop", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._is_open = False
        self._waiter: asyncio.Future[None] | None = None

    def open(self) -> None:
        waiter = self._waiter
        if waiter is None:
            self._is_open = True
        elif not waiter.done():
            waiter.set_result(None)

    async def wait(self) -> None:
        if not self._is_open:
            waiter = self._waiter = self._loop.create_future()
            try:
                await waiter
            finally:
                self._waiter = None
        self._is_open = False


def _trio_host() -> Host:
    from actorflow.actors.trio_host import TrioHost  # noqa: PLC0415 - trio takes 60 ms to import

    return TrioHost()
