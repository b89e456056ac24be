"""URLs that are refused, asked for real: a server on loopback sees no connection, and the refusal has its code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from actorflow.egress.refusals import EgressRefused
from actorflow.http.exchange import HttpFailed, HttpRequest
from tests.chaos_sink import ChaosSink, redirect
from tests.http_clients import Names, client_of, guard_of

pytestmark = pytest.mark.anyio

DATA = Path(__file__).parent / "data" / "urls.yaml"
CASES: list[dict[str, Any]] = YAML(typ="safe", pure=True).load(DATA)
LONG = "a" * 100_000
SPARED = {"parse", "list"}
"""Where a refusal comes before the name is looked up."""


@pytest.fixture(scope="module")
def server() -> Iterator[ChaosSink]:
    """Whom no case may reach."""
    with ChaosSink() as sink:
        yield sink


@pytest.fixture(scope="module")
def leader() -> Iterator[ChaosSink]:
    """Who is allowed, and leads on."""
    with ChaosSink() as sink:
        yield sink


def names_of(resolves: Mapping[str, list[Any]]) -> tuple[Names, int]:
    """The look-ups of a case, and how often its request is made."""
    rounds = {host: given if isinstance(given[0], list) else [given] for host, given in resolves.items()}
    answers = {"localhost": [["127.0.0.1"]], **rounds}
    return Names(answers), max(map(len, answers.values()))


@pytest.mark.parametrize("case", CASES, ids=[f"{case['code']}-{case['why']}" for case in CASES])
async def test_no_refused_url_opens_a_connection(
    case: dict[str, Any], server: ChaosSink, leader: ChaosSink
) -> None:
    names, times = names_of(case.get("resolves", {}))
    url = _filled(case["url"], server)
    allowed = [_filled(entry, server) for entry in case["allow"]]
    if case["where"] == "redirect":
        leader.answers("/", redirect(url))
        url, allowed = leader.url(), [*allowed, leader.url()]
    request = HttpRequest(method="POST", url=url, guard=guard_of(*allowed), body=b"{}", redirects_max=5)

    async with client_of(names) as client:
        for _ in range(times - 1):
            with suppress(HttpFailed):
                await client.request(request)
        with pytest.raises(EgressRefused) as refused:
            await client.request(request)

    assert refused.value.code == case["code"], refused.value
    assert server.connections() == 0
    assert case["where"] not in SPARED or names.asked == []


@pytest.mark.parametrize(
    ("url", "entries"),
    [
        ("http://127.0.0.1:{port}/hooks", ["http://127.0.0.1:{port}"]),
        ("http://localhost:{port}/hooks", ["http://localhost:{port}/hooks"]),
        ("http://api.example.com:{port}/hooks", ["http://*.example.com:{port}", "127.0.0.0/8"]),
    ],
)
async def test_what_is_allowed_does_reach_that_server(url: str, entries: list[str]) -> None:
    names, _ = names_of({"api.example.com": ["127.0.0.1"]})
    async with client_of(names) as client:
        with ChaosSink() as sink:
            guard = guard_of(*(_filled(entry, sink) for entry in entries))
            answer = await client.request(HttpRequest(method="POST", url=_filled(url, sink), guard=guard))
            assert (answer.status, sink.connections()) == (204, 1)


def _filled(text: str, server: ChaosSink) -> str:
    return text.replace("{port}", str(server.port)).replace("{long}", LONG)
