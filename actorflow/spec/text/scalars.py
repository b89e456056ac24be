"""What a plain scalar means, by the core schema of YAML 1.2: `NO`, `on` and `22:22` are text, `0777` is 777."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final

__all__ = ["NUMBERS_BEGIN", "WORDS", "AbsurdNumberError", "is_modest", "number_of"]

WORDS: Final[dict[str, bool | None]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_ODD_NUMBERS: Final = {
    ".inf": math.inf, ".Inf": math.inf, ".INF": math.inf,
    "+.inf": math.inf, "+.Inf": math.inf, "+.INF": math.inf,
    "-.inf": -math.inf, "-.Inf": -math.inf, "-.INF": -math.inf,
    ".nan": math.nan, ".NaN": math.nan, ".NAN": math.nan,
}  # fmt: skip
_NUMBER: Final = re.compile(
    r"(?P<int>[-+]?[0-9]+)|0o(?P<octal>[0-7]+)|0x(?P<hexadecimal>[0-9a-fA-F]+)"
    r"|(?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)"
)
NUMBERS_BEGIN: Final = frozenset(".-+0123456789")
"""What a plain scalar begins with that may be a number; any other is one of the words, or text."""

_BASE: Final = {"int": 10, "octal": 8, "hexadecimal": 16}
_LONGEST_NUMBER: Final = 128


class AbsurdNumberError(Exception):
    """Raised for a number that no JSON reader could be trusted with: too long, or beyond 64 bits."""


def number_of(text: str) -> str | int | float:
    """The number that a text is which begins like one, or the text.

    Raises:
        AbsurdNumberError: the number is longer than 128 characters, an integer beyond 64 bits, or a decimal beyond
            what a double holds.
    """
    if len(text) <= _LONGEST_NUMBER:
        return _number(text)
    if _NUMBER.fullmatch(text) is not None:
        raise AbsurdNumberError
    return text


@lru_cache(maxsize=1024)
def _number(text: str) -> str | int | float:
    if text in _ODD_NUMBERS:
        return _ODD_NUMBERS[text]
    found = _NUMBER.fullmatch(text)
    if found is None:
        return text
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
