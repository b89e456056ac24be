"""HTTP requests as agents, from the definition to a receiver on this machine: what is sent, and what comes of the answer."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from actorflow import AgentCall, RunResult, Runtime, load_dict, loads
from actorflow.core.events import AttemptFailed, AttemptSucceeded, AttemptTimedOut, Event, RetryScheduled
from actorflow.errors import SpecError
from actorflow.http import client
from actorflow.spec import WorkflowSpec
from tests.chaos_sink import (
    Act,
    ChaosSink,
    Received,
    answer,
    endless,
    gzip_bomb,
    promised,
    raw,
    redirect,
    reset,
    retry_after,
    silence,
)

pytestmark = pytest.mark.anyio

TOKEN = "t0ken-canary-value"
JSON = ("Content-Type", "application/json")


@pytest.fixture
def sink() -> Iterator[ChaosSink]:
    with ChaosSink() as sink:
        yield sink


@pytest.fixture
def elsewhere() -> Iterator[ChaosSink]:
    with ChaosSink() as sink:
        yield sink


def asks(sink: ChaosSink, path: str = "/x", /, **http: Any) -> dict[str, Any]:
    """A request of a task or agent; its address stands in the definition."""
    return {"http": {"url": sink.url(path), **http}}


def workflow(tasks: Mapping[str, Any], **more: Any) -> WorkflowSpec:
    return load_dict({"name": "w", "tasks": tasks, **more}, trust="own")


async def told(
    spec: WorkflowSpec, *, allow_hosts: tuple[str, ...] = (), **given: Any
) -> tuple[RunResult, list[Event]]:
    """The result of a run, and what its journal has."""
    async with Runtime(store="memory:", agents={"word": "echo"}, allow_hosts=allow_hosts) as runtime:
        handle = await runtime.start(spec, **given)
        result = await handle.wait()
        return result, [event async for _, event in handle.events()]


async def performed(task: Mapping[str, Any], **more: Any) -> tuple[Any, Mapping[str, Any]]:
    """The output of a run's only task, and the record of its attempt."""
    result, events = await told(workflow({"a": task}), **more)
    assert result.status == "success", result.error
    (ended,) = (event for event in events if isinstance(event, AttemptSucceeded))
    return result.tasks["a"].output, ended.record


async def failed(task: Mapping[str, Any], **more: Any) -> AttemptFailed:
    """How the only attempt of a run's only task failed."""
    result, events = await told(workflow({"a": task}), **more)
    assert result.status == "failed"
    (ended,) = (event for event in events if isinstance(event, AttemptFailed))
    return ended


def only(sink: ChaosSink) -> Received:
    (request,) = sink.requests
    return request


async def test_a_request_of_a_file_reaches_the_host_that_stands_in_it(sink: ChaosSink, tmp_path: Path):
    sink.answers("/items/7", answer(200, b'{"count": 3, "place": "B"}', JSON))
    spec = loads(
        "name: stock\n"
        "inputs: {item: {type: integer, required: true}}\n"
        "agents:\n"
        f"  shop: {{http: {{url: '{sink.url()}items/{{{{ input.item }}}}', extract: output.count}}}}\n"
        "tasks: {look: {agent: shop}}\n"
        "outputs: {count: '{{ tasks.look.output }}'}\n",
        trust="own",
        folder=tmp_path,
    )

    result, _ = await told(spec, inputs={"item": 7})

    assert (result.status, result.outputs) == ("success", {"count": 3})
    assert (only(sink).method, only(sink).target) == ("GET", "/items/7")


async def test_what_the_definition_says_is_what_is_sent(sink: ChaosSink):
    task = asks(
        sink,
        "/x?a=1",
        method="PATCH",
        headers={"X-One": "é", "X-Two": 2},
        query={"q": "a b&c", "id": [1, 2], "city": "{{ input.city }}"},
        json={"n": 1, "text": "ü {{ input.city }}"},
    )

    await performed(task, inputs={"city": "Zürich"})

    request = only(sink)
    assert (request.method, request.target) == ("PATCH", "/x?a=1&q=a%20b%26c&id=1&id=2&city=Z%C3%BCrich")
    assert (request.header("x-one"), request.header("x-two")) == ("é", "2")
    assert json.loads(request.body) == {"n": 1, "text": "ü Zürich"}
    assert request.header("content-type") == "application/json"


BODIES = [
    ({"method": "POST", "body": "a=ü"}, "a=ü".encode(), "text/plain; charset=utf-8"),
    ({"method": "POST", "body": "a=1", "headers": {"content-type": "application/x-www-form-urlencoded"}}, b"a=1", "application/x-www-form-urlencoded"),
    ({"method": "POST", "body": ""}, b"", "text/plain; charset=utf-8"),
    ({"method": "PUT", "json": None}, b"null", "application/json"),
    ({"method": "POST", "json": "{{ input }}"}, b'{"n":[1]}', "application/json"),
    ({"method": "POST", "json": 1, "headers": {"Content-Type": "application/vnd.api+json"}}, b"1", "application/vnd.api+json"),
]  # fmt: skip


@pytest.mark.parametrize(("http", "body", "kind"), BODIES)
async def test_a_body_has_a_type_of_its_own_or_that_of_the_file(
    sink: ChaosSink, http: dict[str, Any], body: bytes, kind: str
):
    await performed(asks(sink, **http), inputs={"n": [1]})

    request = only(sink)
    assert (request.body, [value for name, value in request.headers if name == "content-type"]) == (
        body,
        [kind],
    )


async def test_an_answer_that_is_a_head_alone_has_no_output(sink: ChaosSink):
    sink.answers("/x", raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"))

    assert (await performed(asks(sink, method="HEAD")))[0] is None


async def test_without_a_body_there_is_no_type_of_one(sink: ChaosSink):
    output, _ = await performed(asks(sink, method="DELETE"))

    assert output is None
    assert (only(sink).body, only(sink).header("content-type")) == (b"", None)


async def test_the_record_has_what_became_of_the_request_without_its_query(sink: ChaosSink):
    sink.answers("/x", redirect("/y?token=abc"))
    sink.answers("/y", answer(203, b"hello", ("Content-Type", "text/plain")))

    output, record = await performed(asks(sink, "/x?key=abc"))

    assert output == "hello"
    assert record.keys() == {"http_status", "target", "duration_s", "redirects"}
    assert (record["http_status"], record["target"]) == (203, sink.url("/x"))
    assert 0 < record["duration_s"] < 60
    assert len(record["redirects"]) == 1
    assert "abc" not in str(record)


PROOFS = [
    ({"bearer": "${API_TOKEN}"}, "authorization", f"Bearer {TOKEN}"),
    ({"basic": {"username": "me", "password": "${API_TOKEN}"}}, "authorization", "Basic " + base64.b64encode(f"me:{TOKEN}".encode()).decode()),
    ({"api_key": {"header": "X-Shop", "value": "k-${API_TOKEN}"}}, "x-shop", f"k-{TOKEN}"),
]  # fmt: skip


@pytest.mark.parametrize(("auth", "header", "value"), PROOFS)
async def test_who_asks_is_told_to_the_receiver_and_to_nobody_else(
    sink: ChaosSink, monkeypatch: pytest.MonkeyPatch, auth: dict[str, Any], header: str, value: str
):
    monkeypatch.setenv("API_TOKEN", TOKEN)
    echo = f"you are {value}".encode()
    sink.answers("/x", answer(401, echo), answer(200, echo, ("Content-Type", "text/plain")))
    task = asks(sink, auth=auth, headers={header.title(): "${API_TOKEN}", "X-Own": "${API_TOKEN}"})

    result, events = await told(workflow({"a": {**task, "retry": {"max_attempts": 2, "delay": "1ms"}}}))

    assert result.tasks["a"].output in {
        "you are Bearer ***",
        "you are Basic bWU6***",
        "you are k-***",
        "you are ***",
    }
    sent = [[value for name, value in request.headers if name == header] for request in sink.requests]
    assert sent == [[value]] * 2
    assert value.rpartition(" ")[2] not in str(events)
    assert TOKEN not in f"{events} {result}"


async def test_a_secret_in_the_address_is_in_no_record_and_no_failure(
    sink: ChaosSink, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("API_TOKEN", TOKEN)
    monkeypatch.setenv("SHOP_URL", sink.url("/shop"))
    sink.answers(f"/shop/{TOKEN}", answer(500, f"no {TOKEN} here".encode()), answer(200, TOKEN.encode()))
    task = {
        "http": {
            "url": "${SHOP_URL}/${API_TOKEN}",
            "query": {"key": "${API_TOKEN}"},
            "method": "POST",
            "json": ["${API_TOKEN}"],
        }
    }

    result, events = await told(
        workflow({"a": {**task, "retry": {"max_attempts": 2, "delay": "1ms"}}}), allow_hosts=(sink.url(),)
    )

    assert [request.target for request in sink.requests] == [f"/shop/{TOKEN}?key={TOKEN}"] * 2
    assert json.loads(sink.requests[0].body) == [TOKEN]
    assert result.tasks["a"].output == "***"
    assert TOKEN not in f"{events} {result}"
    assert sink.url("/shop") not in f"{events} {result}"


async def test_a_secret_that_is_gone_when_it_is_used_fails_the_attempt_before_anything_is_sent(
    sink: ChaosSink, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("API_TOKEN", TOKEN)
    spec = workflow(
        {
            "first": {"agent": "gone"},
            "a": {**asks(sink, auth={"bearer": "${API_TOKEN}"}), "depends_on": ["first"]},
        }
    )

    async with Runtime(
        store="memory:", agents={"gone": lambda _: monkeypatch.delenv("API_TOKEN")}
    ) as runtime:
        result = await runtime.run(spec)

    assert result.error is not None
    assert (result.error["type"], "API_TOKEN is not set" in result.error["message"]) == ("environment", True)
    assert sink.connections() == 0


async def test_every_attempt_of_a_task_has_the_same_idempotency_key(sink: ChaosSink):
    sink.answers("/x", answer(500), answer(503), answer(500), answer(200))
    agents = {name: asks(sink, method="POST") for name in ("bank", "other")}
    task = {
        "agent": "bank",
        "retry": {"max_attempts": 2, "delay": "1ms"},
        "on_error": {"fallback_agent": "other"},
    }

    result, _ = await told(workflow({"a": {**task}}, agents=agents))

    assert (result.status, result.tasks["a"].attempts, result.tasks["a"].agent) == ("success", 4, "other")
    assert {request.header("idempotency-key") for request in sink.requests} == {f"{result.run_id}/a/1"}


async def test_the_key_of_the_file_comes_before_ours(sink: ChaosSink):
    await performed(asks(sink, headers={"idempotency-KEY": "order-{{ input.id }}"}), inputs={"id": 7})

    assert [value for name, value in only(sink).headers if name == "idempotency-key"] == ["order-7"]


EXPECTED = [((), 200), ((), 299), (404, 404), ([200, 409], 409), (304, 304), (302, 302)]


@pytest.mark.parametrize(("expect", "status"), EXPECTED)
async def test_a_status_that_is_expected_is_a_success(sink: ChaosSink, expect: Any, status: int):
    sink.answers("/x", answer(status, b"" if status == 304 else b"ok", ("Location", "/y")))

    _, record = await performed(asks(sink, **({"expect_status": expect} if expect else {})))

    assert record["http_status"] == status
    assert [request.path for request in sink.requests] == ["/x"]


async def test_any_other_status_is_a_failure_that_says_what_was_answered(sink: ChaosSink):
    sink.answers("/x", answer(409, b"  sold out\nsince May  "))

    ended = await failed(asks(sink, "/x?key=abc", method="POST"))

    message = f"POST {sink.url('/x')} answered 409 Conflict: sold out since May"
    assert (ended.failure.type, ended.failure.message) == ("http_status", message)
    assert ended.failure.detail == {"http_status": 409, "body": "  sold out\nsince May  "}


async def test_a_success_that_was_not_expected_is_a_failure(sink: ChaosSink):
    sink.answers("/x", answer(200, b"ok"))

    assert (await failed(asks(sink, expect_status=201))).failure.detail["http_status"] == 200


async def test_statuses_choose_what_is_tried_again(sink: ChaosSink):
    sink.answers("/x", answer(503), answer(500), answer(404), answer(200))
    task = {**asks(sink), "retry": {"max_attempts": 9, "delay": "1ms", "retry_on": [500, 503]}}

    result, _ = await told(workflow({"a": task}))

    assert (result.status, result.tasks["a"].attempts) == ("failed", 3)
    assert result.error is not None
    assert "404 Not Found" in result.error["message"]


async def test_who_is_busy_is_left_alone_for_as_long_as_it_asks_up_to_the_longest_delay(sink: ChaosSink):
    sink.answers("/x", retry_after("86400"), answer(200))
    retry = {"max_attempts": 2, "delay": "1ms", "max_delay": "120ms", "jitter": "none"}

    result, events = await told(workflow({"a": {**asks(sink), "retry": retry}}))

    (busy,) = (event for event in events if isinstance(event, AttemptFailed))
    (again,) = (event for event in events if isinstance(event, RetryScheduled))
    assert result.status == "success"
    assert busy.failure.detail == {"http_status": 429, "retry_after_s": 86400.0}
    assert again.due_at - again.at == pytest.approx(0.12)


async def test_a_status_that_asks_to_come_back_at_once_does_not_make_a_wait_shorter(sink: ChaosSink):
    sink.answers("/x", retry_after("0", 503), answer(200))

    _, events = await told(
        workflow({"a": {**asks(sink), "retry": {"max_attempts": 2, "delay": "20ms", "jitter": "none"}}})
    )

    (again,) = (event for event in events if isinstance(event, RetryScheduled))
    assert again.due_at - again.at == pytest.approx(0.02)


async def test_a_redirect_is_followed_as_browsers_do(sink: ChaosSink):
    ways = {
        301: ("GET", b""),
        302: ("GET", b""),
        303: ("GET", b""),
        307: ("POST", b"hi"),
        308: ("POST", b"hi"),
    }
    for status in ways:
        sink.answers(f"/{status}", redirect(f"/to/{status}", status))
    sink.answers("/to", answer(200))

    spec = workflow({f"t{status}": asks(sink, f"/{status}", method="POST", body="hi") for status in ways})
    result, _ = await told(spec)

    assert result.status == "success"
    arrived = {
        request.path: (request.method, request.body) for request in sink.requests if "/to/" in request.path
    }
    assert arrived == {f"/to/{status}": way for status, way in ways.items()}


async def test_redirects_that_do_not_end_are_refused(sink: ChaosSink):
    sink.answers("/x", redirect("/y"))
    sink.answers("/y", redirect("/x"))

    ended = await failed(asks(sink))

    assert (ended.failure.type, ended.failure.detail) == ("not_allowed", {"code": "E446"})
    assert len(sink.requests) == 6


async def test_a_redirect_to_what_is_not_allowed_is_refused_before_it_is_dialled(
    sink: ChaosSink, elsewhere: ChaosSink
):
    sink.answers("/x", redirect(elsewhere.url("/stolen")))

    ended = await failed(asks(sink))

    assert (ended.failure.type, ended.failure.detail) == ("not_allowed", {"code": "E444"})
    assert f"--allow-host {elsewhere.url('')}" in ended.failure.message
    assert elsewhere.connections() == 0


async def test_what_says_who_asks_is_not_sent_on_to_another_origin(
    sink: ChaosSink, elsewhere: ChaosSink, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("API_TOKEN", TOKEN)
    sink.answers("/x", redirect("/near"))
    sink.answers("/near", redirect(elsewhere.url("/far")))
    headers = {"Cookie": "a=${API_TOKEN}", "X-Secret": "{{ input.of }} ${API_TOKEN}", "X-Plain": "plain"}
    proofs = [{"bearer": "${API_TOKEN}"}, {"api_key": {"header": "X-Shop-Key", "value": "${API_TOKEN}"}}]

    for auth in proofs:
        await performed(
            asks(sink, headers=headers, auth=auth), inputs={"of": "of"}, allow_hosts=(elsewhere.url(),)
        )

    assert all(TOKEN in str(request.headers) for request in sink.requests)
    assert [request.path for request in sink.requests] == ["/x", "/near"] * 2
    assert [request.header("x-plain") for request in elsewhere.requests] == ["plain"] * 2
    assert TOKEN not in str(elsewhere.requests)


async def test_a_host_from_a_template_is_refused_without_a_list_and_reached_with_one(sink: ChaosSink):
    task = {"http": {"url": "http://{{ input.host }}/x"}}
    host = sink.url("").removeprefix("http://")

    ended = await failed(task, inputs={"host": host})

    assert (ended.failure.type, ended.failure.detail) == ("not_allowed", {"code": "E444"})
    assert f"--allow-host http://{host}" in ended.failure.message
    assert sink.connections() == 0
    await performed(task, inputs={"host": host}, allow_hosts=(f"http://{host}",))
    assert only(sink).path == "/x"


async def test_a_port_from_a_template_does_not_count_as_written(sink: ChaosSink):
    task = {"http": {"url": "http://127.0.0.1{{ input.port }}/x"}}

    ended = await failed(task, inputs={"port": f":{sink.port}"})

    assert ended.failure.detail == {"code": "E444"}
    assert sink.connections() == 0


async def test_the_host_of_one_agent_is_not_allowed_for_another(sink: ChaosSink):
    agents = {"near": asks(sink, "/near"), "free": {"http": {"url": "{{ task.input.url }}"}}}
    tasks = {
        "a": {"agent": "near"},
        "b": {"agent": "free", "with": {"url": sink.url("/free")}, "depends_on": ["a"]},
    }

    result, _ = await told(workflow(tasks, agents=agents))

    assert (result.tasks["a"].status, result.tasks["b"].status) == ("success", "failed")
    assert only(sink).path == "/near"


async def test_what_stands_in_a_definition_that_is_data_allows_nothing(sink: ChaosSink):
    definition = {"name": "w", "tasks": {"a": asks(sink)}}
    spec = load_dict(definition, trust="data", may_reach=True)

    result, _ = await told(spec)

    assert result.error is not None
    assert (result.error["type"], result.error["message"][:4]) == ("not_allowed", "E444")
    assert sink.connections() == 0
    result, _ = await told(spec, allow_hosts=(sink.url(),))
    assert (result.status, only(sink).path) == ("success", "/x")
    with pytest.raises(SpecError) as caught:
        load_dict(definition, trust="data")
    assert caught.value.code == "E206"


async def test_a_value_that_would_break_out_of_its_header_is_refused(sink: ChaosSink):
    ended = await failed(asks(sink, headers={"X-A": "{{ input.a }}"}), inputs={"a": "1\r\nX-B: 2"})

    assert (ended.failure.type, ended.failure.detail) == ("not_allowed", {"code": "E447"})
    assert sink.requests == []


FAULTS: list[tuple[str, Act, str]] = [
    ("a reset before the head", reset(), "protocol"),
    ("a reset in the body", reset(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"), "protocol"),
    ("a body that is too short", promised(9, b"ab"), "protocol"),
    ("nothing of HTTP", raw(b"hello\r\n\r\n"), "protocol"),
    ("a body without an end", endless(), "too_large"),
    ("a bomb", gzip_bomb(64 * 2**20), "too_large"),
]


@pytest.mark.parametrize(("act", "kind"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
async def test_an_answer_that_does_not_come_whole_fails_the_attempt_by_its_kind(
    sink: ChaosSink, act: Act, kind: str
):
    sink.answers("/x", act, answer(200, b"now"))

    result, events = await told(
        workflow({"a": {**asks(sink, method="POST"), "retry": {"max_attempts": 2, "delay": "1ms"}}})
    )

    (ended,) = (event for event in events if isinstance(event, AttemptFailed))
    assert (ended.failure.type, ended.failure.detail) == (kind, {"was_sent": True})
    assert result.tasks["a"].output == "now"


async def test_a_host_that_nobody_serves_fails_the_attempt_before_anything_was_sent():
    with ChaosSink() as gone:
        task = asks(gone)

    ended = await failed(task)

    assert (ended.failure.type, ended.failure.detail) == ("connect", {"was_sent": False})


async def test_a_host_that_cannot_show_who_it_is_gets_no_request():
    with ChaosSink(tls="unknown") as stranger:
        ended = await failed(asks(stranger, body="secret", method="POST"))

    assert (ended.failure.type, ended.failure.detail) == ("tls", {"was_sent": False})
    assert stranger.requests == []


async def test_the_timeout_of_an_attempt_ends_its_request(sink: ChaosSink):
    sink.answers("/x", silence(), answer(200, b"late"))
    task = {**asks(sink), "timeout": "200ms", "retry": {"max_attempts": 2, "delay": "1ms"}}

    result, events = await told(workflow({"a": task}))

    (ended,) = (event for event in events if isinstance(event, AttemptTimedOut))
    assert (ended.failure.type, result.tasks["a"].output) == ("timeout", "late")
    with anyio.fail_after(5):
        while sink.open_connections:
            await anyio.lowlevel.checkpoint()


async def test_an_agent_that_the_program_binds_is_asked_in_place_of_the_request(sink: ChaosSink):
    seen: list[AgentCall] = []
    spec = workflow(
        {"a": {"agent": "shop"}},
        agents={"shop": asks(sink, auth={"bearer": "{{ secrets.t }}"})},
        secrets={"t": {"env": "PATH"}},
    )

    async with Runtime(store="memory:", agents={"shop": seen.append}) as runtime:
        result = await runtime.run(spec)

    assert (result.status, seen[0].http, sink.connections()) == ("success", None, 0)


async def test_what_a_sensitive_task_was_answered_is_not_quoted(sink: ChaosSink):
    sink.answers("/x", answer(500, b"Mrs Smith"))

    ended = await failed({**asks(sink), "sensitive": True})

    assert ended.failure.detail == {"http_status": 500}
    assert ended.failure.message == f"GET {sink.url('/x')} answered 500 Internal Server Error"


async def test_an_answer_that_speaks_of_an_error_is_one_where_the_task_says_so(sink: ChaosSink):
    sink.answers("/x", answer(200, b'{"error": "sold out"}', JSON))

    ended = await failed({**asks(sink), "soft_errors": True})

    assert (ended.failure.type, ended.failure.detail["http_status"]) == ("soft_error", 200)


async def test_the_timeout_of_an_attempt_does_not_pay_for_the_loading_of_the_client(
    sink: ChaosSink, monkeypatch: pytest.MonkeyPatch
):
    """The first request of a process loads the library and the certificates, which takes hundreds of milliseconds."""
    loading = client._prepared
    loaded: list[bool] = []

    def noted() -> Any:
        loaded.append(True)
        return loading()

    monkeypatch.setattr(client, "_prepared", noted)
    async with Runtime(store="memory:") as runtime:
        handle = await runtime.start(workflow({"a": {"http": {"url": sink.url("/")}, "sleep": "1h"}}))
        assert loaded == [True]  # though nothing has been asked for yet
        handle.cancel()
    assert sink.connections() == 0
