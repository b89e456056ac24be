"""What commands and scripts print, line by line: for people who look, and never part of the truth.

Kept beside a store, outside of its transactions and without a flush: a crash of the machine may take the end of it along,
and a write that fails costs the rest of that run's output, but never the run. One line of JSON for each line of output;
whoever reads while another process writes gets whole lines only.
"""

from __future__ import annotations

import errno
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final, Literal, Protocol, TypeAlias, get_args

import orjson
from attrs import frozen

from actorflow.journal.files import file_name

__all__ = [
    "NO_OUTPUT", "FileOutputLog", "MemoryOutputLog", "OutputLine", "OutputLog", "ReadOutput", "Stream", "lines_of",
]  # fmt: skip

Stream: TypeAlias = Literal["stdout", "stderr"]

FILE_MAX: Final = 64 * 1024 * 1024
"""Bytes of one run's output that are kept; what comes behind is not."""

LINES_IN_MEMORY: Final = 10_000
"""Lines of one run that a store in memory keeps, the last."""

_READ_AT_A_TIME: Final = 1024 * 1024
_SUFFIX: Final = ".jsonl"
_APPENDING: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW

_logger = logging.getLogger("actorflow.journal")


@frozen
class OutputLine:
    """A line that an attempt has printed."""

    at: float  #: when its end was read, in epoch seconds
    task: str
    attempt: int
    loss: int
    stream: Stream
    text: str  #: without its line break; secrets are out of it already, control characters are not
    is_note: bool = False  #: said by us, of output that is left out here


class OutputLog(Protocol):
    """The output of runs; best effort: nothing here raises because of a disk."""

    def write(self, run_id: str, lines: Sequence[OutputLine]) -> None:
        """Add lines of a run."""
        ...

    def read(self, run_id: str, position: int = 0) -> tuple[list[OutputLine], int]:
        """Lines that came after a position, a MiB at a time, and the position behind them; the same one: there are none."""
        ...

    def remove(self, run_id: str) -> None:
        """Forget the output of a run."""
        ...


ReadOutput: TypeAlias = Callable[[int], tuple[list[OutputLine], int]]
"""Reads the lines of one run behind a position, as `OutputLog.read` does."""


def lines_of(read: ReadOutput) -> Iterator[OutputLine]:
    """All lines of a run, a MiB at a time, until the position stands still."""
    position, behind = -1, 0
    while position != behind:
        position = behind
        lines, behind = read(position)
        yield from lines


class MemoryOutputLog:
    """Keeps the last lines of each run in memory; a position counts its lines."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._lines: dict[str, deque[OutputLine]] = {}
        self._counts: dict[str, int] = {}

    def write(self, run_id: str, lines: Sequence[OutputLine]) -> None:
        """See `OutputLog.write`."""
        with self._lock:
            self._lines.setdefault(run_id, deque(maxlen=LINES_IN_MEMORY)).extend(lines)
            self._counts[run_id] = self._counts.get(run_id, 0) + len(lines)

    def read(self, run_id: str, position: int = 0) -> tuple[list[OutputLine], int]:
        """See `OutputLog.read`; those that are forgotten are passed over."""
        with self._lock:
            lines, count = list(self._lines.get(run_id, ())), self._counts.get(run_id, 0)
        return lines[max(0, len(lines) - (count - position)) :] if count > position else [], count

    def remove(self, run_id: str) -> None:
        """See `OutputLog.remove`."""
        with self._lock:
            self._lines.pop(run_id, None)
            self._counts.pop(run_id, None)


class FileOutputLog:
    """Keeps a file for each run that has printed anything, in a folder that is made with the first; both for us alone.

    A position counts bytes. Any number of processes may read; the one that has the run writes.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._silent: set[str] = set()  #: runs whose output is not kept any more

    def write(self, run_id: str, lines: Sequence[OutputLine]) -> None:
        """See `OutputLog.write`; one write for all of them."""
        if run_id in self._silent or not lines:
            return
        try:
            self._append(run_id, lines)
        except OSError as error:
            self._silent.add(run_id)
            _logger.warning("the output of run %s is not kept any more: %s", run_id, error)

    def read(self, run_id: str, position: int = 0) -> tuple[list[OutputLine], int]:
        """See `OutputLog.read`; what a crash has torn off or anybody has damaged is passed over."""
        try:
            with self._path(run_id).open("rb") as file:
                file.seek(position)
                content = file.read(_READ_AT_A_TIME)
                if b"\n" not in content:
                    content += file.readline()
        except OSError:
            return [], position
        whole = content[: content.rfind(b"\n") + 1]
        lines = [line for text in whole.splitlines() if (line := _line(text)) is not None]
        return lines, position + len(whole)

    def remove(self, run_id: str) -> None:
        """See `OutputLog.remove`."""
        self._silent.discard(run_id)
        with suppress(OSError):
            self._path(run_id).unlink()

    def _append(self, run_id: str, lines: Sequence[OutputLine]) -> None:
        try:
            descriptor = os.open(self._path(run_id), _APPENDING, 0o600)
        except FileNotFoundError:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path(run_id), _APPENDING, 0o600)
        try:
            if os.fstat(descriptor).st_size > FILE_MAX:
                self._silent.add(run_id)
                lines = [_full(lines[0])]
            # whatever a kill or a full disk has torn before ends here; an empty line is none
            content = b"\n" + b"".join(map(_encoded, lines))
            if os.write(descriptor, content) < len(content):
                raise OSError(errno.ENOSPC, "only a part of it could be written")
        finally:
            os.close(descriptor)

    def _path(self, run_id: str) -> Path:
        return self._folder / f"{file_name(run_id)}{_SUFFIX}"


class _NoOutput:
    """Keeps nothing."""

    def write(self, run_id: str, lines: Sequence[OutputLine]) -> None:
        """See `OutputLog.write`."""

    def read(self, run_id: str, position: int = 0) -> tuple[list[OutputLine], int]:  # noqa: ARG002
        """See `OutputLog.read`."""
        return [], position

    def remove(self, run_id: str) -> None:
        """See `OutputLog.remove`."""


NO_OUTPUT: Final[OutputLog] = _NoOutput()


def _encoded(line: OutputLine) -> bytes:
    facts = [line.at, line.task, line.attempt, line.loss, line.stream, line.text]
    return orjson.dumps([*facts, True] if line.is_note else facts) + b"\n"


def _line(text: bytes) -> OutputLine | None:
    try:
        at, task, attempt, loss, stream, said, *note = orjson.loads(text)
    except (ValueError, TypeError):
        return None
    is_ours = (
        isinstance(at, float)
        and isinstance(task, str)
        and isinstance(attempt, int)
        and isinstance(loss, int)
        and stream in get_args(Stream)
        and isinstance(said, str)
    )
    return OutputLine(at, task, attempt, loss, stream, said, bool(note)) if is_ours else None


def _full(line: OutputLine) -> OutputLine:
    text = f"… the output of this run is longer than {FILE_MAX // 2**20} MiB; what follows is not kept"
    return OutputLine(line.at, line.task, line.attempt, line.loss, line.stream, text, is_note=True)
