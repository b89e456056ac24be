"""Outputs: plain JSON data, or an error that says where it is not; and failures made of any exception."""

from __future__ import annotations

import enum
import json
import math
import time
from collections import OrderedDict, UserDict
from types import MappingProxyType
from typing import NamedTuple

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from actorflow.agents.failure import AgentFailed, failure_of
from actorflow.agents.output import OutputError, plain

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(texts, inner, max_size=4)
        | st.dictionaries(texts, inner, max_size=4).map(MappingProxyType)
    ),
    max_leaves=20,
)


def as_dicts(value):
    if isinstance(value, MappingProxyType | dict):
        return {key: as_dicts(item) for key, item in value.items()}
    return [as_dicts(item) for item in value] if isinstance(value, list | tuple) else value


@given(values)
def test_a_reader_of_the_json_sees_what_plain_returned(value):
    result = plain(value)

    read_back = json.loads(json.dumps(as_dicts(value)))
    assert json.dumps(result) == json.dumps(read_back)
    assert json.dumps(plain(result)) == json.dumps(result)


@given(values, st.sampled_from([math.nan, math.inf, 2**64, -(2**63) - 1, "\ud800", b"x", {1}, object()]))
def test_one_bad_value_anywhere_is_found(value, bad):
    for holder in ([value, bad], {"a": value, "b": [bad]}, (bad, value)):
        with pytest.raises(OutputError):
            plain(holder)


def test_nothing_mutable_is_shared():
    inner = [1]
    value = {"a": inner, "b": {"c": inner}}

    result = plain(value)
    inner.append(2)

    assert result == {"a": [1], "b": {"c": [1]}}
    assert result["a"] is not result["b"]["c"]


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


@frozen
class Point:
    x: int


class Broken(UserDict):
    def __iter__(self):
        raise ZeroDivisionError


class Pair(NamedTuple):
    left: int
    right: int


@pytest.mark.parametrize(
    "value",
    [Pair(1, 2), OrderedDict(a=1), UserDict(a=1), MappingProxyType({"a": 1}), type("L", (list,), {})([1])],
)
def test_lists_and_mappings_of_any_class_are_taken(value):
    assert plain(value) in ([1, 2], {"a": 1}, [1])
    assert type(plain(value)) in (list, dict)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "$: NaN is not JSON"),
        ({"a": [1, -math.inf]}, "$.a[1]: an infinite number is not JSON"),
        ({"items": [0, 1, 2, {"price": math.nan}]}, "$.items[3].price: NaN is not JSON"),
        ({"a b": {"": {1}}}, '$["a b"][""]: set is not JSON; return None, numbers, text, lists and dicts'),
        (2**64, "$: an integer of more than 64 bits is not kept exactly; make it a string"),
        ("\udcff", "$: a lone surrogate ('\\udcff') is not text"),
        ({"x": {"\ud800": 1}}, "$.x[\"\\ud800\"]: a lone surrogate ('\\ud800') is not text"),
        ({"a": {1: 2}}, "$.a: the key 1 is not a string"),
        ({Colour.RED: 2}, "$: the key of type Colour is not a string"),
        (b"x", "$: bytes is not JSON; decode it, or encode it as base64"),
        ([Colour.RED], "$[0]: Colour is an enum, not JSON; return its value or its name"),
        (Level.LOW, "$: Level is an enum, not JSON; return its value or its name"),
        (
            type("float64", (float,), {})(1),
            "$: float64 is a subclass of float, not JSON; convert it with float()",
        ),
        (Point(1), "$: Point is not JSON; return None, numbers, text, lists and dicts"),
        ([Broken(a=1)], "$[0]: a Broken that cannot be read: ZeroDivisionError"),
    ],
)
def test_what_is_not_json_is_told_with_its_place(value, message):
    with pytest.raises(OutputError) as caught:
        plain(value)

    assert str(caught.value) == message
    assert failure_of(caught.value).type == "output"
    assert failure_of(caught.value).detail == {"path": message.partition(":")[0]}


def test_a_hundred_levels_are_taken_and_one_more_is_not():
    value: list = []
    for _ in range(99):
        value = [value]

    assert plain(value) == value
    with pytest.raises(OutputError, match="more than 100 levels"):
        plain([value])


def test_a_cycle_is_named_where_it_begins():
    order: dict = {"id": 1}
    order["items"] = [{"order": order}]

    with pytest.raises(
        OutputError, match=r"^\$\.data\.items: a list or mapping that holds itself is not JSON$"
    ):
        plain({"data": order})


@pytest.mark.parametrize(
    "make",
    [
        lambda: "x" * (1 << 28),
        lambda: ["x" * (1 << 26)],
        lambda: [None] * (40 << 20),
        lambda: "\0" * (12 << 20),
        lambda: ["é" * (17 << 20)] * 2,
    ],
)
def test_more_than_64_mib_is_refused_in_no_time(make):
    value = make()
    began = time.monotonic()

    with pytest.raises(OutputError, match="more than 64 MiB"):
        plain(value)

    assert time.monotonic() - began < 2


def test_what_may_be_over_64_mib_by_escapes_but_is_not_is_taken():
    assert len(plain("x" * (60 << 20))) == 60 << 20


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


def pep_479() -> RuntimeError:
    error = RuntimeError("coroutine raised StopIteration")
    error.__cause__ = StopIteration("early")
    return error


@pytest.mark.parametrize(
    ("exc", "type_", "message"),
    [
        (ValueError("no such order"), "ValueError", "no such order"),
        (KeyError("x"), "KeyError", "'x'"),
        (ValueError(), "ValueError", ""),
        (SystemExit(3), "SystemExit", "3"),
        (KeyboardInterrupt(), "KeyboardInterrupt", ""),
        (StopIteration("early"), "StopIteration", "early"),
        (pep_479(), "StopIteration", "early"),
        (Unspeakable(), "Unspeakable", "(its message cannot be shown: ZeroDivisionError in __str__)"),
        (ValueError("a\ud800b"), "ValueError", "a\ufffdb"),
        (ExceptionGroup("g", [ExceptionGroup("h", [ValueError("one")])]), "ValueError", "one"),
        (
            BaseExceptionGroup(
                "g", [ValueError("one"), ExceptionGroup("h", [OSError("two")]), SystemExit(3)]
            ),
            "BaseExceptionGroup",
            "3 errors: ValueError: one; OSError: two; SystemExit: 3",
        ),
    ],
)
def test_any_exception_becomes_a_failure(exc, type_, message):
    failure = failure_of(exc)

    assert (failure.type, failure.message) == (type_, message)


def test_a_group_of_many_tells_three_and_keeps_ten():
    failure = failure_of(ExceptionGroup("g", [ValueError("x" * 3000) for _ in range(50)]))

    assert failure.message.endswith("…; and 47 more")
    assert len(failure.message.encode()) <= 4096
    assert len(failure.detail["errors"]) == 10


def test_an_agent_may_say_exactly_what_its_failure_is():
    failure = failure_of(AgentFailed("out_of_stock", "no shoes left", {"sku": "s-1"}))

    assert (failure.type, failure.message, failure.detail) == (
        "out_of_stock",
        "no shoes left",
        {"sku": "s-1"},
    )


@given(st.text(st.characters()))
def test_messages_are_text_of_at_most_4_kib(text):
    message = failure_of(ValueError(text * 100)).message

    assert len(message.encode()) <= 4096
