"""Where hunts keep stores: folders that are gone afterwards, and a disk that counts what it flushes."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import apsw

from actorflow.journal.sqlite import SqliteJournal
from tests.mutants.switches import replaced
from tests.test_store_machine import IN_MEMORY

RUN: Final = "r"


@contextmanager
def folder() -> Generator[Path]:
    """An empty folder."""
    with TemporaryDirectory(dir=IN_MEMORY) as path:
        yield Path(path)


@contextmanager
def store() -> Generator[str]:
    """The path of a store that is not there yet."""
    with folder() as where:
        yield str(where / "state.db")


class Killed(BaseException):
    """The process has ended, without a chance to do anything more."""


@contextmanager
def killed_at(commit: int) -> Generator[None]:
    """For a while, a process dies right before a commit of its journal; they are counted from 0."""
    numbers, commit_truly = count(), SqliteJournal._commit

    def commit_or_die(journal: SqliteJournal) -> None:
        if next(numbers) == commit:
            raise Killed
        commit_truly(journal)

    with replaced(SqliteJournal, "_commit", commit_or_die):
        yield


class FlushDisk(apsw.VFS):
    """The disk, which counts its flushes, and may fail the next one; the flushes themselves are left out."""

    NAME: Final = "flush-disk"

    def __init__(self) -> None:
        self.flush_count = 0
        self.is_failing = False
        super().__init__(self.NAME, "")

    def xOpen(self, name, flags):
        return FlushFile(self, name, flags)

    def flush(self) -> None:
        """One flush."""
        self.flush_count += 1
        if self.is_failing:
            self.is_failing = False
            raise apsw.IOError("the disk said no")


class FlushFile(apsw.VFSFile):
    """A file of such a disk."""

    def __init__(self, disk: FlushDisk, name, flags) -> None:
        self.disk = disk
        super().__init__("", name, flags)

    def xSync(self, flags):
        self.disk.flush()


@contextmanager
def flush_disk() -> Generator[FlushDisk]:
    """Such a disk, for journals that are told its name."""
    disk = FlushDisk()
    try:
        yield disk
    finally:
        disk.unregister()
