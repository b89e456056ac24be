"""The page of errors: it has every code of the source and no other, and its examples do what it says."""

from __future__ import annotations

import re
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from actorflow import SpecError
from actorflow.cli import main
from actorflow.spec.loading import loads_with_warnings
from actorflow.spec.unsupported import unsupported
from tests.chaos_sink import ChaosSink, redirect

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^### ([EW]\d{3}): (.+?)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
NAMES = {"billing.internal": "10.1.2.3"}
_BLOCK = re.compile(r"^```(\w+) ?([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@frozen
class Block:
    """A fenced block: its language, the words beside it, and its text."""

    language: str
    words: tuple[str, ...]
    text: str


def blocks(text: str) -> list[Block]:
    return [Block(language, tuple(words.split()), body) for language, words, body in _BLOCK.findall(text)]


def _pairs(language: str) -> list[object]:
    """The blocks of a section that have its code, each with the block behind it."""
    found: list[object] = []
    for code, _, body in SECTIONS:
        all_blocks = blocks(body)
        for block, following in zip(all_blocks, [*all_blocks[1:], None], strict=False):
            if block.language == language and code in block.words:
                found.append(pytest.param(code, block, following, id=code))
    return found


def told(block: Block, code: str) -> list[str]:
    """What is said of a definition: its problems; else what it cannot do yet; else its warnings."""
    trust = "data" if "data" in block.words else "own"
    try:
        loaded = loads_with_warnings(block.text, trust=trust, file="order.yaml", name="order")
    except SpecError as error:
        return [str(problem) for problem in error.problems]
    return [str(problem) for problem in (unsupported(loaded.spec) if code == "E190" else loaded.warnings)]


def test_the_page_has_every_code_of_the_source_and_no_other():
    in_source = {
        code
        for path in (ROOT / "actorflow").rglob("*.py")
        for code in re.findall(r'"([EW]\d{3})"', path.read_text(encoding="utf-8"))
    }
    on_page = {code for code, _, _ in SECTIONS}
    assert sorted(in_source - on_page) == [], "docs/errors.md lacks these: name, cause, example and mend"
    assert sorted(on_page - in_source) == [], "docs/errors.md has these, and no code gives them any more"


def test_each_code_is_there_once_and_says_its_cause_and_its_mend():
    codes = [code for code, _, _ in SECTIONS]
    assert len(codes) == len(set(codes))
    for code, title, body in SECTIONS:
        assert title, code
        assert body.strip().split("\n")[0].endswith("."), f"{code} has no cause"
        assert "**Mend.** " in body, f"{code} has no mend"


@pytest.mark.parametrize(("code", "example", "message"), _pairs("yaml"))
def test_an_example_gives_its_code_and_the_message_below_it(code: str, example: Block, message: Block):
    problems = told(example, code)
    assert len(problems) == 1, problems
    assert f" {code} " in problems[0] or problems[0].startswith(f"{code} ")
    assert message.language == "text"
    assert message.text.strip() == problems[0]


@pytest.mark.parametrize(
    ("code", "block"),
    [(code, block) for code, _, body in SECTIONS for block in blocks(body) if "good" in block.words],
)
def test_a_mended_example_has_nothing_to_be_told_any_more(code: str, block: Block):
    assert told(block, code) == []
    assert told(block, "E190") == [] or code != "E190"


@pytest.fixture
def circle() -> Iterator[ChaosSink]:
    """Who leads whoever asks it in a circle."""
    with ChaosSink() as sink:
        sink.answers("/a", redirect("/b"))
        sink.answers("/b", redirect("/a"))
        yield sink


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of the page come to what it says; there are no others."""

    def found(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (NAMES[host], port))]

    monkeypatch.setattr(socket, "getaddrinfo", found)


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize(("code", "example", "_following"), _pairs("console"))
def test_a_command_gives_its_code_and_the_message_below_it(
    code: str,
    example: Block,
    _following: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    circle: ChaosSink,
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTORFLOW_STORE", "runs.db")
    for block in blocks(PAGE):
        if block.words[:1] and block.words[0].endswith(".yaml"):
            Path(block.words[0]).write_text(block.text, encoding="utf-8")
    main(shlex.split("run order.yaml --input n=3 --agent bank=echo --run-id order-1"))
    capsys.readouterr()

    text = example.text.replace("127.0.0.1:8080", f"127.0.0.1:{circle.port}")
    command, shown = text.strip().split("\n")
    main(shlex.split(command.removeprefix("$ actorflow ")))
    printed = "".join(capsys.readouterr()).replace(str(tmp_path), "/home/me/orders")
    assert shown in printed.splitlines()
    assert f"{code} " in shown
