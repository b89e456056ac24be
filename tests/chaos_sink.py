"""A receiver of requests that misbehaves as it is told: a raw server in a thread of its own, for tests on any loop.

```python
with ChaosSink() as sink:
    sink.answers("/orders", answer(503), answer(200, b"ok"))  # one after the other; the last one again and again
    url = sink.url("/orders")  # http://127.0.0.1:PORT/orders
    ...
    assert [request.header("webhook-id") for request in sink.requests] == ["d1", "d1"]
    assert sink.connections() == 1
```

A path without answers gets `204`. What can be told (each is an `Act`):

    answer(status, body, *headers)   a proper answer; connections are kept
    retry_after(value, status=429)   an answer with that Retry-After, whatever it is
    redirect(location, status=302)   an answer that leads on
    packed(body, *encodings)         an answer compressed by gzip, deflate or raw-deflate, in that order
    gzip_bomb(size)                  so many bytes of zeros, in MiB rounded down, compressed
    endless(size, *headers)          `size` bytes (10 GiB), as long as they are taken; chunked if a header says so
    raw(text)                        these bytes, then the end of the connection (which a client may not have seen when it
                                     asks again, unless these bytes say `Connection: close`)
    drip(text, every_s=1.0)          these bytes one by one; behind a `head` that is sent at once, if there is one
    reset(text=b"")                  these bytes, then a reset: before, within or behind an answer's head
    silence()                        nothing, until the other side ends it
    promised(length, body)           a Content-Length that the body does not keep

Before a request is read: `ChaosSink(greeting="reset")` resets each connection at once, `"silent"` never says a word (so a
TLS handshake never ends), `"mail"` greets as a mail server does, without TLS. TLS: `ChaosSink(tls="trusted")` (a certificate for localhost and 127.0.0.1 that is good for who
trusts `sink.ca_file`: set SSL_CERT_FILE to it before the client's first request), `"other_name"`, `"expired"`,
`"unknown"` (of an authority that nobody trusts). `ChaosSink(everywhere=True)` listens at all addresses.

What has happened: `sink.requests` (whole ones, in order), `sink.connections()` (accepted ones: exact, also for one that
was opened a moment ago), `sink.open_connections` (right now), `sink.bytes_sent` (of endless answers). `sink.forget()`
forgets requests and connections. All of it may be read from any thread.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import struct
import tempfile
import threading
import zlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import trustme
from attrs import define, field, frozen

__all__ = [
    "Act",
    "ChaosSink",
    "Received",
    "answer",
    "drip",
    "endless",
    "gzip_bomb",
    "packed",
    "promised",
    "raw",
    "redirect",
    "reset",
    "retry_after",
    "silence",
]

Tls = Literal["trusted", "other_name", "expired", "unknown"]
Greeting = Literal["", "reset", "silent", "mail"]
Header = tuple[str, str]
Act = Callable[["_Line"], Awaitable[bool]]
"""Answers a request; says whether the connection stays."""

TEN_GIB: Final = 10 * 2**30
_ZEROS: Final = bytes(65_536)
_PACKERS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "raw-deflate": lambda body: zlib.compress(body, wbits=-15),
}


@frozen
class Received:
    """A whole request."""

    method: str
    target: str  #: path and query
    headers: tuple[Header, ...]  #: names in lower case
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        """The first value."""
        return next((value for known, value in self.headers if known == name.lower()), None)


@define
class _Line:
    """A connection, from the server's side."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sent: Callable[[int], None]  #: is told how many bytes have left

    async def send(self, text: bytes) -> None:
        self.writer.write(text)
        await self.writer.drain()

    def reset(self) -> None:
        """End it as a process that dies does: nothing more is sent, and the other side reads a reset."""
        _never_linger(self.writer.get_extra_info("socket"))
        self.writer.transport.abort()


def answer(status: int = 200, body: bytes = b"", *headers: Header) -> Act:
    length = () if status in {204, 304} else (("Content-Length", str(len(body))),)
    return partial(_send, _head(status, *headers, *length) + body, True)


def retry_after(value: str, status: int = 429) -> Act:
    return answer(status, b"", ("Retry-After", value))


def redirect(location: str, status: int = 302) -> Act:
    return answer(status, b"", ("Location", location))


def packed(body: bytes, *encodings: str) -> Act:
    for encoding in encodings:
        body = _PACKERS[encoding](body)
    named = ", ".join(encoding.removeprefix("raw-") for encoding in encodings)
    return answer(200, body, ("Content-Encoding", named))


def gzip_bomb(size: int, *headers: Header) -> Act:
    return answer(200, _bomb(size), ("Content-Encoding", "gzip"), *headers)


def promised(length: int | str, body: bytes, status: int = 200) -> Act:
    return raw(_head(status, ("Content-Length", str(length))) + body)


def raw(text: bytes) -> Act:
    return partial(_send, text, False)


def drip(text: bytes, every_s: float = 1.0, *, head: bytes = b"") -> Act:
    return partial(_drip, head, text, every_s)


def reset(text: bytes = b"") -> Act:
    return partial(_reset, text)


def silence() -> Act:
    return _silence


def endless(size: int = TEN_GIB, *headers: Header) -> Act:
    return partial(_stream, size, headers)


async def _send(text: bytes, is_kept: bool, line: _Line) -> bool:
    await line.send(text)
    return is_kept


async def _drip(head: bytes, text: bytes, every_s: float, line: _Line) -> bool:
    await line.send(head)
    for at in range(len(text)):
        await line.send(text[at : at + 1])
        await asyncio.sleep(every_s)
    return False


async def _reset(text: bytes, line: _Line) -> bool:
    if text:
        await line.send(text)
        await asyncio.sleep(0.05)  # a reset overtakes what has not been read
    line.reset()
    return False


async def _silence(line: _Line) -> bool:
    await line.reader.read()
    return False


async def _stream(size: int, headers: tuple[Header, ...], line: _Line) -> bool:
    is_chunked = any(name.lower() == "transfer-encoding" for name, _ in headers)
    await line.send(_head(200, *headers))
    part = b"10000\r\n" + _ZEROS + b"\r\n" if is_chunked else _ZEROS
    for _ in range(0, size, len(_ZEROS)):
        await line.send(part)
        line.sent(len(part))
    if is_chunked:
        await line.send(b"0\r\n\r\n")
    return False


def _head(status: int, *headers: Header) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def _bomb(size: int) -> bytes:
    """One member after the other (RFC 1952, section 2.2), since packing a GiB at once takes seconds."""
    return _packed_mib() * (size // 2**20)


@cache
def _packed_mib() -> bytes:
    return gzip.compress(bytes(2**20))


def _never_linger(sock: Any) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@define(eq=False)
class ChaosSink:
    """The receiver; a context manager."""

    tls: Tls | None = None
    greeting: Greeting = ""
    everywhere: bool = False
    requests: list[Received] = field(factory=list, init=False)
    bytes_sent: int = field(default=0, init=False)
    open_connections: int = field(default=0, init=False)
    port: int = field(default=0, init=False)
    ca_file: str = field(default="", init=False)
    _acts: dict[str, list[Act]] = field(factory=dict, init=False)
    _peers: list[tuple[Any, ...]] = field(factory=list, init=False)
    _accepted: threading.Condition = field(factory=threading.Condition, init=False)
    _holding: ExitStack = field(factory=ExitStack, init=False)

    def answers(self, path: str, *acts: Act) -> None:
        """Say what requests for a path get, from now on."""
        self._acts[path] = list(acts)

    def url(self, path: str = "/", *, host: str = "127.0.0.1", scheme: str | None = None) -> str:
        return f"{scheme or ('https' if self.tls else 'http')}://{host}:{self.port}{path}"

    def connections(self) -> int:
        """How many were accepted; knocks, so that whatever was opened before has been counted."""
        with socket.create_connection(("127.0.0.1", self.port)) as knock, self._accepted:
            own = knock.getsockname()[:2]
            assert self._accepted.wait_for(lambda: own in self._peers, timeout=10)
            self._peers.remove(own)
            return len(self._peers)

    def forget(self) -> None:
        self.connections()
        self._peers.clear()
        self.requests.clear()
        self.bytes_sent = 0

    def __enter__(self) -> Self:
        listener = self._holding.enter_context(_listening(self.everywhere))
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        context = self._context()
        loop = asyncio.new_event_loop()
        serving = loop.create_task(self._accept(listener, context))
        thread = threading.Thread(target=partial(_run, loop, serving), name="chaos-sink")
        thread.start()
        self._holding.callback(thread.join)
        self._holding.callback(loop.call_soon_threadsafe, serving.cancel)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._holding.close()

    def _context(self) -> ssl.SSLContext | None:
        if self.tls is None:
            return None
        authority = trustme.CA()
        folder = self._holding.enter_context(tempfile.TemporaryDirectory())
        trusted = trustme.CA() if self.tls == "unknown" else authority
        self.ca_file = str(Path(folder, "ca.pem"))
        trusted.cert_pem.write_to_path(self.ca_file)
        ended = datetime.now(UTC) - timedelta(days=1) if self.tls == "expired" else None
        names = ("elsewhere.example",) if self.tls == "other_name" else ("localhost", "127.0.0.1")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names, not_after=ended).configure_cert(context)
        return context

    async def _accept(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            # not sock_accept: cancelled at the wrong moment, it loses what it has accepted
            loop.add_reader(listener, self._take, listener, context, group)
            try:
                await asyncio.Event().wait()
            finally:
                loop.remove_reader(listener)

    def _take(
        self, listener: socket.socket, context: ssl.SSLContext | None, group: asyncio.TaskGroup
    ) -> None:
        sock, peer = listener.accept()
        sock.setblocking(False)
        with self._accepted:
            self._peers.append((peer[0].removeprefix("::ffff:"), peer[1]))
            self._accepted.notify_all()
        held = group.create_task(self._hold(sock, context))
        # asyncio would with a step of the loop, which may not come
        held.add_done_callback(lambda _: sock.close())

    async def _hold(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        self.open_connections += 1
        try:
            await self._serve(sock, context)
        finally:
            self.open_connections -= 1

    async def _serve(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        if self.greeting == "reset":
            _never_linger(sock)
            sock.close()
            return
        with suppress(OSError, EOFError, asyncio.LimitOverrunError):
            line = await _line_of(sock, None if self.greeting else context, self._count)
            try:
                if self.greeting == "silent":
                    await _silence(line)
                if self.greeting == "mail":
                    await line.send(b"220 mail.example.com ESMTP\r\n")
                while await self._turn(line):
                    pass
            finally:
                await _end(line)

    def _count(self, sent: int) -> None:
        self.bytes_sent += sent

    async def _turn(self, line: _Line) -> bool:
        """Read a request and answer it; says whether there may be another."""
        received = await _read(line.reader)
        self.requests.append(received)
        acts = self._acts.get(received.path) or [answer(204)]
        return await (acts.pop(0) if len(acts) > 1 else acts[0])(line)


def _listening(everywhere: bool) -> socket.socket:
    if everywhere and socket.has_dualstack_ipv6():
        return socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512)
    return socket.create_server(("0.0.0.0" if everywhere else "127.0.0.1", 0), backlog=512)


def _run(loop: asyncio.AbstractEventLoop, serving: asyncio.Task[None]) -> None:
    asyncio.set_event_loop(loop)
    try:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(serving)
    finally:
        loop.close()


async def _line_of(sock: socket.socket, context: ssl.SSLContext | None, sent: Callable[[int], None]) -> _Line:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock, ssl=context)
    return _Line(reader, asyncio.StreamWriter(transport, protocol, reader, loop), sent)


async def _end(line: _Line) -> None:
    """Let go without a TLS farewell: nobody waits for one here."""
    line.writer.close()
    try:
        with suppress(OSError):
            await line.writer.wait_closed()
    finally:
        line.writer.transport.abort()


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("utf-8", "surrogateescape")
    first, *lines = head.split("\r\n")[:-2]
    method, target, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines)
    headers = tuple((name.lower(), value.strip()) for name, _, value in pairs)
    body = await reader.readexactly(int(dict(headers).get("content-length", 0)))
    return Received(method, target, headers, body)
