"""The reading side of a SQLite store: short snapshots on connections of their own, everything checked as it is read."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson

from actorflow.core.breaker import Breaker
from actorflow.core.events import Event
from actorflow.errors import ActorflowError, StoreDamagedError
from actorflow.journal.admission import choose
from actorflow.journal.blobs import Fetch, checked_blob
from actorflow.journal.breakers import find_breaker
from actorflow.journal.codec import decode_events, decode_record
from actorflow.journal.driver import Cursor, Database
from actorflow.journal.inbox import is_request
from actorflow.journal.letters import all_letters, find_body
from actorflow.journal.outbox import count_pending, find_pending
from actorflow.journal.owners import LiveOwner, is_alive
from actorflow.journal.protocol import (
    CachedDefinition,
    Checkpoint,
    DeadLetter,
    Delivery,
    PendingDelivery,
    RunRow,
)
from actorflow.journal.records import (
    RunRecord,
    all_runs,
    check_tail,
    damaged,
    existing_run,
    find_run,
    seal,
    seal_batch,
    seal_checked,
    seal_checkpoint,
    seal_delivery,
)
from actorflow.journal.remedy import RESTORE
from actorflow.journal.shortcuts import decode_checkpoint, decode_definition
from actorflow.journal.snapshots import all_snapshots
from actorflow.journal.store import StoreFile, patiently

#: batches in a snapshot: who reads slowly keeps no snapshot open, so the WAL can be used again
_SLICE = 64

#: connections kept for the next reader; opening one costs 0.2 ms
_IDLE_READERS = 4

# payloads are read as bytes: a flipped bit may leave no UTF-8, and that is for the checksum to say. A run may be deleted
# while it is read, and its key given to another: a slice is of a row with its id too
_SELECT_SLICE = """SELECT id, first_seq, count, coalesce(CAST(events AS BLOB), x''), sum FROM batches
WHERE run = (SELECT id FROM runs WHERE id = ? AND run_id = ?) AND first_seq >= ? ORDER BY first_seq LIMIT ?"""
_SELECT_START = "SELECT max(first_seq) FROM batches WHERE run = ? AND first_seq <= ?"
_SELECT_PREVIOUS = "SELECT sum FROM batches WHERE run = ? AND first_seq < ? ORDER BY first_seq DESC LIMIT 1"
_SELECT_DELIVERIES = """SELECT delivery_id, hook, seq, status, CAST(record AS BLOB), sum FROM deliveries
WHERE run = ? ORDER BY id"""
_SELECT_LAST_SEQ = "SELECT first_seq + count - 1 FROM batches WHERE run = ? ORDER BY first_seq DESC LIMIT 1"
_SELECT_BLOB = "SELECT body FROM blobs WHERE hash = ?"
_SELECT_CHECKPOINT = """SELECT checkpoints.seq, core_version, body, checkpoints.sum, batches.sum
FROM checkpoints JOIN batches ON batches.run = checkpoints.run AND first_seq = (
  SELECT max(first_seq) FROM batches WHERE run = checkpoints.run AND first_seq <= checkpoints.seq
) WHERE checkpoints.run = ? AND first_seq + count - 1 = checkpoints.seq"""
_SELECT_CHECKED = "SELECT definition, CAST(warnings AS BLOB), sum FROM checked_definitions WHERE key = ?"


class StoreReader:
    """What a SQLite journal answers without writing; any number of threads may ask.

    Args:
        store: the store.
        known_last: a sequence number that a run is known to have reached; None for a run that the writing side does
            not own.
    """

    def __init__(self, store: StoreFile, known_last: Callable[[str], int | None]) -> None:
        self._store = store
        self._known_last = known_last
        self._idle: list[Database] = []

    def find(self, prefix: str) -> RunRow:
        """See `Journal.find`."""
        with self._snapshot() as cursor:
            record = find_run(cursor, prefix)
            if record is not None:
                return self._row(cursor, record, self._live_owners(cursor))
            return choose(prefix, self._rows(cursor))

    def runs(self) -> list[RunRow]:
        """See `Journal.runs`."""
        with self._snapshot() as cursor:
            return self._rows(cursor)

    def definition(self, digest: str) -> bytes:
        """See `Journal.definition`."""
        with self._snapshot() as cursor:
            return self._definition(cursor, digest)

    def cached_definition(self, key: str) -> CachedDefinition | None:
        """See `Journal.cached_definition`."""
        try:
            with self._snapshot() as cursor:
                for digest, warnings, written in cursor.execute(_SELECT_CHECKED, (key,)).fetchall():
                    if seal_checked(key, digest, warnings) == written:
                        return decode_definition(digest, self._definition(cursor, digest), warnings)
        except StoreDamagedError:
            pass
        return None

    def checkpoint(self, run_id: str) -> Checkpoint | None:
        """See `Journal.checkpoint`."""
        try:
            with self._snapshot() as cursor:
                record = existing_run(cursor, run_id)
                found = cursor.execute(_SELECT_CHECKPOINT, (record.key,)).fetchall()
                for seq, core_version, payload, written, batch_sum in found:
                    if seal_checkpoint(batch_sum, record, seq, core_version, payload) == written:
                        return decode_checkpoint(seq, core_version, payload, _fetch_with(cursor, run_id))
        except StoreDamagedError:
            pass  # reading the events says what is wrong, if it is the run and not its checkpoint
        return None

    def events(self, run_id: str, after: int) -> Iterator[tuple[int, Event]]:
        """See `Journal.events`."""
        at_least = self._known_last(run_id)
        with self._snapshot() as cursor:
            record = existing_run(cursor, run_id)
            start, previous = _start(cursor, record.key, after)
        return self._read_on(record, after, start, previous, at_least)

    def deliveries(self, run_id: str, after: int = 0) -> list[Delivery]:
        """See `Journal.deliveries`."""
        found: list[Delivery] = []
        with self._snapshot() as cursor:
            record = existing_run(cursor, run_id)
            end = b""
            rows = cursor.execute(_SELECT_DELIVERIES, (record.key,)).fetchall()
            for delivery_id, hook, seq, status, payload, written in rows:  # the chain is checked whole
                delivery = Delivery(delivery_id, hook, seq, status)
                end = seal_delivery(end, delivery, payload)
                if end != written:
                    raise _lost_deliveries(run_id)
                if seq > after:
                    found.append(Delivery(delivery_id, hook, seq, status, decode_record(payload)))
            if end != record.delivery_sum:
                raise _lost_deliveries(run_id)
        return found

    def pending(self, run_id: str, hook: str | None, after: int, limit: int | None) -> list[PendingDelivery]:
        """See `Journal.pending`."""
        with self._snapshot() as cursor:
            return find_pending(cursor, existing_run(cursor, run_id), hook, after, limit)

    def pending_counts(self) -> Mapping[str, int]:
        """See `Journal.pending_counts`."""
        with self._snapshot() as cursor:
            return count_pending(cursor)

    def dead_letter_body(self, letter_id: str) -> Mapping[str, Any] | None:
        """See `Journal.dead_letter_body`."""
        with self._snapshot() as cursor:
            return find_body(cursor, letter_id)

    def is_asked(self, request: int) -> bool:
        """See `Journal.is_asked`."""
        with self._snapshot() as cursor:
            return is_request(cursor, request)

    def dead_letters(self) -> list[DeadLetter]:
        """See `Journal.dead_letters`."""
        with self._snapshot() as cursor:
            return all_letters(cursor)

    def breaker(self, key: str) -> Breaker:
        """See `Journal.breaker`."""
        with self._snapshot() as cursor:
            return find_breaker(cursor, key)

    def snapshots(self) -> Mapping[str, Mapping[str, Any]]:
        """See `Journal.snapshots`."""
        with self._snapshot() as cursor:
            return all_snapshots(cursor)

    def close(self) -> None:
        """Close the idle connections; one that is in use is closed by who uses it."""
        while self._idle:
            self._idle.pop().close()

    def _read_on(
        self, record: RunRecord, after: int, start: int, previous: bytes, at_least: int | None
    ) -> Iterator[tuple[int, Event]]:
        batch, is_last = 0, False
        while not is_last:
            with self._snapshot() as cursor:
                rows = cursor.execute(_SELECT_SLICE, (record.key, record.run_id, start, _SLICE)).fetchall()
                is_last = len(rows) < _SLICE
                if is_last:
                    end = rows[-1] if rows else (batch, start, 0)
                    self._check_end(cursor, record.run_id, end[0], end[1] + end[2] - 1, at_least)
            for batch, first_seq, count, payload, written in rows:  # noqa: B007 - the last one is used above
                row = (first_seq, count, payload, written)
                events = _opened(record.run_id, start, previous, row, self._blob_of(record.run_id))
                for seq, event in enumerate(events, start):
                    if seq > after:
                        yield seq, event
                start, previous = start + count, written

    def _blob_of(self, run_id: str) -> Fetch:
        """Gives a run's blobs, each in a snapshot of its own: few events have any."""

        def fetch(name: str) -> bytes:
            with self._snapshot() as cursor:
                return _fetch_with(cursor, run_id)(name)

        return fetch

    def _definition(self, cursor: Cursor, digest: str) -> bytes:
        rows = cursor.execute("SELECT body, sum FROM definitions WHERE hash = ?", (digest,)).fetchall()
        if not rows:
            raise StoreDamagedError(f"the store {self._store.path} has no definition {digest!r}")
        body: bytes = rows[0][0]
        if seal(b"", orjson.dumps(digest), body) != rows[0][1]:
            raise StoreDamagedError(f"the definition {digest!r} is damaged; {RESTORE}")
        return body

    def _check_end(
        self, cursor: Cursor, run_id: str, batch: int, last_seq: int, at_least: int | None
    ) -> None:
        """See that nothing is missing after the last batch; the row is read anew, in the snapshot of that batch."""
        if at_least is None:
            check_tail(cursor, existing_run(cursor, run_id), batch, last_seq)
        elif last_seq < at_least:
            existing_run(cursor, run_id)
            raise damaged(run_id, last_seq + 1, "what follows is missing")

    def _rows(self, cursor: Cursor) -> list[RunRow]:
        live = self._live_owners(cursor)
        return [self._row(cursor, record, live) for record in all_runs(cursor)]

    @staticmethod
    def _row(cursor: Cursor, record: RunRecord, live: Mapping[int | None, LiveOwner]) -> RunRow:
        if record.owner is not None:  # its row trails its events
            last_seq = cursor.execute(_SELECT_LAST_SEQ, (record.key,)).get
            record.last_seq = max(record.last_seq, last_seq if isinstance(last_seq, int) else 0)
        owner = live.get(record.owner)
        return record.row(None) if owner is None else record.row(owner.pid, owner.heartbeat_at)

    def _live_owners(self, cursor: Cursor) -> dict[int | None, LiveOwner]:
        """The owners that are alive and not fenced off."""
        owners = cursor.execute("SELECT id, pid, heartbeat_at FROM owners WHERE fenced = 0").fetchall()
        return {owner: LiveOwner(*facts) for owner, *facts in owners if is_alive(self._store.path, owner)}

    @contextmanager
    def _snapshot(self) -> Generator[Cursor]:
        """One moment of the store, seen through a connection that nobody else uses."""
        self._store.refuse_if_failed()
        self._store.check_same_file()
        db: Database | None = None
        try:
            db = reader = (
                self._idle.pop() if self._idle else patiently(lambda: self._store.connect(is_writer=False))
            )
            cursor = patiently(lambda: _begin(reader))
            yield cursor
            cursor.execute("COMMIT")
        except ActorflowError:
            raise
        except Exception as error:
            raise self._store.explain(error) from error
        finally:
            if db is not None:
                self._put_back(db)

    def _put_back(self, db: Database) -> None:
        if db.in_transaction or self._store.has_failed or len(self._idle) >= _IDLE_READERS:
            db.close(True)
        else:
            self._idle.append(db)


def _begin(db: Database) -> Cursor:
    """Begin, and read something: only then is there a snapshot, and nothing after it is busy."""
    cursor = db.cursor()
    if not db.in_transaction:
        cursor.execute("BEGIN")
    return cursor.execute("SELECT 1 FROM meta LIMIT 1")


def _start(cursor: Cursor, run: int, after: int) -> tuple[int, bytes]:
    """Where the batch with event `after` + 1 begins (or the last batch), and the seal that it continues."""
    start = cursor.execute(_SELECT_START, (run, after + 1)).get
    if not isinstance(start, int):
        return 1, b""
    previous = cursor.execute(_SELECT_PREVIOUS, (run, start)).get
    return start, previous if isinstance(previous, bytes) else b""


def _fetch_with(cursor: Cursor, run_id: str) -> Fetch:
    """Gives a run's blobs, in a snapshot that is open."""

    def fetch(name: str) -> bytes:
        return checked_blob(run_id, name, cursor.execute(_SELECT_BLOB, (name,)).get)

    return fetch


def _opened(
    run_id: str, start: int, previous: bytes, row: tuple[int, int, bytes, bytes], fetch: Fetch
) -> list[Event]:
    """The events of a batch that must begin at `start`."""
    first_seq, count, payload, written = row
    if first_seq != start:
        raise damaged(run_id, start, f"the next is numbered {first_seq}")
    if seal_batch(previous, run_id, first_seq, count, payload) != written:
        raise damaged(run_id, start, "its checksum does not match")
    events = decode_events(payload, run_id, start, fetch)
    if len(events) != count:
        raise damaged(run_id, start, f"{len(events)} events instead of {count}")
    return events


def _lost_deliveries(run_id: str) -> StoreDamagedError:
    return StoreDamagedError(f"the deliveries of run {run_id!r} are damaged; {RESTORE}")
