"""`actorflow hooks`, and what the other commands tell of hooks: what they would do, did, and are still owed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import frozen

from actorflow import Runtime, load
from actorflow.cli import main
from actorflow.core.hook_context import HookContext
from actorflow.hooks import hook_action

Capture = pytest.CaptureFixture[str]

DOOMED: list[str] = []
"""Why `cli_page` fails, as long as there is anything in it."""


@frozen
class PageParams:
    """Whom to page."""

    who: str
    note: str = ""


@hook_action("cli_page", params=PageParams)
async def page(context: HookContext, params: PageParams) -> Mapping[str, Any]:
    """Pages somebody."""
    if DOOMED:
        raise ConnectionError(DOOMED[0])
    return {"paged": params.who}


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("ACTORFLOW_STORE", str(tmp_path / "runs.db"))
    monkeypatch.delenv("ACTORFLOW_ENV", raising=False)
    monkeypatch.delenv("ACTORFLOW_HOOKS", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    DOOMED.clear()
    yield tmp_path
    DOOMED.clear()


def write(text: str) -> str:
    Path("w.yaml").write_text(text, encoding="utf-8")
    return "w.yaml"


def told(capsys: Capture, *words: str, status: int = 0) -> Any:
    capsys.readouterr()
    assert main([*words, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def said(capsys: Capture, *words: str, status: int = 0) -> str:
    capsys.readouterr()
    assert main([*words]) == status
    return capsys.readouterr().out


def run_owing(text: str, backend: str, *, run_id: str = "r") -> None:
    """Run a workflow in a process that gives its hooks no time at the end."""

    async def run() -> None:
        async with Runtime(store="sqlite:///runs.db", agents={"*": "echo"}, drain_timeout_s=0.0) as runtime:
            await runtime.run(load(write(text)), run_id=run_id)

    anyio.run(run, backend=backend)


# What there is


def test_the_table_of_events_has_every_event_with_what_it_allows(capsys: Capture):
    events = {row["event"]: row for row in told(capsys, "hooks", "events")["events"]}
    assert events["task_started"] == {
        "event": "task_started",
        "is_by_contract": True,
        "of": "task",
        "may_block": True,
        "is_fired": True,
        "when": "Before a task's first attempt.",
    }
    assert not events["task_retrying"]["may_block"]
    assert not events["child_finished"]["is_fired"]
    assert sum(row["is_by_contract"] for row in events.values()) == 7
    text = said(capsys, "hooks", "events")
    assert len(text.splitlines()) == len(events) + 1


def test_the_actions_are_told_with_what_must_be_given_those_of_programs_too(capsys: Capture):
    actions = {row["action"]: row for row in told(capsys, "hooks", "actions")["actions"]}
    assert actions["log"]["required"] == ["message"]
    assert actions["webhook"]["max_attempts"] == 5
    assert actions["webhook"]["is_runnable"]
    assert actions["cli_page"] == {
        "action": "cli_page",
        "does": "Pages somebody.",
        "params": ["who", "note"],
        "required": ["who"],
        "timeout_s": 5.0,
        "max_attempts": 1,
        "is_built_in": False,
        "is_runnable": True,
        "channels": [],
    }
    assert "cli_page: Pages somebody.\n  needs     who\n  takes     note\n" in said(
        capsys, "hooks", "actions"
    )


# What became of them

_ALL = """
name: w
hooks:
  pre_workflow: [echo set up]
  task_started: [{command: 'echo before $ACTORFLOW_TASK', mode: blocking}]
  task_finished:
    - {type: log, params: {message: '{{ task.id }} is done'}}
    - {command: 'echo after $ACTORFLOW_TASK; exit 3', mode: async}
    - {name: quiet, type: metric, params: {name: n}, environments: [prod]}
tasks: {a: {agent: x}, b: {agent: x, depends_on: [a]}}
"""


def test_list_has_every_hook_of_every_task_with_how_it_ended(backend: str, capsys: Capture):
    assert main(["run", write(_ALL), "--agent", "x=echo", "--run-id", "r", "--backend", backend]) == 0
    document = told(capsys, "hooks", "list", "r")
    rows = [
        (row["event"], row["task"], row["hook"], row["status"], row["tries"]) for row in document["hooks"]
    ]
    of_each = [
        [
            ("task_started", task, "task_started[0]", "ok", 1),
            ("task_finished", task, "task_finished[0]", "ok", 1),
            ("task_finished", task, "task_finished[1]", "failed", 1),
            ("task_finished", task, "task_finished[2]", "skipped", 0),
        ]
        for task in ("a", "b")
    ]
    assert rows == [("pre_workflow", None, "pre_workflow[0]", "ok", 1), *of_each[0], *of_each[1]]
    failed = next(row for row in document["hooks"] if row["status"] == "failed")
    assert failed["why"] == "exited with status 3"
    assert failed["delivery_id"].endswith("/task_finished[1]")
    text = said(capsys, "hooks", "list", "r")
    assert "task_finished[2] (quiet)" in text
    assert "not for the environment development" in text


def test_show_has_what_async_hooks_printed_and_counts_those_with_nothing_to_tell(
    backend: str, capsys: Capture
):
    assert main(["run", write(_ALL), "--agent", "x=echo", "--run-id", "r", "--backend", backend]) == 0
    text = said(capsys, "show", "r")
    assert "hooks: 5 done, 2 failed, 0 owed, 2 skipped\n" in text
    assert "task_finished[1] of b failed" in text
    assert "        after b\n" in text
    assert "    task_finished[0] ok 2 times (log)\n" in text
    hooks = told(capsys, "show", "r")["hook_runs"]
    assert [hook["stdout"] for hook in hooks if hook["hook"] == "task_started[0]"] == [
        "before a\n",
        "before b\n",
    ]


def test_the_last_line_says_how_many_failed_and_strict_hooks_makes_that_a_failure(
    backend: str, capsys: Capture
):
    words = ["run", write(_ALL), "--agent", "x=echo", "--backend", backend]
    assert said(capsys, *words).endswith("  hooks: 5 done, 2 failed, 0 owed, 2 skipped\n")
    assert said(capsys, *words, "--strict-hooks", "--run-id", "r", status=1).startswith("success  r")
    assert main(["resume", "r", "--strict-hooks"]) == 1
    assert main(["resume", "r"]) == 0


def test_strict_hooks_changes_nothing_where_all_hooks_did_what_they_should(capsys: Capture):
    file = write("hooks: {post_workflow: ['true']}\ntasks: {a: {agent: x}}")
    assert main(["run", file, "--agent", "x=echo", "--strict-hooks"]) == 0


# What is owed

_OWING = """
name: w
hooks:
  task_finished:
    - {type: cli_page, params: {who: '{{ task.id }}'}, retry: {max_attempts: 3, delay: 1h}}
tasks: {a: {agent: x}, b: {agent: x, depends_on: [a]}}
"""


def test_what_is_owed_is_listed_with_what_blocks_the_line(backend: str, capsys: Capture):
    DOOMED.append("nobody is on call")
    run_owing(_OWING, backend)
    rows = told(capsys, "hooks", "list", "r")["hooks"]
    assert [(row["task"], row["status"]) for row in rows] == [("a", "pending"), ("b", "pending")]
    assert rows[1]["why"] == f"waits for {rows[0]['delivery_id']}"
    shown = said(capsys, "show", "r")
    assert "hooks: 0 done, 0 failed, 2 owed\n" in shown
    assert "task_finished[0] is owed 2; the first, of a: " in shown
    main(["hooks", "list", "r"])
    printed = capsys.readouterr()
    assert "actorflow hooks drain r\n" in printed.err


def test_drain_delivers_what_is_owed_and_says_so(backend: str, capsys: Capture):
    run_owing(_OWING, backend)
    assert said(capsys, "hooks", "drain", "r") in ("r  2 delivered\n", "r  nothing was owed\n")
    assert told(capsys, "show", "r")["hooks"]["delivered"] == 2
    assert said(capsys, "hooks", "drain", "r") == "r  nothing was owed\n"


def test_drain_without_a_run_takes_all_that_are_owed_something(backend: str, capsys: Capture):
    DOOMED.append("nobody is on call")
    for run_id in ("one", "two"):
        run_owing(_OWING.replace("delay: 1h", "delay: 10ms"), backend, run_id=run_id)
    DOOMED.clear()
    runs = told(capsys, "hooks", "drain")["runs"]
    assert sorted(run["run_id"] for run in runs) == ["one", "two"]
    assert all(run["pending"] == [] for run in runs)
    assert {hook["status"] for run in runs for hook in run["settled"]} == {"ok"}
    main(["hooks", "drain"])
    assert "nothing is owed to any hook" in capsys.readouterr().err


def test_drain_ends_with_status_1_where_something_stays(backend: str, capsys: Capture):
    DOOMED.append("nobody is on call")
    run_owing(_OWING, backend)
    text = said(capsys, "hooks", "drain", "r", "--timeout", "100ms", status=1)
    assert text.startswith("r  2 stay\n  task_finished[0] is owed 2; the first, of a: next try at ")
    assert "ConnectionError: nobody is on call" in text


def test_what_this_process_cannot_deliver_is_held_with_the_reason(backend: str, capsys: Capture):
    async def run() -> None:
        async with Runtime(store="sqlite:///runs.db", agents={"*": "echo"}, drain_timeout_s=0.0) as runtime:

            @runtime.on("task_finished")
            async def tell(context: HookContext) -> None:
                await anyio.sleep_forever()

            await runtime.run(load(write("tasks: {a: {agent: x}}")), run_id="r")

    anyio.run(run, backend=backend)
    text = said(capsys, "hooks", "drain", "r", status=1)
    assert text.startswith("r  1 stays\n")
    assert "held: this process has no function 'tell' for task_finished" in text
    assert "held: " in said(capsys, "show", "r")


# What was given up

_DEAD = _OWING.replace("{max_attempts: 3, delay: 1h}", "{max_attempts: 2, delay: 10ms}").replace(
    ", b: {agent: x, depends_on: [a]}", ""
)


def test_a_delivery_that_was_given_up_is_shown_with_its_tries_and_tried_again(backend: str, capsys: Capture):
    DOOMED.append("nobody is on call")
    words = ["run", write(_DEAD), "--agent", "x=echo", "--run-id", "r", "--backend", backend]
    assert main([*words, "--strict-hooks"]) == 1
    printed = capsys.readouterr()
    assert printed.out.endswith("  hooks: 0 done, 0 failed, 0 owed, 1 given up\n")
    assert "hook task_finished[0] of a given up: ConnectionError: nobody is on call (cli_page)" in printed.out
    (letter,) = told(capsys, "dead-letters", "list")["dead_letters"]
    assert (letter["kind"], letter["task"]) == ("delivery", "task_finished[0]")
    shown = told(capsys, "dead-letters", "show", letter["id"])
    assert (shown["event"], shown["about"], shown["params"]) == ("task_finished", "a", {"who": "a"})
    assert [one["status"] for one in shown["tried"]] == ["failed", "failed"]
    text = said(capsys, "dead-letters", "show", letter["id"])
    assert "why: ConnectionError: nobody is on call\n" in text
    assert "TRY  AT" in text
    assert said(capsys, "dead-letters", "retry", letter["id"], status=1).startswith("r  1 given up\n")
    DOOMED.clear()
    assert said(capsys, "dead-letters", "retry", letter["id"]) == "r  1 delivered\n"
    assert told(capsys, "dead-letters", "list")["dead_letters"] == []
    assert told(capsys, "show", "r")["hooks"]["dead_letters"] == 0


def test_purge_forgets_deliveries_as_it_does_tasks(capsys: Capture):
    DOOMED.append("nobody is on call")
    assert main(["run", write(_DEAD), "--agent", "x=echo", "--run-id", "r"]) == 0
    assert told(capsys, "dead-letters", "purge", "--all") == {"purged": 1}
    assert told(capsys, "dead-letters", "list")["dead_letters"] == []


def test_a_letter_shows_neither_secrets_nor_what_is_sensitive(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PAGER_KEY", "key-of-the-pager")
    DOOMED.append("nobody is on call")
    text = (
        "inputs: {pin: {type: string, required: true, sensitive: true}}\n"
        "hooks: {task_finished: [{type: cli_page, params: {who: '{{ input.pin }}', note: '${PAGER_KEY}'}}]}\n"
        "tasks: {a: {agent: x, with: {k: 1}}}\n"
    )
    assert main(["run", write(text), "--agent", "x=echo", "--run-id", "r", "--input", "pin=98765"]) == 0
    for words in (["dead-letters", "show", "r"], ["hooks", "list", "r"], ["show", "r"]):
        for more in ([], ["--json"]):
            printed = said(capsys, *words, *more)
            assert "98765" not in printed
            assert "key-of-the-pager" not in printed
    assert told(capsys, "dead-letters", "show", "r")["params"] == {"who": "***", "note": "${PAGER_KEY}"}


# What hooks start


def test_a_run_that_a_hook_has_started_says_by_whom(backend: str, capsys: Capture):
    text = (
        "name: w\ntasks:\n"
        "  a: {agent: x, hooks: {task_finished: [{type: dispatch_task, params: {task_id: mailer}}]}}\n"
    )
    words = ["run", write(text), "--agent", "*=echo", "--run-id", "r", "--backend", backend]
    assert main(words) == 0
    runs = {row["run_id"]: row for row in told(capsys, "list")}
    child = next(row for run_id, row in runs.items() if run_id != "r")
    assert runs["r"]["parent"] is None
    assert (child["parent"]["run_id"], child["parent"]["task"]) == ("r", "a")
    assert "started by  run r, task a\n" in said(capsys, "show", child["run_id"])


# Progress


def test_a_task_whose_end_is_waited_for_is_told_once_when_its_hooks_are_done(backend: str, capsys: Capture):
    text = "hooks: {task_finished: [{command: 'exit 3', mode: blocking}]}\ntasks: {a: {agent: x}}\n"
    assert main(["run", write(text), "--agent", "x=echo", "--backend", backend]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["hook", "task_finished[0]", "of"],
        ["a", "success", "1"],
    ]


def test_a_success_that_a_hook_turns_down_is_told_as_a_failure_alone(backend: str, capsys: Capture):
    text = "hooks: {task_finished: [{command: 'exit 3', mode: blocking, on_error: fail}]}\ntasks: {a: {agent: x}}\n"
    assert main(["run", write(text), "--agent", "x=echo", "--backend", backend]) == 1
    err = capsys.readouterr().err
    assert "a  success" not in err
    assert err.count("a  failed") == 1


# What they would do

_TESTED = """
name: w
inputs: {order: {type: string, required: true}, size: {type: integer, required: true}}
hooks:
  task_finished:
    - {name: told, type: log, params: {message: '{{ task.id }} of {{ input.order }} gave {{ output.total }}'}}
    - {name: failed, type: log, params: {message: no}, when: "task.status == 'failed'"}
    - {name: prod, type: log, params: {message: no}, environments: [prod]}
    - {name: made, type: transform, params: {set: {twice: 'input.size * 2'}}}
    - {name: keyed, command: [sh, -c, 'test "$KEY" = right'], env: {KEY: '${HOOK_KEY}'}, mode: async}
    - {name: waited, command: 'echo waited', mode: blocking}
tasks: {a: {agent: x}, b: {agent: x, depends_on: [a]}}
"""


def trial(capsys: Capture, *words: str, status: int = 0) -> dict[str, Any]:
    document = told(capsys, "hooks", "test", write(_TESTED), *words, status=status)
    return {hook["name"]: hook for hook in document["hooks"]}


def test_test_shows_what_each_hook_would_do_with_made_up_inputs(capsys: Capture):
    hooks = trial(capsys, "task_finished", "--task", "b", "--output", '{"total": 3}', status=1)
    assert [*hooks] == ["made", "told", "failed", "prod", "keyed", "waited"]  # what is computed comes first
    assert hooks["told"]["params"] == {"message": "b of sample gave 3"}
    assert hooks["failed"]["skip"] == "when is false"
    assert hooks["prod"]["skip"] == "not for the environment development"
    assert hooks["made"]["sets"] == {"vars": {"twice": 2}}
    assert hooks["keyed"]["fault"] == "the environment variable HOOK_KEY is not set"
    assert hooks["keyed"]["params"]["env"] == {"KEY": "${HOOK_KEY}"}
    assert hooks["waited"]["acts"]
    assert all(hook["outcome"] is None for hook in hooks.values())


def test_test_goes_by_the_inputs_status_and_environment_that_it_is_given(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOOK_KEY", "right")
    monkeypatch.setenv("ACTORFLOW_ENV", "prod")
    monkeypatch.setenv("ACTORFLOW_HOOKS", "waited")
    words = ["--input", "order=7", "--input", "size=4", "--output", '{"total": 3}', "--status", "failed"]
    hooks = trial(capsys, "task_finished", *words, status=1)
    assert hooks["failed"]["acts"]
    assert hooks["prod"]["acts"]
    assert hooks["made"]["sets"] == {"vars": {"twice": 8}}
    assert hooks["keyed"]["acts"]
    assert hooks["waited"]["skip"] == "switched off by ACTORFLOW_HOOKS"
    assert "total" in hooks["told"]["fault"]  # a task that failed gave nothing


def test_test_with_run_performs_the_hooks_and_keeps_nothing(
    backend: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    del backend
    monkeypatch.setenv("HOOK_KEY", "right")
    hooks = trial(capsys, "task_finished", "--output", '{"total": 3}', "--run")
    assert hooks["keyed"]["outcome"]["status"] == "ok"
    assert hooks["waited"]["outcome"]["record"]["stdout"] == "waited\n"
    assert hooks["failed"]["outcome"] is None
    monkeypatch.setenv("HOOK_KEY", "wrong")
    hooks = trial(capsys, "task_finished", "--output", '{"total": 3}', "--run", status=1)
    assert hooks["keyed"]["outcome"]["why"] == "exited with status 1"
    assert told(capsys, "list") == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["task_finishd"], "did you mean 'task_finished'?"),
        (["child_finished"], "nothing in this version fires child_finished"),
        (["task_finished", "--task", "c"], "--task c: the workflow has no such task"),
        (["task_finished", "--output", "{"], "--output {: no JSON"),
        (["on_error", "--status", "success"], "on_error comes of a failure alone"),
        (["task_finished", "--input", "size=x"], "input 'size' is \"x\", which is not of type integer"),
    ],
)
def test_what_cannot_be_tested_is_refused_with_the_reason(words: list[str], complaint: str, capsys: Capture):
    assert main(["hooks", "test", write(_TESTED), *words]) == 64
    assert complaint in capsys.readouterr().err


def test_an_event_without_hooks_has_nothing_to_show(capsys: Capture):
    assert main(["hooks", "test", write(_TESTED), "post_workflow"]) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "there are no hooks on post_workflow" in printed.err


def test_an_event_that_cannot_happen_to_the_task_is_shown_and_said_to_be_impossible(capsys: Capture):
    file = write("hooks: {fallback_started: [{type: log, params: {message: hi}}]}\ntasks: {a: {agent: x}}")
    assert main(["hooks", "test", file, "fallback_started"]) == 0
    printed = capsys.readouterr()
    assert '"hi"' in printed.out
    assert "as task a is defined, fallback_started cannot happen to it" in printed.err
