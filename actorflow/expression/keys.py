"""Values as keys of a dict, for finding those that are equal without comparing each to each.

Data must not choose the hashes: ten thousand integers that share one take a second to tell apart. Python seeds the hash
of texts alone, so all that could collide by design is a key as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actorflow.expression.kinds import is_list, is_mapping, is_number, kind
from actorflow.expression.limits import MAX_DATA_DEPTH, Fault, Meter

_UNIQUE_HASHES = 1 << 60  # below it, each integer is its own hash


def key_of(meter: Meter, value: Any) -> Any:
    """What hashes, and equals the key of another value exactly where `==` says so of the two.

    Raises:
        Fault: It is no JSON data, or is too deep, or reading it costs more than the meter allows.
    """
    if isinstance(value, str):
        meter.read_text(len(value))
        return value
    if value is None:
        return None
    if is_number(value) and -_UNIQUE_HASHES < value < _UNIQUE_HASHES:
        return value
    parts: list[str] = []
    _write(meter, parts, value, 1)
    return ("".join(parts),)  # a tuple, so that no string equals it


def _write(meter: Meter, parts: list[str], value: Any, depth: int) -> None:
    """Write a value so that equal ones, and no others, are written alike."""
    if depth > MAX_DATA_DEPTH:
        raise Fault(f"the value is nested deeper than {MAX_DATA_DEPTH} levels")
    meter.spend(3)
    if isinstance(value, str):
        _write_text(meter, parts, value)
    elif value is None or isinstance(value, bool):
        parts.append(f"{value},")
    elif is_number(value):
        parts.append(f"{_number(meter, value)},")
    elif is_list(value):
        parts.append("[")
        for item in value:
            _write(meter, parts, item, depth + 1)
        parts.append("]")
    elif is_mapping(value):
        parts.append("{")
        for key in _sorted_keys(meter, value):
            _write_text(meter, parts, key)
            _write(meter, parts, value[key], depth + 1)
        parts.append("}")
    else:
        raise Fault(f"{kind(value)} cannot be compared")


def _write_text(meter: Meter, parts: list[str], text: str) -> None:
    meter.read_text(len(text))
    parts += (str(len(text)), ":", text)


def _number(meter: Meter, value: Any) -> str:
    if isinstance(value, float) and not value.is_integer():
        return repr(value)
    meter.build_text(int(value).bit_length() // 4)
    return f"{int(value):x}"


def _sorted_keys(meter: Meter, mapping: Mapping[Any, Any]) -> list[str]:
    meter.spend(len(mapping))
    if not all(isinstance(key, str) for key in mapping):
        raise Fault("a mapping whose keys are not all strings cannot be compared")
    meter.read_text(sum(map(len, mapping)))
    return sorted(mapping)
