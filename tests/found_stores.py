"""What a fresh journal finds in a SQLite store that was left behind, and whether it can go on from there."""

from __future__ import annotations

from typing import Any

from journal_cases import contents, create, step

from actorflow.journal import Append
from actorflow.journal.sqlite import SqliteJournal


def said(journal: SqliteJournal) -> list[Any]:
    """All that a store says but who owns what, which ends with the process."""
    runs = [row.run_id for row in journal.runs()]
    checkpoints = [journal.checkpoint(run) for run in runs]
    saved = [each and (each.seq, each.body, list(each.rows)) for each in checkpoints]
    return [contents(journal), saved, dict(journal.snapshots()), journal.is_asked(1)]


def found_in(path: str) -> list[Any]:
    """What a fresh process finds, and leaves as it is."""
    journal = SqliteJournal(path)
    try:
        return said(journal)
    finally:
        journal.abandon()


def faults_of_going_on(path: str, vfs: str) -> list[str]:
    """What is wrong with a store once somebody has taken all of its runs and written to them."""
    journal = SqliteJournal(path, vfs=vfs)
    journal._wal._due_pages = 1
    refused = journal.commit([create("next")])
    for row in journal.runs():
        journal.claim(row.run_id)
        refused += journal.commit([Append(row.run_id, row.last_seq + 1, step(9))])
    journal.maintain()
    problems = [f"{outcome!r}" for outcome in refused if outcome is not None]
    problems += [each.text for each in journal.examine() if each.level == "problem"]
    before = said(journal)
    journal.close()
    return problems if found_in(path) == before else [*problems, "it forgets"]
