"""Snapshots as rows of a store: JSON documents of a user's, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from actorflow.errors import StoreDamagedError
from actorflow.journal.driver import Cursor
from actorflow.journal.records import seal
from actorflow.journal.remedy import RESTORE

_REPLACE: Final = "INSERT OR REPLACE INTO snapshots (name, body, sum) VALUES (?, ?, ?)"
_SELECT: Final = "SELECT name, CAST(body AS BLOB), sum FROM snapshots ORDER BY name"


def all_snapshots(cursor: Cursor) -> dict[str, Mapping[str, Any]]:
    """Every snapshot by its name.

    Raises:
        StoreDamagedError: a row is not what was written.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for name, body, written in cursor.execute(_SELECT).fetchall():
        if seal_snapshot(name, body) != written:
            raise StoreDamagedError(f"the snapshot {name!r} is damaged; delete it, or {RESTORE}")
        found[name] = orjson.loads(body)
    return found


def replace_snapshot(cursor: Cursor, name: str, body: bytes) -> None:
    """Write a snapshot in place of one with its name, inside a transaction."""
    cursor.execute(_REPLACE, (name, body.decode(), seal_snapshot(name, body)))


def drop_snapshot(cursor: Cursor, name: str) -> bool:
    """Remove a snapshot, inside a transaction; whether there was one."""
    return bool(cursor.execute("DELETE FROM snapshots WHERE name = ? RETURNING 1", (name,)).fetchall())


def seal_snapshot(name: str, body: bytes) -> bytes:
    """The checksum of a snapshot's row."""
    return seal(b"", orjson.dumps(("snapshot", name)), body)
