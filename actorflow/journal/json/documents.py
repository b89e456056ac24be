"""Files of one sealed line each, which are there whole or not at all: requests, and snapshots that people save."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import orjson
from attrs import frozen

from actorflow.errors import StoreDamagedError
from actorflow.journal.files import file_name, flush, flush_folder, make_folder
from actorflow.journal.json.line import Fact, first_sum, read_lines, write_line
from actorflow.journal.json.log import opened, read_all, write_all

SUFFIX: Final = ".json"
_UNFINISHED: Final = ".new"


def replace_file(path: Path, content: bytes, *, is_flushed: bool = True) -> None:
    """Write a file in place of the one that has its name; nobody sees half of it.

    Args:
        path: of the file, in a folder that is there.
        content: of it.
        is_flushed: it survives a power cut.

    Raises:
        OSError: it cannot be written.
    """
    new = path.with_name(f"{path.name}.{os.getpid()}{_UNFINISHED}")
    with opened(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC) as fd:
        write_all(fd, content, 0)
        if is_flushed:
            flush(fd)
    new.replace(path)
    if is_flushed:
        flush_folder(path.parent)


def write_sealed(path: Path, number: int, fact: Fact) -> None:
    """Write a file of one line; its folder is made if it is not there.

    Raises:
        TypeError: a value is not JSON.
        OSError: it cannot be written.
    """
    line, _ = write_line(first_sum(path.name), number, 1, [fact])
    make_folder(path.parent)
    replace_file(path, line)


def read_sealed(path: Path) -> Sequence[Any]:
    """The fact that `write_sealed` wrote.

    Raises:
        StoreDamagedError: it is another by now.
        FileNotFoundError: there is no such file.
    """
    with opened(path, os.O_RDONLY) as fd:
        content = read_all(fd, 0)
    lines, bad_at = read_lines(content, first_sum(path.name), 0)
    if len(lines) != 1 or bad_at is not None:
        raise StoreDamagedError(f"{path}: the file is damaged; remove it, or restore it from a copy")
    fact: Sequence[Any] = lines[0].facts[0]
    return fact


def names_in(folder: Path) -> Iterator[str]:
    """The names of such files in a folder, without their suffix."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(SUFFIX):
                yield entry.name.removesuffix(SUFFIX)


@frozen
class JsonSnapshots:
    """Documents by name, each in a file of its own; any process may write them."""

    folder: Path

    def save(self, name: str, body: bytes) -> None:
        """Keep a document's JSON in place of the one before.

        Raises:
            OSError: it cannot be written.
        """
        write_sealed(self._path(name), 0, ("snapshot", name, orjson.Fragment(body)))

    def all(self) -> Mapping[str, Mapping[str, Any]]:
        """All of them, by name.

        Raises:
            StoreDamagedError: one is not what was written.
        """
        found: dict[str, Mapping[str, Any]] = {}
        for each in names_in(self.folder):
            try:
                _, name, body = read_sealed(self.folder / f"{each}{SUFFIX}")
            except FileNotFoundError:
                continue  # removed meanwhile
            found[name] = body
        return dict(sorted(found.items()))

    def remove(self, name: str) -> bool:
        """Remove one; whether it was there."""
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            return False
        flush_folder(self.folder)
        return True

    def _path(self, name: str) -> Path:
        return self.folder / f"{file_name(name)}{SUFFIX}"


@frozen
class RunDocuments:
    """The states of runs as files for people, which nobody reads back: never flushed, and rather old than half."""

    folder: Path

    def keep(self, run_id: str, content: bytes) -> None:
        """Write the state of a run in place of the one before.

        Raises:
            OSError: it cannot be written.
        """
        replace_file(self.folder / f"{file_name(run_id)}{SUFFIX}", content, is_flushed=False)
