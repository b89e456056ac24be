"""Dead letters as rows of a store, each with a seal of its own.

They are an index for an operator: the event behind each says more, and the run is what it is without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from actorflow.errors import StoreDamagedError
from actorflow.journal.driver import Cursor
from actorflow.journal.protocol import DeadLetter
from actorflow.journal.records import seal

_REPLACE: Final = """INSERT OR REPLACE INTO dead_letters (letter_id, kind, run_id, task, reason, at, seq, sum)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_SELECT: Final = (
    "SELECT letter_id, kind, run_id, task, reason, at, seq, sum FROM dead_letters ORDER BY at, id"
)
_DROP: Final = """DELETE FROM dead_letters
WHERE run_id = ? AND kind = 'task' AND task IN (SELECT value FROM json_each(?)) RETURNING id"""
_PURGE: Final = "DELETE FROM dead_letters WHERE letter_id IN (SELECT value FROM json_each(?)) RETURNING id"


def all_letters(cursor: Cursor) -> list[DeadLetter]:
    """Every dead letter, the oldest first.

    Raises:
        StoreDamagedError: a row is not what was written.
    """
    found: list[DeadLetter] = []
    for *values, written in cursor.execute(_SELECT).fetchall():
        letter = DeadLetter(*values)
        if _columns(letter)[-1] != written:
            raise StoreDamagedError(
                f"the dead letter {letter.id!r} is damaged; purge it, or restore the store from a copy"
            )
        found.append(letter)
    return found


def keep_letter(cursor: Cursor, letter: DeadLetter) -> None:
    """Write a letter in place of one with its id; a `TypeError` says that no store can write its names."""
    cursor.execute(_REPLACE, _columns(letter))


def drop_letters(cursor: Cursor, run_id: str, tasks: Sequence[str]) -> int:
    """Remove those of some tasks of a run; how many there were."""
    return len(cursor.execute(_DROP, (run_id, _listed(tasks))).fetchall())


def purge_letters(cursor: Cursor, ids: Sequence[str]) -> int:
    """Remove those with these ids; how many there were."""
    return len(cursor.execute(_PURGE, (_listed(ids),)).fetchall())


def _columns(letter: DeadLetter) -> tuple[Any, ...]:
    values = (letter.id, letter.kind, letter.run_id, letter.task, letter.reason, float(letter.at), letter.seq)
    return (*values, seal(b"", orjson.dumps(("dead letter", *values))))


def _listed(names: Sequence[str]) -> str:
    return orjson.dumps(list(names)).decode()
