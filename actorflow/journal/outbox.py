"""The outbox: deliveries that are not settled, as rows that each try replaces and the last one removes.

Each row has a seal of its own. There are two indexes, and each must know as many rows of a run as the other: what one of
them has lost would never be delivered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

import orjson

from actorflow.errors import StoreDamagedError
from actorflow.journal.codec import decode_record, encode_record
from actorflow.journal.driver import Cursor
from actorflow.journal.protocol import PendingDelivery
from actorflow.journal.records import RunRecord, seal
from actorflow.journal.remedy import RESTORE

OutboxRow: TypeAlias = tuple[int, str, str, int, float, str, bytes]
"""The columns of a row, but for its id: run and delivery come first."""

_DELETE: Final = "DELETE FROM outbox WHERE run = ? AND delivery_id = ?"
#: the id stays, and so does the row's place among those of its event
_PUT: Final = """INSERT INTO outbox (run, delivery_id, hook, seq, due_at, body, sum) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run, delivery_id) DO UPDATE SET hook = excluded.hook, seq = excluded.seq, due_at = excluded.due_at,
body = excluded.body, sum = excluded.sum"""
_SELECT: Final = """SELECT run, delivery_id, hook, seq, due_at, CAST(body AS BLOB), sum
FROM outbox INDEXED BY outbox_by_hook WHERE run = ?1 AND seq > ?3 ORDER BY seq, id LIMIT ?4"""
_SELECT_OF_HOOK: Final = """SELECT run, delivery_id, hook, seq, due_at, CAST(body AS BLOB), sum
FROM outbox INDEXED BY outbox_by_hook WHERE run = ?1 AND hook = ?2 AND seq > ?3 ORDER BY seq, id LIMIT ?4"""
_COUNT: Final = """SELECT (SELECT count(*) FROM outbox INDEXED BY outbox_by_hook WHERE run = ?1),
(SELECT count(*) FROM outbox INDEXED BY outbox_by_delivery WHERE run = ?1)"""
_COUNT_ALL: Final = """SELECT runs.run_id, found.count FROM runs
JOIN (SELECT run, count(*) AS count FROM outbox INDEXED BY outbox_by_hook GROUP BY run) AS found
ON found.run = runs.id"""

_ALL_ROWS: Final = -1  #: a LIMIT that is none


class OutboxChanges:
    """What one commit does to the outbox: of each delivery the last word counts."""

    def __init__(self) -> None:
        self._gone: set[tuple[int, str]] = set()
        self._put: dict[tuple[int, str], OutboxRow] = {}

    def put(self, rows: Iterable[OutboxRow]) -> None:
        """Have these rows there, each in place of one of its delivery."""
        self._put.update((row[:2], row) for row in rows)

    def drop(self, run: int, delivery_ids: Iterable[str]) -> None:
        """Have no rows of these deliveries."""
        for delivery_id in delivery_ids:
            key = (run, delivery_id)
            self._put.pop(key, None)
            self._gone.add(key)

    def write(self, cursor: Cursor) -> None:
        """Make it so."""
        if self._gone:
            cursor.executemany(_DELETE, self._gone)
        if self._put:
            cursor.executemany(_PUT, self._put.values())


def pending_row(run: int, pending: PendingDelivery) -> OutboxRow:
    """The row of a pending delivery; a `TypeError` says that its body or its names are not JSON."""
    head = (run, pending.delivery_id, pending.hook, pending.seq, float(pending.due_at))
    body = encode_record(pending.body)
    return (*head, body.decode(), _seal(head, body))


def find_pending(
    cursor: Cursor, record: RunRecord, hook: str | None, after: int, limit: int | None
) -> list[PendingDelivery]:
    """The pending deliveries of a run, or of one of its hooks; see `Journal.pending`.

    Raises:
        StoreDamagedError: a row is not what was written, or an index has lost one.
    """
    if after <= 0:  # who reads on has begun there
        by_hook, by_delivery = cursor.execute(_COUNT, (record.key,)).fetchall()[0]
        if by_hook != by_delivery:
            raise _damaged(record.run_id)
    bindings = (record.key, hook, after, _ALL_ROWS if limit is None else limit)
    rows = cursor.execute(_SELECT if hook is None else _SELECT_OF_HOOK, bindings).fetchall()
    return [opened_row(record, row) for row in rows]


def count_pending(cursor: Cursor) -> dict[str, int]:
    """How many are pending of each run that has any, by its id."""
    return dict(cursor.execute(_COUNT_ALL).fetchall())


def opened_row(record: RunRecord, row: Sequence[Any]) -> PendingDelivery:
    """A row of a run as it was read, with its body as bytes.

    Raises:
        StoreDamagedError: it is not what was written.
    """
    run, delivery_id, hook, seq, due_at, body, written = row
    if run != record.key or _seal((run, delivery_id, hook, seq, due_at), body) != written:
        raise _damaged(record.run_id)
    return PendingDelivery(delivery_id, hook, seq, due_at, decode_record(body))


def _seal(head: Sequence[Any], body: bytes) -> bytes:
    return seal(b"", orjson.dumps(("outbox", *head)), body)


def _damaged(run_id: str) -> StoreDamagedError:
    return StoreDamagedError(f"the pending deliveries of run {run_id!r} are damaged; {RESTORE}")
