"""The command line as a process: signals, pipes, poor surroundings, and other processes at the same store."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_shell import PATIENCE_S, ROOT, WAITS, Shell, no_process_left_of, survivors, wait_until


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with no_process_left_of(Shell(tmp_path)) as shell:
        yield shell


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_sigterm_leaves_the_run_paused_and_resume_runs_what_was_lost(shell: Shell, backend: str):
    file = shell.write("w.yaml", f"tasks: {{t: {{command: '{WAITS}; echo done'}}}}")
    process = shell.start("run", file, "--grace", "0.2s", "--backend", backend, "--run-id", "r")
    shell.wait_for("began")
    owned = shell.run("resume", "r")
    assert owned.returncode == 75
    assert str(process.pid) in owned.stderr
    assert f"running (pid {process.pid})" in shell.run("list").stdout

    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2, err
    assert out.startswith("paused  r")
    assert "SIGTERM: stopping" in err
    assert "actorflow resume r\n" in err
    assert survivors(shell) == []

    (shell.folder / "go").touch()
    resumed = shell.run("resume", "last", "--json")
    assert resumed.returncode == 0
    task = json.loads(resumed.stdout)["tasks"]["t"]
    assert (task["status"], task["attempts"], task["losses"], task["output"]) == ("success", 1, 0, "done")


def test_within_its_grace_what_runs_may_end_and_nothing_new_starts(shell: Shell, backend: str):
    file = shell.write(
        "w.yaml",
        "tasks:\n"
        "  a: {command: 'touch began; while ! test -e go; do sleep 0.02; done; echo made it'}\n"
        "  b: {command: 'true', depends_on: [a]}\n",
    )
    process = shell.start("run", file, "--grace", "30s", "--backend", backend, "--run-id", "r", "--json")
    shell.wait_for("began")
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "SIGINT: stopping" not in process.stderr.readline():
        pass
    (shell.folder / "go").touch()
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    run = json.loads(out)
    assert run["status"] == "paused"
    assert run["tasks"]["a"]["output"] == "made it"
    assert run["tasks"]["b"]["status"] == "pending"


def test_a_second_signal_kills_the_trees_at_once_and_leaves_the_run_paused(shell: Shell, backend: str):
    stubborn = 'trap "" TERM; (trap "" TERM; setsid sleep 30)& touch began; sleep 30; sleep 30'
    file = shell.write("w.yaml", f"tasks: {{t: {{command: '{stubborn}'}}}}")
    process = shell.start("run", file, "--grace", "30s", "--backend", backend, "--run-id", "r")
    shell.wait_for("began")
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    while "SIGTERM: stopping" not in process.stderr.readline():
        pass
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert time.monotonic() - began < 4.0
    wait_until(lambda: survivors(shell) == [])
    run = shell.show("r")
    assert (run["status"], run["tasks"]["t"]["status"]) == ("paused", "running")


def test_sigint_in_a_set_up_hook_leaves_the_run_paused_and_the_hook_runs_again(shell: Shell, backend: str):
    file = shell.write(
        "w.yaml",
        f"hooks: {{pre_workflow: ['echo once >> hooks', '{WAITS}; echo twice >> hooks']}}\n"
        "tasks: {t: {command: 'true'}}\n",
    )
    process = shell.start("run", file, "--grace", "0.1s", "--backend", backend, "--run-id", "r")
    shell.wait_for("began")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert survivors(shell) == []
    (shell.folder / "go").touch()
    assert shell.run("resume", "r").returncode == 0
    assert (shell.folder / "hooks").read_text(encoding="utf-8") == "once\ntwice\n"


def test_a_signal_while_hooks_are_drained_ends_them_and_not_the_outcome(shell: Shell, backend: str):
    file = shell.write(
        "w.yaml",
        f"hooks: {{on_stage_complete: ['{WAITS}']}}\n"
        "workflows: {main: {steps: [{stage: one, tasks: [t]}]}}\ntasks: {t: {command: 'true'}}\n",
    )
    process = shell.start("run", file, "--grace", "0.2s", "--backend", backend, "--run-id", "r", "--json")
    shell.wait_for("began")
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    out, err = process.communicate(timeout=PATIENCE_S)
    assert time.monotonic() - began < 5.0
    run = json.loads(out)
    assert (run["status"], run["hooks"]["pending"]) == ("success", 1), err
    assert process.returncode == 0
    assert survivors(shell) == []
    (shell.folder / "go").touch()
    assert json.loads(shell.run("resume", "r", "--json").stdout)["hooks"]["delivered"] == 1


def test_a_signal_while_drain_waits_leaves_what_is_not_delivered(shell: Shell, backend: str):
    file = shell.write(
        "w.yaml",
        f"hooks: {{task_finished: [{{command: '{WAITS}', mode: async}}]}}\ntasks: {{t: {{command: 'true'}}}}\n",
    )
    process = shell.start("run", file, "--backend", backend, "--run-id", "r")
    shell.wait_for("began")
    process.kill()
    process.communicate()
    (owed,) = json.loads(shell.run("hooks", "list", "r", "--json").stdout)["hooks"]
    assert (owed["status"], owed["task"], owed["why"]) == ("pending", "t", "not tried yet")
    (shell.folder / "began").unlink()
    drain = shell.start("hooks", "drain", "r", "--timeout", "1m")
    shell.wait_for("began")
    drain.send_signal(signal.SIGINT)
    _, err = drain.communicate(timeout=PATIENCE_S)
    assert (drain.returncode, err) == (2, "interrupted; what is not delivered stays\n")
    assert survivors(shell) == []
    (shell.folder / "go").touch()
    assert shell.run("hooks", "drain").stdout == "r  1 delivered\n"
    assert shell.show("r")["status"] == "success"


def test_a_signal_while_hooks_are_tested_ends_what_runs(shell: Shell):
    file = shell.write(
        "w.yaml",
        f"hooks: {{task_finished: [{{command: '{WAITS}', mode: async}}]}}\ntasks: {{t: {{command: 'true'}}}}\n",
    )
    process = shell.start("hooks", "test", file, "task_finished", "--run")
    shell.wait_for("began")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (2, "", "interrupted; what ran was ended\n")
    assert survivors(shell) == []


def test_a_thread_that_nobody_can_end_does_not_keep_the_process(shell: Shell, backend: str):
    shell.write(
        "stuck.py",
        "import time, pathlib\ndef act(call):\n    pathlib.Path('began').touch()\n    time.sleep(60)\n",
    )
    file = shell.write("w.yaml", "tasks: {t: {python: 'stuck:act'}}")
    process = shell.start("run", file, "--grace", "0.1s", "--backend", backend, "--run-id", "r")
    shell.wait_for("began")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 2, err
    assert out.startswith("paused  r")
    assert shell.show("r")["status"] == "paused"


def test_a_signal_before_there_is_a_run_starts_none(shell: Shell):
    shell.write("slow.py", "import pathlib, time\npathlib.Path('began').touch()\ntime.sleep(60)\n")
    file = shell.write("w.yaml", "tasks: {t: {agent: x}}")
    process = shell.start("run", file, "--agent", "x=python:slow:act")
    shell.wait_for("began")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert "nothing was started" in err
    assert "Traceback" not in err


def test_a_killed_run_is_shown_as_crashed_and_is_the_last(shell: Shell):
    file = shell.write("w.yaml", f"tasks: {{t: {{command: '{WAITS}'}}}}")
    process = shell.start("run", file, "--run-id", "r")
    shell.wait_for("began")
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    assert survivors(shell)  # nobody was left to end them
    row = json.loads(shell.run("list", "--json").stdout)[0]
    assert (row["status"], row["pid"]) == ("crashed", None)
    assert shell.show("r")["status"] == "crashed"
    (shell.folder / "go").touch()
    assert shell.run("resume", "last").returncode == 0
    assert shell.run("resume", "last").returncode == 66


def test_a_workflow_from_stdin_is_our_own_and_runs_in_our_folder(shell: Shell):
    ended = shell.run("run", "-", "--json", stdin="tasks: {t: {command: 'pwd'}}")
    assert ended.returncode == 0
    run = json.loads(ended.stdout)
    assert (run["workflow"], run["tasks"]["t"]["output"]) == ("stdin", str(shell.folder))


def test_a_reader_that_leaves_is_no_error_and_a_full_disk_is_one(shell: Shell):
    file = shell.write("w.yaml", "tasks: {t: {agent: x}}\noutputs: {o: '{{ tasks.t.output.input.a }}'}")
    big = "x" * 200_000
    (shell.folder / "in.json").write_text(json.dumps({"a": big}), encoding="utf-8")
    run = f"$A run {file} --agent x=echo --input-file in.json --quiet"
    piped = shell.sh(f"({run}; echo status $? >&2) | head -c 10")
    assert piped.stderr == b"status 0\n"
    closed = shell.sh(f"{run} >&-; echo status $?")
    assert (closed.stdout, closed.stderr) == (b"status 0\n", b"")
    full = shell.sh(f"{run} > /dev/full; echo status $?")
    assert full.stdout == b"status 74\n"
    assert b"Traceback" not in full.stderr


def test_poor_surroundings_do_not_break_it(shell: Shell):
    file = shell.write("w.yaml", "name: 'é'\ntasks: {t: {agent: x}}\noutputs: {o: '日本'}")
    shell.env = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": ROOT,
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "TERM": "dumb",
        "COLUMNS": "20",
    }
    ended = shell.run("run", file, "--agent", "x=echo", "--store", "runs.db", "--run-id", "r")
    assert ended.returncode == 0, ended.stderr
    assert 'o: "\\u65e5\\u672c"' in ended.stdout
    listed = shell.run("list", "--store", "runs.db")
    assert listed.returncode == 0
    assert "\\xe9" in listed.stdout
    assert shell.run("--help").returncode == 0


def test_the_version_and_the_help_need_nothing_of_the_runtime():
    code = (
        "import sys, actorflow; before = set(sys.modules)\n"
        "from actorflow.cli import main\n"
        "main(['version']); main(['run', '--help'])\n"
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "    & {'trio', 'aiohttp', 'apsw', 'platformdirs'}),\n"
        "    [name for name in set(sys.modules) - before\n"
        "    if name.startswith('actorflow.') and not name.startswith('actorflow.cli')])\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[] []"


def test_two_signals_end_an_import_that_hangs(shell: Shell, backend: str):
    shell.write("slow.py", "import pathlib, time\npathlib.Path('began').touch()\ntime.sleep(60)\n")
    file = shell.write("w.yaml", "tasks: {t: {python: 'slow:act'}}")
    process = shell.start("run", file, "--backend", backend)
    shell.wait_for("began")
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    while "SIGTERM: stopping" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert json.loads(shell.run("list", "--json").stdout) == []


_ENDLESS = """
import pathlib, anyio
async def act(call):
    pathlib.Path("began").touch()
    with anyio.CancelScope(shield=True):
        await anyio.sleep(60)
"""


def test_an_async_body_that_nobody_can_end_does_not_keep_the_process_or_its_result(
    shell: Shell, backend: str
):
    shell.write("stuck.py", _ENDLESS)
    file = shell.write("w.yaml", "tasks: {t: {python: 'stuck:act', timeout: 0.1s}}")
    process = shell.start("run", file, "--grace", "0.1s", "--backend", backend, "--run-id", "r", "--json")
    out, err = process.communicate(timeout=10)
    assert process.returncode == 1, err
    assert json.loads(out)["error"]["type"] == "did_not_stop"
    assert shell.show("r")["status"] == "failed"


def test_a_third_signal_leaves_an_async_body_behind_that_a_pause_waits_for(shell: Shell, backend: str):
    shell.write("stuck.py", _ENDLESS)
    file = shell.write("w.yaml", "tasks: {t: {python: 'stuck:act'}}")
    process = shell.start("run", file, "--grace", "0.1s", "--backend", backend, "--run-id", "r")
    shell.wait_for("began")
    assert process.stderr is not None
    for awaited in (
        "SIGINT: stopping",
        "what runs does not end, such as a Python agent (once more: it is left behind)",
    ):
        process.send_signal(signal.SIGINT)
        assert any(awaited in line for line in iter(process.stderr.readline, ""))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert shell.show("r")["status"] == "paused"
