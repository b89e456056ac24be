"""The functions and filters, by name; none pads, repeats or recurses without a bound that is checked first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from actorflow.expression.keys import key_of
from actorflow.expression.kinds import check_bits, finite, is_list, is_mapping, is_number, kind
from actorflow.expression.limits import Fault, Meter, check_text
from actorflow.expression.lookups import Missing
from actorflow.expression.text import json_of, scalar_text, text_of, to_float, to_int


class Function(NamedTuple):
    """What a name stands for in a call or behind `|`; it gets the meter, then its arguments."""

    compute: Callable[..., Any]
    least: int  #: arguments, the value on the left of `|` not counted
    most: int


def _range(meter: Meter, *bounds: Any) -> list[int]:
    for bound in bounds:
        if not isinstance(bound, int) or isinstance(bound, bool):
            raise Fault(f"range takes integers, not {kind(bound)}")
    if len(bounds) == 3 and bounds[2] == 0:
        raise Fault("the step of a range cannot be 0")
    numbers = range(*bounds)
    try:
        meter.build_list(len(numbers))
    except OverflowError:
        raise Fault("the range is too long") from None
    for bound in bounds:
        check_bits(bound, 0, 0)
    return list(numbers)


def _length(_meter: Meter, value: Any) -> int:
    if isinstance(value, str) or is_list(value) or is_mapping(value):
        return len(value)
    raise Fault(f"a string, a list or a mapping has a length, {kind(value)} has none")


def _cased(name: str, change: Callable[[str], str]) -> Callable[[Meter, Any], str]:
    def compute(meter: Meter, value: Any) -> str:
        text = _string(name, value)
        # Some capitals are up to three letters: that much is built before its length is known. Outside ASCII each
        # character is looked up in tables.
        meter.build_text(len(text))
        meter.read_text(0 if text.isascii() else 2 * len(text))
        changed = change(text)
        meter.build_text(len(changed))
        return changed

    return compute


def _string(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    raise Fault(f"{name} takes a string, not {kind(value)}")


def _list(name: str, value: Any) -> list[Any]:
    if is_list(value):
        return value
    raise Fault(f"{name} takes a list, not {kind(value)}")


def _first(_meter: Meter, value: Any) -> Any:
    items = _list("first", value)
    if not items:
        raise Missing(items, "the list", 0, 0)
    return items[0]


def _last(_meter: Meter, value: Any) -> Any:
    items = _list("last", value)
    if not items:
        raise Missing(items, "the list", -1, 0)
    return items[-1]


def _join(meter: Meter, value: Any, separator: Any = "") -> str:
    items, between = _list("join", value), _string("join", separator)
    meter.spend(len(items))
    parts: list[str] = []
    length = 0
    for item in items:
        part = scalar_text(meter, item)
        length += len(part) + len(between)
        check_text(length - len(between))
        parts.append(part)
    meter.build_text(max(length - len(between), 0))
    return between.join(parts)


def _keys(meter: Meter, value: Any) -> list[Any]:
    return _part_of_mapping(meter, "keys", value, lambda mapping: mapping.keys())


def _values(meter: Meter, value: Any) -> list[Any]:
    return _part_of_mapping(meter, "values", value, lambda mapping: mapping.values())


def _part_of_mapping(
    meter: Meter, name: str, value: Any, part: Callable[[Mapping[Any, Any]], Any]
) -> list[Any]:
    if not is_mapping(value):
        raise Fault(f"{name} takes a mapping, not {kind(value)}")
    meter.build_list(len(value))
    return list(part(value))


def _sort(meter: Meter, value: Any) -> list[Any]:
    items = _list("sort", value)
    meter.build_list(len(items))
    if all(isinstance(item, str) for item in items):
        comparisons = len(items).bit_length()
        meter.read_text(comparisons * sum(len(item) for item in items))
    elif all(is_number(item) for item in items):
        for item in items:
            meter.read_number(item, len(items).bit_length())
    else:
        raise Fault("sort takes a list of numbers or a list of strings")
    meter.spend(len(items) * len(items).bit_length() // 4)
    return sorted(items)


def _unique(meter: Meter, value: Any) -> list[Any]:
    items = _list("unique", value)
    meter.build_list(len(items))
    meter.spend(len(items))
    kept: dict[Any, Any] = {}
    for item in items:
        kept.setdefault(key_of(meter, item), item)
    return list(kept.values())


def _round(_meter: Meter, value: Any, digits: Any = None) -> Any:
    if not is_number(value):
        raise Fault(f"round takes a number, not {kind(value)}")
    if digits is not None and (not isinstance(digits, int) or isinstance(digits, bool) or abs(digits) > 100):
        raise Fault("the digits to round to are an integer from -100 to 100")
    if isinstance(value, int):
        check_bits(value, 0, 0)
    try:
        return finite(round(finite(value), digits))
    except OverflowError:
        raise Fault("the number is too large") from None


FUNCTIONS: Mapping[str, Function] = {
    "len": Function(_length, 1, 1),
    "range": Function(_range, 1, 3),
}

FILTERS: Mapping[str, Function] = {
    "first": Function(_first, 0, 0),
    "float": Function(to_float, 0, 0),
    "int": Function(to_int, 0, 0),
    "join": Function(_join, 0, 1),
    "keys": Function(_keys, 0, 0),
    "last": Function(_last, 0, 0),
    "length": Function(_length, 0, 0),
    "lower": Function(_cased("lower", str.lower), 0, 0),
    "round": Function(_round, 0, 1),
    "sort": Function(_sort, 0, 0),
    "string": Function(text_of, 0, 0),
    "tojson": Function(json_of, 0, 0),
    "trim": Function(_cased("trim", str.strip), 0, 0),
    "unique": Function(_unique, 0, 0),
    "upper": Function(_cased("upper", str.upper), 0, 0),
    "values": Function(_values, 0, 0),
}
