"""Looking up names: the system's way, in threads that nobody waits for.

The system's function cannot be interrupted, and where a name server is silent it takes half a minute. So a look-up has a
thread of its own, which neither closing nor the end of the process waits for; a name that is being looked up is not looked
up a second time, so that one name holds one thread, however many requests ask for it.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from contextlib import suppress
from threading import Thread
from typing import Any, Final, TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult
from attrs import field, frozen

__all__ = ["LOOK_UPS_MAX", "SystemNames"]

LOOK_UPS_MAX: Final = 64
"""Threads at once; further names wait until one is looked up."""

_THREAD: Final = "actorflow-names"
_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_ONLY_USABLE: Final = getattr(socket, "AI_ADDRCONFIG", 0)

_Found: TypeAlias = list[tuple[socket.AddressFamily, int, str]]
"""Addresses with their family and protocol."""

_Key: TypeAlias = tuple[str, socket.AddressFamily]


@frozen(eq=False)
class _LookUp:
    """One name that is looked up, or waits for it; its end is a value, so that an error that nobody waits for is silent."""

    host: str
    family: socket.AddressFamily
    loop: asyncio.AbstractEventLoop
    ended: asyncio.Future[_Found | OSError] = field(repr=False)


class SystemNames(AbstractResolver):
    """Looks up names as the system does; belongs to the loop that it is used in."""

    def __init__(self) -> None:
        self._known: dict[_Key, _LookUp] = {}
        self._waiting: deque[_LookUp] = deque()
        self._threads = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name, in the system's order. Cancelling ends the wait, and leaves the look-up to itself.

        Raises:
            OSError: there are none, or the name could not be looked up.
        """
        look_up = self._known.get((host, family)) or self._begun(host, family)
        found = await asyncio.shield(look_up.ended)
        if isinstance(found, OSError):
            raise type(found)(*found.args)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=each, proto=protocol, flags=_NUMERIC)
            for each, protocol, address in found
        ]

    async def close(self) -> None:
        """Nobody waits any more; what has not begun is left out."""
        self._waiting.clear()
        self._known.clear()

    def _begun(self, host: str, family: socket.AddressFamily) -> _LookUp:
        loop = asyncio.get_running_loop()
        look_up = _LookUp(host, family, loop, loop.create_future())
        self._known[host, family] = look_up
        self._waiting.append(look_up)
        self._begin_next()
        return look_up

    def _begin_next(self) -> None:
        if self._waiting and self._threads < LOOK_UPS_MAX:
            self._threads += 1
            look_up = self._waiting.popleft()
            try:
                Thread(target=self._look_up, args=(look_up,), name=_THREAD, daemon=True).start()
            except RuntimeError as error:  # the system gives no more threads
                self._end(look_up, OSError(None, str(error)))

    def _look_up(self, look_up: _LookUp) -> None:
        """In a thread."""
        try:
            found: _Found | OSError = _addresses(look_up.host, look_up.family)
        except OSError as error:
            found = error
        except Exception as error:  # noqa: BLE001 - whoever waits would wait for ever
            found = OSError(None, str(error))
        with suppress(RuntimeError):  # the loop is gone, and with it whoever asked
            look_up.loop.call_soon_threadsafe(self._end, look_up, found)

    def _end(self, look_up: _LookUp, found: _Found | OSError) -> None:
        self._threads -= 1
        key = look_up.host, look_up.family
        if self._known.get(key) is look_up:
            del self._known[key]
        look_up.ended.set_result(found)
        self._begin_next()


def _addresses(host: str, family: socket.AddressFamily) -> _Found:
    try:
        found = socket.getaddrinfo(host, None, family, socket.SOCK_STREAM, 0, _ONLY_USABLE)
    except socket.gaierror:
        if host != "localhost":
            raise
        # on some systems it has no address as long as no interface but loopback is there
        found = socket.getaddrinfo(host, None, family, socket.SOCK_STREAM)
    return [(each, protocol, _text(address)) for each, _, protocol, _, address in found]


def _text(address: tuple[Any, ...]) -> str:
    """With its zone, without which nobody knows where a link-local address is."""
    zone = address[3] if len(address) == 4 else 0
    return f"{address[0]}%{zone}" if zone else str(address[0])
