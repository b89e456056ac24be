"""`actorflow dead-letters`: what is kept of a task that failed for good, and what can be done about it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from actorflow import loads
from actorflow.cli import main
from actorflow.cli.sensitive import shown_task_input

Capture = pytest.CaptureFixture[str]

# two that fail side by side, and one below each
_TWO = """
inputs: {order: {type: string, default: "7"}}
tasks:
  charge: {command: 'test -e go', with: {order: '{{ input.order }}'}, on_error: {strategy: finish, retry: {max_attempts: 2, delay: 10ms}}}
  ship: {command: 'echo shipped', depends_on: [charge]}
  mail: {command: 'echo no paper >&2; exit 3', on_error: {strategy: finish}}
"""


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACTORFLOW_STORE", str(tmp_path / "runs.db"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def failed_run(capsys: Capture, text: str = _TWO, *words: str, run_id: str = "r") -> None:
    Path("w.yaml").write_text(text, encoding="utf-8")
    assert main(["run", "w.yaml", "--run-id", run_id, *words]) == 1
    capsys.readouterr()


def told(capsys: Capture, *words: str) -> Any:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def listed(capsys: Capture) -> list[str]:
    return [letter["id"] for letter in told(capsys, "dead-letters", "list")["dead_letters"]]


def test_a_fatal_failure_becomes_a_dead_letter_and_is_told_of(backend: str, capsys: Capture):
    Path("w.yaml").write_text(_TWO, encoding="utf-8")
    assert main(["run", "w.yaml", "--run-id", "r", "--backend", backend]) == 1
    err = capsys.readouterr().err
    assert "  charge  letter    is kept as dead letter r/1/charge" in err
    assert "only" in err
    letters = told(capsys, "dead-letters", "list")["dead_letters"]
    assert [list(letter) for letter in letters] == [["id", "kind", "run_id", "task", "reason", "at"]] * 2
    by_task = {letter["task"]: letter for letter in letters}
    assert by_task["mail"]["id"] == "r/1/mail"
    assert by_task["mail"]["reason"] == "exit_status: exited with status 3: no paper"
    assert main(["dead-letters", "list"]) == 0
    assert "r/1/mail" in capsys.readouterr().out


def test_a_store_without_dead_letters_says_so(capsys: Capture):
    assert main(["dead-letters", "list"]) == 0
    assert "no dead letters" in capsys.readouterr().err
    assert told(capsys, "dead-letters", "list") == {"dead_letters": []}


def test_show_has_the_input_the_error_and_the_attempts(capsys: Capture):
    failed_run(capsys, _TWO, "--input", "order=42")
    letter = told(capsys, "dead-letters", "show", "r/1/ch")
    assert (letter["input"], letter["attempts"]) == ({"order": "42"}, 2)
    assert letter["error"]["type"] == "exit_status"
    assert letter["error"]["detail"]["exit_status"] == 1
    assert main(["dead-letters", "show", "r/1/charge"]) == 0
    printed = capsys.readouterr()
    assert '"order": "42"' in printed.out
    assert [line.split()[0] for line in printed.out.splitlines()[-2:]] == ["1", "2"]
    assert "actorflow dead-letters retry r/1/charge\n" in printed.err


def test_retry_runs_the_task_and_what_is_below_it_and_nothing_else(backend: str, capsys: Capture):
    failed_run(capsys)
    Path("go").touch()
    assert main(["dead-letters", "retry", "r/1/charge", "--backend", backend]) == 1  # mail has failed still
    printed = capsys.readouterr()
    assert "generation 2: charge again, and what is below" in printed.err
    assert "  mail" not in printed.err
    tasks = told(capsys, "show", "r")["tasks"]
    assert (tasks["charge"]["status"], tasks["ship"]["status"]) == ("success", "success")
    assert tasks["mail"]["attempts"] == 1
    assert listed(capsys) == ["r/1/mail"]


def test_resume_empties_the_dead_letters_of_what_it_runs_again(backend: str, capsys: Capture):
    failed_run(capsys)
    Path("go").touch()
    assert main(["resume", "r", "--backend", backend]) == 1
    capsys.readouterr()
    assert listed(capsys) == ["r/2/mail"]


def test_a_retry_may_bind_another_agent(capsys: Capture):
    failed_run(capsys, "tasks: {t: {agent: x}}", "--agent", "x=fail")
    assert main(["dead-letters", "retry", "r", "--agent", "x=echo"]) == 0
    capsys.readouterr()
    assert listed(capsys) == []


def test_purge_forgets_and_leaves_the_run_to_be_resumed(capsys: Capture):
    failed_run(capsys)
    assert told(capsys, "dead-letters", "purge", "r/1/mail", "r/1/m") == {"purged": 1}
    assert listed(capsys) == ["r/1/charge"]
    failed_run(capsys, run_id="q")
    assert main(["dead-letters", "purge", "--all"]) == 0
    assert capsys.readouterr().out == "purged 3 dead letters\n"
    assert told(capsys, "dead-letters", "purge", "--all") == {"purged": 0}
    assert main(["resume", "r"]) == 1


def test_a_purge_of_one_that_is_not_there_purges_none(capsys: Capture):
    failed_run(capsys)
    assert main(["dead-letters", "purge", "r/1/mail", "r/1/nothing"]) == 66
    assert "E426 no dead letter 'r/1/nothing' in this store" in capsys.readouterr().err
    assert len(listed(capsys)) == 2


def test_show_run_names_its_dead_letters_and_what_happened_on_the_way(capsys: Capture):
    failed_run(capsys)
    assert sorted(told(capsys, "show", "r")["dead_letters"]) == ["r/1/charge", "r/1/mail"]
    assert main(["show", "r"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[lines.index("dead letters:") + 1 :][:2] == ["r/1/mail", "r/1/charge"]
    assert any(line.endswith("charge retry no more: command has had 2 attempts") for line in lines)


def test_nothing_of_a_sensitive_task_is_shown(capsys: Capture):
    failed_run(
        capsys,
        "inputs: {key: {type: string, default: kkk, sensitive: true}, n: {type: integer, default: 1}}\n"
        "tasks:\n"
        "  hidden: {command: 'echo sss >&2; exit 1', sensitive: true, on_error: {strategy: finish}}\n"
        "  open: {command: 'exit 1', with: {k: '{{ input.key }}', n: '{{ input.n }}'}, on_error: {strategy: finish}}\n"
        "  bare: {command: 'exit 1', on_error: {strategy: finish}}\n",
    )
    for words in (["list"], ["show", "r/1/hidden"], ["show", "r/1/open"], ["show", "r/1/bare"]):
        for form in ([], ["--json"]):
            assert main(["dead-letters", *words, *form]) == 0
            printed = capsys.readouterr()
            assert "sss" not in printed.out + printed.err
            assert "kkk" not in printed.out + printed.err
    assert told(capsys, "dead-letters", "show", "r/1/hidden")["input"] == "***"
    assert told(capsys, "dead-letters", "show", "r/1/open")["input"] == {"k": "***", "n": 1}
    assert told(capsys, "dead-letters", "show", "r/1/bare")["input"] == {"key": "***", "n": 1}


def test_a_secret_that_a_task_printed_is_in_no_dead_letter(monkeypatch: pytest.MonkeyPatch, capsys: Capture):
    monkeypatch.setenv("API", "swordfish")
    failed_run(
        capsys,
        "secrets: {api: {env: API}}\n"
        "tasks: {t: {command: 'echo $KEY >&2; exit 1', env: {KEY: '{{ secrets.api }}'}}}\n",
    )
    for words in (["list"], ["show", "r"]):
        for form in ([], ["--json"]):
            assert main(["dead-letters", *words, *form]) == 0
            assert "swordfish" not in capsys.readouterr().out
    assert not [path for path in Path().rglob("*") if path.is_file() and b"swordfish" in path.read_bytes()]


def test_what_a_transition_lays_over_an_input_is_hidden_by_what_it_reads():
    spec = loads(
        "tasks:\n"
        "  a: {agent: x, sensitive: true, on_error: {next: h, with: {e: '{{ error.message }}', n: 2}}}\n"
        "  h: {agent: x, with: {n: 1, m: 3}}\n",
        trust="own",
    )
    given = {"n": 2, "m": 3, "e": "said"}
    assert shown_task_input(spec, "h", given) == {"n": 2, "m": 3, "e": "***"}
