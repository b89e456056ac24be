"""Hunts over stores on a disk: what was acknowledged is there, whole, and nothing else is taken for it.

Each is as short as it can be, with one journal that dies and another that finds what it has left.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from actorflow.errors import ActorflowError, RunOwnedElsewhereError, StoreDamagedError, StoreFailed
from actorflow.journal import Append, Journal, RecordDeliveries, open_journal
from actorflow.journal.json.names import EVENTS, MARK_FILE
from actorflow.journal.sqlite import SqliteJournal
from tests.journal_cases import beginning, create, delivery, given_up, large, ok, pending, save, step
from tests.mutants.mutant import Check, Seeds
from tests.mutants.places import RUN, FlushDisk, Killed, flush_disk, folder, killed_at, store
from tests.mutants.switches import replaced
from tests.promises import BrokenPromise, expect

WHOLE: Final = "a commit is kept whole or not at all"
NOTHING_LOST: Final = "nothing acknowledged is missing unnoticed"
AS_WRITTEN: Final = "what is read is what was written"
CHECKPOINTS: Final = "a checkpoint holds for its own history alone"
OUTPUTS: Final = "outputs are read as recorded"
FLUSHED: Final = "a commit is flushed before it is acknowledged"
A_SUFFIX: Final = "what was not flushed may go, and the store is whole without it"
FAILED: Final = "nothing is acknowledged by a store that has failed"
DEAD: Final = "who is dead owns nothing"


def _refused(read: Callable[[], object]) -> bool:
    """Whether who reads is told that something is wrong."""
    try:
        read()
    except ActorflowError:
        return True
    return False


def _said(journal: Journal) -> tuple[int, list[str], int, list[str], list[str]]:
    """Events, what is settled, the cursor, what is pending, dead letters."""
    return (
        len(list(journal.events(RUN))),
        [each.delivery_id for each in journal.deliveries(RUN)],
        journal.find(RUN).cursor,
        [each.delivery_id for each in journal.pending(RUN)],
        [each.id for each in journal.dead_letters()],
    )


def a_commit_is_whole(killed: int) -> None:
    """A commit with some of everything, by a process that is killed in front of one of its transactions."""
    with store() as path:
        journal = SqliteJournal(path)
        ok(journal, create(RUN), Append(RUN, 1, beginning(RUN)), RecordDeliveries(RUN, [], 1, [pending(1)]))
        before = _said(journal)
        settled = RecordDeliveries(RUN, [delivery(1)], 2, [pending(2, 2)])
        with suppress(Killed), killed_at(killed):
            journal.commit([Append(RUN, 3, step(1)), settled, given_up(RUN, 1)])
        journal.abandon()
        again = SqliteJournal(path)
        found = _said(again)
        again.close()
    after = (4, ["delivery-1"], 2, ["delivery-2"], [f"{RUN}/delivery-1"])
    expect(WHOLE, found in (before, after), found)


def a_lost_tail_is_noticed() -> None:
    """The end of the log is gone, with a commit that was acknowledged."""
    with store() as path:
        journal = SqliteJournal(path)
        ok(journal, create(RUN), Append(RUN, 1, beginning(RUN)))
        log = Path(f"{path}-wal")
        size = log.stat().st_size
        ok(journal, Append(RUN, 3, step(1)))
        journal.abandon()
        os.truncate(log, size)
        Path(f"{path}-shm").unlink()
        expect(NOTHING_LOST, _refused(lambda: SqliteJournal(path)), "the last commit")


def _changed(path: str, statement: str) -> None:
    db = sqlite3.connect(path)
    db.execute(statement)
    db.commit()
    db.close()


def a_changed_row_is_noticed() -> None:
    """Somebody has changed an event, and taken away a delivery."""
    with store() as path:
        journal = SqliteJournal(path)
        ok(journal, create(RUN), Append(RUN, 1, beginning(RUN)), Append(RUN, 3, step(1)))
        ok(journal, RecordDeliveries(RUN, [delivery(1), delivery(2)], 3))
        journal.close()
        _changed(path, "UPDATE batches SET events = replace(events, 'task-1', 'task-7')")
        _changed(path, "DELETE FROM deliveries WHERE delivery_id = 'delivery-2'")
        again = SqliteJournal(path)
        expect(AS_WRITTEN, _refused(lambda: list(again.events(RUN))), "another event")
        expect(AS_WRITTEN, _refused(lambda: again.deliveries(RUN)), "a delivery less")
        again.close()


def a_checkpoint_of_another_history_is_passed_over() -> None:
    """The checkpoint of a run is that of another one of the same name."""
    with folder() as where:
        for name in "ab":
            journal = SqliteJournal(str(where / name))
            ok(journal, create(RUN), Append(RUN, 1, beginning(RUN)), Append(RUN, 3, step(1, name)))
            ok(journal, save(RUN, 4))
            journal.close()
        _changed(str(where / "a"), "DELETE FROM checkpoints")
        db = sqlite3.connect(where / "a")
        db.execute("ATTACH ? AS other", (str(where / "b"),))
        db.execute("INSERT INTO checkpoints SELECT * FROM other.checkpoints")
        db.commit()
        db.close()
        again = SqliteJournal(str(where / "a"))
        found = again.checkpoint(RUN)
        again.close()
    expect(CHECKPOINTS, found is None, found)


def a_large_output_outlives_its_process() -> None:
    """An output that is kept apart, as the next process reads it."""
    with store() as path:
        journal = SqliteJournal(path)
        ok(journal, create(RUN), Append(RUN, 1, beginning(RUN)), Append(RUN, 3, step(1, large())))
        journal.abandon()
        again = SqliteJournal(path)
        try:
            (_, first), *_ = again.events(RUN, after=2)
        except StoreDamagedError as damage:
            raise BrokenPromise(OUTPUTS, damage) from damage
        finally:
            again.close()
    expect(OUTPUTS, getattr(first, "output", None) == large(), first)


def each_commit_is_flushed() -> None:
    """Commits, and the flushes that they cost; one is of two runs, of which the other does not ask for it."""
    with store() as path, flush_disk() as disk:
        journal = SqliteJournal(path, vfs=FlushDisk.NAME)
        for run_id in (RUN, "other"):
            ok(journal, create(run_id), Append(run_id, 1, beginning(run_id)))
        for writes in (
            [Append(RUN, 3, step(1))],
            [Append("other", 3, step(1), flush=False), Append(RUN, 5, step(2))],
        ):
            before = disk.flush_count
            ok(journal, *writes)
            expect(FLUSHED, disk.flush_count > before, writes)
        journal.close()


def an_unflushed_tail_may_go() -> None:
    """A power cut takes the end of the log along, of which nobody had asked that it be flushed."""
    with store() as path:
        journal = SqliteJournal(path)
        ok(journal, create(RUN), Append(RUN, 1, beginning(RUN)))
        log = Path(f"{path}-wal")
        size = log.stat().st_size
        ok(journal, Append(RUN, 3, step(1), flush=False))
        journal.abandon()
        os.truncate(log, size)
        Path(f"{path}-shm").unlink()
        try:
            again = SqliteJournal(path)
        except StoreDamagedError as damage:
            raise BrokenPromise(A_SUFFIX, damage) from damage
        count = len(list(again.events(RUN)))
        again.close()
    expect(A_SUFFIX, count == 2, count)


def a_failed_flush_is_the_end() -> None:
    """A flush fails, and whatever is written afterwards by the same process."""
    with store() as path, flush_disk() as disk:
        journal = SqliteJournal(path, vfs=FlushDisk.NAME)
        ok(journal, create(RUN), Append(RUN, 1, beginning(RUN)))
        disk.is_failing = True
        for number in range(1, 4):
            try:
                journal.commit([Append(RUN, 2 * number + 1, step(number))])
            except StoreFailed:
                continue
            raise BrokenPromise(FAILED, f"commit {number}")
        journal.close()


def a_failed_flush_is_the_end_of_json() -> None:
    """The same of a folder of JSON."""

    def fail(fd: int) -> None:
        raise OSError(5, "the disk said no")

    with folder() as where:
        journal = open_journal(f"json:{where}/state")
        ok(journal, create(RUN), Append(RUN, 1, beginning(RUN)))
        with replaced(os, "fdatasync" if hasattr(os, "fdatasync") else "fsync", fail):
            is_refused = _refused(lambda: journal.commit([Append(RUN, 3, step(1))]))
        expect(FAILED, is_refused, "the commit whose flush has failed")
        journal.close()


def a_removed_file_is_noticed() -> None:
    """The file of a store is removed under the hands of its journal."""
    with store() as path:
        journal = SqliteJournal(path)
        ok(journal, create(RUN), Append(RUN, 1, beginning(RUN)))
        Path(path).unlink()
        journal._store._checked_at = 0.0
        is_refused = _refused(lambda: journal.commit([Append(RUN, 3, step(1))]))
        journal.close()
    expect(FAILED, is_refused, "a commit into a file that nobody can open any more")


def _torn(spoil: Callable[[Path], None]) -> tuple[int, int]:
    """A folder of JSON whose last commit, of two runs, was torn; how many events each has for who comes next."""
    with folder() as where:
        journal = open_journal(f"json:{where}/state")
        for run_id in "ab":
            ok(journal, create(run_id), Append(run_id, 1, beginning(run_id)))
        mark = (where / "state" / MARK_FILE).read_bytes()
        ok(journal, *(Append(run_id, 3, step(1)) for run_id in "ab"))
        shutil.copytree(where / "state", where / "copy", ignore=shutil.ignore_patterns("*lock*"))
        journal.close()
        (where / "copy" / MARK_FILE).write_bytes(
            mark
        )  # the writer was killed before it could say that all is there
        spoil(where / "copy" / f"a{EVENTS}")
        again = open_journal(f"json:{where}/copy")
        try:
            return len(list(again.events("a"))), len(list(again.events("b")))
        finally:
            again.close()


def half_a_commit_of_json_is_none() -> None:
    """Of the last commit one file has its line, and another has not."""

    def cut(path: Path) -> None:
        *lines, _ = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines))

    found = _torn(cut)
    expect(WHOLE, found == (2, 2), found)


def a_torn_line_of_json_is_none() -> None:
    """The last line of a file has a sector of something else."""

    def spoil(path: Path) -> None:
        *lines, last = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([*lines, last.replace(b"task-1", b"task-7")]))

    found = _torn(spoil)
    expect(AS_WRITTEN, found == (2, 2), found)


def a_child_does_not_hold_the_lock() -> None:
    """An owner dies, and a child of it lives on."""
    with store() as path:
        journal = SqliteJournal(path)
        ok(journal, create(RUN))
        wait = [sys.executable, "-S", "-c", "import sys; print(flush=True); sys.stdin.read()"]
        with subprocess.Popen(wait, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False) as child:
            assert child.stdout is not None
            child.stdout.readline()  # a child that has only just begun may have what it is about to close
            journal.abandon()
            again = SqliteJournal(path)
            try:
                again.claim(RUN)
            except RunOwnedElsewhereError as error:
                raise BrokenPromise(DEAD, error) from error
            finally:
                again.close()
                child.communicate(b"")


WHOLE_COMMITS: Final = Seeds(a_commit_is_whole, 3)
LOST_TAIL: Final = Check(a_lost_tail_is_noticed)
CHANGED_ROW: Final = Check(a_changed_row_is_noticed)
OTHER_CHECKPOINT: Final = Check(a_checkpoint_of_another_history_is_passed_over)
LARGE_OUTPUT: Final = Check(a_large_output_outlives_its_process)
FLUSHES: Final = Check(each_commit_is_flushed)
UNFLUSHED_TAIL: Final = Check(an_unflushed_tail_may_go)
FAILED_FLUSH: Final = Check(a_failed_flush_is_the_end)
FAILED_FLUSH_OF_JSON: Final = Check(a_failed_flush_is_the_end_of_json)
REMOVED_FILE: Final = Check(a_removed_file_is_noticed)
HALF_A_COMMIT: Final = Check(half_a_commit_of_json_is_none)
TORN_LINE: Final = Check(a_torn_line_of_json_is_none)
CHILD: Final = Check(a_child_does_not_hold_the_lock)
