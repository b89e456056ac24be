"""YAML text to nodes: two parsers that agree, budgets that hold, and 1.2's idea of a scalar."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorflow.spec.bounds import Bounds
from actorflow.spec.nodes import BROKEN, ListNode, MapNode, Node
from actorflow.spec.parsers import NextEvent, SyntaxFault, c_events, pure_events
from actorflow.spec.report import Report
from actorflow.spec.source import has_only_text
from actorflow.spec.yaml import _Composer, compose

SEED = sorted((Path(__file__).parent / "seed").glob("*.yaml"))


def composed(text: str, bounds: Bounds | None = None) -> tuple[Node, list[str]]:
    """The root, and the codes of the problems."""
    report = Report(text=text)
    root = compose(text, report, bounds or Bounds())
    return root, [problem.code for problem in report._problems]


def by_parser(events: NextEvent, bounds: Bounds | None = None) -> tuple[_Composer, SyntaxFault | None]:
    composer = _Composer(bounds or Bounds())
    return composer, composer.run(events)


def shape(node: Node) -> object:
    """Values, types and positions, so that nothing that is read from a node can differ unseen."""
    if isinstance(node, MapNode):
        return (node.mark, [(k, node.key_marks[k], node.marks[k], shape(v)) for k, v in node.items()])
    if isinstance(node, ListNode):
        items = [shape(item) if isinstance(item, MapNode | ListNode) else repr(item) for item in node]
        marks = [mark for item, mark in zip(node, node.marks, strict=True) if item is not None]
        return (node.mark, marks, items)
    return "broken" if node is BROKEN else repr(node)


def assert_both_agree(text: str):
    """Where both parsers accept a text, they read the same, and find the same problems."""
    if not has_only_text(text, Report()):
        return
    fast, fault = by_parser(c_events(text))
    pure, pure_fault = by_parser(pure_events(text))
    if fault is not None or pure_fault is not None:
        return
    assert shape(fast.root) == shape(pure.root)
    assert [(p.code, p.mark, p.message) for p in fast.problems] == [
        (p.code, p.mark, p.message) for p in pure.problems
    ]


@pytest.mark.parametrize("file", SEED, ids=lambda file: file.stem)
def test_both_parsers_read_the_seed_examples_alike(file: Path):
    text = file.read_text(encoding="utf-8")

    fast, fault = by_parser(c_events(text))

    assert fault is None
    assert isinstance(fast.root, MapNode)
    assert_both_agree(text)


# Without `---` and `...`, which the pure parser finds in places where none can be, and with a space behind each anchor:
# to YAML 1.2 a colon there is part of the name, to the C parser it is not.
TOKENS = """
a b x1 yes on NO ~ null true 0777 0x1F 0o17 1.5 -3 .5 1e3 .inf 22:22 1_000 - -- << ! !!str ? : 'q' "q" 'it''s' "\\n"
| > |- >+ # , [ ] { } {{ }} [a] {a: b} @ ` % é 日本 😀 k: "k":
"""
WORDS = st.sampled_from([*TOKENS.split(), "&a ", "*a "])
SPACE = st.sampled_from(
    ["", " ", "  ", "\n", "\n  ", "\n    ", ": ", ":\n  ", ", ", "\n- ", "\n  - ", " #", "\t"]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(WORDS, SPACE), max_size=14))
def test_both_parsers_read_soups_of_tokens_alike(parts: list[tuple[str, str]]):
    assert_both_agree("".join(word + space for word, space in parts))


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\ufeff"), max_size=12),
)  # fmt: skip
DATA = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abc:#-{}[]'\" é", max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


def flow(value: object) -> str:
    """Write JSON, which is YAML 1.2."""
    import json

    return json.dumps(value, ensure_ascii=False)


def block(value: object, indent: int = 0) -> str:
    """Write block style, with quoted scalars."""
    lead = "\n" + "  " * indent
    if isinstance(value, dict) and value:
        return "".join(f"{lead}{flow(key)}: {block(item, indent + 1)}" for key, item in value.items())
    if isinstance(value, list) and value:
        return "".join(f"{lead}- {block(item, indent + 1)}" for item in value)
    return flow(value)


@settings(max_examples=150, deadline=None)
@given(DATA, st.sampled_from([flow, block]))
def test_what_is_written_is_read_by_both_parsers(value: object, write):
    text = write(value)

    root, problems = composed(text)

    assert not problems
    assert root == value
    assert_both_agree(text)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_composed_or_reported(text: str):
    report = Report(text=text)
    if has_only_text(text, report):
        compose(text, report, Bounds())


SCALAR_TABLE = [
    ("NO", "NO"), ("on", "on"), ("yes", "yes"), ("0777", 777), ("22:22", "22:22"), ("0o17", 15), ("0x1F", 31),
    ("1_000", "1_000"), ("~", None), ("null", None), ("", None), ("true", True), ("False", False), ("TRUE", True),
    ("tRUE", "tRUE"), ("1.5", 1.5), ("-3", -3), ("+3", 3), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), (".", "."),
    ("-", "-"), ("1.2.3", "1.2.3"), ("2024-01-01", "2024-01-01"), ("0b1", "0b1"), ("'5'", "5"), ('"~"', "~"),
    ("-.inf", float("-inf")), ("NaN", "NaN"), ("12e", "12e"), ("=", "="), ("http://x", "http://x"),
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


def test_a_long_text_is_judged_by_the_c_parser_alone():
    text = "a: {url: http://x}\n"

    assert composed(text, Bounds(second_parse_chars=10))[1] == ["E110"]


def test_pairs_of_escaped_surrogates_are_one_character():
    assert composed(r'a: "\ud83d\ude00"')[0] == {"a": "😀"}


def test_merge_keys_give_way_to_own_keys_and_to_earlier_sources():
    root, problems = composed("a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 3}\n")

    assert not problems
    assert root["c"] == {"x": 3, "y": 1, "z": 2}  # type: ignore[index,call-overload]


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
