"""What a stream can show: how wide it is, whether it takes box characters, and whether it takes colours."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final, TextIO, TypeAlias

from attrs import frozen

Span: TypeAlias = tuple[str, str]
"""A piece of a line, and what it is about: a status, or nothing."""

_COLOURS: Final[Mapping[str, str]] = {
    "success": "32",
    "failed": "31",
    "timed_out": "31",
    "lost": "35",
    "canceled": "35",
    "running": "36",
    "waiting": "33",
    "waits": "2",
    "skipped": "2",
    "pending": "2",
    "faint": "2",
}
"""As the numbers of ECMA-48, which every terminal with colours takes."""

_DRAWN: Final = "─│┌├└█▒×○·…←"
_PLAIN_LOCALES: Final = frozenset({"C", "POSIX"})


@frozen
class Terminal:
    """What a stream can show."""

    width: int | None = None  #: columns; None: no terminal is there, and lines may be of any length
    is_unicode: bool = True  #: box characters and the like come through
    is_coloured: bool = False

    def painted(self, line: Iterable[Span]) -> str:
        """The pieces of a line as text, in colours where there are any, without blanks at its end."""
        if not self.is_coloured:
            return "".join(text for text, _ in line).rstrip()
        return "".join(_painted(text, _COLOURS.get(about)) for text, about in line).rstrip()


def terminal_of(stream: TextIO | None, environ: Mapping[str, str] | None = None) -> Terminal:
    """What a stream can show, here and now.

    Args:
        stream: None: it is closed.
        environ: the variables that count: NO_COLOR, TERM, and those of the locale; those of the process if not given.
    """
    variables = os.environ if environ is None else environ
    width = columns_of(stream)
    has_colours = not variables.get("NO_COLOR") and variables.get("TERM", "dumb") != "dumb"
    return Terminal(
        width=width,
        is_unicode=_takes(stream, _DRAWN) and _locale(variables) not in _PLAIN_LOCALES,
        is_coloured=width is not None and has_colours,
    )


def columns_of(stream: TextIO | None) -> int | None:
    """The columns of the terminal that a stream goes to, if it does."""
    try:
        return None if stream is None else os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def cells(text: str) -> int:
    """How many columns of a terminal a text takes: wide characters two, marks upon another none."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def cut(text: str, width: int, mark: str = "…") -> str:
    """A text in at most so many columns, with a mark at its end where some of it is missing."""
    if cells(text) <= width:
        return text
    room, taken = max(width - cells(mark), 0), 0
    for number, character in enumerate(text):
        taken += _cells_of(character)
        if taken > room:
            return (text[:number] + mark)[: max(width, 0)]
    return text


def _takes(stream: TextIO | None, text: str) -> bool:
    try:
        text.encode((stream and stream.encoding) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _locale(environ: Mapping[str, str]) -> str | None:
    """The locale for characters, as the variables give it; Python itself takes C for UTF-8, and a terminal may not."""
    return next((found for name in ("LC_ALL", "LC_CTYPE", "LANG") if (found := environ.get(name))), None)


def _cells_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def _painted(text: str, colour: str | None) -> str:
    return text if colour is None or not text.strip() else f"\x1b[{colour}m{text}\x1b[0m"
