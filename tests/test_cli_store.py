"""`actorflow prune`, `delete` and `export`: how runs leave a store, and what a copy of one shows."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, get_args

import anyio
import pytest
from attrs import fields
from cli_shell import WAITS, Shell, no_process_left_of

from actorflow import Runtime, load
from actorflow.cli import main
from actorflow.cli.app import app
from actorflow.cli.screen import Screen
from actorflow.cli.settings import Settings
from actorflow.cli.signals import EarlySignals
from actorflow.cli.store.export import HIDING
from actorflow.cli.store.prune import Family, PruneRequest, families_of, is_due, latest_of
from actorflow.core.events import Event, GenerationStarted, RunStarted
from actorflow.journal import Append, RunRow, open_journal
from actorflow.journal.protocol import CreateRun, RunSummary
from actorflow.runtime.dispatch import PARENT

Capture = pytest.CaptureFixture[str]

ONE = "name: one\ntasks: {t: {command: 'true'}}\n"
OTHER = "name: other\ntasks: {t: {command: 'true'}}\n"
FAILS = "name: fails\ntasks: {t: {command: 'exit 3'}}\n"
KEPT_AN_HOUR = "name: kept\nlimits: {keep: 1h}\ntasks: {t: {command: 'true'}}\n"
LETTERS = """
name: letters
tasks:
  t: {command: 'true', hooks: {task_finished: [{type: dispatch_task, params: {task_id: mail}}]}}
  mail: {command: 'test -e go'}
"""
TELLS = "name: tells\ntasks: {t: {command: 'true'}}\nhooks: {workflow_finished: [{command: 'true', mode: async}]}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACTORFLOW_STORE", str(tmp_path / "runs.db"))
    monkeypatch.delenv("ACTORFLOW_HOOKS", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ran(capsys: Capture, text: str, *run_ids: str) -> None:
    """Runs of a workflow, each to its end, one after the other."""
    Path("w.yaml").write_text(text, encoding="utf-8")
    for run_id in run_ids:
        assert main(["run", "w.yaml", "--run-id", run_id, "--quiet"]) in (0, 1)
    capsys.readouterr()


def run_owing(run_id: str) -> None:
    """A run whose process gives its hooks no time at the end."""
    Path("w.yaml").write_text(TELLS, encoding="utf-8")

    async def run() -> None:
        async with Runtime(store="sqlite:///runs.db", drain_timeout_s=0.0) as runtime:
            await runtime.run(load("w.yaml"), run_id=run_id)

    anyio.run(run)


def told(capsys: Capture, *words: str, status: int = 0) -> Any:
    capsys.readouterr()
    assert main([*words, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def left(capsys: Capture) -> set[str]:
    return {run["run_id"] for run in told(capsys, "list")}


def pruned(capsys: Capture, *words: str) -> set[str]:
    return {run["run_id"] for run in told(capsys, "prune", *words)["pruned"]}


# prune


def test_without_any_rule_nothing_goes_and_that_is_said(capsys: Capture):
    ran(capsys, ONE, "a")
    assert main(["prune"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "pruned 0 runs\n"
    assert "give --older-than or --keep, or a workflow limits.keep" in printed.err
    assert left(capsys) == {"a"}


def test_runs_that_ended_long_enough_ago_go_however_they_ended(capsys: Capture):
    ran(capsys, ONE, "a")
    ran(capsys, FAILS, "b")
    assert pruned(capsys, "--older-than", "1h") == set()
    assert pruned(capsys, "--older-than", "0") == {"a", "b"}
    assert left(capsys) == set()
    assert told(capsys, "dead-letters", "list") == {"dead_letters": []}


def test_a_dry_run_names_what_would_go_and_removes_nothing(capsys: Capture):
    ran(capsys, ONE, "a")
    found = told(capsys, "prune", "--older-than", "0", "--dry-run")
    (run,) = found["pruned"]
    assert (run["run_id"], run["workflow"], run["status"], run["with"]) == ("a", "one", "success", None)
    assert (found["refused"], found["dry_run"]) == ({}, True)
    assert main(["prune", "--older-than", "0", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["RUN", "WORKFLOW", "STATUS", "ENDED", "WHY"]
    assert lines[1].startswith("a    one       success  ")
    assert lines[2] == "would prune 1 run"
    assert left(capsys) == {"a"}


def test_the_latest_of_each_workflow_stay(capsys: Capture):
    ran(capsys, ONE, "a", "b", "c")
    ran(capsys, OTHER, "d", "e")
    assert pruned(capsys, "--keep", "2") == {"a"}
    assert pruned(capsys, "--keep", "1", "--older-than", "1h") == set()
    assert pruned(capsys, "--keep", "1", "--older-than", "0") == {"b", "d"}
    assert left(capsys) == {"c", "e"}


def test_a_workflow_says_itself_how_long_its_runs_stay(capsys: Capture):
    ran(capsys, KEPT_AN_HOUR, "a")
    ran(capsys, KEPT_AN_HOUR.replace("1h", "1ms"), "b")
    ran(capsys, ONE, "c")
    assert pruned(capsys) == {"b"}
    assert pruned(capsys, "--older-than", "0") == {"c"}
    assert left(capsys) == {"a"}


def test_runs_that_hooks_started_go_with_the_run_that_they_belong_to(capsys: Capture):
    Path("go").touch()
    ran(capsys, LETTERS, "a")
    (child,) = left(capsys) - {"a"}
    assert pruned(capsys, "--older-than", "1h") == set()
    runs = told(capsys, "prune", "--keep", "0")["pruned"]
    assert [(run["run_id"], run["with"]) for run in runs] == [("a", None), (child, "a")]
    assert left(capsys) == set()


def test_a_run_whose_parent_was_deleted_goes_by_itself(capsys: Capture):
    Path("go").touch()
    ran(capsys, LETTERS, "a")
    told(capsys, "delete", "a")
    (child,) = left(capsys)
    assert pruned(capsys, "--older-than", "0") == {child}


def test_a_run_stays_as_long_as_one_that_its_hooks_started_goes_on(capsys: Capture):
    ran(capsys, ONE, "a")
    journal = open_journal("sqlite:///runs.db")
    digest = journal.find("a").definition
    parent = {"run_id": "a", "task": "t", "delivery_id": "a/4/x", "depth": 1}
    started = RunStarted(1.0, "kid", "one/t", digest, {}, {}, {}, {PARENT: parent}, 1)
    summary = RunSummary("running", 1, 1.0, None)
    journal.commit([CreateRun("kid", "one/t", digest, journal.definition(digest), summary)])
    journal.commit([Append("kid", 1, [started, GenerationStarted(1.0, 1, "start")])])
    found = told(capsys, "prune", "--keep", "0")
    assert (found["pruned"], found["refused"]["a"]["code"]) == ([], "E422")
    journal.close()
    found = told(capsys, "prune", "--keep", "0")
    assert (found["pruned"], found["refused"]["a"]["code"]) == ([], "E428")
    assert left(capsys) == {"a", "kid"}


def test_a_run_whose_hooks_are_owed_something_stays_and_is_named(capsys: Capture):
    run_owing("a")
    ran(capsys, ONE, "b")
    assert pruned(capsys, "--keep", "0", "--dry-run") == {"b"}
    found = told(capsys, "prune", "--keep", "0")
    assert [run["run_id"] for run in found["pruned"]] == ["b"]
    assert found["refused"]["a"]["code"] == "E425"
    assert main(["prune", "--keep", "0"]) == 0
    assert "a stays: E425" in capsys.readouterr().err
    assert main(["hooks", "drain", "a"]) == 0
    assert pruned(capsys, "--keep", "0") == {"a"}


def test_a_run_that_cannot_be_read_is_named_and_keeps_no_other_from_going(capsys: Capture, folder: Path):
    import apsw

    ran(capsys, ONE, "a")
    ran(capsys, OTHER, "b")
    store = apsw.Connection(str(folder / "runs.db"))
    store.execute(
        "UPDATE definitions SET body = x'7b7d' WHERE hash = (SELECT definition FROM runs WHERE run_id = 'a')"
    )
    store.close()
    found = told(capsys, "prune", "--keep", "0", status=74)
    assert [run["run_id"] for run in found["pruned"]] == ["b"]
    assert found["refused"]["a"]["code"] == "E502"


def test_what_runs_is_paused_or_crashed_is_never_pruned(tmp_path: Path, capsys: Capture):
    with no_process_left_of(Shell(tmp_path)) as shell:
        shell.write("w.yaml", f"tasks: {{t: {{command: '{WAITS}'}}}}")
        live = shell.start("run", "w.yaml", "--run-id", "live")
        shell.wait_for("began")
        assert pruned(capsys, "--keep", "0", "--older-than", "0") == set()
        assert told(capsys, "delete", "live", status=75)["error"]["code"] == "E422"
        assert main(["pause", "live", "--grace", "0", "--quiet"]) == 0
        live.wait()
        assert pruned(capsys, "--keep", "0", "--older-than", "0") == set()
        (tmp_path / "began").unlink()
        crashed = shell.start("run", "w.yaml", "--run-id", "crashed")
        shell.wait_for("began")
        crashed.kill()
        crashed.wait()
        found = told(capsys, "prune", "--keep", "0")
        assert (found["pruned"], found["refused"]) == ([], {})
        assert left(capsys) == {"live", "crashed"}
        assert told(capsys, "delete", "crashed") == {"deleted": "crashed", "status": "crashed"}
        assert told(capsys, "delete", "live") == {"deleted": "live", "status": "paused"}


def test_after_a_signal_nothing_more_goes_and_what_went_is_told(capsys: Capture):
    ran(capsys, ONE, "a")
    early, words = EarlySignals(), ["prune", "--keep", "0", "--json"]
    early.install()
    try:
        early.note_only()
        os.kill(os.getpid(), signal.SIGINT)
        settings = Settings(Screen.for_words(words), early)
        status = app.main(args=words, standalone_mode=False, obj=settings)
    finally:
        early.restore()
    assert (status, json.loads(capsys.readouterr().out)["pruned"]) == (2, [])
    assert left(capsys) == {"a"}


def row(
    run_id: str, status: str = "success", *, workflow: str = "w", ended_at: float | None = 10.0
) -> RunRow:
    return RunRow(run_id, workflow, "d", RunSummary(status, 1, 0.0, ended_at), None, 0)  # type: ignore[arg-type]


def test_a_family_is_removed_children_first_and_ends_with_its_last():
    rows = [row("d", ended_at=40.0), row("b"), row("c", ended_at=30.0), row("a")]
    (family, other) = families_of(rows, {"b": "a", "c": "b", "d": "gone"})[::-1]
    assert [each.run_id for each in family.rows] == ["c", "b", "a"]
    assert (family.ended_at, other) == (30.0, Family(rows[0]))
    assert Family(row("a"), (row("b", "paused", ended_at=None),)).ended_at is None


def test_runs_that_have_not_ended_are_not_counted_among_the_latest():
    rows = [row("a", "running", ended_at=None), row("b"), row("c"), row("d", workflow="v")]
    assert latest_of(families_of(rows, {}), 1) == {"b", "d"}
    assert latest_of(families_of(rows, {}), 0) == frozenset()


@pytest.mark.parametrize(
    ("older_than_s", "keep_count", "keep_s", "expected"),
    [
        (None, None, None, False),
        (None, 0, None, True),
        (99.0, None, None, True),
        (100.0, None, None, False),
        (99.0, 5, None, True),
        (100.0, 0, None, False),
        (1.0, None, 100.0, False),
        (1000.0, None, 99.0, True),
        (None, 0, 100.0, False),
        (None, None, 0.5, True),
    ],
)
def test_a_run_is_due_by_its_own_age_before_the_one_that_is_typed(
    older_than_s: float | None, keep_count: int | None, keep_s: float | None, expected: bool
):
    request = PruneRequest(older_than_s=older_than_s, keep_count=keep_count)
    assert is_due(900.0, keep_s, request, 1000.0) is expected


# delete


def test_one_run_leaves_with_its_letters_and_no_other(capsys: Capture):
    ran(capsys, FAILS, "run-1", "run-2")
    assert main(["delete", "run-1"]) == 0
    assert capsys.readouterr().out == "deleted run-1 (failed)\n"
    assert left(capsys) == {"run-2"}
    assert [letter["run_id"] for letter in told(capsys, "dead-letters", "list")["dead_letters"]] == ["run-2"]
    assert told(capsys, "show", "run-1", status=66)["error"]["code"] == "E421"


def test_a_run_whose_hooks_are_owed_something_is_deleted_by_force_alone(capsys: Capture):
    run_owing("a")
    assert told(capsys, "delete", "a", status=75)["error"]["code"] == "E425"
    assert left(capsys) == {"a"}
    assert told(capsys, "delete", "a", "--force") == {"deleted": "a", "status": "success"}
    assert left(capsys) == set()


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (["delete", "nothing"], 66, "E421"),
        (["delete", "last"], 66, "E421"),
        (["delete", "run"], 66, "E421"),
        (["delete"], 64, "E600"),
        (["delete", "run-1", "run-2"], 64, "E600"),
        (["delete", "run-1", "--store", "elsewhere.db"], 66, "E421"),
        (["prune", "run-1"], 64, "E600"),
        (["prune", "--keep", "-1"], 64, "E600"),
        (["prune", "--keep", "some"], 64, "E600"),
        (["prune", "--older-than", "5x"], 64, "E600"),
        (["prune", "--older-than", "-5s"], 64, "E600"),
        (["export"], 64, "E600"),
        (["export", "nothing"], 66, "E421"),
        (["export", "run-1", "--output", "."], 74, "E602"),
        (["export", "run-1", "--output", "nowhere/run.json"], 74, "E602"),
    ],
)
def test_a_bad_command_line_changes_nothing(capsys: Capture, words: list[str], status: int, code: str):
    ran(capsys, ONE, "run-1", "run-2")
    assert told(capsys, *words, status=status)["error"]["code"] == code
    assert left(capsys) == {"run-1", "run-2"}
    assert not Path("elsewhere.db").exists()


# export


def test_an_export_has_all_of_a_run(capsys: Capture):
    ran(
        capsys,
        "name: all\ninputs: {n: {type: integer, default: 3}}\n"
        "tasks: {t: {command: ['echo', '{{ input.n }}']}}\noutputs: {said: '{{ tasks.t.output }}'}\n"
        "hooks: {workflow_finished: [{command: 'echo bye', mode: async}]}\n",
        "a",
    )
    found = told(capsys, "export", "a")
    assert (found["format"], found["run_id"], found["status"]) == (1, "a", "success")
    assert (found["inputs"], found["outputs"], found["definition"]["name"]) == (
        {"n": 3},
        {"said": "3"},
        "all",
    )
    assert found["tasks"]["t"]["output"] == "3"
    assert [event["seq"] for event in found["events"]] == [*range(1, len(found["events"]) + 1)]
    assert (found["events"][0]["kind"], found["events"][-1]["kind"]) == ("run_started", "run_finished")
    (delivery,) = found["deliveries"]
    assert (delivery["status"], delivery["tries"], delivery["stdout"]) == ("ok", 1, "bye\n")
    assert told(capsys, "export", "last") == found


def test_an_export_has_what_is_owed_and_what_was_given_up(capsys: Capture):
    run_owing("a")
    assert [each["status"] for each in told(capsys, "export", "a")["deliveries"]] == ["pending"]
    ran(capsys, FAILS, "b")
    found = told(capsys, "export", "b")
    assert found["dead_letters"] == ["b/1/t"]
    (failed,) = (event for event in found["events"] if event["kind"] == "task_failed")
    assert failed["failure"]["type"] == "exit_status"
    assert failed["failure"]["detail"]["exit_status"] == 3


def test_an_export_to_a_file_is_for_its_owner_and_replaces_it_whole(capsys: Capture, folder: Path):
    ran(capsys, ONE, "a")
    file = folder / "run.json"
    file.write_text("before", encoding="utf-8")
    assert main(["export", "a", "--output", "run.json"]) == 0
    assert capsys.readouterr().out.startswith("wrote run a, ")
    assert json.loads(file.read_text("ascii")) == told(capsys, "export", "a", "-o", "-")
    assert file.stat().st_mode & 0o777 == 0o600
    assert told(capsys, "export", "a", "-o", "run.json") == {"run_id": "a", "file": "run.json"}
    assert main(["export", "a", "-o", "/dev/null"]) == 0
    assert {each.name for each in folder.glob("*run.json*")} == {"run.json"}


SENSITIVE = """
name: hush
inputs:
  key: {type: string, default: c4nary-default, enum: [c4nary-default, c4nary-typed], sensitive: true}
tasks:
  gives: {command: 'echo c4nary"-given"', sensitive: true}
  warns: {command: 'echo c4nary"-warned" >&2', sensitive: true}
  fails: {command: 'echo c4nary"-failed" >&2; exit 3', sensitive: true, on_error: {strategy: finish}}
  stands_in: {command: 'exit 3', sensitive: true, on_error: {fallback_value: c4nary-fallback}}
  letter: {command: 'exit 4', with: {key: '{{ input.key }}'}, on_error: {strategy: finish}}
hooks:
  pre_workflow: [{command: 'echo "$KEY"', env: {KEY: '{{ input.key }}'}}]
  task_finished:
    - {type: transform, mode: blocking, params: {set: {seen: '{{ output }}'}}}
    - {command: 'echo "$KEY" >&2; exit 1', mode: async, env: {KEY: '{{ input.key }}'}}
  post_workflow: [{command: 'echo "$KEY" >&2; exit 1', env: {KEY: '{{ input.key }}'}}]
outputs: {given: '{{ tasks.gives.output }}', key: '{{ input.key }}'}
"""


def test_nothing_that_is_sensitive_is_in_an_export(capsys: Capture):
    Path("w.yaml").write_text(SENSITIVE, encoding="utf-8")
    main(["run", "w.yaml", "--run-id", "a", "--input", "key=c4nary-typed", "--quiet"])
    found = told(capsys, "export", "a")
    assert found["inputs"] == {"key": "***"}
    assert {name: task["output"] for name, task in found["tasks"].items() if task["output"]} == {
        **dict.fromkeys(("gives", "warns", "stands_in"), "***"),
    }
    kinds = {event["kind"] for event in found["events"]}
    assert {"attempt_failed", "fallback_value_used", "dead_lettered", "hook_finished", "run_ending"} <= kinds
    assert json.dumps(found).count("c4nary-") == 0


def test_outputs_of_a_run_that_read_something_sensitive_are_not_in_an_export(capsys: Capture):
    ran(
        capsys,
        "name: hush\ninputs: {key: {type: string, default: c4nary-key, sensitive: true}}\n"
        "tasks:\n  t: {command: 'echo c4nary-output', sensitive: true}\n  u: {command: 'echo plain'}\n"
        "outputs: {key: '{{ input.key }}', t: '{{ tasks.t.output }}', u: '{{ tasks.u.output }}'}\n",
        "a",
    )
    found = told(capsys, "export", "a")
    (ending,) = (event for event in found["events"] if event["kind"] == "run_ending")
    assert ending["outputs"] == found["outputs"] == {"key": "***", "t": "***", "u": "plain"}
    assert "c4nary-key" not in json.dumps(found)


def test_what_a_hook_said_that_failed_its_run_is_not_in_an_export(capsys: Capture):
    ran(
        capsys,
        "name: hush\ninputs: {key: {type: string, default: c4nary-key, sensitive: true}}\n"
        "tasks: {t: {command: 'true'}}\n"
        "hooks: {pre_workflow: [{command: 'echo \"$KEY\" >&2; exit 1', on_error: fail, env: {KEY: '{{ input.key }}'}}]}\n",
        "a",
    )
    found = told(capsys, "export", "a")
    assert found["status"] == "failed"
    assert found["error"] == {
        "type": "hook_failed",
        "message": "hook pre_workflow[0] failed: ***",
        "task": None,
        "attempt": None,
    }
    assert "c4nary" not in json.dumps(found)
    assert told(capsys, "show", "a")["error"] == found["error"]


def test_what_a_parent_calls_sensitive_is_not_in_an_export_of_the_run_that_its_hook_started(capsys: Capture):
    ran(
        capsys,
        "name: p\ninputs: {key: {type: string, default: c4nary-key, sensitive: true}}\n"
        "tasks:\n"
        "  t: {command: 'true', hooks: {task_finished: [{type: dispatch_task, "
        "params: {task_id: mail, input: {got: '{{ input.key }}'}}}]}}\n"
        "  mail:\n    command: 'exit 3'\n    with: {got: '{{ input.got }}'}\n    hooks:\n      task_finished:\n"
        "        - {command: 'echo \"$GOT\"', mode: blocking, env: {GOT: '{{ input.got }}'}}\n"
        "        - {command: 'echo \"$GOT\"', mode: async, env: {GOT: '{{ input.got }}'}}\n",
        "a",
    )
    (child,) = left(capsys) - {"a"}
    found = told(capsys, "export", child)
    assert (found["inputs"], found["parent"]["run_id"]) == ({"got": "***"}, "a")
    assert [delivery["stdout"] for delivery in found["deliveries"]] == ["***"]
    assert "c4nary" not in json.dumps([found, told(capsys, "export", "a")])


def test_each_field_of_an_event_that_may_hold_values_of_a_user_is_hidden_or_meant_to_be_read():
    meant = {
        "RunStarted.flags",
        "SignalReceived.payload",
    }
    free = {
        f"{kind.__name__}.{each.name}"
        for kind in get_args(Event)
        for each in fields(kind)
        if str(each.type) in ("Any", "Mapping[str, Any]", "Failure", "Failure | None")
    }
    hidden = {f"{kind.__name__}.{name}" for kind, names in HIDING.items() for name in names}
    assert free == hidden | meant
