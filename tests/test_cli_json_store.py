"""A store of JSON files at the command line: seen and asked from other terminals, and one runner at a time."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest
from cli_shell import WAITS, Shell, no_process_left_of


@pytest.fixture
def shell(tmp_path: Path) -> Generator[Shell]:
    with no_process_left_of(Shell(tmp_path)) as shell:
        shell.env["ACTORFLOW_STORE"] = "json:.workflow_states"
        yield shell


def test_a_run_is_seen_and_paused_from_other_terminals_while_a_second_one_is_refused(shell: Shell):
    file = shell.write("w.yaml", f"tasks: {{t: {{command: '{WAITS}'}}}}")
    process = shell.start("run", file, "--run-id", "r")
    shell.wait_for("began")
    assert [row["pid"] for row in json.loads(shell.run("list", "--json").stdout)] == [process.pid]
    assert shell.show("r")["tasks"]["t"]["status"] == "running"
    second = shell.run("run", file, "--run-id", "s")
    assert second.returncode == 75
    assert (
        f"E504 the store {shell.folder}/.workflow_states is in use by process {process.pid}" in second.stderr
    )
    assert shell.run("pause", "r", "--grace", "0").returncode == 0
    assert process.wait(30) == 2
    shell.sh("touch go")
    assert shell.run("resume", "r").returncode == 0
    assert shell.show("r")["status"] == "success"


def test_the_folder_is_found_from_the_file_that_names_it(shell: Shell):
    del shell.env["ACTORFLOW_STORE"]
    shell.write("actorflow.toml", 'store = "json:states"\n')
    file = shell.write("w.yaml", "tasks: {t: {agent: x}}")
    assert shell.sh(f"mkdir below && cd below && $A run ../{file} --agent x=echo --run-id r").returncode == 0
    assert (shell.folder / "states" / "r.json").exists()
    assert shell.run("delete", "r").returncode == 0
    assert not (shell.folder / "states" / "r.json").exists()
