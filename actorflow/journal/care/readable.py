"""The rows of a damaged database that can be read, table by table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import apsw

from actorflow.journal.driver import Database

__all__ = ["readable_rows"]

_FAR: Final = 2**62
"""Beyond any key that SQLite gives by itself; owners, whose keys are drawn, are not worth reading."""


_UNREADABLE: Final = (apsw.Error, UnicodeDecodeError)
"""What SQLite says of a page, and what its driver says of a text, that damage has hit."""


def readable_rows(
    db: Database, table: str, columns: str, note_gap: Callable[[str], None]
) -> Iterator[tuple[Any, ...]]:
    """The key of each row that can be read, and these columns of it, in the order of the keys.

    What lies on a page that cannot be read is passed over, with whatever is between it and the next page that can. No index
    is used, so none can have lost a row.

    Args:
        db: the damaged database.
        table: its name.
        columns: as a statement has them.
        note_gap: is told the table's name when something is passed over.
    """
    statement = f"SELECT rowid, {columns} FROM {table} NOT INDEXED WHERE rowid > ? ORDER BY rowid"  # noqa: S608 - our own names  # nosec B608
    key = 0
    while True:
        try:
            for row in db.cursor().execute(statement, (key,)):
                key = int(row[0])
                yield row
        except _UNREADABLE:
            note_gap(table)
            behind = _next_readable(db, table, key)
            if behind is None:
                return
            key = behind
        else:
            return


def _next_readable(db: Database, table: str, key: int) -> int | None:
    """A key above this one behind which a row can be read again, as small as may be; None: there is none."""
    step = 1
    while not _can_read(db, table, key + step):
        step *= 2
        if step > _FAR:
            return None
    low = step // 2  # cannot be read
    while step - low > 1:
        middle = (low + step) // 2
        low, step = (low, middle) if _can_read(db, table, key + middle) else (middle, step)
    return key + step


def _can_read(db: Database, table: str, key: int) -> bool:
    """Whether the first row behind a key can be read, or there is none."""
    statement = f"SELECT * FROM {table} NOT INDEXED WHERE rowid > ? ORDER BY rowid LIMIT 1"  # noqa: S608  # nosec B608
    try:
        db.cursor().execute(statement, (min(key, _FAR),)).fetchall()
    except _UNREADABLE:
        return False
    return True
