"""The folder of a JSON store: a file of lines for each run, and one for what they share.

A commit is a line in each file that it concerns. It holds once all of its lines are there; who writes says so in the mark
(see `mark`) before anybody is told. So whatever the mark covers has to be there: what is not is damage. Of what is behind it,
one commit may be torn: the last one, whose writer was killed. Who reads passes that over; who writes next cuts it off.

Commits that nobody has to wait for are not flushed, until one is; then all files are that have any of them. The mark does not
cover them, and after a power cut any of their lines may be missing or torn: what is left of them is cut off from the first
that is not whole. Lines say themselves which commits in front of them were flushed, and so have to be there, mark or not.
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
from actorflow.journal.json.line import Line, flushed_behind
from actorflow.journal.json.log import JsonLog
from actorflow.journal.json.names import EVENTS, MARK_FILE, STORE_FILE
from actorflow.journal.mark import Mark, read_latest, read_mark

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
        self._flushed = 0  #: the last of those that are known to survive a power cut
        self._logs: dict[str, JsonLog] = {}  #: by their names
        self._run_ids: dict[str, str] = {STORE_FILE: STORE}  #: by the names of their files
        self._removed: set[str] = set()  #: names of files that should be gone
        self._mark: Mark | None = None
        self._refuse_newer()

    def acknowledged(self) -> int:
        """The number of a commit up to which all is kept for certain."""
        return read_mark(str(self.root / MARK_FILE))

    def sign(self) -> tuple[int, int]:
        """Another one when there is more to read."""
        return read_latest(str(self.root / MARK_FILE))

    def news(self, *, is_still: bool) -> list[list[NamedLine]]:
        """Take the commits that have come since, and say what they are, in order.

        Args:
            is_still: nobody writes meanwhile, and so all must be there that any line says was flushed.

        Raises:
            StoreDamagedError: something is missing, or not as written; or was removed while it was read. What was taken
                before is of no use then.
            OSError: a file cannot be read.
        """
        acknowledged = self.acknowledged()
        found = [_Found(log, *log.read()) for log in self._grown()]
        commits = list(self._whole(found))
        last = self.commit + len(commits)
        flushed = max(acknowledged, _said_flushed(found)) if is_still else acknowledged
        if last < flushed:
            raise self._damaged(found, last + 1)
        self._flushed = max(self._flushed, flushed)
        return [self._taken(commit) for commit in commits]

    def cut_tail(self) -> None:
        """Cut off what is left of commits that were lost, and of runs that were being removed.

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
            if self.sign()[1] > self.commit:  # one of those that were cut off, and whose number comes again
                self._mark.note(self.commit)

    def append(self, parts: Parts, *, is_flushed: bool = True) -> None:
        """Keep the facts of a commit in their files.

        Args:
            parts: the facts.
            is_flushed: the commit survives a power cut, and with it all before it.

        Raises:
            TypeError: one is not JSON.
            OSError: they may be kept or not: the store has to be given up.
        """
        number = self.commit + 1
        for run_id, facts in parts.items():
            name = self.events_name(run_id)
            self._log(name).append(number, len(parts), facts, flushed=self._flushed, is_flushed=is_flushed)
            self._run_ids[name] = run_id
            self._removed.discard(name)
        self.commit = number
        if is_flushed:
            if self._flushed < number - 1:
                self._flush_all_but({self.events_name(run_id) for run_id in parts})
            self._vouch()
        elif self._mark is not None:
            self._mark.note(number)

    def flush(self) -> None:
        """Have all that is committed survive a power cut; costs nothing where it does.

        Raises:
            OSError: it may survive or not: the store has to be given up.
        """
        if self._flushed < self.commit:
            self._flush_all_but(set())
            self._vouch()

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

    def _flush_all_but(self, done: set[str]) -> None:
        for name, log in self._logs.items():
            if name not in done:
                log.flush(self._flushed)

    def _vouch(self) -> None:
        """All that is committed is flushed."""
        self._flushed = self.commit
        if self._mark is not None:
            self._mark.raise_to(self.commit)

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


def _said_flushed(found: Iterable[_Found]) -> int:
    """The number of a commit up to which all was flushed, as the lines say that were found."""
    highest = 0
    for each in found:
        highest = max(highest, *(line.flushed for line in each.lines), 0)
        if each.bad_at is not None:
            highest = max(highest, flushed_behind(each.log.path.read_bytes()[each.bad_at :]))
    return highest


def _removals(line: Line) -> Iterator[tuple[str, Ranges]]:
    for fact in line.facts:
        if fact[0] == "removed":
            yield fact[1], fact[2]


def _rank(line: Line) -> int:
    """Runs that one commit has made were made in some order; nothing else in a commit depends on any."""
    fact: Mapping[int, Any] | Sequence[Any] = line.facts[0]
    return int(fact[-1]) if fact[0] == "run" else -1
