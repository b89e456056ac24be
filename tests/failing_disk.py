"""A disk whose nth call fails.

A fault is an I/O error, a disk without room, or a write of which one half arrived; it happens once, or from some call on for
good. The call that fails has done nothing but that half. What never fails here: the locks of SQLite's shared memory, which
no disk of Python's gets to see, giving locks back, and the calls that a store makes on files of locks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import ClassVar, Literal, TypeAlias

import apsw
from attrs import frozen

from actorflow.journal import mark, store
from tests.mutants.switches import replaced

Fault: TypeAlias = Literal["EIO", "ENOSPC", "short"]

CALLS: Mapping[Fault, frozenset[str]] = {
    "EIO": frozenset(
        {
            "xWrite",
            "xTruncate",
            "xSync",
            "xDelete",
            "xOpen",
            "xRead",
            "xFileSize",
            "xLock",
            "xAccess",
            "mark",
            "flush",
            "flush_folder",
        }
    ),
    "ENOSPC": frozenset({"xWrite", "xTruncate", "mark"}),
    "short": frozenset({"xWrite"}),
}
"""Which calls each fault can befall. The last three are the mark's and the names', which are written without SQLite."""

CHANGES = frozenset({"xWrite", "xTruncate", "xSync", "xDelete", "mark", "flush", "flush_folder"})
"""The calls that a store which has failed makes no more."""

ERRORS: Mapping[str, tuple[type[Exception], int]] = {
    "xWrite": (apsw.IOError, apsw.SQLITE_IOERR_WRITE),
    "xTruncate": (apsw.IOError, apsw.SQLITE_IOERR_TRUNCATE),
    "xSync": (apsw.IOError, apsw.SQLITE_IOERR_FSYNC),
    "xDelete": (apsw.IOError, apsw.SQLITE_IOERR_DELETE),
    "xRead": (apsw.IOError, apsw.SQLITE_IOERR_READ),
    "xFileSize": (apsw.IOError, apsw.SQLITE_IOERR_FSTAT),
    "xLock": (apsw.IOError, apsw.SQLITE_IOERR_LOCK),
    "xAccess": (apsw.IOError, apsw.SQLITE_IOERR_ACCESS),
    "xOpen": (apsw.CantOpenError, apsw.SQLITE_CANTOPEN),
}


def error_of(call: str, fault: Fault) -> Exception:
    """As SQLite's own layer would tell it, or the system where SQLite is not asked."""
    if call not in ERRORS:
        return (
            OSError(28, "No space left on device") if fault == "ENOSPC" else OSError(5, "Input/output error")
        )
    if fault != "EIO":
        return apsw.FullError("database or disk is full")
    kind, extended = ERRORS[call]
    error = kind(f"disk I/O error at {call}")
    error.extendedresult = extended
    return error


@frozen
class Plan:
    """Which of the calls that a fault can befall fails, from 1; and whether all those behind it do."""

    fault: Fault
    at: int
    is_lasting: bool


class FailingDisk(apsw.VFS):
    """Passes everything on but flushes, and lets calls fail by a plan."""

    _numbers: ClassVar = count()

    def __init__(self) -> None:
        self.name = f"failing-disk-{next(self._numbers)}"
        self.plan: Plan | None = None
        self.counted = dict.fromkeys(CALLS, 0)
        self.changed = 0
        super().__init__(self.name, "")

    def arm(self, plan: Plan | None) -> None:
        """Follow a plan from here on, or none."""
        self.plan, self.counted = plan, dict.fromkeys(CALLS, 0)

    def ask(self, call: str) -> Fault | None:
        """Count a call, and say what is to befall it."""
        self.changed += call in CHANGES
        for fault, calls in CALLS.items():
            self.counted[fault] += call in calls
        plan = self.plan
        if plan is None or call not in CALLS[plan.fault]:
            return None
        number = self.counted[plan.fault]
        return plan.fault if number == plan.at or (plan.is_lasting and number > plan.at) else None

    def meet(self, call: str) -> None:
        """The same, and let it befall the call."""
        fault = self.ask(call)
        if fault is not None:
            raise error_of(call, fault)

    def xOpen(self, name, flags):
        self.meet("xOpen")
        return FailingFile(self, name, flags)

    def xDelete(self, name, sync_folder):
        self.meet("xDelete")
        super().xDelete(name, 0)

    def xAccess(self, name, flags):
        self.meet("xAccess")
        return super().xAccess(name, flags)


class FailingFile(apsw.VFSFile):
    """A file on such a disk."""

    def __init__(self, disk: FailingDisk, name, flags) -> None:
        self.disk = disk
        super().__init__("", name, flags)

    def xRead(self, amount, offset):
        self.disk.meet("xRead")
        return super().xRead(amount, offset)

    def xWrite(self, data, offset):
        fault = self.disk.ask("xWrite")
        if fault == "short":
            super().xWrite(bytes(data)[: len(data) // 2], offset)
        if fault is not None:
            raise error_of("xWrite", fault)
        super().xWrite(data, offset)

    def xTruncate(self, size):
        self.disk.meet("xTruncate")
        super().xTruncate(size)

    def xSync(self, flags):
        self.disk.meet("xSync")

    def xFileSize(self):
        self.disk.meet("xFileSize")
        return super().xFileSize()

    def xLock(self, level):
        self.disk.meet("xLock")
        super().xLock(level)


@contextmanager
def failing_disk() -> Iterator[FailingDisk]:
    """Such a disk, for journals that are told its name; marks and names are on it, too."""
    disk, write_truly = FailingDisk(), os.pwrite

    def write(fd: int, content: bytes, offset: int) -> int:
        disk.meet("mark")
        return write_truly(fd, content, offset)

    try:
        with (
            replaced(os, "pwrite", write),
            replaced(mark, "flush", lambda _: disk.meet("flush")),
            replaced(store, "flush_folder", lambda _: disk.meet("flush_folder")),
        ):
            yield disk
    finally:
        disk.unregister()
