"""What operators do to values: JSON data in, JSON data out, exact types, and every size checked before it is built.

Nothing here recurses, so that the depth of the data is no concern, and nothing raises but `Fault`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeAlias

from actorflow.expression.kinds import check_bits, finite, is_list, is_mapping, is_number, kind
from actorflow.expression.limits import Fault, Meter
from actorflow.expression.text import scalar_text

DIVISION_BY_ZERO = "division by zero"

Operation: TypeAlias = Callable[[Meter, Any, Any], Any]


def _arithmetic(
    symbol: str, compute: Callable[[Any, Any], Any], result_bits: Callable[[int, int], int]
) -> Operation:
    def operate(_meter: Meter, left: Any, right: Any) -> Any:
        if not (is_number(left) and is_number(right)):
            raise Fault(_no_operands(symbol, left, right))
        if isinstance(left, int) and isinstance(right, int):
            check_bits(left, right, result_bits(left.bit_length(), right.bit_length()))
        try:
            result = compute(left, right)
        except ZeroDivisionError:
            raise Fault(DIVISION_BY_ZERO) from None
        except OverflowError:
            raise Fault("the number is too large") from None
        return finite(result)

    return operate


def _no_operands(symbol: str, left: Any, right: Any) -> str:
    problem = f"`{symbol}` takes numbers, not {kind(left)} and {kind(right)}"
    if symbol != "+":
        return problem
    return f"`+` takes two numbers or two strings, not {kind(left)} and {kind(right)}; `~` puts scalars together as text"


_add_numbers = _arithmetic("+", operator.add, lambda a, b: max(a, b) + 1)
subtract = _arithmetic("-", operator.sub, lambda a, b: max(a, b) + 1)
multiply = _arithmetic("*", operator.mul, operator.add)
divide = _arithmetic("/", lambda a, b: a / b, max)
floor_divide = _arithmetic("//", lambda a, b: a // b, max)
remainder = _arithmetic("%", operator.mod, max)


def add(meter: Meter, left: Any, right: Any) -> Any:
    """`+`: the sum of two numbers, or one string after the other."""
    if isinstance(left, str) and isinstance(right, str):
        meter.build_text(len(left) + len(right))
        return left + right
    return _add_numbers(meter, left, right)


def negative(_meter: Meter, value: Any) -> Any:
    """Unary `-`."""
    if not is_number(value):
        raise Fault(f"`-` takes a number, not {kind(value)}")
    if isinstance(value, int):
        check_bits(value, 0, 0)
    return finite(-value)


def positive(_meter: Meter, value: Any) -> Any:
    """Unary `+`."""
    if not is_number(value):
        raise Fault(f"`+` takes a number, not {kind(value)}")
    return value


def inverse(_meter: Meter, value: Any) -> bool:
    """`not`."""
    if value is True or value is False:
        return not value
    raise Fault(f"`not` takes a bool, not {kind(value)}")


def equal(meter: Meter, left: Any, right: Any) -> bool:
    """`==`: of one type and the same value, all the way down; an integer equals the float of its value, no bool does."""
    if isinstance(left, str) and isinstance(right, str):
        meter.read_text(min(len(left), len(right)))
        return left == right
    if isinstance(left, _SCALARS) or isinstance(right, _SCALARS):
        return _equal_scalars(meter, left, right)
    pairs: list[tuple[Any, Any]] = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        if isinstance(one, _SCALARS) or isinstance(other, _SCALARS):
            if isinstance(one, str) and isinstance(other, str):
                meter.read_text(min(len(one), len(other)))
            if not _equal_scalars(meter, one, other):
                return False
        elif is_list(one) and is_list(other) and len(one) == len(other):
            meter.spend(_CONTAINER_STEPS + 2 * len(one))
            pairs.extend(zip(one, other, strict=True))
        elif is_mapping(one) and is_mapping(other) and len(one) == len(other):
            meter.spend(_CONTAINER_STEPS + 2 * len(one))
            if any(key not in other for key in one):
                return False
            pairs.extend((one[key], other[key]) for key in one)
        else:
            return False
    return True


_CONTAINER_STEPS = 6  # to open two containers costs as much as to compare so many scalars
_CALL_STEPS = 3  # and to begin anew for each item, as this many
_SCALARS = (str, int, float, bool, type(None))


def _equal_scalars(meter: Meter, left: Any, right: Any) -> bool:
    if isinstance(left, bool) is not isinstance(right, bool):
        return False
    meter.read_number(left)
    return bool(left == right)


def unequal(meter: Meter, left: Any, right: Any) -> bool:
    """`!=`."""
    return not equal(meter, left, right)


def _ordering(symbol: str, compare: Callable[[Any, Any], bool]) -> Operation:
    def operate(meter: Meter, left: Any, right: Any) -> bool:
        if isinstance(left, str) and isinstance(right, str):
            meter.read_text(min(len(left), len(right)))
        elif is_number(left) and is_number(right):
            meter.read_number(left)
        else:
            raise Fault(f"`{symbol}` orders two numbers or two strings, not {kind(left)} and {kind(right)}")
        return compare(left, right)

    return operate


less = _ordering("<", operator.lt)
less_or_equal = _ordering("<=", operator.le)
greater = _ordering(">", operator.gt)
greater_or_equal = _ordering(">=", operator.ge)


def contained(meter: Meter, needle: Any, holder: Any) -> bool:
    """`in`: a text in a string, a value among a list's items, a key among a mapping's."""
    if isinstance(holder, str):
        if not isinstance(needle, str):
            raise Fault(f"`in` looks for a string in a string, not for {kind(needle)}")
        meter.search_text(len(needle), len(holder))
        return needle in holder
    if is_list(holder):
        return _is_among(meter, needle, holder)
    if is_mapping(holder):
        return isinstance(needle, str) and needle in holder
    raise Fault(f"`in` looks into a string, a list or a mapping, not into {kind(holder)}")


def _is_among(meter: Meter, needle: Any, items: list[Any]) -> bool:
    if isinstance(needle, str):
        meter.spend(len(items))
        meter.read_text(len(items) * len(needle))
        return needle in items
    meter.spend(len(items))
    if isinstance(needle, _SCALARS):
        meter.read_number(needle, len(items))
        is_bool = isinstance(needle, bool)
        return any(item == needle and isinstance(item, bool) is is_bool for item in items)
    meter.spend(_CALL_STEPS * len(items))
    return any(equal(meter, needle, item) for item in items if not isinstance(item, _SCALARS))


def not_contained(meter: Meter, needle: Any, holder: Any) -> bool:
    """`not in`."""
    return not contained(meter, needle, holder)


def concatenate(meter: Meter, left: Any, right: Any) -> str:
    """`~`: two scalars as text, one after the other."""
    one, other = scalar_text(meter, left), scalar_text(meter, right)
    meter.build_text(len(one) + len(other))
    return one + other
