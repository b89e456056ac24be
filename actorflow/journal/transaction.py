"""The rows of one commit: each write is admitted or refused, then all that were admitted are written at once."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, assert_never

import orjson

from actorflow.errors import ActorflowError, RunExistsError
from actorflow.journal.admission import (
    check_checkpoint,
    check_deliveries,
    check_names,
    check_release,
    not_owned,
    payload_of,
)
from actorflow.journal.codec import encode_record
from actorflow.journal.protocol import (
    CHECKED_KEPT,
    Append,
    CreateRun,
    KeepDefinition,
    RecordDeliveries,
    Release,
    SaveCheckpoint,
    Write,
)
from actorflow.journal.records import (
    INSERT_RUN,
    UPDATE_RUN,
    HeldRun,
    RunRecord,
    seal,
    seal_batch,
    seal_checked,
    seal_checkpoint,
    seal_delivery,
)
from actorflow.journal.shortcuts import encode_checkpoint, encode_warnings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorflow.journal.driver import Cursor, Database

_INSERT_BATCH = "INSERT INTO batches (run, first_seq, count, at, events, sum) VALUES (?, ?, ?, ?, ?, ?)"
_INSERT_DEFINITION = "INSERT OR IGNORE INTO definitions (hash, body, sum) VALUES (?, ?, ?)"
_INSERT_DELIVERY = """INSERT INTO deliveries (run, delivery_id, hook, seq, status, record, sum)
VALUES (?, ?, ?, ?, ?, ?, ?)"""
#: a body that was damaged is mended by the next run that has the value
_INSERT_BLOB = """INSERT INTO blobs (hash, body) VALUES (?, ?)
ON CONFLICT (hash) DO UPDATE SET body = excluded.body WHERE body IS NOT excluded.body"""
_INSERT_USE = "INSERT OR IGNORE INTO blob_uses (run, hash) VALUES (?, ?)"
_REPLACE_CHECKPOINT = (
    "INSERT OR REPLACE INTO checkpoints (run, seq, core_version, body, sum) VALUES (?, ?, ?, ?, ?)"
)
_REPLACE_CHECKED = (
    "INSERT OR REPLACE INTO checked_definitions (key, definition, warnings, sum) VALUES (?, ?, ?, ?)"
)
_TRIM_CHECKED = "DELETE FROM checked_definitions WHERE id <= (SELECT max(id) FROM checked_definitions) - ?"
#: for right before the trimming: definitions that nothing will name after it
_TRIM_DEFINITIONS = """WITH newest (id) AS (SELECT max(id) FROM checked_definitions)
DELETE FROM definitions
WHERE hash IN (SELECT definition FROM checked_definitions, newest WHERE checked_definitions.id <= newest.id - ?1)
  AND hash NOT IN (SELECT definition FROM checked_definitions, newest WHERE checked_definitions.id > newest.id - ?1)
  AND hash NOT IN (SELECT definition FROM runs)"""


class Transaction:
    """What one `commit` writes, inside a transaction of SQLite that its caller begins and ends.

    The runs in `held` are changed as writes are admitted: should the transaction fail, the store has failed with it, and
    nobody reads them again.
    """

    def __init__(self, db: Database, cursor: Cursor, held: dict[str, HeldRun], owner: int, at: float) -> None:
        self._db = db
        self._cursor = cursor
        self._held = held
        self._owner = owner
        self._at = at
        self._definitions: dict[str, bytes] = {}
        self._batches: list[tuple[Any, ...]] = []
        self._rows = defaultdict[str, list[tuple[Any, ...]]](list)  #: what else is written, by statement
        self._changed: dict[int, RunRecord] = {}

    def admit(self, write: Write) -> Exception | None:
        """Take a write in, whole, or say why it cannot be."""
        try:
            match write:
                case Append():
                    self._append(write)
                case CreateRun():
                    self._create(write)
                case RecordDeliveries():
                    self._record(write)
                case Release():
                    self._release(write)
                case SaveCheckpoint():
                    self._save_checkpoint(write)
                case KeepDefinition():
                    self._keep_definition(write)
                case _:
                    assert_never(write)
        except (ActorflowError, TypeError, ValueError) as refusal:
            return refusal
        return None

    def execute(self) -> int:
        """Write the rows; the id of the last batch, or 0 if there is nothing to write."""
        execute = self._cursor.executemany
        if self._definitions:
            bodies = self._definitions.items()
            execute(
                _INSERT_DEFINITION, [(key, body, seal(b"", orjson.dumps(key), body)) for key, body in bodies]
            )
        if self._changed:
            execute(UPDATE_RUN, [(*record.columns(), key) for key, record in self._changed.items()])
        for statement, rows in self._rows.items():
            execute(statement, rows)
        if not self._batches:
            if not self._definitions and not self._changed and not self._rows:
                return 0
            self._batches.append((None, None, 0, self._at, "[]", b""))
        execute(_INSERT_BATCH, self._batches)
        return self._db.last_insert_rowid()

    def _append(self, write: Append) -> None:
        held = self._owned(write.run_id)
        record = held.record
        payload, blobs = payload_of(write, record.last_seq)
        if write.events:
            self._keep_blobs(record.key, blobs)
            count = len(write.events)
            held.batch_sum = seal_batch(held.batch_sum, write.run_id, write.first_seq, count, payload)
            row = (record.key, write.first_seq, count, self._at, payload.decode(), held.batch_sum)
            self._batches.append(row)
            record.last_seq += count
        if write.summary is not None:
            record.summary = write.summary
            self._changed[record.key] = record

    def _create(self, write: CreateRun) -> None:
        check_names(write)
        record = RunRecord(0, write.run_id, write.workflow, write.definition, self._owner, write.summary)
        created = self._cursor.execute(INSERT_RUN, record.columns()).fetchall()
        if not created:
            raise RunExistsError(write.run_id)
        record.key = created[0][0]
        self._held[write.run_id] = HeldRun(record)
        self._definitions[write.definition] = write.body

    def _record(self, write: RecordDeliveries) -> None:
        record = self._owned(write.run_id).record
        check_deliveries(write, record.last_seq)
        end, rows = record.delivery_sum, list[tuple[Any, ...]]()
        for one in write.deliveries:
            payload = encode_record(one.record)
            end = seal_delivery(end, one, payload)
            rows.append((record.key, one.delivery_id, one.hook, one.seq, one.status, payload.decode(), end))
        self._rows[_INSERT_DELIVERY] += rows
        record.delivery_sum = end
        record.cursor = max(record.cursor, write.cursor)
        self._changed[record.key] = record

    def _release(self, write: Release) -> None:
        record = self._owned(write.run_id).record
        check_release(write, record.last_seq)
        record.owner = None
        self._changed[record.key] = record
        del self._held[write.run_id]

    def _save_checkpoint(self, write: SaveCheckpoint) -> None:
        held = self._owned(write.run_id)
        check_checkpoint(write, held.record.last_seq)
        payload, blobs = encode_checkpoint(write, keeps_blobs=True)
        self._keep_blobs(held.record.key, blobs)
        end = seal_checkpoint(held.batch_sum, held.record, write.seq, write.core_version, payload)
        row = (held.record.key, write.seq, write.core_version, payload, end)
        self._rows[_REPLACE_CHECKPOINT].append(row)

    def _keep_definition(self, write: KeepDefinition) -> None:
        warnings = encode_warnings(write)
        end = seal_checked(write.key, write.digest, warnings)
        self._definitions[write.digest] = write.body
        self._rows[_REPLACE_CHECKED].append((write.key, write.digest, warnings.decode(), end))
        # a statement keeps its place: several definitions in one commit are all there before anything is trimmed
        for trim in (_TRIM_DEFINITIONS, _TRIM_CHECKED):
            self._rows[trim] = [(CHECKED_KEPT,)]

    def _keep_blobs(self, run: int, blobs: Mapping[str, bytes]) -> None:
        if blobs:
            self._rows[_INSERT_BLOB] += blobs.items()
            self._rows[_INSERT_USE] += [(run, name) for name in blobs]

    def _owned(self, run_id: str) -> HeldRun:
        held = self._held.get(run_id)
        if held is None:
            raise not_owned(run_id)
        return held
