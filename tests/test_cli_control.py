"""Runs of one process, controlled from others: cancel, pause, resume, signal, take-over, and runs that keep out of each other's way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from cli_shell import PATIENCE_S, WAITS, Shell, no_process_left_of, survivors, wait_until

from actorflow.cli import main
from actorflow.core.events import Event, SignalReceived
from actorflow.journal import open_journal

# a task that is under way, and a clean-up
HELD = f"tasks: {{t: {{command: '{WAITS}'}}}}\nhooks: {{post_workflow: ['echo clean >> cleaned']}}\n"


class Here(Shell):
    """A shell whose commands run in this process, which is quick; those that are started have their own."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        super().__init__(folder)
        self._capture = capture

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        assert not stdin
        self._capture.readouterr()
        status = main(words)
        out, err = self._capture.readouterr()
        return subprocess.CompletedProcess(words, status, out, err)


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Shell]:
    monkeypatch.chdir(tmp_path)
    with no_process_left_of(Here(tmp_path, capsys)) as shell:
        for name, value in shell.env.items():
            monkeypatch.setenv(name, value)
        yield shell


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def held(shell: Shell, backend: str = "asyncio", *words: str, run_id: str = "r") -> subprocess.Popen[str]:
    """A run in a process of its own whose one task has begun."""
    file = shell.write("w.yaml", HELD)
    process = shell.start("run", file, "--backend", backend, "--run-id", run_id, *words)
    shell.wait_for("began")
    return process


def crashed(shell: Shell, backend: str = "asyncio", run_id: str = "r") -> None:
    """A run whose process is gone, with a task under way."""
    process = held(shell, backend, run_id=run_id)
    process.kill()
    process.communicate(timeout=PATIENCE_S)


def cleaned(shell: Shell) -> int:
    """How often the clean-up has run."""
    path = shell.folder / "cleaned"
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


def events_of(shell: Shell, run_id: str) -> list[Event]:
    journal = open_journal(f"sqlite:///{shell.folder}/runs.db")
    try:
        return [event for _, event in journal.events(run_id)]
    finally:
        journal.close()


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].startswith("T")


def rows(shell: Shell) -> Any:
    return json.loads(shell.run("list", "--json").stdout)


def stop(shell: Shell, process: subprocess.Popen[str]) -> None:
    """Stop a process where it is not writing: nobody else could write then."""

    def is_idle() -> bool:
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: is_stopped(process.pid))
        try:
            ask_store(shell, "BEGIN IMMEDIATE; ROLLBACK; SELECT 1")
        except apsw.BusyError:
            process.send_signal(signal.SIGCONT)
            return False
        return True

    wait_until(is_idle)


def ask_store(shell: Shell, question: str) -> Any:
    """The first value of what the store's file says to a statement of SQL."""
    connection = apsw.Connection(str(shell.folder / "runs.db"))
    try:
        return connection.execute(question).get
    finally:
        connection.close()


def grow_stale(shell: Shell) -> None:
    """Let the owners of the store have said nothing for an hour."""
    ask_store(shell, "UPDATE owners SET heartbeat_at = heartbeat_at - 3600")


# cancel


def test_cancel_ends_a_run_of_another_process_and_what_it_runs(shell: Shell, backend: str):
    process = held(shell, backend)
    ended = shell.run("cancel", "r")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("canceled  r")
    assert "  t  canceled" in ended.stderr
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2, err
    assert out.startswith("canceled  r")
    cause = "canceled from the command line, by process "
    assert all(f"cause: {cause}" in text for text in (out, ended.stdout))
    assert shell.show("r")["cause"].startswith(cause)
    assert survivors(shell) == []
    assert cleaned(shell) == 1


def test_cancel_now_gives_what_runs_no_time(shell: Shell, backend: str):
    stubborn = 'trap "" TERM; touch began; sleep 30; sleep 30'
    file = shell.write("w.yaml", f"tasks: {{t: {{command: '{stubborn}'}}}}")
    process = shell.start("run", file, "--backend", backend, "--run-id", "r")
    shell.wait_for("began")
    ended = shell.run("cancel", "r", "--now", "--json")
    assert ended.returncode == 0, ended.stderr
    run = json.loads(ended.stdout)
    assert (run["status"], run["tasks"]["t"]["status"]) == ("canceled", "canceled")
    assert run["ended_at"] - run["started_at"] < 4.0
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert survivors(shell) == []


def test_cancel_of_a_crashed_run_ends_its_processes_and_cleans_up_here(shell: Shell, backend: str):
    crashed(shell, backend)
    assert survivors(shell)
    ended = shell.run("cancel", "last")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("canceled  r")
    assert survivors(shell) == []
    assert cleaned(shell) == 1


def test_cancel_of_a_paused_run_runs_its_clean_up(shell: Shell, backend: str):
    process = held(shell, backend, "--grace", "0")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    ended = shell.run("cancel", "r", "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["status"] == "canceled"
    assert cleaned(shell) == 1


def test_cancel_twice_is_fine_and_says_so(shell: Shell):
    crashed(shell)
    assert shell.run("cancel", "r").returncode == 0
    again = shell.run("cancel", "r")
    assert again.returncode == 0
    assert "run r was canceled before" in again.stderr
    assert again.stdout.startswith("canceled  r")
    assert json.loads(shell.run("cancel", "r", "--json").stdout)["status"] == "canceled"
    assert cleaned(shell) == 1


def test_what_has_ended_can_be_neither_canceled_nor_paused(shell: Shell):
    file = shell.write("w.yaml", "tasks: {t: {agent: x}}")
    shell.run("run", file, "--agent", "x=echo", "--run-id", "r")
    for word, done in (("cancel", "canceled"), ("pause", "paused")):
        ended = shell.run(word, "r")
        assert ended.returncode == 1
        assert f"run r cannot be {done}: it has ended, success" in ended.stderr


def test_an_interrupted_cancel_leaves_its_request_standing(shell: Shell):
    process = held(shell)
    stop(shell, process)
    cancel = shell.start("cancel", "r")
    wait_until(lambda: ask_store(shell, "SELECT count(*) FROM inbox") == 1)
    cancel.send_signal(signal.SIGINT)
    _, err = cancel.communicate(timeout=PATIENCE_S)
    assert cancel.returncode == 2, err
    assert f"waiting for process {process.pid}, which has run r" in err
    assert (
        f"interrupted; run r has been asked, and process {process.pid} goes on; it is not canceled yet" in err
    )
    assert "stopping" not in err
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert shell.show("r")["status"] == "canceled"


def test_an_interrupted_clean_up_of_a_canceled_run_is_left_paused_and_runs_again(shell: Shell, backend: str):
    slow = "echo clean >> cleaned; touch cleaning; test -e go || sleep 30"
    file = shell.write("w.yaml", HELD.replace("echo clean >> cleaned", slow))
    process = shell.start("run", file, "--backend", backend, "--run-id", "r", "--grace", "0.1s")
    shell.wait_for("began")
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    cancel = shell.start("cancel", "r")
    shell.wait_for("cleaning")
    cancel.send_signal(signal.SIGINT)
    out, err = cancel.communicate(timeout=PATIENCE_S)
    assert cancel.returncode == 2, err
    assert out.startswith("paused  r")
    assert survivors(shell) == []
    (shell.folder / "go").touch()
    assert shell.run("resume", "r").returncode == 2
    assert shell.show("r")["status"] == "canceled"
    assert cleaned(shell) == 2


# pause and resume


def test_pause_leaves_a_run_of_another_process_to_be_resumed(shell: Shell, backend: str):
    process = held(shell, backend)
    ended = shell.run("pause", "r", "--grace", "0.1s")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("paused  r")
    assert "to go on: actorflow resume r" in ended.stderr
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert survivors(shell) == []
    again = shell.run("pause", "r")
    assert again.returncode == 0
    assert "run r was paused before" in again.stderr
    (shell.folder / "go").touch()
    assert shell.run("resume", "r").returncode == 0


def test_an_interrupted_pause_is_not_taken_for_a_run_that_is_paused(shell: Shell):
    process = held(shell)
    pause = shell.start("pause", "r", "--grace", "30s")
    wait_until(lambda: shell.show("r")["status"] == "pausing")
    pause.send_signal(signal.SIGINT)
    out, err = pause.communicate(timeout=PATIENCE_S)
    assert pause.returncode == 2, err
    assert out.startswith("pausing  r")
    assert "it is not paused yet" in err
    assert "to go on" not in err
    assert rows(shell)[0]["status"] == "pausing"
    assert f"pausing (pid {process.pid})" in shell.run("list").stdout
    shown = shell.run("show", "r").stdout
    assert f"pausing (pid {process.pid})" in shown
    assert "paused from the command line, by process " in shown
    (shell.folder / "go").touch()
    process.communicate(timeout=PATIENCE_S)
    assert shell.show("r")["status"] == "paused"


def test_a_crashed_run_can_be_paused(shell: Shell, backend: str):
    crashed(shell, backend)
    assert shell.run("pause", "r", "--json").returncode == 0
    assert shell.show("r")["status"] == "paused"
    assert survivors(shell) == []


def test_resume_within_the_grace_of_a_pause_lets_the_owner_go_on(shell: Shell, backend: str):
    gate = "touch began; while ! test -e go; do sleep 0.02; done; echo made it"
    file = shell.write(
        "w.yaml",
        f"tasks:\n  a: {{command: '{gate}'}}\n  b: {{command: 'true', depends_on: [a]}}\n",
    )
    process = shell.start("run", file, "--backend", backend, "--run-id", "r", "--json")
    shell.wait_for("began")
    pause = shell.start("pause", "r", "--grace", "30s")
    wait_until(lambda: shell.show("r")["status"] == "pausing")
    resumed = shell.run("resume", "r")
    assert resumed.returncode == 0, resumed.stderr
    assert f"process {process.pid} was pausing the run, and goes on with it" in resumed.stderr
    (shell.folder / "go").touch()
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert json.loads(out)["tasks"]["b"]["status"] == "success"
    pause.communicate(timeout=PATIENCE_S)
    assert pause.returncode in {1, 2}


def test_recover_goes_on_with_all_that_was_left_running(shell: Shell, backend: str):
    for run_id in ("one", "two"):
        crashed(shell, backend, run_id)
        (shell.folder / "began").unlink()
    file = shell.write("bound.yaml", "tasks: {t: {agent: x}}")
    assert shell.run("run", file, "--agent", "x=echo", "--run-id", "done").returncode == 0
    (shell.folder / "go").touch()
    ended = shell.run("recover", "--backend", backend)
    assert ended.returncode == 0, ended.stderr
    assert sorted(line.split()[1] for line in ended.stdout.splitlines()) == ["one", "two"]
    assert "one: t  success" in ended.stderr
    assert survivors(shell) == []
    nothing = shell.run("recover")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert json.loads(shell.run("recover", "--json").stdout) == {"runs": [], "refused": {}}


def test_what_cannot_be_recovered_is_told_and_keeps_nothing_else_from_it(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "path", [*sys.path])
    crashed(shell)
    (shell.folder / "began").unlink()
    shell.write(
        "gone.py",
        "import pathlib, time\ndef act(call):\n    pathlib.Path('began').touch()\n    time.sleep(60)\n",
    )
    file = shell.write("python.yaml", "tasks: {t: {python: 'gone:act'}}")
    process = shell.start("run", file, "--run-id", "lost")
    shell.wait_for("began")
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    (shell.folder / "gone.py").unlink()
    (shell.folder / "go").touch()
    ended = shell.run("recover", "--json")
    assert ended.returncode == 65, ended.stderr
    told = json.loads(ended.stdout)
    assert [(run["run_id"], run["status"]) for run in told["runs"]] == [("r", "success")]
    assert {run_id: refused["code"] for run_id, refused in told["refused"].items()} == {"lost": "E411"}
    assert shell.show("lost")["status"] == "crashed"


def test_recover_names_the_runs_of_a_process_that_is_silent(shell: Shell):
    process = held(shell)
    nothing = shell.run("recover")
    assert (nothing.returncode, nothing.stderr) == (0, "no run of this store was left running\n")
    stop(shell, process)
    grow_stale(shell)
    named = shell.run("recover")
    assert named.returncode == 75
    assert f"r: E422 run 'r' is run by process {process.pid}; it has said nothing for " in named.stderr
    assert "--take-over" in named.stderr
    assert set(json.loads(shell.run("recover", "--json").stdout)["refused"]) == {"r"}
    assert f"running (pid {process.pid}, silent for " in shell.run("list").stdout


# signal


def test_a_signal_is_kept_by_a_run_of_another_process(shell: Shell, backend: str):
    process = held(shell, backend)
    (shell.folder / "p.json").write_text('{"a": [1, null]}', encoding="utf-8")
    assert shell.run("signal", "r", "go", "--payload", "@p.json", "--id", "7").returncode == 0
    assert shell.run("signal", "r", "go", "--payload", "0", "--id", "7").returncode == 0
    sent = shell.run("signal", "r", "stop", "--json")
    told = json.loads(sent.stdout)
    assert (told["run_id"], told["signal"], len(told["id"])) == ("r", "stop", 16)
    wait_until(lambda: len(_signals(shell)) == 2)
    assert [(each.name, each.payload) for each in _signals(shell)] == [
        ("go", {"a": [1, None]}),
        ("stop", None),
    ]
    shell.run("cancel", "r")
    process.communicate(timeout=PATIENCE_S)


def _signals(shell: Shell) -> list[SignalReceived]:
    return [event for event in events_of(shell, "r") if isinstance(event, SignalReceived)]


# take-over


def test_a_run_whose_process_gave_a_sign_of_life_cannot_be_taken_over_yet(shell: Shell):
    process = held(shell)
    refused = shell.run("resume", "r", "--take-over")
    assert refused.returncode == 75
    assert f"E422 run 'r' is run by process {process.pid}; wait for it, or end it first" in refused.stderr
    assert "a sign of life 0 s ago; --take-over needs 30 s of silence" in refused.stderr


def test_a_cancel_that_found_the_process_stopped_does_not_strike_later(shell: Shell):
    process = held(shell)
    stop(shell, process)
    cancel = shell.start("cancel", "r")
    wait_until(lambda: ask_store(shell, "SELECT count(*) FROM inbox") == 1)
    grow_stale(shell)
    _, err = cancel.communicate(timeout=PATIENCE_S)
    assert cancel.returncode == 75, err
    assert ask_store(shell, "SELECT count(*) FROM inbox") == 0
    (shell.folder / "go").touch()
    assert shell.run("resume", "r", "--take-over").returncode == 0


@pytest.mark.parametrize(
    ("word", "backend"), [("resume", "asyncio"), ("cancel", "trio"), ("pause", "asyncio")]
)
def test_a_run_of_a_stopped_process_can_be_taken_over_and_that_one_ends_with_75(
    shell: Shell, word: str, backend: str
):
    process = held(shell, backend)
    stop(shell, process)
    grow_stale(shell)
    refused = shell.run(word, "r")
    assert refused.returncode == 75, refused.stderr
    assert str(process.pid) in refused.stderr
    assert "--take-over" in refused.stderr
    (shell.folder / "go").touch()
    taken = shell.run(word, "r", "--take-over")
    assert taken.returncode == 0, taken.stderr
    before = events_of(shell, "r")
    process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 75, err
    assert "E503 another process has taken over the runs of this one" in err
    assert survivors(shell) == []
    assert events_of(shell, "r") == before


def test_another_run_of_an_owner_that_was_taken_over_from_is_shown_as_crashed(shell: Shell):
    for run_id in ("one", "two"):
        crashed(shell, run_id=run_id)
        (shell.folder / "began").unlink()
    process = shell.start("recover")
    wait_until(lambda: [row["pid"] for row in rows(shell)] == [process.pid] * 2)
    stop(shell, process)
    grow_stale(shell)
    assert shell.run("cancel", "one", "--take-over").returncode == 0
    assert {row["run_id"]: row["status"] for row in rows(shell)} == {"one": "canceled", "two": "crashed"}
    assert shell.show("two")["status"] == "crashed"


# runs that keep out of each other's way


def test_skip_starts_nothing_while_another_run_of_the_workflow_is_under_way(shell: Shell, backend: str):
    process = held(shell, backend)
    skipped = shell.run("run", "w.yaml", "--if-running", "skip")
    assert (skipped.returncode, skipped.stdout) == (0, "")
    assert f"skipped: workflow 'w' is running already: run 'r' in process {process.pid}" in skipped.stderr
    told = json.loads(shell.run("run", "w.yaml", "--if-running", "skip", "--json").stdout)
    assert told == {"skipped": {"workflow": "w", "run_id": "r", "pid": process.pid}}
    refused = shell.run("run", "w.yaml", "--if-running", "fail", "--json")
    assert refused.returncode == 75
    assert json.loads(refused.stdout)["error"]["code"] == "E431"
    assert len(rows(shell)) == 1


def test_a_run_that_nobody_owns_stands_in_nobodys_way(shell: Shell):
    crashed(shell)
    (shell.folder / "go").touch()
    assert shell.run("run", "w.yaml", "--if-running", "fail").returncode == 0


def test_wait_starts_when_the_other_has_ended(shell: Shell, backend: str):
    process = held(shell, backend)
    waiting = shell.start("run", "w.yaml", "--if-running", "wait", "--backend", backend, "--run-id", "next")
    assert waiting.stderr is not None
    assert waiting.stderr.readline() == f"waiting for run r in process {process.pid} to end\n"
    (shell.folder / "go").touch()
    shell.run("cancel", "r")
    process.communicate(timeout=PATIENCE_S)
    _, err = waiting.communicate(timeout=PATIENCE_S)
    assert waiting.returncode == 0, err
    assert shell.show("next")["status"] == "success"


def test_of_several_that_wait_one_runs_at_a_time(shell: Shell):
    file = shell.write("w.yaml", "tasks: {t: {command: 'mkdir busy && sleep 0.1 && rmdir busy'}}")
    waiting = [shell.start("run", file, "--if-running", "wait", "--quiet") for _ in range(4)]
    for process in waiting:
        _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, err
    assert [row["status"] for row in rows(shell)] == ["success"] * 4


def test_a_signal_ends_the_wait_and_nothing_is_started(shell: Shell, backend: str):
    held(shell, backend)
    waiting = shell.start("run", "w.yaml", "--if-running", "wait", "--backend", backend)
    assert waiting.stderr is not None
    waiting.stderr.readline()
    waiting.send_signal(signal.SIGTERM)
    _, err = waiting.communicate(timeout=PATIENCE_S)
    assert waiting.returncode == 2
    assert "nothing was started" in err
    assert "stopping" not in err


# changes of the file


def test_changes_of_what_has_not_succeeded_are_accepted_and_others_refused(shell: Shell, backend: str):
    text = "tasks:\n  a: {command: 'echo a'}\n  b: {command: 'exit 1', depends_on: [a]}\n"
    file = shell.write("w.yaml", text)
    assert shell.run("run", file, "--backend", backend, "--run-id", "r").returncode == 1
    shell.write("other.yaml", text.replace("echo a", "echo other"))
    refused = shell.run("resume", "r", "--accept-changes", "other.yaml")
    assert refused.returncode == 65, refused.stderr
    assert "task 'a' has begun, and changed" in refused.stderr
    told = json.loads(shell.run("resume", "r", "--accept-changes", "other.yaml", "--json").stdout)["problems"]
    assert {problem["code"] for problem in told} == {"E427"}
    assert "task 'a' has begun, and changed" in [problem["message"] for problem in told]
    shell.write("w.yaml", text.replace("exit 1", "echo new"))
    accepted = shell.run("resume", "r", "--accept-changes", "w.yaml", "--json")
    assert accepted.returncode == 0, accepted.stderr
    assert json.loads(accepted.stdout)["tasks"]["b"]["output"] == "new"
    assert "changes accepted" in accepted.stderr
    assert "has changed" not in accepted.stderr
