"""Which of the JSON types a value is of, and the bounds of its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, TypeGuard

from actorflow.expression.limits import MAX_BITS, Fault
from actorflow.expression.sealed import Sealed


def kind(value: object) -> str:
    """What messages call a value; never the value itself, which may be somebody's secret."""
    if value is None:
        return "null"
    for types, word in _KINDS:
        if isinstance(value, types):
            return word
    return f"a {type(value).__name__}, which is no JSON data"


_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "a bool"),
    ((int, float), "a number"),
    (str, "a string"),
    ((list, tuple), "a list"),
    (Mapping, "a mapping"),
    (Sealed, "a text with a secret in it"),
)


# Tuples, not unions: a union takes twice as long, and here that counts.
_NUMBERS = (int, float)
_LISTS = (list, tuple)
_MAPPINGS = (dict, Mapping)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value takes part in arithmetic; a bool does not."""
    return isinstance(value, _NUMBERS) and not isinstance(value, bool)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether a value is a list; what is frozen holds its lists as tuples."""
    return isinstance(value, _LISTS)


def is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    """Whether a value is a mapping, of whatever class: a context may compute its parts when they are read."""
    return isinstance(value, _MAPPINGS)


def check_bits(left: int, right: int, result_bits: int) -> None:
    """Refuse integers that are, or would become, too large to compute with."""
    if result_bits > MAX_BITS or left.bit_length() > MAX_BITS or right.bit_length() > MAX_BITS:
        raise Fault(f"the number is too large: integers have at most {MAX_BITS:,} bits")


def finite(number: Any) -> Any:
    """The number itself; the two infinities and NaN have no JSON and are refused."""
    if isinstance(number, float) and not isfinite(number):
        raise Fault("the result is no finite number")
    return number
