"""A live view on a terminal, for as long as it is wanted: what everybody else writes meanwhile appears above it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from io import TextIOBase
from threading import RLock
from types import TracebackType
from typing import BinaryIO, Final, Self, TextIO

from actorflow.cli.live.frame import frame
from actorflow.cli.live.lines import Symbols
from actorflow.cli.live.painter import Painter
from actorflow.cli.live.view import RunView
from actorflow.cli.screen import Screen, as_text
from actorflow.cli.terminal import terminal_of

__all__ = ["REFRESH_S", "LiveDisplay"]

REFRESH_S: Final = 0.1
"""How often a view may be painted."""

_LONGEST_BEGUN: Final = 8192  # characters of a line that is waited for
_USUAL: Final = os.terminal_size((80, 24))


class LiveDisplay:
    """Shows a view on stderr. A context: when it is left, the last picture stays, and what comes next comes below it.

    Args:
        screen: of the command; its notes appear above the view meanwhile, and so does what the process prints.
        view: is read whenever it is painted.
    """

    def __init__(self, screen: Screen, view: RunView) -> None:
        assert screen.err is not None
        terminal = terminal_of(screen.err)
        self.view = view
        self._screen = screen
        self._stream = screen.err
        self._is_coloured = terminal.is_coloured
        self._symbols = Symbols.for_terminal(is_unicode=terminal.is_unicode)
        self._painter = Painter(screen.err, is_coloured=terminal.is_coloured)
        self._shown: tuple[object, ...] = ()
        self._now = 0.0
        self._printed: Sequence[tuple[str, _Printed]] = ()

    def __enter__(self) -> Self:
        self._screen.divert(self._above)
        self._printed = [(name, _Printed(self, getattr(sys, name))) for name in ("stdout", "stderr")]
        for name, printed in self._printed:
            setattr(sys, name, printed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for name, printed in self._printed:
            setattr(sys, name, printed.stream)
            printed.show_begun()
        self.refresh(self._now, is_last=True)
        self._painter.leave()
        self._screen.divert(None)

    def refresh(self, now: float, *, is_last: bool = False) -> None:
        """Paint the view, if it or the window has changed, or a second has begun."""
        size = _size(self._stream)
        shown = (self.view.version, int(now), size)
        if shown == self._shown and not is_last:
            return
        self._shown, self._now = shown, now
        # the cursor has a line of its own below the picture
        lines = frame(self.view, now, size.columns, max(size.lines - 1, 1), self._symbols)
        self._painter.paint(lines, size.columns)

    def printed(self, text: str) -> None:
        """Show what somebody in this process has printed, with its colours, and nothing else that a terminal would obey."""
        shown = text.rstrip("\r")
        self._above(_with_colours(shown) if self._is_coloured else as_text(_COLOUR.sub("", shown)))

    def _above(self, text: str) -> None:
        self._painter.above(text, _size(self._stream).columns)


class _Printed(TextIOBase):
    """A stream in place of one of the process, whose lines are shown above a view; the rest of it is as it was."""

    def __init__(self, display: LiveDisplay, stream: TextIO) -> None:
        self.stream = stream
        self._display = display
        self._begun = ""  #: of a line whose end has not come
        self._lock = RLock()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.stream.encoding

    @property
    def buffer(self) -> BinaryIO:
        return self.stream.buffer

    def fileno(self) -> int:
        return self.stream.fileno()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        with self._lock:
            *lines, begun = (self._begun + text).split("\n")
            self._begun = _over(begun)
            if len(self._begun) > _LONGEST_BEGUN:
                lines, self._begun = [*lines, self._begun], ""
            if lines:
                self._display.printed("\n".join(map(_over, lines)))
        return len(text)

    def show_begun(self) -> None:
        """Show a line that has not been ended; there is nobody left to end it."""
        with self._lock:
            if self._begun:
                self._display.printed(self._begun)
            self._begun = ""


def _over(line: str) -> str:
    """What a terminal shows of a line that was begun anew, as progress bars are; it may be begun anew once more."""
    text = line.removesuffix("\r")
    return text.rpartition("\r")[2] + line[len(text) :]


_COLOUR: Final = re.compile(r"(\x1b\[[0-9;]*m)")
_NO_COLOUR: Final = "\x1b[0m"


def _with_colours(text: str) -> str:
    pieces = _COLOUR.split(text)
    if len(pieces) == 1:
        return as_text(text)
    return (
        "".join(piece if number % 2 else as_text(piece) for number, piece in enumerate(pieces)) + _NO_COLOUR
    )


def _size(stream: TextIO) -> os.terminal_size:
    """The size of the window; what is usual where it does not say."""
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return _USUAL
    return os.terminal_size((size.columns or _USUAL.columns, size.lines or _USUAL.lines))
