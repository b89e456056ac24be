"""Stores that are not what was written: found out, or harmless, but never silently wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import apsw
import pytest
from journal_cases import Append, beginning, contents, create, ok, step, write_history

from actorflow.errors import StoreDamagedError, StoreFailed, StoreUnusableError
from actorflow.journal.sqlite import SqliteJournal

FOUND_OUT = (StoreDamagedError, StoreUnusableError, StoreFailed)


class Specimen:
    """A store on disk as it was at one moment, and what it said then."""

    def __init__(self, folder: Path, files: dict[str, bytes], said: list[object]) -> None:
        self.folder = folder
        self.files = files
        self.said = said

    def is_found_out(self, **changed: bytes) -> bool:
        """Put the store back with changed files; whether it is refused, or else says what it said."""
        path = self.folder / "state.db"
        for suffix in ("", "-wal", "-shm", ".mark"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        for suffix, data in {**self.files, **changed}.items():
            Path(f"{path}{suffix.replace('_', '-')}").write_bytes(data)
        journal = None
        try:
            journal = SqliteJournal(str(path))
            said = contents(journal)
        except FOUND_OUT:
            return True
        finally:
            if journal is not None:
                journal._store.fail("the test is over")  # it must not write to what the next case puts here
                journal.close()
        assert said == self.said, "wrong, and nobody noticed"
        return False


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A store whose process was killed: all that it holds is in the log."""
    folder = tmp_path_factory.mktemp("live")
    journal = SqliteJournal(str(folder / "origin.db"))
    write_history(journal)
    said = contents(journal)
    files = {
        suffix.replace("-", "_"): (folder / f"origin.db{suffix}").read_bytes()
        for suffix in ("", "-wal", ".mark")
    }
    journal.close()
    return Specimen(folder, files, said)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A store that was closed: all that it holds is in the database."""
    folder = tmp_path_factory.mktemp("ended")
    journal = SqliteJournal(str(folder / "origin.db"))
    write_history(journal)
    said = contents(journal)
    journal.close()
    files = {suffix: (folder / f"origin.db{suffix}").read_bytes() for suffix in ("", ".mark")}
    return Specimen(folder, files, said)


def flipped(data: bytes, position: int, bit: int) -> bytes:
    return data[:position] + bytes([data[position] ^ (1 << bit)]) + data[position + 1 :]


def used(data: bytes) -> list[int]:
    """The positions near something that was written: a page is mostly empty."""
    return [at for at in range(len(data)) if any(data[max(at - 4, 0) : at + 4])]


def test_a_specimen_as_it_was_is_sound(live, ended):
    assert not live.is_found_out()
    assert not ended.is_found_out()


def test_a_flipped_bit_in_the_database_is_found_out_or_harmless(ended):
    data, random = ended.files[""], Random("database")
    positions = random.sample(used(data), 300)
    found = sum(ended.is_found_out(**{"": flipped(data, at, random.randrange(8))}) for at in positions)
    assert found > 150


def test_a_flipped_bit_in_the_log_is_found_out_or_harmless(live):
    data, random = live.files["_wal"], Random("log")
    positions = random.sample(range(len(data)), 200)
    found = sum(live.is_found_out(_wal=flipped(data, at, random.randrange(8))) for at in positions)
    assert found > 150


def test_a_database_that_was_cut_is_found_out(ended):
    data = ended.files[""]
    lengths = [0, 1, 99, 100, 4095, *range(4096, len(data), 4096)]
    assert [length for length in lengths if not ended.is_found_out(**{"": data[:length]})] == []
    ended.is_found_out(**{"": data[:-1]})  # or harmless, where the last page is not full


def test_a_log_that_was_cut_is_found_out(live):
    data = live.files["_wal"]
    lengths = [0, 1, 31, 32, 4000, *range(32, len(data) - 4120, 3 * 4120), len(data) - 4120, len(data) - 1]
    assert [length for length in lengths if not live.is_found_out(_wal=data[:length])] == []


def test_a_log_that_is_missing_is_found_out(live):
    files = dict(live.files)
    del files["_wal"]
    assert Specimen(live.folder, files, live.said).is_found_out()


def test_a_page_of_zeros_is_found_out_or_harmless(ended):
    data = ended.files[""]
    for start in range(0, len(data), 4096):
        ended.is_found_out(**{"": data[:start] + bytes(4096) + data[start + 4096 :]})


# What a disk does not do, but a hand might


@pytest.fixture
def store(ended, tmp_path):
    path = str(tmp_path / "state.db")
    shutil.copy(ended.folder / "origin.db", path)
    return path


def alter(path: str, *statements: str) -> None:
    db = apsw.Connection(path)
    for statement in statements:
        db.execute(statement)
    db.close()


ALTERATIONS = {
    "an event changed": "UPDATE batches SET events = replace(events, 'task-2', 'task-9') WHERE run = 1",
    "a batch removed from the middle": "DELETE FROM batches WHERE run = 1 AND first_seq = 5",
    "a batch given to another run": "UPDATE batches SET run = 2, first_seq = 99 WHERE run = 1 AND first_seq = 13",
    "a number moved": "UPDATE batches SET first_seq = 6 WHERE run = 1 AND first_seq = 5",
    "two batches swapped": "UPDATE batches SET first_seq = CASE first_seq WHEN 3 THEN -5 ELSE -3 END"
    " WHERE run = 1 AND first_seq IN (3, 5)",
    "the end removed from a run that was released": "DELETE FROM batches WHERE run = 2 AND first_seq = 15",
    "a count changed": "UPDATE batches SET count = 3 WHERE run = 1 AND first_seq = 5",
    "a checksum emptied": "UPDATE batches SET sum = x'' WHERE run = 1 AND first_seq = 5",
    "a status changed": "UPDATE runs SET status = 'success' WHERE id = 1",
    "a run renamed": "UPDATE runs SET run_id = 'run-c' WHERE id = 1",
    "a cursor changed": "UPDATE runs SET cursor = 9 WHERE id = 2",
    "a delivery changed": "UPDATE deliveries SET status = 'failed' WHERE id = 1",
    "the last delivery removed": "DELETE FROM deliveries WHERE id = 2",
    "a definition changed": "UPDATE definitions SET body = x'7b7d'",
    "a definition removed": "DELETE FROM definitions",
}


@pytest.mark.parametrize("what", ALTERATIONS)
def test_what_was_altered_by_hand_is_found_out(store, what):
    alter(store, ALTERATIONS[what])
    journal = SqliteJournal(store)
    with pytest.raises(StoreDamagedError):
        contents(journal)
    journal.close()


def test_damage_is_named_with_its_run_and_number_and_leaves_other_runs_readable(store):
    alter(store, ALTERATIONS["a batch removed from the middle"])
    journal = SqliteJournal(store)
    with pytest.raises(StoreDamagedError, match=r"run 'run-a' is damaged at event 5: .* numbered 7; restore"):
        list(journal.events("run-a"))
    assert len(list(journal.events("run-b"))) == 15
    journal.close()


def test_a_lost_end_is_found_out_before_a_run_goes_on(store):
    alter(store, ALTERATIONS["the end removed from a run that was released"])
    journal = SqliteJournal(store)
    with pytest.raises(StoreDamagedError, match="event 15: what follows is missing"):
        journal.claim("run-b")
    ok(journal, create("run-z"), Append("run-z", 1, beginning("run-z")))
    journal.close()


def test_an_index_that_lost_the_end_of_a_crashed_run_is_found_out(tmp_path):
    path = str(tmp_path / "state.db")
    crashed = SqliteJournal(path)
    ok(crashed, create("r"), Append("r", 1, beginning("r")), Append("r", 3, step(0)))
    crashed._store.fail("the process died")
    crashed.close()
    # move the last entry of the index to another run: the table and what it says stay as they are
    db = apsw.Connection(path)
    db.execute("CREATE TABLE kept AS SELECT * FROM batches")
    db.execute("UPDATE batches SET run = 77 WHERE first_seq = 3")
    (root,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'batches_by_run'").fetchone()
    db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    page = Path(path).read_bytes()[(root - 1) * 4096 : root * 4096]
    db.execute("UPDATE batches SET run = 1 WHERE first_seq = 3")
    db.execute("DROP TABLE kept")
    db.close()
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: (root - 1) * 4096] + page + data[root * 4096 :])
    journal = SqliteJournal(path)
    with pytest.raises(StoreDamagedError, match="what follows is missing"):
        list(journal.events("r"))
    with pytest.raises(StoreDamagedError, match="what follows is missing"):
        journal.claim("r")
    journal.close()


def test_a_run_that_its_index_lost_is_found_out(store):
    data = Path(store).read_bytes()
    db = apsw.Connection(store)
    (root,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'runs_by_run_id'").fetchone()
    db.close()
    start = (root - 1) * 4096
    page = data[start : start + 4096].replace(b"run-a", b"run-A")
    Path(store).write_bytes(data[:start] + page + data[start + 4096 :])
    journal = SqliteJournal(store)
    for call in (journal.runs, lambda: journal.find("run-a"), lambda: journal.claim("run-a")):
        with pytest.raises(StoreDamagedError):
            call()
    journal.close()
