"""The client: one session for all requests of a runtime."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from anyio import CapacityLimiter, to_thread

from actorflow.actors.room import AsyncioRoom
from actorflow.egress.guard import Permit
from actorflow.http.exchange import HttpAnswer, HttpRequest
from actorflow.http.following import permitted

if TYPE_CHECKING:  # importing it costs more than a run that makes no request
    from aiohttp.abc import AbstractResolver

    from actorflow.http.session import Session

__all__ = ["HttpClient", "Requester"]


class Requester(Protocol):
    """Who makes requests."""

    async def request(self, request: HttpRequest) -> HttpAnswer:
        """Make one; see `HttpClient.request`."""
        ...

    async def prepare(self) -> None:
        """Have at hand what requests need, so that the first one does not wait for it."""
        ...

    async def aclose(self) -> None:
        """Keep nothing open; nobody may be asking any more."""
        ...


class HttpClient:
    """Makes requests, on asyncio and beside trio alike; connections are kept and shared.

    Args:
        room: where the connections live; the client is closed before it.
        resolver: what looks up names; the system does, if there is none.
    """

    def __init__(self, room: AsyncioRoom, *, resolver: AbstractResolver | None = None) -> None:
        self._room = room
        self._resolver = resolver
        self._opening = asyncio.Lock()
        self._session: Session | None = None

    async def request(self, request: HttpRequest) -> HttpAnswer:
        """Make a request; whatever status the answer has, it is one.

        The URL is judged before anything happens, each redirect before it is followed, each address before it is
        dialled, and a connection that is kept before it is used. Has no timeouts but those that it names: cancelling ends
        the request and closes its connection. Idempotent methods may be sent twice, where a connection ends before
        an answer.

        Raises:
            EgressRefused: it is not made, or not followed.
            HttpFailed: no whole answer came.
        """
        return await self._room.call(self._ask, request, permitted(request))

    async def prepare(self) -> None:
        """Load what requests need, some hundred milliseconds' worth, so that the first one does not wait for it."""
        if self._session is None:
            await self._room.call(self._opened)

    async def aclose(self) -> None:
        """Close all connections; nobody may be asking any more. A later request opens others."""
        if self._session is not None:
            await self._room.call(self._close)

    async def _ask(self, request: HttpRequest, permit: Permit) -> HttpAnswer:
        session = self._session or await self._opened()
        return await session.ask(request, permit)

    async def _opened(self) -> Session:
        """The session; of several first requests, one opens it."""
        async with self._opening:
            if self._session is None:
                # a thread of our own: the loop's may all be taken by the program's
                make = await to_thread.run_sync(_prepared, limiter=CapacityLimiter(1))
                self._session = make(self._resolver)
            return self._session

    async def _close(self) -> None:
        session, self._session = self._session, None
        self._opening = asyncio.Lock()  # the next may be opened on another loop
        if session is not None:
            await session.aclose()


def _prepared() -> Callable[[AbstractResolver | None], Session]:
    """What would keep a loop waiting: the library, and the certificates; leaves what must be done on the loop."""
    from actorflow.http.session import Session, tls_context  # noqa: PLC0415 - on first use only

    return partial(Session, tls_context())
