"""Saving what can be read of a damaged SQLite store into a new file; the old one is read, and never touched.

Of each run, the events are kept up to the first that is not what was written: what a chain of checksums does not vouch for
is not there. A run that has lost its end and was not over is paused where it breaks off, with that as its cause, so that
nothing goes on as if nothing had happened.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import apsw
import orjson
from attrs import define, evolve, field, frozen

from actorflow.core.events import Event, PauseRequested, RunStarted
from actorflow.core.plan import plan_of
from actorflow.core.state import RunState
from actorflow.errors import ActorflowError, StoreDamagedError, StoreUnusableError
from actorflow.journal import schema
from actorflow.journal.admission import payload_of
from actorflow.journal.blobs import Fetch, checked_blob
from actorflow.journal.breakers import seal_breaker
from actorflow.journal.care.examination import live_locks
from actorflow.journal.care.readable import readable_rows
from actorflow.journal.codec import decode_events
from actorflow.journal.driver import Cursor, Database, connect
from actorflow.journal.letters import letter_columns, seal_body
from actorflow.journal.mark import read_mark
from actorflow.journal.outbox import OutboxChanges, opened_row, pending_row
from actorflow.journal.projection import definition_of, folded, summary_after
from actorflow.journal.protocol import Append, DeadLetter, Delivery, PendingDelivery, RunSummary
from actorflow.journal.records import INSERT_RUN, RunRecord, opened_run, seal, seal_batch, seal_delivery
from actorflow.journal.snapshots import seal_snapshot
from actorflow.journal.store import open_store
from actorflow.spec.definition import from_json

__all__ = ["Salvaged", "SavedRun", "salvage"]

_PUT_RUN: Final = "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_BATCH: Final = (
    "INSERT INTO batches (run, first_seq, count, at, events, sum) VALUES (?, ?, ?, ?, ?, ?)"
)
_INSERT_DEFINITION: Final = "INSERT OR IGNORE INTO definitions (hash, body, sum) VALUES (?, ?, ?)"
_INSERT_BLOB: Final = "INSERT OR IGNORE INTO blobs (hash, body) VALUES (?, ?)"
_INSERT_USE: Final = "INSERT OR IGNORE INTO blob_uses (run, hash) VALUES (?, ?)"
_INSERT_DELIVERY: Final = """INSERT INTO deliveries (run, delivery_id, hook, seq, status, record, sum)
VALUES (?, ?, ?, ?, ?, ?, ?)"""
_INSERT_LETTER: Final = """INSERT OR IGNORE INTO dead_letters (letter_id, kind, run_id, task, reason, at, seq, sum)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_INSERT_BODY: Final = "INSERT OR IGNORE INTO letter_bodies (letter_id, run_id, body, sum) VALUES (?, ?, ?, ?)"

_RUN_COLUMNS: Final = """run_id, workflow, definition, owner, status, generation, started_at, ended_at, last_seq,
cursor, delivery_sum, sum"""

_TOLD_BY_TABLE: Final = {
    "breakers": "states of circuit breakers",
    "dead_letters": "dead letters",
    "deliveries": "what became of deliveries",
    "inbox": "what was asked of runs",
    "letter_bodies": "what dead letters hold",
    "outbox": "pending deliveries",
    "runs": "rows of runs",
    "snapshots": "snapshots",
}
"""Of these, rows that cannot be read leave no other trace; what else is missing is missed by a run."""


@frozen
class SavedRun:
    """What became of a run."""

    run_id: str
    event_count: int  #: that were kept
    lost_after: int | None = None  #: the last event that was kept, where there were more; None: it is whole
    reason: str = ""  #: why there is no more of it


@define
class Salvaged:
    """What was saved, and what was not."""

    path: str  #: of the new store
    runs: list[SavedRun] = field(factory=list[SavedRun])
    losses: list[str] = field(factory=list[str])  #: beside what runs have lost; sentences

    @property
    def is_whole(self) -> bool:
        """Whether nothing is lost that anybody knows of."""
        return not self.losses and all(run.lost_after is None for run in self.runs)


def salvage(path: str, into: str, now: float) -> Salvaged:
    """Save what can be read of a store.

    Args:
        path: of the damaged store; nobody may be writing to it.
        into: of the new one, which must not be there.
        now: the time, in epoch seconds.

    Raises:
        StoreUnusableError: the new file is there already or cannot be made, or nothing of the old one can be read.
    """
    if os.path.lexists(into):
        raise StoreUnusableError(f"cannot save into {into}: it is there already; name another file")
    path = os.path.realpath(path)
    if live_locks(path):
        raise StoreUnusableError(f"the store {path} is in use; end the processes that are at it first")
    with _copied(path, into) as copy:
        old = _opened(copy, path)
        try:
            return _Rescue(old, Salvaged(into), read_mark(f"{path}.mark"), now).into(into)
        finally:
            old.close(True)


@contextmanager
def _copied(path: str, into: str) -> Generator[str]:
    """A copy of the store's files for this alone: SQLite writes to what it reads, where a log lies beside it."""
    folder = Path(into).absolute().parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    private = tempfile.mkdtemp(prefix=".salvage-", dir=folder)
    try:
        copy = os.path.join(private, "store.db")  # noqa: PTH118
        try:
            shutil.copyfile(path, copy)
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{path}-wal", f"{copy}-wal")
        except OSError as error:
            raise StoreUnusableError(f"cannot copy the store {path}: {error}") from error
        yield copy
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _opened(copy: str, path: str) -> Database:
    try:
        db = connect(copy, flags=apsw.SQLITE_OPEN_READWRITE, vfs=None)
        db.pragma(
            "writable_schema", True
        )  # or a file that is shorter than its header says is not opened at all
        db.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        schema.refuse_strangers(db, path)
    except apsw.Error as error:
        raise StoreUnusableError(
            f"nothing can be read of the store {path}: its first page is not what it was ({error}); restore a copy"
        ) from error
    return db


class _Rescue:
    """One rescue, from an old database into a new one."""

    def __init__(self, old: Database, done: Salvaged, acknowledged: int, now: float) -> None:
        self._old = old
        self._done = done
        self._now = now
        self._gaps: set[str] = set()  #: tables of which something cannot be read
        last = max((key for key, *_ in self._rows("batches", "1")), default=0)
        self._is_short = acknowledged > last  #: whether the end of the store is gone
        if self._is_short:
            self._lose(
                f"{acknowledged - last} commits at the end of the store; ended runs may have had later generations"
            )
        self._blobs = self._whole_blobs()
        self._definitions = self._whole_definitions()
        self._batches: dict[int, list[tuple[int, int]]] = defaultdict(
            list
        )  #: by run: first_seq and key of each
        self._keys: dict[int, tuple[int, RunRecord]] = {}  #: of the saved runs, by their old ones
        self._delivery_ends: dict[int, bytes] = {}  #: of their chains, as their old rows have them
        self._seen: set[int] = set()  #: keys of rows of runs

    def into(self, path: str) -> Salvaged:
        """Write all that is whole, in one transaction."""
        store, db = open_store(path, None, self._now)
        try:
            cursor = db.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            self._write(cursor)
            cursor.execute("COMMIT")
            store.mark.raise_to(int(db.execute("SELECT coalesce(max(id), 0) FROM batches").get))
            # it is moved to where the old one was: all of it has to be in the one file
            db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        finally:
            db.close(True)
            store.end()
        return self._done

    def _write(self, cursor: Cursor) -> None:
        for key, run, first_seq in self._rows("batches", "run, first_seq"):
            if isinstance(run, int) and isinstance(first_seq, int):
                self._batches[run].append((first_seq, key))
        for key, *row in self._rows("runs", _RUN_COLUMNS):
            self._save_run(cursor, key, row)
        for key in sorted(self._batches.keys() - self._seen):
            self._lose(f"{len(self._batches[key])} commits of a run of which nothing else is left")
        self._save_deliveries(cursor)
        self._save_pending(cursor)
        self._save_letters(cursor)
        self._save_named(cursor, "breakers", "key", seal_breaker)
        self._save_named(cursor, "snapshots", "name", seal_snapshot)
        requests = sum(1 for _ in self._rows("inbox", "run_id"))
        if requests:
            self._lose(f"what was asked of runs and not answered yet ({requests}): it must be asked again")
        for table in sorted(self._gaps & _TOLD_BY_TABLE.keys()):
            self._lose(f"{_TOLD_BY_TABLE[table]} that cannot be read; nobody can say how many")

    def _rows(self, table: str, columns: str) -> Iterator[tuple[Any, ...]]:
        return readable_rows(self._old, table, columns, self._gaps.add)

    def _lose(self, what: str) -> None:
        self._done.losses.append(what)

    def _whole_blobs(self) -> Mapping[str, int]:
        return {name: key for key, name in self._rows("blobs", "hash") if isinstance(name, str)}

    def _whole_definitions(self) -> Mapping[str, tuple[bytes, bytes]]:
        rows = self._rows("definitions", "hash, CAST(body AS BLOB), sum")
        return {
            digest: (body, written)
            for _, digest, body, written in rows
            if isinstance(digest, str) and seal(b"", orjson.dumps(digest), body or b"") == written
        }

    # Runs

    def _save_run(self, cursor: Cursor, key: int, row: Sequence[Any]) -> None:
        self._seen.add(key)
        run_id, record = row[0], _record_of(key, row)
        if not isinstance(run_id, str):
            self._lose("a run whose id cannot be read")
            return
        used: dict[str, bytes] = {}
        payloads, events, reason = self._history(key, run_id, self._fetch(run_id, used))
        digest = definition_of(events)
        pinned = self._definitions.get(digest)
        if not events or pinned is None:
            what = "its definition is gone" if events else "none of its events is what was written"
            self._done.runs.append(SavedRun(run_id, 0, 0, what))
            return
        state, summary = folded(plan_of(from_json(pinned[0])), events)
        count = len(events)
        if record is None and not reason:
            reason = "its row is damaged, so that nobody can say whether there was more"
        elif record is not None and count < record.last_seq and not reason:
            reason = "what follows is missing"
        elif self._is_short and not reason and (summary is None or summary.status == "running"):
            reason = "the end of the store is gone, and maybe some of this run with it"
        saved = SavedRun(run_id, count, count if reason else None, reason)
        new = RunRecord(
            0, run_id, _started(events).workflow, digest, None, summary or _unstarted(events), count
        )
        new.cursor = 0 if record is None else min(record.cursor, count)
        new.key = cursor.execute(INSERT_RUN, new.columns()).fetchall()[0][0]
        cursor.execute(_INSERT_DEFINITION, (digest, *pinned))
        cursor.executemany(_INSERT_BATCH, [(new.key, *payload) for payload in payloads])
        if reason and new.summary.status == "running":
            self._pause(cursor, new, state, payloads[-1][-1], saved)
        cursor.executemany(_INSERT_BLOB, used.items())
        cursor.executemany(_INSERT_USE, [(new.key, name) for name in used])
        self._keys[key] = (new.key, new)
        if record is not None:
            self._delivery_ends[key] = record.delivery_sum
        self._done.runs.append(saved)
        self._update(cursor, new)

    def _history(self, key: int, run_id: str, fetch: Fetch) -> tuple[list[tuple[Any, ...]], list[Event], str]:
        """The batches of a run as they were, their events, and why there are no more."""
        payloads: list[tuple[Any, ...]] = []
        events: list[Event] = []
        previous = b""
        for first_seq, batch in sorted(self._batches.get(key, ())):
            if first_seq != len(events) + 1:
                return payloads, events, f"the next is numbered {first_seq}"
            try:
                count, at, payload, written = self._batch(batch)
                if seal_batch(previous, run_id, first_seq, count, payload) != written:
                    return payloads, events, "the checksum of the next does not match"
                found = decode_events(payload, run_id, first_seq, fetch)
            except (ActorflowError, apsw.Error, TypeError, ValueError) as error:
                return payloads, events, f"the next cannot be read ({error})"
            events += found
            payloads.append((first_seq, count, at, payload.decode(), written))
            previous = written
        return payloads, events, ""

    def _batch(self, key: int) -> tuple[int, float, bytes, bytes]:
        statement = "SELECT count, at, CAST(events AS BLOB), sum FROM batches NOT INDEXED WHERE rowid = ?"
        ((count, at, payload, written),) = self._old.cursor().execute(statement, (key,)).fetchall()
        return count, at, payload, written

    def _fetch(self, run_id: str, used: dict[str, bytes]) -> Fetch:
        def fetch(name: str) -> bytes:
            statement = "SELECT body FROM blobs NOT INDEXED WHERE rowid = ?"
            body = self._old.cursor().execute(statement, (self._blobs.get(name, 0),)).get
            used[name] = checked_blob(run_id, name, body)
            return used[name]

        return fetch

    def _pause(
        self, cursor: Cursor, record: RunRecord, state: RunState, previous: bytes, saved: SavedRun
    ) -> None:
        """Have the run say by itself that it has lost something, before anybody goes on with it."""
        event = PauseRequested(self._now, f"salvaged: what followed event {saved.event_count} is lost")
        state.apply(event)
        first = record.last_seq + 1
        payload, _ = payload_of(Append(record.run_id, first, [event]), record.last_seq)
        end = seal_batch(previous, record.run_id, first, 1, payload)
        cursor.execute(_INSERT_BATCH, (record.key, first, 1, self._now, payload.decode(), end))
        record.summary = summary_after(state, event) or record.summary
        record.last_seq = first

    @staticmethod
    def _update(cursor: Cursor, record: RunRecord) -> None:
        cursor.execute("DELETE FROM runs WHERE id = ?", (record.key,))
        cursor.execute(_PUT_RUN, (record.key, *record.columns()))

    # What belongs to runs

    def _save_deliveries(self, cursor: Cursor) -> None:
        lost = 0
        broken: set[int] = set()
        columns = "run, delivery_id, hook, seq, status, CAST(record AS BLOB), sum"
        for _, run, *facts, payload, written in self._rows("deliveries", columns):
            known = self._keys.get(run)
            if known is None:
                continue
            key, record = known
            delivery = Delivery(*facts)
            end = _sum_of(seal_delivery, record.delivery_sum, delivery, payload or b"")
            if run in broken or end != written or delivery.seq > record.last_seq:
                broken.add(run)
                lost += 1
                continue
            record.delivery_sum = end
            cursor.execute(_INSERT_DELIVERY, (key, *facts, payload.decode(), end))
        for _, record in self._keys.values():
            self._update(cursor, record)
        short = [
            record.run_id
            for run, (_, record) in self._keys.items()
            if run not in broken and self._delivery_ends.get(run, record.delivery_sum) != record.delivery_sum
        ]
        if short:
            self._lose(f"what became of the last deliveries of {', '.join(short)}; they may be made again")
        if lost:
            self._lose(f"what became of {lost} deliveries; they may be made again, under the same ids")

    def _save_pending(self, cursor: Cursor) -> None:
        changes, lost = OutboxChanges(), 0
        columns = "run, delivery_id, hook, seq, due_at, CAST(body AS BLOB), sum"
        for _, run, *rest in self._rows("outbox", columns):
            known = self._keys.get(run)
            if known is None:
                lost += run not in self._seen  # a run that is not saved was told of
                continue
            key, record = known
            pending = _pending(evolve(record, key=run), (run, *rest))
            if pending is None or pending.seq > record.last_seq:
                lost += 1
            else:
                changes.put([pending_row(key, pending)])
        changes.write(cursor)
        if lost:
            self._lose(f"{lost} pending deliveries")

    def _save_letters(self, cursor: Cursor) -> None:
        saved = {record.run_id for _, record in self._keys.values()}
        bodies: dict[Any, bytes] = {
            letter_id: body
            for _, letter_id, body in self._rows("letter_bodies", "letter_id, CAST(body AS BLOB)")
        }
        lost = 0
        for _, *values, written in self._rows(
            "dead_letters", "letter_id, kind, run_id, task, reason, at, seq, sum"
        ):
            letter, body = DeadLetter(*values), bodies.get(values[0])
            body_sum = b"" if body is None else _sum_of(seal_body, letter.id, body)
            if _sum_of(_seal_letter, letter, body_sum) != written or letter.run_id not in saved:
                lost += 1
                continue
            cursor.execute(_INSERT_LETTER, letter_columns(letter, body_sum))
            if body is not None:
                cursor.execute(_INSERT_BODY, (letter.id, letter.run_id, body.decode(), body_sum))
        if lost:
            self._lose(f"{lost} dead letters")

    def _save_named(
        self, cursor: Cursor, table: str, name: str, sealed: Callable[[str, bytes], bytes]
    ) -> None:
        lost = 0
        for _, key, body, written in self._rows(table, f"{name}, CAST(body AS BLOB), sum"):
            if _sum_of(sealed, key, body or b"") != written:
                lost += 1
                continue
            cursor.execute(f"INSERT OR IGNORE INTO {table} VALUES (?, ?, ?)", (key, body.decode(), written))  # noqa: S608
        if lost:
            self._lose(f"{lost} {table}")


def _sum_of(sealed: Callable[..., bytes], *values: Any) -> bytes:
    """The checksum of what was read; none that any row has, where damage has made other types of the values."""
    try:
        return sealed(*values)
    except (TypeError, ValueError):
        return b"no sum"


def _seal_letter(letter: DeadLetter, body_sum: bytes) -> bytes:
    written: bytes = letter_columns(letter, body_sum)[-1]
    return written


def _record_of(key: int, row: Sequence[Any]) -> RunRecord | None:
    try:
        return opened_run((key, *row))
    except StoreDamagedError:
        return None


def _started(events: Sequence[Event]) -> RunStarted:
    """The first event, which is whole, and so what it was."""
    assert isinstance(events[0], RunStarted)
    return events[0]


def _unstarted(events: Sequence[Event]) -> RunSummary:
    """The row of a run in which nothing more has happened than that it was made."""
    return RunSummary("running", 1, events[0].at, None)


def _pending(record: RunRecord, row: Sequence[Any]) -> PendingDelivery | None:
    try:
        return opened_row(record, row)
    except (StoreDamagedError, TypeError, ValueError):
        return None
