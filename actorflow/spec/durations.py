"""Durations as people write them: `500ms`, `5s`, `1m30s`, `2h`, `1 day`, or a number of seconds."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final

__all__ = ["parse_duration"]

_SECONDS: Final = {
    "ms": 0.001,
    "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0,
    "m": 60.0, "min": 60.0, "mins": 60.0, "minute": 60.0, "minutes": 60.0,
    "h": 3600.0, "hour": 3600.0, "hours": 3600.0,
    "d": 86400.0, "day": 86400.0, "days": 86400.0,
}  # fmt: skip
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([a-z]+) ?")
_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_LONGEST_TEXT: Final = 64
_LONGEST: Final = 1e10  # 317 years: what a timer and a date can still hold
_EXAMPLES: Final = "write 500ms, 5s, 1m30s, 2h, 1 day, or a number of seconds"


def parse_duration(value: str | float) -> float:
    """Read a duration.

    Args:
        value: text such as `1m30s` (units from large to small, each at most once), or a number of seconds.

    Returns:
        Seconds, more than 0 and at most 10^10.

    Raises:
        ValueError: with a sentence for people, for anything else: zero, negative, `inf`, `nan`, `1:30`, a boolean.
    """
    seconds = _of_text(value) if isinstance(value, str) else _of_number(value)
    if not 0 < seconds <= _LONGEST:
        msg = f"a duration must be more than zero and at most 317 years, not {_shown(value)}"
        raise ValueError(msg)
    return seconds


def _of_number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{_shown(value)} is not a duration; {_EXAMPLES}"
        raise ValueError(msg)  # noqa: TRY004 - one kind of error for all that is no duration
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds):
        msg = f"a duration must be finite; {_EXAMPLES}"
        raise ValueError(msg)
    return seconds


@lru_cache(maxsize=256)  # a file says the same few durations many times
def _of_text(text: str) -> float:
    text = text.strip() if len(text) <= _LONGEST_TEXT else ""
    if _NUMBER.fullmatch(text):
        return float(text)
    total, position, last_unit = 0.0, 0, math.inf
    while position < len(text):
        part = _PART.match(text, position)
        unit = _SECONDS.get(part[2]) if part else None
        if part is None or unit is None or unit >= last_unit:
            break
        total, position, last_unit = total + float(part[1]) * unit, part.end(), unit
    if position < len(text) or not text:
        msg = f"{_shown(text)} is not a duration; {_EXAMPLES}"
        raise ValueError(msg)
    return total


def _shown(value: object) -> str:
    if isinstance(value, int) and abs(value) > 10**20:
        return "a number of more than twenty digits"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
