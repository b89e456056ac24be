"""Checkpoints and checked definitions in a SQLite store: whatever is wrong with one, it is as if there were none."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from random import Random

import apsw
import pytest
from journal_cases import (
    BODY,
    Append,
    beginning,
    contents,
    create,
    letter,
    ok,
    save,
    spawn,
    step,
    write_history,
)

from actorflow.errors import StoreDamagedError
from actorflow.journal import KeepDeadLetter, KeepDefinition
from actorflow.journal.schema import SCHEMA_VERSION
from actorflow.journal.sqlite import SqliteJournal

ROWS = [[number, "success", {"n": number}] for number in range(600)]


@pytest.fixture
def path(tmp_path):
    """A store with one run of eight events and a checkpoint after the sixth, closed."""
    path = str(tmp_path / "state.db")
    journal = SqliteJournal(path)
    ok(journal, create("r"), Append("r", 1, beginning("r")), Append("r", 3, step(0)))
    ok(journal, Append("r", 5, step(1)), save("r", 6, ROWS), KeepDefinition("k", "d1", BODY, [{"code": "W"}]))
    ok(journal, Append("r", 7, step(2)), create("s"), Append("s", 1, beginning("s")))
    journal.close()
    return path


def alter(path: str, *statements: str) -> None:
    db = apsw.Connection(path)
    for statement in statements:
        db.execute(statement)
    db.close()


def test_a_checkpoint_outlives_its_process_with_the_commit_that_brought_it(path):
    journal = SqliteJournal(path)
    assert (journal.checkpoint("r").seq, list(journal.checkpoint("r").rows)) == (6, ROWS)
    assert journal.checkpoint("s") is None
    journal.close()


def test_only_the_last_checkpoint_of_a_run_is_kept(path):
    journal = SqliteJournal(path)
    journal.claim("r")
    ok(journal, save("r", 8))
    ok(journal, Append("r", 9, step(3)), save("r", 10), Append("r", 11, step(4)), save("r", 12))
    assert journal.checkpoint("r").seq == 12
    journal.close()
    db = apsw.Connection(path)
    assert db.execute("SELECT run, seq FROM checkpoints").fetchall() == [(1, 12)]
    db.close()


@pytest.mark.parametrize(
    "alteration",
    [
        "UPDATE checkpoints SET body = CAST(replace(CAST(body AS TEXT), 'success', 'skipped') AS BLOB)",
        "UPDATE checkpoints SET body = x''",
        "UPDATE checkpoints SET sum = x''",
        "UPDATE checkpoints SET core_version = 2",
        "UPDATE checkpoints SET seq = 4",
        "UPDATE checkpoints SET seq = 5",
        "UPDATE checkpoints SET seq = 99",
        "UPDATE checkpoints SET run = 2",
        "DELETE FROM checkpoints",
    ],
)
def test_a_checkpoint_that_was_altered_is_none(path, alteration):
    alter(path, alteration)
    journal = SqliteJournal(path)
    assert (journal.checkpoint("r"), journal.checkpoint("s")) == (None, None)
    assert len(list(journal.events("r"))) == 8
    journal.close()


def test_a_checkpoint_of_another_history_is_none(path):
    """Its batch is there, with a seal that is right for what it says, but the checkpoint was made of something else."""
    alter(path, "DELETE FROM batches WHERE run = 1 AND first_seq > 2")
    alter(
        path,
        "INSERT INTO batches (run, first_seq, count, at, events, sum) VALUES (1, 3, 4, 1.5, '[]', x'00')",
    )
    journal = SqliteJournal(path)
    assert journal.checkpoint("r") is None
    journal.close()


def test_damage_in_front_of_a_checkpoint_is_found_by_who_reads_all(path):
    alter(
        path,
        "UPDATE batches SET events = replace(events, 'task-0', 'task-9') WHERE run = 1 AND first_seq = 3",
    )
    journal = SqliteJournal(path)
    checkpoint = journal.checkpoint("r")
    assert [seq for seq, _ in journal.events("r", checkpoint.seq)] == [7, 8]
    with pytest.raises(StoreDamagedError, match="event 3"):
        list(journal.events("r"))
    journal.close()


def test_damage_behind_a_checkpoint_is_found_by_everybody(path):
    alter(
        path,
        "UPDATE batches SET events = replace(events, 'task-2', 'task-9') WHERE run = 1 AND first_seq = 7",
    )
    journal = SqliteJournal(path)
    with pytest.raises(StoreDamagedError, match="event 7"):
        list(journal.events("r", journal.checkpoint("r").seq))
    journal.close()


def test_a_flipped_bit_in_any_checkpoint_or_checked_definition_gives_the_right_one_or_none(path, tmp_path):
    sound = SqliteJournal(path)
    expected, cached = sound.checkpoint("r"), sound.cached_definition("k")
    sound.close()
    db = apsw.Connection(path)
    names = "('checkpoints', 'checked_definitions', 'sqlite_autoindex_checked_definitions_1')"
    roots = [root for (root,) in db.execute(f"SELECT rootpage FROM sqlite_schema WHERE name IN {names}")]
    db.close()
    data, random = Path(path).read_bytes(), Random("flips")
    pages = [range((root - 1) * 4096, root * 4096) for root in roots]
    used = [at for page in pages for at in page if any(data[at - 4 : at + 4])]
    rows = [found.start() for found in re.finditer(b'"success"', data)]
    for at in (*random.sample(used, 100), *random.sample(rows, 30)):
        copy = str(tmp_path / "flipped.db")
        Path(copy).write_bytes(data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :])
        journal = SqliteJournal(copy)
        assert journal.checkpoint("r") in (expected, None)
        assert journal.cached_definition("k") in (cached, None)
        assert len(list(journal.events("r"))) == 8
        journal._store.fail("the test is over")
        journal.close()


@pytest.mark.parametrize(
    "alteration",
    [
        "UPDATE checked_definitions SET definition = 'd9'",
        "UPDATE checked_definitions SET warnings = '['",
        "UPDATE checked_definitions SET key = 'k2'",
        "DELETE FROM definitions",
        "UPDATE definitions SET body = x'7b7d'",
    ],
)
def test_a_checked_definition_that_was_altered_is_none_and_can_be_kept_again(path, alteration):
    alter(path, alteration)
    journal = SqliteJournal(path)
    assert (journal.cached_definition("k"), journal.cached_definition("k2")) == (None, None)
    ok(journal, KeepDefinition("k", "d7", b"{}"))
    assert journal.cached_definition("k").digest == "d7"
    journal.close()


def test_a_process_that_is_killed_between_checkpoints_leaves_the_last_that_was_acknowledged(tmp_path):
    path = tmp_path / "state.db"
    script = """
journal = SqliteJournal(sys.argv[1])
ok(journal, create("r"), Append("r", 1, beginning("r")), save("r", 2))
print("kept", flush=True)
sys.stdin.readline()
journal._commit = lambda: os._exit(9)
journal.commit([Append("r", 3, step(0)), save("r", 4)])
"""
    process = spawn(script, path)
    assert process.stdout.readline() == "kept\n"
    process.communicate("\n")
    journal = SqliteJournal(str(path))
    assert journal.checkpoint("r").seq == 2
    assert len(list(journal.events("r"))) == 2
    journal.close()


# Stores of earlier schemas

OLD = {"0.1-spine": 1, "0.2-format": 2, "0.3-recovery": 3}


@pytest.fixture(params=OLD)
def old(request, tmp_path):
    golden = Path(__file__).parent / "golden" / f"{request.param}.db"
    path = shutil.copy(golden, tmp_path / f"{request.param}.db")
    assert version(path) == OLD[request.param]
    return path


def version(path: Path) -> int:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    (found,) = db.execute("PRAGMA user_version").fetchone()
    db.close()
    return found


def test_a_store_of_an_older_schema_gets_what_it_lacks_and_keeps_what_it_has(old):
    db = apsw.Connection(str(old), flags=apsw.SQLITE_OPEN_READONLY)
    before = [db.execute(f"SELECT * FROM {table}").fetchall() for table in ("batches", "runs", "deliveries")]
    db.close()
    journal = SqliteJournal(str(old))
    write_history(journal)
    ok(journal, save("run-a", 14), KeepDefinition("k", "d1", BODY), KeepDeadLetter(letter("run-a", "t")))
    assert journal.checkpoint("run-a").seq == 14
    assert letter("run-a", "t") in journal.dead_letters()
    said = contents(journal)
    journal.close()
    assert version(old) == SCHEMA_VERSION
    again = SqliteJournal(str(old))
    assert contents(again) == said
    again.close()
    db = apsw.Connection(str(old))
    for table, rows in zip(("batches", "runs", "deliveries"), before, strict=True):
        assert db.execute(f"SELECT * FROM {table} LIMIT {len(rows)}").fetchall() == rows
    db.close()


def test_a_process_that_dies_while_it_upgrades_a_store_leaves_it_as_it_was(old):
    script = """
from actorflow.journal import schema
add = schema._add
schema._add = lambda db, version: (add(db, version), os._exit(9))
SqliteJournal(sys.argv[1])
"""
    process = spawn(script, old)
    process.communicate()
    assert process.returncode == 9
    assert version(old) == OLD[old.stem]
    SqliteJournal(str(old)).close()
    assert version(old) == SCHEMA_VERSION
