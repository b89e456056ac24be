"""Disks that fail: each write, flush and cut in turn, through a file system written in Python."""

from __future__ import annotations

import errno
from collections.abc import Callable

import apsw
import pytest
from journal_cases import beginning, create, delivery, given_up, letter, ok, pending, step, told

from actorflow.errors import ActorflowError, StoreFailed, StoreUnusableError
from actorflow.journal import Append, KeepDeadLetter, RecordDeliveries, Release
from actorflow.journal.sqlite import SqliteJournal

STEPS = 3


class FailingDisk(apsw.VFS):
    """Passes everything on, counts what changes a file, and fails at one of them: before, after or in the middle."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fail_at = 0
        self.manner = "before"
        self.error: type[Exception] = apsw.IOError
        self.changes = 0
        super().__init__(name, "")

    def arm(self, fail_at: int, manner: str, error: type[Exception]) -> None:
        self.fail_at, self.manner, self.error, self.changes = fail_at, manner, error, 0

    @property
    def has_failed(self) -> bool:
        return 0 < self.fail_at <= self.changes

    def change(self, act: Callable[[], object], torn: Callable[[], object]) -> None:
        self.changes += 1
        if self.changes != self.fail_at:
            act()
            return
        {"before": lambda: None, "after": act, "torn": torn}[self.manner]()
        raise self.error("the disk said no")

    def xOpen(self, name, flags):
        return File(self, name, flags)

    def xDelete(self, name, sync_folder):
        self.change(lambda: super(FailingDisk, self).xDelete(name, sync_folder), lambda: None)


class File(apsw.VFSFile):
    def __init__(self, disk: FailingDisk, name, flags) -> None:
        self.disk = disk
        super().__init__("", name, flags)

    def xWrite(self, data, offset):
        write = super().xWrite
        self.disk.change(lambda: write(data, offset), lambda: write(bytes(data)[: len(data) // 2], offset))

    def xSync(self, flags):
        # nobody cuts the power of this machine: a flush need not be waited for
        self.disk.change(lambda: None, lambda: None)

    def xTruncate(self, size):
        truncate = super().xTruncate
        self.disk.change(lambda: truncate(size), lambda: None)


@pytest.fixture(scope="module")
def disk():
    made = FailingDisk("failing-disk")
    yield made
    made.unregister()


def work(path: str, acknowledged: list[int]) -> SqliteJournal:
    """Make a store and write to it; every sequence number that was acknowledged is noted."""
    journal = SqliteJournal(path, vfs="failing-disk")
    try:
        journal._wal._due_pages = 4
        assert journal.commit([create("r"), Append("r", 1, beginning("r"))]) == [None, None]
        acknowledged.append(2)
        for number in range(STEPS):
            assert journal.commit([Append("r", 3 + 2 * number, step(number))]) == [None]
            acknowledged.append(4 + 2 * number)
            journal.maintain()
        assert journal.commit([RecordDeliveries("r", [], 2, [pending(1), pending(2)])]) == [None]
        assert journal.commit(
            [RecordDeliveries("r", [delivery(1)], 2, [pending(2, tries=2)]), given_up("r", 1)]
        ) == [None, None]
        journal.post("r", "pause", {})
        journal.commit(
            [create("gone"), Release("gone"), told("r", 1, 990.0), KeepDeadLetter(letter("r", "t"))]
        )
        journal.delete("gone")
        journal.save_snapshot("s", {})
    except ActorflowError:
        refuses_everything(journal)
        raise
    return journal


def refuses_everything(journal: SqliteJournal) -> None:
    for call in (
        lambda: journal.commit([create("s")]),
        lambda: journal.claim("r"),
        lambda: journal.post("r", "pause", {}),
        lambda: journal.delete("r"),
        lambda: journal.save_snapshot("s", {}),
        journal.requests,
        journal.dead_letters,
        journal.maintain,
        journal.runs,
        lambda: journal.events("r"),
    ):
        with pytest.raises(StoreFailed):
            call()
    journal.close()


def count_changes(disk: FailingDisk, path: str) -> tuple[int, int]:
    """How many changes making a store takes, and how many the whole work."""
    disk.arm(0, "before", apsw.IOError)
    SqliteJournal(f"{path}-made", vfs="failing-disk")._store.fail("only its making counts")
    made = disk.changes
    disk.arm(0, "before", apsw.IOError)
    work(path, []).close()
    return made, disk.changes


@pytest.mark.parametrize(
    ("manner", "error"), [("before", apsw.IOError), ("after", apsw.IOError), ("torn", apsw.FullError)]
)
def test_whatever_the_disk_refuses_what_was_acknowledged_is_there_and_nothing_is_tried_again(
    disk, tmp_path, manner, error
):
    made, total = count_changes(disk, str(tmp_path / "sound.db"))
    assert 0 < made < total - 30
    for fail_at in range(1 if manner == "before" else made, total + 1):
        path, acknowledged = str(tmp_path / f"{fail_at}.db"), []
        disk.arm(fail_at, manner, error)
        try:
            work(path, acknowledged).close()
        except StoreUnusableError:
            assert not acknowledged  # it was being made, and SQLite took that back
        except StoreFailed:
            assert disk.changes == fail_at, "written to after it had failed"
        assert disk.has_failed
        disk.arm(0, manner, error)
        goes_on(path, max(acknowledged, default=0))


def goes_on(path: str, acknowledged: int) -> None:
    """A fresh journal finds all that was acknowledged, perhaps the write that failed, and works."""
    journal = SqliteJournal(path, vfs="failing-disk")
    found = len(list(journal.events("r"))) if journal.runs() else 0
    assert acknowledged <= found <= acknowledged + 2
    if found:
        rows, settled = journal.pending("r"), journal.deliveries("r")
        assert (rows, settled) in (
            ([], []),
            ([pending(1), pending(2)], []),
            ([pending(2, tries=2)], [delivery(1)]),
        )
        assert (journal.dead_letter_body("r/delivery-1") == {"n": 1}) == bool(settled)
        journal.claim("r")
        ok(journal, Append("r", found + 1, step(99)))
    else:
        ok(journal, create("r"))
    journal.close()


def test_the_store_says_what_failed_and_what_is_safe(disk, tmp_path):
    disk.arm(0, "before", apsw.FullError)
    journal = SqliteJournal(str(tmp_path / "state.db"), vfs="failing-disk")
    ok(journal, create("r"))
    disk.arm(1, "before", apsw.FullError)
    with pytest.raises(StoreFailed, match=r"state\.db failed: .*what was acknowledged is safe"):
        journal.commit([Append("r", 1, beginning("r"))])
    journal.close()


def test_a_failed_journal_does_not_keep_other_processes_out(disk, tmp_path):
    path = str(tmp_path / "state.db")
    disk.arm(0, "before", apsw.IOError)
    failing, other = SqliteJournal(path, vfs="failing-disk"), SqliteJournal(path)
    ok(failing, create("r"))
    disk.arm(1, "before", apsw.IOError)
    with pytest.raises(StoreFailed):
        failing.commit([Append("r", 1, beginning("r"))])
    ok(other, create("s"))
    failing.close()
    other.close()


def test_an_interrupted_commit_poisons_the_journal_and_is_raised_as_it_is(tmp_path):
    journal = Interrupted(str(tmp_path / "state.db"))
    with pytest.raises(KeyboardInterrupt):
        journal.commit([create("r")])
    with pytest.raises(StoreFailed, match="interrupted"):
        journal.commit([create("r")])
    journal.close()


class Interrupted(SqliteJournal):
    def _commit(self) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize("is_after", [False, True])
def test_a_crash_before_the_commit_leaves_nothing_and_after_it_everything(tmp_path, is_after):
    class Crashing(SqliteJournal):
        def _commit(self) -> None:
            if is_after:
                super()._commit()
            raise OSError(errno.EIO, "crashed")

    path = str(tmp_path / "state.db")
    journal = Crashing(path)
    with pytest.raises(StoreFailed):
        journal.commit([create("r"), Append("r", 1, beginning("r"))])
    journal.close()
    again = SqliteJournal(path)
    assert [row.run_id for row in again.runs()] == (["r"] if is_after else [])
    again.close()


def test_a_mark_that_cannot_be_written_fails_the_store(tmp_path):
    journal = SqliteJournal(str(tmp_path / "state.db"))
    ok(journal, create("r"))
    journal._store.mark.close()
    with pytest.raises(StoreFailed):
        journal.commit([Append("r", 1, beginning("r"))])
