"""What requests and deliveries tell whoever looks: refusals with a flag that can be typed, targets, reasons, the same bytes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from chaos_sink import ChaosSink, answer, redirect, silence

from actorflow import Runtime, loads
from actorflow.cli import main
from actorflow.egress.allowed import parse_allowed
from actorflow.egress.guard import Guard
from actorflow.egress.refusals import EgressRefused
from actorflow.egress.telling import refusal_text
from actorflow.secrecy.hiding import hiding_of

pytestmark = pytest.mark.anyio

Capture = pytest.CaptureFixture[str]

GIVEN_UP = """
name: order
hooks:
  task_finished:
    - {type: webhook, params: {url: "${BASE}/a", body: {b: 1, a: 2}}}
    - {type: webhook, params: {url: "${BASE}/b"}}
tasks: {ship: {agent: x}, bill: {agent: x}}
"""

NOTICE = """
name: told
hooks:
  task_finished:
    - type: notify
      params: {message: m, title: t, channels: [{type: webhook, url: "${BASE}/n"}]}
tasks: {ship: {agent: x}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTORFLOW_STORE", str(tmp_path / "runs.db"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("ACTORFLOW_ALLOW_HOSTS", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "order.yaml").write_text(GIVEN_UP)
    (tmp_path / "told.yaml").write_text(NOTICE)
    return tmp_path


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Generator[ChaosSink]:
    """A receiver, whose origin a variable holds."""
    with ChaosSink() as sink:
        monkeypatch.setenv("BASE", origin(sink))
        yield sink


def origin(sink: ChaosSink) -> str:
    return sink.url("").rstrip("/")


def agent(http: Mapping[str, Any]) -> Any:
    return loads(json.dumps({"tasks": {"t": {"http": http, "retry": 0}}}), trust="own")


async def failure_of(http: Mapping[str, Any], *allowed: str) -> str:
    async with Runtime(store="memory:", allow_hosts=allowed) as runtime:
        result = await runtime.run(agent(http))
    error = result.tasks["t"].error
    assert error is not None
    return f"{error['type']}: {error['message']}"


# The same bytes


async def test_a_delivery_has_the_same_bytes_from_the_pinned_definition_as_from_the_first_process(
    sink: ChaosSink, tmp_path: Path
):
    sink.answers("/a", silence(), answer(200))
    body = {
        "zeta": "{{ task.id }}",
        "run": {"z": 1, "b": "{{ workflow.run_id }}"},
        "alpha": [1, {"y": 1, "x": 2}],
    }
    hook = {"type": "webhook", "params": {"url": sink.url("/a"), "body": body}}
    text = json.dumps({"hooks": {"task_finished": [hook]}, "tasks": {"t": {"agent": "x"}}})
    store, hosts = f"sqlite:///{tmp_path / 'w.db'}", [origin(sink)]
    async with Runtime(
        store=store, agents={"x": lambda call: 1}, allow_hosts=hosts, drain_timeout_s=1.0
    ) as first:
        result = await first.run(loads(text, trust="own"))
    assert result.hooks.pending == 1
    async with Runtime(store=store, agents={"x": lambda call: 1}, allow_hosts=hosts) as second:
        drained = await second.drain_hooks(result.run_id, timeout_s=10)

    assert drained.hooks.delivered == 1
    one, other = sink.requests
    assert one.header("webhook-id") == other.header("webhook-id")
    assert one.body == other.body


async def test_an_agent_sends_json_with_its_keys_in_order(sink: ChaosSink):
    sink.answers("/a", answer(200, b"{}"))
    async with Runtime(store="memory:") as runtime:
        await runtime.run(
            agent({"url": sink.url("/a"), "method": "POST", "json": {"b": {"z": 1, "c": 2}, "a": 1}})
        )
    assert [request.body for request in sink.requests] == [b'{"a":1,"b":{"c":2,"z":1}}']


# Refusals

E444 = EgressRefused(
    "E444", "http://10.1.2.3:81 is not allowed", "--allow-host http://10.1.2.3:81 would allow it"
)
E445 = EgressRefused(
    "E445",
    "vm comes to 10.1.2.3, which is private",
    "--allow-host http://10.1.2.3:81 …",
    address="10.1.2.3/32",
)
WITHOUT_HINT = EgressRefused("E441", "the scheme of http://10.1.2.3:81 is not taken")


@pytest.mark.parametrize(
    ("refused", "written", "secret", "told"),
    [
        (E444, "http://10.1.2.3:81/x", "another", str(E444)),
        (
            E444,
            "${BASE}/x",
            "http://10.1.2.3:81",
            'E444 what ${BASE} holds is not allowed; --allow-host "$BASE" would allow it',
        ),
        (
            E444,
            "http://${HOST}:81/x",
            "10.1.2.3",
            'E444 http://${HOST}:81 is not allowed; --allow-host "http://$HOST:81" would allow it',
        ),
        (
            E444,
            "http://10.1.2.${PART}0/x",
            "10.1.2.3",
            'E444 http://10.1.2.${PART}0 is not allowed; --allow-host "http://10.1.2.${PART}0" would allow it',
        ),
        (E444, "http://{{ secrets.host }}:81/x", "10.1.2.3", "E444 http://***:81 is not allowed"),
        (E444, "http://$(reboot)${HOST}/x", "10.1.2.3", "E444 http://***:81 is not allowed"),
        (
            E445,
            "http://vm:81/x",
            "http://10.1.2.3:81",
            "E445 vm comes to 10.1.2.3, which is private; --allow-host 10.1.2.3/32 would allow it",
        ),
        (WITHOUT_HINT, "${BASE}/x", "http://10.1.2.3:81", "E441 the scheme of *** is not taken"),
    ],
)
def test_a_refusal_names_a_flag_that_can_be_typed_and_no_secret(
    refused: EgressRefused, written: str, secret: str, told: str
):
    assert refusal_text(refused, written, hiding_of([secret]).text) == told


def test_the_address_that_a_refusal_names_allows_it():
    guard = Guard((parse_allowed("http://vm.example.com"),))
    permit = guard.permit("http://vm.example.com/")
    with pytest.raises(EgressRefused) as refused:
        permit.check_address("10.1.2.3", 80)
    lifted = guard.also([parse_allowed(refused.value.address)])
    lifted.permit("http://vm.example.com/").check_address("10.1.2.3", 80)


async def test_a_refused_agent_names_the_variable_that_holds_its_host(sink: ChaosSink):
    told = 'not_allowed: E444 what ${BASE} holds is not allowed; --allow-host "$BASE" would allow it'
    assert await failure_of({"url": "${BASE}/prices"}) == told
    assert sink.connections() == 0


@pytest.mark.parametrize(
    ("to", "told"),
    [
        (
            "http://169.254.169.254/latest?k=v",
            "to http://169.254.169.254/latest: http://169.254.169.254 is not allowed",
        ),
        ("file:///etc/passwd", "to file:///etc/passwd: the scheme 'file' is not taken"),
        (
            "http://other.example.com/x",
            "to http://other.example.com/x: http://other.example.com is not allowed",
        ),
    ],
)
async def test_what_is_refused_behind_a_redirect_says_from_where(to: str, told: str, sink: ChaosSink):
    sink.answers("/moved", redirect(to, 302))
    message = await failure_of({"url": sink.url("/moved?a=1")})
    assert f"redirected by {sink.url('/moved')} {told}" in message
    assert ("--allow-host" in message) == ("other.example.com" in to)


# What is owed, and why


HELD = """
name: order
hooks: {task_finished: [{type: webhook, params: {url: "${BASE}/a"}}]}
tasks: {ship: {agent: x}}
"""


async def _begun_with_what_is_owed(sink: ChaosSink, folder: Path) -> None:
    """A run whose hook's receiver has not answered."""
    sink.answers("/a", silence())
    async with Runtime(
        store=f"sqlite:///{folder / 'runs.db'}",
        agents={"x": lambda call: 1},
        allow_hosts=[origin(sink)],
        drain_timeout_s=1.0,
    ) as runtime:
        result = await (await runtime.start(loads(HELD, trust="own"), run_id="k1")).settled()
    assert (result.status, result.hooks.pending) == ("success", 1)


def test_a_run_whose_deliveries_are_held_ends_with_the_reason_and_the_flag(
    sink: ChaosSink, folder: Path, capsys: Capture
):
    anyio.run(_begun_with_what_is_owed, sink, folder)
    assert main(["resume", "k1"]) == 0
    out, err = capsys.readouterr()
    assert re.search(
        r"  hook task_finished\[0\] is owed \d; .*held: E444 what \${BASE} holds is not allowed", out
    )
    assert 'actorflow hooks drain k1 --allow-host "$BASE"\n' in err
    for words in (["show", "k1"], ["hooks", "list", "k1"]):
        assert main(words) == 0
        out, err = capsys.readouterr()
        assert 'actorflow hooks drain k1 --allow-host "$BASE"\n' in err
    assert "would allow it" not in out.partition("\n\n")[0], "the table has reasons, and the command the flag"

    sink.answers("/a", answer(200))
    assert main(["hooks", "drain", "k1", "--allow-host", origin(sink)]) == 0
    capsys.readouterr()
    assert main(["hooks", "list", "k1", "--json"]) == 0
    hooks = json.loads(capsys.readouterr().out)["hooks"]
    assert [hook["tries"] for hook in hooks] == [1], "what was refused or cut off is no try that was made"
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+/a", hook["target"]) for hook in hooks)


# Trials


def test_each_trial_of_a_hook_has_an_id_of_its_own(sink: ChaosSink, capsys: Capture):
    for _ in range(2):
        words = ["hooks", "test", "order.yaml", "task_finished", "--run", "--allow-host", origin(sink)]
        assert main(words) == 0
    ids = [request.header("webhook-id") or "" for request in sink.requests]
    assert len(set(ids)) == 4
    assert all(re.match(r"test-[0-9a-f]{8}/", name) for name in ids)
    capsys.readouterr()


def test_the_request_of_a_notice_is_shown_as_it_is_sent(sink: ChaosSink, capsys: Capture):
    words = ["hooks", "test", "told.yaml", "task_finished", "--run", "--allow-host", origin(sink), "--json"]
    assert main(words) == 0
    shown = json.loads(capsys.readouterr().out)["hooks"][-1]["request"]["body"]
    (request,) = sink.requests
    assert shown == json.loads(request.body)
    assert shown.keys() == {"title", "message", "priority", "at", "run_id", "workflow", "task", "event"}


# Dead letters


@pytest.fixture
def letters(sink: ChaosSink, capsys: Capture) -> list[str]:
    """The ids of four deliveries that were given up, of two hooks."""
    for path in ("/a", "/b"):
        sink.answers(path, answer(404), answer(404), answer(200))
    assert (
        main(["run", "order.yaml", "--agent", "x=echo", "--run-id", "d1", "--allow-host", origin(sink)]) == 0
    )
    capsys.readouterr()
    assert main(["dead-letters", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["dead_letters"]
    assert {re.sub(r"\d{4,}", "N", each["reason"]) for each in found} == {
        "POST 127.0.0.1:N/a answered 404 Not Found",
        "POST 127.0.0.1:N/b answered 404 Not Found",
    }
    return [each["id"] for each in found]


@pytest.mark.parametrize("is_by_run", [True, False])
def test_several_dead_letters_are_retried_at_once(
    is_by_run: bool, letters: list[str], sink: ChaosSink, capsys: Capture
):
    assert len(letters) == 4
    words = ["--run", "d1"] if is_by_run else letters
    assert main(["dead-letters", "retry", *words, "--allow-host", origin(sink)]) == 0
    assert "d1  4 delivered" in capsys.readouterr().out
    assert main(["dead-letters", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"dead_letters": []}
    assert main(["dead-letters", "retry", "--run", "d1"]) == 0
    assert "no delivery of run d1 was given up" in capsys.readouterr().err


def test_ids_and_a_run_exclude_each_other(letters: list[str], capsys: Capture):
    assert main(["dead-letters", "retry"]) == 64
    assert main(["dead-letters", "retry", letters[0], "--run", "d1"]) == 64
    assert main(["dead-letters", "retry", letters[0], "none/1"]) == 66
    capsys.readouterr()


# Failures in words


async def test_a_port_where_nobody_listens_has_refused_the_connection():
    with ChaosSink() as gone:
        url = gone.url("/x")
    assert await failure_of({"url": url}) == f"connect: {url[:-2]} could not be connected: connection refused"


async def test_tls_with_whom_speaks_none_asks_whether_http_was_meant():
    with ChaosSink(greeting="mail") as plain:
        told = await failure_of({"url": plain.url("/x").replace("http:", "https:")})
    assert told.startswith("tls: ")
    assert told.endswith("; does it speak http://, without TLS?")


async def test_a_certificate_of_nobody_known_names_the_variable_for_authorities():
    with ChaosSink(tls="unknown") as stranger:
        told = await failure_of({"url": stranger.url("/x")})
    assert told.startswith("tls: ")
    assert "SSL_CERT_FILE" in told


def test_of_an_answers_body_a_table_of_attempts_has_the_beginning(
    sink: ChaosSink, folder: Path, capsys: Capture
):
    sink.answers("/x", answer(500, b"<p>" * 600))
    definition = {"tasks": {"t": {"http": {"url": sink.url("/x")}, "retry": 0}}}
    (folder / "w.yaml").write_text(json.dumps(definition))
    assert main(["run", "w.yaml", "--run-id", "w1", "--quiet"]) == 1
    capsys.readouterr()
    assert main(["show", "w1", "t"]) == 0
    row = capsys.readouterr().out.rsplit("ATTEMPT", 1)[1]
    assert len(row) < 800
    assert f"{'<p>' * 66}<p…" in row


# Validate


def validated(folder: Path, capsys: Capture, url: str, *words: str) -> str:
    (folder / "v.yaml").write_text(json.dumps({"tasks": {"t": {"http": {"url": url}}}}))
    assert main(["validate", "v.yaml", *words]) == 0
    return re.sub(r"  +", "  ", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("${SHOP}/x", 'to allow  --allow-host "$SHOP"'),
        ("http://${SHOP}:81/x", 'to allow  --allow-host "http://$SHOP:81"'),
        ("https://a.example.com/x/../y", "refused  https://a.example.com (E440 "),
        ("http://0x7f.1/x", "refused  http://0x7f.1 (E440 "),
    ],
)
def test_validate_says_what_a_run_will_need(url: str, told: str, folder: Path, capsys: Capture):
    assert told in validated(folder, capsys, url)


def test_validate_knows_the_hosts_of_variables_that_are_set(sink: ChaosSink, folder: Path, capsys: Capture):
    told = validated(folder, capsys, "${BASE}/x", "--allow-host", origin(sink))
    assert "allowed  ${BASE}" in told
    assert "to allow" not in told


def test_the_flags_that_validate_names_can_be_pasted(folder: Path, capsys: Capture):
    hooks = [{"type": "webhook", "params": {"url": f"https://{name}.example.com/x"}} for name in "ab"]
    (folder / "v.yaml").write_text(json.dumps({"hooks": {"on_error": hooks}, "tasks": {"t": {"agent": "x"}}}))
    assert main(["validate", "v.yaml"]) == 0
    assert (
        "--allow-host https://a.example.com --allow-host https://b.example.com\n" in capsys.readouterr().out
    )
