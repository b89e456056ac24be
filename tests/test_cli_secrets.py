"""Secrets of a whole run: they reach the process, and nothing of them reaches what is kept or told."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from actorflow.cli import main

_FILE = """
secrets: {tok: {env: TOK}, key: {file: key.txt}}
tasks:
  argv: {command: [sh, -c, 'test ${#1} = 10 && echo "$1"', x, "{{ secrets.tok }}"]}
  env: {command: 'test ${#K} = 10', env: {K: "{{ secrets.key }}"}}
  script:
    script: {language: bash, text: 'echo $1 >&2; test ${#1} = 12', args: ["a-${TOK}"]}
  loud:
    command: [sh, -c, 'echo "$1" >&2; exit 3', x, "{{ secrets.key }}"]
    on_error: {strategy: skip}
  program: {command: ["no-${TOK}"], on_error: {strategy: skip}}
  python: {python: "secret_agents_BACKEND:act", env: {T: "{{ secrets.tok }}"}, on_error: {strategy: skip}}
"""

_AGENTS = (
    "def act(call):\n    assert call.env['T'] == 's3cret-tok'\n    raise ValueError('bad ' + call.env['T'])\n"
)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_secret_reaches_who_needs_it_and_neither_the_store_nor_the_screen(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("ACTORFLOW_STORE", str(tmp_path / "runs.db"))
    monkeypatch.setenv("TOK", "s3cret-tok")
    Path("key.txt").write_text("s3cret-key\n")
    Path(f"secret_agents_{backend}.py").write_text(_AGENTS)
    Path("w.yaml").write_text(_FILE.replace("BACKEND", backend))

    assert main(["run", "w.yaml", "--backend", backend, "--run-id", "r", "--json"]) == 0
    printed = capsys.readouterr()
    tasks = json.loads(printed.out)["tasks"]
    for task in tasks:
        main(["show", "r", task])
    printed_later = capsys.readouterr()

    assert [tasks[name]["status"] for name in ("argv", "env", "script")] == ["success"] * 3
    assert tasks["argv"]["output"] == "***"
    assert tasks["program"]["error"]["message"] == "exited with status 127: no-***: not found"
    assert tasks["python"]["error"]["message"] == "bad ***"
    told = "".join([*printed, *printed_later])
    kept = b"".join(
        path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "runs.db" in str(path)
    )
    assert "s3cret" not in told
    assert b"s3cret" not in kept
