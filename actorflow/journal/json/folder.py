"""The folder of a JSON store: a file of lines for each run, and one for what they share.

A commit is a line in each file that it concerns. It holds once all of its lines are there; who writes says so in the mark
(see `mark`) before anybody is told. So whatever the mark covers has to be there: what is not is damage. Of what is behind it,
one commit may be torn: the last one, whose writer was killed. Who reads passes that over; who writes next cuts it off.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson
from attrs import define, frozen

from actorflow.errors import StoreDamagedError, StoreUnusableError
from actorflow.journal.files import file_name, flush_folder
from actorflow.journal.json.facts import FORMAT, STORE, Parts
from actorflow.journal.json.line import Line
from actorflow.journal.json.log import JsonLog
from actorflow.journal.json.names import EVENTS, MARK_FILE, STORE_FILE
from actorflow.journal.mark import Mark, read_mark

_MEND: Final = "restore the folder from a copy"

Ranges: TypeAlias = Sequence[Sequence[int]]
"""Numbers of commits: first and last of each stretch."""


@frozen
class NamedLine:
    """What one file says of a commit."""

    name: str  #: the run whose file it is, or `STORE`
    facts: Sequence[Sequence[Any]]


@define
class _Found:
    """What a file has that was not taken yet."""

    log: JsonLog
    lines: list[Line]
    bad_at: int | None  #: where what cannot be read begins


class JsonFolder:
    """The files of a folder, as far as their commits were taken: read, or written here.

    Args:
        root: the folder, which is there.

    Raises:
        StoreUnusableError: a later version has written it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.commit = 0  #: the last that was taken
        self._logs: dict[str, JsonLog] = {}  #: by their names
        self._run_ids: dict[str, str] = {STORE_FILE: STORE}  #: by the names of their files
        self._removed: set[str] = set()  #: names of files that should be gone
        self._mark: Mark | None = None
        self._refuse_newer()

    def acknowledged(self) -> int:
        """The number of a commit up to which all is kept for certain."""
        return read_mark(str(self.root / MARK_FILE))

    def news(self, *, is_still: bool) -> list[list[NamedLine]]:
        """Take the commits that have come since, and say what they are, in order.

        Args:
            is_still: nobody writes meanwhile, and so all but the last commit must be whole.

        Raises:
            StoreDamagedError: something is missing, or not as written; or was removed while it was read. What was taken
                before is of no use then.
            OSError: a file cannot be read.
        """
        acknowledged = self.acknowledged()
        found = [_Found(log, *log.read()) for log in self._grown()]
        commits = list(self._whole(found))
        last = self.commit + len(commits)
        if last < acknowledged or (is_still and _has_more(found, last)):
            raise self._damaged(found, last + 1)
        return [self._taken(commit) for commit in commits]

    def cut_tail(self) -> None:
        """Cut off what is left of a commit whose writer was killed, and of runs that were being removed.

        All else was taken before, with `is_still`, and nobody has written since.

        Raises:
            OSError: it cannot be cut.
        """
        self._sweep()
        for log in list(self._grown()):
            log.cut()
            if not log.size:
                del self._logs[log.path.name]
        if self._mark is None:
            self._mark = Mark(str(self.root / MARK_FILE))

    def append(self, parts: Parts) -> None:
        """Keep the facts of a commit in their files, flushed.

        Raises:
            TypeError: one is not JSON.
            OSError: they may be kept or not: the store has to be given up.
        """
        number = self.commit + 1
        for run_id, facts in parts.items():
            name = self.events_name(run_id)
            self._log(name).append(number, len(parts), facts)
            self._run_ids[name] = run_id
            self._removed.discard(name)
        self.commit = number
        if self._mark is not None:
            self._mark.raise_to(number)

    def commits_of(self, run_id: str) -> Ranges:
        """The numbers of the commits that have a line in a run's file."""
        return self._log(self.events_name(run_id)).ranges

    def remove(self, run_id: str) -> None:
        """Delete the files of a run that is said to be removed in the store's.

        Raises:
            OSError: they cannot be; the next who writes tries again.
        """
        self._forget(self.events_name(run_id))
        self._sweep()

    @staticmethod
    def events_name(run_id: str) -> str:
        """The name of the file that has a run, or what all share."""
        return f"{file_name(run_id)}{EVENTS}" if run_id != STORE else STORE_FILE

    def close(self) -> None:
        """Let go of what is open; idempotent."""
        if self._mark is not None:
            self._mark.close()
            self._mark = None

    def _log(self, name: str) -> JsonLog:
        return self._logs.setdefault(name, JsonLog(self.root / name))

    def _grown(self) -> Iterator[JsonLog]:
        """The files that have more than was taken of them; of runs that were removed, none.

        So a later run of the same id, if others have made it, is met as something that is missing: by reading all anew.

        Raises:
            StoreDamagedError: one has less, or is gone.
        """
        sizes = dict(_sizes(self.root))
        for name, log in self._logs.items():
            if sizes.get(name, 0) < log.size:
                raise StoreDamagedError(f"{log.path}: the file was cut or removed; {_MEND}")
        for name, size in sorted(sizes.items()):
            if name not in self._removed and size > self._log(name).size:
                yield self._log(name)

    def _whole(self, found: Iterable[_Found]) -> Iterator[list[tuple[JsonLog, Line]]]:
        """The commits that follow the last one and are whole, in order."""
        lines = dict[int, list[tuple[JsonLog, Line]]]()
        files = dict[int, set[str]]()  # a removed run's may be there or not
        for each in found:
            for line in each.lines:
                lines.setdefault(line.commit, []).append((each.log, line))
                files.setdefault(line.commit, set()).add(each.log.path.name)
                for run_id, ranges in _removals(line):
                    for first, last in ranges:
                        for commit in range(max(first, self.commit + 1), last + 1):
                            files.setdefault(commit, set()).add(self.events_name(run_id))
        number = self.commit + 1
        while number in files:
            these = lines.get(number, [])
            if any(line.parts > len(files[number]) for _, line in these):
                return
            yield these
            number += 1

    def _taken(self, commit: Sequence[tuple[JsonLog, Line]]) -> list[NamedLine]:
        named: list[NamedLine] = []
        for log, line in sorted(commit, key=lambda each: _rank(each[1])):
            log.take(line)
            name = log.path.name
            if line.facts[0][0] == "run":
                self._run_ids[name] = line.facts[0][1]
                self._logs[name] = log  # one of the same id may have been removed by a commit before this one
                self._removed.discard(name)
            named.append(NamedLine(self._run_ids.get(name, name), line.facts))
            for run_id, _ in _removals(line):
                self._forget(self.events_name(run_id))
        self.commit += 1
        return named

    def _forget(self, name: str) -> None:
        self._logs.pop(name, None)
        self._run_ids.pop(name, None)
        self._removed.add(name)

    def _sweep(self) -> None:
        for name in self._removed:
            document = self.root / f"{name.removesuffix(EVENTS)}.json"
            for path in (self.root / name, document):
                path.unlink(missing_ok=True)
        if self._removed:
            flush_folder(self.root)
            self._removed.clear()

    def _damaged(self, found: Iterable[_Found], commit: int) -> StoreDamagedError:
        for each in found:
            if each.bad_at is not None:
                line = each.log.path.read_bytes()[: each.bad_at].count(b"\n") + 1
                return StoreDamagedError(
                    f"{each.log.path}:{line}: the store is damaged: the line is not what was written; {_MEND}"
                )
        return StoreDamagedError(
            f"the store {self.root} is damaged: of commit {commit} something is missing, so a file was cut or removed; "
            f"{_MEND}"
        )

    def _refuse_newer(self) -> None:
        """A later version may have written anything else behind its first line."""
        version: Any = None
        with (
            suppress(FileNotFoundError, ValueError, LookupError, TypeError),
            (self.root / STORE_FILE).open("rb") as file,
        ):
            version = orjson.loads(file.readline())["facts"][0][1]
        if isinstance(version, int) and version > FORMAT:
            raise StoreUnusableError(
                f"the store {self.root} was written by a newer version of actorflow (format {version}; this one knows "
                f"{FORMAT}): use that version"
            )


def _sizes(root: Path) -> Iterator[tuple[str, int]]:
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.name == STORE_FILE or entry.name.endswith(EVENTS):
                with suppress(FileNotFoundError):
                    yield entry.name, entry.stat(follow_symlinks=False).st_size


def _has_more(found: Iterable[_Found], last: int) -> bool:
    """Whether there is more behind a commit than parts of the next one, and torn ends."""
    for each in found:
        if any(line.commit > last + 1 for line in each.lines):
            return True
        if each.bad_at is not None and not _is_torn(each.log.path, each.bad_at):
            return True
    return False


def _is_torn(path: Path, at: int) -> bool:
    """Whether what begins there is the last line of its file."""
    return b"\n" not in path.read_bytes()[at:-1]


def _removals(line: Line) -> Iterator[tuple[str, Ranges]]:
    for fact in line.facts:
        if fact[0] == "removed":
            yield fact[1], fact[2]


def _rank(line: Line) -> int:
    """Runs that one commit has made were made in some order; nothing else in a commit depends on any."""
    fact: Mapping[int, Any] | Sequence[Any] = line.facts[0]
    return int(fact[-1]) if fact[0] == "run" else -1
