"""The command line as a process: signals, pipes, poor surroundings, and other processes at the same store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import actorflow
from actorflow.survivors import COOKIE_VARIABLE

_ROOT = str(Path(actorflow.__file__).parents[1])
_PATIENCE_S = 30.0

# a task that has begun says so, and ends when it is allowed to
_WAITS = "touch began; test -e go || sleep 30"


class Shell:
    """Runs command lines in a folder, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": _ROOT,
            "HOME": str(folder),
            "XDG_STATE_HOME": str(folder / "state"),
            "ACTORFLOW_STORE": str(folder / "runs.db"),
        }
        self.started: list[subprocess.Popen[str]] = []

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text, encoding="utf-8")
        return name

    def start(self, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "actorflow", *words],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "actorflow", *words]
        return subprocess.run(
            argv, cwd=self.folder, env=self.env, input=stdin, capture_output=True, text=True, check=False
        )

    def sh(self, command: str) -> subprocess.CompletedProcess[bytes]:
        """Run a shell line in which $A is the program."""
        env = {**self.env, "A": f"{sys.executable} -m actorflow"}
        argv = ["/bin/sh", "-c", command]
        return subprocess.run(argv, cwd=self.folder, env=env, capture_output=True, check=False)

    def wait_for(self, name: str) -> None:
        wait_until((self.folder / name).exists)

    def show(self, run: str) -> Any:
        return json.loads(self.run("show", run, "--json").stdout)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def survivors(shell: Shell) -> list[int]:
    """The ids of processes that commands of this shell's runs have left behind."""
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environ = (entry / "environ").read_bytes()
        except OSError:
            continue
        if f"{COOKIE_VARIABLE}=".encode() in environ and f"HOME={shell.folder}\0".encode() in environ:
            found.append(int(entry.name))
    return found


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    for process in shell.started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    for pid in survivors(shell):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_sigterm_leaves_the_run_paused_and_resume_runs_what_was_lost(shell: Shell, backend: str):
    file = shell.write("w.yaml", f"tasks: {{t: {{command: '{_WAITS}; echo done'}}}}")
    process = shell.start("run", file, "--grace", "0.2s", "--backend", backend, "--run-id", "r")
    shell.wait_for("began")
    owned = shell.run("resume", "r")
    assert owned.returncode == 75
    assert str(process.pid) in owned.stderr
    assert f"running (pid {process.pid})" in shell.run("list").stdout

    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=_PATIENCE_S)
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
    out, _ = process.communicate(timeout=_PATIENCE_S)
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
    process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 2
    assert time.monotonic() - began < 4.0
    wait_until(lambda: survivors(shell) == [])
    run = shell.show("r")
    assert (run["status"], run["tasks"]["t"]["status"]) == ("paused", "running")


def test_sigint_in_a_set_up_hook_leaves_the_run_paused_and_the_hook_runs_again(shell: Shell, backend: str):
    file = shell.write(
        "w.yaml",
        f"hooks: {{pre_workflow: ['echo once >> hooks', '{_WAITS}; echo twice >> hooks']}}\n"
        "tasks: {t: {command: 'true'}}\n",
    )
    process = shell.start("run", file, "--grace", "0.1s", "--backend", backend, "--run-id", "r")
    shell.wait_for("began")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 2
    assert survivors(shell) == []
    (shell.folder / "go").touch()
    assert shell.run("resume", "r").returncode == 0
    assert (shell.folder / "hooks").read_text(encoding="utf-8") == "once\ntwice\n"


def test_a_signal_while_hooks_are_drained_ends_them_and_not_the_outcome(shell: Shell, backend: str):
    file = shell.write(
        "w.yaml",
        f"hooks: {{on_stage_complete: ['{_WAITS}']}}\n"
        "workflows: {main: {steps: [{stage: one, tasks: [t]}]}}\ntasks: {t: {command: 'true'}}\n",
    )
    process = shell.start("run", file, "--grace", "0.2s", "--backend", backend, "--run-id", "r", "--json")
    shell.wait_for("began")
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    out, err = process.communicate(timeout=_PATIENCE_S)
    assert time.monotonic() - began < 5.0
    run = json.loads(out)
    assert (run["status"], run["hooks"]["pending"]) == ("success", 1), err
    assert process.returncode == 0
    assert survivors(shell) == []
    (shell.folder / "go").touch()
    assert json.loads(shell.run("resume", "r", "--json").stdout)["hooks"]["delivered"] == 1


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
    _, err = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 2
    assert "nothing was started" in err
    assert "Traceback" not in err


def test_a_killed_run_is_shown_as_crashed_and_is_the_last(shell: Shell):
    file = shell.write("w.yaml", f"tasks: {{t: {{command: '{_WAITS}'}}}}")
    process = shell.start("run", file, "--run-id", "r")
    shell.wait_for("began")
    process.kill()
    process.communicate(timeout=_PATIENCE_S)
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
        "PYTHONPATH": _ROOT,
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
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True
    )
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
    process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 2
    assert json.loads(shell.run("list", "--json").stdout) == []
