"""Values as text, and text as numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from actorflow.expression.kinds import check_bits, finite, is_list, is_mapping, is_number, kind
from actorflow.expression.limits import MAX_DATA_DEPTH, Fault, Meter, check_text


def scalar_text(meter: Meter, value: Any) -> str:
    """A scalar as text: null is empty, bools and numbers are as in JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number_text(meter, value)
    raise Fault(f"{kind(value)} is no text; `tojson` writes it as JSON")


def _number_text(meter: Meter, value: float) -> str:
    meter.spend(_NUMBER_STEPS)
    if isinstance(value, int):
        check_bits(value, 0, 0)
    try:
        return repr(finite(value))
    except ValueError:
        raise Fault(_NO_JSON_NUMBER) from None


def text_of(meter: Meter, value: Any) -> str:
    """Any value as text: strings as they are, null as nothing, everything else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json_of(meter, value)


def json_of(meter: Meter, value: Any) -> str:
    """A value as compact JSON, not escaped beyond need; its size and depth are measured before it is written."""
    _measure(meter, value)
    try:
        written = json.dumps(
            value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_as_dict
        )
    except ValueError:  # NaN; an integer with more digits than the interpreter is set to convert
        raise Fault(_NO_JSON_NUMBER) from None
    # Escapes make a text of control characters up to six times as long as measured.
    meter.build_text(len(written))
    return written


_NUMBER_STEPS = 3  # to write the digits of a float takes longer than all else
_NO_JSON_NUMBER = "a number that is not finite, or is too large, has no JSON"


def _measure(meter: Meter, value: Any) -> None:
    """Refuse what is too deep, too large or no JSON; level by level, so that no depth can exhaust the stack."""
    length, level, depth = 0, [value], 0
    while level:
        depth += 1
        if depth > MAX_DATA_DEPTH:
            raise Fault(f"the value is nested deeper than {MAX_DATA_DEPTH} levels")
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                length += len(item) + 2
            elif isinstance(item, int):
                length += item.bit_length() // 4 + 1
                check_bits(item, 0, 0)
            elif is_list(item):
                length += len(item) + 1
                meter.spend(len(item) + 1)
                below += item
            elif is_mapping(item):
                length += _length_of_keys(meter, item)
                below += item.values()
            elif isinstance(item, float):
                length += 3
                meter.spend(_NUMBER_STEPS)
            elif item is None:
                length += 4
            else:
                raise Fault(f"{kind(item)} cannot be written as JSON")
        check_text(length)
        level = below


def _length_of_keys(meter: Meter, mapping: Mapping[Any, Any]) -> int:
    meter.spend(3 * len(mapping) + 3)
    if not all(isinstance(key, str) for key in mapping):
        raise Fault("a mapping whose keys are not all strings has no JSON")
    return sum(map(len, mapping)) + 4 * len(mapping) + 1


def _as_dict(value: Any) -> dict[str, Any]:
    return dict(value)  # a Mapping that is no dict: nothing else passes the measuring


_DECIMAL = re.compile(r"\s*+[+-]?[0-9]{1,400}\s*+")
_FLOATING = re.compile(r"\s*+[+-]?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,10})?\s*+")


def to_int(meter: Meter, value: Any) -> int:
    """A number without its fraction, or a string of decimal digits as a number."""
    if isinstance(value, str) and _is_written_as(_DECIMAL, meter, value):
        return int(value)
    if is_number(value):
        return int(finite(value))
    raise Fault(f"{_unconvertible(value)} is no integer")


def to_float(meter: Meter, value: Any) -> float:
    """A number, or a string that holds one, as a float."""
    if not is_number(value) and not (isinstance(value, str) and _is_written_as(_FLOATING, meter, value)):
        raise Fault(f"{_unconvertible(value)} is no number")
    try:
        return cast("float", finite(float(value)))
    except OverflowError:
        raise Fault("the number is too large for a float") from None


def _is_written_as(form: re.Pattern[str], meter: Meter, text: str) -> bool:
    meter.read_text(len(text))
    return form.fullmatch(text) is not None


def _unconvertible(value: Any) -> str:
    return "this string" if isinstance(value, str) else kind(value)
