"""Large values in a SQLite store: kept once, apart, and known to be what was written."""

from __future__ import annotations

from hashlib import sha256

import apsw
import orjson
import pytest
from journal_cases import Append, beginning, create, finished, large, ok, save, step

from actorflow.errors import StoreDamagedError
from actorflow.journal.blobs import BLOB_BYTES
from actorflow.journal.sqlite import SqliteJournal

HASH = sha256(orjson.dumps(large())).hexdigest()


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "state.db")


def rows(path: str, sql: str) -> list[tuple]:
    db = apsw.Connection(path)
    found = db.execute(sql).fetchall()
    db.close()
    return found


def written(path: str, *writes) -> None:
    journal = SqliteJournal(path)
    ok(journal, create("r"), Append("r", 1, beginning("r")), *writes)
    journal.close()


def test_equal_outputs_of_tasks_and_runs_are_stored_once_with_a_use_for_each_run(path):
    second = [create("s"), Append("s", 1, finished(0, large()))]
    written(path, Append("r", 3, finished(0, large())), Append("r", 4, finished(1, large())), *second)
    assert rows(path, "SELECT hash, length(body) FROM blobs") == [(HASH, len(orjson.dumps(large())))]
    assert rows(path, "SELECT run, hash FROM blob_uses") == [(1, HASH), (2, HASH)]


def test_a_row_holds_a_reference_in_place_of_a_large_value(path):
    written(path, Append("r", 3, finished(0, large())))
    ((event,),) = rows(path, "SELECT event FROM events WHERE seq = 3")
    assert orjson.loads(event) == ["attempt_succeeded", 1, 2.5, "task-0", 1, None, {}, {"5": HASH}]


def test_values_up_to_the_limit_stay_in_their_row_however_many_there_are(path):
    at_limit, over = "x" * (BLOB_BYTES - 2), "x" * (BLOB_BYTES - 1)
    steps = [event for number in range(3_000) for event in step(number)]
    written(path, Append("r", 3, finished(0, at_limit)), Append("r", 4, steps))
    assert rows(path, "SELECT * FROM blobs") == []
    journal = SqliteJournal(path)
    ok(journal, create("s"), Append("s", 1, finished(0, over)))
    journal.close()
    assert rows(path, "SELECT length(body) FROM blobs") == [(BLOB_BYTES + 1,)]


def test_a_checkpoint_refers_to_the_blobs_of_its_events(path):
    written(path, Append("r", 3, finished(0, large())), save("r", 3, [[0, "success", large()]]))
    assert rows(path, "SELECT count(*) FROM blobs") == [(1,)]
    assert rows(path, "SELECT length(body) < 1000 FROM checkpoints") == [(1,)]
    journal = SqliteJournal(path)
    assert list(journal.checkpoint("r").rows) == [[0, "success", large()]]
    journal.close()


@pytest.mark.parametrize(
    ("alteration", "what"),
    [
        ("DELETE FROM blobs", "is missing"),
        (
            "UPDATE blobs SET body = CAST(replace(CAST(body AS TEXT), '10000', '10001') AS BLOB)",
            "was changed",
        ),
        ("UPDATE blobs SET body = x''", "was changed"),
    ],
)
def test_a_blob_that_is_not_what_was_written_is_named_with_its_run(path, alteration, what):
    written(path, Append("r", 3, finished(0, large())), save("r", 3, [[large()]]), create("s"))
    rows(path, alteration)
    journal = SqliteJournal(path)
    with pytest.raises(StoreDamagedError, match=f"run 'r' is damaged: its blob {HASH} {what}"):
        list(journal.events("r"))
    assert journal.checkpoint("r") is None
    assert list(journal.events("s")) == []
    journal.close()


def test_a_damaged_blob_is_mended_by_the_next_run_that_has_its_value(path):
    written(path, Append("r", 3, finished(0, large())))
    rows(path, "UPDATE blobs SET body = x''")
    journal = SqliteJournal(path)
    ok(journal, create("s"), Append("s", 1, finished(0, large())))
    for run_id, seq in (("s", 1), ("r", 3)):
        assert dict(journal.events(run_id))[seq] == finished(0, large())[0]
    journal.close()


def test_a_reference_that_was_changed_by_hand_breaks_the_seal_of_its_row(path):
    written(path, Append("r", 3, finished(0, large())))
    rows(path, f"UPDATE batches SET events = replace(events, '{HASH}', '{HASH[::-1]}')")
    journal = SqliteJournal(path)
    with pytest.raises(StoreDamagedError, match="checksum"):
        list(journal.events("r"))
    journal.close()


def test_a_commit_with_large_values_that_is_refused_leaves_none_of_them(path):
    journal = SqliteJournal(path)
    ok(journal, create("r"), Append("r", 1, beginning("r")))
    refused, unfit = journal.commit(
        [Append("r", 9, finished(0, large())), Append("r", 3, finished(0, [large(), object()]))]
    )
    assert (type(refused), type(unfit)) == (ValueError, TypeError)
    journal.close()
    assert rows(path, "SELECT * FROM blobs") == []
