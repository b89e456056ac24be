"""Webhooks: what is sent, what each answer means, and what is kept of it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve
from standardwebhooks import Webhook

from actorflow import Runtime
from actorflow.actors.host import current_host
from actorflow.actors.room import AsyncioRoom
from actorflow.core.delivery import TryResult
from actorflow.core.hook_context import HookContext
from actorflow.egress.allowed import parse_allowed
from actorflow.egress.guard import Guard
from actorflow.hooks.actions import sending
from actorflow.hooks.actions.action import ActionSurroundings
from actorflow.hooks.actions.sending import ANSWER_KEPT
from actorflow.http.client import HttpClient
from actorflow.spec.model import BatchSpec, BreakerSpec
from tests.chaos_sink import (
    Act,
    ChaosSink,
    answer,
    drip,
    endless,
    gzip_bomb,
    packed,
    promised,
    raw,
    redirect,
    reset,
    retry_after,
    silence,
)
from tests.hook_tries import Breakers, around_of, context_of, executor_of, sealed, until
from tests.hooked_runs import AGENTS, ECHO, sqlite, workflow

pytestmark = pytest.mark.anyio

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_VGhlIG90aGVyIHNlY3JldCwgZm9yIHJvdGF0aW9u"
ID = "r1/7/task_finished[0]"
BREAKER = BreakerSpec(threshold=2, cooldown=30.0)


@pytest.fixture
def sink() -> Iterator[ChaosSink]:
    with ChaosSink() as sink:
        yield sink


@pytest.fixture
async def http(anyio_backend: str) -> AsyncIterator[HttpClient]:
    room = AsyncioRoom(current_host())
    client = HttpClient(room)
    yield client
    await client.aclose()
    await room.aclose()


@pytest.fixture
def around(sink: ChaosSink, http: HttpClient) -> ActionSurroundings:
    """Surroundings in which the sink may be reached."""
    return around_of(http=http, guard=guard_of(sink.url("")))


def guard_of(*entries: str) -> Guard:
    return Guard(tuple(map(parse_allowed, entries)))


def webhook(params: Any, action: str = "webhook", timeout: float = 5.0, **facts: Any) -> HookContext:
    return context_of(action, params, timeout=timeout, **facts)


async def try_of(context: HookContext, around: ActionSurroundings, **facts: Any) -> TryResult:
    (result,) = await executor_of(around, **facts).deliver([context])
    return result


# what is sent


async def test_an_event_is_sent_with_its_id_where_the_hook_has_no_body(
    sink: ChaosSink, around: ActionSurroundings
):
    context = webhook({"url": sink.url("/orders?k=v")})

    result = await try_of(context, around)

    (request,) = sink.requests
    assert (result.status, result.error) == ("ok", "")
    assert (request.method, request.target) == ("POST", "/orders?k=v")
    assert json.loads(request.body) == {"id": ID, "event": "task_finished", "data": context.document()}
    assert request.header("content-type") == "application/json"
    assert request.header("webhook-id") == request.header("idempotency-key") == ID
    assert request.header("webhook-signature") is None


BODIES: list[tuple[dict[str, Any], bytes | None, str | None]] = [
    ({"body": {"total": 99, "of": ["ä"]}}, '{"of":["ä"],"total":99}'.encode(), "application/json"),
    ({"body": [1, None]}, b"[1,null]", "application/json"),
    ({"body": None}, b"null", "application/json"),
    ({"body": "as it is: ä"}, "as it is: ä".encode(), "text/plain; charset=utf-8"),
    ({"body": "half \ud800"}, b"half ?", "text/plain; charset=utf-8"),
    ({"body": {"a": "half \ud800"}}, b'{"a":"half ?"}', "application/json"),
    ({"body": "<a/>", "headers": {"content-TYPE": "text/xml"}}, b"<a/>", "text/xml"),
    ({"body": {}, "method": "PUT"}, b"{}", "application/json"),
    ({"method": "GET"}, b"", None),
    ({"method": "DELETE"}, b"", None),
    ({"method": "DELETE", "body": {"id": 1}}, b'{"id":1}', "application/json"),
]


@pytest.mark.parametrize(("params", "body", "content_type"), BODIES)
async def test_a_body_is_sent_as_what_it_is(
    params: Any, body: bytes, content_type: str | None, sink: ChaosSink, around: ActionSurroundings
):
    await try_of(webhook({"url": sink.url("/"), **params}), around)
    (request,) = sink.requests
    assert (request.method, request.body) == (params.get("method", "POST"), body)
    assert request.header("content-type") == content_type


async def test_the_headers_of_a_hook_are_sent_but_never_in_place_of_ours(
    sink: ChaosSink, around: ActionSurroundings
):
    headers = {"X-Total": 99, "X-Text": "a", "Webhook-Id": "forged", "IDEMPOTENCY-KEY": "forged"}
    await try_of(webhook({"url": sink.url("/"), "headers": headers}), around)
    (request,) = sink.requests
    assert (request.header("x-total"), request.header("x-text")) == ("99", "a")
    assert [value for name, value in request.headers if name in {"webhook-id", "idempotency-key"}] == [ID, ID]


@pytest.mark.parametrize("known", [SECRET, OTHER])
async def test_what_is_signed_verifies_with_any_of_the_secrets(
    known: str, sink: ChaosSink, around: ActionSurroundings
):
    params = {"url": sink.url("/"), "body": {"total": 99}, "sign": {"secret": [SECRET, OTHER]}}
    await try_of(webhook(params), around)
    (request,) = sink.requests
    assert Webhook(known).verify(request.body, dict(request.headers)) == {"total": 99}


async def test_a_request_without_a_body_is_signed_too(sink: ChaosSink, around: ActionSurroundings):
    params = {"url": sink.url("/"), "method": "DELETE", "sign": {"secret": SECRET}}
    await try_of(webhook(params), around)
    (request,) = sink.requests
    Webhook(SECRET).verify(request.body, dict(request.headers), json_parse=False)


async def test_a_batch_is_one_request_under_the_id_of_the_batch(sink: ChaosSink, around: ActionSurroundings):
    batch = [
        webhook(
            {"url": sink.url("/"), "body": {"n": n}, "sign": {"secret": SECRET}},
            delivery_id=f"r1/{n}/task_finished[0]",
            number=2,
            spec=context_of("webhook", timeout=5.0, batch=BatchSpec()).spec,
        )
        for n in (7, 8)
    ]
    results = await executor_of(around).deliver([evolve(each, batch="b_1") for each in batch])

    (request,) = sink.requests
    assert request.header("webhook-id") == "b_1"
    assert Webhook(SECRET).verify(request.body, dict(request.headers)) == [
        {"id": f"r1/{n}/task_finished[0]", "event": "task_finished", "data": {"n": n}} for n in (7, 8)
    ]
    assert [(each.status, each.record["batch"]) for each in results] == [("ok", "b_1")] * 2


async def test_a_batch_of_one_is_an_array_too_and_has_all_of_the_event(
    sink: ChaosSink, around: ActionSurroundings
):
    context = webhook({"url": sink.url("/")}, batch=BatchSpec())
    await try_of(context, around)
    assert json.loads(sink.requests[0].body) == [
        {"id": ID, "event": "task_finished", "data": context.document()}
    ]


async def test_hooks_without_batch_send_each_event_by_itself(sink: ChaosSink, around: ActionSurroundings):
    batch = [webhook({"url": sink.url("/"), "body": {"n": n}}, delivery_id=f"d{n}") for n in range(3)]
    results = await executor_of(around).deliver(batch)
    assert [result.status for result in results] == ["ok"] * 3
    assert [request.header("webhook-id") for request in sink.requests] == ["d0", "d1", "d2"]


# what answers mean

DONE = ("ok", "")
AGAIN = ("failed", "")
LATER = ("rate_limited", "")
DEAD = ("failed", "dead_letter")
LATE = ("timed_out", "")

ANSWERS: dict[str, tuple[Act, tuple[str, str], float | None]] = {
    "200": (answer(200, b"thanks"), DONE, None),
    "204": (answer(204), DONE, None),
    "299": (answer(299), DONE, None),
    "301": (redirect("http://127.0.0.1:1/", 301), DEAD, None),
    "302 to itself": (redirect("/"), DEAD, None),
    "304": (answer(304), DEAD, None),
    "307": (redirect("//", 307), DEAD, None),
    "308 without location": (answer(308), DEAD, None),
    "400": (answer(400, b"no total"), DEAD, None),
    "401": (answer(401), DEAD, None),
    "404": (answer(404), DEAD, None),
    "408": (answer(408), AGAIN, None),
    "410": (answer(410), DEAD, None),
    "418": (answer(418), DEAD, None),
    "425": (answer(425), AGAIN, None),
    "429": (answer(429), LATER, None),
    "429 in 7 s": (retry_after("7"), LATER, 7.0),
    "429 in a year": (retry_after("31536000"), LATER, 86_400.0),
    "429 in the past": (retry_after("Mon, 01 Jan 1990 00:00:00 GMT"), LATER, 0.0),
    "429 at nonsense": (retry_after("soon"), LATER, None),
    "429 at minus one": (retry_after("-1"), LATER, None),
    "500": (answer(500), AGAIN, None),
    "500 in 7 s": (retry_after("7", 500), AGAIN, None),
    "501": (answer(501), AGAIN, None),
    "503": (answer(503), AGAIN, None),
    "503 in 7 s": (retry_after("7", 503), AGAIN, 7.0),
    "599": (answer(599), AGAIN, None),
    "compressed": (packed(b"thanks", "gzip"), DONE, None),
    "a bomb": (gzip_bomb(2**28), DONE, None),
    "ten gigabytes": (endless(), DONE, None),
    "garbage for gzip": (answer(200, b"no gzip", ("Content-Encoding", "gzip")), AGAIN, None),
    "a body that is cut off": (promised(100, b"short"), AGAIN, None),
    "garbage for chunks": (
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nno\r\n"), AGAIN, None,
    ),
    "no HTTP": (raw(b"220 mail.example ESMTP\r\n"), AGAIN, None),
    "nothing": (raw(b""), AGAIN, None),
    "a reset at once": (reset(), AGAIN, None),
    "a reset within the head": (reset(b"HTTP/1.1 200 OK\r\nX-"), AGAIN, None),
    "a reset within the body": (reset(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), AGAIN, None),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_means_what_the_table_says(name: str, sink: ChaosSink, around: ActionSurroundings):
    act, (status, final), wait_s = ANSWERS[name]
    sink.answers("/", act)

    result = await try_of(webhook({"url": sink.url("/")}), around)

    assert (result.status, result.final, result.has_acted) == (status, final, False)
    assert result.retry_after_s == wait_s
    assert len(sink.requests) == 1
    assert (result.error == "") == (status == "ok")
    if name[0].isdigit():
        assert result.record["http_status"] == int(name[:3])


@pytest.mark.parametrize("act", [silence(), drip(b"HTTP/1.1 200 OK\r\n\r\n")], ids=["silent", "slow"])
async def test_what_takes_longer_than_its_timeout_has_timed_out(
    act: Act, sink: ChaosSink, around: ActionSurroundings
):
    sink.answers("/", act)
    result = await try_of(webhook({"url": sink.url("/?token=t"), "body": "12345"}, timeout=0.1), around)
    assert (result.status, result.error) == (
        "timed_out",
        f"POST {sink.url('/')} has not been answered after 0.1 s",
    )
    assert (result.record["target"], result.record["bytes_sent"]) == (sink.url("/"), 5)


async def test_a_target_that_is_down_is_a_failed_try(http: HttpClient):
    with ChaosSink() as sink:
        url = sink.url("/")
    result = await try_of(webhook({"url": url}), around_of(http=http, guard=guard_of(url)))
    assert (result.status, result.final) == ("failed", "")
    assert "could not be connected" in result.error


@pytest.mark.parametrize(
    ("tls", "status", "said"),
    [
        ("trusted", "ok", ""),
        ("unknown", "failed", "has a certificate that is not trusted"),
        ("expired", "failed", "has a certificate that is not trusted"),
        ("other_name", "failed", "has a certificate that is not trusted"),
    ],
)
async def test_nothing_is_sent_to_a_target_that_cannot_show_who_it_is(
    tls: Any, status: str, said: str, http: HttpClient, monkeypatch: pytest.MonkeyPatch
):
    with ChaosSink(tls=tls) as sink:
        monkeypatch.setenv("SSL_CERT_FILE", sink.ca_file)
        result = await try_of(
            webhook({"url": sink.url("/")}), around_of(http=http, guard=guard_of(sink.url("")))
        )
        assert (result.status, result.final) == (status, "")
        assert said in result.error
        assert len(sink.requests) == (status == "ok")
        await http.aclose()  # a farewell of TLS needs both sides


@pytest.mark.parametrize(
    ("expected", "status", "told"),
    [
        (202, 202, DONE), (202, 200, DEAD), ([200, 404], 404, DONE), ([302], 302, DONE), (410, 410, DONE),
        ([200], 503, AGAIN), ([503], 503, DONE),
    ],
)  # fmt: skip
async def test_success_is_what_the_hook_expects(
    expected: Any, status: int, told: tuple[str, str], sink: ChaosSink, around: ActionSurroundings
):
    sink.answers("/", answer(status))
    result = await try_of(webhook({"url": sink.url("/"), "expect_status": expected}), around)
    assert (result.status, result.final) == told


async def test_an_error_says_what_was_answered_and_what_to_do_about_a_redirect(
    sink: ChaosSink, around: ActionSurroundings
):
    sink.answers("/bad", answer(422, b"\n  total is missing \nat line 3"))
    sink.answers("/moved", redirect("/there", 308))
    sink.answers("/odd", answer(799))
    told = {
        path: (await try_of(webhook({"url": sink.url(path)}), around)).error
        for path in ("/bad", "/moved", "/odd")
    }
    assert told["/bad"].startswith(f"POST {sink.url('/bad')} answered 422 Unprocessable ")
    assert told["/bad"].endswith(": total is missing")
    assert told["/moved"].startswith(f"POST {sink.url('/moved')} answered 308 Permanent Redirect; ")
    assert told["/moved"].endswith("name the URL itself")


# targets that are gone


async def test_a_target_that_is_gone_is_sent_nothing_more_in_this_run(
    sink: ChaosSink, around: ActionSurroundings
):
    sink.answers("/a", answer(410), answer(200))
    first = await try_of(webhook({"url": sink.url("/a?x=1")}), around)
    second = await try_of(webhook({"url": sink.url("/a?x=2")}), around)
    elsewhere = await try_of(webhook({"url": sink.url("/b")}), around)
    next_run = await try_of(webhook({"url": sink.url("/a")}), evolve(around, gone=set()))

    assert (first.status, first.final, first.record["gone"]) == ("failed", "dead_letter", *around.gone)
    assert second.skip == "disabled: 127.0.0.1 answered 410 Gone"
    assert (elsewhere.status, elsewhere.skip) == ("ok", "")
    assert (next_run.status, next_run.skip) == ("ok", "")
    assert len(sink.requests) == 3


async def test_what_is_recalled_of_a_run_is_gone(sink: ChaosSink, around: ActionSurroundings):
    sink.answers("/a", answer(410))
    told = await try_of(webhook({"url": sink.url("/a")}), around)
    executor = executor_of(evolve(around, gone=set()))
    executor.recall_gone([told.record["gone"]])
    (result,) = await executor.deliver([webhook({"url": sink.url("/a")})])
    assert result.skip == "disabled: 127.0.0.1 answered 410 Gone"


# what is refused

REFUSED: list[tuple[Any, str]] = [
    ({"url": "http://elsewhere.example/"}, "E444"),
    ({"url": "http://{host}@elsewhere.example/"}, "E442"),
    ({"url": "ftp://{host}/"}, "E441"),
    ({"url": "http://{host}/../x"}, "E440"),
    ({"url": "http://{host}/", "headers": {"X-A": "b\r\nX-Evil: 1"}}, "E447"),
    ({"url": "http://{host}/", "headers": {"Host": "elsewhere.example"}}, "E447"),
    ({"url": "http://{host}/", "headers": {"Content-Length": 5}}, "E447"),
    ({"url": 5}, "E440"),
    ({"url": None}, "E440"),
]


@pytest.mark.parametrize(("params", "code"), REFUSED)
async def test_what_the_guard_refuses_is_not_sent(
    params: Any, code: str, sink: ChaosSink, around: ActionSurroundings
):
    url = params["url"]
    if isinstance(url, str):
        url = url.replace("{host}", f"127.0.0.1:{sink.port}")
    result = await try_of(webhook({**params, "url": url}), around)
    assert (result.status, result.record["code"]) == ("refused", code)
    assert code in result.error
    assert sink.connections() == 0


async def test_a_host_that_is_not_listed_is_refused_with_the_flag_that_would_allow_it(
    sink: ChaosSink, http: HttpClient
):
    result = await try_of(webhook({"url": sink.url("/")}), around_of(http=http))
    assert (result.status, result.record["code"]) == ("refused", "E444")
    assert f"--allow-host {sink.url('')}" in result.error
    assert sink.connections() == 0


async def test_a_secret_that_cannot_sign_is_refused(sink: ChaosSink, around: ActionSurroundings):
    params = {"url": sink.url("/"), "sign": {"secret": "much too short"}}
    result = await try_of(webhook(params), around)
    assert result.status == "refused"
    assert "24 to 64 bytes as base64" in result.error
    assert sink.connections() == 0


# what is kept


async def test_the_record_has_the_answer_in_short_and_no_query(sink: ChaosSink, around: ActionSurroundings):
    sink.answers("/a", answer(200, b"x" * 10_000))
    result = await try_of(webhook({"url": sink.url("/a?token=t"), "body": "12345"}), around)
    record = dict(result.record)
    assert record.pop("duration_s") > 0
    assert record == {
        "http_status": 200, "answer": "x" * ANSWER_KEPT, "target": sink.url("/a"), "bytes_sent": 5,
    }  # fmt: skip


async def test_no_secret_is_told_not_even_where_the_target_sends_it_back(
    sink: ChaosSink, around: ActionSurroundings
):
    sink.answers("/hook/s3cr3t-value", answer(400, b"bad token s3cr3t-value"))
    around = evolve(around, secrets=around_of(environ={"TOKEN": "s3cr3t-value"}).secrets)
    params = {"url": sink.url("/hook/${TOKEN}"), "headers": {"Authorization": "Bearer ${TOKEN}"}}
    result = await try_of(webhook(sealed(params)), around)

    assert sink.requests[0].header("authorization") == "Bearer s3cr3t-value"
    assert "s3cr3t" not in repr(result)
    assert result.record["target"] == sink.url("/hook/***")
    assert result.error.endswith("bad token ***")


async def test_of_a_url_that_is_a_secret_as_a_whole_only_the_host_is_told(
    sink: ChaosSink, around: ActionSurroundings
):
    url = sink.url("/services/T0/B0/token-of-it?thread=1")
    secrets = around_of(environ={"SLACK_URL": url}).secrets
    for action in ("webhook", "notify.slack"):
        context = webhook(sealed({"url": "${SLACK_URL}", "message": "m"}), action)
        result = await try_of(context, evolve(around, secrets=secrets))
        assert result.record["target"] == sink.url("/***").removeprefix("http://")
        assert "token-of-it" not in repr(result)


async def test_the_host_is_told_where_a_url_begins_with_a_secret(sink: ChaosSink, around: ActionSurroundings):
    secrets = around_of(environ={"SHOP_URL": sink.url("")}).secrets
    context = webhook(sealed({"url": "${SHOP_URL}/orders?k=v"}))
    result = await try_of(context, evolve(around, secrets=secrets))
    assert result.record["target"] == sink.url("/orders").removeprefix("http://")


# breakers


async def test_without_a_key_of_its_own_a_breaker_is_about_the_host(
    sink: ChaosSink, around: ActionSurroundings
):
    sink.answers("/a", answer(500))
    breakers = Breakers()
    for number in (1, 2):
        context = webhook({"url": sink.url("/a")}, breaker=BREAKER, number=number)
        await try_of(context, around, breakers=breakers)
    other = webhook(
        {"url": sink.url("/b")}, breaker=BREAKER, path="on_error[3]", delivery_id="r1/9/on_error[3]"
    )
    result = await try_of(other, around, breakers=breakers)

    assert (result.status, len(sink.requests)) == ("circuit_open", 2)
    assert {question.key for question in breakers.asked} == {f"host {sink.url('')}"}


@pytest.mark.parametrize(
    ("key", "url", "asked"),
    [
        ("shop", "{sink}/", "shop"),
        ("", "no url", "hook orders/task_finished[0]"),
        ("", "{sink}/", "host {sink}"),
    ],
)
async def test_a_breaker_has_its_own_key_or_that_of_the_host_or_of_the_hook(
    key: str, url: str, asked: str, sink: ChaosSink, around: ActionSurroundings
):
    breakers = Breakers()
    context = webhook({"url": url.replace("{sink}", sink.url(""))}, breaker=evolve(BREAKER, key=key))
    await try_of(context, around, breakers=breakers)
    assert [question.key for question in breakers.asked] == [asked.replace("{sink}", sink.url(""))]


async def test_the_key_of_a_breaker_does_not_show_a_secret(around: ActionSurroundings):
    secrets = around_of(environ={"TENANT": "Tenant-of-ours"}).secrets
    breakers = Breakers()
    context = webhook(sealed({"url": "https://${TENANT}.example.com/"}), breaker=BREAKER)
    for _ in range(2):
        await try_of(context, evolve(around, secrets=secrets), breakers=breakers)
    (key,) = {question.key for question in breakers.asked}
    assert re.fullmatch("host [0-9a-f]{16}", key)


async def test_who_waits_for_a_connection_has_not_timed_out(
    sink: ChaosSink, around: ActionSurroundings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sending, "QUEUE_TIMEOUT_S", 0.05)
    sink.answers("/held", silence())
    breakers = Breakers()
    async with anyio.create_task_group() as holding:
        for _ in range(16):
            holding.start_soon(try_of, webhook({"url": sink.url("/held")}, timeout=60.0), around)
        await until(lambda: len(sink.requests) == 16)
        context = webhook({"url": sink.url("/")}, timeout=0.01, breaker=BREAKER)
        result = await try_of(context, around, breakers=breakers)
        holding.cancel_scope.cancel()
    assert (result.status, [told.outcome for told in breakers.told]) == ("rate_limited", ["released"])
    assert "was free within 0.05 s" in result.error


@pytest.mark.parametrize("status", [400, 404, 410, 302])
async def test_an_answer_that_is_final_says_nothing_of_how_the_host_is(
    status: int, sink: ChaosSink, around: ActionSurroundings
):
    sink.answers("/", answer(status))
    breakers = Breakers()
    for number in range(1, 4):
        fresh = evolve(around, gone=set())
        await try_of(
            webhook({"url": sink.url("/")}, breaker=BREAKER, number=number), fresh, breakers=breakers
        )
    assert [told.outcome for told in breakers.told] == ["released"] * 3


# services


async def test_a_service_is_sent_its_words_on_the_terms_of_a_webhook(
    sink: ChaosSink, around: ActionSurroundings
):
    params = {
        "url": sink.url("/topic"), "headers": {"Tags": "bell"}, "message": "grün", "title": "Ä", "priority": "urgent",
    }  # fmt: skip
    result = await try_of(webhook(params, "notify.ntfy"), around)

    (request,) = sink.requests
    assert (result.status, request.body.decode()) == ("ok", "grün")
    assert (request.header("title"), request.header("priority")) == ("=?UTF-8?B?w4Q=?=", "urgent")
    assert (request.header("tags"), request.header("webhook-id")) == ("bell", ID)


async def test_a_service_is_told_no_secrets(sink: ChaosSink, around: ActionSurroundings):
    around = evolve(around, secrets=around_of(environ={"TOKEN": "s3cr3t-value"}).secrets)
    params = {"url": sink.url("/"), "message": "key ${TOKEN}", "title": "{{ 'k' }} ${TOKEN}"}
    await try_of(webhook(sealed(params), "notify.webhook"), around)
    told = json.loads(sink.requests[0].body)
    assert (told["message"], told["title"], told["task"]) == ("key ***", "k ***", "fetch")


# in runs


def hooks_to(sink: ChaosSink, **more: Any) -> dict[str, Any]:
    retry = {"max_attempts": 3, "delay": "1ms", "jitter": "none"}
    params = {"url": sink.url("/{{ task.id }}"), "body": {"task": "{{ task.id }}", "out": "{{ output }}"}}
    return {"task_finished": [{"type": "webhook", "params": params, "retry": retry, **more}]}


async def test_a_delivery_is_tried_under_the_same_id_until_it_is_taken(sink: ChaosSink, tmp_path: Path):
    sink.answers("/a", answer(503), reset(), answer(200))
    spec = workflow({"a": ECHO}, hooks_to(sink))
    async with Runtime(store=sqlite(tmp_path), agents=AGENTS, allow_hosts=[sink.url("")]) as rt:
        result = await (await rt.start(spec, run_id="r")).settled()

    assert (result.status, result.hooks.delivered, result.hooks.dead_letters) == ("success", 1, 0)
    assert len(sink.requests) == 3
    assert len({request.header("webhook-id") for request in sink.requests}) == 1
    assert len({request.body for request in sink.requests}) == 1


async def test_a_dead_letter_of_a_webhook_can_be_sent_again(sink: ChaosSink, tmp_path: Path):
    sink.answers("/a", answer(404), answer(200))
    spec = workflow({"a": ECHO}, hooks_to(sink))
    async with Runtime(store=sqlite(tmp_path), agents=AGENTS, allow_hosts=[sink.url("")]) as rt:
        result = await (await rt.start(spec, run_id="r")).settled()
        (letter,) = await rt.dead_letters()
        retried = await rt.retry_delivery(letter.id, timeout_s=10)

    assert (result.status, result.hooks.dead_letters) == ("success", 1)
    assert letter.reason == f"POST {sink.url('/a')} answered 404 Not Found"
    assert (retried.hooks.delivered, retried.hooks.dead_letters) == (1, 0)
    assert len({request.header("webhook-id") for request in sink.requests}) == 1


async def test_what_an_operator_asks_for_is_sent_to_a_target_that_was_gone_and_if_taken_opens_it_again(
    sink: ChaosSink, tmp_path: Path
):
    sink.answers("/all", answer(410), answer(410), answer(200))
    tasks = {"a": ECHO, "b": {**ECHO, "depends_on": ["a"]}}
    told = {"type": "webhook", "params": {"url": sink.url("/all")}}
    facts: Any = {"store": sqlite(tmp_path), "agents": AGENTS, "allow_hosts": [sink.url("")]}
    async with Runtime(**facts) as rt:
        result = await (await rt.start(workflow(tasks, {"task_finished": [told]}), run_id="r")).settled()
        assert (result.hooks.dead_letters, result.hooks.skipped) == (1, 1)
        (letter,) = await rt.dead_letters()
        await rt.retry_delivery(letter.id, timeout_s=10)
        assert [each.id for each in await rt.dead_letters()] == [
            letter.id
        ]  # it is gone still, and so is kept
    async with Runtime(**facts) as rt:
        retried = await rt.retry_delivery(letter.id, timeout_s=10)
        assert not await rt.dead_letters()
    assert (retried.hooks.delivered, retried.hooks.skipped, len(sink.requests)) == (1, 1, 3)


async def test_a_410_that_is_expected_closes_nothing(sink: ChaosSink, around: ActionSurroundings):
    sink.answers("/", answer(410))
    for number in (1, 2):
        result = await try_of(webhook({"url": sink.url("/"), "expect_status": [410]}), around)
        assert (result.status, result.skip, len(sink.requests)) == ("ok", "", number)


async def test_what_is_owed_to_a_target_that_is_gone_is_skipped_for_the_rest_of_the_run(
    sink: ChaosSink, tmp_path: Path
):
    sink.answers("/all", answer(410))
    tasks = {f"t{n}": {**ECHO, "depends_on": [f"t{n - 1}"] if n else []} for n in range(4)}
    told = [{"type": "webhook", "params": {"url": sink.url(f"/{path}")}} for path in ("all", "others")]
    spec = workflow(tasks, {"task_finished": told})
    async with Runtime(store=sqlite(tmp_path), agents=AGENTS, allow_hosts=[sink.url("")]) as rt:
        handle = await rt.start(spec, run_id="r")
        result = await handle.settled()
        reasons = {
            each.record.get("reason") for each in await handle.deliveries() if each.status == "skipped"
        }

    assert (result.hooks.delivered, result.hooks.dead_letters, result.hooks.skipped) == (4, 1, 3)
    assert reasons == {"disabled: 127.0.0.1 answered 410 Gone"}
    assert [request.path for request in sink.requests].count("/all") == 1


async def test_a_target_that_is_gone_for_a_blocking_hook_is_so_for_all_hooks_of_the_run_in_later_processes_too(
    sink: ChaosSink, tmp_path: Path
):
    sink.answers("/all", answer(410))
    is_well = False

    async def work(call: Any) -> None:
        if call.task == "b" and not is_well:
            raise ValueError("not yet")

    told = {"type": "webhook", "params": {"url": sink.url("/all")}}
    spec = workflow(
        {"a": {"agent": "work"}, "b": {"agent": "work", "depends_on": ["a"]}},
        {"task_finished": [{**told, "mode": "blocking"}], "workflow_finished": [told]},
    )
    facts: Any = {"store": sqlite(tmp_path), "agents": {"work": work}, "allow_hosts": [sink.url("")]}
    async with Runtime(**facts) as rt:
        failed = await (await rt.start(spec, run_id="r")).settled()
    is_well = True
    async with Runtime(**facts) as rt:
        result = await (await rt.start_resumed("r")).settled()

    assert (failed.status, result.status) == ("failed", "success")
    assert (failed.hooks.failed, failed.hooks.skipped) == (1, 2)
    assert (result.hooks.failed, result.hooks.skipped) == (1, 4)
    assert len(sink.requests) == 1


async def test_a_silent_webhook_on_the_end_of_a_task_does_not_hold_up_a_cancel_at_once(sink: ChaosSink):
    sink.answers("/all", silence())
    spec = workflow(
        {"a": ECHO},
        {"task_finished": [{"type": "webhook", "mode": "blocking", "params": {"url": sink.url("/all")}}]},
    )
    async with Runtime(store="memory:", agents=AGENTS, allow_hosts=[sink.url("")]) as rt:
        await rt.start(spec, run_id="r")
        await until(lambda: sink.requests)
        result = await rt.cancel("r", now=True)
        await until(lambda: not sink.open_connections)
    assert (result.status, result.hooks.failed, len(sink.requests)) == ("canceled", 1, 1)


async def test_a_webhook_that_is_under_way_ends_with_the_run_that_is_canceled(sink: ChaosSink):
    sink.answers("/ready", silence())
    spec = workflow(
        {"a": ECHO}, {"pre_workflow": [{"type": "webhook", "params": {"url": sink.url("/ready")}}]}
    )
    async with Runtime(store="memory:", agents=AGENTS, allow_hosts=[sink.url("")]) as rt:
        handle = await rt.start(spec, run_id="r")
        await until(lambda: sink.requests)
        await rt.cancel("r")
        result = await handle.wait()
        await until(lambda: not sink.open_connections)
    assert (result.status, len(sink.requests)) == ("canceled", 1)


async def test_a_blocking_webhook_that_is_refused_fails_its_task_if_it_says_so(sink: ChaosSink):
    spec = workflow({"a": ECHO}, hooks_to(sink, mode="blocking", on_error="fail"))
    async with Runtime(store="memory:", agents=AGENTS) as rt:
        result = await rt.run(spec)
    assert result.status == "failed"
    assert sink.connections() == 0


async def test_a_run_goes_on_while_its_receiver_is_silent(sink: ChaosSink):
    sink.answers("/a", silence())
    spec = workflow({"a": ECHO}, hooks_to(sink))
    async with Runtime(store="memory:", agents=AGENTS, allow_hosts=[sink.url("")], drain_timeout_s=0.1) as rt:
        result = await rt.run(spec)
    assert (result.status, result.hooks.pending) == ("success", 1)


async def test_no_part_of_a_secret_is_told_where_an_answer_is_cut(
    sink: ChaosSink, around: ActionSurroundings
):
    token = "canary-token-of-forty-three-characters-xyz"
    around = evolve(around, secrets=around_of(environ={"TOKEN": token}).secrets)
    sink.answers("/", answer(400, f"{'x' * 170} {token}".encode()))
    result = await try_of(webhook(sealed({"url": sink.url("/"), "headers": {"X-Key": "${TOKEN}"}})), around)
    assert result.error.endswith("x ***")
    assert token[:5] not in f"{result.error} {result.record}"
