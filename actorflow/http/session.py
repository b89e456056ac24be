"""The session: all that knows aiohttp. Loaded when the first request is made, since most runs make none."""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
import time
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from attrs import define
from yarl import URL

from actorflow.egress.guard import Permit
from actorflow.egress.refusals import EgressRefused
from actorflow.http.bodies import ACCEPTED, BodyUnread, decodings_of, read_body
from actorflow.http.dialling import check_dialled, dialling, socket_for
from actorflow.http.exchange import HttpAnswer, HttpFailed, HttpRequest
from actorflow.http.failures import LIBRARY_ERRORS, failed
from actorflow.http.following import follow
from actorflow.http.names import SystemNames
from actorflow.http.redirects import Step, is_redirect
from actorflow.http.retry_after import retry_after_s

__all__ = ["Session", "tls_context"]

_CONNECTIONS_MAX: Final = 256
_CONNECTIONS_PER_ORIGIN_MAX: Final = 16
_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
"""Time is bounded by whoever asks, by cancelling, and by `_Progress`."""


def tls_context() -> ssl.SSLContext:
    """What other sides are trusted by: the system's authorities, or those that SSL_CERT_FILE names.

    Reads files; to be called in a thread.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Session:
    """Connections that are kept, and the requests made by them; belongs to the loop that it is made in.

    Keeps no cookies, knows no proxies, and follows no redirect that has not been judged.
    """

    def __init__(self, tls: ssl.SSLContext, resolver: AbstractResolver | None = None) -> None:
        self._session = aiohttp.ClientSession(
            connector=_JudgingConnector(
                resolver=_JudgingResolver(resolver or SystemNames()),
                # each new connection asks anew: an answer that is kept would have been judged for somebody else
                use_dns_cache=False,
                ssl=tls,
                limit=_CONNECTIONS_MAX,
                limit_per_host=_CONNECTIONS_PER_ORIGIN_MAX,
                socket_factory=socket_for,
            ),
            headers={"User-Agent": f"actorflow/{version('actorflow')}", "Accept-Encoding": ACCEPTED},
            skip_auto_headers=("Content-Type",),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=_NO_TIMEOUT,
            trace_configs=[_signals()],
        )

    async def ask(self, request: HttpRequest, permit: Permit) -> HttpAnswer:
        """Make a request that is permitted, and those that redirects make out of it.

        Raises:
            EgressRefused: E445, or what a redirect leads to is refused.
            HttpFailed: no whole answer came.
        """
        return await follow(request, permit, partial(self._exchange, request))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def _exchange(self, request: HttpRequest, step: Step, permit: Permit, was_led: bool) -> HttpAnswer:
        """Make one request."""
        origin, progress = permit.url.origin, _Progress(request, was_sent=was_led)
        try:
            with dialling(permit):
                async with asyncio.timeout(request.queue_timeout_s) as progress.deadline:
                    return await self._answer(step, request, progress)
        except TimeoutError:
            raise progress.timed_out(origin) from None
        except BodyUnread as unread:
            raise HttpFailed(unread.kind, f"{origin} {unread.what}", was_sent=True) from None
        except LIBRARY_ERRORS as error:
            # not `from error`: the library's words hold the URL, and with it secrets
            raise failed(error, origin, was_sent=progress.was_sent) from None

    async def _answer(self, step: Step, request: HttpRequest, progress: _Progress) -> HttpAnswer:
        async with self._session.request(
            step.method,
            URL(step.url, encoded=True),
            headers=step.headers,
            data=step.body,
            allow_redirects=False,
            trace_request_ctx=progress,
        ) as response:
            is_on_the_way = bool(request.redirects_max) and is_redirect(response.status)
            decodings = decodings_of(", ".join(response.headers.getall("Content-Encoding", ())))
            body, is_cut = await read_body(
                response.content.iter_any(),
                decodings,
                request.body_max,
                is_cut=request.is_cut or is_on_the_way,
            )
            headers = _first_values(response)
        return HttpAnswer(
            status=response.status,
            headers=headers,
            body=body,
            is_cut=is_cut,
            retry_after_s=retry_after_s(headers.get("retry-after"), time.time()),
        )


class _JudgingConnector(aiohttp.TCPConnector):
    """Judges a connection by the request that is to use it, also one that was opened for another."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - its name
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        peer = None if connection.transport is None else connection.transport.get_extra_info("peername")
        if peer is None:  # gone in the meantime
            connection.close()
            raise aiohttp.ServerDisconnectedError
        try:
            check_dialled(peer[0], peer[1])
        except EgressRefused:
            connection.release()
            raise
        return connection


class _JudgingResolver(AbstractResolver):
    """Judges all addresses of a name before one of them is dialled: who is public and private is neither."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if not found:
            raise OSError(None, "it has no address")
        for address in found:
            check_dialled(address["host"], address["port"])
        return found

    async def close(self) -> None:
        await self._resolver.close()


@define
class _Progress:
    """How far a request is, and by when it has to be further; signals of aiohttp tell."""

    request: HttpRequest
    was_sent: bool = False  #: to whom was asked first, if redirects led on
    deadline: asyncio.Timeout | None = None
    is_connecting: bool = False
    ends_at: float | None = None  #: once it has left the queue; infinite if it has no timeout

    def connecting(self) -> None:
        """A connection may be opened."""
        self.is_connecting = True
        self._end_by(min(_now() + self.request.connect_timeout_s, self._end()))

    def connected(self) -> None:
        """A connection is there, or one that was kept is free."""
        self.is_connecting = False
        self._end_by(self._end())

    def timed_out(self, origin: str) -> HttpFailed:
        """What was too late."""
        asked = self.request
        if self.ends_at is None and asked.queue_timeout_s is not None:
            problem = f"no connection to {origin} was free within {asked.queue_timeout_s:g} s"
            return HttpFailed(
                "queue", f"{problem}: other requests have all that there may be", was_sent=self.was_sent
            )
        if self.is_connecting or asked.timeout_s is None:
            limit = min(asked.connect_timeout_s, asked.timeout_s or math.inf)
            return HttpFailed(
                "timeout", f"{origin} was not connected within {limit:g} s", was_sent=self.was_sent
            )
        problem = f"{origin} has not answered within {asked.timeout_s:g} s"
        return HttpFailed("timeout", problem, was_sent=self.was_sent)

    def _end(self) -> float:
        if self.ends_at is None:
            timeout_s = self.request.timeout_s
            self.ends_at = math.inf if timeout_s is None else _now() + timeout_s
        return self.ends_at

    def _end_by(self, at: float) -> None:
        assert self.deadline is not None
        self.deadline.reschedule(None if at == math.inf else at)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _signals() -> aiohttp.TraceConfig:
    signals = aiohttp.TraceConfig()
    signals.on_connection_create_start.append(_connecting)
    signals.on_connection_create_end.append(_connected)
    signals.on_connection_reuseconn.append(_connected)
    signals.on_request_headers_sent.append(_sending)
    return signals


async def _connecting(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
    progress: _Progress = context.trace_request_ctx
    progress.connecting()


async def _connected(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
    progress: _Progress = context.trace_request_ctx
    progress.connected()


async def _sending(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
    progress: _Progress = context.trace_request_ctx
    progress.was_sent = True


def _first_values(response: aiohttp.ClientResponse) -> Mapping[str, str]:
    """Headers by their names in lower case; bytes that are no text are replaced, so that all may be recorded."""
    values: dict[str, str] = {}
    for name, value in response.headers.items():
        text = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        values.setdefault(name.lower(), text)
    return values
