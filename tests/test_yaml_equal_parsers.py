"""What the C parser accepts, the parser of YAML 1.2 reads alike: values, positions, problems.

More than the few seconds that a default run takes: `ACTORFLOW_FUZZ=100 pytest tests/test_yaml_equal_parsers.py` makes a
hundred times as many examples.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from both_parsers import assert_both_agree, by_parser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorflow.spec.bounds import Bounds
from actorflow.spec.text.composer import compose
from actorflow.spec.text.nodes import MapNode
from actorflow.spec.text.parsers import c_events, pure_events
from actorflow.spec.text.report import Report

HERE = Path(__file__).parent
FILES = sorted([*(HERE / "seed").glob("*.yaml"), *(HERE.parent / "examples").glob("**/*.yaml")])
TIMES = int(os.environ.get("ACTORFLOW_FUZZ", "1"))
many = settings(
    max_examples=150 * TIMES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_both_parsers_read_the_real_files_alike(file: Path):
    text = file.read_text(encoding="utf-8")

    composer, _ = by_parser(c_events(text))

    assert isinstance(composer.root, MapNode)
    assert assert_both_agree(text)


BY_THE_SECOND = [
    ("a: {url: http://x}", {"a": {"url": "http://x"}}), ("a: [b:c]", {"a": ["b:c"]}),
    (r'a: "\ud83d\ude00"', {"a": "😀"}), ("a: &x.y b\nc: *x.y\n", {"a": "b", "c": "b"}), ("a: &é b\nc: *é\n", {"a": "b", "c": "b"}),
    ("%WHAT is it\n---\na: b\n", {"a": "b"}), ("a: &x: b\nc: *x:\n", {"a": "b", "c": "b"}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), BY_THE_SECOND)
def test_what_the_c_parser_refuses_wrongly_is_read_by_the_other(text: str, value: object):
    report = Report(text=text)

    assert by_parser(c_events(text))[1] is not None
    assert compose(text, report, Bounds()) == value
    assert not report.has_problems


KNOWN_TO_DIFFER = [
    ("a:\tb\n", {"a": "b"}),  # space to YAML 1.2
    ("a: [b\tc]\n", {"a": ["b\tc"]}),
    ("a: &x b\n*x: c\n", {"a": "b", "b": "c"}),  # `x:` is the name to YAML 1.2
    ("a: |# why\n  b\n", {"a": "b\n"}),  # a comment needs a space before it
]


@pytest.mark.parametrize(("text", "value"), KNOWN_TO_DIFFER)
def test_what_only_the_c_parser_reads_is_read_unless_another_thing_needs_the_second(text: str, value: object):
    assert by_parser(pure_events(text))[1] is not None
    assert compose(text, Report(), Bounds()) == value

    report = Report()
    compose(text + "d: {url: http://x}\n", report, Bounds())
    assert report.has_problems


def test_the_second_parser_points_at_the_line_below_the_one_that_asks_for_another_yaml():
    text = "%YAML 1.1\n---\na: b\n"

    marks = [by_parser(events(text))[0].problems[0].mark for events in (c_events, pure_events)]

    assert marks == [(1, 1), (2, 1)]


# A tree, and the text that a person might write for it.

INLINE = st.sampled_from(
    [("~", None), ("null", None), ("true", True), ("0o17", 15), ("-3", -3), ("1.5", 1.5), ("NO", "NO"), ("22:22", "22:22"),
     ("a b", "a b"), ("x#y", "x#y"), ("é日", "é日"), ("http://x", "http://x"), ("-x", "-x"), ("?x", "?x"), ("<<", "<<")]
)  # fmt: skip
TEXT = st.text("ab #:-{}[],&*!|>'\"%@`é日😀\\\t", max_size=9)
LINES = st.lists(st.text("ab:#-'\"é{", min_size=1, max_size=5), min_size=1, max_size=3)
BLANK = st.integers(0, 2)
COMMENT = st.sampled_from(["", "", "", " # why: not"])
COMMENT_BEHIND_VALUE = COMMENT | st.just("\t# tab")
KINDS = ["inline", "single", "double", "literal", "folded", "nothing", "alias", "flow"]


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, object]:
    """A text, and the value that it means."""
    writer = Writer(draw)
    text, value = writer.entries(0, 3)
    return text + "\n", value


class Writer:
    """Writes values in styles that are drawn; each method gives the text and its value."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.anchors: dict[str, object] = {}

    def entries(self, indent: int, depth: int) -> tuple[str, dict[str, object]]:
        lead, lines, value = " " * indent, [], {}
        merged: object = {}
        for number in range(self.draw(st.integers(1, 3))):
            key = self.draw(
                st.sampled_from([f"k{number}", f"'k {number}'", f'"k:{number}"', f"k-{number}:x"])
            )
            text, item = self.value(indent + self.draw(st.integers(1, 3)), depth)
            value[key.strip("'\"")] = item
            if self.draw(st.booleans()) and number:
                lines.append(f"{' ' * self.draw(st.integers(0, indent))}# about {number}")
            lines.append(f"{lead}{key}:{text}")
        maps = [name for name, named in self.anchors.items() if isinstance(named, dict)]
        if maps and self.draw(st.booleans()):
            name = self.draw(st.sampled_from(maps))
            lines.append(f"{lead}<<: *{name}")
            merged = self.anchors[name]
        assert isinstance(merged, dict)
        return "\n".join(lines), {**merged, **value}

    def items(self, indent: int, depth: int) -> tuple[str, list[object]]:
        lead, lines, value = " " * indent, [], []
        for _ in range(self.draw(st.integers(1, 3))):
            if depth and self.draw(st.booleans()):
                text, item = self.entries(indent + 2, depth - 1)
                text = " " + text.lstrip(" ") if self.draw(st.booleans()) else f"\n{text}"
            else:
                text, item = self.value(indent + 1, depth)
            value.append(item)
            lines.append(f"{lead}-{text}")
        return "\n".join(lines), value

    def value(self, indent: int, depth: int) -> tuple[str, object]:
        """What stands behind `key:` or `-`: from the space on, without the last line end."""
        kind = self.draw(st.sampled_from([*KINDS, "entries", "items"] if depth else KINDS))
        if kind == "alias" and self.anchors:
            name = self.draw(st.sampled_from(sorted(self.anchors)))
            return f" *{name}", self.anchors[name]
        text, value = getattr(self, f"_{kind}", self._inline)(indent, depth - 1)
        if kind != "alias" and self.draw(st.booleans()):
            name = f"n{len(self.anchors)}"
            self.anchors[name] = value
            text = f" &{name}{text}"
        return text, value

    def _inline(self, _indent: int, _depth: int) -> tuple[str, object]:
        text, value = self.draw(INLINE)
        return f" {text}{self.draw(COMMENT_BEHIND_VALUE)}", value

    def _nothing(self, _indent: int, _depth: int) -> tuple[str, object]:
        return self.draw(COMMENT), None

    def _single(self, _indent: int, _depth: int) -> tuple[str, object]:
        text = self.draw(TEXT)
        return " '" + text.replace("'", "''") + "'" + self.draw(COMMENT_BEHIND_VALUE), text

    def _double(self, _indent: int, _depth: int) -> tuple[str, object]:
        text = self.draw(TEXT)
        is_escaped = self.draw(st.booleans()) and "😀" not in text  # pairs of surrogates: a test of their own
        return f" {json.dumps(text, ensure_ascii=is_escaped)}{self.draw(COMMENT_BEHIND_VALUE)}", text

    def _literal(self, indent: int, _depth: int) -> tuple[str, object]:
        lines = self.draw(LINES)
        return self._text_block("|", indent, lines, "\n".join(lines))

    def _folded(self, indent: int, _depth: int) -> tuple[str, object]:
        lines = self.draw(LINES)
        return self._text_block(">", indent, lines, " ".join(lines))

    def _text_block(self, sign: str, indent: int, lines: list[str], text: str) -> tuple[str, object]:
        chomping, blank = self.draw(st.sampled_from(["", "-", "+"])), self.draw(BLANK)
        ends = {"": "\n", "-": "", "+": "\n" * (blank + 1)}
        body = "".join(f"\n{' ' * indent}{line}" for line in lines) + "\n" * blank
        return f" {sign}{chomping}{self.draw(COMMENT)}{body}", text + ends[chomping]

    def _flow(self, _indent: int, depth: int) -> tuple[str, object]:
        data = self.draw(
            st.recursive(TEXT | st.integers(-9, 9) | st.none(), _flow_parts, max_leaves=max(1, depth * 3))
        )
        return f" {json.dumps(data, ensure_ascii=False)}{self.draw(COMMENT)}", data

    def _entries(self, indent: int, depth: int) -> tuple[str, object]:
        text, value = self.entries(indent, depth)
        return f"{self.draw(COMMENT)}\n{text}", value

    def _items(self, indent: int, depth: int) -> tuple[str, object]:
        text, value = self.items(indent, depth)
        return f"{self.draw(COMMENT)}\n{text}", value


def _flow_parts(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)


@many
@given(documents())
def test_what_is_written_in_any_style_is_read_by_both_parsers(document: tuple[str, object]):
    text, value = document
    report = Report(text=text)

    root = compose(text, report, Bounds())

    assert not report._problems
    assert root == value
    assert_both_agree(text)


# Real files with slips in them, and soups of what YAML has signs for.

SLIPS = st.sampled_from(
    ["", " ", "\n", "\n\n", ":", ": ", "- ", "\n- ", "? ", "#", " #", "{{", "}", "[", "]", ",", '"', "'", "|", ">-", "&a ", "*a",
     "<<: *a", "!", "!!str ", "%", "@", "`", "\t", "~", "é", "\\", "---\n", "...\n", "\u0085", "0", "  "]
)  # fmt: skip


@many
@given(st.sampled_from(FILES), st.data())
def test_both_parsers_read_damaged_files_alike(file: Path, data: st.DataObject):
    text = file.read_text(encoding="utf-8")
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        text = text[:start] + data.draw(SLIPS) + text[start + data.draw(st.integers(0, 12)) :]

    assert_both_agree(text)


TOKENS = """
a b x1 yes on NO ~ null true 0777 0x1F 0o17 1.5 -3 .5 1e3 .inf 22:22 1_000 - -- --- ... << ! !!str ? : 'q' "q" 'it''s' "\\n"
| > |- >+ |2 # , [ ] { } {{ }} [a] {a: b} @ ` % é 日本 😀 k: "k": 'k':
"""
WORDS = st.sampled_from([*TOKENS.split(), "&a ", "*a "])
SPACE = st.sampled_from(
    ["", " ", "  ", "\n", "\n  ", "\n    ", ": ", ":\n  ", ", ", "\n- ", "\n  - ", " #", "\t", "\n---\n"]
)


@many
@given(st.lists(st.tuples(WORDS, SPACE), max_size=14))
def test_both_parsers_read_soups_of_tokens_alike(parts: list[tuple[str, str]]):
    """Tags stand apart: of `!!str!` the C parser makes one tag and the other none, and either way it is refused."""
    assert_both_agree("".join(word + (space or " " * word.startswith("!")) for word, space in parts))
