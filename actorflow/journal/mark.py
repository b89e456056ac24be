"""The high-water mark: how far a store had come when something in it was last acknowledged.

SQLite drops the tail of a damaged `-wal` file without a word, and a file restored from an older copy looks like any
other. The mark, in a file of its own, is the witness: 8 bytes, the highest `batches.id` whose commit was flushed and
acknowledged; in a JSON store, the number of that commit. It is written after the commit and not flushed, so it may trail
what is committed, and can never be ahead of it. The zeros that it begins with are flushed: on some file systems a power cut
may leave noise in a file whose length was kept and whose content was not, and that would be a number, too.

A commit that was not flushed is none of its business, until a later one is: a crash of the machine may have taken it along.
So that others who follow a JSON store see such commits, 8 more bytes have the number of the latest; they vouch for nothing.

No link is followed to it: who may put one into the folder of a store must not choose which of our files gets eight bytes.
"""

from __future__ import annotations

import os
from struct import Struct

from actorflow.journal.files import flush

_U64 = Struct("<Q")


class Mark:
    """The mark of one open store; one thread at a time writes it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._raised_to = 0
        try:
            self._begin()
        except BaseException:
            os.close(self._fd)
            raise

    def read(self) -> int:
        """The highest acknowledged id; 0 where there is none, or the file is not whole."""
        return _read(self._fd)[0]

    def raise_to(self, batch: int) -> None:
        """Note that this batch was committed.

        Eight bytes at the start of a file are never torn. A process that was overtaken by another between its commit and
        this line leaves the mark trailing, until the next commit of either.
        """
        if batch > self._raised_to:
            self._raised_to = batch
            os.pwrite(self._fd, _U64.pack(batch), 0)

    def note(self, batch: int) -> None:
        """Note that this batch is the latest, be it flushed or not."""
        if batch != _read(self._fd)[1]:
            os.pwrite(self._fd, _U64.pack(batch), _U64.size)

    def _begin(self) -> None:
        """Have eight bytes there, flushed, before any of them counts."""
        if os.fstat(self._fd).st_size < _U64.size:
            os.pwrite(self._fd, _U64.pack(0), 0)
            flush(self._fd)

    def close(self) -> None:
        """Leave the file where it is."""
        os.close(self._fd)


def read_mark(path: str) -> int:
    """The mark of a store that is not open here; 0 where there is none."""
    return read_latest(path)[0]


def read_latest(path: str) -> tuple[int, int]:
    """The mark, and the number that was noted last: another one, if there was another commit."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return 0, 0
    try:
        return _read(fd)
    finally:
        os.close(fd)


def _read(fd: int) -> tuple[int, int]:
    raw = os.pread(fd, 2 * _U64.size, 0)
    numbers: list[int] = [number for (number,) in _U64.iter_unpack(raw[: len(raw) // _U64.size * _U64.size])]
    first, second, *_ = *numbers, 0, 0
    return first, second
