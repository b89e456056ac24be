"""The page about requests: its agent asks what it says, its receiver knows what is genuine, and its tables name what there is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actorflow import Runtime, load_dict, loads
from actorflow.egress.allowed import parse_allowed
from actorflow.egress.guard import NOTHING_ALLOWED
from actorflow.egress.refusals import REASONS, EgressRefused
from tests.chaos_sink import ChaosSink, Received, answer, retry_after

PAGE = (Path(__file__).parent.parent / "docs" / "requests.md").read_text(encoding="utf-8")
HOST = "https://api.weather.example"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
JSON = ("Content-Type", "application/json")


def example(language: str, beginning: str) -> str:
    """The only block of the page in a language that begins so."""
    found = re.findall(rf"^```{language}\n({beginning}.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (text,) = found
    return str(text)


def rows(first_column: str) -> list[list[str]]:
    """The cells of the table whose first column is called so, without its head."""
    table = PAGE.split(f"\n| {first_column} |", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.fixture
def sink() -> Iterator[ChaosSink]:
    with ChaosSink() as sink:
        yield sink


@pytest.mark.anyio
async def test_the_agent_asks_as_it_says_and_takes_its_part_of_the_answer(
    sink: ChaosSink, monkeypatch: pytest.MonkeyPatch
):
    sink.answers(
        "/v1/forecast",
        retry_after("0"),
        answer(200, b'{"days": [{"temperature": 21.5}, {"temperature": 19}]}', JSON),
    )
    monkeypatch.setenv("WEATHER_TOKEN", "open-sesame")
    text = example("yaml", "name: weather").replace(HOST, sink.url(""))
    text = text.replace("max_attempts: 4", "max_attempts: 4, delay: 10ms")

    async with Runtime(store="memory:") as rt:
        result = await rt.run(loads(text, trust="own"), inputs={"city": "Rome"})

    assert (result.status, result.outputs) == ("success", {"temperature": 21.5})
    keys = {request.header("idempotency-key") for request in sink.requests}
    assert [request.target for request in sink.requests] == ["/v1/forecast?city=Rome&days=3"] * 2
    assert [request.header("authorization") for request in sink.requests] == ["Bearer open-sesame"] * 2
    assert keys == {f"{result.run_id}/today/1"}


@pytest.mark.anyio
async def test_the_receiver_of_the_page_knows_what_is_genuine(
    sink: ChaosSink, monkeypatch: pytest.MonkeyPatch
):
    names: dict[str, Any] = {}
    exec(example("python", "from collections.abc"), names)
    is_genuine: Callable[..., bool] = names["is_genuine"]

    received = await told_by_a_webhook(sink, monkeypatch)

    headers = dict(received.headers)
    assert is_genuine(SECRET, received.body, headers)
    assert not is_genuine(SECRET, received.body + b" ", headers)
    assert not is_genuine(SECRET, received.body, {**headers, "webhook-id": "another"})
    assert headers["idempotency-key"] == headers["webhook-id"]
    assert {name for cells in rows("header") for name in quoted(cells[0])} == {
        *(name for name in headers if name.startswith("webhook-")),
        "Idempotency-Key",
    }


async def told_by_a_webhook(sink: ChaosSink, monkeypatch: pytest.MonkeyPatch) -> Received:
    """A signed request."""
    monkeypatch.setenv("SHOP_SECRET", SECRET)
    params = {"url": sink.url("/orders"), "sign": {"secret": "${SHOP_SECRET}"}}
    order = load_dict(
        {
            "tasks": {"a": {"agent": "echo"}},
            "hooks": {"task_finished": [{"type": "webhook", "params": params}]},
        },
        trust="own",
    )
    async with Runtime(store="memory:", agents={"echo": "echo"}, allow_hosts=[sink.url("")]) as rt:
        handle = await rt.start(order)
        await handle.settled()
    (received,) = sink.requests
    return received


def test_every_entry_of_the_page_can_be_read():
    entries = [entry for cells in rows("entry") for entry in quoted(cells[0])]
    assert len(entries) > 6
    for entry in entries:
        parse_allowed(entry)


def test_the_table_of_codes_has_them_all_and_its_examples_are_refused_so():
    told = {re.findall(r"E\d{3}", cells[0])[0]: quoted(cells[2]) for cells in rows("code")}
    assert sorted(told) == sorted(REASONS)
    for code, urls in told.items():
        for url in urls:
            with pytest.raises(EgressRefused) as refused:
                NOTHING_ALLOWED.permit(url)
            assert refused.value.code == code, url
