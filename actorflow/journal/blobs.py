"""Large values, kept apart from the rows that have them, under the hash of their JSON.

A row of values in which some are large becomes a row with null in their places and a mark that says which blob belongs
where. A value that many rows have, such as an output that is handed on from task to task, is kept once.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, MutableSequence, Sequence
from hashlib import sha256
from typing import Any, Final, TypeAlias

import orjson

from actorflow.errors import StoreDamagedError
from actorflow.journal.plain import encode
from actorflow.journal.remedy import RESTORE

BLOB_BYTES: Final = 65_536
"""Values whose JSON is longer are kept apart."""

Fetch: TypeAlias = Callable[[str], bytes]
"""Gives the JSON of a blob by its hash; raises `StoreDamagedError` if it is gone or not what it was."""

_SMALL: Final = frozenset({int, float, bool, type(None)})

#: each character of a text has at most six bytes in JSON
_SMALL_TEXT: Final = BLOB_BYTES // 6 - 2


def set_apart(row: Sequence[Any], blobs: MutableMapping[str, bytes]) -> tuple[Sequence[Any], dict[str, str]]:
    """Move the large values of a row into `blobs`; the row without them, and the mark that brings them back.

    Raises:
        TypeError: a value is not JSON.
    """
    values: list[Any] = list(row)
    mark: dict[str, str] = {}
    for index, value in enumerate(row):
        if _is_small(value):
            continue
        body = encode(value)
        if len(body) <= BLOB_BYTES:
            values[index] = orjson.Fragment(body)
            continue
        name = sha256(body).hexdigest()
        values[index], mark[str(index)], blobs[name] = None, name, body
    return values, mark


def put_back(row: MutableSequence[Any], mark: Any, fetch: Fetch) -> None:
    """Undo `set_apart`, with whatever was read as its mark.

    Raises:
        StoreDamagedError: a blob is gone, or not what it was.
        TypeError, ValueError, LookupError, AttributeError: this is no mark of such a row.
    """
    for index, name in mark.items():
        row[int(index)] = orjson.loads(fetch(name))


def _is_small(value: object) -> bool:
    """Whether the JSON of a value is short for certain, as far as its kind tells."""
    if isinstance(value, str):
        return len(value) <= _SMALL_TEXT
    return type(value) in _SMALL or (isinstance(value, dict) and not value)


def no_blob(name: str) -> bytes:
    """The `Fetch` of a journal that keeps nothing apart."""
    raise StoreDamagedError(f"a value was kept apart as {name!r}, and this journal has none of these")


def checked_blob(run_id: str, name: str, body: object) -> bytes:
    """A blob as it was found in a store, once it is known to be what was written.

    Raises:
        StoreDamagedError: there is none, or it was changed.
    """
    if not isinstance(body, bytes):
        what = "is missing"
    elif sha256(body).hexdigest() != name:
        what = "was changed"
    else:
        return body
    raise StoreDamagedError(
        f"run {run_id!r} is damaged: its blob {name} {what}; {RESTORE} (other runs can still be read)"
    )
