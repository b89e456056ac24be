"""The pages for users are true: their workflows load, run or are refused as they say, and their commands print what they show."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from actorflow import WorkflowSpec, loads
from actorflow.cli import main
from actorflow.spec.entries import chosen
from actorflow.spec.unsupported import unsupported

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "docs" / "format.md",
    ROOT / "docs" / "cli.md",
    ROOT / "docs" / "design.md",
    ROOT / "docs" / "hooks.md",
    ROOT / "docs" / "requests.md",
]
SECOND_GRAMMAR = ROOT / "docs" / "second-grammar.md"
FENCE = re.compile(r"^```(\w+) ?([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str, *words: str) -> list[str]:
    """The fenced blocks of a page in this language whose word beside it is one of these."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [body for each, word, body in found if each == language and word in words]


def all_blocks(language: str, *words: str) -> list[object]:
    return [
        pytest.param(text, id=f"{page.stem}-{number}")
        for page in (*PAGES, SECOND_GRAMMAR)
        for number, text in enumerate(blocks(page, language, *words))
    ]


def refused(spec: WorkflowSpec) -> list[str]:
    """What a run of it, or of any of its workflows, would be refused for."""
    ways = [chosen(spec, entry.name) for entry in spec.entries] or [spec]
    return [str(problem) for way in ways for problem in unsupported(way)]


@pytest.mark.parametrize("text", all_blocks("yaml", "", "second"))
def test_a_workflow_of_the_pages_loads_and_nothing_of_it_would_be_refused(text: str):
    assert refused(loads(text, trust="own")) == []


@pytest.mark.parametrize("text", all_blocks("yaml", "not-yet"))
def test_a_workflow_that_is_called_not_yet_loads_and_would_be_refused(text: str):
    assert refused(loads(text, trust="own"))


def test_the_second_grammar_is_read_as_its_page_says():
    (theirs,) = blocks(SECOND_GRAMMAR, "yaml", "second")
    (ours,) = blocks(SECOND_GRAMMAR, "yaml", "")
    assert loads(theirs, trust="own") == loads(ours, trust="own")


def _sessions() -> list[tuple[str, str]]:
    """The commands of docs/cli.md in order, each with what the page shows below it."""
    texts = blocks(ROOT / "docs" / "cli.md", "console", "")
    parts = [part for text in texts for part in re.split(r"^\$ ", text, flags=re.MULTILINE) if part]
    return [(command, shown) for command, _, shown in (part.partition("\n") for part in parts)]


def test_the_commands_of_the_page_print_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTORFLOW_STORE", str(tmp_path / "runs.db"))
    shutil.copytree(
        ROOT / "examples", tmp_path / "examples"
    )  # commands of a file run in its folder, and may write there
    sessions = _sessions()
    assert len(sessions) > 5
    for command, shown in sessions:
        main(shlex.split(command.removeprefix("actorflow ")))
        out, err = capfd.readouterr()
        # tasks side by side may end in any order, and so may their lines
        assert sorted(plain(shown, tmp_path)) == sorted(plain(err + out, tmp_path)), command


def plain(text: str, folder: Path) -> list[str]:
    """Lines without what differs from run to run: times, and the width that they give to columns."""
    text = text.replace(str(folder), "/home/me")
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE", text)
    text = re.sub(r"\d+\.\d\d s", "TIME", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]
