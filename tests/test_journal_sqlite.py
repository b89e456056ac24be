"""The SQLite store as a file: made, opened, refused, shared, watched."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from pathlib import Path

import apsw
import pytest
from journal_cases import BODY, beginning, contents, create, delivery, ok, spawn, step, write_history

from actorflow.errors import StoreDamagedError, StoreFailed, StoreUnusableError
from actorflow.journal import Append, RecordDeliveries, Release, open_journal
from actorflow.journal.schema import APPLICATION_ID
from actorflow.journal.sqlite import SqliteJournal


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "state.db")


def names(folder: str | Path) -> list[str]:
    return sorted(entry.name for entry in Path(folder).iterdir())


def test_a_store_that_was_closed_opens_with_all_that_was_written(path):
    journal = SqliteJournal(path)
    write_history(journal)
    expected = contents(journal)
    journal.close()
    again = SqliteJournal(path)
    assert contents(again) == expected
    again.claim("run-a")
    ok(again, Append("run-a", 15, step(9)))
    assert [seq for seq, _ in again.events("run-a")] == list(range(1, 17))
    again.close()


def test_a_clean_end_leaves_the_database_its_lock_and_its_mark(path):
    journal = SqliteJournal(path)
    write_history(journal)
    journal.close()
    assert names(Path(path).parent) == ["state.db", "state.db.lock", "state.db.mark"]


def test_a_relative_url_is_of_the_folder_it_was_opened_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    journal = open_journal("sqlite:///sub/state.db")
    monkeypatch.chdir("/")
    ok(journal, create("r"))
    assert journal.find("r").run_id == "r"
    journal.close()
    assert "state.db" in names(tmp_path / "sub")


def test_an_absolute_url_has_four_slashes(path):
    open_journal(f"sqlite:///{path}").close()
    assert Path(path).exists()


def test_two_names_of_one_store_are_one_store(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "real" / "state.db")
    journal = SqliteJournal(str(tmp_path / "link.db"))
    ok(journal, create("r"))
    journal.close()
    assert names(tmp_path / "real") == ["state.db", "state.db.lock", "state.db.mark"]


def test_files_are_ours_alone_and_so_are_folders_that_we_make(tmp_path):
    folder = tmp_path / "users"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    journal = SqliteJournal(str(folder / "a" / "b" / "state.db"))
    ok(journal, create("r"))
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in (folder / "a" / "b").iterdir()}
    assert len(modes) == 6
    assert set(modes.values()) == {0o600}
    made = (folder / "a", folder / "a" / "b")
    assert [stat.S_IMODE(one.stat().st_mode) for one in made] == [0o700, 0o700]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    journal.close()


def test_an_empty_file_is_a_fresh_store(path):
    Path(path).touch()
    journal = SqliteJournal(path)
    write_history(journal)
    journal.close()
    SqliteJournal(path).close()


def test_who_only_reads_writes_no_row(path):
    writer = SqliteJournal(path)
    write_history(writer)
    reader = SqliteJournal(path)
    contents(reader)
    owners = sqlite_rows(path, "SELECT count(*) FROM owners")
    assert owners == [(1,)]
    reader.close()
    writer.close()


def sqlite_rows(path: str, sql: str) -> list[tuple]:
    db = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    rows = db.execute(sql).fetchall()
    db.close()
    return rows


def test_the_view_shows_events_one_by_one(path):
    journal = SqliteJournal(path)
    ok(journal, create("r"), Append("r", 1, beginning("r")), Append("r", 3, step(0)))
    ok(journal, RecordDeliveries("r", [delivery(1)], 1))
    assert sqlite_rows(path, "SELECT run_id, seq, type, version, at FROM events ORDER BY seq") == [
        ("r", 1, "run_started", 1, 1.5),
        ("r", 2, "generation_started", 2, 1.5),
        ("r", 3, "attempt_succeeded", 1, 2.5),
        ("r", 4, "attempt_started", 1, 2.5),
    ]
    journal.close()


def test_any_sqlite_can_read_a_store_that_was_closed(path):
    journal = SqliteJournal(path)
    write_history(journal)
    journal.close()
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM events").fetchone() == (29,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


# What is no store


def test_a_folder_is_no_store(tmp_path):
    with pytest.raises(StoreUnusableError, match="is a folder"):
        SqliteJournal(str(tmp_path))


def test_a_pipe_is_no_store(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreUnusableError, match="not a regular file"):
        SqliteJournal(str(tmp_path / "pipe"))


@pytest.mark.parametrize("below", ["state.db", "sub/state.db"])
def test_a_path_below_a_file_cannot_be(tmp_path, below):
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnusableError, match="Not a directory"):
        SqliteJournal(str(tmp_path / "file" / below))


def test_a_name_that_is_too_long_cannot_be(tmp_path):
    with pytest.raises(StoreUnusableError, match="too long"):
        SqliteJournal(str(tmp_path / ("x" * 300)))


def test_text_is_no_store_and_stays_as_it_is(path):
    Path(path).write_text("these are my notes\n" * 100)
    with pytest.raises(StoreUnusableError, match="not a database"):
        SqliteJournal(path)
    assert Path(path).read_text() == "these are my notes\n" * 100


@pytest.mark.parametrize(
    "made",
    ["CREATE TABLE theirs (x)", "PRAGMA application_id = 42", "PRAGMA user_version = 7; CREATE TABLE t (x)"],
)
def test_another_programs_database_is_refused_and_stays_as_it_is(path, made):
    db = sqlite3.connect(path)
    db.executescript(made)
    db.close()
    before = Path(path).read_bytes()
    with pytest.raises(StoreUnusableError, match="another program's database"):
        SqliteJournal(path)
    assert Path(path).read_bytes() == before


def test_a_newer_schema_is_refused_with_the_version_that_wrote_it(path):
    SqliteJournal(path).close()
    alter(path, "PRAGMA user_version = 9", "UPDATE meta SET value = '4.5.6' WHERE key = 'written_by'")
    with pytest.raises(StoreUnusableError, match=r"schema 9, written by actorflow 4\.5\.6"):
        SqliteJournal(path)


def alter(path: str, *statements: str) -> None:
    db = apsw.Connection(path)
    for statement in statements:
        db.execute(statement).fetchall()
    db.close()


def test_tables_that_are_not_as_made_are_damage(path):
    SqliteJournal(path).close()
    alter(path, "DROP INDEX batches_by_run")
    with pytest.raises(StoreDamagedError, match="tables"):
        SqliteJournal(path)


def test_the_file_says_whose_database_it_is(path):
    SqliteJournal(path).close()
    assert Path(path).read_bytes()[68:72] == APPLICATION_ID.to_bytes(4) == b"aflw"


# What happens to the file while it is open


def test_a_store_that_was_removed_while_open_fails(path):
    journal = SqliteJournal(path)
    ok(journal, create("r"))
    Path(path).unlink()
    time.sleep(0.025)
    with pytest.raises(StoreFailed, match="removed or replaced"):
        journal.commit([Append("r", 1, beginning("r"))])
    with pytest.raises(StoreFailed):
        journal.find("r")
    journal.close()


def test_a_store_that_was_replaced_while_open_fails_for_readers_too(path, tmp_path):
    journal = SqliteJournal(path)
    ok(journal, create("r"))
    other = SqliteJournal(str(tmp_path / "other.db"))
    other.close()
    (tmp_path / "other.db").rename(path)
    time.sleep(0.025)
    with pytest.raises(StoreFailed, match="removed or replaced"):
        journal.runs()
    with pytest.raises(StoreFailed):
        journal.commit([])
    journal.close()


def test_a_journal_whose_store_was_replaced_does_not_delete_the_log_of_the_other(path, tmp_path):
    journal = SqliteJournal(path)
    contents(journal)
    for suffix in ("", "-wal", "-shm", ".mark"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    other = SqliteJournal(path)
    write_history(other)
    journal.close()
    assert Path(f"{path}-wal").stat().st_size > 0
    again = SqliteJournal(path)
    assert contents(again) == contents(other)
    again.close()
    other.close()


def test_a_store_that_lost_its_file_says_so_when_opened_and_how_to_go_on(path):
    journal = SqliteJournal(path)
    write_history(journal)
    journal.close()
    Path(path).unlink()
    with pytest.raises(StoreDamagedError, match=r"lost \d+ commits .* delete .*state\.db\.mark"):
        SqliteJournal(path)
    Path(f"{path}.mark").unlink()
    SqliteJournal(path).close()


def test_an_older_copy_is_noticed(path):
    journal = SqliteJournal(path)
    write_history(journal)
    journal.close()
    copy = Path(path).read_bytes()
    journal = SqliteJournal(path)
    journal.claim("run-a")
    ok(journal, Append("run-a", 15, step(9)))
    ok(journal, Append("run-a", 17, step(10)))
    journal.close()
    Path(path).write_bytes(copy)
    with pytest.raises(StoreDamagedError, match="lost 3 commits"):
        SqliteJournal(path)


def test_every_kind_of_commit_counts_for_the_mark(path):
    journal = SqliteJournal(path)
    ok(journal, create("r"), Append("r", 1, beginning("r")))
    for write in (
        RecordDeliveries("r", [delivery(1)], 1),
        create("s"),
        Release("r"),
        Append("s", 1, beginning("s")),
    ):
        before = Path(f"{path}.mark").read_bytes()
        ok(journal, write)
        assert (
            int.from_bytes(Path(f"{path}.mark").read_bytes(), "little")
            == int.from_bytes(before, "little") + 1
        )
    journal.close()


@pytest.mark.parametrize("mark", [b"", b"\1\0\0", b"\0" * 8])
def test_a_mark_that_is_not_whole_is_none(path, mark):
    journal = SqliteJournal(path)
    write_history(journal)
    journal.close()
    Path(f"{path}.mark").write_bytes(mark)
    SqliteJournal(path).close()


# The log of SQLite


def test_the_log_is_emptied_in_upkeep_and_never_grows_without_bound(path):
    journal = SqliteJournal(path)
    journal._db.pragma("synchronous", "OFF")  # sizes are the same, and the test is ten times faster
    ok(journal, create("r"))
    sizes = []
    for number in range(1200):
        ok(journal, Append("r", 1 + 2 * number, step(number)))
        journal.maintain()
        sizes.append(Path(f"{path}-wal").stat().st_size)
    assert max(sizes) < 3_000_000
    assert sizes[20] == sizes[-1], "grown once, to its full size"
    assert Path(path).stat().st_size > 200_000, "checkpoints have reached the database"
    assert len(list(journal.events("r"))) == 2400
    journal.close()


def test_growing_the_log_leaves_nothing_in_the_store(path):
    journal = SqliteJournal(path)
    ok(journal, create("r"))
    for number in range(20):
        ok(journal, Append("r", 1 + 2 * number, step(number)))
        journal.maintain()
    assert Path(f"{path}-wal").stat().st_size > 2_000_000
    assert journal.definition("d1") == BODY
    journal.close()
    assert Path(path).stat().st_size < 200_000


def test_a_slow_reader_does_not_keep_the_log_from_being_emptied(path):
    journal = SqliteJournal(path)
    journal._db.pragma("synchronous", "OFF")
    ok(journal, create("r"))
    for number in range(100):
        ok(journal, Append("r", 1 + 2 * number, step(number)))
    slow = journal.events("r")
    assert next(slow)[0] == 1
    for number in range(100, 800):
        ok(journal, Append("r", 1 + 2 * number, step(number)))
        journal.maintain()
    assert Path(f"{path}-wal").stat().st_size < 4_000_000
    assert [seq for seq, _ in slow][-1] >= 200
    journal.close()


def test_two_writers_without_a_pause_do_not_let_the_log_grow(path):
    one, two = SqliteJournal(path), SqliteJournal(path)
    for journal, run_id in ((one, "a"), (two, "b")):
        journal._db.pragma("synchronous", "OFF")
        ok(journal, create(run_id))
    for number in range(800):
        ok(one, Append("a", 1 + 2 * number, step(number)))
        ok(two, Append("b", 1 + 2 * number, step(number)))
        one.maintain()
        two.maintain()
    assert Path(f"{path}-wal").stat().st_size < 9_000_000
    assert len(list(two.events("a"))) == len(list(one.events("b"))) == 1600
    one.close()
    two.close()


# Several processes


def test_processes_that_make_one_store_at_the_same_moment_all_get_it(tmp_path):
    script = """
for line in sys.stdin:
    try:
        journal = SqliteJournal(line.strip())
        ok(journal, create(f"run-{os.getpid()}"), Append(f"run-{os.getpid()}", 1, beginning("x")))
        journal.close()
        print("done", flush=True)
    except BaseException as error:
        print(repr(error), flush=True)
"""
    openers = [spawn(script) for _ in range(6)]
    for turn in range(10):
        path = tmp_path / f"{turn}.db"
        for opener in openers:
            opener.stdin.write(f"{path}\n")
        assert [opener.stdout.readline() for opener in openers] == ["done\n"] * 6
        journal = SqliteJournal(str(path))
        assert len(journal.runs()) == 6
        journal.close()
    for opener in openers:
        opener.communicate()
        assert opener.returncode == 0


def test_processes_that_write_to_one_store_do_not_hear_of_each_other(tmp_path):
    script = """
journal = SqliteJournal(sys.argv[1])
run = f"run-{os.getpid()}"
ok(journal, create(run))
for number in range(60):
    ok(journal, Append(run, 1 + 2 * number, step(number)))
    journal.maintain()
journal.close()
"""
    path = str(tmp_path / "state.db")
    writers = [spawn(script, path) for _ in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    for writer in writers:
        writer.communicate()
    journal = SqliteJournal(path)
    assert [len(list(journal.events(row.run_id))) for row in journal.runs()] == [120] * 3
    journal.close()
