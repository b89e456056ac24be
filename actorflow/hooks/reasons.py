"""Why something failed, as one line of text, whatever was raised."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, cast

__all__ = ["one_line", "reason_of"]

_SHOWN: Final = 3  #: errors of a group
_LONGEST: Final = 2_000  #: characters of a line
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def reason_of(error: BaseException) -> str:
    """The type and message of an exception, or those of the first errors in a group; never raises."""
    if not isinstance(error, BaseExceptionGroup):
        return _told(error)
    errors = list(_leaves(cast("BaseExceptionGroup[BaseException]", error)))
    if len(errors) == 1:
        return _told(errors[0])
    more = f"; and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
    return f"{len(errors)} errors: {'; '.join(map(_told, errors[:_SHOWN]))}{more}"


def one_line(text: str) -> str:
    """A text that a journal keeps and a table shows: without line ends or lone surrogates, and cut where it is long."""
    line = " ".join(_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text).split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _told(error: BaseException) -> str:
    name = type(error).__name__
    try:
        message = str(error)
    except BaseException as problem:  # noqa: BLE001 - a `__str__` is other people's code
        return f"{name}, whose message cannot be shown: {type(problem).__name__} in __str__"
    return f"{name}: {message}" if message else name


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """The errors in a group, in their order, however deep groups lie within each other."""
    pending: list[BaseException] = [group]
    while pending:
        error = pending.pop()
        if isinstance(error, BaseExceptionGroup):
            pending.extend(reversed(cast("BaseExceptionGroup[BaseException]", error).exceptions))
        else:
            yield error
