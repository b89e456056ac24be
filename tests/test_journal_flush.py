"""Commits that need not be flushed: kept by all stores alike, without waiting for the disk, and lost from the end alone."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest
from attrs import define, evolve, field
from journal_cases import (
    STORES,
    ask,
    beginning,
    contents,
    create,
    delivery,
    given_up,
    large,
    ok,
    save,
    step,
    store_url,
    told,
    write_history,
)

from actorflow.errors import StoreDamagedError
from actorflow.journal import Append, Journal, RecordDeliveries, Release, open_journal
from actorflow.journal.json import log as json_log
from actorflow.journal.json.folder import JsonFolder
from actorflow.journal.json.journal import JsonJournal
from actorflow.journal.mark import read_mark
from actorflow.journal.protocol import Outcome, Unhurried, Write, is_flushed
from actorflow.journal.sqlite import SqliteJournal
from tests.mutants.switches import replaced


def patient(write: Any) -> Any:
    """The same write, if it may, without a flush."""
    return evolve(write, flush=False) if isinstance(write, Unhurried) else write


@define
class Patient:
    """A journal whose writes need no flush, where they may do without."""

    journal: Journal

    def commit(self, writes: list[Write]) -> list[Outcome]:
        return self.journal.commit([patient(write) for write in writes])


# All stores


@pytest.mark.parametrize("kind", STORES)
def test_what_is_not_flushed_is_kept_as_what_is(kind: str, tmp_path: Path):
    found = []
    for name, is_patient in (("flushed", False), ("not", True)):
        journal = open_journal(store_url(kind, tmp_path, name))
        write_history(Patient(journal) if is_patient else journal)  # type: ignore[arg-type]
        found.append(contents(journal))
        journal.close()
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", ["sqlite", "json"])
def test_what_is_not_flushed_is_seen_by_others_at_once_and_by_who_comes_after_a_kill(
    kind: str, tmp_path: Path
):
    url = store_url(kind, tmp_path)
    journal, reader = open_journal(url), open_journal(url)
    ok(journal, create("r"), Append("r", 1, beginning("r")))
    for number in range(4):
        ok(journal, Append("r", 3 + 2 * number, step(number), flush=False))
        assert reader.find("r").last_seq == 4 + 2 * number
    before = contents(journal)
    reader.close()
    kill(journal)
    heir = open_journal(url)
    assert contents(heir) == before
    heir.claim("r")
    ok(heir, Append("r", 11, step(4)))
    heir.close()
    again = open_journal(url)
    assert again.find("r").last_seq == 12
    again.close()


def kill(journal: Journal) -> None:
    """What a kill does to a journal: its locks are free, and nothing else happens any more."""
    if isinstance(journal, JsonJournal):
        journal._office.give_back()
    else:
        assert isinstance(journal, SqliteJournal)
        journal.abandon()


KINDS: dict[str, Write] = {
    "events": Append("r", 3, step(0)),
    "deliveries": RecordDeliveries("r", [delivery(1)], 1),
    "release": Release("r"),
    "checkpoint": save("r", 2),
    "question": ask("r", at=1040.0),
    "report": told("r", 1, 1000.0, key="mint"),
}


def test_a_commit_is_flushed_where_any_of_its_writes_is():
    for write in KINDS.values():
        assert is_flushed([write])
        assert not is_flushed([patient(write)])
        assert is_flushed([patient(KINDS["events"]), write])
    assert is_flushed([patient(KINDS["events"]), given_up("r", 1)])
    assert is_flushed([patient(KINDS["events"]), create("s")])
    assert not is_flushed([patient(write) for write in KINDS.values()])


# SQLite


class SyncCounter(apsw.VFS):
    """Passes everything on, and notes each file that is flushed."""

    def __init__(self) -> None:
        self.synced: list[str] = []
        super().__init__("sync-counter", "")

    def xOpen(self, name, flags):
        return SyncedFile(self, name, flags)

    def during(self, action: Callable[[], object]) -> list[str]:
        """The files that are flushed meanwhile, by what their names end in."""
        self.synced.clear()
        action()
        return list(self.synced)


class SyncedFile(apsw.VFSFile):
    def __init__(self, counter: SyncCounter, name, flags) -> None:
        self.counter = counter
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        self.suffix = "wal" if path.endswith("-wal") else "db"
        super().__init__("", name, flags)

    def xSync(self, flags):
        self.counter.synced.append(self.suffix)


@pytest.fixture(scope="module")
def syncs() -> Iterator[SyncCounter]:
    counter = SyncCounter()
    yield counter
    counter.unregister()


@pytest.fixture
def now() -> list[float]:
    """What the clock shows."""
    return [1000.0]


@pytest.fixture
def store(syncs: SyncCounter, tmp_path: Path, now: list[float]) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(str(tmp_path / "state.db"), vfs="sync-counter", clock=lambda: now[0])
    ok(journal, create("r"), Append("r", 1, beginning("r")))
    yield journal
    journal.close()


@pytest.mark.parametrize("flush", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_commit_flushes_the_log_of_sqlite_once_or_never(
    kind: str, flush: bool, store: SqliteJournal, syncs: SyncCounter
):
    store.commit(
        [told("r", attempt, 1000.0) for attempt in (1, 2)]
    )  # the breaker opens: who asks becomes its probe
    write = KINDS[kind] if flush else patient(KINDS[kind])
    assert syncs.during(lambda: kept(store, write)) == ["wal"] * flush


def kept(journal: SqliteJournal, write: Write) -> None:
    (outcome,) = journal.commit([write])
    assert not isinstance(outcome, Exception)


def test_a_group_with_one_write_that_is_to_be_flushed_is_flushed_once(
    store: SqliteJournal, syncs: SyncCounter
):
    ok(store, create("s"), Append("s", 1, beginning("s")))
    patience = Append("r", 3, step(0), flush=False)
    assert syncs.during(lambda: ok(store, patience, Append("s", 3, step(0)))) == ["wal"]
    assert syncs.during(lambda: ok(store, Append("r", 5, step(1), flush=False))) == []
    assert syncs.during(lambda: ok(store, Append("r", 7, step(2)))) == ["wal"]


def test_a_checkpoint_of_the_log_flushes_both_files_whatever_the_last_commit_did(
    store: SqliteJournal, syncs: SyncCounter
):
    ok(store, Append("r", 3, step(0, large()), flush=False))
    store._wal._due_pages = 1
    assert syncs.during(store.maintain) == ["wal", "db"]


def test_a_sign_of_life_flushes_what_was_not(store: SqliteJournal, syncs: SyncCounter, now: list[float]):
    ok(store, Append("r", 3, step(0), flush=False))
    now[0] += 4.0
    assert syncs.during(store.heartbeat) == []
    assert syncs.during(lambda: ok(store, Append("r", 5, step(1), flush=False))) == []
    now[0] += 2.0
    assert syncs.during(lambda: ok(store, Append("r", 7, step(2), flush=False))) == ["wal"]
    now[0] += 5.0
    assert syncs.during(store.heartbeat) == ["wal"]


def test_the_mark_follows_what_is_flushed_and_nothing_else(tmp_path: Path):
    path = str(tmp_path / "state.db")
    journal = SqliteJournal(path, clock=lambda: 1000.0)
    ok(journal, create("r"), Append("r", 1, beginning("r")))
    flushed = read_mark(f"{path}.mark")
    for number in range(3):
        ok(journal, Append("r", 3 + 2 * number, step(number), flush=False))
        journal.claim("r")  # a transaction that writes nothing, and so flushes nothing
        assert read_mark(f"{path}.mark") == flushed
    ok(journal, Append("r", 9, step(3)))
    assert read_mark(f"{path}.mark") == flushed + 4
    journal.close()


@pytest.fixture
def cut(tmp_path: Path) -> Iterator[tuple[Path, list[list[Any]], int, int]]:
    """A store in use: its file, what it said after each commit, the length of its log at the last flush, and its size."""
    path = tmp_path / "state.db"
    journal = SqliteJournal(str(path), clock=lambda: 1000.0)
    states, wal = [], tmp_path / "state.db-wal"
    ok(journal, create("r"), Append("r", 1, beginning("r")))
    flushed = wal.stat().st_size
    for number in range(5):
        states.append(contents(journal))
        ok(journal, Append("r", 3 + 2 * number, step(number), flush=False))
    states.append(contents(journal))
    yield path, states, flushed, wal.stat().st_size
    journal.close()


def test_a_store_that_has_lost_commits_that_were_not_flushed_opens_as_if_they_had_never_been(
    cut: tuple[Path, list[list[Any]], int, int], tmp_path: Path
):
    path, states, flushed, size = cut
    found = []
    for number, length in enumerate(range(flushed, size + 1, 1030)):
        image = image_of(path, tmp_path / str(number), length)
        journal = SqliteJournal(image)
        found.append(states.index(contents(journal)))
        journal.claim("r")
        ok(journal, Append("r", journal.find("r").last_seq + 1, step(9)))
        journal.close()
        SqliteJournal(image).close()
    assert found == sorted(found)
    assert found[0] == 0
    assert set(found) >= {0, 1, 2, 3, 4}


def test_a_store_that_has_lost_a_commit_behind_which_one_was_flushed_says_so(
    cut: tuple[Path, list[list[Any]], int, int], tmp_path: Path
):
    path, _, flushed, size = cut
    journal = SqliteJournal(str(path), clock=lambda: 1000.0)
    ok(journal, create("s"))
    for length in (flushed, (flushed + size) // 2, size):
        with pytest.raises(StoreDamagedError, match=r"lost \d commits that had been acknowledged"):
            SqliteJournal(image_of(path, tmp_path / str(length), length))
    journal.close()


def image_of(path: Path, folder: Path, length: int) -> str:
    """A copy of a store, its log cut."""
    folder.mkdir()
    for suffix in ("", "-wal", ".mark"):
        shutil.copy(f"{path}{suffix}", folder / f"state.db{suffix}")
    os.truncate(folder / "state.db-wal", length)
    return str(folder / "state.db")


# Files of JSON lines


@define
class Disk:
    """What of the files of a JSON store would survive a power cut."""

    root: Path
    sizes: dict[str, int] = field(factory=dict[str, int])  #: that are flushed
    names: set[str] = field(factory=set[str])  #: likewise
    flush_count: int = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """See what is flushed meanwhile."""
        flush, flush_folder = json_log.flush, json_log.flush_folder

        def flush_file(fd: int) -> None:
            flush(fd)
            path = Path(f"/proc/self/fd/{fd}").readlink()
            self.sizes[path.name] = path.stat().st_size
            self.flush_count += 1

        def flush_names(folder: Path) -> None:
            flush_folder(folder)
            self.names.update(each.name for each in folder.iterdir())

        with (
            replaced(json_log, "flush", flush_file),
            replaced(json_log, "flush_folder", flush_names),
        ):
            yield

    def cut(self, image: Path, draw: random.Random) -> None:
        """Leave what a power cut may leave: all that was flushed, and of the rest anything."""
        shutil.copytree(self.root, image)
        for path in image.glob("*.jsonl"):
            if path.name not in self.names and draw.random() < 0.3:
                path.unlink()
                continue
            content, safe = path.read_bytes(), self.sizes.get(path.name, 0)
            path.write_bytes(content[:safe] + torn(content[safe:], draw))


def torn(tail: bytes, draw: random.Random) -> bytes:
    """What may be left of bytes that were not flushed: a part of them, and in it what was never written."""
    begin, end = sorted(draw.randrange(len(tail) + 1) for _ in range(2))
    match draw.randrange(4):
        case 0:
            return tail
        case 1:
            return tail[:end]
        case 2:
            return tail[:begin] + bytes(end - begin) + tail[end:]
        case _:
            return bytes(len(tail))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def opened(root: Path) -> JsonJournal:
    return JsonJournal(str(root), patience_s=0, clock=lambda: 1000.0)


def test_a_commit_of_a_json_store_flushes_every_file_that_is_not_or_none(root: Path):
    journal, disk = opened(root), Disk(root)
    runs = ("a", "b", "c")
    ok(journal, *(create(run) for run in runs), *(Append(run, 1, beginning(run)) for run in runs))
    with disk.watched():
        for run in runs:
            ok(journal, Append(run, 3, step(0), flush=False))
        assert disk.flush_count == 0
        ok(journal, Append("a", 5, step(1)))
        assert disk.flush_count == 3, "its own, and the two others that were not"
        ok(journal, Append("b", 5, step(1)))
        assert disk.flush_count == 4
        ok(journal, Append("c", 5, step(1), flush=False), Append("a", 7, step(2)))
        assert disk.flush_count == 6, "both files of the commit"
        ok(journal, Append("c", 7, step(2), flush=False))
        journal.heartbeat()
        journal.heartbeat()
        assert disk.flush_count == 7
    assert disk.sizes == {path.name: path.stat().st_size for path in root.glob("?.events.jsonl")}
    journal.close()


def test_lines_say_how_much_was_flushed_when_they_were_written_where_that_is_not_all(root: Path):
    journal = opened(root)
    ok(journal, create("r"))
    for flush in (True, False, False, True, True):
        seq = journal.find("r").last_seq + 1
        ok(journal, Append("r", seq, step(seq), flush=flush))
    journal.close()
    log = json_log.JsonLog(root / "r.events.jsonl")
    assert [(line.commit, line.flushed) for line in log.read()[0]] == [
        (2, 1),
        (3, 2),
        (4, 3),
        (5, 3),
        (6, 3),
        (7, 6),
        (8, 7),
    ]
    assert (root / "r.events.jsonl").read_bytes().count(b'"flushed":') == 2


def live(root: Path, draw: random.Random) -> tuple[Disk, list[list[Any]], int]:
    """A store of some runs, at a moment in it; what it said after each commit; and the number of the last flushed one."""
    disk, journal = Disk(root), opened(root)
    states, flushed = [contents(journal)], 0
    append = JsonFolder.append

    def append_and_note(kept: JsonFolder, parts: Any, *, is_flushed: bool = True) -> None:
        nonlocal flushed
        append(kept, parts, is_flushed=is_flushed)
        states.append(contents(journal))
        flushed = len(states) - 1 if is_flushed else flushed

    with disk.watched(), replaced(JsonFolder, "append", append_and_note):
        for number in range(draw.randrange(2, 12)):
            write_something(journal, number, draw)
            if draw.random() < 0.2:
                kill(journal)
                journal = opened(root)
                for row in journal.runs():
                    if draw.random() < 0.5:
                        journal.claim(row.run_id)
    kill(journal)
    return disk, states, flushed


def write_something(journal: JsonJournal, number: int, draw: random.Random) -> None:
    rows = [row for row in journal.runs() if row.owner_pid is not None]
    if draw.random() < 0.2 or not rows:
        run = f"run-{number}"
        ok(journal, create(run), Append(run, 1, beginning(run)))
    elif draw.random() < 0.1:
        ok(journal, Release(rows[-1].run_id))
        journal.delete(rows[-1].run_id)
    else:
        flush = draw.random() < 0.2
        chosen = draw.sample(rows, draw.randrange(1, len(rows) + 1))
        ok(journal, *(Append(row.run_id, row.last_seq + 1, step(number), flush=flush) for row in chosen))


@pytest.mark.parametrize("has_mark", [True, False])
def test_after_a_power_cut_a_json_store_has_lost_commits_from_its_end_that_were_not_flushed(
    has_mark: bool, tmp_path: Path
):
    lost = 0
    for seed in range(120):
        draw = random.Random(f"{seed}{has_mark}")
        disk, states, flushed = live(tmp_path / f"{seed}", draw)
        image = tmp_path / f"{seed}-cut"
        disk.cut(image, draw)
        if not has_mark:
            (image / "store.mark").unlink(missing_ok=True)
        journal = opened(image)
        before = contents(journal)
        assert before in states[flushed:], seed
        lost += before != states[-1]
        ok(journal, create("next"))
        found = contents(journal)
        journal.close()
        again = opened(image)
        assert contents(again) == found, seed
        again.close()
    assert lost > 20


@pytest.mark.parametrize("has_mark", [True, False])
def test_a_line_that_was_flushed_and_is_not_there_is_missed_also_among_such_as_were_not(
    has_mark: bool, root: Path
):
    journal = opened(root)
    ok(journal, create("a"), create("b"), Append("a", 1, beginning("a")), Append("b", 1, beginning("b")))
    ok(journal, Append("a", 3, step(0), flush=False))
    size = (root / "a.events.jsonl").stat().st_size
    ok(journal, Append("a", 5, step(1), flush=False))
    ok(journal, Append("b", 3, step(0)))
    ok(journal, Append("b", 5, step(1), flush=False))
    kill(journal)
    os.truncate(root / "a.events.jsonl", size)
    if not has_mark:
        (root / "store.mark").unlink()
    with pytest.raises(StoreDamagedError, match="of commit 4 something is missing"):
        opened(root)


def test_a_follower_of_a_json_store_sees_a_commit_whose_number_was_lost_before(root: Path):
    journal = opened(root)
    ok(journal, create("r"), Append("r", 1, beginning("r")))
    size = (root / "r.events.jsonl").stat().st_size
    ok(journal, Append("r", 3, step(0), flush=False))
    ok(journal, Append("r", 5, step(1), flush=False))
    kill(journal)
    os.truncate(root / "r.events.jsonl", size)
    follower, heir = opened(root), opened(root)
    heir.claim("r")
    assert follower.find("r").last_seq == 2
    ok(heir, Append("r", 3, step(0), flush=False))
    assert follower.find("r").last_seq == 4
    heir.close()
