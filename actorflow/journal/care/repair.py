"""Rebuilding what is derived: rows of runs from their events; what belongs to nothing goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import evolve, frozen

from actorflow.journal.care.examination import LEFTOVERS, orphan_files
from actorflow.journal.driver import Cursor
from actorflow.journal.owners import sweep
from actorflow.journal.protocol import RunSummary
from actorflow.journal.records import UPDATE_RUN, RunRecord, find_run

__all__ = ["Rebuilt", "rebuild"]


@frozen(kw_only=True)
class Rebuilt:
    """What rows of runs have to say, as their events do."""

    summaries: Mapping[str, tuple[RunSummary, int]]  #: by run, with the number of its last event
    checkpoints: Sequence[str] = ()  #: runs whose checkpoint is wrong


def rebuild(cursor: Cursor, store: str, wanted: Rebuilt) -> list[str]:
    """Make it so, inside a transaction that has a batch of its own; what was done, in words.

    The batch keeps the highest id: the ids of commits must never go down. Runs that anybody owns are left alone, and
    those that have gone on, or are gone, since they were looked at.
    """
    done: list[str] = []
    for run_id, (summary, last_seq) in wanted.summaries.items():
        record = find_run(cursor, run_id)
        if record is not None and record.owner is None and _last_seq(cursor, record) == last_seq:
            mended = evolve(record, summary=summary, last_seq=last_seq)
            cursor.execute(UPDATE_RUN, (*mended.columns(), record.key))
            done.append(f"the row of run {run_id} says again what its events say")
    for run_id in wanted.checkpoints:
        record = find_run(cursor, run_id)
        if record is not None:
            cursor.execute("DELETE FROM checkpoints WHERE run = ?", (record.key,))
            done.append(f"the checkpoint of run {run_id} is removed; the run is folded from its events")
    for what, rows in LEFTOVERS.items():
        count = len(cursor.execute(f"DELETE FROM {rows} RETURNING 1").fetchall())  # noqa: S608 - ours  # nosec B608
        if count:
            done.append(f"removed {count:,} {what}")
    sweep(cursor, store)
    for path in orphan_files(cursor, store):
        with suppress(OSError):
            Path(path).unlink()
            done.append(f"removed {path}")
    return done


def _last_seq(cursor: Cursor, record: RunRecord) -> int:
    statement = "SELECT coalesce(max(first_seq + count - 1), 0) FROM batches WHERE run = ?"
    return int(cursor.execute(statement, (record.key,)).get)
