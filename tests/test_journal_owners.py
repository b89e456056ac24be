"""Who may write to a run, and what others see of it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import apsw
import pytest
from journal_cases import beginning, create, ok, spawn, step

from actorflow.errors import RunOwnedElsewhereError, StoreFailed
from actorflow.journal import Append, Release
from actorflow.journal.sqlite import SqliteJournal

HOLD = """
journal = SqliteJournal(sys.argv[1])
ok(journal, create("r"), Append("r", 1, beginning("r")), create("other"))
print(os.getpid(), flush=True)
sys.stdin.read()
journal.close()
"""


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "state.db")


@pytest.fixture
def holder(path):
    """A process that owns the runs `r` and `other`."""
    process = spawn(HOLD, path)
    assert int(process.stdout.readline()) == process.pid
    yield process
    process.kill()
    process.communicate()


def owner_files(path: str) -> list[str]:
    return [entry.name for entry in Path(path).parent.iterdir() if ".owner-" in entry.name]


def owner_rows(path: str) -> list[tuple]:
    db = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    rows = db.execute("SELECT id, pid, fenced FROM owners").fetchall()
    db.close()
    return rows


def test_a_run_of_a_live_process_cannot_be_claimed_and_its_pid_is_named(path, holder):
    journal = SqliteJournal(path)
    with pytest.raises(RunOwnedElsewhereError) as caught:
        journal.claim("r")
    assert caught.value.pid == holder.pid
    assert 0 <= caught.value.heartbeat_age_s < 60
    assert journal.find("r").owner_pid == holder.pid
    journal.close()


def test_a_run_of_a_stopped_process_is_still_its_own(path, holder):
    holder.send_signal(signal.SIGSTOP)
    journal = SqliteJournal(path)
    with pytest.raises(RunOwnedElsewhereError):
        journal.claim("r")
    journal.close()
    holder.send_signal(signal.SIGCONT)


def test_a_run_of_a_killed_process_is_running_without_an_owner_and_can_be_claimed(path, holder):
    holder.kill()
    holder.wait()
    journal = SqliteJournal(path)
    row = journal.find("r")
    assert (row.summary.status, row.owner_pid) == ("running", None)
    assert journal.claim("r").owner_pid == os.getpid()
    ok(journal, Append("r", 3, step(0)))
    assert len(list(journal.events("r"))) == 4
    journal.close()


def test_a_dead_owner_is_cleared_away_with_its_last_run(path, holder):
    holder.kill()
    holder.wait()
    journal = SqliteJournal(path)
    journal.claim("r")
    assert sorted(fenced for _, _, fenced in owner_rows(path)) == [0, 1]
    journal.claim("other")
    assert [pid for _, pid, _ in owner_rows(path)] == [os.getpid()]
    assert len(owner_files(path)) == 1
    journal.close()
    assert owner_files(path) == []


def test_a_dead_owner_of_nothing_is_cleared_away_by_the_next(path):
    process = spawn(HOLD.replace("print(", 'ok(journal, Release("r"), Release("other")); print('), path)
    process.stdout.readline()
    process.kill()
    process.communicate()
    assert len(owner_files(path)) == 1
    journal = SqliteJournal(path)
    ok(journal, create("mine"))
    assert [pid for _, pid, _ in owner_rows(path)] == [os.getpid()]
    journal.close()


def test_an_owner_that_closes_leaves_its_runs_to_anyone(path, holder):
    holder.communicate("")
    assert holder.returncode == 0
    assert owner_files(path) == []
    journal = SqliteJournal(path)
    assert journal.find("r").owner_pid is None
    journal.claim("r")
    journal.close()


def test_a_child_of_the_owner_does_not_inherit_its_lock(path):
    script = HOLD.replace(
        "print(",
        'import subprocess; child = subprocess.Popen(["sleep", "60"], close_fds=False); print(child.pid, ',
    )
    process = spawn(script, path)
    child = int(process.stdout.readline().split()[0])
    process.kill()
    process.wait()
    try:
        os.kill(child, 0)
        journal = SqliteJournal(path)
        assert journal.claim("r").owner_pid == os.getpid()
        journal.close()
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()


def test_two_journals_of_one_process_are_two_owners(path):
    one, two = SqliteJournal(path), SqliteJournal(path)
    ok(one, create("r"))
    with pytest.raises(RunOwnedElsewhereError) as caught:
        two.claim("r")
    assert caught.value.pid == os.getpid()
    ok(one, Release("r"))
    two.claim("r")
    (outcome,) = one.commit([Append("r", 1, beginning("r"))])
    assert isinstance(outcome, ValueError)
    one.close()
    two.close()


def test_a_refused_claim_leaves_the_journal_as_it_was(path, holder):
    journal = SqliteJournal(path)
    for _ in range(2):
        with pytest.raises(RunOwnedElsewhereError):
            journal.claim("r")
    ok(journal, create("mine"), Append("mine", 1, beginning("mine")))
    journal.close()
    assert len(owner_files(path)) == 1, "the holder's"


def test_a_fenced_owner_can_write_nothing_more(path):
    journal = SqliteJournal(path)
    ok(journal, create("r"))
    other = apsw.Connection(path)
    other.execute("UPDATE owners SET fenced = 1")
    other.close()
    with pytest.raises(StoreFailed, match="taken over"):
        journal.commit([Append("r", 1, beginning("r"))])
    with pytest.raises(StoreFailed):
        journal.claim("r")
    journal.close()
    again = SqliteJournal(path)
    assert list(again.events("r")) == []
    again.close()


def test_an_owner_whose_lock_file_was_removed_is_fenced_when_its_run_is_taken(path):
    one, two = SqliteJournal(path), SqliteJournal(path)
    ok(one, create("r"), create("s"))
    (Path(path).parent / owner_files(path)[0]).unlink()
    two.claim("r")
    with pytest.raises(StoreFailed):
        one.commit([Append("s", 1, beginning("s"))])
    ok(two, Append("r", 1, beginning("r")))
    one.close()
    two.close()


def test_a_heartbeat_rides_along_with_commits_and_is_written_alone_when_there_are_none(path):
    now = 1000.0
    one = SqliteJournal(path, clock=lambda: now)
    two = SqliteJournal(path, clock=lambda: now)
    ok(one, create("r"))

    def age() -> float:
        with pytest.raises(RunOwnedElsewhereError) as caught:
            two.claim("r")
        return caught.value.heartbeat_age_s

    now = 1004.0
    ok(one, Append("r", 1, beginning("r")))
    one.heartbeat()
    assert age() == 4.0
    now = 1006.0
    ok(one, Append("r", 3, step(0)))
    assert age() == 0.0
    now = 1016.0
    assert age() == 10.0
    one.heartbeat()
    assert age() == 0.0
    now = 400.0
    one.heartbeat()
    now = 401.0
    assert age() == 1.0
    one.close()
    two.close()


def test_the_row_of_an_owner_says_which_process_it_is(path):
    journal = SqliteJournal(path)
    ok(journal, create("r"))
    db = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    ((boot, pid, started_at, heartbeat_at),) = db.execute(
        "SELECT boot_id, pid, started_at, heartbeat_at FROM owners"
    )
    db.close()
    assert pid == os.getpid()
    elapsed = subprocess.run(
        ["ps", "-o", "etimes=", "-p", str(pid)], capture_output=True, text=True, check=True
    ).stdout
    assert heartbeat_at - started_at == pytest.approx(float(elapsed), abs=3)
    assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    journal.close()
