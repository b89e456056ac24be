"""What every journal keeps of deliveries to async hooks, in memory and in SQLite alike: settled, pending, given up."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from journal_cases import (
    STORES,
    beginning,
    create,
    delivery,
    delivery_letter,
    given_up,
    letter,
    ok,
    pending,
    step,
    store_url,
)

from actorflow.errors import StoreDamagedError
from actorflow.journal import (
    Append,
    Delivery,
    DropDeadLetters,
    KeepDeadLetter,
    PendingDelivery,
    RecordDeliveries,
    Release,
    open_journal,
)
from actorflow.journal.sqlite import SqliteJournal

HOOK = "on_stage_complete[0]"


@pytest.fixture(params=STORES)
def journal(request, tmp_path):
    opened = open_journal(store_url(request.param, tmp_path))
    for run_id in ("a", "b"):
        ok(opened, create(run_id), Append(run_id, 1, [*beginning(run_id), *step(0), *step(1)]))
    yield opened
    opened.close()


# Settled


@pytest.mark.parametrize("status", ["delivered", "failed", "dead_letter", "skipped"])
def test_every_way_of_being_settled_comes_back(journal, status):
    settled = Delivery("a/1/h", HOOK, 1, status, {"tries": [{"at": 1.5}], "reason": "näh"})
    ok(journal, RecordDeliveries("a", [settled], 1))
    assert journal.deliveries("a") == [settled]


def test_deliveries_are_asked_for_behind_an_event_and_come_as_they_were_settled(journal):
    ok(journal, RecordDeliveries("a", [delivery(1, 3), delivery(2, 1), delivery(3, 2)], 3))
    ok(journal, RecordDeliveries("a", [delivery(4, 2), delivery(5, 6)], 6))
    found = {
        after: [one.delivery_id[-1] for one in journal.deliveries("a", after)] for after in (0, 1, 2, 3, 6)
    }
    assert found == {0: [*"12345"], 1: [*"1345"], 2: [*"15"], 3: ["5"], 6: []}


def test_a_delivery_that_was_tried_again_is_there_twice(journal):
    first, second = Delivery("a/1/h", HOOK, 1, "dead_letter"), Delivery("a/1/h", HOOK, 1, "delivered")
    ok(journal, RecordDeliveries("a", [first], 1))
    ok(journal, RecordDeliveries("a", [second], 1))
    assert journal.deliveries("a") == [first, second]


# Pending


def test_what_is_pending_comes_back_by_its_events(journal):
    late, early, other = pending(1, 3), pending(2, 2), pending(3, 2, "task_failed[0]")
    ok(journal, RecordDeliveries("a", [], 3, [late, early, other]))
    assert journal.pending("a") == [early, other, late]
    assert journal.pending("a", HOOK) == [early, late]
    assert journal.pending("a", "task_failed[0]") == [other]
    assert journal.pending("a", "task_failed[1]") == []
    assert journal.pending("a", after=2) == [late]
    assert journal.pending("a", limit=2) == [early, other]
    assert journal.pending("a", HOOK, after=1, limit=1) == [early]
    assert journal.pending("a", limit=0) == []
    assert journal.pending("b") == []
    assert journal.find("a").cursor == 3


def test_a_long_line_is_read_a_piece_at_a_time(journal):
    numbers = range(1, 7)
    ok(journal, RecordDeliveries("a", [], 6, [pending(number, number) for number in numbers]))
    read, after = list[PendingDelivery](), 0
    while rows := journal.pending("a", HOOK, after=after, limit=4):
        read, after = read + rows, rows[-1].seq
    assert read == [pending(number, number) for number in numbers]


def test_a_pending_delivery_takes_the_place_of_its_row(journal):
    ok(journal, RecordDeliveries("a", [], 1, [pending(1), pending(2)]))
    ok(journal, RecordDeliveries("a", [], 1, [pending(1, tries=2)]))
    assert journal.pending("a") == [pending(1, tries=2), pending(2)]
    assert journal.pending_counts() == {"a": 2}


def test_what_is_settled_is_pending_no_more(journal):
    ok(journal, RecordDeliveries("a", [], 1, [pending(1), pending(2)]))
    ok(journal, RecordDeliveries("b", [], 1, [pending(1)]))
    ok(journal, RecordDeliveries("a", [delivery(1)], 1))
    assert (journal.pending("a"), journal.pending("b")) == ([pending(2)], [pending(1)])
    assert journal.deliveries("a") == [delivery(1)]


def test_writes_of_one_commit_about_a_delivery_happen_in_their_order(journal):
    waits, is_settled = RecordDeliveries("a", [], 1, [pending(1)]), RecordDeliveries("a", [delivery(1)], 1)
    ok(journal, waits, is_settled)
    assert journal.pending("a") == []
    ok(journal, waits, is_settled, RecordDeliveries("a", [], 1, [pending(1, tries=3)]))
    assert journal.pending("a") == [pending(1, tries=3)]
    assert journal.deliveries("a") == [delivery(1), delivery(1)]


def test_the_next_owner_of_a_run_settles_what_the_one_before_left_pending(journal):
    ok(journal, RecordDeliveries("a", [], 1, [pending(1)]), Release("a"))
    assert journal.pending_counts() == {"a": 1}
    journal.claim("a")
    ok(journal, RecordDeliveries("a", [delivery(1)], 1))
    assert (journal.pending("a"), journal.pending_counts()) == ([], {})


@pytest.mark.parametrize(
    ("refused", "error"),
    [
        (RecordDeliveries("a", [], 1, [pending(1, 7)]), ValueError),
        (RecordDeliveries("a", [], 7, [pending(1)]), ValueError),
        (RecordDeliveries("c", [], 1, [pending(1)]), ValueError),
        (
            RecordDeliveries("a", [delivery(2)], 1, [PendingDelivery("d", HOOK, 1, 1.0, {"x": {1}})]),
            TypeError,
        ),
        (RecordDeliveries("a", [delivery(2)], 1, [PendingDelivery("\udcff", HOOK, 1, 1.0)]), TypeError),
        (RecordDeliveries("a", [Delivery("\udcff", HOOK, 1, "failed")], 1, [pending(1)]), TypeError),
        (KeepDeadLetter(delivery_letter("a", 1), {"x": {1}}), TypeError),
    ],
)
def test_a_delivery_that_cannot_be_kept_is_refused_whole_and_hurts_nobody(journal, refused, error):
    outcomes = journal.commit([refused, RecordDeliveries("b", [delivery(1)], 1, [pending(2)])])
    assert [type(outcome) for outcome in outcomes] == [error, type(None)]
    assert (journal.deliveries("a"), journal.pending("a"), journal.find("a").cursor) == ([], [], 0)
    assert (journal.deliveries("b"), journal.pending("b")) == ([delivery(1)], [pending(2)])
    assert journal.dead_letters() == []


def test_what_the_writer_changes_later_does_not_change_a_row(journal):
    body = {"n": [1]}
    ok(journal, RecordDeliveries("a", [], 1, [PendingDelivery("d", HOOK, 1, 1.0, body)]))
    body["n"].append(2)
    journal.pending("a")[0].body["n"].append(3)
    assert journal.pending("a")[0].body == {"n": [1]}


# The number of the last event


def test_the_row_of_a_run_knows_its_last_event_whoever_owns_it(journal):
    assert [row.last_seq for row in journal.runs()] == [6, 6]
    ok(journal, Append("a", 7, step(2)))
    assert (journal.find("a").last_seq, journal.claim("a").last_seq) == (8, 8)
    ok(journal, Release("a"))
    assert (journal.find("a").last_seq, journal.find("b").last_seq) == (8, 6)


# Given up


def test_a_letter_of_a_delivery_is_kept_with_what_trying_it_again_takes(journal):
    ok(journal, given_up("a", 1), KeepDeadLetter(letter("a", "t")))
    assert journal.dead_letters() == [delivery_letter("a", 1), letter("a", "t")]
    assert journal.dead_letter_body("a/delivery-1") == {"n": 1}
    assert [journal.dead_letter_body(other) for other in ("a/1/t", "a/delivery", "\udcff")] == [None] * 3


def test_the_body_of_a_letter_is_that_of_its_last_keeping(journal):
    ok(journal, given_up("a", 1), KeepDeadLetter(delivery_letter("a", 1), {"n": 2}))
    assert journal.dead_letter_body("a/delivery-1") == {"n": 2}
    ok(journal, KeepDeadLetter(delivery_letter("a", 1)))
    assert journal.dead_letter_body("a/delivery-1") is None
    assert journal.dead_letters() == [delivery_letter("a", 1)]


def test_a_delivery_that_is_tried_again_is_pending_and_no_dead_letter_any_more(journal):
    ok(journal, given_up("a", 1), given_up("a", 2), given_up("b", 1))
    drop = DropDeadLetters("a", ids=["a/delivery-1", "b/delivery-1"])
    ok(journal, drop, RecordDeliveries("a", [], 0, [pending(1)]))
    assert journal.dead_letters() == [delivery_letter("a", 2), delivery_letter("b", 1)]
    assert journal.dead_letter_body("a/delivery-1") is None
    assert journal.dead_letter_body("b/delivery-1") == {"n": 1}
    assert journal.pending("a") == [pending(1)]


def test_letters_of_tasks_and_of_deliveries_are_dropped_by_their_own_names(journal):
    ok(journal, given_up("a", 1), KeepDeadLetter(letter("a", "t")))
    ok(journal, DropDeadLetters("a", [HOOK, "a/delivery-1"], ["t", "a/1/t"]))
    assert len(journal.dead_letters()) == 2
    ok(journal, DropDeadLetters("a", ["t"], ["a/delivery-1"]))
    assert journal.dead_letters() == []


def test_purging_a_letter_forgets_its_body(journal):
    ok(journal, given_up("a", 1), given_up("a", 2))
    assert journal.purge_dead_letters(["a/delivery-1"]) == 1
    assert journal.dead_letter_body("a/delivery-1") is None
    ok(journal, KeepDeadLetter(delivery_letter("a", 1)))
    assert journal.dead_letter_body("a/delivery-1") is None
    assert journal.dead_letter_body("a/delivery-2") == {"n": 2}


def test_a_removed_run_leaves_nothing_pending_and_no_body(journal):
    for run_id in ("a", "b"):
        ok(journal, RecordDeliveries(run_id, [], 1, [pending(1)]), given_up(run_id, 1), Release(run_id))
    assert journal.delete("a")
    assert journal.pending_counts() == {"b": 1}
    assert [journal.dead_letter_body(f"{run_id}/delivery-1") for run_id in ("a", "b")] == [None, {"n": 1}]
    ok(journal, create("a"), Append("a", 1, beginning("a")))
    assert (journal.pending("a"), journal.deliveries("a")) == ([], [])
    ok(journal, KeepDeadLetter(delivery_letter("a", 1)))
    assert journal.dead_letter_body("a/delivery-1") is None


# Of a store on disk


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "state.db")


def test_what_is_pending_and_what_was_given_up_outlive_the_process(path):
    journal = SqliteJournal(path)
    ok(journal, create("a"), Append("a", 1, beginning("a")))
    ok(journal, RecordDeliveries("a", [delivery(1)], 2, [pending(2)]), given_up("a", 3))
    journal._store.fail("its process died")
    journal.close()
    again = SqliteJournal(path)
    assert (again.deliveries("a"), again.pending("a")) == ([delivery(1)], [pending(2)])
    assert again.dead_letter_body("a/delivery-3") == {"n": 3}
    assert again.find("a").last_seq == 2
    again.close()


@pytest.mark.parametrize("index", ["outbox_by_hook", "outbox_by_delivery"])
def test_a_pending_delivery_that_an_index_lost_is_found_out(path, index):
    journal = SqliteJournal(path)
    ok(journal, create("a"), Append("a", 1, beginning("a")))
    ok(journal, RecordDeliveries("a", [], 2, [pending(1), pending(2)]))
    journal.close()
    db = apsw.Connection(path)
    (root,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (index,)).fetchone()
    whole = Path(path).read_bytes()
    db.execute("DELETE FROM outbox WHERE delivery_id = 'delivery-2'")
    db.close()
    lacking = Path(path).read_bytes()
    start = (root - 1) * 4096
    Path(path).write_bytes(whole[:start] + lacking[start : start + 4096] + whole[start + 4096 :])
    again = SqliteJournal(path)
    with pytest.raises(StoreDamagedError, match="the pending deliveries of run 'a' are damaged"):
        again.pending("a")
    again.close()


def test_a_store_of_an_earlier_schema_gets_an_outbox(path):
    journal = SqliteJournal(path)
    ok(journal, create("a"), Append("a", 1, beginning("a")), RecordDeliveries("a", [delivery(1)], 1))
    ok(journal, KeepDeadLetter(letter("a", "t")), Release("a"))
    journal.close()
    db = apsw.Connection(path)
    db.execute("DROP TABLE outbox; DROP TABLE letter_bodies; PRAGMA user_version = 3").fetchall()
    db.close()
    again = SqliteJournal(path)
    assert (again.deliveries("a"), again.dead_letters()) == ([delivery(1)], [letter("a", "t")])
    again.claim("a")
    ok(again, RecordDeliveries("a", [], 1, [pending(2)]), given_up("a", 3))
    assert (again.pending("a"), again.dead_letter_body("a/delivery-3")) == ([pending(2)], {"n": 3})
    again.close()
