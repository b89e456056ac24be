"""Circuit breakers as rows of a store: asked and told within one transaction, written only where that changes them.

What a breaker decides is `core.breaker`'s business. A row that is not as written is an error for who asks: taken for a
closed breaker it would let everything through, taken for an open one it would hold everybody up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import orjson
from attrs import astuple

from actorflow.core import breaker as rules
from actorflow.core.breaker import CLOSED, Allowed, Breaker, Counted, Refused
from actorflow.errors import StoreDamagedError
from actorflow.journal.admission import run_of_probe
from actorflow.journal.driver import Cursor
from actorflow.journal.protocol import AskBreaker, TellBreaker
from actorflow.journal.records import seal
from actorflow.journal.remedy import RESTORE

_SELECT: Final = "SELECT CAST(body AS BLOB), sum FROM breakers WHERE key = ?"
_REPLACE: Final = "INSERT OR REPLACE INTO breakers (key, body, sum) VALUES (?, ?, ?)"


def find_breaker(cursor: Cursor, key: str) -> Breaker:
    """What is kept under a key; a closed breaker where nothing is.

    Raises:
        StoreDamagedError: the row is not what was written.
    """
    rows = cursor.execute(_SELECT, (key,)).fetchall()
    if not rows:
        return CLOSED
    body, written = rows[0]
    if seal_breaker(key, body) != written:
        raise StoreDamagedError(
            f"the circuit breaker {key!r} is damaged, and nobody can say whether it is open; close it by removing its "
            f"row from the table 'breakers', or {RESTORE}"
        )
    failures, *rest = orjson.loads(body)
    return Breaker(tuple((at, attempt) for at, attempt in failures), *rest)


def ask_breaker(
    cursor: Cursor, asked: AskBreaker, is_owned: Callable[[str], bool]
) -> tuple[Allowed | Refused, bool]:
    """Answer a question inside a transaction; whether that changed the breaker.

    Args:
        cursor: of the transaction.
        asked: the question, and when.
        is_owned: says of a run whether anybody alive owns it.

    Raises:
        StoreDamagedError: the row is not what was written.
    """
    question = asked.question
    before = find_breaker(cursor, question.key)
    is_held = before.probe is not None and is_owned(run_of_probe(before.probe))
    after, answer = rules.ask(before, question, asked.at, is_probe_held=is_held)
    return answer, _replace(cursor, question.key, before, after)


def tell_breaker(cursor: Cursor, told: TellBreaker) -> tuple[Counted, bool]:
    """Count an outcome inside a transaction; whether that changed the breaker.

    Raises:
        StoreDamagedError: the row is not what was written.
    """
    key = told.report.key
    before = find_breaker(cursor, key)
    after, answer = rules.report(before, told.report, told.at)
    return answer, _replace(cursor, key, before, after)


def _replace(cursor: Cursor, key: str, before: Breaker, after: Breaker) -> bool:
    if after == before:
        return False
    body = orjson.dumps(astuple(after, recurse=False))
    cursor.execute(_REPLACE, (key, body.decode(), seal_breaker(key, body)))
    return True


def seal_breaker(key: str, body: bytes) -> bytes:
    """The checksum of a breaker's row."""
    return seal(b"", orjson.dumps(("breaker", key)), body)
