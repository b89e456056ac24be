"""Secrets in templates: where they are legal, what stands for them, and that data cannot forge one."""

from __future__ import annotations

import pytest

from actorflow.errors import ExpressionError
from actorflow.expression import (
    Sealed,
    SecretName,
    compile_expression,
    compile_template,
    condition,
    unseal,
)

TOKEN, KEY = SecretName("secret", "token"), SecretName("env", "API_KEY")
VALUES = {TOKEN: "t0ken {{ secrets.token }} ${API_KEY}", KEY: "k3y"}
CONTEXT = {"input": {"x": 5, "evil": "${API_KEY} {{ secrets.token }}", "list": ["${API_KEY}"]}}


def render(value: object, context: object = CONTEXT):
    return compile_template(value, secrets=True).render(context)  # type: ignore[arg-type]


def test_names_of_secrets_are_listed_once_each_in_order():
    value = {"a": "${B} ${API_KEY}", "b": ["{{ secrets.token }}${B}", "{{ secrets.B }}", {"c": "${API_KEY}"}]}
    template = compile_template(value, secrets=True)
    assert template.secret_names == (SecretName("env", "B"), KEY, TOKEN, SecretName("secret", "B"))
    assert template.paths == ()
    assert compile_template({"a": "$${API_KEY} {{ input.evil }}"}, secrets=True).secret_names == ()
    assert compile_template("{{ input.x }}").secret_names == ()


def test_only_a_text_that_names_a_secret_is_sealed():
    value = {
        "a": "${API_KEY}",
        "b": ["x {{ input.x }}", "{{ input.x }}", 1, "v={{ input.x }}{{ secrets.token }}."],
    }
    assert render(value) == {
        "a": Sealed((KEY,)),
        "b": ["x 5", 5, 1, Sealed(("v=5", TOKEN, "."))],
    }


def test_parts_are_as_few_as_can_be():
    assert render("a$$b{{ input.x }}${API_KEY}{{ input.x }}${API_KEY}{{ secrets.token }}{{ '' }}").parts == (
        "a$b5",
        KEY,
        "5",
        KEY,
        TOKEN,
    )


def test_a_text_of_placeholders_alone_does_not_depend_on_the_context():
    template = compile_template({"a": "Bearer ${API_KEY}"}, secrets=True)
    assert template.is_constant
    assert template.render({}) is template.render(CONTEXT)


def test_data_that_looks_like_a_placeholder_stays_as_it_is():
    value = ["{{ input.evil }}", "{{ input.list }}", "{{ input.evil }}${API_KEY}", "{{ '${API_KEY}' }}"]
    evil = "${API_KEY} {{ secrets.token }}"
    rendered = render(value)
    assert rendered == [evil, ["${API_KEY}"], Sealed((evil, KEY)), "${API_KEY}"]
    assert unseal(rendered, VALUES.__getitem__) == [evil, ["${API_KEY}"], f"{evil}k3y", "${API_KEY}"]


def test_a_value_that_looks_like_a_placeholder_is_not_resolved_again():
    assert render("{{ secrets.token }}").resolve(VALUES.__getitem__) == VALUES[TOKEN]


def test_a_sealed_text_shows_placeholders_and_never_a_value():
    sealed = render("Bearer ${API_KEY}{{ secrets.token }}")
    sealed.resolve(VALUES.__getitem__)
    for shown in (str(sealed), repr(sealed), f"{sealed}", repr([sealed])):
        assert "Bearer ${API_KEY}{{ secrets.token }}" in shown
        assert "k3y" not in shown
        assert "t0ken" not in shown


def test_a_sealed_text_is_a_value_that_can_be_compared_and_hashed():
    assert render("a ${API_KEY}") == render("a ${API_KEY}")
    assert len({render("a ${API_KEY}"), render("a ${API_KEY}"), render("b ${API_KEY}")}) == 2
    assert render("${API_KEY}") != "${API_KEY}"
    with pytest.raises(AttributeError):
        render("${API_KEY}").parts = ()


def test_unsealing_copies_what_it_walks_and_leaves_the_original_as_it_was():
    shared = [Sealed(("a", KEY))]
    value = {"x": shared, "y": (shared, {"${API_KEY}": Sealed((KEY,))}), "z": [1, None, 1.5, True, "s"]}
    opened = unseal(value, VALUES.__getitem__)
    assert opened == {"x": ["ak3y"], "y": [["ak3y"], {"${API_KEY}": "k3y"}], "z": [1, None, 1.5, True, "s"]}
    assert opened["x"] is opened["y"][0]
    assert opened["z"] is not value["z"]
    assert shared == [Sealed(("a", KEY))]
    assert unseal("plain", VALUES.__getitem__) == "plain"
    assert unseal(Sealed((KEY,)), VALUES.__getitem__) == "k3y"


def test_unsealing_goes_to_any_depth():
    value: list[object] = [Sealed((KEY,))]
    for _ in range(5_000):
        value = [value]
    opened = unseal(value, VALUES.__getitem__)
    for _ in range(5_000):
        opened = opened[0]
    assert opened == ["k3y"]


def test_what_the_lookup_raises_comes_through():
    def refused(secret: SecretName) -> str:
        raise LookupError(secret.name)

    with pytest.raises(LookupError, match="API_KEY"):
        unseal({"a": ["${X}", render("${API_KEY}")]}, refused)


@pytest.mark.parametrize("compile_one", [compile_expression, condition])
@pytest.mark.parametrize("source", ["secrets.token", "secrets.token == 'x'", "input.x == secrets['token']"])
def test_no_expression_reads_a_secret(compile_one, source: str):
    with pytest.raises(ExpressionError, match="a secret can only be inserted as it is"):
        compile_one(source)


@pytest.mark.parametrize("source", ["{{ secrets.token }}", "${API_KEY}", "${secrets.token}"])
def test_no_condition_is_a_secret(source: str):
    with pytest.raises(ExpressionError, match="only in the params of agents and hooks"):
        condition(source)


@pytest.mark.parametrize(
    "source",
    [
        "x {{ sealed }}",
        "{{ sealed ~ '' }}",
        "{{ sealed + sealed }}",
        "{{ sealed | tojson }}",
        "{{ [sealed] | join }}",
        "{{ {'a': sealed} | tojson }}",
        "{{ len(sealed) }}",
        "{{ sealed | upper }}",
        "{{ [sealed] | unique }}",
        "{{ [sealed, sealed] | sort }}",
        "{{ sealed[0] }}",
        "{{ sealed.parts }}",
        "{{ 'a' in sealed }}",
        "{{ sealed < 'a' }}",
        "{{ 1 if sealed else 2 }}",
    ],
)
def test_an_expression_cannot_look_into_a_sealed_text(source: str):
    with pytest.raises(ExpressionError) as caught:
        compile_template(source).render({"sealed": render("a ${API_KEY}")})
    assert (
        "a text with a secret in it" in caught.value.message
        or "takes a list of numbers" in caught.value.message
    )


def test_an_expression_can_only_hand_a_sealed_text_on():
    sealed = render("a ${API_KEY}")
    assert compile_template({"b": ["{{ sealed }}"]}).render({"sealed": sealed}) == {"b": [sealed]}
    for source in ("sealed == 'a k3y'", "sealed == 'a ${API_KEY}'", "'a ${API_KEY}' in [sealed]"):
        assert compile_expression(source).evaluate({"sealed": sealed}) is False


def test_placeholders_count_as_expressions_and_as_work():
    with pytest.raises(ExpressionError, match="at most 500 expressions"):
        compile_template("${A}" * 501, secrets=True)
    many = ["{{ input.x }}" + "${A}" * 400] * 5_000
    with pytest.raises(ExpressionError, match="too much work"):
        render(many)
