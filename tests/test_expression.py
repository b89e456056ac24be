"""Expressions: the tables of values and errors, paths, conditions, and every limit."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path as FilePath
from types import MappingProxyType

import pytest

from actorflow.errors import ExpressionError
from actorflow.expression import compile_expression, compile_template, condition, our_template_roots, unseal

DATA = FilePath(__file__).parent / "data"
CONTEXT = json.loads((DATA / "expression_context.json").read_text())


def rows(name: str) -> list[str]:
    lines = (DATA / name).read_text().split("\n")
    return [line for line in lines if line and not line.startswith("# ")]


def value_of(source: str, context: object = CONTEXT):
    return compile_expression(source).evaluate(context)  # type: ignore[arg-type]


def error_of(source: str, context: object = CONTEXT) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        value_of(source, context)
    return caught.value


@pytest.mark.parametrize("row", rows("expression_values.txt"))
def test_an_expression_has_its_value_of_exactly_its_type(row: str):
    source, expected = row.rsplit(" => ", 1)
    assert json.dumps(value_of(source)) == json.dumps(json.loads(expected))


@pytest.mark.parametrize("row", rows("expression_errors.txt"))
def test_a_bad_expression_says_what_is_wrong_and_where(row: str):
    source, column, message = row.split(" !! ", 2)
    error = error_of(source)
    assert message in error.message
    assert (error.source, error.column) == (source, int(column))
    assert error.code == "E300"


@pytest.mark.parametrize("row", [*rows("expression_templates.txt"), *rows("expression_attacks.txt")])
def test_a_template_string_has_its_value_or_says_what_is_wrong_and_where(row: str):
    check_template(row, lambda text: compile_template(text).render(CONTEXT))


@pytest.mark.parametrize("row", rows("expression_secrets.txt"))
def test_a_text_that_may_name_secrets_has_them_put_in_or_says_what_is_wrong(row: str):
    def resolved(text: str) -> object:
        rendered = compile_template(text, secrets=True).render(CONTEXT)
        return unseal(rendered, lambda secret: f"<{secret.kind}:{secret.name}>")

    check_template(row, resolved)


def check_template(row: str, render: Callable[[str], object]) -> None:
    if " !! " not in row:
        text, expected = row.rsplit(" => ", 1)
        assert json.dumps(render(text)) == json.dumps(json.loads(expected))
        return
    text, column, message = row.rsplit(" !! ", 2)
    with pytest.raises(ExpressionError) as caught:
        render(text)
    assert message in caught.value.message
    assert (caught.value.source, caught.value.column) == (text, int(column))


@pytest.mark.parametrize(
    ("source", "paths"),
    [
        ("1 + 2", ()),
        ("now()", ()),
        ("input", (("input",),)),
        ("input.a.b", (("input", "a", "b"),)),
        ('input["a"].b["c d"]', (("input", "a", "b", "c d"),)),
        ("tasks.fetch-data.output[0].x", (("tasks", "fetch-data", "output"),)),
        ("tasks[input.which].output", (("tasks",), ("input", "which"))),
        ("b.x + a.x + b.x", (("b", "x"), ("a", "x"))),
        ("a-b", (("a",), ("b",))),
        ("a.x-y", (("a", "x-y"),)),
        ("a.x - y", (("a", "x"), ("y",))),
        ("x | default(y.z)", (("x",), ("y", "z"))),
        ("a if b else c", (("a",), ("b",), ("c",))),
        ('{"k": v.w}', (("v", "w"),)),
        ("task.build.output", (("tasks", "build", "output"),)),
        ("task.input.output", (("task", "input", "output"),)),
        ("task", (("task",),)),
        ("workflow.x", (("workflow", "x"),)),
        ("now", ()),
        ("now + index", (("index",),)),
        ("input.nowhere.now", (("input", "nowhere", "now"),)),
    ],
)
def test_paths_are_known_before_anything_runs(source: str, paths: tuple[tuple[str, ...], ...]):
    assert compile_expression(source).paths == paths


@pytest.mark.parametrize(
    "root", ["input", "tasks", "workflow", "item", "index", "signal", "error", "env", "output", "order"]
)
def test_every_root_compiles_and_its_path_is_known(root: str):
    assert compile_expression(f"{root}.x").paths == ((root, "x"),)
    assert compile_template(f"<{{{{ {root} }}}}>").paths == ((root,),)
    assert condition(f"{root} == 1").paths == ((root,),)


@pytest.mark.parametrize("field", ["id", "type", "status", "attempt", "error", "duration_ms", "input"])
def test_a_field_of_the_task_is_of_itself_and_any_other_word_is_a_task(field: str):
    assert compile_expression(f"task.{field}").paths == (("task", field),)
    assert compile_template(f"${{task.{field}.x}}").paths == (("task", field, "x"),)
    assert compile_expression(f"task.{field}s.output").paths == (("tasks", f"{field}s", "output"),)


@pytest.mark.parametrize("field", ["name", "version", "run_id", "status", "error", "stage"])
def test_a_reserved_word_of_the_workflow_is_no_input(field: str):
    assert compile_template(f"${{workflow.{field}}}").paths == (("workflow", field),)
    assert compile_template(f"${{workflow.{field}s}}").paths == (("input", f"{field}s"),)


def test_an_expression_is_compiled_once_for_each_text():
    assert compile_expression("input.once") is compile_expression("input.once")


def test_an_expression_without_names_fails_at_load():
    for source in ("1/0", "range(10001)", "[] | first", "'x' | int", "not 1", "'a'.b"):
        with pytest.raises(ExpressionError):
            compile_expression(source)
    for source in ("input.x / (1 - 1)", "1 / (now() - now())"):
        compile_expression(source)


@pytest.mark.parametrize(
    "source", ["input.x / 0", "1 + input.x // 0", "input.x % 0.0", "2 * input.x / 0 + 1"]
)
def test_a_division_by_a_literal_zero_fails_at_load(source: str):
    with pytest.raises(ExpressionError, match="division by zero"):
        compile_expression(source)


def test_a_constant_that_costs_much_is_left_to_the_run():
    source = f"[{', '.join(['range(10000)'] * 30)}]"
    expression = compile_expression(source)
    with pytest.raises(ExpressionError, match="too much work"):
        expression.evaluate({})


def test_now_is_the_clock_of_the_context():
    assert value_of("now()", {"now": 12.5}) == 12.5
    assert value_of("now + 1", {"now": 12.5}) == 13.5
    assert "known to a run only" in error_of("now()", {}).message


def test_a_mapping_of_any_class_is_reachable_and_a_tuple_is_a_list():
    context = {"m": MappingProxyType({"a": (1, {"b": 2})})}
    assert value_of("m.a[1].b", context) == 2
    assert value_of("m == {'a': [1, {'b': 2}]}", context) is True
    assert value_of("m | tojson", context) == '{"a":[1,{"b":2}]}'


def test_no_attribute_of_an_object_is_reachable():
    class Thing:
        secret = "x"

    for source in (
        "thing.secret",
        "thing['secret']",
        "thing[0]",
        "thing.__class__",
        "thing | tojson",
        "thing ~ ''",
    ):
        error = error_of(source, {"thing": Thing()})
        assert "a Thing, which is no JSON data" in error.message


def test_messages_name_types_and_never_values():
    context = {"s": "hunter2", "n": 31337}
    for source in ("s + 1", "s | int", "s.x", "s < n", "not s", "n ~ [s]", "n | upper", "s and true"):
        text = str(error_of(source, context))
        assert "hunter2" not in text
        assert "31337" not in text


def test_a_message_lists_few_of_many_names_and_no_long_ones():
    many = {f"key{i}": i for i in range(10_000)} | {"k" * 5000: 1}
    message = error_of("m.kye1", {"m": many}).message
    assert "key0, key1, " in message
    assert "…; did you mean 'key1'?" in message
    assert len(message) < 300
    assert len(str(error_of("m." + "x" * 3000, {"m": many}))) < 800


def test_a_message_shows_no_control_character():
    for source in ("m.x", "m['\\x1b[31m']", "m[0]", "m.x.y", "'\\x1b[31m'.x"):
        message = error_of(source, {"m": {"\x1b[2J": 1, "\n": 2, "\u202e": 3, "\ud800": 4}}).message
        assert message.isprintable()
    with pytest.raises(ExpressionError) as caught:
        compile_template("${\x1b[31m\n}")
    assert caught.value.message.isprintable()


def test_a_literal_list_or_mapping_is_fresh_each_time():
    expression = compile_expression("{'a': [1]}")
    assert expression.evaluate({}) == expression.evaluate({})
    assert expression.evaluate({})["a"] is not expression.evaluate({})["a"]


@pytest.mark.parametrize(
    "source",
    [
        "1" + "+1" * 16_000,
        "1" + "+1" * 600,
        "not " * 1000 + "true",
        "-" * 4000 + "1",
        "(" * 32_000,
        "(" * 41 + "1" + ")" * 41,
        "[" * 41 + "]" * 41,
        '{"a":' * 41 + "1" + "}" * 41,
        "x if y else " * 41 + "z",
        "x" + "[0]" * 41,
        "x" + "|first" * 41,
        "range(" * 500,
        "1" * 401,
        "x" * 4097,
        '"' + "a" * 4096 + '"',
        "[" + "1," * 501 + "]",
        "9" * 400 + ("*" + "9" * 400) * 3,
        "1" + "*" + "1e300" + "*1e300",
    ],
    ids=lambda source: source[:20],
)
def test_a_source_past_a_limit_is_an_error_and_nothing_else(source: str):
    with pytest.raises(ExpressionError):
        compile_expression(source)


@pytest.mark.parametrize(
    "source",
    [
        "(" * 39 + "1" + ")" * 39,
        "[" * 39 + "1" + "]" * 39,
        "1" + "+1" * 240,
        "'a'" + "~'b'" * 240,
        "true" + " and true" * 240,
        "9" * 400,
        '"' + "a" * 4094 + '"',
    ],
    ids=lambda source: source[:20],
)
def test_a_source_within_the_limits_is_evaluated(source: str):
    assert compile_expression(source).evaluate({}) is not None


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("input.count == 4", True),
        ("{{ input.count == 4 }}", True),
        ("  {{ input.count > 4 }}\n", False),
        ("{{ .input.flag }}", True),
        ("${input.flag}", True),
        ("${workflow.flag}", True),
        ("{{ {'a': {'b': true}}.a.b }}", True),
        ("true", True),
        ("now() > 3", True),
    ],
)
def test_a_condition_is_bare_or_one_template(source: str, value: bool):
    assert condition(source).evaluate(CONTEXT) is value


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("input.count", "a condition is true or false, and this is a number"),
        ("{{ input.nothing }}", "and this is null"),
        ("{{ input.region }}", "and this is a string"),
        ("{{ a }} == {{ b }}", "one expression"),
        ("not {{ a }}", "one expression"),
        ("x == '{{ y }}'", "one expression"),
        ("{{ a }", "has no `}}`"),
        ("", "expected a value"),
        ("yes", "unknown name 'yes'"),
    ],
)
def test_a_condition_that_is_no_bool_is_an_error(source: str, message: str):
    with pytest.raises(ExpressionError) as caught:
        condition(source).evaluate(CONTEXT)
    assert message in caught.value.message


def test_columns_of_a_condition_count_in_the_whole_text():
    with pytest.raises(ExpressionError) as caught:
        condition("  {{ input.nope }}\n").evaluate(CONTEXT)
    assert (caught.value.column, caught.value.source) == (12, "  {{ input.nope }}\n")


@pytest.mark.parametrize("source", ["'yes'", "1", "{{ null }}", "{{ 'true' }}", "[]", "1 / 0"])
def test_a_constant_condition_that_is_no_bool_fails_at_load(source: str):
    with pytest.raises(ExpressionError):
        condition(source)


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("echo {{ input.x }}", ("{{ input.x }}",)),
        ("echo {{input.x}} '{{ input.x }}' {{input.x}}", ("{{input.x}}", "{{ input.x }}")),
        (
            "cat ${task.x.output} ${input.x} ${workflow.name}",
            ("${task.x.output}", "${input.x}", "${workflow.name}"),
        ),
        ('{{ tasks["a"].output }} {{ .input.y }}', ('{{ tasks["a"].output }}', "{{ .input.y }}")),
        (
            "{{ 'a' ~ tasks.a.output }} {{ {\"k\": input.x} }}",
            ("{{ 'a' ~ tasks.a.output }}", '{{ {"k": input.x} }}'),
        ),
        ("{{ item }} {{ output.total }}", ("{{ item }}", "{{ output.total }}")),
        ("{{ input.x | bad syntax", ()),
        ("{{ input.x oops }}", ("{{ input.x oops }}",)),
        ("docker ps --format '{{.Names}}'", ()),
        (
            "docker inspect -f '{{json .State}} {{index .RepoTags 0}} {{range .Mounts}}{{.Source}}{{end}}' x",
            (),
        ),
        ("kubectl get po -o go-template='{{range .items}}{{.status.phase}}{{.input}}{{.error}}{{end}}'", ()),
        ("curl $WORKFLOW_ERROR ${HOME} ${x:-y} ${input} ${error%%.*} ${item} $(date) $$", ()),
        ("", ()),
        ("{{" * 100_000, ()),
    ],
)
def test_templates_of_ours_are_found_in_a_shell_string(script: str, found: tuple[str, ...]):
    assert our_template_roots(script) == found


def test_an_interpreter_set_to_convert_few_digits_raises_no_error_of_its_own():
    digits = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        for source in ("n ~ ''", "[n] | tojson", "n | string", "n + n | string", "[n] | join"):
            error_of(source, {"n": 2**4000})
        assert value_of("n ~ ''", {"n": 2**2000}) == str(2**2000)
        assert value_of("9" * 400) == 10**400 - 1
    finally:
        sys.set_int_max_str_digits(digits)
