"""A disk that writes down what is asked of it, and what a power cut may leave of that.

What is assumed of a disk and its file system, and nothing more:

- A file that was flushed has, once the call returns, all that was written to it, and its length.
- Of what was written, cut or lengthened since, any part may be there and any other not: whole writes in any order, and of
  one write any sectors of 512 bytes. A sector has one of its contents, never a mixture, and a write leaves the bytes beside
  it alone (SQLite counts on that, too, as its own layer says that disks are so). Where a file is longer than what was kept
  of it, there are zeros or noise.
- The names in a folder are kept when the folder is flushed. Until then each that was made may be missing, and each that was
  removed may be there again, with the file that it led to. SQLite flushes the folder at the first flush of a log or
  a rollback journal that it may have made, and with a removal where it asks for that; so it is here.
- Locks and shared memory end with the machine: `-shm` files are left behind by no cut.

The mark beside a store is written without SQLite: what it begins with is flushed, and no number that follows. After a cut it
has any of those. Its eight bytes are in one sector.

Nothing here is flushed for real. What is read is not written down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import ClassVar, TypeAlias

import apsw
from attrs import Factory, define, frozen

from actorflow.journal import mark, store
from actorflow.journal.mark import Mark
from tests.mutants.switches import replaced

SECTOR = 512

IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where stores that are made by the thousand lie, if there is such a place; for `TemporaryDirectory`."""

_STORED = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL
_NAMED_AT_FLUSH = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL
_FLUSH_NAMES = 1
"""As xDelete is told."""


# What is asked of a disk


@frozen
class Linked:
    """A name leads to this file from here on, or to none; files are numbered as they are met."""

    name: str
    file: int | None


@frozen
class NamesFlushed:
    """All names are kept."""


@frozen
class Written:
    """These bytes are in the file from this place on."""

    file: int
    offset: int
    data: bytes


@frozen
class Truncated:
    """The file is that long."""

    file: int
    size: int


@frozen
class Flushed:
    """All that was done to the file is kept."""

    file: int


Change: TypeAlias = Linked | NamesFlushed | Written | Truncated | Flushed


class RecordingDisk(apsw.VFS):
    """The disk of one folder: passes everything on but flushes, and writes down what changes something.

    What is in the folder already counts as flushed.
    """

    _numbers: ClassVar = count()

    def __init__(self, folder: Path) -> None:
        self.name = f"recording-disk-{next(self._numbers)}"
        self.folder = folder
        self.changes: list[Change] = []
        self._files = count()
        self._names: dict[str, int] = {}
        self._marks: dict[str, bytes] = {}
        self.look()
        for name, file in self._names.items():
            self.changes += [Written(file, 0, (folder / name).read_bytes()), Flushed(file)]
        self.changes.append(NamesFlushed())
        self.begun = len(self.changes)
        super().__init__(self.name, "")

    def look(self) -> None:
        """See which names have come and gone."""
        found = {path.name for path in self.folder.iterdir() if path.is_file()}
        for name in sorted(self._names.keys() - found):
            del self._names[name]
            self.changes.append(Linked(name, None))
        for name in sorted(found - self._names.keys()):
            if not name.endswith("-shm"):
                self._names[name] = next(self._files)
                self.changes.append(Linked(name, self._names[name]))

    def file(self, name: str) -> int:
        """The number of the file that a name leads to."""
        self.look()
        return self._names[name]

    def flush_names(self) -> None:
        """Keep the names of the folder."""
        self.look()
        self.changes.append(NamesFlushed())

    def see_mark(self, path: Path) -> None:
        """See what is written to a mark now."""
        content = path.read_bytes()
        if self._marks.get(path.name) != content:
            self._marks[path.name] = content
            self.changes.append(Written(self.file(path.name), 0, content))

    def xOpen(self, name, flags):
        if flags[0] & _STORED:
            return RecordedFile(self, name, flags)
        return super().xOpen(name, flags)

    def xDelete(self, name, sync_folder):
        super().xDelete(name, 0)
        self.look()
        if sync_folder & _FLUSH_NAMES:
            self.flush_names()


class RecordedFile(apsw.VFSFile):
    """A database, a log or a rollback journal on such a disk."""

    def __init__(self, disk: RecordingDisk, name, flags) -> None:
        self.disk = disk
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self.flushes_names = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & _NAMED_AT_FLUSH)
        super().__init__("", name, flags)
        self.file = disk.file(Path(path).name)

    def xWrite(self, data, offset):
        super().xWrite(data, offset)
        self.disk.changes.append(Written(self.file, offset, bytes(data)))

    def xTruncate(self, size):
        super().xTruncate(size)
        self.disk.changes.append(Truncated(self.file, size))

    def xSync(self, flags):
        self.disk.changes.append(Flushed(self.file))
        if self.flushes_names:
            self.flushes_names = False
            self.disk.flush_names()


@contextmanager
def recording(folder: Path) -> Iterator[RecordingDisk]:
    """Such a disk for a folder, for journals that are told its name; sees also what they do there without SQLite."""
    disk, raise_truly = RecordingDisk(folder), Mark.raise_to

    def raise_to(raised: Mark, batch: int) -> None:
        raise_truly(raised, batch)
        disk.see_mark(Path(raised.path))

    def flush_mark(fd: int) -> None:
        path = Path(f"/proc/self/fd/{fd}").readlink()
        disk.see_mark(path)
        disk.changes.append(Flushed(disk.file(path.name)))

    def flush_folder(flushed: Path) -> None:
        if flushed == folder:
            disk.flush_names()

    try:
        with (
            replaced(Mark, "raise_to", raise_to),
            replaced(mark, "flush", flush_mark),
            replaced(store, "flush_folder", flush_folder),
        ):
            yield disk
    finally:
        disk.unregister()


# What a power cut leaves


@define
class _Platter:
    """A file: what of it is kept, and what was done to it since."""

    kept: bytearray = Factory(bytearray)
    since: list[Written | Truncated] = Factory(list)

    def flush(self) -> None:
        for change in self.since:
            _apply(self.kept, change)
        self.since.clear()


class Platters:
    """What is on a disk at a moment: it follows the changes one by one, and can be asked at any of them for an image."""

    def __init__(self) -> None:
        self._files: dict[int, _Platter] = {}
        self._names: dict[
            str, list[int | None]
        ] = {}  #: where each may lead: as it is kept, and as it was since

    def follow(self, change: Change) -> None:
        """Go on by one change."""
        match change:
            case Linked(name, file):
                self._names.setdefault(name, [None]).append(file)
            case NamesFlushed():
                self._names = {name: [files[-1]] for name, files in self._names.items()}
            case Flushed(file):
                self._file(file).flush()
            case Written() | Truncated():
                self._file(change.file).since.append(change)

    def image(self, draw: Random) -> Mapping[str, bytes]:
        """What is there after a power cut at this moment, by name; another each time."""
        decide = draw.choice(_DECISIONS)(draw)
        found = {
            name: files[-1] if decide() == "kept" else draw.choice(files)
            for name, files in self._names.items()
        }
        contents = {file: _left_of(platter, decide, draw) for file, platter in self._files.items()}
        return {name: contents.get(file, b"") for name, file in found.items() if file is not None}

    def _file(self, file: int) -> _Platter:
        return self._files.setdefault(file, _Platter())


def _alike(fate: str) -> Callable[[Random], Callable[[], str]]:
    return lambda _: lambda: fate


def _mixed(*weights: float) -> Callable[[Random], Callable[[], str]]:
    return lambda draw: lambda: draw.choices(("kept", "dropped", "torn"), weights)[0]


def _until(draw: Random) -> Callable[[], str]:
    """All is kept up to some change, which is torn, and nothing behind it: as if in order."""
    whole = int(2 ** draw.uniform(0, 10))
    fates = count()

    def decide() -> str:
        number = next(fates)
        return "kept" if number < whole else "torn" if number == whole else "dropped"

    return decide


_DECISIONS: tuple[Callable[[Random], Callable[[], str]], ...] = (
    _alike("kept"),
    _alike("dropped"),
    _alike("torn"),
    _mixed(1, 1, 1),
    _mixed(12, 1, 1),
    _mixed(1, 12, 1),
    _until,
    _until,
)
"""By what an image decides on the fate of each change that was not flushed."""


def _left_of(platter: _Platter, decide: Callable[[], str], draw: Random) -> bytes:
    content = bytearray(platter.kept)
    for change in platter.since:
        fate = decide()
        if fate == "torn" and isinstance(change, Written):
            _tear(content, change, draw)
        elif fate == "kept":
            _apply(content, change)
    return bytes(content)


def _tear(content: bytearray, change: Written, draw: Random) -> None:
    """Some sectors of a write: those in front, or any. The file may be as long as if all were there."""
    pieces = list(_sectors(change))
    if draw.random() < 0.5:
        pieces = pieces[: draw.randrange(len(pieces) + 1)]
    else:
        pieces = [piece for piece in pieces if draw.random() < 0.5]
    missing = change.offset + len(change.data) - len(content)
    if missing > 0 and draw.random() < 0.5:
        content += draw.randbytes(missing) if draw.random() < 0.5 else bytes(missing)
    for piece in pieces:
        _apply(content, piece)


def _sectors(change: Written) -> Iterator[Written]:
    end = change.offset + len(change.data)
    begins = [change.offset, *range((change.offset // SECTOR + 1) * SECTOR, end, SECTOR)]
    for begin, until in zip(begins, [*begins[1:], end], strict=True):
        yield Written(change.file, begin, change.data[begin - change.offset : until - change.offset])


def _apply(content: bytearray, change: Written | Truncated) -> None:
    match change:
        case Truncated(_, size):
            del content[size:]
            content += bytes(size - len(content))
        case Written(_, offset, data):
            content += bytes(max(0, offset - len(content)))
            content[offset : offset + len(data)] = data
