"""Fake targets: to who asks they are what a real one is that behaves so, but for the time that passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio
from attrs import frozen

from actorflow import Runtime
from actorflow.egress.refusals import EgressRefused
from actorflow.http.client import Requester
from actorflow.http.exchange import HOOK_BODY_MAX, HttpFailed, HttpRequest
from actorflow.runtime.ports import Ports
from actorflow.testing.clock import run_virtually
from actorflow.testing.http import (
    FakeAnswer,
    FakeHttp,
    Garbage,
    Received,
    Refuses,
    Replies,
    Resets,
    TimesOut,
    delivery_key,
)
from actorflow.testing.rates import VirtualRates
from tests.chaos_sink import Act, ChaosSink, answer, raw, redirect, reset, retry_after, silence
from tests.hooked_runs import workflow
from tests.http_clients import client_of, guard_of

on_both = pytest.mark.anyio


@frozen
class Ends:
    """How a request ends, for whoever made it."""

    status: int = 0
    body: bytes = b""
    is_cut: bool = False
    redirects: Sequence[str] = ()
    retry_after_s: float | None = None
    failed: tuple[str, bool] | None = None
    refused: str = ""


async def ending_of(client: Requester, url: str, **facts: Any) -> Ends:
    guard = facts.pop("guard", None) or guard_of(url)
    request = HttpRequest(**{"method": "POST", "url": url, "guard": guard, **facts})
    try:
        given = await client.request(request)
    except HttpFailed as failed:
        return Ends(failed=(failed.kind, failed.was_sent))
    except EgressRefused as refused:
        return Ends(refused=str(refused))
    return Ends(given.status, given.body, given.is_cut, given.redirects, given.retry_after_s)


TEXT = b"a line of an answer"
LONGEST, LONGER = bytes(HOOK_BODY_MAX), bytes(HOOK_BODY_MAX + 1)
LOOP = ({"location": "/"}, {"redirects_max": 2})

ALIKE: dict[str, tuple[Act, FakeAnswer, dict[str, Any]]] = {
    "a body": (answer(200, TEXT), Replies(200, TEXT), {}),
    "no content": (answer(204), Replies(204, TEXT), {}),
    "a head": (answer(200), Replies(200, TEXT), {"method": "HEAD"}),
    "unavailable": (answer(503, TEXT), Replies(503, TEXT), {}),
    "too many requests": (retry_after("7"), Replies(429, headers={"Retry-After": "7"}), {}),
    "an endless wait": (retry_after("9" * 30), Replies(429, headers={"retry-after": "9" * 30}), {}),
    "a wait until the past": (
        retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 503),
        Replies(503, headers={"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}),
        {},
    ),
    "a wait that is none": (retry_after("soon"), Replies(429, headers={"retry-after": "soon"}), {}),
    "a body that just fits": (answer(200, LONGEST), Replies(200, LONGEST), {"is_cut": False}),
    "a body that is cut": (answer(200, LONGER), Replies(200, LONGER), {}),
    "a body that is too large": (answer(200, LONGER), Replies(200, LONGER), {"is_cut": False}),
    "a bound of its own": (answer(200, TEXT), Replies(200, TEXT), {"body_max": 6}),
    "silence": (silence(), TimesOut(is_received=True), {"timeout_s": 0.05}),
    "an answer that is too late": (silence(), Replies(after_s=60.0), {"timeout_s": 0.05}),
    "a reset": (reset(), Resets(is_received=True), {}),
    "no HTTP": (raw(b"220 mail.example.com ESMTP\r\n"), Garbage(), {}),
    "a redirect that is not followed": (redirect("/b"), Replies(302, headers={"Location": "/b"}), {}),
    "redirects without an end": (
        redirect("/"),
        Replies(302, headers={"location": "/"}),
        {"redirects_max": 2},
    ),
    "a redirect to elsewhere": (
        redirect("http://10.0.0.1/"),
        Replies(307, headers={"location": "http://10.0.0.1/"}),
        {"redirects_max": 2},
    ),
    "a redirect to what is no URL": (
        redirect("file:///etc/passwd"),
        Replies(302, headers={"location": "file:///etc/passwd"}),
        {"redirects_max": 2},
    ),
    "a redirect with a large body": (
        answer(302, LONGER, ("Location", "ftp://x")),
        Replies(302, LONGER, {"location": "ftp://x"}),
        {"redirects_max": 2, "is_cut": False},
    ),
    "a header that would end early": (answer(), Replies(), {"headers": [("X-Note", "a\r\nHost: b")]}),
    "a header of the client's own": (answer(), Replies(), {"headers": [("Host", "b")]}),
    "a query that is too long": (answer(), Replies(), {"query": [("a", "x" * 9_000)]}),
    "a URL that is not allowed": (answer(), Replies(), {"guard": guard_of("https://a.example")}),
}
"""What a target does; how the fake is told to do the same; what is special in the request."""


@on_both
@pytest.mark.parametrize("name", ALIKE)
async def test_a_fake_target_and_a_real_one_are_the_same_to_who_asks(name: str):
    act, fake_answer, facts = ALIKE[name]
    with ChaosSink() as sink:
        sink.answers("/", act)
        fake = FakeHttp()
        fake.on(sink.url("/"), fake_answer)
        async with client_of() as client:
            real_end = await ending_of(client, sink.url("/"), body=b"{}", **facts)
            fake_end = await ending_of(fake, sink.url("/"), body=b"{}", **facts)
        assert fake_end == real_end
        assert [(each.method, each.url, each.body) for each in fake.received] == [
            (each.method, sink.url(each.target), each.body) for each in sink.requests
        ]


@on_both
async def test_a_redirect_that_is_followed_takes_and_leaves_the_same_things_behind():
    headers = [("Authorization", "Bearer x"), ("X-Open", "y"), ("Content-Type", "text/plain")]
    with ChaosSink() as sink, ChaosSink() as other:
        sink.answers("/", redirect(other.url("/there?a=1"), 303))
        other.answers("/there", answer(200, TEXT))
        fake = FakeHttp()
        fake.on(sink.url(), Replies(303, headers={"location": other.url("/there?a=1")}))
        fake.on(other.url(), Replies(200, TEXT))
        facts: dict[str, Any] = {"headers": headers, "body": b"{}", "redirects_max": 3}
        facts["guard"] = guard_of(sink.url(""), other.url(""))
        async with client_of() as client:
            assert await ending_of(fake, sink.url(), **facts) == await ending_of(client, sink.url(), **facts)
        (asked,) = other.requests
    led = fake.received[1]
    assert (led.method, led.url, led.body) == (asked.method, other.url(asked.target), asked.body)
    for name in ("authorization", "x-open", "content-type"):
        assert led.header(name) == asked.header(name)


@on_both
async def test_what_cannot_be_connected_is_the_same_as_a_port_where_nobody_listens():
    with ChaosSink() as sink:
        url = sink.url()
    fake = FakeHttp()
    fake.on(url, Refuses())
    async with client_of() as client:
        assert await ending_of(fake, url) == await ending_of(client, url) == Ends(failed=("connect", False))
    assert fake.received == []


@on_both
async def test_a_connection_that_is_never_there_is_the_same_as_tls_that_never_ends():
    with ChaosSink(greeting="silent") as sink:
        url = sink.url(scheme="https")
        fake = FakeHttp()
        fake.on(url, TimesOut(is_received=False))
        facts = {"connect_timeout_s": 0.05, "timeout_s": 5.0}
        async with client_of() as client:
            assert await ending_of(fake, url, **facts) == await ending_of(client, url, **facts)
    assert fake.received == []


@on_both
async def test_a_reset_before_the_request_was_read_is_the_same_as_a_server_that_does_that():
    with ChaosSink(greeting="reset") as sink:
        fake = FakeHttp()
        fake.on(sink.url(), Resets(is_received=False))
        async with client_of() as client:
            real_end, fake_end = await ending_of(client, sink.url()), await ending_of(fake, sink.url())
    assert real_end.failed is not None
    assert fake_end.failed == ("protocol", True)
    assert fake.received == []


@on_both
async def test_tries_of_one_thing_get_the_answers_in_turn_whatever_others_get():
    fake = FakeHttp()
    fake.on("https://a.example", Replies(500), Replies(429), Replies(200))

    async def status(key: str) -> int:
        return (await ending_of(fake, "https://a.example/x", headers=[("Webhook-Id", key)])).status

    assert [await status(key) for key in ("1", "2", "1", "1", "2", "1")] == [500, 500, 429, 200, 429, 200]


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ([("Idempotency-Key", "k"), ("Webhook-Id", "w")], "w"),
        ([("idempotency-key", "k")], "k"),
        ([], "https://a.example/x?y=1"),
    ],
)
def test_one_thing_is_known_by_its_id_or_else_its_url(headers: list[tuple[str, str]], key: str):
    assert delivery_key(Received(0.0, "POST", "https://a.example/x?y=1", headers, b"")) == key


@on_both
async def test_the_longest_prefix_counts_and_an_answer_may_be_a_function_of_the_request():
    fake = FakeHttp(usual=Replies(404))
    fake.on("https://a.example", Replies(500))
    fake.on("https://A.example/orders/", lambda request: Replies(200, request.body))
    ends = [
        await ending_of(fake, url, guard=guard_of("https://a.example", "https://b.example"), body=b"x")
        for url in ("https://a.example/orders/7", "https://a.example/orders", "https://b.example/orders/7")
    ]
    assert [(end.status, end.body) for end in ends] == [(200, b"x"), (500, b""), (404, b"")]


@on_both
async def test_what_is_said_of_a_prefix_holds_from_then_on():
    fake = FakeHttp()
    fake.on("https://a.example", Replies(500), Replies(501))
    before = (await ending_of(fake, "https://a.example/")).status
    fake.on("https://a.example", Replies(503))
    assert (before, (await ending_of(fake, "https://a.example/")).status) == (500, 503)


def test_what_is_no_url_or_no_answer_is_refused():
    with pytest.raises(EgressRefused, match="E440"):
        FakeHttp().on("hooks.example.com", Replies())
    with pytest.raises(ValueError, match="there is no step"):
        FakeHttp().on("https://hooks.example.com")


TIMED: dict[str, tuple[FakeAnswer, dict[str, Any], float, str]] = {
    "an answer in time": (Replies(after_s=3.0), {"timeout_s": 5.0}, 3.0, ""),
    "an answer in its last moment": (
        Replies(after_s=5.0),
        {"timeout_s": 5.0},
        5.0,
        "not answered within 5 s",
    ),
    "an answer that is waited for": (Replies(after_s=9_000.0), {}, 9_000.0, ""),
    "silence": (TimesOut(is_received=True), {"timeout_s": 5.0}, 5.0, "not answered within 5 s"),
    "no connection": (TimesOut(is_received=False), {"timeout_s": 15.0}, 10.0, "not connected within 10 s"),
    "no connection, and less time": (
        TimesOut(is_received=False),
        {"timeout_s": 5.0},
        5.0,
        "not connected within 5 s",
    ),
    "no connection, and no timeout": (TimesOut(is_received=False), {}, 10.0, "not connected within 10 s"),
    "a late reset": (Resets(is_received=True, after_s=2.0), {"timeout_s": 5.0}, 2.0, "reset"),
    "a reset that is too late": (
        Resets(is_received=True, after_s=7.0),
        {"timeout_s": 5.0},
        5.0,
        "not answered",
    ),
    "late garbage": (Garbage(after_s=2.0), {"timeout_s": 5.0}, 2.0, "no answer in HTTP"),
}


@pytest.mark.parametrize("name", TIMED)
def test_a_request_takes_as_long_as_its_target_and_its_timeouts_say(name: str):
    fake_answer, facts, seconds, message = TIMED[name]
    fake = FakeHttp(usual=fake_answer)

    async def story() -> tuple[float, str]:
        request = HttpRequest(
            method="POST", url="https://a.example/", guard=guard_of("https://a.example"), **facts
        )
        began = trio.current_time()
        try:
            await fake.request(request)
        except HttpFailed as failed:
            return trio.current_time() - began, str(failed)
        return trio.current_time() - began, ""

    took, told = run_virtually(story)
    assert took == pytest.approx(seconds)
    assert message in told
    assert bool(message) == bool(told)


@on_both
async def test_silence_without_a_timeout_ends_when_it_is_canceled():
    fake = FakeHttp(usual=TimesOut(is_received=True))
    with anyio.move_on_after(0.02) as patience:
        await ending_of(fake, "https://a.example/")
    assert patience.cancelled_caught
    assert len(fake.received) == 1


def test_a_wait_until_a_date_is_counted_from_the_clock_that_the_fake_was_given():
    fake = FakeHttp(
        usual=Replies(503, headers={"retry-after": "Thu, 01 Jan 1970 00:20:00 GMT"}), now=lambda: 1_000.0
    )
    assert run_virtually(lambda: ending_of(fake, "https://a.example/")).retry_after_s == 200.0


HOOK = {
    "type": "webhook",
    "params": {"url": "https://hooks.example.com/orders"},
    "retry": {"max_attempts": 4, "delay": "1ms"},
}


@on_both
async def test_webhooks_and_agents_of_a_run_reach_fake_targets():
    sinks = FakeHttp()
    sinks.on("https://hooks.example.com/", Refuses(), Resets(is_received=True), Replies(503), Replies(204))
    sinks.on(
        "https://api.example.com/",
        Replies(502),
        Replies(200, b'{"total": 7}', {"content-type": "application/json"}),
    )
    tasks = {
        "a": {"http": {"url": "https://api.example.com/v1"}, "retry": {"max_attempts": 2, "delay": "1ms"}}
    }
    spec = workflow(tasks, {"workflow_finished": [HOOK]})
    ports = Ports(http=lambda _: sinks, rates=lambda _: VirtualRates())
    async with Runtime(store="memory:", allow_hosts=["*.example.com"], ports=ports) as rt:
        handle = await rt.start(spec, run_id="r")
        result = await handle.settled()
    assert (result.status, result.tasks["a"].output, result.hooks.delivered) == ("success", {"total": 7}, 1)
    assert [(each.method, each.url, each.header("webhook-id")) for each in sinks.received] == [
        ("GET", "https://api.example.com/v1", None),
        ("GET", "https://api.example.com/v1", None),
        *[("POST", "https://hooks.example.com/orders", "r/9/workflow_finished[0]")] * 3,
    ]
