"""`actorflow validate`: what it finds, what files need, and that a problem has one code wherever it is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actorflow import SpecError, load
from actorflow.cli import main

Capture = pytest.CaptureFixture[str]

GOOD = """
agents: {mailer: {command: "mail -s hi a@example.com"}}
tasks:
  fetch: {http: {url: "https://api.example.com/v1", headers: {X-Key: "${API_KEY}"}}}
  send: {agent: mailer, on_error: {fallback_agent: [pigeon]}, depends_on: fetch}
"""

SEVERAL = """
tasks: {a: {command: ls}, b: {command: ls}}
workflows:
  build: {steps: [{stage: s, tasks: [a]}]}
  ship: {steps: [{stage: s, tasks: [b]}], hooks: {workflow_finished: ["true"]}}
"""

BAD = {
    "E101": None,
    "E109": "[1]",
    "E110": "tasks: {a: {agent: x",
    "E120": "tasks:\n  a: {agent: x, retyr: 3}\n",
    "E126": "tasks: {}",
    "E130": "tasks: {a: {agent: x, depends_on: [b]}}",
    "E300": "tasks: {a: {agent: x, when: '{{ 1 +'}}",
}


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTORFLOW_STORE", "runs.db")
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "several.yaml").write_text(SEVERAL)
    for code, text in BAD.items():
        if text is not None:
            (tmp_path / f"{code}.yaml").write_text(text)


def rows(capsys: Capture) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["files"]
    return found


def test_a_good_file_says_what_it_needs_line_by_line(capsys: Capture):
    assert main(["validate", "good.yaml"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ok: good.yaml: 2 tasks, agents to bind: pigeon",
        "  agents       mailer, pigeon",
        "  programs     mail",
        "  hosts        https://api.example.com",
        "  environment  API_KEY",
    ]


def test_a_file_that_needs_nothing_is_one_line(capsys: Capture):
    Path("small.yaml").write_text("tasks: {a: {command: 'true'}}")
    assert main(["validate", "small.yaml"]) == 0
    assert capsys.readouterr().out == "ok: small.yaml: 1 task\n"


def test_json_has_the_needs_of_each_good_file(capsys: Capture):
    assert main(["validate", "good.yaml", "--json"]) == 0
    (row,) = rows(capsys)
    assert (row["file"], row["ok"], row["problems"], row["workflows"]) == ("good.yaml", True, [], [])
    assert row["needs"] == {
        "hosts": ["https://api.example.com"],
        "environment": ["API_KEY"],
        "programs": ["mail"],
        "agents": ["mailer", "pigeon"],
        "unbound_agents": ["pigeon"],
        "files": [],
    }


def test_a_file_with_several_workflows_names_them(capsys: Capture):
    assert main(["validate", "several.yaml", "--json"]) == 0
    assert rows(capsys)[0]["workflows"] == ["build", "ship"]
    assert main(["validate", "several.yaml"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ok: several.yaml: 2 workflows",
        "  workflows    build, ship",
        "  programs     ls",
    ]


def test_what_a_run_would_be_refused_for_is_a_note_and_no_problem(capsys: Capture):
    Path("later.yaml").write_text("tasks: {a: {type: composite, uses: other.yaml}}")
    assert main(["validate", "later.yaml", "--json"]) == 0
    (row,) = rows(capsys)
    assert (row["ok"], row["runnable"], row["problems"]) == (True, False, [])
    assert [(one["code"], one["file"]) for one in row["not_yet"]] == [("E190", "later.yaml")]
    assert main(["validate", "later.yaml"]) == 0
    assert "later.yaml: E190 tasks.a: " in capsys.readouterr().err


def test_the_worst_of_several_files_decides_and_all_are_told(capsys: Capture):
    assert main(["validate", "good.yaml", "E101.yaml", "--json"]) == 66
    assert [(row["file"], row["ok"]) for row in rows(capsys)] == [("good.yaml", True), ("E101.yaml", False)]
    assert main(["validate", "E101.yaml", "E120.yaml", "good.yaml"]) == 65
    printed = capsys.readouterr()
    assert printed.out.startswith("ok: good.yaml")
    assert "E101.yaml: E101" in printed.err
    assert "E120.yaml:2:17: E120" in printed.err


def test_names_are_broken_to_the_width_of_a_terminal(capsys: Capture, monkeypatch: pytest.MonkeyPatch):
    import sys

    names = [f"agent_{number:02}" for number in range(12)]
    Path("wide.yaml").write_text(
        "tasks: {" + ", ".join(f"t_{name}: {{agent: {name}}}" for name in names) + "}"
    )
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["validate", "wide.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert all(len(line) <= 50 for line in lines)
    assert [line[:15].strip() for line in lines] == ["agents", "", "", ""]
    assert ", ".join(names).replace(" ", "") == "".join(line[15:].replace(" ", "") for line in lines)


def test_names_from_a_file_cannot_speak_to_the_terminal(capsys: Capture):
    Path("odd.yaml").write_text('tasks: {a: {command: ["\\e[31mred", "x"]}}')
    assert main(["validate", "odd.yaml"]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\\x1b[31mred" in printed


@pytest.mark.parametrize("code", BAD)
def test_a_problem_has_one_code_in_text_in_json_and_in_code(code: str, capsys: Capture):
    file = f"{code}.yaml"
    with pytest.raises(SpecError) as caught:
        load(file)
    assert caught.value.code == code

    for command in ("validate", "run"):
        status = main([command, file])
        assert f"{code} " in capsys.readouterr().err
        assert main([command, file, "--json"]) == status == (66 if code == "E101" else 65)
        document = json.loads(capsys.readouterr().out)
        told = document["files"][0] if command == "validate" else document
        assert [one["code"] for one in told["problems"]] == [one.code for one in caught.value.problems]
        assert [one["message"] for one in told["problems"]] == [one.message for one in caught.value.problems]
        if command == "run":
            assert document["error"]["code"] == code
