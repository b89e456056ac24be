"""Rendered values that a journal will be asked to keep: whether they come back from it as they went.

What agents return is checked where it comes in. A template makes new values of that: numbers by arithmetic, texts and
nesting by putting things together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, Final, cast

from actorflow.errors import ExpressionError

__all__ = ["checked_json"]

DEEPEST: Final = 100  #: lists and mappings within each other
LARGEST: Final = 64 * 1024 * 1024  #: bytes of JSON, without what escapes add

_LEAST_INTEGER: Final = -(2**63)
_GREATEST_INTEGER: Final = 2**64 - 1


def checked_json(value: Any) -> Any:
    """The value itself, which is known to be JSON as agents' outputs are.

    Raises:
        ExpressionError: it holds an integer of more than 64 bits, a number that is not finite, a lone surrogate, more
            than 100 levels, or more than 64 MiB.
    """
    try:
        _measure(value, 0, LARGEST)
    except _Refused as refused:
        raise ExpressionError(f"{refused.path}: {refused.problem}") from None
    return value


class _Refused(Exception):  # noqa: N818 - carries the path up; never leaves this module
    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.steps: list[str | int] = []  #: innermost first

    @property
    def path(self) -> str:
        return "$" + "".join(f".{s}" if isinstance(s, str) else f"[{s}]" for s in reversed(self.steps))


def _measure(value: Any, depth: int, left: int) -> int:
    """How many of the bytes are left behind a value."""
    match value:
        case None | bool():
            left -= 4
        case int():
            if not _LEAST_INTEGER <= value <= _GREATEST_INTEGER:
                raise _Refused("an integer of more than 64 bits is not kept exactly; make it a string")
            left -= len(str(value))
        case float():
            if not isfinite(value):
                raise _Refused("a number that is not finite is not JSON")
            left -= len(repr(value))
        case str():
            left -= _bytes_of(value)
        case Mapping():
            mapping = cast("Mapping[str, Any]", value)
            left = _measure_items(mapping.items(), depth, left - sum(map(_bytes_of, mapping)))
        case _:
            left = _measure_items(enumerate(cast("list[Any]", value)), depth, left)
    if left < 0:
        raise _Refused("more than 64 MiB of JSON")
    return left


def _measure_items(items: Iterable[tuple[str | int, Any]], depth: int, left: int) -> int:
    if depth >= DEEPEST:
        raise _Refused(f"more than {DEEPEST} levels of lists and mappings")
    for step, item in items:
        try:
            left = _measure(item, depth + 1, left - 1)
        except _Refused as refused:
            refused.steps.append(step)
            raise
    return left


def _bytes_of(text: str) -> int:
    if text.isascii():
        return len(text) + 2
    try:
        return len(text.encode()) + 2
    except UnicodeEncodeError:
        raise _Refused("a lone surrogate is not text") from None
