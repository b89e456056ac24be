"""Owners: who may write to which run, and how others see that one of them is dead.

An owner is an open journal. It holds a flock on a file of its own, beside the store, for as long as it lives: the kernel
gives the lock back when the process ends, however it ends, and never to a child, because the descriptor is closed on
exec. A lock that is free, or whose file is gone, belongs to nobody alive. A heartbeat alone could not tell a dead
process from a stopped one.

An owner that was fenced off counts as dead, whoever holds its lock: all that it may still do is find that out.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sys
import time
from hashlib import blake2b
from pathlib import Path

from attrs import frozen

from actorflow.journal.driver import Cursor


@frozen
class LiveOwner:
    """Who owns something, and has given a sign of life at some time."""

    pid: int
    heartbeat_at: float

    def silent_s(self, now: float) -> float:
        """How long ago that was; nothing where the clock was set back."""
        return max(now - self.heartbeat_at, 0.0)


class OwnerLock:
    """The lock file of one owner, held from construction on."""

    def __init__(self, store: str, owner: int) -> None:
        self._path = lock_path(store, owner)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove(self) -> None:
        """Give the lock back, and leave no file behind."""
        Path(self._path).unlink(missing_ok=True)
        self.abandon()

    def abandon(self) -> None:
        """Give the lock back; who takes over the runs removes the file."""
        os.close(self._fd)


def new_owner() -> int:
    """A number for an owner: drawn, as SQLite's own are used again, and would let a fenced owner pass for a later one."""
    return secrets.randbits(62)


def cookie_of(store: str, owner: int) -> str:
    """What the cookies of an owner's processes begin with; `store` is the real path of the store.

    Whoever sees a process of an owner that is gone can make it again, from the row that is left.
    """
    digest = blake2b(b"%s\n%d" % (os.fsencode(store), owner), digest_size=16)
    return f"{digest.hexdigest()}/"


def lock_path(store: str, owner: int) -> str:
    """The lock file of an owner; made from its number alone, so that no row can name another file."""
    return f"{store}.owner-{owner:016x}.lock"


def is_alive(store: str, owner: int) -> bool:
    """Whether somebody holds the owner's lock; also where we may not ask.

    The lock is tried in its shared form, so that two who ask at the same moment do not take each other for the owner.
    """
    try:
        fd = os.open(lock_path(store, owner), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def find_live(cursor: Cursor, store: str, owner: int) -> LiveOwner | None:
    """An owner by its number, if it is neither dead nor fenced off."""
    rows = cursor.execute(
        "SELECT pid, heartbeat_at FROM owners WHERE id = ? AND fenced = 0", (owner,)
    ).fetchall()
    return LiveOwner(*rows[0]) if rows and is_alive(store, owner) else None


def fence(cursor: Cursor, owner: int) -> None:
    """Fence an owner off, inside a transaction: whatever it wants to write from then on is refused."""
    cursor.execute("UPDATE owners SET fenced = 1 WHERE id = ? AND fenced = 0", (owner,))


def register(cursor: Cursor, store: str, owner: int, now: float) -> None:
    """Write the owner's row, inside a transaction, and clear away the dead who own nothing."""
    sweep(cursor, store)
    cursor.execute(
        "INSERT INTO owners (id, boot_id, pid, started_at, heartbeat_at, fenced) VALUES (?, ?, ?, ?, ?, 0)",
        (owner, _boot_id(), os.getpid(), _process_started_at(now), now),
    )


def sweep(cursor: Cursor, store: str) -> None:
    """Remove the owners that are dead, or fenced off, and own nothing, inside a transaction.

    The file goes first: a row without one is a dead owner's, a file without a row nobody would ever find.
    """
    idle = cursor.execute(
        "SELECT id, fenced FROM owners WHERE id NOT IN (SELECT owner FROM runs WHERE owner IS NOT NULL)"
    )
    for owner, fenced in idle.fetchall():
        if fenced or not is_alive(store, owner):
            Path(lock_path(store, owner)).unlink(missing_ok=True)
            cursor.execute("DELETE FROM owners WHERE id = ?", (owner,))


def _boot_id() -> str:
    """Linux names each boot; elsewhere the lock has to say it all."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _process_started_at(now: float) -> float:
    """When this process began, in epoch seconds: with its pid it is known from any later process.

    Field 22 of /proc/self/stat counts clock ticks since boot; where there is no /proc, it is now.
    """
    if sys.platform != "linux":
        return now
    try:
        stat = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return now
    ticks = int(stat.rpartition(")")[2].split()[19])
    return now - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
