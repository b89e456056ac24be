"""Text that is not YAML: each slip at the place that a person must change, in words that a person knows."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest
from ruamel.yaml import parser, scanner

from actorflow.errors import Problem
from actorflow.spec.bounds import Bounds
from actorflow.spec.text.composer import compose
from actorflow.spec.text.parsers import SyntaxFault
from actorflow.spec.text.report import Report
from actorflow.spec.text.syntax_words import _explainer_of, explain
from actorflow.spec.text.told import anything

DATA = Path(__file__).parent / "data" / "spec" / "syntax_problems.txt"
JARGON = re.compile(
    r"\b(token|scalar|block|flow|node|sequence|indicator|expected|chomping|stream|directive|simple key|context|octet|URI)\b"
)
REFUSED_BY_C_ALONE = "http://x}"


def cases() -> list[object]:
    """The lines of the table: place, words, text."""
    rows: list[object] = []
    for line in DATA.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            place, words, raw = line.split(" | ", 2)
            text = raw.encode("latin-1", "backslashreplace").decode("unicode_escape")
            rows.append(pytest.param(place, words, text.replace("LONG", "k" * 1100), id=f"{words} {place}"))
    return rows


def problem_of(text: str, bounds: Bounds | None = None) -> Problem:
    report = Report(text=text)
    compose(text, report, bounds or Bounds())
    (problem,) = report._problems
    return problem


@pytest.mark.parametrize(("place", "words", "text"), cases())
def test_each_slip_is_told_where_it_is_in_plain_words(place: str, words: str, text: str):
    problem = problem_of(text)

    assert f"{problem.code}@{problem.line}:{problem.column}" == place
    assert words in f"{problem.message}; {problem.hint}"
    assert problem.hint
    assert not JARGON.search(f"{problem.message}; {problem.hint}")


@pytest.mark.parametrize(("place", "words", "text"), cases())
def test_a_file_too_long_for_the_second_parser_gets_the_same_words(place: str, words: str, text: str):
    problem = problem_of(text, Bounds(second_parse_chars=0))

    if REFUSED_BY_C_ALONE not in text:
        assert f"{problem.code}@{problem.line}:{problem.column}" == place
        assert words in f"{problem.message}; {problem.hint}"


# The C parser has these from the emitter, from what composes documents, and from the reader, which is given nothing but
# text that was looked through before.
NOT_OF_THE_C_PARSER = (
    "found duplicate anchor", "found undefined alias", "control characters", "found an incorrect", "invalid",
    "unexpected low surrogate", "did not find expected <stream-start>", "found extremely long version",
)  # fmt: skip


def c_messages() -> list[str]:
    """What the compiled parser can say, read from its file."""
    file = importlib.import_module("_ruamel_yaml").__file__
    assert file is not None
    begin = rb"(?:did not find|could not find|found|block sequence entries|mapping keys|mapping values) "
    found = re.findall(rb"\x00(" + begin + rb"[ -~]+)", Path(file).read_bytes())
    return sorted({one.decode() for one in found})


def pure_messages() -> list[tuple[str, str]]:
    """Context and message of each error that the parser written in Python can raise, read from its source."""
    messages: list[tuple[str, str]] = []
    for module in (scanner, parser):
        assert module.__file__ is not None
        for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"ScannerError", "ParserError"}:
                texts = [_text_of(argument) for argument in node.args]
                messages.append((texts[0], texts[2] if len(texts) > 2 else ""))
    return sorted(set(messages))


def _text_of(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "x" for part in node.values)
    return str(node.value) if isinstance(node, ast.Constant) and node.value is not None else ""


def is_known(message: str, context: str) -> bool:
    """Whether a message has a row of its own in the table."""
    return _explainer_of(SyntaxFault(message, context, (1, 1), (1, 1))) is not anything


@pytest.mark.parametrize("message", c_messages())
def test_each_message_of_the_c_parser_has_a_row(message: str):
    contexts = ("a quoted scalar", "a block scalar", "a tag", "a directive", "an alias", "")

    if not message.startswith(NOT_OF_THE_C_PARSER):
        assert any(is_known(message, context) for context in contexts)


@pytest.mark.parametrize(("context", "message"), pure_messages())
def test_each_message_of_the_other_parser_has_a_row(context: str, message: str):
    if message or "follow up" in context:  # else what it says is an error of another function, put through
        assert any(
            is_known(message, known) for known in (context, context.replace("an x", "a tag"), "anchor")
        )


def test_both_parsers_were_asked_for_all_that_they_say():
    assert len(c_messages()) >= 30
    assert len(pure_messages()) >= 30


@pytest.mark.parametrize(("problem", "context"), [("the moon is full", ""), ("", ""), ("", "while dreaming")])
def test_a_message_never_heard_of_gets_a_sentence_that_is_always_true(problem: str, context: str):
    told = explain(SyntaxFault(problem, context, (2, 3), (1, 1)), ["a: b", "c d", "e"], None)

    assert (told.code, told.mark, told.message) == ("E110", (2, 3), "YAML cannot be read from 'd' on")
    assert "line above" in told.hint


def test_every_row_explains_a_place_where_nothing_is():
    """Whatever a parser says of whatever place, there is a sentence, and a place in the file or at its end."""
    messages = [(context, message) for context, message in pure_messages()] + [("", m) for m in c_messages()]
    for context, message in messages:
        for lines in ([""], ["x"], ["", ""], ["{", " -"], ["\t: '"], ["- '", "\"'"]):
            for mark in ((1, 1), (2, 1), (1, 9), (9, 9)):
                told = explain(SyntaxFault(message, context, mark, (1, 1)), lines, (1, 1))
                assert told.message
                assert told.mark >= (1, 1)


@pytest.mark.parametrize(
    "text",
    [
        "a: b" + " " * 250_000 + ": c", "a: [" + "x" * 250_000 + " y: z: w]", " " * 250_000 + "a: b: c",
        "- " * 60 + "x: " + "y " * 100_000 + ": z", "a:\n" + "  - b\n" * 40_000 + " c: d", "\n" * 250_000 + "a: b: c",
        "a: " + "'x" * 100_001, "{a: " * 60 + ", ",
    ],
    ids=lambda text: text[:12].strip() or "spaces",
)  # fmt: skip
def test_looking_for_words_takes_no_longer_than_reading(text: str):
    """No pattern goes back and forth over a long line: each of these would take minutes."""
    report = Report(text=text)

    compose(text, report, Bounds(second_parse_chars=0))

    assert report.has_problems
