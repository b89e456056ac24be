"""YAML text to nodes: budgets that hold, positions, merges, and 1.2's idea of a scalar."""

from __future__ import annotations

import pytest
from both_parsers import by_parser

from actorflow.spec.bounds import Bounds
from actorflow.spec.text.composer import compose
from actorflow.spec.text.nodes import BROKEN, ListNode, MapNode, Node
from actorflow.spec.text.parsers import c_events
from actorflow.spec.text.report import Report


def composed(text: str, bounds: Bounds | None = None) -> tuple[Node, list[str]]:
    """The root, and the codes of the problems."""
    report = Report(text=text)
    root = compose(text, report, bounds or Bounds())
    return root, [problem.code for problem in report._problems]


SCALAR_TABLE = [
    ("NO", "NO"), ("on", "on"), ("yes", "yes"), ("0777", 777), ("22:22", "22:22"), ("0o17", 15), ("0x1F", 31),
    ("1_000", "1_000"), ("~", None), ("null", None), ("", None), ("true", True), ("False", False), ("TRUE", True),
    ("tRUE", "tRUE"), ("1.5", 1.5), ("-3", -3), ("+3", 3), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), (".", "."),
    ("-", "-"), ("1.2.3", "1.2.3"), ("2024-01-01", "2024-01-01"), ("0b1", "0b1"), ("'5'", "5"), ('"~"', "~"),
    ("-.inf", float("-inf")), ("NaN", "NaN"), ("<<", "<<"), (".", "."), ("0o8", "0o8"), ("0xG", "0xG"), ("+.5e-3", 0.0005), ("n", "n"), ("Nullify", "Nullify"), ("1" * 129 + "x", "1" * 129 + "x"), ("12e", "12e"), ("=", "="), ("http://x", "http://x"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), SCALAR_TABLE)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: object):
    root, problems = composed(f"[{text or '~'}]" if text != "-" else '["-"]')

    assert not problems
    assert root == [value]
    assert type(root[0]) is type(value)  # type: ignore[index]


def test_flow_yaml_that_the_c_parser_refuses_is_read_by_the_other():
    root, problems = composed('a: {url: http://x, "b":1, c:d}')

    assert (root, problems) == ({"a": {"url": "http://x", "b": 1, "c:d": None}}, [])


@pytest.mark.parametrize("bounds", [Bounds(second_parse_chars=10), Bounds(second_parse_events=5)])
def test_a_text_that_is_long_or_has_many_parts_is_judged_by_the_c_parser_alone(bounds: Bounds):
    text = "a: {url: http://x}\n"

    assert composed(text)[1] == []
    assert composed(text, bounds)[1] == ["E110"]


def test_a_text_of_256_kb_is_read_by_the_second_parser():
    text = "a: {url: http://x}\n"

    padded = text + "#" * (Bounds().second_parse_chars - len(text))

    assert composed(padded) == ({"a": {"url": "http://x"}}, [])
    assert composed(padded + "#")[1] == ["E110"]


def test_what_the_second_parser_cannot_take_is_judged_by_the_first():
    """It answers an escape beyond Unicode with an error of Python's own."""
    assert composed(r'a: "\UFFFFFFFF"')[1] == ["E110"]


def test_pairs_of_escaped_surrogates_are_one_character():
    assert composed(r'a: "\ud83d\ude00"')[0] == {"a": "😀"}


def test_merge_keys_give_way_to_own_keys_and_to_earlier_sources():
    root, problems = composed("a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 3}\n")

    assert not problems
    assert root["c"] == {"x": 3, "y": 1, "z": 2}  # type: ignore[index,call-overload]


def test_merged_entries_say_where_they_stand():
    root, _ = composed("a: &a {x: 1}\nb:\n  <<: *a\n  y: 2\n")

    merged = root["b"]  # type: ignore[index,call-overload]
    assert isinstance(merged, MapNode)
    assert (merged.mark, merged.key_marks, merged.marks) == (
        (3, 3),
        {"x": (1, 8), "y": (4, 3)},
        {"x": (1, 11), "y": (4, 6)},
    )


POSITIONS = [
    ("a: b\n", (1, 1), (1, 4)), ("a:\n  b\n", (1, 1), (2, 3)), ("a: |\n  b\n", (1, 1), (1, 4)), ("a: 'b'\n", (1, 1), (1, 4)),
    ("a:\n", (1, 1), (1, 1)), ("a: ~\n", (1, 1), (1, 4)), ("a: # why\n\n", (1, 1), (1, 1)), ("é: 日\na: b\n", (2, 1), (2, 4)),
    ("a:\n- b\n", (1, 1), (2, 1)), ("a:\n  b: c\n", (1, 1), (2, 3)), ("a: &x\n  b: c\n", (1, 1), (1, 4)), ("{x: y, a: [b]}", (1, 8), (1, 11)),
    ("? a\n: b\n", (1, 3), (2, 3)), ("x: &x y\na: *x\n", (2, 1), (2, 4)), ("{a: , b: c}", (1, 2), (1, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("text", "key", "value"), POSITIONS)
def test_keys_and_values_say_where_they_begin_and_what_is_left_out_stands_with_its_key(
    text: str, key: tuple[int, int], value: tuple[int, int]
):
    root, problems = composed(text)

    assert not problems
    assert isinstance(root, MapNode)
    assert (root.key_marks["a"], root.marks["a"]) == (key, value)


def test_problems_of_a_text_that_is_no_yaml_further_down_are_told_with_it():
    assert composed("a: !x b\na: 1\n1: c\nd: [\n")[1] == ["E110", "E113", "E112", "E117"]


def test_forbidden_characters_are_told_with_the_problems_around_them():
    root, problems = composed("a: b\x07\na: \x1b[31m c\nd: *e\n")

    assert root is BROKEN
    assert problems == ["E111", "E111", "E112", "E116"]


def test_the_first_of_two_documents_is_read():
    root, problems = composed("a: b\n---\nc: d\n")

    assert (root, problems) == ({"a": "b"}, ["E114"])


def test_an_anchor_may_be_used_for_something_else_later():
    assert composed("a: &x 1\nb: *x\nc: &x 2\nd: *x\n") == ({"a": 1, "b": 1, "c": 2, "d": 2}, [])


def test_a_quoted_merge_sign_is_a_key():
    assert composed("a: {'<<': {b: c}}")[0] == {"a": {"<<": {"b": "c"}}}


def test_an_alias_shares_what_it_names():
    root, _ = composed("a: &a [1]\nb: *a\n")

    assert root["a"] is root["b"]  # type: ignore[index,call-overload]


def bomb(levels: int, width: int = 10) -> str:
    lines = ["a0: &a0 x"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("levels", [10, 60])
def test_a_bomb_is_refused_at_the_alias_that_passes_the_budget_and_never_expanded(levels: int):
    composer, fault = by_parser(c_events(bomb(levels)))

    assert fault is None
    assert [problem.code for problem in composer.problems] == ["E116"]
    written_out = composer.node_count - composer.added_count
    assert written_out < 100
    assert composer.added_count < 2 * Bounds().added_nodes


def test_aliases_within_the_budget_are_fine():
    _, problems = composed("a: &a [" + "x, " * 999 + "x]\nb: [" + "*a, " * 98 + "*a]\n")

    assert not problems


def test_depth_is_counted_through_aliases():
    halves = "a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 40 + "*a" + "]" * 40 + "\n"

    assert composed(halves)[1] == ["E115"]


@pytest.mark.parametrize("text", ["[" * 10_000, "{a: " * 10_000, "- " * 3_000, "? " * 3_000])
def test_depth_over_64_stops_the_reading(text: str):
    composer, fault = by_parser(c_events(text))

    assert fault is None
    assert [problem.code for problem in composer.problems] == ["E115"]
    assert composer.node_count <= 2 * 65


def test_depth_64_is_read():
    root, problems = composed("[" * 64 + "]" * 64)

    assert not problems
    assert isinstance(root, ListNode)


@pytest.mark.parametrize(
    "text", ["[" * 60_000, "{" * 60_000, '"' + "x" * 250_000, "'" * 200_001, "a: b: " * 40_000]
)
def test_the_second_parse_of_hostile_text_ends(text: str):
    assert composed(text)[1]
