"""The power is cut: what a SQLite store has acknowledged is there, whole, in order, and nothing of it is called damaged.

Stores live on a disk that writes down what is asked of it. At moments of their lives, and of their recoveries, images are
made of what a cut may leave (`tests.disk` says what is assumed of disks), and a fresh journal says what it finds there.
More of them: `ACTORFLOW_FUZZ=10 pytest tests/test_power_cuts.py`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from attrs import define, evolve, field, frozen
from disk import IN_MEMORY, SECTOR, Flushed, Linked, NamesFlushed, Platters, RecordingDisk, Written, recording
from found_stores import faults_of_going_on, found_in, said
from journal_cases import (
    beginning,
    create,
    delivery,
    finished,
    given_up,
    ok,
    pending,
    save,
    step,
)

from actorflow.core.events import RunFinished
from actorflow.errors import ActorflowError
from actorflow.journal import Append, RecordDeliveries, Release
from actorflow.journal.mark import Mark
from actorflow.journal.protocol import Unhurried, Write, is_flushed
from actorflow.journal.sqlite import SqliteJournal
from actorflow.journal.wal import WalKeeper
from tests.mutants.switches import replaced

TIMES = int(os.environ.get("ACTORFLOW_FUZZ", "1"))

STORE = "state.db"
BIG = "a value that is kept apart " * 3_000
"""80 kB."""

DUE_PAGES = 12
"""From which on the log is emptied into the database: so early that this happens in short lives, too."""


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(dir=IN_MEMORY) as path:
        yield Path(path)


# Lives of stores


def patient_one(write: Write) -> Write:
    """The same write, if it may, without a flush."""
    return evolve(write, flush=False) if isinstance(write, Unhurried) else write


@define
class Kept:
    """Something was acknowledged: from this moment on, the store is to say at least this."""

    moment: int  #: as many changes were made to the disk
    state: int  #: what the store says, by number
    is_flushed: bool


@define
class Life:
    """A store in use by one or two processes, and what it has acknowledged."""

    disk: RecordingDisk
    draw: Random
    patience: float  #: the share of commits that are not to be flushed, of those that need not be
    states: list[Any] = field(factory=list[Any])
    kept: list[Kept] = field(factory=list[Kept])
    journals: list[SqliteJournal] = field(factory=list[SqliteJournal])
    held: dict[str, SqliteJournal] = field(factory=dict[str, SqliteJournal])
    free: list[str] = field(factory=list[str])
    now: float = 1000.0

    @property
    def folder(self) -> Path:
        return self.disk.folder

    def begin(self, owners: int) -> None:
        """Have so many processes open the store; the runs that are in it are free."""
        for _ in range(owners):
            journal = self.open()
        self.free = [row.run_id for row in journal.runs()]

    def open(self) -> SqliteJournal:
        journal = SqliteJournal(str(self.folder / STORE), vfs=self.disk.name, clock=lambda: self.now)
        journal._wal._due_pages = DUE_PAGES
        self.journals.append(journal)
        self.did(journal, lambda: None, flush=False)
        return journal

    def did(self, journal: SqliteJournal, act: Callable[[], object], *, flush: bool = True) -> None:
        """Do something that is one commit at most, and note what the store says from then on."""
        act()
        self.kept.append(Kept(len(self.disk.changes), len(self.states), flush))
        self.states.append(said(journal))

    def commit(self, journal: SqliteJournal, *writes: Write) -> None:
        is_patient = self.draw.random() < self.patience
        asked = [patient_one(each) for each in writes] if is_patient else writes
        self.did(journal, lambda: ok(journal, *asked), flush=is_flushed(asked))

    def move(self) -> None:
        moves, weights = zip(*MOVES, strict=True)
        self.draw.choices(moves, weights)[0](self)

    # what happens in it

    def create(self) -> None:
        journal = self.draw.choice(self.journals)
        run = f"run-{len(self.states)}-{self.draw.randrange(1_000_000)}"
        self.commit(journal, create(run), Append(run, 1, beginning(run)))
        self.held[run] = journal

    def append(self) -> None:
        """To some runs of one process, in one commit."""
        journal = self.draw.choice(self.journals)
        runs = [run for run, holder in self.held.items() if holder is journal]
        if not runs:
            return
        chosen = self.draw.sample(runs, self.draw.randrange(1, len(runs) + 1))
        self.commit(journal, *(self._events(journal, run) for run in chosen))

    def _events(self, journal: SqliteJournal, run: str) -> Append:
        seq, is_big = journal.find(run).last_seq + 1, self.draw.random() < 0.1
        events = finished(seq, f"{seq} {BIG}") if is_big else step(seq)
        return Append(run, seq, events * self.draw.choice((1, 1, 4, 20)))

    def settle(self) -> None:
        for run, journal in self._any_held():
            number = journal.find(run).last_seq
            kept = [pending(number + 1000), pending(number + 2000)]
            some = RecordDeliveries(run, [delivery(number)], 1, kept)
            self.commit(journal, some, *[given_up(run, number)][: self.draw.randrange(2)])

    def checkpoint(self) -> None:
        for run, journal in self._any_held():
            rows = [(number, "x" * 50) for number in range(self.draw.choice((1, 400)))]
            self.commit(journal, save(run, journal.find(run).last_seq, rows))

    def finish(self) -> None:
        for run, journal in self._any_held():
            seq = journal.find(run).last_seq + 1
            self.commit(journal, Append(run, seq, [RunFinished(9.5, "success")]), Release(run))
            del self.held[run]
            self.free.append(run)

    def delete(self) -> None:
        if self.free:
            journal, run = self.draw.choice(self.journals), self.free.pop(0)
            self.did(journal, lambda: journal.delete(run))

    def claim(self) -> None:
        if self.free:
            journal, run = self.draw.choice(self.journals), self.free.pop()
            self.did(journal, lambda: journal.claim(run), flush=False)
            self.held[run] = journal

    def post(self) -> None:
        for run, journal in self._any_held():
            self.did(journal, lambda run=run, journal=journal: journal.post(run, "signal", {"name": run}))

    def snapshot(self) -> None:
        journal = self.draw.choice(self.journals)
        self.did(journal, lambda: journal.save_snapshot("seen", {"states": len(self.states)}))

    def maintain(self) -> None:
        journal = self.draw.choice(self.journals)
        self.did(journal, journal.maintain, flush=False)

    def beat(self) -> None:
        journal = self.draw.choice(self.journals)
        self.now += 6.0
        self.did(journal, journal.heartbeat, flush=False)

    def leave(self) -> None:
        """A process ends, or is killed, and another comes."""
        journal = self.draw.choice(self.journals)
        self.journals.remove(journal)
        lost = [run for run, holder in self.held.items() if holder is journal]
        for run in lost:
            del self.held[run]
        self.free += lost
        journal.abandon() if self.draw.random() < 0.5 else journal.close()
        self.open()

    def _any_held(self) -> list[tuple[str, SqliteJournal]]:
        return self.draw.sample(list(self.held.items()), min(len(self.held), 1))


MOVES: Sequence[tuple[Callable[[Life], None], int]] = (
    (Life.create, 4),
    (Life.append, 14),
    (Life.settle, 3),
    (Life.checkpoint, 2),
    (Life.finish, 2),
    (Life.delete, 2),
    (Life.claim, 2),
    (Life.post, 1),
    (Life.snapshot, 1),
    (Life.maintain, 5),
    (Life.beat, 1),
    (Life.leave, 1),
)
"""What happens in a life, and how often."""


def lived(folder: Path, seed: str, *, patience: float = 0.0, owners: int = 1, moves: int = 32) -> Life:
    """A life of the store in a folder, from its making or from where it is."""
    begun_with = _found_in_copy(folder)
    with recording(folder) as disk:
        life = Life(disk, Random(seed), patience, [begun_with], [Kept(0, 0, is_flushed=True)])
        life.begin(owners)
        for _ in range(moves):
            life.move()
        for journal in life.journals:
            journal.abandon()
    return life


def _found_in_copy(folder: Path) -> list[Any]:
    """What a store says, or a new one; nobody has touched it then."""
    with TemporaryDirectory(dir=IN_MEMORY) as elsewhere:
        copy = shutil.copytree(folder, Path(elsewhere) / "copy")
        return found_in(str(copy / STORE))


# What is there after a cut


@frozen
class Found:
    """What a journal found after a cut."""

    moment: int
    lost: int = 0  #: of the states that came to be before the cut, how many are not reached
    fault: str = ""  #: what is wrong with it


def after_cuts(life: Life, image_count: int, draw: Random) -> Iterator[Found]:
    """What is found in so many images of a life, at moments all over it."""
    for number, (moment, image) in enumerate(images(life, image_count, draw)):
        with written(image) as folder:
            yield _judged(life, moment, folder, goes_on=number % 10 == 0)


def images(life: Life, count: int, draw: Random) -> Iterator[tuple[int, Mapping[str, bytes]]]:
    """What cuts leave, and after how many changes to the disk."""
    platters, followed = Platters(), 0
    for moment in sorted(draw.randrange(life.disk.begun, len(life.disk.changes) + 1) for _ in range(count)):
        for change in life.disk.changes[followed:moment]:
            platters.follow(change)
        followed = moment
        yield moment, platters.image(draw)


@contextmanager
def written(image: Mapping[str, bytes]) -> Iterator[Path]:
    """A folder with these files."""
    with TemporaryDirectory(dir=IN_MEMORY) as folder:
        for name, content in image.items():
            Path(folder, name).write_bytes(content)
        yield Path(folder)


def _judged(life: Life, moment: int, folder: Path, *, goes_on: bool) -> Found:
    """What a journal finds, and whether it may: all that is flushed, and at most what was in the making."""
    lowest = max(kept.state for kept in life.kept if kept.moment <= moment and kept.is_flushed)
    highest = max(kept.state for kept in life.kept if kept.moment <= moment) + 1
    try:
        found = _found_in_copy(folder)
        fault = _fault_of_going_on(folder) if goes_on else ""
    except ActorflowError as error:
        return Found(moment, fault=f"refused: {error}")
    for state in range(min(highest, len(life.states) - 1), lowest - 1, -1):
        if life.states[state] == found:
            return Found(moment, max(highest - 1 - state, 0), fault)
    if found in life.states:
        return Found(moment, fault=f"is state {life.states.index(found)}, not one of {lowest} to {highest}")
    return Found(moment, fault="is no state that ever was")


def _fault_of_going_on(folder: Path) -> str:
    with recording(folder) as disk:
        return "; ".join(faults_of_going_on(str(folder / STORE), disk.name))


def faults(found: Iterable[Found]) -> list[Found]:
    return [each for each in found if each.fault]


LIVES = range(5 * TIMES)
EACH = 100
"""Images of a life."""


def test_what_was_acknowledged_is_there_after_a_cut_and_of_what_was_not_all_or_nothing(folder: Path):
    for number in LIVES:
        life = lived(made(folder / f"{number}"), f"full {number}", owners=1 + number % 2)
        assert faults(after_cuts(life, EACH, Random(f"cuts {number}"))) == [], number


def test_what_was_not_flushed_is_lost_from_the_end_alone(folder: Path):
    losses = 0
    for number in LIVES:
        patience, owners = (0.7, 0.95)[number % 2], 1 + number // 2 % 2
        life = lived(made(folder / f"{number}"), f"normal {number}", patience=patience, owners=owners)
        found = list(after_cuts(life, EACH, Random(f"cuts {number}")))
        assert faults(found) == [], number
        losses += sum(each.lost > 0 for each in found)
    assert losses > 10 * len(LIVES)


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_cut_while_a_store_is_made_leaves_one_that_can_be_opened(folder: Path):
    life = lived(folder, "made", moves=2)
    assert faults(after_cuts(life, 2 * EACH * TIMES, Random("cuts"))) == []


def test_a_second_cut_while_others_go_on_after_the_first_loses_no_more(folder: Path):
    first, draw = lived(folder, "first", patience=0.3), Random("second")
    for _, image in images(first, 10 * TIMES, draw):
        with written(image) as left:
            second = lived(left, "second", patience=0.3, moves=6)
            assert faults(after_cuts(second, 15, draw)) == []


# What is seen by it


def test_a_cut_leaves_what_was_flushed_and_any_part_of_the_rest():
    platters, draw, size = Platters(), Random("parts"), 2 * SECTOR
    for change in (
        *(Linked("a", 0), NamesFlushed(), Written(0, 0, b"k" * size), Flushed(0)),
        *(Linked("b", 1), Written(0, 0, b"x" * size), Written(0, size, b"y" * SECTOR)),
    ):
        platters.follow(change)
    images = [platters.image(draw) for _ in range(300)]
    assert {tuple(image) for image in images} == {("a", "b"), ("a",)}
    assert {image["a"][:size:SECTOR] for image in images} == {b"kk", b"xk", b"kx", b"xx"}, "whole sectors"
    assert {image["a"][size:] for image in images} > {b"", b"y" * SECTOR, bytes(SECTOR)}, "and noise"
    platters.follow(Flushed(0))
    platters.follow(NamesFlushed())
    kept = {"a": b"x" * size + b"y" * SECTOR, "b": b""}
    assert all(platters.image(draw) == kept for _ in range(30))


def test_a_cut_may_undo_a_removal_that_was_not_flushed():
    platters, draw = Platters(), Random("names")
    for change in (Linked("a", 0), Written(0, 0, b"old"), Flushed(0), NamesFlushed(), Linked("a", None)):
        platters.follow(change)
    assert {platters.image(draw).get("a") for _ in range(30)} == {b"old", None}
    platters.follow(NamesFlushed())
    assert all("a" not in platters.image(draw) for _ in range(30))


def test_a_cut_may_leave_any_number_in_a_mark():
    platters, draw = Platters(), Random("marks")
    for change in [Linked("m", 0), NamesFlushed(), Written(0, 0, bytes(8)), Flushed(0)]:
        platters.follow(change)
    for number in range(1, 4):
        platters.follow(Written(0, 0, bytes([number] * 8)))
    assert {platters.image(draw)["m"] for _ in range(100)} == {bytes([number] * 8) for number in range(4)}


def switched_to(synchronous: str) -> Callable[[WalKeeper, bool], None]:
    return lambda wal, flushes: wal._db.pragma("synchronous", synchronous) and None


def commit_behind_the_mark(journal: SqliteJournal) -> None:
    journal._store.mark.raise_to(journal._batch)
    journal._cursor.execute("COMMIT")


WRONG: Mapping[str, tuple[object, str, object, float]] = {
    "normal in place of full": (WalKeeper, "flush_at_commit", switched_to("NORMAL"), 0.0),
    "off in place of normal": (WalKeeper, "flush_at_commit", switched_to("OFF"), 1.0),
    "a mark that is raised first": (SqliteJournal, "_commit", commit_behind_the_mark, 0.0),
    "a mark that begins with nothing": (Mark, "_begin", lambda _: None, 0.0),
}
"""What a journal may do wrong: what of it is replaced by what, and the share of commits that are not to be flushed."""


@pytest.mark.parametrize("what", WRONG)
def test_a_journal_that_does_not_flush_what_it_should_is_found_out(what: str, folder: Path):
    owner, name, wrong, patience = WRONG[what]
    with replaced(owner, name, wrong):
        life = lived(folder, "wrong", patience=patience, moves=16)
    assert any(faults(after_cuts(life, 20, Random(f"{what} {number}"))) for number in range(50))
