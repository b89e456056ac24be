"""What a first user of hooks stumbled over: slips that nobody was told of, and words that said the wrong thing."""

from __future__ import annotations

import json
import logging
import re
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from actorflow import HookContext, Runtime
from actorflow.cli import main
from actorflow.errors import BadInputError, SpecError
from actorflow.hooks import hook_action
from actorflow.metrics.registry import Metrics
from actorflow.spec.loading import loads_with_warnings
from tests.hook_tries import until
from tests.hooked_runs import AGENTS, ECHO, Words, kept, registry_with, sqlite, workflow

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(tmp_path: Path) -> str:
    return sqlite(tmp_path)


def logged(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "log", "params": {"message": text}, **more}


# A slip in the kill switch


@pytest.mark.parametrize(
    ("listed", "slips"),
    [
        ("pgae", "'pgae' (did you mean 'page'?)"),
        ("page,nosuch", "'nosuch'"),
        ("pre_workflow", "'pre_workflow' (did you mean 'pre_workflow[0]'?)"),
        ("*", "'*'"),
        ("Page me", "'Page' (did you mean 'page'?), 'me'"),
    ],
)
async def test_what_the_kill_switch_lists_in_vain_is_told_once_for_each_run(
    store: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, listed: str, slips: str
):
    monkeypatch.setenv("ACTORFLOW_HOOKS", listed)
    hooks = {"pre_workflow": ["true"], "task_finished": [logged("done", name="page")]}
    with caplog.at_level(logging.WARNING, "actorflow"):
        async with Runtime(store=store, agents=AGENTS) as rt:
            await (await rt.start(workflow({"a": ECHO, "b": ECHO}, hooks), run_id="r")).settled()
    (message,) = caplog.messages
    assert message == (
        f"run r: ACTORFLOW_HOOKS: nothing is switched off by {slips}, as no hook of the run is listed so; "
        "there are pre_workflow[0], page, task_finished[0], command, log, and off is for all of them"
    )


@pytest.mark.parametrize(
    "listed", ["off", "page", "log", "webhook", "code", "told", "task_finished[0]", "later", "page later"]
)
async def test_names_paths_actions_functions_and_hooks_of_dispatched_runs_are_no_slips(
    store: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, listed: str
):
    monkeypatch.setenv("ACTORFLOW_HOOKS", listed)
    dispatched = {**ECHO, "hooks": {"task_finished": [logged("there", name="later")]}}
    starts = {"type": "dispatch_task", "params": {"task_id": "b"}}
    spec = workflow(
        {"a": {**ECHO, "hooks": {"task_finished": [starts]}}, "b": dispatched},
        {"task_finished": [logged("done", name="page")]},
    )

    async def told(context: HookContext) -> None: ...

    with caplog.at_level(logging.WARNING, "actorflow"):
        async with Runtime(store=store, agents=AGENTS) as rt:
            rt.on("task_finished")(told)
            await (await rt.start(spec)).settled()
    assert caplog.messages == []


async def test_a_process_that_only_drains_is_told_of_its_slips_too(
    store: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async with Runtime(store=store, agents=AGENTS, drain_timeout_s=0.0) as rt:
        await rt.run(workflow(hooks={"task_finished": [logged("done")]}), run_id="r")
    monkeypatch.setenv("ACTORFLOW_HOOKS", "page")
    with caplog.at_level(logging.WARNING, "actorflow"):
        async with Runtime(store=store, agents=AGENTS) as rt:
            await rt.drain_hooks("r")
    assert ["'page'" in message for message in caplog.messages] == [True]


# A dead letter that this process could not deliver


async def down(context: HookContext, params: Words) -> None:
    raise ConnectionError("down")


async def up(context: HookContext, params: Words) -> None: ...


async def letter_of(store: str, hook: dict[str, Any]) -> str:
    """The id of the dead letter of a delivery to a hook of which no try succeeds."""
    registry = registry_with(down)
    spec = workflow(hooks={"task_finished": [hook]}, actions=registry.contracts)
    async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
        await (await rt.start(spec, run_id="r")).settled()
        (letter,) = await rt.dead_letters()
    return letter.id


@pytest.mark.parametrize(
    ("hook", "here", "environ", "says"),
    [
        ({}, "page", {}, "this process has no action 'act'"),
        ({}, "act", {"ACTORFLOW_HOOKS": "act"}, "switched off by ACTORFLOW_HOOKS"),
        ({"environments": ["development"]}, "act", {"ACTORFLOW_ENV": "prod"}, "this process is in prod"),
        ({"params": {"say": "${STUMBLED_KEY}"}}, "act", {"STUMBLED_KEY": ""}, "STUMBLED_KEY"),
    ],
    ids=["no such action", "switched off", "another environment", "no secret"],
)
async def test_a_letter_that_cannot_be_delivered_here_is_refused_with_the_reason_and_kept(
    store: str,
    monkeypatch: pytest.MonkeyPatch,
    hook: dict[str, Any],
    here: str,
    environ: dict[str, str],
    says: str,
):
    monkeypatch.setenv("STUMBLED_KEY", "open-sesame")
    letter = await letter_of(store, {"type": "act", **hook})
    for name, value in environ.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    async with Runtime(store=store, agents=AGENTS, hooks=registry_with(up, here)) as rt:
        with pytest.raises(BadInputError, match="nothing was tried, and the dead letter stays") as refused:
            await rt.retry_delivery(letter)
        left = [each.id for each in await rt.dead_letters()]
        owed = (await rt.get("r")).hooks
    assert says in str(refused.value)
    assert (left, owed.pending, owed.dead_letters) == ([letter], 0, 1)
    for name in environ:
        monkeypatch.setenv(name, "open-sesame") if name == "STUMBLED_KEY" else monkeypatch.delenv(name)
    async with Runtime(store=store, agents=AGENTS, hooks=registry_with(up)) as rt:
        assert (await rt.retry_delivery(letter)).hooks.delivered == 1


async def test_a_letter_of_a_function_that_is_not_here_is_refused_and_kept(store: str):
    async def tell(context: HookContext) -> None:
        raise ConnectionError("down")

    async with Runtime(store=store, agents=AGENTS) as rt:
        rt.on("task_finished")(tell)
        await (await rt.start(workflow(), run_id="r")).settled()
        (letter,) = await rt.dead_letters()
    async with Runtime(store=store, agents=AGENTS) as rt:
        with pytest.raises(BadInputError, match="this process has no function 'tell' for task_finished"):
            await rt.retry_delivery(letter.id)
        assert [each.id for each in await rt.dead_letters()] == [letter.id]


# What an action asks for


class Busy(Exception):
    """An error as HTTP clients raise it."""

    def __init__(self, retry_after: object) -> None:
        super().__init__("busy")
        self.retry_after = retry_after


@pytest.mark.parametrize(
    ("asked", "waits_s"),
    [(0.3, 0.3), (0, 0.0), (10**400, 0.0), (-1, 0.0), ("5", 0.0), (True, 0.0), (float("nan"), 0.0)],
)
async def test_the_wait_that_an_actions_error_asks_for_is_kept(store: str, asked: object, waits_s: float):
    async def act(context: HookContext, params: Words) -> None:
        raise Busy(asked)

    registry = registry_with(act)
    hook = {"type": "act", "retry": {"max_attempts": 2, "delay": "1ms", "jitter": "none"}}
    spec = workflow(hooks={"task_finished": [hook]}, actions=registry.contracts)
    async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
        handle = await rt.start(spec)
        await handle.settled()
        (delivery,) = await handle.deliveries()
    first, second = delivery.record["tries"]
    assert delivery.record["reason"] == "Busy: busy"
    assert second["at"] - first["at"] >= waits_s


# Words


@pytest.mark.parametrize(
    ("hook", "says"),
    [
        (
            "5",
            "1:25: E121 hooks.task_finished[0]: a hook is a command, as text or a list, or a mapping, not the number 5",
        ),
        (
            "{type: command}",
            "1:25: E122 hooks.task_finished[0]: a hook of type command needs a command; add command:",
        ),
        ("{timeout: 1s}", "1:25: E122 hooks.task_finished[0]: a hook needs a command, or a type"),
        ("{command: ['{{ task.idd }}']}", "there is no task.idd; did you mean 'task.id'?"),
        ("{command: ['{{ tasks.b.output }}']}", "unknown task 'b'"),
    ],
)
def test_a_slip_in_a_hook_is_told_as_what_it_is(hook: str, says: str):
    with pytest.raises(SpecError) as refused:
        loads_with_warnings(f"hooks: {{task_finished: [{hook}]}}\ntasks: {{a: {{agent: y}}}}\n", trust="own")
    assert says in str(refused.value)


# Events that nothing fires


@pytest.mark.parametrize("event", ["child_finished", "iteration_finished"])
def test_a_hook_on_an_event_that_nothing_fires_is_warned_of(event: str):
    text = f"hooks: {{task_finished: [x], {event}: [x]}}\ntasks: {{a: {{agent: y}}}}\n"
    warnings = [*loads_with_warnings(text, trust="own").warnings]
    assert [(each.code, each.line, each.column) for each in warnings] == [("W108", 1, 29)]
    assert event in warnings[0].message


@pytest.mark.parametrize("event", ["child_finished", "iteration_finished"])
async def test_a_function_for_an_event_that_nothing_fires_is_refused(event: Any):
    async with Runtime(store="memory:") as rt:
        with pytest.raises(BadInputError, match=f"nothing in this version fires {event}"):
            rt.on(event)


# What a program passes on


@pytest.mark.parametrize(
    ("event", "name", "says"),
    [
        (5, None, "there is no event 5; an event is a text"),
        (None, None, "there is no event None; an event is a text"),
        (["task_finished"], None, "there is no event ['task_finished']; an event is a text"),
        ("task_finishd", None, "there is no event 'task_finishd'; did you mean 'task_finished'?"),
        ("task_finished", "a b[]", "'a b[]' cannot be the name of a function"),
        ("task_finished", "", "'' cannot be the name of a function"),
        ("task_finished", 5, "5 cannot be the name of a function"),
    ],
)
async def test_a_function_for_what_is_no_event_is_refused_in_a_sentence(event: Any, name: Any, says: str):
    async with Runtime(store="memory:") as rt:
        with pytest.raises(BadInputError, match=re.escape(says)):
            rt.on(event, name=name)


@pytest.mark.parametrize(
    ("name", "kind", "value", "tags", "says"),
    [
        ("m", "nope", 1, {}, "metric 'm': there is no kind 'nope'; choose counter, gauge or histogram"),
        ("m", None, 1, {}, "metric 'm': there is no kind None"),
        ("m", "gauge", "1", {}, "metric 'm' cannot be '1': a number is measured, not a str"),
        ("m", "gauge", None, {}, "metric 'm' cannot be None: a number is measured, not a NoneType"),
        ("m", "gauge", 10**400, {}, "only finite numbers are measured"),
        ("m", "gauge", 1, None, "metric 'm': tags are texts by name, not None; of none, write {}"),
        ("m", "gauge", 1, ["a"], "metric 'm': tags are texts by name, not ['a']"),
        ("m", "gauge", 1, {"a": 1}, "metric 'm': the tag 'a' is a text, not 1"),
        ("m", "gauge", 1, {1: "a"}, "metric 'm': 1 cannot be the name of a tag"),
        (5, "gauge", 1, {}, "5 cannot be the name of a metric"),
    ],
)
def test_a_measurement_that_is_none_is_refused_in_a_sentence_that_names_the_metric(
    name: Any, kind: Any, value: Any, tags: Any, says: str
):
    metrics = Metrics()
    with pytest.raises((TypeError, ValueError), match=re.escape(says)):
        metrics.record(name, kind, value, tags)
    assert metrics.snapshot().family("m") is None


# What the command line tells


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACTORFLOW_STORE", str(tmp_path / "runs.db"))
    monkeypatch.delenv("ACTORFLOW_HOOKS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(text: str, *words: str, status: int = 0, backend: str = "asyncio") -> None:
    Path("w.yaml").write_text(text, encoding="utf-8")
    assert main(["run", "w.yaml", "--run-id", "r", "--backend", backend, *words]) == status


def said(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    capsys.readouterr()
    assert main([*words]) == status
    return capsys.readouterr().out


DISPATCHING = """
tasks:
  good: {command: "true"}
  bad: {command: "echo oh no >&2; exit 1"}
  a:
    command: "true"
    hooks:
      task_finished:
        - {type: dispatch_task, params: {task_id: good}}
        - {type: dispatch_task, params: {task_id: bad}}
"""


@pytest.mark.usefixtures("folder")
def test_what_became_of_dispatched_runs_is_told_at_the_end_of_their_parent(
    backend: str, capsys: pytest.CaptureFixture[str]
):
    run(DISPATCHING, "--strict-hooks", backend=backend)
    lines = capsys.readouterr().out.splitlines()
    (bad,) = [
        row["run_id"] for row in json.loads(said(capsys, "list", "--json")) if row["workflow"] == "w/bad"
    ]
    assert lines[1:] == [
        "  started by hooks: 2 runs: 1 success, 1 failed",
        f"    run {bad} failed: task bad, attempt 1: exit_status: exited with status 1: oh no",
    ]


@pytest.mark.usefixtures("folder")
def test_what_became_of_dispatched_runs_is_in_the_document_of_their_parent(
    capsys: pytest.CaptureFixture[str],
):
    run(DISPATCHING, "--json")
    dispatched = json.loads(capsys.readouterr().out)["dispatched"]
    assert [each["status"] for each in dispatched] == ["success", "failed"]


SECRETIVE = """
inputs: {who: {type: string, sensitive: true}, what: {type: string, default: plain-words}}
tasks:
  t: {command: "true"}
  a:
    command: "true"
    hooks:
      task_finished:
        - {command: 'echo "for $WHO"', env: {WHO: "{{ input.who }}"}}
        - {command: 'echo "no $WHO" >&2; exit 3', mode: blocking, env: {WHO: "{{ input.who }}"}}
        - {command: 'echo "fine: $WHAT"', env: {WHAT: "{{ input.what }}"}}
        - {type: metric, params: {name: m, tags: {who: "{{ input.who }}"}}}
        - {type: metric, params: {name: n, tags: {what: "{{ input.what }}"}}}
        - {type: metric, params: {name: o, value: "{{ input.who }}"}}
        - {type: stumbled, params: {say: "{{ input.who }}"}}
        - {type: stumbled, params: {say: "{{ input.what }}"}}
        - {type: dispatch_task, params: {task_id: t, input: {v: "{{ input.who }}", w: "{{ input.what }}"}}}
"""

WHO = "Margarethe"


@hook_action("stumbled", params=Words)
async def stumble(context: HookContext, params: Words) -> None:
    """Fails, and says what it was given."""
    raise ConnectionError(f"no {params.say}")


@pytest.mark.usefixtures("folder")
def test_nothing_that_is_sensitive_is_shown_of_what_hooks_said_that_were_given_it(
    backend: str, capsys: pytest.CaptureFixture[str]
):
    run(SECRETIVE, "--input", f"who={WHO}", backend=backend)
    printed = capsys.readouterr()
    shown = [printed.out + printed.err]
    rows = json.loads(said(capsys, "list", "--json"))
    (child,) = [row["run_id"] for row in rows if row["workflow"] == "w/t"]
    letters = [
        each["id"] for each in json.loads(said(capsys, "dead-letters", "list", "--json"))["dead_letters"]
    ]
    asked = [
        *(("show", "r"), ("hooks", "list", "r"), ("metrics",), ("dead-letters", "list"), ("show", child)),
        *(("dead-letters", "show", letter) for letter in letters),
    ]
    for words in asked:
        shown += [said(capsys, *words), said(capsys, *words, "--json")]
    shown.append(said(capsys, "metrics", "--format", "prometheus"))
    assert [text for text in shown if WHO in text] == []
    whole = "\n".join(shown)
    assert "tasks.a.task_finished[1] failed, " in whole
    assert "exited with status 3: ***" in whole
    assert "fine: plain-words" in whole
    assert "what=plain-words" in whole
    assert 'w: "plain-words"' in whole
    assert "ConnectionError: no plain-words" in whole
    assert len(letters) == 2


async def test_nothing_that_is_sensitive_is_shown_of_a_delivery_that_is_tried_again_later(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    store = f"sqlite:///{folder / 'runs.db'}"
    hook = {
        "type": "stumbled",
        "retry": {"max_attempts": 2, "delay": "1h"},
        "params": {"say": "{{ input.who }}"},
    }
    inputs = {"who": {"type": "string", "sensitive": True}}
    spec = workflow({"a": {"command": "true"}}, {"task_finished": [hook]}, inputs=inputs)
    async with Runtime(store=store, agents=AGENTS) as rt:
        handle = await rt.start(spec, inputs={"who": WHO}, run_id="r")
        await until(lambda: bool(kept(store, "r")[1]))
        rt.stop_draining()
        await handle.settled()
    asked = [("show", "r"), ("hooks", "list", "r")]
    shown = [said(capsys, *words, *form) for words in asked for form in ((), ("--json",))]
    assert [text for text in shown if WHO in text] == []
    assert ["last: ***" in text for text in shown] == [True] * 4


WORDY = """
tasks:
  a: {command: "false", on_complete: {notify: done}, on_error: {strategy: skip}}
  b:
    command: "true"
    on_complete: {notify: {message: it is done, title: News, priority: high}}
    hooks:
      task_started:
        - {type: log, params: {message: on, level: debug}}
        - {type: log, params: {message: begins, fields: {n: 1}}}
        - {type: log, params: {message: careful, level: warning}}
        - {command: "printf '0%% done\\r50%% done\\rno such host\\n' >&2; exit 6", mode: blocking}
  c: {command: "printf '0%%\\rno host\\n' >&2; exit 6", on_error: {strategy: skip}}
  d:
    command: "true"
    on_error: {strategy: skip}
    hooks: {task_started: [{command: "false", mode: blocking, on_error: fail, name: page}]}
"""


@pytest.mark.usefixtures("folder")
def test_hooks_are_told_in_the_words_that_fit(
    backend: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    run(WORDY, backend=backend)
    lines = capsys.readouterr().err.splitlines()
    assert '  log info: begins {"n": 1}' in lines
    assert "  log warning: careful" in lines
    assert "  notice (high): News: b: it is done" in lines
    assert not any("log debug" in line for line in lines)
    listed = said(capsys, "hooks", "list", "r")
    assert "the task has not succeeded" in listed
    assert "exited with status 6: no such host\n" in listed
    assert "exited with status 6: no host\n" in said(capsys, "show", "r")
    monkeypatch.setenv("ACTORFLOW_HOOKS", "page")
    capsys.readouterr()
    assert main(["run", "w.yaml", "--run-id", "q", "--quiet"]) == 0
    hooks = json.loads(said(capsys, "hooks", "list", "q", "--json"))["hooks"]
    (page,) = [each for each in hooks if each["name"] == "page"]
    assert (page["status"], page["tries"]) == ("skipped", 0)


@pytest.mark.usefixtures("folder")
def test_a_task_that_never_began_is_told_without_an_attempt(capsys: pytest.CaptureFixture[str]):
    run(
        "tasks: {a: {command: x, hooks: {task_started: [{command: exit 3, mode: blocking, on_error: fail}]}}}",
        status=1,
    )
    why = "hook_failed: hook tasks.a.task_started[0] failed: exited with status 3"
    assert f"  why: task a: {why}\n" in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["task_finished", "--output", "zz={}"], "--output zz=…: the workflow has no such task"),
        (["task_finished", "--output", "chrage={}"], "did you mean 'charge'?"),
        (
            ["workflow_finished", "--task", "charge"],
            "--task charge: workflow_finished happens to a run, and to no task of it",
        ),
    ],
)
def test_what_a_trial_could_not_use_is_refused(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
):
    Path("w.yaml").write_text("tasks: {charge: {agent: x}}", encoding="utf-8")
    assert main(["hooks", "test", "w.yaml", *words]) == 64
    assert complaint in capsys.readouterr().err


def test_a_letter_that_is_refused_is_told_with_a_status_of_its_own(
    folder: Path, backend: str, capsys: pytest.CaptureFixture[str]
):
    store = f"sqlite:///{folder / 'runs.db'}"
    letter = anyio.run(partial(letter_of, store, {"type": "act"}), backend=backend)
    assert main(["dead-letters", "retry", letter]) == 78
    assert "the dead letter stays: this process has no action 'act'" in capsys.readouterr().err
    assert letter in said(capsys, "dead-letters", "list")
