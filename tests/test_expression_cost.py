"""What an evaluation may cost: stopped by steps and sizes, whatever the text and the data are; no clock is looked at.

`python -m benchmarks.expressions` says what the steps come to in time.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import pytest

from actorflow.errors import ExpressionError
from actorflow.expression import compile_expression, compile_template
from actorflow.expression.functions import FILTERS
from actorflow.expression.keys import key_of
from actorflow.expression.limits import MAX_STEPS, Meter
from benchmarks.expressions import cases, torture

TORTURE = torture()
MIB = 1 << 20


def steps_of(source: str, context: object) -> int:
    meter = Meter()
    compile_expression(source).evaluate_within(context, meter)  # type: ignore[arg-type]
    return MAX_STEPS - meter.steps


@pytest.mark.parametrize("source", cases(), ids=lambda source: source[:40])
def test_work_without_bound_is_stopped(source: str):
    with pytest.raises(ExpressionError):
        compile_expression(source).evaluate(TORTURE)


@pytest.mark.parametrize(
    "source",
    [
        "[emoji | upper, emoji | upper, emoji | upper, emoji | upper]",
        "[emoji ~ '', emoji ~ '', emoji ~ '', emoji ~ '', emoji ~ '', emoji ~ '']",
        "[sharp | upper, greek | upper]",
        "dotted | lower",
        "[control | tojson]",
        "[keys | tojson, keys | tojson, keys | tojson]",
        "[range(10000), range(10000), range(10000), range(10000), range(10000), range(10000), range(10000)]",
        "[records | unique, records | unique, records | unique]",
        "doubles == doubles2",
        "doubles | tojson",
        "million == million2",
        "deep == deep2",
        "same | join",
        "collisions | unique",
    ],
)
def test_what_an_evaluation_builds_is_little_even_while_it_is_built(source: str):
    assert peak_of(lambda: compile_expression(source).evaluate(TORTURE)) < 32 * MIB


def peak_of(run: Callable[[], object]) -> int:
    """Bytes at the highest, whether it gives a value or an error."""
    tracemalloc.start()
    try:
        with suppress(ExpressionError):
            run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "source",
    [
        "huge",
        "nan",
        "million",
        "deep",
        "huge > 1.5",
        "nan == nan",
        "deep[0][0] == 1",
        "million | length",
        "million | first",
        "million | last",
        "huge == 1.0",
        "text | length",
        "million[-1] + 1",
        "'key000001' in keys",
        "million == text",
        "million == [1]",
        "{'a': text}",
        "keys.key000009 > 3",
    ],
)
def test_what_only_looks_at_large_data_is_nearly_free(source: str):
    assert steps_of(source, TORTURE) < 20


# What reads or builds more pays more; the names are those of `sized`.
GROWING = [
    *(f"strings | {name}" for name in ("join", "sort", "unique", "tojson", "string")),
    *(f"numbers | {name}" for name in ("join", "sort", "unique", "tojson", "string")),
    *(f"floats | {name}" for name in ("join", "sort", "unique", "tojson")),
    *(f"lists | {name}" for name in ("unique", "tojson")),
    *(f"mapping | {name}" for name in ("keys", "values", "tojson")),
    *(f"text | {name}" for name in ("lower", "upper", "trim", "tojson")),
    *(f"wide | {name}" for name in ("lower", "upper", "trim", "tojson")),
    *("text ~ 'x'", "text + text", "text == same_text", "text < same_text", "'b' in text", "text in [text]"),
    *("numbers == same_numbers", "lists == same_lists", "mapping == same_mapping", "[numbers] != [lists]"),
    *("-1 in numbers", "'no' in strings", "null in floats", "[1] in lists", "{} in lists"),
    *(
        "range(size)",
        "big == same_big",
        "big < same_big",
        "big in [big]",
        "[big] | unique",
        "[big, big] | sort",
    ),
    *("[text] | join", "[text] | unique", "[text, text] | sort", "[[text]] | unique", "[mapping] | unique"),
]


def sized(size: int) -> dict[str, object]:
    numbers, lists = list(range(size)), [[n] for n in range(size)]
    mapping = {str(n): n for n in numbers}
    return {
        "size": size,
        "numbers": numbers,
        "same_numbers": numbers.copy(),
        "floats": [n + 0.5 for n in numbers],
        "strings": [str(n) for n in numbers],
        "lists": lists,
        "same_lists": [item.copy() for item in lists],
        "mapping": mapping,
        "same_mapping": dict(mapping),
        "text": "a" * size * 100,
        "same_text": "a" * size * 100,
        "wide": "é" * size * 100,
        "big": 1 << size * 5_000,
        "same_big": 1 << size * 5_000,
    }


@pytest.mark.parametrize("source", GROWING)
def test_what_reads_four_times_as_much_costs_about_four_times_as_many_steps(source: str):
    small, large = steps_of(source, sized(200)), steps_of(source, sized(800))
    assert small > 100
    assert large > 3 * small


def test_every_filter_that_reads_more_than_one_item_is_among_those_that_pay():
    reading_one = {"first", "last", "length", "int", "float", "round"}
    assert {source.rpartition(" | ")[2] for source in GROWING if " | " in source} >= set(
        FILTERS
    ) - reading_one


def test_the_hashes_of_data_do_not_decide_what_unique_costs():
    modulus = sys.hash_info.modulus
    colliding = [i * modulus for i in range(1, 2_001)]
    assert len({hash(number) for number in colliding}) == 1
    expression = compile_expression("numbers | unique")
    assert len({hash(key_of(Meter(), number)) for number in colliding}) == len(colliding)
    assert expression.evaluate({"numbers": colliding}) == colliding


def test_a_search_for_a_text_in_another_pays_for_the_pairs_that_it_may_compare():
    context = {"short": "a" * 1_000, "long": "a" * 2_400, "needle": "a" * 1_200 + "ba"}
    assert steps_of("needle in long", context) > 1_000
    assert steps_of("'x' in long", context) < 60
    assert steps_of("needle in short", context) > 400


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("{{ [" + "0, " * 300 + "0] }}", 1_000),
        ("{{ {" + "'a': 0, " * 200 + "'b': 0} }}", 1_000),
        ("{{ 1" + " + 1" * 240 + " }}", 5_000),
        ("{{ input.x }}", 150_000),
        ("<{{ input.x }}>" * 100, 2_000),
        ("{{ input.list | sort }}", 1_000),
    ],
    ids=["lists", "mappings", "sums", "paths", "texts", "sorts"],
)
def test_one_string_in_very_many_places_of_a_template_is_stopped(text: str, count: int):
    with pytest.raises(ExpressionError, match="too much work"):
        compile_template([text] * count).render({"input": {"x": 1, "list": list(range(1_000))}})


def test_what_expressions_cost_by_themselves_is_known_at_load():
    with pytest.raises(ExpressionError, match="too much work: the expressions of this value take more"):
        compile_template(["{{ 1" + " + 1" * 240 + " }}"] * 1_000)
    assert len(compile_template(["{{ input.x }}"] * 50_000).render({"input": {"x": 1}})) == 50_000


@pytest.mark.parametrize("text", ["{{ [" + "0, " * 300 + "0] }}", "{{ {" + "'a': 0, " * 200 + "'b': 0} }}"])
def test_literals_in_very_many_places_of_a_template_take_little_memory(text: str):
    template = compile_template([text] * 800)
    assert peak_of(lambda: template.render({})) < 16 * MIB


def test_text_of_a_template_is_bounded_before_it_is_put_together():
    context = {"big": "x" * (MIB - 100)}
    assert len(compile_template("{{ big }}" + "y" * 100).render(context)) == MIB
    with pytest.raises(ExpressionError, match="more than 1,048,576 characters"):
        compile_template("{{ big }}" + "y" * 101).render(context)
    with pytest.raises(ExpressionError, match="longer than 1,048,576 characters"):
        compile_expression("big ~ 'y' ~ big").evaluate(context)


def test_a_source_past_its_bounds_is_refused():
    with pytest.raises(ExpressionError, match="longer than 4,096 characters"):
        compile_template("{{ " + "1 + " * 1_023 + "  1 }}")
    with pytest.raises(ExpressionError, match="has at most 65,536 characters"):
        compile_template("{{ 1 }}" + "x" * 65_530)
    assert compile_template("{{ 1 }}" + "x" * 65_529).render({}) == "1" + "x" * 65_529
