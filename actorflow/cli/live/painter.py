r"""The last lines of a terminal, painted again and again, while whatever else is written scrolls by above them.

Nothing of the terminal is switched, so nothing has to be put back: a process that is killed leaves its last picture, and
a prompt below it. How far up a picture begins is counted anew each time, since a window that became narrower has broken
its lines in two.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from threading import RLock
from typing import Final, TextIO

from rich.console import Console
from rich.text import Text

from actorflow.cli.terminal import cells

__all__ = ["Painter"]

_ERASE_BELOW: Final = "\x1b[J"
_ERASE_LINE: Final = "\x1b[2K"
_ANY_WIDTH: Final = 10_000  # lines come as wide as they are to be


class Painter:
    """A picture at the end of a terminal. May be used from any thread.

    Args:
        stream: the terminal.
        is_coloured: whether colours are wanted.
    """

    def __init__(self, stream: TextIO, *, is_coloured: bool) -> None:
        self._stream = stream
        self._console = Console(
            file=StringIO(), force_terminal=True, no_color=not is_coloured, highlight=False, width=_ANY_WIDTH
        )
        self._painted: Sequence[str] = ()  #: the lines without colours
        self._drawn = ""  #: the same as they were written
        self._lock = RLock()
        self._is_gone = False  #: nobody sees the terminal any more

    def paint(self, lines: Sequence[Text], width: int) -> None:
        """Show lines in place of the picture before; none may be wider than the terminal, nor all of them as high.

        Args:
            lines: the picture.
            width: columns that the terminal has now.
        """
        with self._console.capture() as capture:
            for line in lines:
                self._console.print(line, soft_wrap=True)
        drawn = "".join(f"{_ERASE_LINE}{line}\n" for line in capture.get().split("\n")[:-1])
        with self._lock:
            self._write(f"{self._up(width)}{drawn}{_ERASE_BELOW}")
            self._painted, self._drawn = [line.plain for line in lines], drawn

    def above(self, text: str, width: int) -> None:
        """Write lines above the picture, which stays.

        Args:
            text: whole lines, the last without its end.
            width: columns that the terminal has now.
        """
        with self._lock:
            self._write(f"{self._up(width)}{_ERASE_BELOW}{text}\n{self._drawn}")

    def leave(self) -> None:
        """Let the picture stand: what is written from now on comes below it."""
        with self._lock:
            self._painted, self._drawn = (), ""

    def _up(self, width: int) -> str:
        """Go to where the picture begins."""
        rows = sum(max(-(-cells(line) // width), 1) for line in self._painted)
        return f"\r\x1b[{rows}A" if rows else "\r"

    def _write(self, text: str) -> None:
        """Write it at once, so that no half of a picture is ever seen."""
        if self._is_gone:
            return
        encoding = self._stream.encoding or "utf-8"
        try:
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
            self._stream.flush()
        except (OSError, ValueError):
            self._is_gone = True
