"""`actorflow new`: each template makes a folder that runs as its README says."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from actorflow.cli import main
from actorflow.cli.new import SCHEMA_FILE, TEMPLATES
from actorflow.spec.surface.schema import workflow_schema
from tests.cli_shell import ROOT

Capture = pytest.CaptureFixture[str]

FLOWS = {"pipeline": "pipeline.yaml", "agents": "research.yaml", "webhook": "orders.yaml"}


@frozen
class Place:
    """A folder with a shell in which `actorflow` is this one, and `python3` this Python."""

    path: Path

    def sh(self, script: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/bash", "-ec", script],
            cwd=self.path,
            env={**self.env, **more},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    @property
    def env(self) -> dict[str, str]:
        return {
            "PATH": f"{self.path.parent / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": ROOT,
            "HOME": str(self.path.parent),
            "XDG_STATE_HOME": str(self.path.parent / "state"),
        }

    def scripts(self) -> list[str]:
        return re.findall(
            r"^```sh\n(.*?)^```", (self.path / "README.md").read_text(), re.MULTILINE | re.DOTALL
        )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where folders are made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ACTORFLOW_STORE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "bin").mkdir()
    for name, words in (("actorflow", "-m actorflow"), ("python3", "")):
        script = tmp_path / "bin" / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        script.chmod(0o755)
    return tmp_path


@pytest.fixture(params=TEMPLATES)
def made(request: pytest.FixtureRequest, folder: Path, capsys: Capture) -> Iterator[Place]:
    """A folder of each template."""
    assert main(["new", request.param, "--json"]) == 0
    capsys.readouterr()
    return Place(folder / request.param)


def make(folder: Path, template: str) -> Place:
    assert main(["new", template]) == 0
    return Place(folder / template)


def test_each_has_what_its_listing_says(folder: Path, capsys: Capture):
    for template in TEMPLATES:
        assert main(["new", template, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["files"] == sorted(path.name for path in (folder / template).iterdir())
        assert {"README.md", ".gitignore"} <= {*told["files"]}
        assert stat.S_IMODE((folder / template).stat().st_mode) == 0o755
    assert main(["new", "--list", "--json"]) == 0
    assert [*json.loads(capsys.readouterr().out)] == [*TEMPLATES]


@pytest.mark.parametrize(("template", "file"), FLOWS.items())
def test_an_editor_finds_the_schema_beside_the_file_and_the_file_has_no_problems(
    folder: Path, capsys: Capture, template: str, file: str
):
    place = make(folder, template)
    first = (place.path / file).read_text().splitlines()[0]
    assert first == f"# yaml-language-server: $schema=./{SCHEMA_FILE}"
    assert json.loads((place.path / SCHEMA_FILE).read_text()) == workflow_schema()
    capsys.readouterr()
    assert main(["validate", str(place.path / file)]) == 0
    assert "warning" not in "".join(capsys.readouterr())


def test_the_commands_of_each_readme_do_what_it_says(made: Place):
    scripts = made.scripts()
    done = made.sh(f"trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{scripts[0]}")
    assert done.returncode == 0, done.stderr + done.stdout
    expected = {
        "pipeline": "500500 in all",
        "agents": "wasps: 3700 words read",
        "webhook": 'order: {"invoice":"cake: 25"}',
        "embedded": "invoice-3: paid before",
    }
    assert expected[made.path.name] in done.stdout


def test_what_is_printed_is_what_the_readme_says_first(folder: Path, capsys: Capture):
    assert main(["new", "pipeline", "my flows"]) == 0
    told = capsys.readouterr().err.splitlines()
    assert told[1] == "  cd 'my flows'"
    assert [line.strip() for line in told[2:]] == Place(folder / "my flows").scripts()[0].splitlines()


@pytest.mark.parametrize("template", ["pipeline", "embedded"])
def test_what_was_killed_goes_on_as_the_readme_says(folder: Path, template: str):
    place = make(folder, template)
    is_there = {"pipeline": "actorflow show last > /dev/null 2>&1", "embedded": "[ -s runs.db ]"}[template]
    begun = f"until {is_there}; do sleep 0.2; done; sleep 1.5;"  # the machine may be busy with something else
    script = place.scripts()[1].replace("sleep 3;", begun)
    done = place.sh(script.replace("kill -9 $!", "kill -9 $! && wait $! || true"))
    assert done.returncode == 0, done.stderr + done.stdout
    last = {"pipeline": "125250 in all", "embedded": "invoice-3: thank you for 31.50"}
    assert last[template] in done.stdout


def test_a_folder_that_has_something_in_it_is_left_as_it_is(folder: Path, capsys: Capture):
    (folder / "pipeline").mkdir()
    (folder / "pipeline" / "notes.txt").write_text("mine")
    assert main(["new"]) == 73
    assert "E650 pipeline is not empty (notes.txt); name another folder" in capsys.readouterr().err
    assert [path.name for path in (folder / "pipeline").iterdir()] == ["notes.txt"]


def test_an_empty_folder_and_missing_parents_are_taken(folder: Path):
    (folder / "empty").mkdir()
    assert main(["new", "pipeline", "empty"]) == 0
    assert main(["new", "pipeline", "a/b/c"]) == 0
    assert (folder / "a" / "b" / "c" / "pipeline.yaml").exists()


def test_a_folder_that_cannot_be_made_leaves_nothing_behind(folder: Path, capsys: Capture):
    (folder / "file").write_text("")
    assert main(["new", "pipeline", "file"]) == 73
    assert main(["new", "pipeline", "file/below"]) == 73
    assert capsys.readouterr().err.count("E650 cannot make the folder") == 2
    assert not [path for path in folder.iterdir() if path.name.startswith(".actorflow-new")]


def test_an_unknown_template_is_a_wrong_command_line(folder: Path, capsys: Capture):
    assert main(["new", "pipelin"]) == 64
    assert "'pipeline', 'agents', 'webhook', 'embedded'" in capsys.readouterr().err
