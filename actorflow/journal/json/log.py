"""One file of lines: appended to, never rewritten; what a crash has torn off its end is cut."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field

from actorflow.journal.files import flush, flush_folder
from actorflow.journal.json.line import Fact, Line, first_sum, read_lines, write_line


@define
class JsonLog:
    """A file as far as its lines were taken for good: read, or written here."""

    path: Path
    size: int = 0  #: of these lines, in bytes
    sum: bytes = b""  #: of the last of them
    ranges: list[list[int]] = field(
        factory=list[list[int]]
    )  #: first and last number of the commits that they are of

    def append(
        self, commit: int, parts: int, facts: Sequence[Fact], *, flushed: int, is_flushed: bool
    ) -> None:
        """Add a line.

        Args:
            commit: the number of its commit.
            parts: in how many files that leaves a line.
            facts: what it says.
            flushed: the commits up to this one survive a power cut.
            is_flushed: and so does the file, with this line.

        Raises:
            TypeError: a fact is not JSON; nothing was written.
            OSError: the line may be there or not: who asked has to give up the store. Also where the file is not as long
                as its lines.
        """
        line, seal = write_line(self._last_sum, commit, parts, facts, flushed)
        create = 0 if self.size else os.O_CREAT  # a crash may have left it empty
        with opened(self.path, os.O_RDWR | create) as fd:
            if os.fstat(fd).st_size != self.size:
                raise OSError(f"{self.path.name} was changed by somebody else")
            write_all(fd, line, self.size)
            if is_flushed:
                flush(fd)
        self.size += len(line)
        self.sum = seal
        self._count(commit)
        if is_flushed:
            self._flush_name(flushed)

    def flush(self, flushed: int) -> None:
        """Have the file survive a power cut, if it has lines of commits behind number `flushed`.

        Raises:
            OSError: it may survive or not.
        """
        if self.ranges and self.ranges[-1][1] > flushed:
            with opened(self.path, os.O_RDWR) as fd:
                flush(fd)
            self._flush_name(flushed)

    def read(self) -> tuple[list[Line], int | None]:
        """The lines that have come since, and where the first begins that is not as written.

        Raises:
            OSError: it cannot be read.
        """
        with opened(self.path, os.O_RDONLY) as fd:
            content = read_all(fd, self.size)
        return read_lines(content, self._last_sum, self.size)

    def take(self, line: Line) -> None:
        """Take the next of the lines that were read for good."""
        self.size, self.sum = line.end, line.sum
        self._count(line.commit)

    def cut(self) -> None:
        """Cut off what is behind the lines that were taken; a file without any is removed.

        Raises:
            OSError: it cannot be cut.
        """
        if self.size:
            with opened(self.path, os.O_RDWR) as fd:
                os.ftruncate(fd, self.size)
                flush(fd)
        else:
            self.path.unlink()
            flush_folder(self.path.parent)

    @property
    def _last_sum(self) -> bytes:
        return self.sum or first_sum(self.path.name)

    def _flush_name(self, flushed: int) -> None:
        if self.ranges[0][0] > flushed:  # made since
            flush_folder(self.path.parent)

    def _count(self, commit: int) -> None:
        if self.ranges and self.ranges[-1][1] == commit - 1:
            self.ranges[-1][1] = commit
        else:
            self.ranges.append([commit, commit])


def write_all(fd: int, content: bytes, at: int) -> None:
    """Write at a place in a file, however often that takes."""
    unwritten = memoryview(content)
    while unwritten:
        count = os.pwrite(fd, unwritten, at)
        unwritten, at = unwritten[count:], at + count


def read_all(fd: int, at: int) -> bytes:
    """What a file has from a place on."""
    size = max(os.fstat(fd).st_size - at, 0)
    parts: list[bytes] = []
    while size > 0 and (part := os.pread(fd, size, at)):
        parts.append(part)
        size, at = size - len(part), at + len(part)
    return b"".join(parts)


@contextmanager
def opened(path: Path, flags: int) -> Generator[int]:
    """A file's descriptor, which no child inherits; a new file is ours alone, and no link is followed."""
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)
