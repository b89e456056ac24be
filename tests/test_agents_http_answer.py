"""What an HTTP answer says: its output by its type, the part that is extracted, and how a failed one is told."""

from __future__ import annotations

from typing import Any

import pytest

from actorflow.agents.call import AgentCall, AgentFailed
from actorflow.agents.http_answer import LONGEST_BODY_KEPT, output_of, unexpected_status
from actorflow.agents.process_output import READ_IN_PLACE
from actorflow.core.http_call import Extract, HttpCall
from actorflow.expression import compile_expression
from actorflow.http.exchange import HttpAnswer
from actorflow.secrecy.hiding import hiding_of

pytestmark = pytest.mark.anyio

CALL = AgentCall(input={}, task="a", run_id="r")
SECRET = "s3cret-canary"
SECRETIVE = AgentCall(input={}, task="a", run_id="r", hiding=hiding_of([SECRET]))
JSON = "application/json"


def request(extract: str = "", **facts: Any) -> HttpCall[str]:
    part = Extract(compile_expression(extract), {"input": {"n": 1}}) if extract else None
    empty: dict[str, Any] = {"headers": {}, "query": (), "body": None, "json": None, "auth": {}}
    return HttpCall(url="https://x.example", **empty, secret_headers=frozenset(), extract=part, **facts)


def answer(body: bytes | str, kind: str = JSON, status: int = 200, **facts: Any) -> HttpAnswer:
    headers = {"content-type": kind} if kind else {}
    return HttpAnswer(
        status=status, headers=headers, body=body.encode() if isinstance(body, str) else body, **facts
    )


OUTPUTS = [
    ('{"a": [1, 2.5, null, true, "ü"]}', JSON, {"a": [1, 2.5, None, True, "ü"]}),
    (' "text"\n', "application/json; charset=utf-8", "text"),
    ("[1]", "Application/JSON", [1]),
    ("[1]", "application/problem+json", [1]),
    ("[1]", "application/vnd.api+json;version=1", [1]),
    ("[1]", "text/json", [1]),
    ("\ufeff[1]", JSON, [1]),
    ('["ü"]'.encode("utf-16"), JSON, ["ü"]),
    ("[1]", "text/plain", "[1]"),
    ("[1]", "application/jsonp", "[1]"),
    ("[1]", "text/html; x=application/json", "[1]"),
    ("[1]", "", "[1]"),
    (" as it is \n", "text/plain", " as it is \n"),
    (b"\xfc\xff", "text/plain", "\ufffd\ufffd"),
    ("ü".encode("latin-1"), "text/plain; charset=ISO-8859-1", "ü"),
    ("€".encode("cp1252"), 'text/plain; Charset="windows-1252"', "€"),
    ("日本".encode("shift_jis"), "text/html; charset=Shift_JIS", "日本"),
    ("ü", "text/plain; charset=klingon", "ü"),
    ("ü", "text/plain; charset=hex", "ü"),
    ("ab-", "text/plain; charset=punycode", "ab-"),
    (b"", JSON, None),
    (b"", "text/plain", None),
    ("0", JSON, 0),
]


@pytest.mark.parametrize(("body", "kind", "output"), OUTPUTS)
async def test_a_body_is_json_where_it_says_so_and_else_text(body: bytes | str, kind: str, output: Any):
    assert await output_of(CALL, request(), answer(body, kind)) == output


async def test_a_large_answer_is_read_like_a_small_one():
    count = READ_IN_PLACE // 2

    assert await output_of(CALL, request("output | length"), answer(f"[{'1,' * count}1]")) == count + 1
    assert await output_of(CALL, request(), answer("x" * 2 * count, "text/plain")) == "x" * 2 * count


NO_JSON = [
    ("{", "Expecting property name"),
    ("[1] [2]", "Extra data"),
    ("NaN", "NaN is not JSON"),
    ("[-Infinity]", "-Infinity is not JSON"),
    (b'["\xff"]', "it is not UTF-8"),
    ("[" * 100_000, "it is nested too deep"),
    ("9" * 5_000, "Exceeds the limit"),
    ("<html>" + SECRET, "Expecting value"),
]


@pytest.mark.parametrize(("body", "why"), NO_JSON, ids=[why for _, why in NO_JSON])
async def test_json_that_is_none_is_a_failure_that_does_not_quote_it(body: bytes | str, why: str):
    with pytest.raises(AgentFailed) as caught:
        await output_of(CALL, request(), answer(body))

    assert caught.value.type == "output"
    assert caught.value.message.startswith("the answer should be JSON, and is not: ")
    assert why in caught.value.message
    assert SECRET not in caught.value.message
    assert caught.value.detail == {"http_status": 200}


async def test_json_that_is_nested_deeper_than_secrets_can_be_looked_for_is_a_failure():
    with pytest.raises(AgentFailed, match="nested too deep") as caught:
        await output_of(SECRETIVE, request(), answer("[" * 950 + "]" * 950))

    assert caught.value.type == "output"


async def test_extract_takes_a_part_of_the_answer():
    assert await output_of(CALL, request("output.items[1]"), answer('{"items": [1, {"a": 2}]}')) == {"a": 2}
    assert await output_of(CALL, request("output ~ input.n"), answer("v", "text/plain")) == "v1"
    assert await output_of(CALL, request("output == null"), answer(b"", "")) is True


async def test_an_extract_that_the_answer_does_not_have_says_what_it_has():
    with pytest.raises(AgentFailed, match=r"extract: .*has no 'count'.*total") as caught:
        await output_of(CALL, request("output.count"), answer('{"total": 3}'))

    assert (caught.value.type, caught.value.detail) == ("expression", {"http_status": 200})


async def test_of_a_sensitive_answer_no_failure_quotes_anything():
    http = request("output.count", is_quotable=False)
    failed = unexpected_status(CALL, http, "GET x", answer("Mrs Smith owes 7", status=500))

    with pytest.raises(AgentFailed, match="extract: the answer does not have it") as caught:
        await output_of(CALL, http, answer('{"Mrs Smith": 3}'))

    assert "Smith" not in f"{caught.value.message} {caught.value.detail} {failed.message} {failed.detail}"
    assert failed.detail == {"http_status": 500}


async def test_a_secret_is_hidden_before_an_expression_may_take_it_apart():
    assert await output_of(SECRETIVE, request("output[0] | upper"), answer(f'["{SECRET}"]')) == "***"


STATUSES = [
    (404, "no such thing\n", "GET x answered 404 Not Found: no such thing"),
    (503, "", "GET x answered 503 Service Unavailable"),
    (599, " \n ", "GET x answered 599"),
    (302, "moved", "GET x answered 302 Found: moved"),
    (400, '{\n  "error": "no id"\n}', 'GET x answered 400 Bad Request: { "error": "no id" }'),
    (500, "a" * 300, f"GET x answered 500 Internal Server Error: {'a' * 199}…"),
]


@pytest.mark.parametrize(("status", "body", "message"), STATUSES)
def test_a_status_that_is_not_expected_is_told_with_what_the_answer_says(
    status: int, body: str, message: str
):
    failed = unexpected_status(CALL, request(), "GET x", answer(body, "text/plain", status))

    assert (failed.type, failed.message) == ("http_status", message)
    assert failed.detail == {"http_status": status, **({"body": body} if body else {})}


def test_the_beginning_of_the_body_is_kept_without_a_part_of_a_secret_at_its_end():
    for before in range(LONGEST_BODY_KEPT - len(SECRET), LONGEST_BODY_KEPT + 1):
        failed = unexpected_status(
            SECRETIVE, request(), "GET x", answer("x" * before + SECRET + "y" * 9, "", 500)
        )
        assert failed.detail["body"] == ("x" * before + "***" + "y" * 9)[:LONGEST_BODY_KEPT]

    failed = unexpected_status(CALL, request(), "GET x", answer("ü" * LONGEST_BODY_KEPT, "", 500))
    assert failed.detail["body"] == "ü" * (LONGEST_BODY_KEPT // 2)


def test_only_who_is_busy_may_ask_to_be_left_alone():
    waits = {
        status: unexpected_status(CALL, request(), "x", answer(b"", "", status, retry_after_s=7.0)).detail
        for status in (429, 503, 500, 302, 404)
    }

    assert {status: detail.get("retry_after_s") for status, detail in waits.items()} == {
        429: 7.0, 503: 7.0, 500: None, 302: None, 404: None
    }  # fmt: skip
