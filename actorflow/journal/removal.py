"""How a run leaves a store: with all that is only its own, in one transaction."""

from __future__ import annotations

from typing import Final

from actorflow.journal.driver import Cursor
from actorflow.journal.owners import fence, sweep
from actorflow.journal.records import RunRecord

#: by the key of the run's row
_DROP_BY_KEY: Final = (
    "DELETE FROM batches WHERE run = ?",
    "DELETE FROM deliveries WHERE run = ?",
    "DELETE FROM outbox WHERE run = ?",
    """DELETE FROM blobs WHERE hash IN (
  SELECT hash FROM blob_uses AS its WHERE run = ?1
  AND NOT EXISTS (SELECT 1 FROM blob_uses AS others WHERE others.hash = its.hash AND others.run <> ?1)
)""",
    "DELETE FROM blob_uses WHERE run = ?",
    "DELETE FROM checkpoints WHERE run = ?",
    "DELETE FROM runs WHERE id = ?",
)
_DROP_BY_RUN_ID: Final = (
    "DELETE FROM dead_letters WHERE run_id = ?",
    "DELETE FROM letter_bodies WHERE run_id = ?",
    "DELETE FROM inbox WHERE run_id = ?",
)

DROP_DEFINITION: Final = """DELETE FROM definitions WHERE hash = ?1
AND NOT EXISTS (SELECT 1 FROM runs WHERE definition = ?1)
AND NOT EXISTS (SELECT 1 FROM checked_definitions WHERE definition = ?1)"""
"""Remove a definition that nothing names any more."""


def remove_run(cursor: Cursor, store: str, record: RunRecord) -> None:
    """Remove a run that nobody alive owns, inside a transaction that has a batch of its own already.

    That batch keeps the highest id: the ids of commits must never go down, and those of this run may be the last. Should
    the run's owner not be dead after all, it is fenced off.
    """
    for statement in _DROP_BY_KEY:
        cursor.execute(statement, (record.key,))
    for statement in _DROP_BY_RUN_ID:
        cursor.execute(statement, (record.run_id,))
    cursor.execute(DROP_DEFINITION, (record.definition,))
    if record.owner is not None:
        fence(cursor, record.owner)
        sweep(cursor, store)
