"""What the commands write: of runs, of tasks, of files; on both back ends where a run goes on."""

from __future__ import annotations

import json
import stat
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from actorflow import Runtime, load
from actorflow.cli import main
from actorflow.journal import open_journal

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
    assert "hooks: 1 done, 1 failed, 0 owed" in printed.out
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
    assert list(run["hooks"]) == ["delivered", "failed", "pending", "dead_letters"]
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


def test_show_task_has_every_attempt_and_the_whole_output(capsys: Capture):
    file = write(
        "w.yaml",
        "tasks:\n  t:\n    agent: x\n    description: What it does\n"
        "    on_error: {retry: {max_attempts: 2, delay: 1ms}, fallback_agent: y}\n",
    )
    assert main(["run", file, "--agent", "x=fail", "--agent", "y=echo", "--run-id", "r"]) == 0
    assert "retry     attempt 2 in 0.00 s, after fail: told to fail" in capsys.readouterr().err
    assert main(["show", "r", "t"]) == 0
    out = capsys.readouterr().out
    rows = [line.split()[:4] for line in out[out.index("ATTEMPT") :].splitlines()[1:]]
    assert rows == [["1", "0", "x", "failed"], ["2", "0", "x", "failed"], ["3", "0", "y", "success"]]
    assert '"description": "What it does"' in out
    assert main(["show", "r", "t", "--json"]) == 0
    assert document(capsys)["attempts"] == 3


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
    assert out.count("on_stage_complete[1] failed: exited with status 9 (exit 9)") == 2
    assert Path("stages").read_text(encoding="utf-8") == "one\ntwo\n"
