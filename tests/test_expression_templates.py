"""Templates: nested values, constants, and what a rendering may cost."""

from __future__ import annotations

import pytest

from actorflow.errors import ExpressionError
from actorflow.expression import compile_template

CONTEXT = {"input": {"x": 5, "text": "hi", "list": [1, 2]}, "tasks": {"a": {"output": {"n": 1.0}}}}


def render(value: object, context: object = CONTEXT):
    return compile_template(value).render(context)  # type: ignore[arg-type]


def error_of(value: object, context: object = CONTEXT) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        render(value, context)
    return caught.value


def test_every_string_of_a_nested_value_is_rendered_and_no_key_is():
    value = {
        "{{ k }}": ["{{ input.x }}", {"t": "<{{ input.text }}>"}],
        "n": 1,
        "f": 1.5,
        "b": True,
        "z": None,
    }
    assert render(value) == {"{{ k }}": [5, {"t": "<hi>"}], "n": 1, "f": 1.5, "b": True, "z": None}


def test_paths_of_all_parts_are_listed_once_in_order():
    value = [{"a": "{{ tasks.a.output }}"}, "{{ input.x }} ${task.a.output} ${workflow.y}", "{{ input.x }}"]
    assert compile_template(value).paths == (("tasks", "a", "output"), ("input", "x"), ("input", "y"))


@pytest.mark.parametrize(
    "value", ["text", "", 1, 1.5, True, None, [], {}, ["$5", {"a": [None]}], {"{{ x }}": 1}]
)
def test_a_constant_is_returned_as_the_object_it_is(value: object):
    template = compile_template(value)
    assert template.is_constant
    assert template.paths == ()
    assert template.render({}) is value


def test_a_constant_with_escapes_is_unescaped_once_at_load():
    template = compile_template({"a": ["$$x", "y"], "b": "z"})
    assert template.is_constant
    assert template.render({}) is template.render({})
    assert template.render({}) == {"a": ["$x", "y"], "b": "z"}


def test_a_whole_expression_gives_the_object_of_the_context():
    assert render("{{ input.list }}") is CONTEXT["input"]["list"]
    assert repr(render("{{ tasks.a.output.n }}")) == "1.0"


def test_a_rendered_value_is_never_rendered_again():
    context = {"input": {"evil": "{{ secrets.token }} ${HOME} $$"}}
    assert render(["{{ input.evil }}", "<{{ input.evil }}>"], context) == [
        "{{ secrets.token }} ${HOME} $$",
        "<{{ secrets.token }} ${HOME} $$>",
    ]


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("{{ input.nope }}", 10),
        ("abc {{ input.nope }}", 14),
        ("{{ input.x }} {{ 1 / input.zero }}", 20),
        ("${input.nope}", 9),
        ("abc ${workflow.nope}", 16),
        ("{{ .input.nope }}", 11),
        ("ü {{ input.x + 'a' }}", 14),
        ("a {{ 1 +* 2 }}", 9),
        ("a {{ b", 3),
        ("a $$ ${B}", 6),
        ("a {{ [tasks] }} {{ tasks.a ~ '' }}", 28),
        ("a {{ input.nan }}", 6),
    ],
)
def test_columns_count_in_the_whole_string(text: str, column: int):
    context = {"input": {"x": 5, "zero": 0, "nan": float("nan")}, "tasks": {"a": {}}}
    error = error_of(text, context)
    assert (error.column, error.source) == (column, text)


def test_a_long_string_is_not_repeated_in_the_message():
    error = error_of("x" * 30_000 + "{{ input.nope }}" + "y" * 30_000)
    assert error.column == 30_010
    assert len(str(error)) < 400
    assert "input.nope" in str(error)


def test_text_put_together_is_bounded_over_the_whole_value():
    context = {"big": "x" * 400_000}
    assert len(render(["<{{ big }}>", "<{{ big }}>"], context)) == 2
    assert "1,048,576" in error_of(["<{{ big }}>"] * 3, context).message
    assert "1,048,576" in error_of("{{ big }}{{ big }}{{ big }}", context).message
    assert len(render(["{{ big }}"] * 100, context)) == 100


def test_work_is_bounded_over_the_whole_value():
    context = {"l": list(range(10_000))}
    assert "too much work" in error_of(["{{ l | sort }}"] * 100, context).message


@pytest.mark.parametrize(
    "text",
    [
        "{{ input.x }}" + "x" * 65_536,
        "$$" * 40_000,
        "{{ 1 }}" * 501,
        "{{" * 30_000,
        "${" * 30_000,
        "{{ '" * 16_000,
        "{{ {" * 16_000,
        '{{ "\\' * 10_000,
    ],
    ids=lambda text: text[:12],
)
def test_a_string_past_a_limit_is_an_error(text: str):
    error_of(text)


def test_a_long_string_without_templates_is_only_text():
    text = "price: $5 " * 100_000
    assert render(text) is text


def test_a_value_that_is_deep_or_cyclic_or_no_json_is_an_error():
    deep: object = "x"
    for _ in range(5_000):
        deep = [deep]
    cyclic: list[object] = []
    cyclic.append({"a": cyclic})
    for value in (deep, cyclic, {1: 2}, {"a": {1, 2}}, object()):
        error_of(value)


def test_a_value_that_shares_its_parts_over_and_over_is_stopped():
    bomb: list[object] = ["{{ input.x }}"] * 10
    for _ in range(8):
        bomb = [bomb] * 10
    error_of(bomb)
