"""The request of an attempt, from templates to what is sent: rendered without a value of a secret, opened with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from actorflow.core.http_call import HttpCall
from actorflow.core.plan import plan_of
from actorflow.core.texts import Text
from actorflow.errors import ExpressionError
from actorflow.expression import Sealed, SecretName
from actorflow.spec import WorkflowSpec, load_dict
from tests.scripted import ScriptedRun

URL = "https://shop.example/items"
TOKEN = SecretName("env", "SHOP_TOKEN")
VALUES = {"SHOP_TOKEN": "t0ken", "shop": "s3cret"}


def workflow(http: Mapping[str, Any], **task: Any) -> WorkflowSpec:
    tasks = {"first": {"agent": "x"}, "ask": {"http": {"url": URL, **http}, "depends_on": ["first"], **task}}
    return load_dict({"name": "w", "secrets": {"shop": {"file": "key"}}, "tasks": tasks}, trust="own")


def rendered(http: Mapping[str, Any], output: Any = None, **task: Any) -> HttpCall[Text]:
    """The request of a task whose predecessor gave this output, in a run whose inputs are a number and a text."""
    run = ScriptedRun(workflow(http, **task), lambda start: output, inputs={"n": 7, "city": "Bern & more"})
    run.finish()
    call = run.starts[-1].http
    assert call is not None
    return call


def failure_of(http: Mapping[str, Any], output: Any = None) -> tuple[int, str, str]:
    """How often a request was started that cannot be rendered, and what its task's failure says."""
    run = ScriptedRun(workflow(http), lambda start: output)
    run.finish()
    failure = run.state.task("ask").failure
    assert failure is not None
    return len(run.starts) - 1, failure.type, failure.message


def test_all_that_is_sent_is_rendered_from_what_the_task_may_read():
    call = rendered(
        {
            "url": URL + "/{{ tasks.first.output.id }}",
            "headers": {
                "X-City": "{{ input.city }}",
                "X-Number": 3,
                "X-None": "{{ tasks.first.output.none }}",
            },
            "query": {
                "n": "{{ input.n }}",
                "field": ["count", "{{ tasks.first.output.id }}"],
                "ok": "{{ input.n > 1 }}",
            },
            "json": {"city": "{{ input.city }}", "n": ["{{ input.n }}"]},
        },
        {"id": "a1", "none": None},
    )

    assert call.url == URL + "/a1"
    assert call.headers == {"X-City": "Bern & more", "X-Number": "3", "X-None": ""}
    assert call.query == (("n", "7"), ("field", "count"), ("field", "a1"), ("ok", "true"))
    assert (call.json, call.body) == ({"city": "Bern & more", "n": [7]}, None)
    assert call.is_quotable


def test_the_items_of_a_list_that_a_query_is_rendered_to_are_parameters_each():
    call = rendered({"query": {"id": "{{ tasks.first.output }}"}}, ["a", 2])

    assert call.query == (("id", "a"), ("id", "2"))


def test_a_body_is_text_and_no_json():
    call = rendered({"method": "PUT", "body": "city={{ input.city }}"})

    assert (call.body, call.json) == ("city=Bern & more", None)


def test_an_attempt_of_anything_else_has_no_request():
    run = ScriptedRun(workflow({}))
    run.finish()

    assert run.starts[0].http is None


def test_a_request_holds_names_of_secrets_until_it_is_opened():
    call = rendered(
        {
            "url": URL + "/${SHOP_TOKEN}",
            "headers": {"X-Key": "k ${SHOP_TOKEN}", "X-Plain": "plain"},
            "query": {"key": "{{ secrets.shop }}"},
            "json": [{"deep": "{{ secrets.shop }}"}],
            "auth": {"basic": {"username": "me", "password": "${SHOP_TOKEN}"}},
        }
    )

    assert call.url == Sealed((URL + "/", TOKEN))
    assert call.secret_headers == {"x-key"}
    assert not any(value in repr(call) for value in (*VALUES, *VALUES.values(), "plain"))
    opened = call.opened(lambda name: VALUES[name.name])
    assert opened.url == URL + "/t0ken"
    assert opened.headers == {"X-Key": "k t0ken", "X-Plain": "plain"}
    assert opened.query == (("key", "s3cret"),)
    assert opened.json == [{"deep": "s3cret"}]
    assert opened.auth == {"username": "me", "password": "t0ken"}
    assert opened.secret_headers == call.secret_headers


def test_the_secrets_of_requests_are_wanted_before_a_run_begins():
    http = {"auth": {"bearer": "${SHOP_TOKEN}"}, "body": "{{ secrets.shop }}"}

    assert set(plan_of(workflow(http)).secret_names) == {TOKEN, SecretName("secret", "shop")}


def test_a_task_that_only_extract_reads_is_kept_for_it():
    call = rendered({"extract": "output.count + tasks.first.output.more + input.n"}, {"more": 10})

    assert call.extract is not None
    assert call.extract.of({"count": 1}) == 18
    with pytest.raises(ExpressionError, match="has no 'count'"):
        call.extract.of({})


def test_an_agent_renders_its_request_with_the_input_of_the_task_at_hand():
    http = {"url": URL, "query": {"id": "{{ task.input.id }}"}, "extract": "output[task.input.id]"}
    tasks = {name: {"agent": "shop", "with": {"id": name}} for name in ("a", "b")}
    run = ScriptedRun(load_dict({"agents": {"shop": {"http": http}}, "tasks": tasks}, trust="own"))
    run.finish()

    calls = [start.http for start in run.starts]
    assert [call.query for call in calls if call is not None] == [(("id", "a"),), (("id", "b"),)]
    assert [call.extract.of({"a": 1, "b": 2}) for call in calls if call and call.extract] == [1, 2]


def test_the_answer_to_a_sensitive_task_is_not_to_be_quoted():
    assert not rendered({}, sensitive=True).is_quotable


UNSENDABLE = [
    ({"url": "{{ tasks.first.output }}"}, "http.url is a dict, not text"),
    ({"headers": {"X-A": "{{ tasks.first.output }}"}}, "http.headers.X-A is a dict, not text"),
    ({"query": {"q": "{{ tasks.first.output }}"}}, "http.query.q is a dict, not text"),
    ({"query": {"q": "{{ [[1]] }}"}}, "http.query.q is a list, not text"),
    ({"body": "{{ tasks.first.output }}"}, "http.body is a dict, not text"),
    ({"url": URL + "/{{ tasks.first.output.id }}"}, "has no 'id'"),
]


@pytest.mark.parametrize(("http", "message"), UNSENDABLE)
def test_a_request_that_cannot_be_rendered_fails_its_task_without_an_attempt(
    http: dict[str, Any], message: str
):
    started, kind, told = failure_of(http, {})

    assert (started, kind) == (0, "expression")
    assert message in told
