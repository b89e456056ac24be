"""The file of a SQLite store: found or made, opened, watched, and given up for good when it fails.

Everything about one store lies in one folder: `X` (the database), `X-wal` and `X-shm` (SQLite's), `X.lock` (held while
the store is opened), `X.mark` (see `mark`) and an `X.owner-….lock` for each owner. The database files are touched through
SQLite alone: closing any other descriptor of them would drop the locks that SQLite holds in this process.
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import apsw

from actorflow.errors import ActorflowError, FencedError, StoreDamagedError, StoreFailed, StoreUnusableError
from actorflow.journal import schema
from actorflow.journal.driver import Database, connect
from actorflow.journal.files import flush_folder
from actorflow.journal.mark import Mark
from actorflow.journal.migration import migrate
from actorflow.journal.remedy import RESTORE
from actorflow.journal.wal import BUSY_TIMEOUT_MS

T = TypeVar("T")

#: how long other processes may keep us from opening or writing before that is an error
PATIENCE_S = 30.0

#: how often the store is looked for at its path
_CHECK_FILE_S = 0.02

_DAMAGE = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError, apsw.SQLError, apsw.MismatchError)


class StoreFile:
    """One store as one journal sees it: its path, its identity, and whether it still can be trusted."""

    def __init__(self, path: str, vfs: str | None) -> None:
        self.path = path
        self.mark = Mark(f"{path}.mark")
        self._vfs = vfs
        self._failure: str | None = None
        self._failure_kind: type[StoreFailed] = StoreFailed
        self._identity = (0, 0)
        self._checked_at = 0.0

    def connect(self, *, is_writer: bool) -> Database:
        """A connection that flushes at each commit, and never checkpoints by itself, not even at its end."""
        flags = apsw.SQLITE_OPEN_READWRITE if is_writer else apsw.SQLITE_OPEN_READONLY
        db = connect(self.path, flags=flags, vfs=self._vfs)
        db.set_busy_timeout(BUSY_TIMEOUT_MS)
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        db.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        db.wal_autocheckpoint(0)
        db.pragma("cell_size_check", True)
        db.pragma("synchronous", "FULL")
        if sys.platform == "darwin":
            db.pragma("fullfsync", True)
            db.pragma("checkpoint_fullfsync", True)
        return db

    def remember(self) -> None:
        """Take the file that is there now for the store from here on."""
        self._identity = _identity(self.path)

    @property
    def has_failed(self) -> bool:
        """Whether nothing may touch the store any more."""
        return self._failure is not None

    def refuse_if_failed(self) -> None:
        """Raise what every call gets once the store has failed or was closed."""
        if self._failure is not None:
            raise self._failure_kind(self._failure)

    def check_same_file(self) -> None:
        """See that the path still leads to the file that is open: writing to an unlinked one "succeeds".

        Looks at most every 20 ms: it costs as much as a commit's own statements, and a file that was removed has taken
        along much more than the commits of that time.
        """
        now = time.monotonic()
        if now - self._checked_at < _CHECK_FILE_S:
            return
        self._checked_at = now
        if not self.is_same_file():
            raise self.fail("its file was removed or replaced")

    def is_same_file(self) -> bool:
        """Whether the path leads to the file that was opened."""
        try:
            return _identity(self.path) == self._identity
        except OSError:
            return False

    def fail(self, reason: object) -> StoreFailed:
        """Give the store up for good, and return the error for who noticed."""
        if self._failure is None:
            self._failure = (
                f"the store {self.path} failed: {reason}; what was acknowledged is safe, this process cannot use the "
                "store any more"
            )
        return self._failure_kind(self._failure)

    def fail_fenced(self) -> StoreFailed:
        """Give the store up because its runs are another process's now, and return the error for who noticed."""
        if self._failure is None:
            self._failure_kind = FencedError
            self._failure = (
                "another process has taken over the runs of this one, which had given no sign of life; what was "
                "acknowledged is safe, and `actorflow list` shows where the runs are now"
            )
        return self._failure_kind(self._failure)

    def end(self) -> None:
        """Refuse every later call, because the journal was closed."""
        self.mark.close()
        if self._failure is None:
            self._failure = f"the store {self.path} is closed"

    def explain(self, error: Exception) -> ActorflowError:
        """What a reader is told: damage, or a store that has failed with this error."""
        if isinstance(error, _DAMAGE) or not isinstance(error, apsw.Error | OSError):
            return StoreDamagedError(f"the store {self.path} is damaged ({error}); {RESTORE}")
        return self.fail(error)


def open_store(path: str, vfs: str | None, now: float) -> tuple[StoreFile, Database]:
    """Open a store and the one connection that writes to it; make what is missing.

    Raises:
        StoreUnusableError: it cannot be opened, is no store, or is one of a newer version.
        StoreDamagedError: it is not what was written to it, or has lost what was acknowledged.
    """
    path = os.path.realpath(path)
    try:
        _prepare(path)
        with _opening_lock(path):
            return _open(path, vfs, now)
    except (apsw.CorruptError, apsw.FormatError, TypeError, ValueError) as error:
        raise StoreDamagedError(f"the store {path} is damaged ({error}); {RESTORE}") from error
    except (OSError, apsw.Error) as error:
        raise StoreUnusableError(f"cannot open the store {path}: {error}") from error


def patiently(action: Callable[[], T]) -> T:
    """Do what other processes may be in the way of, until it is done or has taken half a minute.

    SQLite's busy timeout does not cover all that answers "busy": the switch to WAL, and recovery after a crash.
    """
    deadline = 0.0
    while True:
        try:
            return action()
        except apsw.BusyError:
            now = time.monotonic()
            deadline = deadline or now + PATIENCE_S
            if now > deadline:
                raise
            time.sleep(0.002)


def _open(path: str, vfs: str | None, now: float) -> tuple[StoreFile, Database]:
    store = StoreFile(path, vfs)
    try:
        acknowledged = store.mark.read()
        if acknowledged and _is_empty(path):
            # before SQLite sees an empty file: it would take a -wal beside it for a leftover, and delete it
            raise _lost(path, acknowledged)
        _make_file(path)
        store.remember()
        db = patiently(lambda: _ready(store, now))
    except BaseException:
        store.mark.close()
        raise
    return store, db


def _ready(store: StoreFile, now: float) -> Database:
    db = store.connect(is_writer=True)
    try:
        is_fresh = schema.is_fresh(db)
        if not is_fresh:
            schema.check(db, store.path)
        if db.pragma("journal_mode", "wal") != "wal":
            raise StoreUnusableError(
                f"cannot open the store {store.path}: its file system has no shared memory for SQLite"
            )
        if is_fresh:
            db.execute("BEGIN IMMEDIATE")
            schema.install(db, now)
            db.execute("COMMIT")
        elif schema.is_old(db):
            migrate(db, store.path)
        acknowledged = store.mark.read()
        highest = db.execute("SELECT coalesce(max(id), 0) FROM batches").get
        if highest < acknowledged:
            raise _lost(store.path, acknowledged - highest)
    except BaseException:
        db.close(True)
        raise
    return db


def _lost(path: str, commits: int) -> StoreDamagedError:
    return StoreDamagedError(
        f"the store {path} lost {commits} commits that had been acknowledged: it was emptied or restored from an older "
        f"copy, or its -wal file was damaged or removed; if that is meant, delete {path}.mark"
    )


def _prepare(path: str) -> None:
    """Refuse what can never be a store, and make the folders that are missing, for us alone."""
    with suppress(FileNotFoundError):
        mode = Path(path).stat().st_mode
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise StoreUnusableError(f"the store {path} is {what}; name a file")
    folder = Path(path).parent
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        with suppress(FileExistsError):
            one.mkdir(mode=0o700)
        flush_folder(one.parent)


def _is_empty(path: str) -> bool:
    """Whether there is nothing to lose."""
    try:
        return Path(path).stat().st_size == 0
    except FileNotFoundError:
        return True


def _make_file(path: str) -> None:
    """Make the file if there is none, for us alone: SQLite gives its own files the mode of this one."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    os.close(fd)
    flush_folder(Path(path).parent)


@contextmanager
def _opening_lock(path: str) -> Generator[None]:
    """One opener at a time: two that make a store at the same moment are told "locked" in spite of any timeout."""
    fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    deadline = time.monotonic() + PATIENCE_S
    try:
        while not _has_locked(fd):
            if time.monotonic() > deadline:
                raise StoreUnusableError(
                    f"cannot open the store {path}: another process has been opening it for {PATIENCE_S:.0f} s"
                )
            time.sleep(0.002)
        yield
    finally:
        os.close(fd)


def _has_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)  # noqa: PTH116 - once a commit, and a Path doubles its cost
    return found.st_dev, found.st_ino
