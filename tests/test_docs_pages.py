"""The pages are true: a test runs or checks every block of theirs that has a language, and commands print what stands below them."""

from __future__ import annotations

import ast
import configparser
import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import click
import pytest

import actorflow
from actorflow import SpecError, StatePersistence, WorkflowSpec, loads
from actorflow.cli.app import app
from actorflow.cli.configuration import parse_configuration
from actorflow.spec.entries import chosen
from actorflow.spec.text.report import Report
from actorflow.spec.unsupported import unsupported
from tests.page_blocks import DOCS, FOLLOWED, ROOT, Block, blocks_of, written_pages
from tests.page_sessions import follow, timeless, typed_in

SECOND_GRAMMAR = DOCS / "second-grammar.md"
RUN_FROM_TOP_TO_END = (*FOLLOWED, DOCS / "cli.md")

RUN_ELSEWHERE: Mapping[str, tuple[str, frozenset[str]]] = {
    "docs/design.md": ("test_message_trace.py", frozenset({"trace"})),
    "docs/embedding.md": ("test_docs_embedding.py", frozenset({"python", "text"})),
    "docs/errors.md": ("test_docs_errors.py", frozenset({"yaml", "console", "text"})),
    "docs/hooks.md": ("test_docs_hooks.py", frozenset({"yaml", "python", "text"})),
    "docs/testing.md": ("test_docs_testing.py", frozenset({"python", "yaml"})),
    "docs/state.md": ("test_states.py", frozenset({"python", "text"})),
}
"""Pages that have a test of their own, and the languages whose blocks it runs."""


# What is true of a block


def loads_and_runs(block: Block) -> None:
    assert refused(load_of(block)) == []


def loads_and_would_be_refused(block: Block) -> None:
    assert refused(load_of(block))


def does_not_load(block: Block) -> None:
    with pytest.raises(SpecError):
        load_of(block)


def load_of(block: Block) -> WorkflowSpec:
    return loads(block.text, trust="own")


def refused(spec: WorkflowSpec) -> list[str]:
    """What a run of it, or of any of its workflows, would be refused for."""
    ways = [chosen(spec, entry.name) for entry in spec.entries] or [spec]
    return [str(problem) for way in ways for problem in unsupported(way)]


def takes_what_exists(block: Block) -> None:
    """A program, which may need what is not here: it compiles, and what it takes from us is there."""
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module == "actorflow":
            assert [each.name for each in node.names if not hasattr(actorflow, each.name)] == []
        elif isinstance(node, ast.Attribute) and _is_runtime(node.value):
            assert hasattr(actorflow.Runtime, node.attr), node.attr


def _is_runtime(node: ast.expr) -> bool:
    return (isinstance(node, ast.Name) and node.id == "rt") or (
        isinstance(node, ast.Attribute) and node.attr == "rt"
    )


def commands_are_taken(block: Block) -> None:
    for typed in typed_in(block):
        is_taken(typed.command)


def is_good_shell(block: Block) -> None:
    checked = subprocess.run(["/bin/sh", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert checked.stderr == ""
    lines_are_taken(block)


def lines_are_taken(block: Block) -> None:
    for line in block.text.splitlines():
        is_taken(line)


def is_good_unit(block: Block) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read_string(block.text)
    for section in unit.sections():
        for value in unit[section].values():
            is_taken(value)


def is_taken(line: str) -> None:
    """The command line takes each call of it in a line for a shell; nothing is carried out."""
    for words in commands_in(line):
        ours = [number for number, word in enumerate(words) if Path(word).name == "actorflow"]
        if ours and words[ours[0] + 1 :]:
            _parse(words[ours[0] + 1 :])


def commands_in(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for token in lexer:
        if set(token) <= set("();<>|&"):
            yield words
            words = []
        else:
            words.append(token)
    yield words


def _parse(words: list[str]) -> None:
    command: click.Command = app
    context = click.Context(app, info_name="actorflow")
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words)
        assert found is not None, name
        command = found
    command.make_context(command.name, words, parent=context)


def is_good_configuration(block: Block) -> None:
    report = Report(file="actorflow.toml")
    parse_configuration(block.text, report, "/home/me")
    report.raise_problems()


def is_good_query(block: Block) -> None:
    """A store would answer it."""
    with TemporaryDirectory() as folder:
        with StatePersistence(f"sqlite:///{folder}/runs.db"):
            pass
        store = apsw.Connection(f"{folder}/runs.db")
        store.execute(f"explain {block.text}").fetchall()
        store.close()


def is_json(block: Block) -> None:
    json.loads(block.text)


def is_a_file(block: Block) -> None:
    """The commands of its page use it."""
    assert block.file is not None


CHECKS: Mapping[tuple[str, str], Callable[[Block], None]] = {
    ("console", ""): commands_are_taken,
    ("ini", ""): is_good_unit,
    ("json", ""): is_json,
    ("python", ""): takes_what_exists,
    ("python", "file"): takes_what_exists,
    ("sh", ""): is_good_shell,
    ("sh", "file"): is_good_shell,
    ("sql", ""): is_good_query,
    ("sql", "file"): is_good_query,
    ("text", "crontab"): lines_are_taken,
    ("text", "file"): is_a_file,
    ("toml", ""): is_good_configuration,
    ("yaml", ""): loads_and_runs,
    ("yaml", "file"): loads_and_runs,
    ("yaml", "file own-action"): is_a_file,
    ("yaml", "file bad"): does_not_load,
    ("yaml", "not-yet"): loads_and_would_be_refused,
    ("yaml", "second"): loads_and_runs,
}
"""By the language of a block and the words beside it, without what stands behind a `=`."""


def kind_of(block: Block) -> tuple[str, str]:
    return block.language, " ".join(word.partition("=")[0] for word in block.words)


def is_run_elsewhere(block: Block) -> bool:
    _, languages = RUN_ELSEWHERE.get(block.page.relative_to(ROOT).as_posix(), ("", frozenset[str]()))
    return block.language in languages


BLOCKS = [block for page in written_pages() for block in blocks_of(page) if not is_run_elsewhere(block)]


# The tests


def test_a_block_is_run_or_checked_or_has_no_language():
    unknown = [
        f"{block.place}: {' '.join(kind_of(block))}" for block in BLOCKS if kind_of(block) not in CHECKS
    ]
    assert unknown == [], (
        "no test runs or checks these; tests/test_docs_pages.py has the kinds that there are"
    )


def test_a_file_stands_only_on_a_page_whose_commands_use_it():
    files = [block for block in BLOCKS if block.file is not None]
    assert files
    assert [block.place for block in files if block.page not in FOLLOWED] == []


def test_pages_with_a_test_of_their_own_are_read_by_it():
    for page, (test, _) in RUN_ELSEWHERE.items():
        assert Path(page).name in (ROOT / "tests" / test).read_text(encoding="utf-8"), page


@pytest.mark.parametrize(
    "block", [pytest.param(block, id=block.place) for block in BLOCKS if kind_of(block) in CHECKS]
)
def test_a_block_is_what_its_words_say(block: Block):
    CHECKS[kind_of(block)](block)


@pytest.mark.parametrize("page", [pytest.param(page, id=page.stem) for page in RUN_FROM_TOP_TO_END])
def test_the_commands_of_a_page_print_what_it_shows(page: Path, tmp_path: Path):
    for typed, printed in follow(page, tmp_path):
        assert timeless(printed) == timeless(typed.shown), typed.command


def test_a_page_that_shows_what_is_not_printed_is_found(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("```console\n$ echo one\none\n$ echo two\none\n```\n", encoding="utf-8")
    told = [timeless(printed) == timeless(typed.shown) for typed, printed in follow(page, tmp_path)]
    assert told == [True, False]


def test_the_second_grammar_is_read_as_its_page_says():
    (theirs, ours) = (block.text for block in blocks_of(SECOND_GRAMMAR))
    assert loads(theirs, trust="own") == loads(ours, trust="own")


def test_the_promises_are_the_same_wherever_they_stand():
    readme, concepts = (promises_of(page) for page in (ROOT / "README.md", DOCS / "concepts.md"))
    assert len(readme) > 5
    assert [sentence for sentence in readme if sentence not in concepts] == []


def promises_of(page: Path) -> list[str]:
    """The sentences that a page has in a quotation."""
    lines = re.findall(r"^> (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return re.split(r"(?<=\.) ", " ".join(lines))


def test_each_how_to_is_listed_once_and_says_where_the_reference_is():
    index = DOCS / "how-to" / "index.md"
    pages = [page for page in FOLLOWED if page.parent == index.parent and page != index]
    assert len(pages) > 12
    for page in pages:
        assert index.read_text(encoding="utf-8").count(f"]({page.name})") == 1, page.name
        assert "Reference: [" in page.read_text(encoding="utf-8"), page.name
