"""The rows of one commit: each write is admitted or refused, then all that were admitted are written at once."""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING, Any, assert_never

import orjson

from actorflow.core.breaker import BreakerAnswer
from actorflow.errors import ActorflowError, RunExistsError, WorkflowRunningError
from actorflow.journal.admission import (
    check_checkpoint,
    check_deliveries,
    check_names,
    check_release,
    not_owned,
    payload_of,
)
from actorflow.journal.breakers import ask_breaker, tell_breaker
from actorflow.journal.codec import encode_record
from actorflow.journal.inbox import Inbox, drop_requests
from actorflow.journal.letters import drop_letters, keep_letter
from actorflow.journal.outbox import OutboxChanges, pending_row
from actorflow.journal.owners import find_live
from actorflow.journal.protocol import (
    CHECKED_KEPT,
    Answered,
    Append,
    AskBreaker,
    ChangeDefinition,
    CreateRun,
    DropDeadLetters,
    KeepDeadLetter,
    KeepDefinition,
    Outcome,
    RecordDeliveries,
    Release,
    SaveCheckpoint,
    TellBreaker,
    Write,
)
from actorflow.journal.records import (
    INSERT_RUN,
    UPDATE_RUN,
    HeldRun,
    RunRecord,
    find_run,
    owned_runs,
    seal,
    seal_batch,
    seal_checked,
    seal_checkpoint,
    seal_delivery,
)
from actorflow.journal.removal import DROP_DEFINITION
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

    def __init__(
        self,
        db: Database,
        cursor: Cursor,
        held: dict[str, HeldRun],
        inbox: Inbox,
        *,
        owner: int,
        store: str,
        at: float,
    ) -> None:
        self._db = db
        self._cursor = cursor
        self._held = held
        self._inbox = inbox
        self._owner = owner
        self._store = store
        self._at = at
        self._definitions: dict[str, bytes] = {}
        self._batches: list[tuple[Any, ...]] = []
        self._rows = defaultdict[str, list[tuple[Any, ...]]](list)  #: what else is written, by statement
        self._trims: dict[
            str, list[tuple[Any, ...]]
        ] = {}  #: what goes once all else is written, by statement
        self._changed: dict[int, RunRecord] = {}
        self._outbox = OutboxChanges()
        self._is_touched = (
            False  #: whether a write that is rare, or that others in the commit must see, was done at once
        )

    def admit(self, write: Write) -> Outcome:
        """Take a write in, whole, and answer what it asks, or say why it cannot be."""
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
                case AskBreaker():
                    return self._ask(write)
                case TellBreaker():
                    return self._tell(write)
                case ChangeDefinition():
                    self._change_definition(write)
                case KeepDeadLetter():
                    self._keep_letter(write)
                case DropDeadLetters():
                    self._owned(write.run_id)
                    self._touch(drop_letters(self._cursor, write.run_id, write.tasks, write.ids) > 0)
                case Answered():
                    self._inbox.look_anew()
                    self._touch(drop_requests(self._cursor, write.requests) > 0)
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
        self._outbox.write(self._cursor)
        for statement, rows in self._trims.items():
            execute(statement, rows)
        if not self._batches:
            if not (self._definitions or self._changed or self._rows or self._is_touched):
                return 0
            self._batches.append(_no_events(self._at))
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
        if write.is_alone:
            self._refuse_company(write.workflow)
        record = RunRecord(0, write.run_id, write.workflow, write.definition, self._owner, write.summary)
        created = self._cursor.execute(INSERT_RUN, record.columns()).fetchall()
        if not created:
            raise RunExistsError(write.run_id)
        record.key = created[0][0]
        self._held[write.run_id] = HeldRun(record, may_have_pending=False)
        self._definitions[write.definition] = write.body

    def _record(self, write: RecordDeliveries) -> None:
        held = self._owned(write.run_id)
        record = held.record
        check_deliveries(write, record.last_seq)
        pending = [pending_row(record.key, one) for one in write.pending]
        end, rows = record.delivery_sum, list[tuple[Any, ...]]()
        for one in write.deliveries:
            payload = encode_record(one.record)
            end = seal_delivery(end, one, payload)
            rows.append((record.key, one.delivery_id, one.hook, one.seq, one.status, payload.decode(), end))
        self._rows[_INSERT_DELIVERY] += rows
        if held.may_have_pending:
            self._outbox.drop(record.key, [one.delivery_id for one in write.deliveries])
        if pending:
            held.may_have_pending = True
            self._outbox.put(pending)
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
        for trim in (_TRIM_DEFINITIONS, _TRIM_CHECKED):
            self._trims[trim] = [(CHECKED_KEPT,)]

    def _change_definition(self, write: ChangeDefinition) -> None:
        record = self._owned(write.run_id).record
        orjson.dumps(write.definition)  # a TypeError says that no store can write it
        self._trims.setdefault(DROP_DEFINITION, []).append((record.definition,))
        self._definitions[write.definition] = write.body
        record.definition = write.definition
        self._changed[record.key] = record

    def _keep_letter(self, write: KeepDeadLetter) -> None:
        self._owned(write.letter.run_id)
        keep_letter(self._cursor, write.letter, write.body)
        self._touch(True)

    def _ask(self, asked: AskBreaker) -> BreakerAnswer:
        answer, is_changed = ask_breaker(self._cursor, asked, self._is_owned)
        self._touch(is_changed)
        return answer

    def _tell(self, told: TellBreaker) -> BreakerAnswer:
        answer, is_changed = tell_breaker(self._cursor, told)
        self._touch(is_changed)
        return answer

    def _is_owned(self, run_id: str) -> bool:
        """Whether somebody alive has a run: we, as of the writes before this one, or another."""
        if run_id in self._held:
            return True
        record = find_run(self._cursor, run_id)
        return record is not None and self._other_owner(record) is not None

    def _refuse_company(self, workflow: str) -> None:
        for record in owned_runs(self._cursor, workflow):
            pid = os.getpid() if record.run_id in self._held else self._other_owner(record)
            if pid is not None:
                raise WorkflowRunningError(workflow, record.run_id, pid)

    def _other_owner(self, record: RunRecord) -> int | None:
        """The pid of the run's owner, if it is alive and somebody else."""
        if record.owner in (None, self._owner):
            return None  # rows of runs that we gave up in this commit name us still
        live = find_live(self._cursor, self._store, record.owner)
        return None if live is None else live.pid

    def _touch(self, is_changed: bool) -> None:
        self._is_touched = self._is_touched or is_changed

    def _keep_blobs(self, run: int, blobs: Mapping[str, bytes]) -> None:
        if blobs:
            self._rows[_INSERT_BLOB] += blobs.items()
            self._rows[_INSERT_USE] += [(run, name) for name in blobs]

    def _owned(self, run_id: str) -> HeldRun:
        held = self._held.get(run_id)
        if held is None:
            raise not_owned(run_id)
        return held


def insert_no_events(db: Database, cursor: Cursor, at: float) -> int:
    """Write the batch of a commit that appends no events; its id."""
    cursor.execute(_INSERT_BATCH, _no_events(at))
    return db.last_insert_rowid()


def _no_events(at: float) -> tuple[Any, ...]:
    return None, None, 0, at, "[]", b""
