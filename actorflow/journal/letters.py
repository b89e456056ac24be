"""Dead letters as rows of a store, each with a seal of its own that goes on from that of its body.

They are an index for an operator: the event behind each says more, and the run is what it is without it. That of a delivery
has a body, which is kept apart from what `dead_letters` lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from actorflow.errors import StoreDamagedError
from actorflow.journal.codec import decode_record, encode_record
from actorflow.journal.driver import Cursor
from actorflow.journal.plain import is_storable
from actorflow.journal.protocol import DeadLetter
from actorflow.journal.records import seal
from actorflow.journal.remedy import RESTORE

_REPLACE: Final = """INSERT OR REPLACE INTO dead_letters (letter_id, kind, run_id, task, reason, at, seq, sum)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_REPLACE_BODY: Final = (
    "INSERT OR REPLACE INTO letter_bodies (letter_id, run_id, body, sum) VALUES (?, ?, ?, ?)"
)
_SELECT: Final = """SELECT letter_id, kind, dead_letters.run_id, task, reason, at, seq,
  coalesce(letter_bodies.sum, x''), dead_letters.sum
FROM dead_letters LEFT JOIN letter_bodies USING (letter_id) ORDER BY at, id"""
_SELECT_BODY: Final = """SELECT letter_id, kind, dead_letters.run_id, task, reason, at, seq,
  CAST(body AS BLOB), dead_letters.sum
FROM dead_letters LEFT JOIN letter_bodies USING (letter_id) WHERE letter_id = ?"""
_FIND: Final = """SELECT letter_id FROM dead_letters
WHERE run_id = ?1 AND (kind = 'task' AND task IN (SELECT value FROM json_each(?2))
  OR kind = 'delivery' AND letter_id IN (SELECT value FROM json_each(?3)))"""
_DROP: Final = "DELETE FROM dead_letters WHERE letter_id IN (SELECT value FROM json_each(?)) RETURNING id"
_DROP_BODIES: Final = "DELETE FROM letter_bodies WHERE letter_id IN (SELECT value FROM json_each(?))"


def all_letters(cursor: Cursor) -> list[DeadLetter]:
    """Every dead letter, the oldest first.

    Raises:
        StoreDamagedError: a row is not what was written, or its body is gone.
    """
    found: list[DeadLetter] = []
    for *values, body_sum, written in cursor.execute(_SELECT).fetchall():
        letter = DeadLetter(*values)
        if letter_columns(letter, body_sum)[-1] != written:
            raise _damaged(letter.id)
        found.append(letter)
    return found


def find_body(cursor: Cursor, letter_id: str) -> Mapping[str, Any] | None:
    """What was kept with a dead letter; None where nothing was, or where there is no such letter.

    Raises:
        StoreDamagedError: it, or the letter, is not what was written.
    """
    rows = cursor.execute(_SELECT_BODY, (letter_id,)).fetchall() if is_storable(letter_id) else []
    if not rows:
        return None
    *values, body, written = rows[0]
    body_sum = b"" if body is None else seal_body(letter_id, body)
    if letter_columns(DeadLetter(*values), body_sum)[-1] != written:
        raise _damaged(letter_id)
    return None if body is None else decode_record(body)


def keep_letter(cursor: Cursor, letter: DeadLetter, kept: Mapping[str, Any] | None) -> None:
    """Write a letter in place of one with its id; a `TypeError` says that no store can write its names or its body."""
    body = None if kept is None else encode_record(kept)
    body_sum = b"" if body is None else seal_body(letter.id, body)
    columns = letter_columns(letter, body_sum)
    cursor.execute(_DROP_BODIES, (_listed([letter.id]),))
    cursor.execute(_REPLACE, columns)
    if body is not None:
        cursor.execute(_REPLACE_BODY, (letter.id, letter.run_id, body.decode(), body_sum))


def drop_letters(cursor: Cursor, run_id: str, tasks: Sequence[str], ids: Sequence[str]) -> int:
    """Remove those of some tasks and deliveries of a run, with their bodies; how many there were."""
    rows = cursor.execute(_FIND, (run_id, _listed(tasks), _listed(ids))).fetchall()
    return purge_letters(cursor, [letter_id for (letter_id,) in rows])


def purge_letters(cursor: Cursor, ids: Sequence[str]) -> int:
    """Remove those with these ids, with their bodies; how many there were."""
    listed = _listed(ids)
    cursor.execute(_DROP_BODIES, (listed,))
    return len(cursor.execute(_DROP, (listed,)).fetchall())


def letter_columns(letter: DeadLetter, body_sum: bytes) -> tuple[Any, ...]:
    """The row of a letter without its id, sealed, after the checksum of its body."""
    values = (letter.id, letter.kind, letter.run_id, letter.task, letter.reason, float(letter.at), letter.seq)
    return (*values, seal(body_sum, orjson.dumps(("dead letter", *values))))


def seal_body(letter_id: str, body: bytes) -> bytes:
    """The checksum of the row of a letter's body."""
    return seal(b"", orjson.dumps(("letter body", letter_id)), body)


def _damaged(letter_id: str) -> StoreDamagedError:
    return StoreDamagedError(f"the dead letter {letter_id!r} is damaged; purge it, or {RESTORE}")


def _listed(names: Sequence[str]) -> str:
    return orjson.dumps(list(names)).decode()
