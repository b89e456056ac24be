"""stdout and stderr: results and notes, whatever the terminal is and whoever has closed it.

Results go to stdout; progress, notes and errors go to stderr. What a workflow made up (outputs, errors, names) is shown
with its control characters escaped, so that it can't speak to the terminal.
"""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from textwrap import TextWrapper
from typing import Any, Final, TextIO

from attrs import define

from actorflow.cli.statuses import Exit
from actorflow.cli.terminal import columns_of

_CONTROLS: Final = "\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
_IN_TEXT: Final = re.compile(f"[{_CONTROLS}]")
_WRAPPER: Final = partial(TextWrapper, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
_IN_LINE: Final = re.compile(f"[{_CONTROLS}\t\n]")

_UNABLE: Final = frozenset({"", "dumb", "unknown"})
"""What TERM says of terminals on which the cursor can't go up."""


@define
class Screen:
    """Where a command writes, and how."""

    out: TextIO | None
    err: TextIO | None
    is_json: bool
    is_quiet: bool
    is_debug: bool
    is_plain: bool = False  #: lines are wanted, also where a live view could be
    has_reader: bool = True  #: whether anybody may still read stdout
    _write_error: OSError | None = None
    _divert: Callable[[str], None] | None = None

    @classmethod
    def for_words(cls, argv: Sequence[str]) -> Screen:
        """The screen of a command line.

        The flags are looked for before the words are parsed, so that an error of parsing is told in the right form.
        """
        words = argv[: argv.index("--")] if "--" in argv else argv
        flags = ("--json" in words, "--quiet" in words, "--debug" in words, "--plain" in words)
        return cls(sys.stdout, sys.stderr, *flags)

    @property
    def is_live(self) -> bool:
        """Whether it may show a view that changes: people look at both streams, on a terminal that can do it."""
        are_terminals = all(columns_of(stream) is not None for stream in (self.out, self.err))
        is_wanted = not (self.is_json or self.is_quiet or self.is_plain)
        return is_wanted and are_terminals and os.environ.get("TERM", "dumb") not in _UNABLE

    def divert(self, write: Callable[[str], None] | None) -> None:
        """Hand all lines from now on to whoever paints on the terminal; None: write them again."""
        self._divert = write

    def result(self, text: str) -> None:
        """Write lines of a result to stdout."""
        self._write(self.out, text)

    def told(self, text: str) -> None:
        """Write what has become of something to stdout; on a terminal no line ends within a word."""
        width = columns_of(self.out)
        self._write(self.out, text if width is None else filled(text, width))

    def document(self, value: Any) -> None:
        """Write the one JSON document of a command to stdout, in ASCII, which every encoding has."""
        self._write(self.out, json.dumps(value, indent=2))

    def document_line(self, value: Any) -> None:
        """Write one of several JSON documents to stdout, each a line of its own."""
        self._write(self.out, json.dumps(value))

    def note(self, text: str) -> None:
        """Write lines to stderr, unless only errors are wanted."""
        if not self.is_quiet:
            self._write(self.err, text)

    def steps(self, text: str) -> None:
        """Write what to type next to stderr, as `purpose: command` each; where a terminal is too narrow, in lines of their own."""
        width = columns_of(self.err)
        lines = text.split("\n") if width is None else [_step(line, width) for line in text.split("\n")]
        self.note("\n".join(lines))

    def error(self, text: str) -> None:
        """Write lines to stderr; on a terminal none ends within a word."""
        width = columns_of(self.err)
        self._write(self.err, text if width is None else filled(text, width))

    def traceback(self, error: BaseException) -> None:
        """Write where an error comes from to stderr."""
        self._write(self.err, as_text("".join(traceback.format_exception(error))))

    def status_after(self, status: int) -> int:
        """The status of a command that ended with `status`: a result that could not be written is an error too."""
        if self._write_error is None:
            return status
        self.error(f"actorflow: the result cannot be written: {self._write_error.strerror}")
        return Exit.IO_ERROR

    def _write(self, stream: TextIO | None, text: str) -> None:
        if stream is None:
            return
        if self._divert is not None:
            self._divert(text)
            return
        encoding = stream.encoding or "utf-8"
        line = (text + "\n").encode(encoding, "backslashreplace").decode(encoding)
        try:
            stream.write(line)
            stream.flush()
        except OSError as error:
            _silence(stream)
            self.has_reader = self.has_reader and stream is not self.out
            # a reader that left, as `head` does, has all it wanted; a full disk is another matter
            if error.errno != errno.EPIPE and stream is self.out:
                self._write_error = error


def as_line(text: str) -> str:
    """A text as one line without control characters."""
    return _IN_LINE.sub(_escaped, text)


def as_text(text: str) -> str:
    """A text without control characters but tabs and line ends."""
    return _IN_TEXT.sub(_escaped, text)


def in_place(text: str) -> str:
    """The same with one mark for each character, so that columns stay where they are."""
    return _IN_TEXT.sub("?", text)


def filled(text: str, width: int) -> str:
    """A text whose lines end between words, where they are longer than `width`.

    Lines that are indented by four spaces are left alone: they show a file, and a caret that points into it.
    """
    return "\n".join(
        line if line.startswith("    ") or len(line) <= width else "\n".join(_WRAPPER(width).wrap(line))
        for line in text.split("\n")
    )


def _step(line: str, width: int) -> str:
    """A purpose and its command, which is not broken: it is to be copied."""
    if len(line) <= width:
        return line
    purpose, _, command = line.partition(": ")
    return f"{filled(f'{purpose}:', width)}\n    {command}"


def open_missing_streams() -> None:
    """Have something open as stdin, stdout and stderr: else the first file that is opened would take the place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    known = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character)
    return known or (f"\\x{ord(character):02x}" if character < "\x80" else f"\\u{ord(character):04x}")


def _silence(stream: TextIO) -> None:
    """Let whatever is still written to a broken stream go nowhere, at the end of the process too."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
