"""`actorflow logs`, and the streams that `show RUN TASK` shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from actorflow.cli import main
from tests.cli_shell import Shell, wait_until

Capture = pytest.CaptureFixture[str]

PRINTS = r"""
name: prints
tasks:
  build: {command: "echo compiling; echo 'a warning' >&2; printf '\\033[2Jred\\n'"}
  longer_name: {script: "seq 1 50; test -e twice || { touch twice; exit 1; }", depends_on: [build], retry: 1}
  quiet: {command: "true", depends_on: [longer_name]}
  hidden: {command: "echo the password", sensitive: true}
"""


@pytest.fixture
def printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Path:
    """The folder of a run that has printed something."""
    monkeypatch.setenv("ACTORFLOW_STORE", str(tmp_path / "runs.db"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prints.yaml").write_text(PRINTS)
    assert main(["run", "prints.yaml", "--run-id", "r-1"]) == 0
    capsys.readouterr()
    return tmp_path


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    for process in shell.started:
        process.kill()
        process.communicate()


def logs(capsys: Capture, *words: str, status: int = 0) -> list[str]:
    assert main(["logs", *words]) == status
    return capsys.readouterr().out.splitlines()


def test_the_lines_of_all_tasks_stand_beside_their_names(printed: Path, capsys: Capture):
    lines = logs(capsys, "r-1")
    assert sorted(lines[:3]) == [
        "build       ! a warning",
        "build       | \\x1b[2Jred",
        "build       | compiling",
    ]
    assert lines[3] == "longer_name | 1"
    assert lines[-1] == "longer_name #2 | 50"
    assert not any("password" in each for each in lines)


def test_of_one_task_there_are_only_its_lines(printed: Path, capsys: Capture):
    assert sorted(logs(capsys, "r-1", "build")) == ["! a warning", "| \\x1b[2Jred", "| compiling"]
    assert logs(capsys, "last", "longer_name", "--tail", "2") == ["#2 | 49", "#2 | 50"]
    assert logs(capsys, "r-1", "build", "--stream", "stderr") == ["! a warning"]


def test_as_json_they_are_one_document(printed: Path, capsys: Capture):
    (only,) = json.loads("\n".join(logs(capsys, "r-1", "--stream", "stderr", "--json")))
    assert isinstance(only.pop("at"), float)
    assert only == {
        "task": "build",
        "attempt": 1,
        "loss": 0,
        "stream": "stderr",
        "text": "a warning",
        "is_note": False,
    }


def test_followed_as_json_each_is_a_document(printed: Path, capsys: Capture):
    lines = logs(capsys, "r-1", "longer_name", "-f", "--json")
    assert [json.loads(each)["text"] for each in lines] == [*map(str, range(1, 51))] * 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["quiet"], "task quiet has printed nothing"),
        (["hidden"], "the output of task hidden is sensitive, and is not kept"),
    ],
)
def test_where_there_is_nothing_it_is_said_why(printed: Path, capsys: Capture, words: list[str], says: str):
    assert main(["logs", "r-1", *words]) == 0
    out, err = capsys.readouterr()
    assert (out, says in err) == ("", True)


def test_what_is_not_there_is_66_and_named(printed: Path, capsys: Capture):
    assert main(["logs", "r-1", "biuld"]) == 66
    assert "did you mean 'build'" in capsys.readouterr().err
    assert main(["logs", "nobody"]) == 66


def test_a_task_is_shown_with_the_end_of_each_stream_of_its_last_attempt(printed: Path, capsys: Capture):
    assert main(["show", "r-1", "longer_name"]) == 0
    shown = capsys.readouterr().out
    assert "stdout, the last 40 of 50 lines:\n  11\n  12\n" in shown
    assert main(["show", "r-1", "build", "--json"]) == 0
    streams = json.loads(capsys.readouterr().out)["printed"]
    assert [each["text"] for each in streams["stderr"]["lines"]] == ["a warning"]
    assert streams["stdout"]["count"] == 2


def test_a_run_that_is_deleted_takes_its_lines_along(printed: Path, capsys: Capture):
    assert [path.name for path in (printed / "runs.db.logs").iterdir()] == ["r-1.jsonl"]
    assert main(["delete", "r-1"]) == 0
    assert [*(printed / "runs.db.logs").iterdir()] == []


def test_a_run_of_another_process_is_followed_to_its_end(shell: Shell):
    shell.write(
        "slow.yaml", "tasks: {a: {command: 'echo first; until test -e go; do sleep 0.02; done; echo last'}}"
    )
    shell.start("run", "slow.yaml", "--run-id", "r-1", "--quiet")
    wait_until((shell.folder / "runs.db.logs" / "r-1.jsonl").exists)
    following = shell.start("logs", "r-1", "-f")
    assert following.stdout is not None
    assert following.stdout.readline() == "a | first\n"
    (shell.folder / "go").touch()
    out, err = following.communicate(timeout=30)
    assert (out, err, following.returncode) == ("a | last\n", "", 0)


def test_a_reader_that_leaves_ends_it(shell: Shell):
    shell.write("slow.yaml", "tasks: {a: {command: 'while :; do echo again; sleep 0.05; done'}}")
    run = shell.start("run", "slow.yaml", "--run-id", "r-1", "--quiet")
    wait_until((shell.folder / "runs.db.logs" / "r-1.jsonl").exists)
    assert shell.sh("$A logs r-1 -f | head -1").stdout == b"a | again\n"
    assert run.poll() is None
