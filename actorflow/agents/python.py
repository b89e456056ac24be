"""Python callables as agents: coroutine functions are awaited, everything else runs in a thread."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
from anyio import to_thread
from anyio.lowlevel import checkpoint

from actorflow.agents.call import AgentCall, AgentFailed, Performer
from actorflow.errors import BindError

__all__ = ["AgentThreads", "python_performer"]


def python_performer(fn: Callable[[AgentCall], Any], *, threads: AgentThreads) -> Performer:
    """Make an attempt of calling `fn` with the call.

    A coroutine function, a partial of one, or an object whose `__call__` is one, is its own performer. Anything else
    runs in one of `threads`; what it returns is awaited if it is awaitable.

    Raises:
        BindError: `fn` is not callable, does not take one positional argument, or is a generator.
    """
    _check(fn)
    if _is_async(fn):
        return fn

    async def perform(call: AgentCall) -> Any:
        result = await threads.call(fn, call)
        return await result if inspect.isawaitable(result) else result

    return perform


class AgentThreads:
    """The threads in which synchronous agents run: so many at once, and who knows which outlived their cancel.

    Belongs to one event loop. The limit is its own: the default of anyio, which others in the process share, is 40.

    Args:
        limit: calls that run side by side.
        in_place: call upon the loop, where there is nothing beside it.
    """

    def __init__(self, limit: int, *, in_place: bool = False) -> None:
        self._is_in_place = in_place
        self._limit = limit
        self._limiter: anyio.CapacityLimiter | None = None
        self._outlived: set[_Body] = set()
        self._is_abandoned = False

    @property
    def outlived_count(self) -> int:
        """Threads whose call was cancelled, and which have not ended."""
        self._outlived = {body for body in self._outlived if not body.is_done}
        return len(self._outlived)

    def abandon(self) -> None:
        """Let cancelled calls, now and later, go on without waiting for their threads.

        A thread cannot be ended from outside: it runs on, and may keep the process from exiting.
        """
        self._is_abandoned = True

    async def call(self, fn: Callable[[AgentCall], Any], call: AgentCall) -> Any:
        """Run `fn` in a thread, with a copy of the caller's context variables.

        Cancelling a call that waits for a thread ends it at once. Cancelling one that runs takes effect when the
        function has returned, whose result is dropped, or at `abandon`.

        Raises:
            AgentFailed: the function raised KeyboardInterrupt. It is the function's own: a thread is never interrupted.
        """
        if self._limiter is None:  # not made earlier: it belongs to the loop
            self._limiter = anyio.CapacityLimiter(self._limit)
        body = _Body(fn, call)
        try:
            if self._is_in_place:
                await checkpoint()
                body.run()
                return body.outcome()
            await to_thread.run_sync(body.run, abandon_on_cancel=True, limiter=self._limiter)
        except anyio.get_cancelled_exc_class():
            if body.claim():  # it has not begun, and now it never will
                raise
            with anyio.CancelScope(shield=True):
                await self._outwait(body)
            raise
        try:
            return body.outcome()
        except KeyboardInterrupt as error:
            raise AgentFailed(type(error).__name__, str(error)) from error

    async def _outwait(self, body: _Body) -> None:
        # By looking, not by being told: this is rare, and no way to wake a loop from a thread that it has given up
        # is the same on both back ends.
        self._outlived.add(body)
        pause = 0.001
        while not body.is_done and not self._is_abandoned:
            await anyio.sleep(pause)
            pause = min(pause * 2, 0.02)
        body.drop()
        if body.is_done:
            self._outlived.discard(body)


class _Body:
    """One call in a thread, which either begins or is given up before, whoever claims it first."""

    def __init__(self, fn: Callable[[AgentCall], Any], call: AgentCall) -> None:
        self._fn = fn
        self._call = call
        self._claim = threading.Lock()
        self._is_dropped = False
        self._result: Any = None
        self._error: BaseException | None = None
        self.is_done = False

    def claim(self) -> bool:
        return self._claim.acquire(blocking=False)

    def run(self) -> None:
        # The outcome is kept, not told by the thread: trio takes a coroutine that comes from one for a mistake, and
        # asyncio's futures wait for ever where some exceptions are raised.
        if self.claim():
            try:
                self._result = self._fn(self._call)
                if self._is_dropped:
                    self.drop()
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is the function's
                self._error = error
            finally:
                self.is_done = True

    def outcome(self) -> Any:
        """What the function returned; or raise what it raised. Once."""
        error, self._error = self._error, None
        if error is None:
            return self._result
        try:
            raise error
        finally:
            del error  # its traceback knows this frame

    def drop(self) -> None:
        """Close a coroutine that nobody will await, now or when it is there."""
        self._is_dropped = True
        if inspect.iscoroutine(self._result):
            self._result.close()


def _check(fn: Callable[[AgentCall], Any]) -> None:
    name = _name(fn)
    if not callable(fn):
        raise BindError(f"{name} is not callable; bind a function that takes an AgentCall")
    try:
        inspect.signature(fn).bind(object())
    except TypeError as error:
        raise BindError(f"{name} cannot be called with one argument, the AgentCall: {error}") from error
    except ValueError:  # a builtin that does not tell its signature
        pass
    unwrapped = _unwrap(fn)
    if inspect.isgeneratorfunction(unwrapped) or inspect.isasyncgenfunction(unwrapped):
        raise BindError(f"{name} is a generator; an agent returns one output, it does not yield")


def _is_async(fn: Callable[..., Any]) -> bool:
    fn = _unwrap(fn)
    call = getattr(type(fn), "__call__", None)  # noqa: B004 - whether it can be called is known; here it is looked at
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(call)


def _unwrap(fn: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(fn, partial):
        fn = fn.func
    return fn


def _name(fn: object) -> str:
    return getattr(fn, "__qualname__", None) or f"a {type(fn).__qualname__}"
