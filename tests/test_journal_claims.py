"""How runs change hands between processes, and what becomes of who had them before."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from threading import Barrier, Thread

import apsw
import pytest
from journal_cases import BODY, RUNNING, ask, beginning, create, letter, ok, spawn, step, told

from actorflow.core.breaker import Allowed, Refused
from actorflow.errors import (
    FencedError,
    RunNotFoundError,
    RunOwnedElsewhereError,
    StoreFailed,
    SurvivorsError,
    WorkflowRunningError,
)
from actorflow.journal import Answered, Append, CreateRun, KeepDeadLetter, Release
from actorflow.journal.protocol import STALE_S
from actorflow.journal.sqlite import SqliteJournal

HOLD = """
journal = SqliteJournal(sys.argv[1])
ok(journal, create("r"), Append("r", 1, beginning("r")), create("other"))
print(journal.cookie, flush=True)
sys.stdin.read()
journal.close()
"""


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "state.db")


def dead_owner(path: str) -> str:
    """Leave the runs `r` and `other` behind; the cookie of the process that had them."""
    process = spawn(HOLD, path)
    cookie = process.stdout.readline().strip()
    process.kill()
    process.communicate()
    return cookie


def silent(path: str, seconds: float) -> SqliteJournal:
    """A journal that owns `r` and `other`, and whose last sign of life is that old."""
    journal = SqliteJournal(path, clock=lambda: 1000.0 - seconds)
    ok(journal, create("r"), Append("r", 1, beginning("r")), create("other"))
    return journal


def rows(path: str, sql: str) -> list[tuple]:
    db = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    found = db.execute(sql).fetchall()
    db.close()
    return found


def at_1000(path: str) -> SqliteJournal:
    return SqliteJournal(path, clock=lambda: 1000.0)


# Survivors


def test_survivors_of_a_dead_owner_are_ended_before_its_run_is_ours_and_outside_of_any_transaction(path):
    cookie = dead_owner(path)
    journal, other = SqliteJournal(path), SqliteJournal(path)
    told_of = []

    def end(prefix: str) -> None:
        told_of.append(prefix)
        assert other.find("r").owner_pid is None
        assert rows(path, "SELECT fenced FROM owners WHERE pid <> " + str(os.getpid())) == [(1,)]
        ok(other, create("s"))

    assert journal.claim("r", end_survivors=end).owner_pid == os.getpid()
    assert told_of == [f"{cookie}r/"]
    journal.claim("other", end_survivors=told_of.append)
    assert told_of[1:] == [f"{cookie}other/"]
    journal.close()
    other.close()


def test_a_run_that_was_released_or_is_ours_has_left_nobody_behind(path):
    journal, told_of = SqliteJournal(path), []
    ok(journal, create("r"))
    journal.claim("r", end_survivors=told_of.append)
    ok(journal, Release("r"))
    journal.claim("r", end_survivors=told_of.append)
    assert told_of == []
    journal.close()


def test_who_cannot_end_the_survivors_has_not_got_the_run_and_the_next_one_tries_again(path):
    cookie = dead_owner(path)
    journal, told_of = SqliteJournal(path), []

    def fail(prefix: str) -> None:
        raise SurvivorsError("r", (42,))

    for _ in range(2):
        with pytest.raises(SurvivorsError):
            journal.claim("r", end_survivors=fail)
        assert journal.find("r").owner_pid is None
    ok(journal, create("s"))
    journal.claim("r", end_survivors=told_of.append)
    assert told_of == [f"{cookie}r/"]
    journal.close()


def test_a_run_that_another_takes_meanwhile_is_the_others(path):
    dead_owner(path)
    journal, other = SqliteJournal(path), SqliteJournal(path)
    with pytest.raises(RunOwnedElsewhereError):
        journal.claim("r", end_survivors=lambda _: other.claim("r"))
    ok(other, Append("r", 3, step(0)))
    journal.close()
    other.close()


def test_a_run_that_another_takes_and_leaves_meanwhile_is_claimed_from_that_one(path):
    cookie = dead_owner(path)
    journal, other, told_of = SqliteJournal(path), SqliteJournal(path), []

    def end(prefix: str) -> None:
        told_of.append(prefix)
        if len(told_of) == 1:
            other.claim("r")
            other._store.fail("its process died")
            other.close()

    journal.claim("r", end_survivors=end)
    assert told_of == [f"{cookie}r/", f"{other.cookie}r/"]
    journal.close()


def test_a_run_that_is_deleted_meanwhile_cannot_be_claimed(path):
    dead_owner(path)
    journal, other = SqliteJournal(path), SqliteJournal(path)
    with pytest.raises(RunNotFoundError):
        journal.claim("r", end_survivors=lambda _: other.delete("r"))
    ok(journal, create("r"))
    journal.close()
    other.close()


def test_of_those_who_claim_a_run_at_the_same_moment_one_gets_it(path):
    dead_owner(path)
    journals, barrier, outcomes = [SqliteJournal(path) for _ in range(4)], Barrier(4), []

    def race(journal: SqliteJournal) -> None:
        barrier.wait()
        try:
            outcomes.append(journal.claim("r", end_survivors=lambda _: None).owner_pid)
        except RunOwnedElsewhereError:
            outcomes.append(None)

    threads = [Thread(target=race, args=(journal,)) for journal in journals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes, key=str) == [os.getpid(), None, None, None]
    appended = [journal.commit([Append("r", 3, step(0))]) for journal in journals]
    assert appended.count([None]) == 1
    for journal in journals:
        journal.close()


@pytest.mark.parametrize(("commit", "is_after"), [(1, False), (1, True), (2, False), (2, True)], ids=str)
def test_killed_at_any_commit_of_a_claim_the_next_claimer_sees_to_what_is_left(path, commit, is_after):
    first = dead_owner(path)
    script = f"""
journal = SqliteJournal(sys.argv[1])
ok(journal, create("mine"), Release("mine"))
commits, commit = [], journal._commit
def crash():
    commits.append(1)
    if len(commits) < {commit}:
        commit()
        return
    if {is_after}:
        commit()
    os._exit(9)
journal._commit = crash
print(journal.cookie, flush=True)
journal.claim("r", end_survivors=lambda prefix: print(prefix, flush=True))
"""
    process = spawn(script, path)
    second, *printed = process.communicate()[0].split()
    assert process.returncode == 9
    assert printed == ([f"{first}r/"] if commit == 2 else [])
    journal, told_of = SqliteJournal(path), []
    journal.claim("r", end_survivors=told_of.append)
    assert told_of == [f"{second if (commit, is_after) == (2, True) else first}r/"]
    assert len(list(journal.events("r"))) == 2
    journal.close()


def test_a_cookie_is_of_the_store_where_it_lies_and_of_the_owner(path, tmp_path):
    before, told_of = SqliteJournal(path), []
    ok(before, create("r"))
    before._store.fail("its process died")
    before.close()
    (tmp_path / "link.db").symlink_to(path)
    shutil.copy(path, tmp_path / "copy.db")
    shutil.copy(f"{path}-wal", tmp_path / "copy.db-wal")
    for name in ("link.db", "copy.db"):
        journal = SqliteJournal(str(tmp_path / name))
        assert journal.cookie != before.cookie
        journal.claim("r", end_survivors=told_of.append)
        journal.close()
    of_link, of_copy = told_of
    assert of_link == f"{before.cookie}r/"
    assert of_copy not in {of_link, f"{journal.cookie}r/"}


# Fencing


def test_an_owner_that_says_nothing_for_long_can_be_taken_over_and_then_writes_nothing_more(path):
    before, journal, told_of = silent(path, STALE_S), at_1000(path), []
    with pytest.raises(RunOwnedElsewhereError) as caught:
        journal.claim("r")
    assert (caught.value.pid, caught.value.heartbeat_age_s) == (os.getpid(), STALE_S)
    journal.claim("r", take_over=True, end_survivors=told_of.append)
    assert told_of == [f"{before.cookie}r/"]
    for _ in range(2):
        with pytest.raises(FencedError, match="taken over"):
            before.commit([Append("other", 1, beginning("other"))])
    for call in (before.requests, before.runs, before.heartbeat, lambda: before.post("r", "pause", {})):
        with pytest.raises(FencedError):
            call()
    before.close()
    assert list(journal.events("other")) == []
    ok(journal, Append("r", 3, step(0)))
    journal.close()


def test_an_owner_that_said_something_of_late_is_not_taken_over(path):
    before, journal = silent(path, STALE_S - 1), at_1000(path)
    with pytest.raises(RunOwnedElsewhereError) as caught:
        journal.claim("r", take_over=True)
    assert caught.value.heartbeat_age_s == STALE_S - 1
    ok(before, Append("r", 3, step(0)))
    before.close()
    journal.close()


def test_a_fenced_owner_counts_as_dead_for_everybody_though_it_holds_its_lock(path):
    before, journal = silent(path, STALE_S), at_1000(path)
    journal.claim("r", take_over=True)
    assert {row.run_id: row.owner_pid for row in journal.runs()} == {"r": os.getpid(), "other": None}
    assert before.find("other").owner_pid is None, "even for itself"
    ok(journal, CreateRun("alone", "deploy-2", "d1", BODY, RUNNING, is_alone=True))
    third, told_of = SqliteJournal(path), []
    third.claim("other", end_survivors=told_of.append)
    assert told_of == [f"{before.cookie}other/"]
    assert len(rows(path, "SELECT id FROM owners")) == 2, "it owns nothing any more"
    with pytest.raises(FencedError):
        before.commit([create("s")])
    for each in (before, journal, third):
        each.close()
    assert [entry.name for entry in Path(path).parent.iterdir() if ".owner-" in entry.name] == []


def test_a_fenced_owner_hears_of_it_where_it_looks_for_requests(path):
    before, journal = silent(path, STALE_S), at_1000(path)
    assert before.requests() == []
    journal.claim("other", take_over=True)
    with pytest.raises(FencedError):
        before.requests()
    with pytest.raises(FencedError):
        before.commit([])
    before.close()
    journal.close()


@pytest.mark.parametrize(
    "write",
    [
        lambda journal: journal.post("r", "pause", {}),
        lambda journal: journal.save_snapshot("s", {}),
        lambda journal: journal.purge_dead_letters(["x"]),
        lambda journal: journal.delete("other"),
        lambda journal: journal.claim("other"),
        lambda journal: journal.commit([told("r", 1, 1.0)]),
    ],
    ids=["post", "save_snapshot", "purge", "delete", "claim", "breaker"],
)
def test_a_fenced_owner_writes_nothing_of_any_kind(path, write):
    before, journal = silent(path, STALE_S), at_1000(path)
    journal.claim("r", take_over=True)
    with pytest.raises(FencedError):
        write(before)
    before.close()
    assert (journal.requests(), journal.snapshots(), journal.breaker("bank").failures) == ([], {}, ())
    journal.close()


def test_a_stopped_process_that_goes_on_after_it_was_taken_over_is_told(path):
    script = HOLD.replace("sys.stdin.read()", "sys.stdin.readline()").replace(
        "journal.close()",
        """
try:
    journal.commit([Append("r", 3, step(0))])
except StoreFailed as error:
    print(type(error).__name__, flush=True)
""",
    )
    process = spawn("from actorflow.errors import StoreFailed\n" + script, path)
    cookie = process.stdout.readline().strip()
    process.send_signal(signal.SIGSTOP)
    journal, told_of = SqliteJournal(path, clock=lambda: 4e9), []
    journal.claim("r", take_over=True, end_survivors=told_of.append)
    process.send_signal(signal.SIGCONT)
    assert process.communicate("\n")[0] == "FencedError\n"
    assert told_of == [f"{cookie}r/"]
    assert len(list(journal.events("r"))) == 2
    journal.close()


# Alone, over processes


def alone(run_id: str) -> CreateRun:
    return CreateRun(run_id, "deploy", "d1", BODY, RUNNING, is_alone=True)


def test_a_run_of_a_dead_process_is_no_company_and_one_of_a_live_process_is(path):
    holder = spawn(HOLD, path)
    holder.stdout.readline()
    journal = SqliteJournal(path)
    (refused,) = journal.commit([alone("a")])
    assert isinstance(refused, WorkflowRunningError)
    assert refused.pid == holder.pid
    holder.kill()
    holder.communicate()
    ok(journal, alone("a"))
    journal.close()


def test_of_processes_that_begin_at_the_same_moment_one_is_alone(path):
    script = """
from journal_cases import BODY, RUNNING, CreateRun
journal = SqliteJournal(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
(outcome,) = journal.commit([CreateRun(sys.argv[2], "deploy", "d1", BODY, RUNNING, is_alone=True)])
print(type(outcome).__name__, flush=True)
sys.stdin.read()
"""
    processes = [spawn(script, path, f"r{number}") for number in range(4)]
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    outcomes = [process.stdout.readline().strip() for process in processes]
    for process in processes:
        process.communicate("")
    assert sorted(outcomes) == ["NoneType", *["WorkflowRunningError"] * 3]


# The probe, over processes


def half_open(path: str, journals: list[SqliteJournal]) -> None:
    for number, journal in enumerate(journals):
        ok(journal, create(f"r{number}"))
    journals[0].commit([told("x", 1, 900.0), told("x", 2, 900.0)])


def test_two_journals_that_ask_at_the_same_moment_have_one_probe_between_them(path):
    journals = [SqliteJournal(path, clock=lambda: 1000.0) for _ in range(2)]
    half_open(path, journals)
    for _ in range(20):
        barrier, answers = Barrier(2), {}

        def race(number: int, barrier=barrier, answers=answers) -> None:
            barrier.wait()
            (answers[number],) = journals[number].commit([ask(f"r{number}")])

        threads = [Thread(target=race, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(answers.values()) == {Allowed(is_probe=True), Refused(1030.0, is_probing=True)}
        winner = max(answers, key=lambda number: isinstance(answers[number], Allowed))
        journals[winner].commit([told(f"r{winner}", 1, 1000.0, "released")])
    for journal in journals:
        journal.close()


def test_a_probe_of_a_process_that_died_or_was_taken_over_is_free_again(path):
    dead_owner(path)
    before, journal = SqliteJournal(path, clock=lambda: 1000.0 - STALE_S), at_1000(path)
    ok(before, create("a"))
    half_open(path, [journal])
    journal.commit([ask("r")])
    assert journal.commit([ask("a")]) == [Allowed(is_probe=True)], "the owner of r is dead"
    assert journal.commit([ask("r0")]) == [Refused(1030.0, is_probing=True)]
    journal.claim("a", take_over=True)
    assert journal.commit([ask("r0")]) == [Refused(1030.0, is_probing=True)], (
        "now the run of the probe is ours"
    )
    ok(journal, Release("a"))
    assert journal.commit([ask("r0")]) == [Allowed(is_probe=True)]
    before.close()
    journal.close()


# What outlives its process


def test_all_of_it_outlives_its_process(path):
    journal = at_1000(path)
    ok(journal, create("r"), KeepDeadLetter(letter("r", "t")))
    journal.commit([told("r", 1, 990.0), told("r", 2, 990.0), ask("r")])
    number = journal.post("r", "signal", {"name": "go", "payload": None, "signal_id": "1"})
    journal.save_snapshot("s", {"n": 1})
    breaker = journal.breaker("bank")
    journal._store.fail("its process died")
    journal.close()
    again = at_1000(path)
    assert again.breaker("bank") == breaker
    assert again.dead_letters() == [letter("r", "t")]
    assert again.snapshots() == {"s": {"n": 1}}
    assert again.requests() == []
    again.claim("r")
    assert [request.id for request in again.requests()] == [number]
    again.close()


# Requests, over processes


def test_who_only_asks_leaves_no_owner_behind(path):
    holder = SqliteJournal(path)
    ok(holder, create("r"))
    asking = SqliteJournal(path)
    number = asking.post("r", "cancel", {"cause": "enough", "now": True})
    asking.save_snapshot("s", {})
    asking.purge_dead_letters(["x"])
    asking.delete("s")
    assert len(rows(path, "SELECT id FROM owners")) == 1
    assert len([entry for entry in Path(path).parent.iterdir() if ".owner-" in entry.name]) == 1
    assert [request.id for request in holder.requests()] == [number]
    assert asking.is_asked(number)
    ok(holder, Answered([number]))
    assert not asking.is_asked(number)
    asking.close()
    holder.close()


def test_looking_for_requests_reads_rows_only_after_somebody_else_has_written(path):
    journal, other = SqliteJournal(path), SqliteJournal(path)
    ok(journal, create("r"))
    journal.requests()
    reads = []
    journal._inbox.read = lambda owner, read=journal._inbox.read: (reads.append(owner), read(owner))
    for number in range(10):
        ok(journal, Append("r", 1 + 2 * number, step(number)))
        assert journal.requests() == []
    assert reads == []
    other.post("r", "pause", {})
    assert len(journal.requests()) == len(journal.requests()) == 1
    assert len(reads) == 1
    journal.post("r", "resume", {})
    assert [request.kind for request in journal.requests()] == ["pause", "resume"]
    journal.close()
    other.close()


def test_a_failed_disk_poisons_who_posts_as_it_does_who_commits(path):
    class Failing(SqliteJournal):
        def _commit(self) -> None:
            raise apsw.IOError

    holder, failing = SqliteJournal(path), Failing(path)
    ok(holder, create("r"))
    with pytest.raises(StoreFailed):
        failing.post("r", "pause", {})
    with pytest.raises(StoreFailed):
        failing.runs()
    assert holder.requests() == []
    failing.close()
    holder.close()
