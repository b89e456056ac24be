"""Whose a JSON store is: a lock that a process holds while it writes, and for as long as it runs anything.

The kernel gives it back when the process ends, however it ends. The file says who took it last: pid, and number of the
owner.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from actorflow.errors import StoreBusyError
from actorflow.journal.json.log import opened
from actorflow.journal.owners import LiveOwner

_STEP_S: Final = 0.01
_LONGEST: Final = 100


@frozen
class Holder:
    """Who has a store."""

    owner: int
    live: LiveOwner


class StoreLock:
    """The lock of one store, as one owner sees it.

    Args:
        path: of the lock's file, which is made when it is first taken.
        owner: the number of who may take it.
    """

    def __init__(self, path: Path, owner: int) -> None:
        self._path = path
        self._owner = owner
        self._fd: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this owner has it."""
        return self._fd is not None

    def take(self, now: float, patience_s: float) -> None:
        """Take it, unless it is ours.

        Args:
            now: the time, in epoch seconds.
            patience_s: how long to try.

        Raises:
            StoreBusyError: another process has it.
            OSError: it cannot be taken here.
        """
        if self._fd is not None:
            return
        deadline = time.monotonic() + patience_s
        while not self._try():
            holder = self.holder()  # nobody, where it was only looked at, as here
            if holder is not None and time.monotonic() >= deadline:
                raise StoreBusyError(str(self._path.parent), pid=holder.live.pid)
            time.sleep(_STEP_S)
        self.beat(now)

    def beat(self, now: float) -> None:
        """Say that who has it is alive."""
        if self._fd is not None:
            os.utime(self._fd, (now, now))

    def is_same_file(self) -> bool:
        """Whether the lock that is held is the one that others would ask for."""
        with suppress(FileNotFoundError):
            return self._fd is not None and os.path.samestat(os.fstat(self._fd), self._path.stat())
        return False

    def give_back(self) -> None:
        """Let others have it; idempotent."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def holder(self) -> Holder | None:
        """Who has it, if that is somebody else."""
        if self._fd is not None:
            return None
        try:
            with opened(self._path, os.O_RDONLY) as fd:
                return _holder(fd)
        except FileNotFoundError:
            return None

    def _try(self) -> bool:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except BaseException:
            os.close(fd)
            raise
        os.pwrite(fd, f"{os.getpid():>20} {self._owner:>20}\n".encode(), 0)
        self._fd = fd
        return True


def _holder(fd: int) -> Holder | None:
    """The lock is tried in its shared form, so that two who ask at the same moment do not take each other for its holder."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        with suppress(ValueError):
            pid, owner = os.pread(fd, _LONGEST, 0).split()
            return Holder(int(owner), LiveOwner(int(pid), os.fstat(fd).st_mtime))
        return Holder(-1, LiveOwner(0, os.fstat(fd).st_mtime))
    return None
