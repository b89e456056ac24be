"""Rows with seals: what is read is what was written, or an error says that it is not.

A seal is a BLAKE2b of 16 bytes. The seals of a run's batches form a chain, and those of its deliveries another, whose end
stands in the run's row: nothing can be missing from the middle or the end unnoticed.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import orjson
from attrs import define, evolve

from actorflow.errors import RunNotFoundError, StoreDamagedError
from actorflow.journal.admission import nearest
from actorflow.journal.driver import Cursor
from actorflow.journal.plain import is_storable
from actorflow.journal.protocol import Delivery, RunRow, RunSummary
from actorflow.journal.remedy import RESTORE

_SEAL_BYTES = 16

#: how many batches, later than a run's last, are searched for one that its index has lost: 5 ms at most
_SEARCHED_TAIL = 20_000

INSERT_RUN = """INSERT INTO runs
(run_id, workflow, definition, owner, status, generation, started_at, ended_at, last_seq, cursor, delivery_sum, sum)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run_id) DO NOTHING RETURNING id"""
UPDATE_RUN = """UPDATE runs SET run_id = ?, workflow = ?, definition = ?, owner = ?, status = ?, generation = ?,
started_at = ?, ended_at = ?, last_seq = ?, cursor = ?, delivery_sum = ?, sum = ? WHERE id = ?"""
_FIND_RUN = """SELECT id, run_id, workflow, definition, owner, status, generation, started_at, ended_at, last_seq,
cursor, delivery_sum, sum FROM runs WHERE run_id = ?"""
_ALL_RUNS = """SELECT id, run_id, workflow, definition, owner, status, generation, started_at, ended_at, last_seq,
cursor, delivery_sum, sum FROM runs NOT INDEXED ORDER BY started_at DESC, id DESC"""
_RUNNING = """SELECT id, run_id, workflow, definition, owner, status, generation, started_at, ended_at, last_seq,
cursor, delivery_sum, sum FROM runs WHERE owner IS NOT NULL AND workflow = ?"""
_SELECT_TAIL = (
    "SELECT id, first_seq + count - 1, sum FROM batches WHERE run = ? ORDER BY first_seq DESC LIMIT 1"
)
_SEARCH_TAIL = """SELECT count(*) FROM (SELECT run FROM batches NOT INDEXED WHERE id > ? ORDER BY id LIMIT ?)
WHERE run = ?"""


@define
class RunRecord:
    """A row of `runs`."""

    key: int  #: the row's id; 0 until it has one
    run_id: str
    workflow: str
    definition: str
    owner: int | None
    summary: RunSummary
    last_seq: int = 0  #: as of the last change of the row; exact while nobody owns the run
    cursor: int = 0
    delivery_sum: bytes = b""

    def columns(self) -> tuple[Any, ...]:
        """The row without its id, sealed."""
        values = (
            self.run_id,
            self.workflow,
            self.definition,
            self.owner,
            self.summary.status,
            self.summary.generation,
            float(self.summary.started_at),
            None if self.summary.ended_at is None else float(self.summary.ended_at),
            self.last_seq,
            self.cursor,
        )
        return (*values, self.delivery_sum, seal(self.delivery_sum, orjson.dumps(values)))

    def row(self, owner_pid: int | None, heartbeat_at: float | None = None) -> RunRow:
        """What the outside sees."""
        facts = (self.run_id, self.workflow, self.definition, self.summary, owner_pid, self.cursor)
        return RunRow(*facts, self.last_seq, heartbeat_at)


@define
class HeldRun:
    """A run that this journal owns, and the end of its chain."""

    record: RunRecord
    batch_sum: bytes = b""
    last_request: int = 0  #: that there was to the run when it was claimed; 0: none
    may_have_pending: bool = True  #: whether it may have rows in the outbox


def seal(previous: bytes, header: bytes, payload: bytes = b"") -> bytes:
    """The checksum of a row that follows the one sealed `previous` (empty for the first, and outside a chain)."""
    return blake2b(previous + header + payload, digest_size=_SEAL_BYTES).digest()


def seal_batch(previous: bytes, run_id: str, first_seq: int, count: int, payload: bytes) -> bytes:
    """The checksum of a batch."""
    return seal(previous, f"{run_id}\n{first_seq}\n{count}\n".encode(), payload)


def seal_delivery(previous: bytes, delivery: Delivery, record: bytes) -> bytes:
    """The checksum of a delivery, whose own record is given as JSON."""
    header = orjson.dumps((delivery.delivery_id, delivery.hook, delivery.seq, delivery.status))
    return seal(previous, header, record)


def seal_checkpoint(
    batch_sum: bytes, record: RunRecord, seq: int, core_version: int, payload: bytes
) -> bytes:
    """The checksum of a checkpoint: it continues that of the batch which it is of, and so holds for no other history."""
    header = orjson.dumps(("checkpoint", record.run_id, record.definition, seq, core_version))
    return seal(batch_sum, header, payload)


def seal_checked(key: str, definition: str, warnings: bytes) -> bytes:
    """The checksum of a checked definition's row."""
    return seal(b"", orjson.dumps(("checked", key, definition)), warnings)


def find_run(cursor: Cursor, run_id: str) -> RunRecord | None:
    """The row of a run by its exact id."""
    rows = cursor.execute(_FIND_RUN, (run_id,)).fetchall() if is_storable(run_id) else []
    return opened_run(rows[0]) if rows else None


def existing_run(cursor: Cursor, run_id: str) -> RunRecord:
    """The row of a run that must be there.

    Raises:
        RunNotFoundError: it is not; the error names the nearest ids.
    """
    record = find_run(cursor, run_id)
    if record is None:
        raise RunNotFoundError(run_id, nearest=nearest(run_id, [known.run_id for known in all_runs(cursor)]))
    return record


def owned_runs(cursor: Cursor, workflow: str) -> list[RunRecord]:
    """The runs of a workflow that somebody owns, dead or alive."""
    return [opened_run(row) for row in cursor.execute(_RUNNING, (workflow,)).fetchall()]


def all_runs(cursor: Cursor) -> list[RunRecord]:
    """Every run, the latest started first.

    The rows come from the table and their number from its index, so that neither can lose one unnoticed.
    """
    rows = cursor.execute(_ALL_RUNS).fetchall()
    indexed = {run_id for (run_id,) in cursor.execute("SELECT run_id FROM runs INDEXED BY runs_by_run_id")}
    records = [opened_run(row) for row in rows]
    if indexed != {record.run_id for record in records}:
        raise StoreDamagedError(f"the store is damaged: its list of runs has lost some; {RESTORE}")
    return records


def find_tail(cursor: Cursor, record: RunRecord) -> HeldRun:
    """The run with the end of its chain, ready to be written to."""
    found = cursor.execute(_SELECT_TAIL, (record.key,)).fetchall()
    batch, last_seq, batch_sum = found[0] if found else (0, 0, b"")
    check_tail(cursor, record, batch, last_seq)
    return HeldRun(evolve(record, last_seq=last_seq), batch_sum)


def check_tail(cursor: Cursor, record: RunRecord, batch: int, last_seq: int) -> None:
    """See that a run whose last batch is this one has lost none after it.

    The row knows the last number of a run that nobody owns. Of one that was cut off it knows a number that was passed:
    there the batches that came later in the table are searched, past the index that may have lost them.

    Raises:
        StoreDamagedError: there must be more.
    """
    is_exact = record.owner is None
    lost = last_seq != record.last_seq if is_exact else last_seq < record.last_seq
    if not lost and not is_exact:
        lost = cursor.execute(_SEARCH_TAIL, (batch, _SEARCHED_TAIL, record.key)).get != 0
    if lost:
        raise damaged(record.run_id, last_seq + 1, "what follows is missing")


def damaged(run_id: str, seq: int, what: str) -> StoreDamagedError:
    """The error for a run that is not what was written."""
    return StoreDamagedError(
        f"run {run_id!r} is damaged at event {seq}: {what}; {RESTORE} (other runs can still be read)"
    )


def opened_run(row: tuple[Any, ...]) -> RunRecord:
    """A row of `runs`, once its seal is found whole."""
    try:
        key, run_id, workflow, definition, owner, status, generation, started_at, ended_at, *rest = row
        last_seq, cursor, delivery_sum, written = rest
        summary = RunSummary(status, generation, started_at, ended_at)
        record = RunRecord(key, run_id, workflow, definition, owner, summary, last_seq, cursor, delivery_sum)
        is_whole = record.columns()[-1] == written
    except (TypeError, ValueError):
        is_whole, record = False, None
    if record is None or not is_whole:
        raise StoreDamagedError(f"the row of run {row[1]!r} is damaged; {RESTORE}")
    return record
