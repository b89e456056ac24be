"""The room of libraries that know asyncio alone: in place upon asyncio, in a thread of its own beside trio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from typing import Any, Final, Generic, TypeVar, TypeVarTuple, cast

import anyio
from anyio import to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from actorflow.actors.host import Gate, Host

__all__ = ["AsyncioRoom"]

_THREAD: Final = "actorflow-asyncio"
_Result = TypeVar("_Result")
_Args = TypeVarTuple("_Args")


class AsyncioRoom:
    """Calls coroutine functions upon an asyncio loop; belongs to one loop, its host's.

    Beside trio the loop lives in one thread, which begins with the first call. What lives in the room, as connections
    do, must be used by calls alone.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._is_in_place = host.name == "asyncio"
        self._opening = anyio.Lock()
        self._portal: BlockingPortal | None = None
        self._holder: AbstractContextManager[BlockingPortal] | None = None
        # its own: those of the program may all be taken by threads that wait for us
        self._threads = anyio.CapacityLimiter(1)

    async def call(self, fn: Callable[[*_Args], Awaitable[_Result]], *args: *_Args) -> _Result:
        """Call a function there and wait for it; returns and raises what it does.

        Cancelling cancels the call in the room, waits until it has ended, and then goes on.

        Raises:
            RuntimeError: beside trio, the room was closed before the call had ended.
        """
        if self._is_in_place:
            return await fn(*args)
        portal = self._portal or await self._open()
        visit = _Visit(self._host, lambda: fn(*args))
        portal.start_task_soon(visit.run)
        try:
            await visit.ended.wait()
        except self._host.cancelled_class:
            portal.start_task_soon(visit.cancel)
            with anyio.CancelScope(shield=True):
                await visit.ended.wait()
            raise
        return visit.outcome()

    async def aclose(self) -> None:
        """End the thread; calls that are left there are cancelled first. A later call begins another."""
        async with self._opening:
            holder, self._holder, self._portal = self._holder, None, None
            if holder is not None:
                with anyio.CancelScope(shield=True):
                    await to_thread.run_sync(_leave, holder, limiter=self._threads)

    async def _open(self) -> BlockingPortal:
        async with self._opening:
            if self._portal is None:
                holder = start_blocking_portal("asyncio", name=_THREAD)
                # never cancelled once it has begun: a thread that nobody knows could not be ended
                self._portal = await to_thread.run_sync(holder.__enter__, limiter=self._threads)
                self._holder = holder
            return self._portal


class _Visit(Generic[_Result]):
    """One call in the room; `run` and `cancel` belong to the room's thread, the rest to the host's."""

    def __init__(self, host: Host, call: Callable[[], Awaitable[_Result]]) -> None:
        self._host = host
        self._call = call
        self._scope: anyio.CancelScope | None = None
        self._results: list[_Result] = []
        self._error: BaseException | None = None
        self.ended: Gate = host.gate()

    async def run(self) -> None:
        try:
            with anyio.CancelScope() as self._scope:
                self._results.append(await self._call())
        except anyio.get_cancelled_exc_class():
            # not by `cancel`, which the scope takes; to the caller's loop the room's cancellation is no error of its own
            self._error = RuntimeError("the room was closed before the call had ended")
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is for the caller
            self._error = error
        finally:
            with suppress(RuntimeError):  # the host's loop is gone, and with it the caller
                self._host.call_from_thread(self.ended.open)

    def cancel(self) -> None:
        """Comes into the room behind `run`, so the call has begun."""
        cast("anyio.CancelScope", self._scope).cancel()

    def outcome(self) -> _Result:
        """What the call returned; or raise what it raised. Once."""
        error, self._error = self._error, None
        if error is None:
            return self._results[0]
        try:
            raise error
        finally:
            del error  # its traceback knows this frame


def _leave(holder: AbstractContextManager[Any]) -> None:
    """An error that leads out of a portal cancels what is left in it; a plain exit would wait for it."""
    with suppress(_Closing):
        error = _Closing()
        holder.__exit__(_Closing, error, None)


class _Closing(Exception):  # noqa: N818 - no error: it never leaves this module
    pass
