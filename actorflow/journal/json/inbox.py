"""The inbox of a JSON store: a file for each request, which any process may put there, whoever writes to the store.

Its owner finds it there, and notes in a commit of its own that it was answered, before the file goes: one that is still there
after a crash is not heard again.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

import orjson

from actorflow.errors import StoreDamagedError
from actorflow.journal.files import flush_folder, make_folder
from actorflow.journal.json.documents import SUFFIX, names_in, read_sealed, write_sealed
from actorflow.journal.json.log import opened, read_all, write_all
from actorflow.journal.protocol import Request, RequestKind

_COUNTER: Final = "last"

_logger = logging.getLogger("actorflow.journal")


class JsonInbox:
    """Requests as files in a folder, which is made with the first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[int, Request | None] = {}  #: by their numbers; None: damaged, and told of

    def put(self, run_id: str, kind: RequestKind, body: bytes, at: float, answered: Iterable[int]) -> int:
        """Keep a request, flushed; its number is higher than those of all before it.

        Args:
            run_id: the run's whole id.
            kind: what is wanted.
            body: JSON.
            at: the time of who asks.
            answered: numbers that must not be given again.

        Raises:
            OSError: it cannot be written.
        """
        make_folder(self._folder)
        with opened(self._folder / _COUNTER, os.O_RDWR | os.O_CREAT) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX)
            counted = read_all(fd, 0).strip()
            last = int(counted) if counted.isdigit() else 0
            number = 1 + max(last, *self._numbers(), *answered, 0)
            write_all(fd, b"%d\n" % number, 0)
            about = (number, run_id, kind, float(at), os.getpid())
            write_sealed(self._path(number), number, ("request", *about, orjson.Fragment(body)))
        return number

    def requests(self) -> list[Request]:
        """All that are there, oldest first. One that is damaged is passed over, and told of once.

        Raises:
            OSError: they cannot be read.
        """
        there = sorted(self._numbers())
        self._read = {
            number: self._read[number] if number in self._read else self._opened(number) for number in there
        }
        return [request for request in self._read.values() if request is not None]

    def has(self, number: int) -> bool:
        """Whether a request is there."""
        return self._path(number).exists()

    def drop(self, numbers: Collection[int]) -> None:
        """Remove requests.

        Raises:
            OSError: they cannot be.
        """
        gone = {*numbers} and {*numbers}.intersection(self._numbers())
        for number in gone:
            self._path(number).unlink(missing_ok=True)
        if gone:
            flush_folder(self._folder)

    def _numbers(self) -> list[int]:
        return [int(name) for name in names_in(self._folder) if name.isdigit()]

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}{SUFFIX}"

    def _opened(self, number: int) -> Request | None:
        try:
            _, _, run_id, kind, at, pid, body = read_sealed(self._path(number))
        except FileNotFoundError:
            return None  # withdrawn meanwhile
        except (StoreDamagedError, ValueError) as error:
            _logger.error("%s", error)  # noqa: TRY400 - where in the code it was seen is of no interest
            return None
        return Request(number, run_id, kind, body, at, pid)
