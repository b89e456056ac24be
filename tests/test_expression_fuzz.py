"""Expressions under random text and random data: one kind of error, plain results, and Python's arithmetic."""

from __future__ import annotations

import json
import operator
import sys
import threading
from collections.abc import Callable
from itertools import islice
from types import MappingProxyType

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from actorflow.errors import ExpressionError
from actorflow.expression import (
    Sealed,
    SecretName,
    compile_expression,
    compile_template,
    condition,
    our_template_roots,
    unseal,
)
from actorflow.expression.functions import FILTERS
from actorflow.expression.limits import Meter
from benchmarks.expressions import random_sources, torture

RELAXED = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])

WORDS = [
    *("input", "tasks", "task", "workflow", "a", "b", "x", "y", "output", "now", "len", "range", "__class__"),
    *("not", "and", "or", "in", "if", "else", "true", "false", "null", "None"),
    *(
        "default",
        "upper",
        "lower",
        "trim",
        "first",
        "last",
        "join",
        "keys",
        "values",
        "int",
        "float",
        "string",
    ),
    *("tojson", "sort", "unique", "round", "length"),
    *(
        "+",
        "-",
        "*",
        "/",
        "//",
        "%",
        "~",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
    ),
    *("|", ".", ".x", ".a-b", "['a']", "[0]", "[-1]", "(1)", "('a')", ".__class__", ".items()"),
    *("0", "1", "2", "3.5", "1e308", "9" * 22, "'a'", '"b"', "''", "'é'", '"\\n"', "'\\u0041'"),
    *(
        "$",
        "$$",
        "${",
        "{{",
        "}}",
        "${input.x}",
        "${API_KEY}",
        "{{ secrets.x }}",
        "secrets",
        "&&",
        "**",
        "=",
        "!",
        "?",
        "\\",
        "#",
        "@",
        "é",
        "\u200b",
    ),
]

sources = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join),
    st.lists(st.sampled_from(WORDS), max_size=10).map("".join),
    st.text(max_size=40),
    st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")),
    st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.integers(),
    st.integers(10**1200, 10**1300),
    st.floats(),
    st.text(max_size=6),
    st.text(st.characters(exclude_categories=()), max_size=3),  # half surrogate pairs too
)
names = st.sampled_from(["a", "b", "x", "y", "input", "tasks", "output", "a-b", "__class__"]) | st.text(
    max_size=3
)
data = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
contexts = st.dictionaries(names, data, max_size=6)

# What no JSON holds, but a caller may hand over all the same.
odd_data = st.recursive(
    scalars | st.sampled_from([b"x", {1}, object(), len, 1j, range(3), Sealed((SecretName("env", "A"),))]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(names | scalars, inner, max_size=3)
        | st.dictionaries(names, inner, max_size=3).map(MappingProxyType)
    ),
    max_leaves=8,
)


ARITHMETIC = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


# A well-formed expression, whatever the types of its parts: this reaches evaluation, where random words rarely do.
def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.sampled_from([*ARITHMETIC, "~", "in", "not in", "and", "or"])
    filters = st.sampled_from([*FILTERS, "default(1)", "join(',')", "round(2)"])
    return st.one_of(
        st.tuples(inner, binary, inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        st.tuples(inner, filters).map("|".join),
        st.tuples(inner, inner).map(lambda p: f"({p[0]})[{p[1]}]"),
        st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} if {p[1]} else {p[2]})"),
        st.lists(inner, max_size=3).map(lambda p: f"[{', '.join(p)}]"),
        st.tuples(inner, inner).map(lambda p: f"{{'a': {p[0]}, 'b': {p[1]}}}"),
        st.tuples(st.sampled_from(["not ", "-", "+"]), inner).map("".join),
        st.tuples(inner, st.sampled_from([".a", ".x", "[0]", "['b']"])).map(lambda p: f"({p[0]}){p[1]}"),
        inner.map(lambda p: f"len({p})"),
        inner.map(lambda p: f"range({p})"),
    )


atoms = st.sampled_from(
    [
        "a",
        "b",
        "x",
        "input.a",
        "tasks.x.output",
        "1",
        "0",
        "-3",
        "2.5",
        "1e300",
        "'a'",
        "''",
        "'12'",
        "true",
        "null",
    ]
)
expressions = st.recursive(atoms, _compound, max_leaves=10)


def assert_plain(value: object) -> None:
    pending = [value]
    while pending:
        item = pending.pop()
        assert item is None or type(item) in {bool, int, float, str, list, dict}
        if isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, dict):
            assert all(type(key) is str for key in item)
            pending.extend(item.values())


def outcome_of(attempt: Callable[[], object], *, is_plain: bool = True) -> object:
    """What came of it: a value, of plain data unless said otherwise, or the one error that may be raised."""
    try:
        value = attempt()
    except ExpressionError as error:
        return error
    if is_plain:
        assert_plain(value)
    return value


@RELAXED
@given(sources, contexts)
@example("a" * 5000, {})
@example("{" * 500, {})
def test_random_text_gives_plain_data_or_an_expression_error(source: str, context: dict[str, object]):
    for compile_one in (compile_expression, condition):
        outcome = outcome_of(lambda: compile_one(source).evaluate(context))  # noqa: B023 - called at once
        if isinstance(outcome, ExpressionError):
            assert outcome.message
            assert 1 <= outcome.column <= len(source) + 1


@settings(RELAXED, max_examples=200)
@given(expressions, contexts)
def test_random_expressions_give_plain_data_or_an_expression_error(source: str, context: dict[str, object]):
    before = repr(context)
    outcome = outcome_of(lambda: compile_expression(source).evaluate(context))
    again = outcome_of(lambda: compile_expression(source).evaluate(context))
    assert repr(again) == repr(outcome)
    assert repr(context) == before
    if isinstance(outcome, ExpressionError):
        assert 1 <= outcome.column <= len(source) + 1


@settings(RELAXED, max_examples=200)
@given(expressions, st.dictionaries(names, odd_data, max_size=6))
def test_no_data_makes_an_expression_raise_anything_else(source: str, context: dict[str, object]):
    for text in (source, f"a ~ ({source})", f"[{source}, a] | tojson", f"[{source}, b] | unique"):
        outcome = outcome_of(lambda: compile_expression(text).evaluate(context), is_plain=False)  # noqa: B023
        if isinstance(outcome, ExpressionError):
            assert 1 <= outcome.column <= len(text) + 1
            assert " object at 0x" not in outcome.message


def test_random_expressions_over_hostile_data_stay_within_their_steps():
    context = torture()
    for source in islice(random_sources(20_240, sorted(context)), 400):
        meter = Meter()
        try:
            compile_expression(source).evaluate_within(context, meter)
        except ExpressionError:
            continue
        assert meter.steps >= 0


PLACEHOLDERS = {
    "${API_KEY}": SecretName("env", "API_KEY"),
    "${X}": SecretName("env", "X"),
    "{{ secrets.token }}": SecretName("secret", "token"),
    "${secrets.b-c}": SecretName("secret", "b-c"),
}
secret_pieces = st.lists(
    st.sampled_from([*PLACEHOLDERS, "{{ a }}", "x", " ", "$$", "}}"]), min_size=1, max_size=8
)
forgeries = st.text(max_size=3) | st.sampled_from([*PLACEHOLDERS, "$$", "{{ a }}", "x${API_KEY}"])


@settings(RELAXED, max_examples=200)
@given(secret_pieces, forgeries)
def test_the_text_of_a_definition_names_secrets_and_data_never_does(pieces: list[str], forgery: str):
    template = compile_template("".join(pieces), secrets=True)
    named = [PLACEHOLDERS[piece] for piece in pieces if piece in PLACEHOLDERS]
    rendered = template.render({"a": forgery})
    parts = rendered.parts if isinstance(rendered, Sealed) else (rendered,)
    assert [part for part in parts if not isinstance(part, str)] == named
    assert template.secret_names == tuple(dict.fromkeys(named))
    literal = {"{{ a }}": forgery, "$$": "$"}
    expected = [f"<{PLACEHOLDERS[p].name}>" if p in PLACEHOLDERS else literal.get(p, p) for p in pieces]
    assert unseal(rendered, lambda secret: f"<{secret.name}>") == "".join(expected)


@RELAXED
@given(
    st.recursive(
        sources | scalars, lambda i: st.lists(i, max_size=3) | st.dictionaries(names, i, max_size=3)
    ),
    contexts,
    st.booleans(),
)
def test_random_templates_give_plain_data_or_an_expression_error(
    value: object, context: dict[str, object], secrets: bool
):
    def render(data: dict[str, object]) -> object:
        return unseal(compile_template(value, secrets=secrets).render(data), str)

    rendered = outcome_of(lambda: render(context))
    if not isinstance(rendered, ExpressionError) and compile_template(value, secrets=secrets).is_constant:
        assert repr(outcome_of(lambda: render({}))) == repr(rendered)


@RELAXED
@given(
    st.lists(st.tuples(st.sampled_from(["x", " ", "-", "$", "{", "}}", "{%"]), expressions), min_size=1),
    contexts,
)
def test_text_around_expressions_stays_as_it_is(parts: list[tuple[str, str]], context: dict[str, object]):
    template = "".join(f"{text}|{{{{ {source} }}}}" for text, source in parts)
    rendered = outcome_of(lambda: compile_template(template).render(context))
    pieces = [outcome_of(lambda: compile_expression(f"({s}) | string").evaluate(context)) for _, s in parts]  # noqa: B023
    if not any(isinstance(piece, ExpressionError) for piece in pieces):
        assert rendered == "".join(f"{text}|{piece}" for (text, _), piece in zip(parts, pieces, strict=True))


@RELAXED
@given(sources)
def test_looking_for_our_templates_never_raises(source: str):
    assert all(found in source for found in our_template_roots(source))


small = st.integers(-50, 50)
small_numbers = small | st.floats(-50, 50).map(lambda number: round(number, 3))


@given(small_numbers, st.sampled_from(sorted(ARITHMETIC)), small_numbers)
def test_operators_on_numbers_are_pythons(left: float, symbol: str, right: float):
    try:
        expected = ARITHMETIC[symbol](left, right)
    except ZeroDivisionError:
        with pytest.raises(ExpressionError, match="division by zero"):
            compile_expression(f"a {symbol} b").evaluate({"a": left, "b": right})
        return
    assert repr(compile_expression(f"{left!r} {symbol} {right!r}").evaluate({})) == repr(expected)
    assert repr(compile_expression(f"a {symbol} b").evaluate({"a": left, "b": right})) == repr(expected)


sums = st.recursive(
    small.map(str),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "//", "%"]), inner).map(" ".join),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"- {text}"),
    ),
    max_leaves=12,
)


@settings(RELAXED, max_examples=150)
@given(sums)
def test_precedence_and_association_are_pythons(source: str):
    try:
        expected = eval(source, {})
    except ZeroDivisionError:
        with pytest.raises(ExpressionError, match="division by zero"):
            compile_expression(source)
        return
    assert compile_expression(source).evaluate({}) == expected


logic = st.recursive(
    st.sampled_from(["True", "False", "1 < 2", "2 == 3", "'a' in 'ab'", "1 not in [1]"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join),
        inner.map(lambda text: f"not {text}"),
        inner.map(lambda text: f"({text})"),
        st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} if {p[1]} else {p[2]})"),
    ),
    max_leaves=10,
)


@settings(RELAXED, max_examples=150)
@given(logic)
def test_logic_is_pythons(source: str):
    assert compile_expression(source).evaluate({}) is eval(source, {})


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.0, 1.0, 2.5])
    | st.sampled_from(["", "a", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)


def marked(value: object) -> object:
    """The value with its bools told apart from its numbers, so that Python's equality is ours."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, list):
        return [marked(item) for item in value]
    if isinstance(value, dict):
        return {key: marked(item) for key, item in value.items()}
    return value


# Pairs that are alike or nearly so, all the way down: two values drawn by themselves hardly ever are.
twins = st.recursive(
    plain.map(lambda value: (value, value))
    | st.sampled_from(
        [(1, True), (0, False), (1.0, True), (1, 1.0), (0, 0.0), (1, "1"), (None, False), ([], {}), (1, 2)]
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(
            lambda pairs: ([left for left, _ in pairs], [right for _, right in pairs])
        ),
        st.tuples(inner, inner).map(lambda p: ({"a": p[0][0], "b": p[1][0]}, {"b": p[1][1], "a": p[0][1]})),
    ),
    max_leaves=4,
)


@settings(RELAXED, max_examples=150)
@given(twins | st.tuples(plain, plain))
def test_equality_is_exact_all_the_way_down_and_unique_and_in_agree_with_it(pair: tuple[object, object]):
    left, right = pair
    context = {"a": left, "b": right}
    expected = marked(left) == marked(right)
    assert compile_expression("a == b").evaluate(context) is expected
    assert compile_expression("a != b").evaluate(context) is not expected
    assert compile_expression("a in [b]").evaluate(context) is expected
    assert compile_expression("[a, b] | unique | length").evaluate(context) == (1 if expected else 2)


@given(plain)
def test_what_is_written_as_json_is_read_as_the_same(value: object):
    text = compile_expression("a | tojson").evaluate({"a": value})
    assert repr(json.loads(text)) == repr(value)


@pytest.mark.parametrize(
    "opening", ["(", "[", "-", "not ", "+", "{'a':", "1+", "x|", "a.", "a[", "1 if ", "len(", "'a'~"]
)
@pytest.mark.parametrize("count", [30, 39, 40, 41, 200, 1000, 32_000])
def test_no_nesting_and_no_length_exhausts_the_stack(opening: str, count: int):
    closing = {"(": ")", "[": "]", "{'a':": "}", "a[": "]", "len(": ")"}.get(opening, "")
    outcome: list[object] = []

    def compile_and_evaluate() -> None:
        for source in (opening * count + "x" + closing * count, opening * count):
            try:
                outcome.append(compile_expression(source).evaluate({"x": [], "a": {}}))
            except ExpressionError as error:
                outcome.append(error)

    # A stack that is already half used: what is left must do.
    limit = sys.getrecursionlimit()
    thread = threading.Thread(target=compile_and_evaluate)
    sys.setrecursionlimit(400)
    try:
        thread.start()
        thread.join()
    finally:
        sys.setrecursionlimit(limit)
    assert len(outcome) == 2
