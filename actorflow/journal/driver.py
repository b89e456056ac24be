"""What is used of apsw, with types that hold on every Python: its own stubs name a class that 3.11 has not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, cast

import apsw


class Cursor(Protocol):
    """Runs statements, one at a time; a new one ends the one before."""

    def execute(self, statements: str, bindings: Sequence[Any] = ..., /) -> Cursor:
        """Run a statement; its rows are read from the cursor."""
        ...

    def executemany(self, statements: str, sequenceofbindings: Iterable[Sequence[Any]], /) -> Cursor:
        """Run a statement once for each row of values."""
        ...

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        ...

    def __iter__(self) -> Iterator[tuple[Any, ...]]: ...

    @property
    def get(self) -> Any:
        """The rows, unwrapped: one row of one column is its value; no row is None."""
        ...


class Database(Protocol):
    """A connection."""

    in_transaction: bool

    def close(self, force: bool = ..., /) -> None:
        """Close it, and with `force` whatever still uses it."""
        ...

    def config(self, op: int, value: int, /) -> int:
        """Set one of SQLite's options of a connection."""
        ...

    def cursor(self) -> Cursor:
        """A new cursor."""
        ...

    def execute(self, statements: str, bindings: Sequence[Any] = ..., /) -> Cursor:
        """Run a statement on a new cursor."""
        ...

    def last_insert_rowid(self) -> int:
        """The id of the row inserted last."""
        ...

    def pragma(self, name: str, value: str | float = ..., /) -> Any:
        """Set or ask one of SQLite's pragmas."""
        ...

    def set_busy_timeout(self, milliseconds: int, /) -> None:
        """Say how long SQLite itself waits for other processes."""
        ...

    def set_wal_hook(self, hook: Callable[[Any, str, int], int], /) -> None:
        """Have a function called after each commit, with the WAL's length in pages."""
        ...

    def wal_autocheckpoint(self, pages: int, /) -> None:
        """Set the length from which on a commit checkpoints; 0: never."""
        ...

    def wal_checkpoint(self, *, mode: int) -> tuple[int, int]:
        """Copy the WAL into the database: its length, and how much of it is copied now, in pages."""
        ...


def connect(path: str, *, flags: int, vfs: str | None) -> Database:
    """Open a database that exists."""
    return cast("Database", apsw.Connection(path, flags=flags, vfs=vfs))


def sqlite_version() -> str:
    """The version of SQLite that reads and writes here: apsw's own, whatever the system has."""
    return apsw.sqlite_lib_version()
