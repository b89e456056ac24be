"""The inbox: what other processes want of a run, as rows that its owner finds and its answer removes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from attrs import evolve

from actorflow.errors import StoreDamagedError
from actorflow.journal.driver import Cursor
from actorflow.journal.protocol import Request, RequestKind
from actorflow.journal.records import HeldRun, seal
from actorflow.journal.remedy import RESTORE
from actorflow.journal.store import patiently

_INSERT: Final = "INSERT INTO inbox (run_id, kind, body, at, pid, sum) VALUES (?, ?, ?, ?, ?, ?) RETURNING id"
_SELECT: Final = """SELECT id, run_id, kind, CAST(body AS BLOB), at, pid, sum FROM inbox
WHERE run_id IN (SELECT run_id FROM runs WHERE owner = ?) ORDER BY id"""
_DELETE: Final = "DELETE FROM inbox WHERE id IN (SELECT value FROM json_each(?)) RETURNING id"
_LAST: Final = "SELECT coalesce(max(id), 0) FROM inbox WHERE run_id = ?"

_logger = logging.getLogger("actorflow.journal")


class Inbox:
    """What is asked of the runs of one owner, as its writing connection has seen it last.

    SQLite counts for each connection the commits of all others (`PRAGMA data_version`), so that looking again costs a few
    microseconds while nobody else has written. What the connection wrote itself it has to say: see `look_anew`.
    """

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._version: int | None = None
        self._requests: list[Request] = []  #: as of the last `read`, oldest first
        self._damaged: set[int] = set()  #: what has been told of

    def look_anew(self) -> None:
        """Take what was read before for outdated."""
        self._version = None

    def is_outdated(self) -> bool:
        """Whether what was read may not be all, or the owner's own row another one."""
        return self._data_version() != self._version

    def read(self, owner: int) -> None:
        """Read what is asked of the runs of an owner. A row that is not what was written is nobody's, and told of once."""
        # the version first: what is written in between will be read once more, and not be missed
        version = self._data_version()
        rows = patiently(lambda: self._cursor.execute(_SELECT, (owner,)).fetchall())
        self._requests = [request for row in rows if (request := self._opened(row)) is not None]
        self._version = version

    def of(self, held: Mapping[str, HeldRun]) -> list[Request]:
        """What is asked of the runs that are held, as of the last `read`; each knows whether it is older than the claim."""
        return [
            evolve(request, is_older=True) if request.id <= held[request.run_id].last_request else request
            for request in self._requests
            if request.run_id in held
        ]

    def _opened(self, row: tuple[Any, ...]) -> Request | None:
        try:
            return _opened(row)
        except StoreDamagedError as error:
            if row[0] not in self._damaged:
                self._damaged.add(row[0])
                _logger.error("%s", error)  # noqa: TRY400 - where in the code it was seen is of no interest
            return None

    def _data_version(self) -> int:
        version: int = patiently(lambda: self._cursor.execute("PRAGMA data_version").get)
        return version


def put_request(cursor: Cursor, run_id: str, kind: RequestKind, body: bytes, at: float) -> int:
    """Write a request of this process, inside a transaction; its number."""
    row = (run_id, kind, body.decode(), float(at), os.getpid())
    number: int = cursor.execute(_INSERT, (*row, _seal(row))).get
    return number


def drop_requests(cursor: Cursor, numbers: Sequence[int]) -> int:
    """Remove requests, inside a transaction; how many there were."""
    return len(cursor.execute(_DELETE, (orjson.dumps(list(numbers)).decode(),)).fetchall())


def last_request(cursor: Cursor, run_id: str) -> int:
    """The number of the latest request to a run; 0 where there is none."""
    number: int = cursor.execute(_LAST, (run_id,)).get
    return number


def is_request(cursor: Cursor, number: int) -> bool:
    """Whether a request is there."""
    return bool(cursor.execute("SELECT 1 FROM inbox WHERE id = ?", (number,)).fetchall())


def _opened(row: tuple[Any, ...]) -> Request:
    number, run_id, kind, body, at, pid, written = row
    try:
        is_whole = _seal((run_id, kind, body.decode(), at, pid)) == written
    except UnicodeDecodeError:
        is_whole = False
    if not is_whole:
        raise StoreDamagedError(
            f"request {number} to run {run_id!r} is damaged; drop it by removing its row from the table 'inbox', or {RESTORE}"
        )
    return Request(number, run_id, kind, orjson.loads(body), at, pid)


def _seal(row: tuple[Any, ...]) -> bytes:
    return seal(b"", orjson.dumps(("request", *row)))
