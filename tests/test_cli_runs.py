"""What the commands write: of runs, of tasks, of files; on both back ends where a run goes on."""

from __future__ import annotations

import json
import re
import stat
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from actorflow import Runtime, load, loads
from actorflow.cli import main
from actorflow.cli.hooks.runs import hook_runs
from actorflow.cli.resume import _has_changed
from actorflow.core.events import GenerationStarted, HookFinished, HookLost, HookStarted
from actorflow.core.plan import plan_of
from actorflow.journal import open_journal
from actorflow.spec.definition import from_json, to_json

_SEED = Path(__file__).with_name("seed")

Capture = pytest.CaptureFixture[str]


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with stand-ins for the programs that examples call: every one of them fails."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("aws", "mail", "pg_dump", "pg_restore", "slack-notify", "curl", "docker-compose"):
        program = programs / name
        program.write_text(f"#!/bin/sh\necho '{name}: not here' >&2\nexit 7\n", encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("ACTORFLOW_STORE", str(tmp_path / "runs.db"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(sys, "path", [*sys.path])  # folders of workflows are added to it
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, text: str) -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def document(capsys: Capture) -> Any:
    return json.loads(capsys.readouterr().out)


def recorded(run_id: str) -> Any:
    """The first event of a run."""
    journal = open_journal("sqlite:///runs.db")
    try:
        return next(iter(journal.events(run_id)))[1]
    finally:
        journal.close()


@pytest.mark.parametrize("name", ["data_sync", "task_recovery_fragment"])
def test_a_seed_example_runs_to_success(name: str, backend: str, capsys: Capture):
    assert (
        main(["run", str(_SEED / f"{name}.yaml"), "--agent", "*=echo", "--backend", backend, "--json"]) == 0
    )
    assert document(capsys)["status"] == "success"


def test_a_clean_up_that_fails_is_told_and_changes_no_outcome(backend: str, capsys: Capture):
    text = (_SEED / "ml_pipeline.yaml").read_text(encoding="utf-8").replace("/tmp/", "./")
    write("ml.yaml", text)
    assert main(["run", "ml.yaml", "--agent", "*=echo", "--backend", backend, "--run-id", "ml"]) == 0
    printed = capsys.readouterr()
    assert "hooks: 2 done, 1 failed, 0 owed" in printed.out  # done: the set-up, and a notice
    assert "post_workflow[0] failed: exited with status 7: aws: not here (aws s3 sync" in printed.out
    assert "train_model: Model training completed successfully\n" in printed.err
    main(["show", "ml"])
    assert "post_workflow[0] failed" in capsys.readouterr().out
    main(["resume", "ml"])
    assert "post_workflow[0] failed" in capsys.readouterr().out


def test_all_seed_examples_of_today_validate(capsys: Capture):
    later = {"process_order.yaml"}
    files = sorted(str(path) for path in _SEED.glob("*.yaml") if path.name not in later)
    assert main(["validate", *files]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        f"ok: {_SEED}/data_sync.yaml: 2 tasks, agents to bind: primary_api, secondary_api, data_writer"
        in lines
    )
    assert f"ok: {_SEED}/production_deployment.yaml: 0 tasks" in lines


def test_validate_in_json_has_a_row_for_each_file(capsys: Capture):
    good, bad = write("good.yaml", "tasks: {t: {agent: x}}"), write("bad.yaml", "tasks: []")
    assert main(["--json", "validate", good, bad, "gone.yaml"]) == 65
    files = document(capsys)["files"]
    assert [(row["file"], row["ok"]) for row in files] == [
        ("good.yaml", True),
        ("bad.yaml", False),
        ("gone.yaml", False),
    ]
    assert "x" in files[0]["warnings"][0]["message"]
    assert set(files[1]["problems"][0]) == {"code", "message", "file", "line", "column", "hint"}


def test_the_document_of_a_run_has_the_keys_that_were_promised(backend: str, capsys: Capture):
    file = write("w.yaml", "name: w\ntasks: {t: {agent: x}}\noutputs: {o: '{{ tasks.t.output.input.a }}'}\n")
    words = ["run", file, "--agent", "x=echo", "--input", "a=é", "--backend", backend, "--json"]
    assert main(words) == 0
    printed = capsys.readouterr()
    run = json.loads(printed.out)
    assert list(run) == [
        "run_id", "workflow", "status", "generation", "progress", "had_errors", "started_at", "ended_at", "outputs",
        "error", "tasks", "hooks",
    ]  # fmt: skip
    assert list(run["tasks"]["t"]) == [
        "status", "reason", "attempts", "losses", "agent", "output", "error", "started_at", "ended_at",
    ]  # fmt: skip
    assert list(run["hooks"]) == ["delivered", "failed", "pending", "dead_letters", "skipped"]
    assert run["outputs"] == {"o": "é"}
    assert abs(run["started_at"] - time.time()) < 60


def test_a_failed_run_says_why_in_both_forms(backend: str, capsys: Capture):
    file = write("w.yaml", "tasks: {t: {command: 'echo oh no >&2; exit 3'}}")
    assert main(["run", file, "--backend", backend, "--run-id", "r"]) == 1
    printed = capsys.readouterr()
    assert "why: task t, attempt 1: exit_status: " in printed.out
    assert "oh no" in printed.out
    assert "actorflow resume r\n" in printed.err
    assert "actorflow show r t\n" in printed.err
    assert main(["show", "r", "--json"]) == 0
    error = document(capsys)["error"]
    assert (error["type"], error["task"], error["attempt"]) == ("exit_status", "t", 1)


def test_progress_has_a_line_for_each_task_that_ends(backend: str, capsys: Capture):
    file = write(
        "w.yaml",
        "tasks:\n  a: {agent: x}\n  longer: {agent: y, depends_on: [a], on_error: {strategy: skip}}\n"
        "  c: {agent: x, when: 'false'}\n",
    )
    assert main(["run", file, "--agent", "x=echo", "--agent", "y=fail", "--backend", backend]) == 0
    printed = capsys.readouterr()
    lines = {line.split()[0]: line for line in printed.err.splitlines()}
    assert lines["a"].startswith("  a       success   1 attempt")
    assert lines["longer"].startswith("  longer  failed    1 attempt")
    assert lines["longer"].endswith("fail: told to fail (tolerated)")
    assert lines["c"] == "  c       skipped   when"
    assert "in spite of 1 failed task: longer" in printed.out


def test_quiet_says_nothing_on_stderr_and_all_of_the_result_on_stdout(capsys: Capture):
    file = write("w.yaml", "tasks: {t: {agent: x, on_complete: {notify: done}}}\noutputs: {o: 1}")
    assert main(["--quiet", "run", file, "--agent", "x=echo", "--agent", "unused=echo"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "  outputs:\n    o: 1\n" in printed.out


def test_an_agent_that_the_file_does_not_use_is_warned_of_and_the_star_is_not(capsys: Capture):
    file = write("w.yaml", "tasks: {t: {command: 'true'}}")
    assert main(["run", file, "--agent", "odd=echo", "--agent", "*=echo"]) == 0
    err = capsys.readouterr().err
    assert "odd" in err
    assert "*" not in err


def test_an_exact_name_overrides_the_file_and_inline_runners_stay(capsys: Capture):
    file = write(
        "w.yaml", "agents: {x: {command: 'exit 1'}}\ntasks: {a: {agent: x}, b: {command: 'echo mine'}}"
    )
    assert main(["run", file, "--agent", "x=echo", "--agent", "*=fail", "--json"]) == 0
    tasks = document(capsys)["tasks"]
    assert tasks["a"]["output"]["input"] == {}
    assert tasks["b"]["output"] == "mine"


def test_modules_beside_the_workflow_can_be_named_and_what_they_print_is_no_result(
    folder: Path, backend: str, capsys: Capture
):
    (folder / "sub").mkdir()
    module = f"agents_beside_{backend}"
    write(f"sub/{module}.py", "print('imported')\ndef act(call):\n    print('called')\n    return 5\n")
    file = write("sub/w.yaml", "tasks: {t: {agent: x}}\noutputs: {o: '{{ tasks.t.output }}'}")
    assert main(["run", file, "--agent", f"x=python:{module}:act", "--backend", backend, "--json"]) == 0
    assert document(capsys)["outputs"] == {"o": 5}


def test_bindings_and_flags_are_recorded_so_that_resume_needs_none(backend: str, capsys: Capture):
    write(
        f"agents_seen_{backend}.py",
        "import sniffio\nasync def act(call):\n    return sniffio.current_async_library()\n",
    )
    agent = f"python:agents_seen_{backend}:act"
    file = write("w.yaml", "tasks: {a: {command: 'test -e go'}, b: {agent: x, depends_on: [a]}}")
    words = ["--agent", f"x={agent}", "--backend", backend, "--max-parallel", "7", "--grace", "3s"]
    assert main(["run", file, *words, "--run-id", "r"]) == 1
    started = recorded("r")
    assert started.bindings == {"x": agent}
    assert started.flags == {"backend": backend, "durability": None, "max_parallel": 7, "grace": 3.0}
    Path("go").touch()
    capsys.readouterr()
    assert main(["resume", "r", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["tasks"]["b"]["output"] == backend
    assert "changed" not in printed.err  # what a flag changed is no change of the file


def test_a_second_generation_is_told_from_its_own_start(capsys: Capture):
    file = write("w.yaml", "tasks: {a: {command: 'true'}, b: {command: 'test -e go', depends_on: [a]}}")
    assert main(["run", file, "--run-id", "r"]) == 1
    Path("go").touch()
    capsys.readouterr()
    assert main(["resume", "r"]) == 0
    err = capsys.readouterr().err.splitlines()
    assert err[:2] == ["run r", "generation 2"]
    assert err[2].startswith("  b  success   2 attempts")
    assert len(err) == 3


def test_resume_says_that_the_file_has_changed_and_never_uses_it(capsys: Capture):
    file = write("w.yaml", "tasks: {t: {command: 'test -e go && echo old'}}")
    assert main(["run", file, "--run-id", "r"]) == 1
    Path("go").touch()
    write("w.yaml", "tasks: {t: {command: 'echo new'}}")
    capsys.readouterr()
    assert main(["resume", "r", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["tasks"]["t"]["output"] == "old"
    assert printed.err.count("w.yaml has changed since the run began") == 1


_TWO_ENTRIES = """
workflows:
  one: {steps: [{stage: s, tasks: [a]}]}
  two: {steps: [{stage: s, tasks: [b]}]}
tasks: {a: {command: 'false'}, b: {command: 'true'}}
"""


def test_a_run_of_one_of_several_entries_is_known_by_it_and_changes_only_with_it(capsys: Capture):
    file = write("w.yaml", _TWO_ENTRIES)
    assert main(["run", file, "--workflow", "one", "--run-id", "r"]) == 1
    for text, is_told in (
        (_TWO_ENTRIES, False),
        (_TWO_ENTRIES.replace("{a: {command: 'false'}", "{a: {command: 'test 1 = 2'}"), True),
        (_TWO_ENTRIES.replace("one:", "three:"), True),
    ):
        write("w.yaml", text)
        capsys.readouterr()
        assert main(["resume", "r"]) == 1
        assert ("has changed" in capsys.readouterr().err) == is_told
    main(["show", "r"])
    assert "workflow    w (one)\n" in capsys.readouterr().out
    main(["show", "r", "--json"])
    assert document(capsys)["entry"] == "one"


def test_a_definition_in_the_words_of_an_earlier_version_has_not_changed():
    file = write("w.yaml", "tasks: {t: {command: 'true'}}")
    assert main(["run", file, "--run-id", "r"]) == 0
    stored = json.loads(to_json(load(file)))
    del stored["format"]
    spec = from_json(json.dumps({**stored, "hooks": {}}).encode())
    assert not _has_changed(spec, recorded("r"))
    write("w.yaml", "tasks: {t: {command: 'false'}}")
    assert _has_changed(spec, recorded("r"))


def test_a_file_that_no_longer_loads_has_changed_and_one_that_is_gone_says_nothing(capsys: Capture):
    file = write("w.yaml", "tasks: {t: {command: 'true'}}")
    assert main(["run", file, "--run-id", "r"]) == 0
    write("w.yaml", "tasks: [")
    capsys.readouterr()
    assert main(["resume", "r"]) == 0
    assert "has changed" in capsys.readouterr().err
    Path("w.yaml").unlink()
    assert main(["resume", "r"]) == 0
    assert "has changed" not in capsys.readouterr().err


async def _act(_: object) -> int:
    raise ValueError("not today")


async def _run_in_code() -> None:
    async with Runtime(store="sqlite:///runs.db", agents={"x": _act, "y": _act}) as runtime:
        await runtime.run(load("w.yaml"), run_id="coded")


def test_a_run_bound_in_code_names_its_agents_until_they_are_bound(capsys: Capture):
    write("w.yaml", "tasks: {a: {agent: x}, b: {agent: y}}")
    anyio.run(_run_in_code)
    assert main(["resume", "coded"]) == 78
    assert "x, y" in capsys.readouterr().err
    assert main(["resume", "coded", "--agent", "x=echo"]) == 78
    assert main(["resume", "coded", "--agent", "x=echo", "--agent", "y=echo"]) == 0


def test_list_has_a_row_for_each_run_the_latest_first(capsys: Capture):
    file = write("w.yaml", "name: 'W \\e[31m'\ntasks: {t: {agent: x}}".replace("'", '"'))
    assert main(["run", file, "--agent", "x=echo", "--run-id", "one"]) == 0
    assert main(["run", file, "--agent", "x=fail", "--run-id", "two"]) == 1
    capsys.readouterr()
    assert main(["list"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["RUN", "WORKFLOW", "STATUS", "GENERATION", "STARTED"]
    assert [row.split()[0] for row in rows] == ["two", "one"]
    assert rows[0].index("failed") == head.index("STATUS")
    assert "\x1b" not in "".join(rows)
    main(["list", "--json"])
    assert [(row["run_id"], row["status"], row["pid"]) for row in document(capsys)] == [
        ("two", "failed", None),
        ("one", "success", None),
    ]


def test_show_last_is_the_run_that_was_started_last(capsys: Capture):
    file = write("w.yaml", "tasks: {t: {agent: x}}")
    assert main(["show", "last"]) == 66
    assert "there are no runs in this store" in capsys.readouterr().err
    for run_id in ("b", "a"):
        assert main(["run", file, "--agent", "x=echo", "--run-id", run_id]) == 0
    capsys.readouterr()
    assert main(["show", "last", "--json"]) == 0
    assert document(capsys)["run_id"] == "a"
    assert main(["show", "last", "t"]) == 0


def test_show_task_has_every_attempt_and_the_whole_output(capsys: Capture):
    file = write(
        "w.yaml",
        "tasks:\n  t:\n    agent: x\n    description: What it does\n"
        "    on_error: {retry: {max_attempts: 2, delay: 1ms}, fallback_agent: y}\n",
    )
    assert main(["run", file, "--agent", "x=fail", "--agent", "y=echo", "--run-id", "r"]) == 0
    assert "retry     attempt 2 at once, after fail: told to fail" in capsys.readouterr().err
    assert main(["show", "r", "t"]) == 0
    out = capsys.readouterr().out
    rows = [line.split()[:4] for line in out[out.index("ATTEMPT") :].splitlines()[1:]]
    assert rows == [["1", "0", "x", "failed"], ["2", "0", "x", "failed"], ["3", "0", "y", "success"]]
    assert '"description": "What it does"' in out
    assert main(["show", "r", "t", "--json"]) == 0
    assert document(capsys)["attempts"] == 3


def test_show_says_of_a_task_that_only_the_end_of_what_it_printed_was_kept(capsys: Capture):
    write("w.yaml", "tasks: {t: {command: 'yes | head -c 1500000'}, u: {command: 'true'}}")
    assert main(["run", "w.yaml", "--run-id", "r", "--quiet"]) == 0
    capsys.readouterr()
    main(["show", "r", "t"])
    assert "of what it printed, only the last MiB is kept" in capsys.readouterr().out
    for task, is_truncated in (("t", True), ("u", False)):
        main(["show", "r", task, "--json"])
        assert document(capsys)["is_truncated"] is is_truncated


def test_show_says_that_a_fallback_value_stands_in(capsys: Capture):
    write("w.yaml", "tasks: {t: {agent: x, on_error: {fallback_value: {a: 1}}}}")
    assert main(["run", "w.yaml", "--agent", "x=fail", "--run-id", "r", "--quiet"]) == 0
    capsys.readouterr()
    main(["show", "r"])
    shown = capsys.readouterr().out
    assert re.search(r"t +success +1 +\S+ s +- +its fallback value stands in", shown)
    assert re.search(r"on the way:\n.* t  value  its fallback value stands in", shown)
    main(["show", "r", "t"])
    shown = capsys.readouterr().out
    assert "success (its fallback value stands in)" in shown
    assert "fail: told to fail\n\n  on the way:" in shown
    main(["show", "r", "t", "--json"])
    assert document(capsys)["is_fallback_value"] is True


def test_outputs_that_would_speak_to_the_terminal_are_shown_harmless(capsys: Capture):
    write("agents_rude.py", "def act(call):\n    return '\\x1b[2J\\x9b\\u202e\\x07'\n")
    file = write("w.yaml", "tasks: {t: {agent: x}}\noutputs: {o: '{{ tasks.t.output }}'}")
    assert main(["run", file, "--agent", "x=python:agents_rude:act", "--run-id", "r"]) == 0
    assert main(["show", "r"]) == 0
    assert main(["show", "r", "t"]) == 0
    out = capsys.readouterr().out
    assert not set("\x1b\x9b\u202e\x07") & set(out)
    assert "\\u001b[2J\\u009b\\u202e" in out


def test_a_run_in_memory_is_not_listed_and_nothing_is_said_of_resuming_it(capsys: Capture):
    file = write("w.yaml", "tasks: {t: {agent: x}}")
    assert main(["run", file, "--agent", "x=fail", "--durability", "memory"]) == 1
    assert "resume" not in capsys.readouterr().err
    assert main(["list", "--json"]) == 0
    assert document(capsys) == []


def test_what_to_type_next_names_the_store_that_was_named(capsys: Capture):
    file = write("w.yaml", "tasks: {t: {agent: x}}")
    assert main(["run", file, "--agent", "x=fail", "--run-id", "r", "--store", "my runs.db"]) == 1
    assert "actorflow resume r --store 'my runs.db'\n" in capsys.readouterr().err


def test_stage_hooks_are_done_before_the_command_ends(backend: str, capsys: Capture):
    file = write(
        "w.yaml",
        "hooks: {on_stage_complete: ['echo $WORKFLOW_STAGE >> stages', 'exit 9']}\n"
        "workflows: {main: {steps: [{stage: one, tasks: [a]}, {stage: two, tasks: [b]}]}}\n"
        "tasks: {a: {agent: x}, b: {agent: x}}\n",
    )
    assert main(["run", file, "--agent", "x=echo", "--backend", backend]) == 0
    out = capsys.readouterr().out
    assert "hooks: 2 done, 2 failed, 0 owed" in out
    assert out.count(" failed: exited with status 9 (exit 9)") == 2
    assert Path("stages").read_text(encoding="utf-8") == "one\ntwo\n"


_HOOKS = """
hooks:
  pre_workflow:
    - command: "printf 'one\\\\ntwo\\\\n'; echo careful >&2"
      description: Set up
  on_error:
    - "echo rescue; exit 9"
  post_workflow:
    - {command: "echo begun; sleep 60", description: Clean up, timeout: 0.3}
    - ["true", "-n"]
tasks: {t: {command: "exit 1"}}
"""


def test_show_tells_how_each_hook_ended_and_what_it_printed(backend: str, capsys: Capture):
    assert main(["run", write("w.yaml", _HOOKS), "--backend", backend, "--run-id", "r"]) == 1
    capsys.readouterr()
    assert main(["show", "r"]) == 0
    out = capsys.readouterr().out
    lines = re.sub(r"\d+\.\d\d s", "N s", out[out.index("  hooks: ") :]).splitlines()
    assert lines == [
        "  hooks: 2 done, 2 failed, 0 owed",
        "    pre_workflow[0] ok, N s (Set up)",
        "      stdout:",
        "        one",
        "        two",
        "      stderr:",
        "        careful",
        "    on_error[0] failed, N s: exited with status 9 (echo rescue; exit 9)",
        "      stdout:",
        "        rescue",
        "    post_workflow[0] timed out, N s: not done after 0.3 s (Clean up)",
        "      stdout:",
        "        begun",
        "    post_workflow[1] ok, N s (true -n)",
    ]


def test_show_in_json_has_the_same_of_each_hook(backend: str, capsys: Capture):
    assert main(["run", write("w.yaml", _HOOKS), "--backend", backend, "--run-id", "r"]) == 1
    capsys.readouterr()
    assert main(["show", "r", "--json"]) == 0
    hooks = document(capsys)["hook_runs"]
    facts = [(hook["hook"], hook["name"], hook["status"], hook["summary"], hook["stdout"]) for hook in hooks]
    assert facts == [
        ("pre_workflow[0]", "Set up", "ok", None, "one\ntwo\n"),
        ("on_error[0]", "echo rescue; exit 9", "failed", "exited with status 9", "rescue\n"),
        ("post_workflow[0]", "Clean up", "timed_out", "not done after 0.3 s", "begun\n"),
        ("post_workflow[1]", "true -n", "ok", None, ""),
    ]
    assert hooks[0]["stderr"] == "careful\n"
    assert hooks[2]["duration_s"] >= 0.3


def test_show_names_the_stage_of_a_stage_hook(backend: str, capsys: Capture):
    file = write(
        "w.yaml",
        "hooks: {on_stage_complete: ['echo $WORKFLOW_STAGE is done']}\n"
        "workflows: {main: {steps: [{stage: one, tasks: [a]}, {stage: two, tasks: [b]}]}}\n"
        "tasks: {a: {agent: x}, b: {agent: x}}\n",
    )
    assert main(["run", file, "--agent", "x=echo", "--backend", backend, "--run-id", "r"]) == 0
    capsys.readouterr()
    assert main(["show", "r"]) == 0
    out = capsys.readouterr().out
    assert "    on_stage_complete[0] after stage one ok, " in out
    assert "        one is done\n    on_stage_complete[0] after stage two ok, " in out
    main(["show", "r", "--json"])
    assert [hook["stage"] for hook in document(capsys)["hook_runs"]] == ["one", "two"]


def test_show_tells_the_hooks_of_the_last_generation(capsys: Capture):
    file = write(
        "w.yaml",
        "hooks: {pre_workflow: ['echo generation $ACTORFLOW_GENERATION']}\ntasks: {t: {command: 'test -e go'}}",
    )
    assert main(["run", file, "--run-id", "r"]) == 1
    Path("go").touch()
    assert main(["resume", "r"]) == 0
    capsys.readouterr()
    assert main(["show", "r"]) == 0
    out = capsys.readouterr().out
    assert "generation 2\n" in out
    assert "generation 1\n" not in out


def test_a_hook_that_was_cut_off_is_told_once_as_it_stands():
    spec = loads("hooks: {pre_workflow: [make]}\ntasks: {t: {agent: x}}", trust="own")
    begun = [GenerationStarted(0.0, 1, "start"), HookStarted(1.0, "pre_workflow", 0)]
    lost = [*begun, HookLost(2.0, "pre_workflow", 0), HookStarted(3.0, "pre_workflow", 0)]
    ended = [*lost, HookFinished(4.0, "pre_workflow", 0, "ok")]
    statuses = [
        [(hook.path, hook.name, hook.status) for hook in hook_runs(plan_of(spec), enumerate(events), ())]
        for events in (begun, lost, ended)
    ]
    assert statuses == [
        [("pre_workflow[0]", "make", "not_ended")],
        [("pre_workflow[0]", "make", "not_ended")],
        [("pre_workflow[0]", "make", "ok")],
    ]


def test_what_a_hook_prints_is_shown_harmless_and_cut(capsys: Capture):
    file = write(
        "w.yaml",
        "hooks:\n  pre_workflow:\n"
        "    - \"seq 1 100; printf '\\\\033[2J\\\\302\\\\233x\\\\r\\\\n'; head -c 1000 /dev/zero | tr '\\\\0' y\"\n"
        "tasks: {t: {command: 'true'}}\n",
    )
    assert main(["run", file, "--run-id", "r"]) == 0
    assert main(["show", "r"]) == 0
    out = capsys.readouterr().out
    shown = [line.strip() for line in out[out.index("stdout:") :].splitlines()]
    assert shown[1:4] == ["… 62 lines before", "63", "64"]
    assert shown[39:] == ["100", "\\x1b[2J\\u009bx", "y" * 500 + "… 500 more characters"]
    assert not set("\x1b\x9b\r") & set(out)


def test_what_is_sensitive_is_stars_in_the_summary_and_in_show(backend: str, capsys: Capture):
    file = write(
        "w.yaml",
        "inputs: {pin: {type: string, sensitive: true}, who: {type: string}}\n"
        "tasks:\n"
        "  vault: {agent: x, sensitive: true}\n"
        "  open: {agent: x, with: {a: 1}}\n"
        "outputs:\n"
        "  pin: '{{ input.pin }}'\n"
        "  all: '{{ input }}'\n"
        "  content: '{{ tasks.vault.output.input.who }}'\n"
        "  open: '{{ tasks.open.output.input.a }}'\n"
        "  who: '{{ input.who }}'\n",
    )
    words = ["--agent", "x=echo", "--input", "pin=7391", "--input", "who=Zoe", "--backend", backend]
    texts: list[str] = []
    for flags in ([], ["--json"]):
        run_id = f"r{len(flags)}"
        assert main(["run", file, *words, "--run-id", run_id, *flags]) == 0
        assert main(["show", run_id, *flags]) == 0
        assert main(["show", run_id, "vault", *flags]) == 0
        texts.append(capsys.readouterr().out)
    for text in texts:
        assert "7391" not in text
        assert "***" in text
    assert '    content: "***"\n    open: 1\n    who: "Zoe"\n' in texts[0]
    assert '  inputs:\n    pin: "***"\n    who: "Zoe"\n' in texts[0]
    assert main(["show", "r1", "--json"]) == 0
    run = document(capsys)
    assert run["outputs"] == {"pin": "***", "all": "***", "content": "***", "open": 1, "who": "Zoe"}
    assert (run["tasks"]["vault"]["output"], run["inputs"]) == ("***", {"pin": "***", "who": "Zoe"})
    assert run["tasks"]["open"]["output"]["input"] == {"a": 1}


def test_what_a_sensitive_task_says_when_it_fails_is_stars_too(backend: str, capsys: Capture):
    file = write(
        "w.yaml",
        "tasks:\n  vault: {command: 'echo 7391 >&2; exit 3', sensitive: true, retry: {max_attempts: 2, delay: 1ms}}\n",
    )
    for flags in ([], ["--json"]):
        run_id = f"r{len(flags)}"
        assert main(["run", file, "--run-id", run_id, "--backend", backend, *flags]) == 1
        assert main(["show", run_id, *flags]) == 0
        assert main(["show", run_id, "vault", *flags]) == 0
        printed = capsys.readouterr()
        assert "7391" not in printed.out + printed.err
    assert main(["show", "r0", "vault"]) == 0
    assert "why: task vault, attempt 2: exit_status: ***\n" in capsys.readouterr().out


@pytest.mark.parametrize("where", ["task", "agent"])
def test_an_output_that_says_it_is_an_error_fails_its_task(where: str, backend: str, capsys: Capture):
    soft = "soft_errors: true"
    file = write(
        "w.yaml",
        f"agents: {{x: {{command: 'echo ''{{\"error\": \"no room\"}}''', {soft if where == 'agent' else 'env: {}'}}}}}\n"
        f"tasks: {{t: {{agent: x, {soft if where == 'task' else 'env: {}'}}}}}\n",
    )
    assert main(["run", file, "--backend", backend, "--json"]) == 1
    error = document(capsys)["error"]
    assert (error["type"], error["message"]) == ("soft_error", "the output is an error: no room")


def test_scripts_of_a_file_get_values_as_arguments_and_variables(folder: Path, backend: str, capsys: Capture):
    (folder / "flow" / "sub").mkdir(parents=True)
    write("flow/beside.sh", 'echo "$1 in $(basename "$PWD")"')
    file = write(
        "flow/w.yaml",
        "inputs: {who: {type: string, required: true}}\n"
        "tasks:\n"
        "  text:\n"
        "    script:\n"
        "      language: python\n"
        "      text: |\n"
        "        import os, sys\n"
        "        print('{\"x\": 1}', sys.argv[1:], os.environ['WHO'])\n"
        "      args: ['-n', '{{ input.who }}']\n"
        "    env: {WHO: '{{ input.who }}'}\n"
        "  file: {script: {language: bash, file: beside.sh, args: ['{{ input.who }}']}, cwd: sub}\n"
        "  lost: {command: [pwd], cwd: gone, on_error: {strategy: skip}}\n",
    )
    assert main(["run", file, "--input", 'who=$(id) "Zoe"', "--backend", backend, "--json"]) == 0
    tasks = document(capsys)["tasks"]
    assert tasks["text"]["output"] == """{"x": 1} ['-n', '$(id) "Zoe"'] $(id) "Zoe\""""
    assert tasks["file"]["output"] == '$(id) "Zoe" in sub'
    assert tasks["lost"]["error"]["type"] == "not_started"
    assert tasks["lost"]["error"]["message"].endswith("/flow/gone' is missing")
