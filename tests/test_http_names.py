"""Looking up names: a name server that is silent holds up those that ask for its names, and nobody else."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from threading import Event
from typing import Any

import anyio
import pytest
from attrs import define, field

from actorflow.http import names
from actorflow.http.exchange import HttpFailed, HttpRequest
from tests.chaos_sink import ChaosSink
from tests.hook_tries import until
from tests.http_clients import client_of, guard_of

pytestmark = pytest.mark.anyio


@define
class NameServer:
    """Stands for the system's function: names below `dead.example` are looked up when `speaks` is set, and are not found."""

    system: Any
    asked: list[str] = field(factory=list)
    speaks: Event = field(factory=Event)

    def look_up(self, host: str, *rest: Any) -> Any:
        self.asked.append(host)
        if not host.endswith("dead.example"):
            return self.system(host, *rest)
        self.speaks.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer(socket.getaddrinfo)
    monkeypatch.setattr(socket, "getaddrinfo", server.look_up)
    yield server
    server.speaks.set()


def to(host: str, **facts: Any) -> HttpRequest:
    url = host if "://" in host else f"http://{host}/"
    return HttpRequest(method="GET", url=url, guard=guard_of(url, "http://*.dead.example"), **facts)


async def test_a_name_is_looked_up_while_many_others_hang(server: NameServer) -> None:
    with ChaosSink() as sink:
        async with client_of() as client, anyio.create_task_group() as group:
            for number in range(32):
                group.start_soon(client.request, to(f"h{number}.dead.example"))
            await until(lambda: len(server.asked) == 32)
            with anyio.fail_after(5):
                answer = await client.request(to(sink.url("/", host="localhost")))
            group.cancel_scope.cancel()
    assert answer.status == 204


async def test_a_name_that_hangs_is_looked_up_once_at_a_time(server: NameServer) -> None:
    failures: list[str] = []

    async def fail(client: Any) -> None:
        with pytest.raises(HttpFailed, match="could not be looked up") as failed:
            await client.request(to("one.dead.example"))
        failures.append(failed.value.kind)

    async with client_of() as client, anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(fail, client)
        await until(lambda: server.asked)
        with anyio.move_on_after(0.05):  # who goes does not take the look-up along
            await client.request(to("one.dead.example"))
        server.speaks.set()
    assert (failures, server.asked) == (["connect"] * 8, ["one.dead.example"])


async def test_what_is_too_much_at_once_waits_for_its_turn(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "LOOK_UPS_MAX", 2)
    ended: list[int] = []

    async def fail(client: Any, number: int) -> None:
        with pytest.raises(HttpFailed):
            await client.request(to(f"h{number}.dead.example"))
        ended.append(number)

    async with client_of() as client, anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(fail, client, number)
        await until(lambda: len(server.asked) == 2)
        server.speaks.set()
    assert (sorted(ended), len(server.asked)) == ([*range(6)], 6)


HANGS = """
import asyncio, socket, sys, threading
import anyio
from actorflow.http.exchange import HttpFailed
from tests.http_clients import client_of
from tests.test_http_names import to

socket.getaddrinfo = lambda *_: threading.Event().wait()

async def main():
    async with client_of() as client:
        try:
            await client.request(to("h.dead.example", connect_timeout_s=0.1))
        except HttpFailed as failed:
            print(failed)

anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_neither_the_client_nor_the_process_waits_for_a_name_server(backend: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", HANGS, backend], capture_output=True, text=True, check=True, timeout=30
    )
    assert ran.stdout == "http://h.dead.example was not connected within 0.1 s\n"
