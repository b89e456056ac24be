"""A terminal for tests: a window that shows what it is told to, and a program that runs in it.

It knows what the program needs of a terminal and no more: whatever else it is told is an error of the program.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from typing import Self

from rich.cells import cell_len

from tests.cli_shell import PATIENCE_S, Shell

_PIECES = re.compile(r"\x1b\[(\d*)([A-Za-z])|\x1b\[([\d;]*)m|([\r\n])|([^\x1b\r\n]+)|(.)", re.DOTALL)


Row = list[str]
"""A text for each column; the second column of a wide character has an empty one."""


class Window:
    """What is seen of the lines that were written, and where the cursor is; lines above the window are kept."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._rows: list[Row] = [[]]
        self._row = self._column = 0

    @property
    def text(self) -> str:
        """All lines, those above the window, too."""
        return "\n".join("".join(row).rstrip() for row in self._rows).rstrip("\n")

    def feed(self, text: str) -> None:
        """Show what was written."""
        for number, command, _, move, shown, unknown in _PIECES.findall(text):
            assert not unknown, f"no terminal is to be told {unknown!r} of {text!r}"
            if shown:
                self._show(shown)
            elif move == "\r":
                self._column = 0
            elif move == "\n":
                self._down()
            elif command == "A":
                top = max(len(self._rows) - self.height, 0)
                self._row = max(self._row - int(number or 1), top)
            elif command == "J":
                del self._rows[self._row][self._column :]
                del self._rows[self._row + 1 :]
            elif command == "K":
                assert number == "2"
                self._rows[self._row].clear()
            else:
                assert command in ("", "m"), f"no terminal is to be told to {command}"

    def resize(self, width: int) -> None:
        """Make the window as wide as this; lines that are too long break in two, as most terminals have it."""
        broken = [_broken(row, width) for row in self._rows]
        self._row = sum(map(len, broken[: self._row]))
        self._rows = [piece for pieces in broken for piece in pieces]
        self.width = width

    def _show(self, text: str) -> None:
        for character in text:
            size = cell_len(character)
            if self._column + size > self.width:
                self._down()
                self._column = 0
            row = self._rows[self._row]
            row.extend(" " * (self._column - len(row)))
            row[self._column : self._column + size] = [character, *[""] * (size - 1)]
            self._column += size

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._rows):
            self._rows.append([])


def _broken(row: Row, width: int) -> list[Row]:
    return [row[start : start + width] for start in range(0, max(len(row), 1), width)]


class Program:
    """A command line in a window."""

    def __init__(self, shell: Shell, *words: str, width: int = 80, height: int = 24, **env: str) -> None:
        self.window = Window(width, height)
        self.written = ""  #: all that came, as it came
        self._master, slave = pty.openpty()
        self._set_size()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "actorflow", *words],
            cwd=shell.folder,
            env={**shell.env, "TERM": "xterm-256color", "LANG": "C.UTF-8", **env},
            stdin=subprocess.DEVNULL,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        shell.started.append(self.process)  # type: ignore[arg-type] - of bytes
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    def until(self, is_so: Callable[[Window], bool]) -> Window:
        """Read until the window looks like that."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_so(self.window):
            assert time.monotonic() < deadline, f"it never came:\n{self.window.text}"
            assert self._read(), f"it ended before:\n{self.window.text}"
        return self.window

    def end(self) -> int:
        """Read until the program has ended; its exit status."""
        deadline = time.monotonic() + 2 * PATIENCE_S
        while self._read():
            assert time.monotonic() < deadline, f"it never ended:\n{self.window.text}"
        return self.process.wait()

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def resize(self, width: int) -> None:
        """Make the window as wide as this, and say so to nobody: who paints looks for itself."""
        self.window.resize(width)
        self._set_size()

    def _set_size(self) -> None:
        fcntl.ioctl(
            self._master, termios.TIOCSWINSZ, struct.pack("HHHH", self.window.height, self.window.width, 0, 0)
        )

    def _read(self) -> bool:
        """Show what has come, or wait a little for it; False where nothing will come any more."""
        if not select.select([self._master], [], [], 0.2)[0]:
            return True
        try:
            text = os.read(self._master, 1 << 20).decode()
        except OSError:
            return False
        self.written += text
        self.window.feed(text)
        return bool(text)
