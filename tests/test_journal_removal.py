"""What is left of a SQLite store when runs go, and what a commit that changes nothing costs."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from journal_cases import (
    BODY,
    ask,
    beginning,
    contents,
    create,
    delivery,
    finished,
    given_up,
    large,
    letter,
    ok,
    pending,
    save,
    spawn,
    step,
    told,
    write_history,
)

from actorflow.core.breaker import Allowed
from actorflow.errors import RunNotFoundError, RunOwnedElsewhereError, StoreDamagedError, StoreFailed
from actorflow.journal import (
    Answered,
    Append,
    ChangeDefinition,
    DropDeadLetters,
    KeepDeadLetter,
    KeepDefinition,
    RecordDeliveries,
    Release,
)
from actorflow.journal.sqlite import SqliteJournal

OF_RUNS = (
    "runs", "deliveries", "outbox", "blobs", "blob_uses", "checkpoints", "dead_letters", "letter_bodies", "inbox",
    "snapshots", "definitions",
)  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "state.db")


def alter(path: str, *statements: str) -> None:
    db = apsw.Connection(path)
    for statement in statements:
        db.execute(statement)
    db.close()


def counts(path: str) -> dict[str, int]:
    db = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    found = {table: db.execute(f"SELECT count(*) FROM {table}").get for table in OF_RUNS}
    found["batches"] = db.execute("SELECT count(*) FROM batches WHERE run IS NOT NULL").get
    db.close()
    return found


def highest(path: str) -> int:
    db = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    found = db.execute("SELECT max(id) FROM batches").get
    db.close()
    return found


def mark(path: str) -> int:
    return int.from_bytes(Path(f"{path}.mark").read_bytes(), "little")


def fill(journal: SqliteJournal, run_id: str, output: object) -> None:
    ok(journal, create(run_id), Append(run_id, 1, beginning(run_id)))
    ok(journal, Append(run_id, 3, finished(0, output)), save(run_id, 3, [[output]]))
    ok(journal, RecordDeliveries(run_id, [delivery(1)], 3, [pending(2)]), KeepDeadLetter(letter(run_id, "t")))
    ok(journal, given_up(run_id, 3))
    journal.post(run_id, "pause", {})
    journal.save_snapshot(run_id, {})
    ok(journal, Release(run_id))


def test_nothing_is_left_of_the_only_run(path):
    journal = SqliteJournal(path)
    fill(journal, "a", large())
    assert 0 not in counts(path).values()
    journal.delete("a")
    assert set(counts(path).values()) == {0}
    journal.close()


def test_values_that_others_have_too_stay_and_its_own_go(path):
    journal = SqliteJournal(path)
    shared, own = large(0), large(1)
    fill(journal, "a", shared)
    fill(journal, "b", [shared, 1])
    fill(journal, "c", shared)
    ok(journal, KeepDefinition("k", "d1", BODY))
    before = counts(path)
    journal.claim("a")
    ok(journal, Append("a", 4, finished(1, own)), Release("a"))
    assert counts(path)["blobs"] == before["blobs"] + 1
    journal.delete("a")
    assert counts(path)["blobs"] == before["blobs"]
    assert [event.output for _, event in journal.events("c", 2)] == [shared]
    journal.delete("b")
    journal.delete("c")
    assert (counts(path)["blobs"], journal.definition("d1")) == (0, BODY)
    journal.close()


def test_the_ids_of_commits_never_go_down_and_a_removal_counts_for_the_mark(path):
    journal = SqliteJournal(path)
    fill(journal, "a", 1)
    fill(journal, "b", 2)
    for run_id in ("b", "a"):
        before = highest(path)
        journal.delete(run_id)
        assert highest(path) == mark(path) == before + 1
    journal.close()
    again = SqliteJournal(path)
    ok(again, create("c"))
    assert highest(path) == before + 2
    again.close()


def test_every_write_that_changes_something_counts_for_the_mark_and_no_other_does(path):
    journal = SqliteJournal(path)
    ok(journal, create("r"))
    number = journal.post("r", "pause", {})
    changing = (
        lambda: journal.commit([told("r", 1, 990.0)]),
        lambda: journal.commit([KeepDeadLetter(letter("r", "s")), KeepDeadLetter(letter("r", "t"))]),
        lambda: journal.commit([DropDeadLetters("r", ["s"])]),
        lambda: journal.commit([Answered([number])]),
        lambda: journal.commit([ChangeDefinition("r", "d2", b"{}")]),
        lambda: journal.post("r", "pause", {}),
        lambda: journal.save_snapshot("s", {}),
        lambda: journal.purge_dead_letters(["r/1/t"]),
        lambda: journal.delete("s"),
    )
    for write in changing:
        before = mark(path)
        write()
        assert mark(path) == highest(path) == before + 1
    before, size = mark(path), Path(f"{path}-wal").stat().st_size
    idle = (
        lambda: journal.commit([ask("r")]),
        lambda: journal.commit([told("r", 1, 990.0)]),
        lambda: journal.commit([told("r", 2, 990.0, "success")]),
        lambda: journal.commit([DropDeadLetters("r", ["s"]), Answered([number])]),
        lambda: journal.purge_dead_letters(["r/1/t"]),
        lambda: journal.delete("s"),
        journal.requests,
    )
    for write in idle:
        write()
    assert (mark(path), highest(path), Path(f"{path}-wal").stat().st_size) == (before, before, size)
    journal.close()


def test_a_refused_removal_leaves_all_as_it_was(path):
    holder, journal = SqliteJournal(path), SqliteJournal(path)
    fill(holder, "a", large())
    holder.claim("a")
    before, at = counts(path), highest(path)
    with pytest.raises(RunOwnedElsewhereError):
        journal.delete("a")
    journal.save_snapshot("a", {})
    assert (counts(path), highest(path), mark(path)) == (before, at + 1, at + 1)
    holder.close()
    journal.close()


def test_a_run_of_a_dead_owner_is_removed_and_the_owner_with_it(path):
    script = """
journal = SqliteJournal(sys.argv[1])
ok(journal, create("r"), Append("r", 1, beginning("r")))
print(flush=True)
sys.stdin.read()
"""
    process = spawn(script, path)
    process.stdout.readline()
    process.kill()
    process.communicate()
    journal = SqliteJournal(path)
    assert journal.delete("r")
    db = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    assert db.execute("SELECT count(*) FROM owners").get == 0
    db.close()
    journal.close()


def test_who_lost_its_lock_file_and_then_its_run_writes_nothing_more(path):
    holder, journal = SqliteJournal(path), SqliteJournal(path)
    ok(holder, create("r"), create("s"))
    for entry in Path(path).parent.glob("*.owner-*"):
        entry.unlink()
    journal.delete("r")
    with pytest.raises(StoreFailed, match="taken over"):
        holder.commit([Append("s", 1, beginning("s"))])
    holder.close()
    journal.close()


def test_a_process_that_dies_while_it_removes_a_run_has_removed_all_of_it_or_nothing(path):
    journal = SqliteJournal(path)
    write_history(journal)
    said = contents(journal)
    of_run_a = said[len(said) // 2 :]  # and the letter, which is of that run
    assert of_run_a[0][0] == "run-a"
    journal.close()
    for is_after in (False, True):
        script = f"""
journal = SqliteJournal(sys.argv[1])
commit = journal._commit
journal._commit = lambda: ({is_after} and commit(), os._exit(9))
journal.delete("run-b")
"""
        process = spawn(script, path)
        process.communicate()
        assert process.returncode == 9
        again = SqliteJournal(path)
        assert contents(again) == (of_run_a if is_after else said)
        again.close()


def test_a_reader_of_a_run_that_goes_meanwhile_is_told_so(path):
    journal = SqliteJournal(path)
    ok(journal, create("r"))
    for number in range(200):
        ok(journal, Append("r", 1 + 2 * number, step(number)))
    ok(journal, Release("r"))
    reading = journal.events("r")
    next(reading)
    journal.delete("r")
    ok(journal, create("s"), Append("s", 1, beginning("s")))
    with pytest.raises(RunNotFoundError):
        list(reading)
    journal.close()


# What a hand might do to these rows

ALTERATIONS = {
    "a breaker opened": (
        "UPDATE breakers SET body = replace(body, 'null,null', '2000.0,null')",
        lambda journal: journal.breaker("bank"),
        "the circuit breaker 'bank' is damaged",
    ),
    "a breaker renamed": (
        "UPDATE breakers SET key = 'post'",
        lambda journal: journal.breaker("post"),
        "the circuit breaker 'post' is damaged",
    ),
    "a dead letter changed": (
        "UPDATE dead_letters SET reason = 'none' WHERE kind = 'task'",
        lambda journal: journal.dead_letters(),
        "the dead letter 'a/1/t' is damaged",
    ),
    "a letter's body changed": (
        "UPDATE letter_bodies SET body = '{}'",
        lambda journal: journal.dead_letter_body("a/delivery-3"),
        "the dead letter 'a/delivery-3' is damaged",
    ),
    "a letter's body lost": (
        "DELETE FROM letter_bodies",
        lambda journal: journal.dead_letters(),
        "the dead letter 'a/delivery-3' is damaged",
    ),
    "a pending delivery changed": (
        "UPDATE outbox SET due_at = 9.0",
        lambda journal: journal.pending("a"),
        "the pending deliveries of run 'a' are damaged",
    ),
    "a pending delivery given to another hook": (
        "UPDATE outbox SET hook = 'task_failed[0]'",
        lambda journal: journal.pending("a", "task_failed[0]"),
        "the pending deliveries of run 'a' are damaged",
    ),
    "a snapshot changed": (
        "UPDATE snapshots SET body = '{\"n\":1}'",
        lambda journal: journal.snapshots(),
        "the snapshot 'a' is damaged",
    ),
}


@pytest.mark.parametrize("what", ALTERATIONS)
def test_what_was_altered_by_hand_is_found_out_and_named(path, what):
    journal = SqliteJournal(path)
    fill(journal, "a", 1)
    journal.commit([told("a", 1, 990.0)])
    statement, read, message = ALTERATIONS[what]
    alter(path, statement)
    journal.claim("a")
    for _ in range(2):
        with pytest.raises(StoreDamagedError, match=message):
            read(journal)
    ok(journal, Append("a", 4, step(0)))
    journal.close()


def test_a_damaged_breaker_is_an_error_for_who_asks_and_for_nobody_else(path):
    journal = SqliteJournal(path)
    ok(journal, create("a"))
    journal.commit([told("a", 1, 990.0)])
    alter(path, "UPDATE breakers SET sum = x''")
    outcomes = journal.commit([ask("a"), told("a", 2, 991.0), ask("a", key="post"), Append("a", 1, step(0))])
    assert [type(outcome) for outcome in outcomes] == [
        StoreDamagedError,
        StoreDamagedError,
        Allowed,
        type(None),
    ]
    alter(path, "DELETE FROM breakers")
    assert journal.commit([ask("a")]) == [Allowed(is_probe=False)]
    journal.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE inbox SET kind = 'cancel' WHERE id = 1",
        "UPDATE inbox SET body = CAST(x'ff' AS TEXT) WHERE id = 1",
    ],
)
def test_a_damaged_request_is_told_of_once_and_keeps_no_other_from_being_seen(path, statement, caplog):
    journal = SqliteJournal(path)
    ok(journal, create("a"), create("b"))
    damaged, whole = journal.post("a", "pause", {}), journal.post("b", "pause", {})
    alter(path, statement)
    for kind in ("resume", "cancel"):
        assert [request.id for request in journal.requests()][:1] == [whole]
        journal.post("b", kind, {})
    assert [record.message.split(";")[0] for record in caplog.records] == ["request 1 to run 'a' is damaged"]
    ok(journal, Answered([damaged]))
    assert not journal.is_asked(damaged)
    journal.close()


def test_a_damaged_snapshot_or_dead_letter_can_be_got_rid_of(path):
    journal = SqliteJournal(path)
    fill(journal, "a", 1)
    journal.save_snapshot("s", {})
    alter(path, "UPDATE snapshots SET sum = x''", "UPDATE dead_letters SET sum = x''")
    assert journal.purge_dead_letters(["a/1/t", "a/delivery-3"]) == 2
    assert journal.delete("a")
    assert journal.delete("s")
    assert (journal.dead_letters(), journal.snapshots()) == ([], {})
    journal.close()
