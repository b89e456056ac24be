"""What a plain scalar means, by the core schema of YAML 1.2: `NO`, `on` and `22:22` are text, `0777` is 777."""

from __future__ import annotations

import math
import re
from typing import Final

__all__ = ["NOT_ALWAYS_TEXT", "AbsurdNumberError", "is_modest", "resolve"]

_WORDS: Final[dict[str, bool | float | None]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
    ".inf": math.inf, ".Inf": math.inf, ".INF": math.inf,
    "+.inf": math.inf, "+.Inf": math.inf, "+.INF": math.inf,
    "-.inf": -math.inf, "-.Inf": -math.inf, "-.INF": -math.inf,
    ".nan": math.nan, ".NaN": math.nan, ".NAN": math.nan,
}  # fmt: skip
_NUMBER: Final = re.compile(
    r"(?P<int>[-+]?[0-9]+)|0o(?P<octal>[0-7]+)|0x(?P<hexadecimal>[0-9a-fA-F]+)"
    r"|(?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)"
)
NOT_ALWAYS_TEXT: Final = frozenset("~nNtTfF.-+0123456789")
"""What a scalar begins with that may be a word or a number; any other is text, unless it is empty."""

_BASE: Final = {"int": 10, "octal": 8, "hexadecimal": 16}
_LONGEST_NUMBER: Final = 128
_LONGEST_WORD: Final = 5


class AbsurdNumberError(Exception):
    """Raised for a number that no JSON reader could be trusted with: too long, or beyond 64 bits."""


def resolve(text: str) -> str | int | float | bool | None:
    """The value of a plain scalar.

    Raises:
        AbsurdNumberError: the number is longer than 128 characters, an integer beyond 64 bits, or a decimal beyond
            what a double holds.
    """
    if text and text[0] not in NOT_ALWAYS_TEXT:
        return text
    if len(text) <= _LONGEST_WORD and text in _WORDS:
        return _WORDS[text]
    found = _NUMBER.fullmatch(text)
    if found is None:
        return text
    if len(text) > _LONGEST_NUMBER:
        raise AbsurdNumberError
    kind = found.lastgroup or "float"
    value = float(text) if kind == "float" else int(found[kind], _BASE[kind])
    if not is_modest(value):
        raise AbsurdNumberError
    return value


def is_modest(number: object) -> bool:
    """Whether every JSON reader can hold the number: an integer of 64 bits, or a finite decimal."""
    if isinstance(number, int):
        return -(2**63) <= number < 2**64
    return isinstance(number, float) and math.isfinite(number)
