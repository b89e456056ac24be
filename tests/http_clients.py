"""What tests of requests need: a client upon the running loop, and names that come to what a test says."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
from aiohttp.abc import AbstractResolver, ResolveResult
from attrs import define, field

from actorflow.actors.host import current_host
from actorflow.actors.room import AsyncioRoom
from actorflow.egress.allowed import parse_allowed
from actorflow.egress.guard import Guard
from actorflow.http.client import HttpClient

__all__ = ["Names", "client_of", "guard_of"]


@define
class Names(AbstractResolver):
    """Names and their addresses; with several answers, one for each look-up, the last again and again."""

    answers: Mapping[str, Sequence[Sequence[str]]]
    asked: list[str] = field(factory=list)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        turn = self.asked.count(host)
        self.asked.append(host)
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        given = self.answers[host]
        return [_result(host, address, port) for address in given[min(turn, len(given) - 1)]]

    async def close(self) -> None:
        pass


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return {"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": 0}


def guard_of(*entries: str) -> Guard:
    return Guard(tuple(map(parse_allowed, entries)))


@asynccontextmanager
async def client_of(resolver: AbstractResolver | None = None) -> AsyncGenerator[HttpClient]:
    """A client; its connections end with the block."""
    room = AsyncioRoom(current_host())
    client = HttpClient(room, resolver=resolver)
    try:
        yield client
    finally:
        with anyio.CancelScope(shield=True):
            await client.aclose()
            await room.aclose()
