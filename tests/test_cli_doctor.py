"""`actorflow doctor`: what is wrong with a store is named, what is derived is rebuilt, and of a damaged one is saved what holds."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest

from actorflow.cli import main
from actorflow.cli.store.doctor_runs import RunsExamined, examine_runs
from actorflow.core.events import Event
from actorflow.errors import ActorflowError, StoreDamagedError, StoreUnusableError
from actorflow.journal import open_journal
from actorflow.journal.care.repair import Rebuilt
from actorflow.journal.care.salvage import salvage
from actorflow.journal.protocol import RunSummary
from actorflow.journal.records import RunRecord, opened_run
from actorflow.journal.sqlite import SqliteJournal

Capture = pytest.CaptureFixture[str]
History = dict[str, list[Event]]

FLOW = """
name: flow
tasks:
  a: {command: "echo one"}
  b: {command: "seq 1 20000", depends_on: [a]}
  c: {command: "echo three; exit ${STATUS:-0}", depends_on: [b]}
hooks: {workflow_finished: [{command: "true", mode: async}]}
"""
ROOT = Path(__file__).parent.parent
GOLDEN = sorted((ROOT / "tests" / "golden").glob("*.db"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two runs that succeeded and one that failed, closed."""
    folder = tmp_path_factory.mktemp("sound")
    (folder / "flow.yaml").write_text(FLOW)
    (folder / "bad.yaml").write_text(FLOW.replace("${STATUS:-0}", "3").replace("name: flow", "name: bad"))
    store = f"--store={folder / 'runs.db'}"
    assert main(["run", str(folder / "flow.yaml"), "--run-id", "r-1", "--quiet", store]) == 0
    assert main(["run", str(folder / "flow.yaml"), "--run-id", "r-2", "--quiet", store]) == 0
    assert main(["run", str(folder / "bad.yaml"), "--run-id", "r-3", "--quiet", store]) == 1
    return folder / "runs.db"


@pytest.fixture
def store(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is the store of all commands."""
    path = tmp_path / "runs.db"
    shutil.copy(sound, path)
    shutil.copy(f"{sound}.mark", f"{path}.mark")
    monkeypatch.setenv("ACTORFLOW_STORE", str(path))
    return path


@pytest.fixture
def limits() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def doctor(capsys: Capture, *words: str) -> tuple[int, Any]:
    capsys.readouterr()
    status = main(["doctor", "--json", *words])
    return status, json.loads(capsys.readouterr().out)


def problems(found: Any) -> list[str]:
    return [each["text"] for each in found["findings"] if each["level"] == "problem"]


def warnings(found: Any) -> list[str]:
    return [each["text"] for each in found["findings"] if each["level"] == "warning"]


def history(path: Path) -> History:
    journal = SqliteJournal(str(path))
    try:
        return {row.run_id: [event for _, event in journal.events(row.run_id)] for row in journal.runs()}
    finally:
        journal.close()


def change(path: Path, statement: str, *values: object) -> None:
    db = sqlite3.connect(path)
    db.execute(statement, values)
    db.commit()
    db.close()


def record_of(path: Path, run_id: str) -> RunRecord:
    db = apsw.Connection(str(path))
    (row,) = db.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchall()
    db.close()
    return opened_run(row)


def give_summary(path: Path, run_id: str, like: str) -> None:
    """Have the row of a run say of it what that of another says of that."""
    record = record_of(path, run_id)
    record.summary = record_of(path, like).summary
    columns = ", ".join("?" * 13)
    change(path, "DELETE FROM runs WHERE run_id = ?", run_id)
    change(path, f"INSERT INTO runs VALUES ({columns})", record.key, *record.columns())


# Healthy, and not quite


def test_a_healthy_store_is_told_so_check_by_check(store: Path, capsys: Capture):
    status, found = doctor(capsys)
    assert (status, found["is_healthy"], problems(found)) == (0, True, [])
    told = {each["check"]: each["text"] for each in found["findings"]}
    assert {"versions", "file system", "room", "schema", "SQLite", "commits", "runs"} <= told.keys()
    assert told["runs"].startswith("3 runs with ")
    assert warnings(found) == ["1 dead letter"]


def test_it_is_readable_for_people(store: Path, capsys: Capture):
    assert main(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert "ok       SQLite       its own check of all pages and indexes finds nothing" in out
    assert "warning  owed         1 dead letter; `actorflow dead-letters list`" in out
    assert err == "no problems, 1 warning\n"


def test_examining_changes_nothing(store: Path, capsys: Capture):
    before = store.read_bytes()
    doctor(capsys)
    assert store.read_bytes() == before


def test_an_empty_file_is_not_made_a_store_of(tmp_path: Path, capsys: Capture):
    path = tmp_path / "empty.db"
    path.touch(0o600)
    status, found = doctor(capsys, "--store", str(path))
    assert (status, found["findings"][-1]["text"]) == (0, "its file is empty: nothing was kept in it yet")
    assert (path.stat().st_size, [*tmp_path.iterdir()]) == (0, [path])


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
def test_a_sound_store_of_any_version_has_no_problem(golden: Path, tmp_path: Path, capsys: Capture):
    status, found = doctor(capsys, "--store", str(shutil.copy(golden, tmp_path / "runs.db")))
    assert (status, problems(found)) == (0, [])


def test_of_a_folder_of_json_no_repair_is_promised(tmp_path: Path, capsys: Capture):
    (tmp_path / "flow.yaml").write_text(FLOW)
    store = f"--store=json:{tmp_path / 'states'}"
    assert main(["run", str(tmp_path / "flow.yaml"), "--run-id", "r-1", "--quiet", store]) == 0
    assert doctor(capsys, store)[0] == 0
    lines = tmp_path / "states" / "r-1.events.jsonl"
    lines.write_bytes(lines.read_bytes().replace(b"echo one", b"echo two"))
    status, found = doctor(capsys, store)
    assert (status, [each["remedy"] for each in found["findings"] if each["level"] == "problem"]) == (1, [""])
    assert main(["doctor", "--repair", store]) == 73


def test_a_store_that_others_may_read_is_a_warning(store: Path, capsys: Capture):
    store.chmod(0o644)
    _, found = doctor(capsys)
    assert "others than its owner may read or write it (mode 0644)" in warnings(found)


@pytest.mark.parametrize("words", [["--store", "nowhere.db"], ["--store", "memory:"]])
def test_where_there_is_no_store_there_is_nothing_to_examine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, words: list[str]
):
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", *words]) == 66
    assert "there is nothing to examine" in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == []


def test_a_run_whose_process_was_killed_is_told_with_what_goes_on_with_it(store: Path, capsys: Capture):
    journal = SqliteJournal(str(store))
    journal.claim("r-3")
    journal._store.fail("killed")
    journal._office.abandon()  # pyright: ignore[reportOptionalMemberAccess]
    status, found = doctor(capsys)
    assert status == 0
    assert any("is gone, and 1 run of it can go on" in each for each in warnings(found))


# What is derived


def test_a_row_that_differs_from_its_events_is_rebuilt_and_a_copy_is_kept(store: Path, capsys: Capture):
    before = history(store)
    give_summary(store, "r-2", "r-3")

    status, found = doctor(capsys)
    assert status == 1
    assert [each.partition(";")[0] for each in problems(found)] == [
        "its row says failed, generation 1, 10 events"
    ]
    status, found = doctor(capsys, "--repair")
    assert status == 0
    copy, mended = found["done"]
    assert mended == "the row of run r-2 says again what its events say"
    kept = Path(copy.removeprefix("a copy of the store as it was is "))
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert record_of(kept, "r-2").summary.status == "failed"
    assert doctor(capsys)[0] == 0
    assert history(store) == before


def test_what_belongs_to_nothing_is_removed(store: Path, capsys: Capture):
    change(store, "INSERT INTO deliveries VALUES (900, 77, 'd', 'h', 1, 'delivered', '{}', x'00')")
    change(store, "INSERT INTO blobs VALUES ('nobody', x'00')")
    Path(f"{store}.owner-{7:016x}.lock").touch()
    logs = Path(f"{store}.logs")
    logs.mkdir()
    (logs / "gone.jsonl").touch()
    (logs / "r-1.jsonl").touch()

    status, found = doctor(capsys)
    assert (status, len(warnings(found))) == (0, 4)
    assert doctor(capsys, "--repair")[0] == 0
    assert [path.name for path in logs.iterdir()] == ["r-1.jsonl"]
    assert not Path(f"{store}.owner-{7:016x}.lock").exists()
    assert warnings(doctor(capsys)[1]) == ["1 dead letter"]


def test_where_there_is_nothing_to_mend_nothing_is_done(store: Path, capsys: Capture):
    status, found = doctor(capsys, "--repair")
    assert (status, found["done"], found["lost"]) == (0, [], [])


def test_without_room_for_the_copy_nothing_is_changed(store: Path, capsys: Capture, limits: None):
    change(store, "INSERT INTO blobs VALUES ('nobody', x'00')")
    before = store.read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    assert main(["doctor", "--repair"]) == 73
    assert "cannot keep a copy of the store" in capsys.readouterr().err
    assert store.read_bytes() == before


# Damage


def spoil(path: Path, word: bytes) -> None:
    """Flip a bit behind the first place where the file has a word."""
    content = bytearray(path.read_bytes())
    content[content.index(word) + len(word) + 2] ^= 8
    path.write_bytes(content)


def test_a_run_that_is_damaged_is_saved_up_to_there_and_says_so(store: Path, capsys: Capture):
    before = history(store)
    db = apsw.Connection(str(store))
    key = record_of(store, "r-2").key
    (payload,) = db.execute(
        "SELECT events FROM batches WHERE run = ? ORDER BY id DESC LIMIT 1", (key,)
    ).fetchall()[0]
    db.close()
    spoil(store, str(payload).encode()[:60])

    status, found = doctor(capsys)
    assert status == 1
    assert any("'r-2' is damaged at event" in each for each in problems(found))
    damaged = store.read_bytes()
    target = store.parent / "saved.db"
    status, found = doctor(capsys, "--repair", "--into", str(target))
    assert status == 1
    assert found["lost"][0].startswith("run r-2 behind event ")
    assert store.read_bytes() == damaged

    after = history(target)
    assert (after["r-1"], after["r-3"]) == (before["r-1"], before["r-3"])
    *kept, pause = after["r-2"]
    assert kept == before["r-2"][: len(kept)]
    assert pause.cause == f"salvaged: what followed event {len(kept)} is lost"  # pyright: ignore[reportAttributeAccessIssue]
    assert main(["resume", "r-2", "--store", str(target), "--quiet"]) == 0
    assert main(["doctor", "--store", str(target)]) == 0


def test_what_is_saved_of_a_whole_store_is_all_of_it(store: Path, capsys: Capture):
    before = history(store)
    target = store.parent / "saved.db"
    status, found = doctor(capsys, "--repair", "--into", str(target))
    assert (status, found["lost"]) == (0, [])
    assert not Path(f"{target}-wal").exists(), "it is to be moved as one file"
    assert history(target) == before
    old, new = open_journal(f"sqlite:///{store}"), open_journal(f"sqlite:///{target}")
    try:
        assert new.dead_letters() == old.dead_letters()
        for run_id in before:
            assert new.deliveries(run_id) == old.deliveries(run_id)
            assert new.find(run_id).cursor == old.find(run_id).cursor
    finally:
        old.close()
        new.close()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_what_is_there_is_not_written_over_and_a_store_in_use_is_not_saved(store: Path, capsys: Capture):
    other = store.parent / "mine"
    other.write_text("mine")
    assert main(["doctor", "--repair", "--into", str(other)]) == 73
    assert other.read_text() == "mine"
    journal = SqliteJournal(str(store))
    try:
        journal.claim("r-3")
        assert main(["doctor", "--repair", "--into", str(store.parent / "saved.db")]) == 73
        assert "is in use" in capsys.readouterr().err
    finally:
        journal.close()


def test_a_disk_without_room_for_what_is_saved_leaves_nothing_behind(
    store: Path, capsys: Capture, limits: None
):
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    assert main(["doctor", "--repair", "--into", str(store.parent / "saved.db")]) != 0
    assert not [path for path in store.parent.iterdir() if path.name.startswith(".salvage")]


def empty(path: Path) -> None:
    path.write_bytes(b"")


def halved(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def no_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(100))


def newer(path: Path) -> None:
    change(path, "PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("harm", "says", "is_saved"),
    [
        (empty, "lost", False),
        (halved, "", True),
        (no_header, "database", False),
        (newer, "use that version or a newer one", None),
    ],
)
def test_a_store_that_cannot_be_opened_is_told_and_saved_if_anything_is_left(
    store: Path,
    capsys: Capture,
    harm: Callable[[Path], None],
    says: str,
    is_saved: bool | None,
):
    before = history(store)
    harm(store)
    status, found = doctor(capsys)
    assert status == 1
    assert any(says in each for each in problems(found))
    target = store.parent / "saved.db"
    status = main(["doctor", "--repair", "--into", str(target), "--quiet"])
    assert status != 0
    if is_saved:
        assert_is_beginning(target, before)


def assert_is_beginning(path: Path, before: History) -> int:
    """Nothing is in a saved store that was not in the old one; how many events were saved."""
    after = history(path)
    for run_id, events in after.items():
        kept = events[:-1] if "salvaged" in str(getattr(events[-1], "cause", "")) else events
        assert kept == before[run_id][: len(kept)]
    return sum(map(len, after.values()))


def flipped(content: bytes, random: Random) -> bytes:
    spoiled = bytearray(content)
    spoiled[random.randrange(100, len(content))] ^= 1 << random.randrange(8)
    return bytes(spoiled)


def cut(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(4096, len(content))]


def zeroed(content: bytes, random: Random) -> bytes:
    page = 4096 * random.randrange(1, len(content) // 4096)
    return content[:page] + bytes(4096) + content[page + 4096 :]


@pytest.mark.parametrize(("spoil_it", "count"), [(flipped, 120), (cut, 20), (zeroed, 40)])
def test_whatever_is_spoiled_is_found_and_nothing_is_saved_that_was_not_there(
    sound: Path, tmp_path: Path, spoil_it: Callable[[bytes, Random], bytes], count: int
):
    before, content = history(sound), sound.read_bytes()
    total = sum(map(len, before.values()))
    random = Random(spoil_it.__name__)
    saved_count = 0
    for number in range(count):
        folder = tmp_path / str(number)
        folder.mkdir()
        spoiled = folder / "runs.db"
        spoiled.write_bytes(spoil_it(content, random))
        shutil.copy(f"{sound}.mark", f"{spoiled}.mark")
        try:
            saved = salvage(str(spoiled), str(folder / "saved.db"), 1.0)
        except StoreUnusableError:
            continue
        count_saved = assert_is_beginning(folder / "saved.db", before)
        saved_count += 1
        if saved.is_whole:
            assert count_saved == total, "something is lost, and nobody says so"
        shutil.rmtree(folder)
    assert saved_count > count // 2


def test_a_run_that_is_deleted_while_the_doctor_looks_is_no_damage(store: Path):
    give_summary(store, "r-3", "r-2")
    theirs, ours = SqliteJournal(str(store)), SqliteJournal(str(store))
    try:
        found = examine_runs(ours, RunsExamined())
        assert next(found).run_id == "r-3"  # the rows are read by now
        theirs.delete("r-1")
        assert [each.text for each in found if each.level == "problem"] == []
    finally:
        theirs.close()
        ours.close()


def test_a_run_that_has_gone_on_or_is_gone_since_it_was_looked_at_is_not_mended(store: Path):
    journal = SqliteJournal(str(store))
    try:
        before = journal.find("r-2")
        stale = (RunSummary("paused", 1, 1.0, None), before.last_seq - 1)
        journal.repair(Rebuilt(summaries={"r-2": stale, "r-9": stale}, checkpoints=["r-9"]))
        assert journal.find("r-2") == before
    finally:
        journal.close()


HOOKED = ROOT / "tests" / "golden" / "0.5-requests.db"


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("breakers", "circuit breakers"),
        ("dead_letters", "dead letters"),
        ("deliveries", "deliveries"),
        ("inbox", "asked of runs"),
        ("outbox", "pending deliveries"),
        ("snapshots", "snapshots"),
    ],
)
def test_rows_that_cannot_be_read_are_told_as_a_loss_whatever_they_are_of(
    tmp_path: Path, table: str, says: str
):
    path = tmp_path / "runs.db"
    shutil.copy(HOOKED, path)
    db = sqlite3.connect(path)
    ((page,),) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchall()
    ((size,),) = db.execute("PRAGMA page_size").fetchall()
    db.close()
    content = bytearray(path.read_bytes())
    content[(page - 1) * size : page * size] = bytes(size)
    path.write_bytes(content)
    saved = salvage(str(path), str(tmp_path / "saved.db"), 1.0)
    assert any(says in each and "nobody can say how many" in each for each in saved.losses)


@pytest.mark.parametrize(
    ("table", "column"),
    [("deliveries", "hook"), ("dead_letters", "at"), ("breakers", "key"), ("snapshots", "name")],
)
@pytest.mark.parametrize("value", ["x'ff'", "CAST(x'ff' AS TEXT)"])
def test_a_row_of_which_damage_has_made_something_else_costs_that_row_only(
    tmp_path: Path, table: str, column: str, value: str
):
    path = tmp_path / "runs.db"
    shutil.copy(HOOKED, path)
    before = history(path)
    loosened = "replace(sql, 'STRICT', '')"
    db = sqlite3.connect(path)
    db.execute("PRAGMA writable_schema = ON")
    ((strict,),) = db.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchall()
    db.execute(f"UPDATE sqlite_schema SET sql = {loosened} WHERE name = ?", (table,))
    db.commit()
    db.close()
    change(path, f"UPDATE {table} SET {column} = {value} WHERE rowid = (SELECT max(rowid) FROM {table})")
    db = sqlite3.connect(path)
    db.execute("PRAGMA writable_schema = ON")
    db.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (strict, table))
    db.commit()
    db.close()
    saved = salvage(str(path), str(tmp_path / "saved.db"), 1.0)
    assert not saved.is_whole
    assert history(tmp_path / "saved.db") == before


def test_what_became_of_a_delivery_is_missed_where_its_row_is_gone_without_a_trace(tmp_path: Path):
    path = tmp_path / "runs.db"
    shutil.copy(HOOKED, path)
    change(path, "DELETE FROM deliveries WHERE id = (SELECT max(id) FROM deliveries)")
    saved = salvage(str(path), str(tmp_path / "saved.db"), 1.0)
    assert any("last deliveries of" in each for each in saved.losses)


def test_a_log_that_is_missing_is_known_by_the_commits_that_were_acknowledged(store: Path, capsys: Capture):
    before = history(store)
    journal = SqliteJournal(str(store))
    journal.save_snapshot("late", {})
    left = store.parent / "left.db"
    shutil.copy(store, left)
    shutil.copy(f"{store}.mark", f"{left}.mark")
    journal.close()
    with pytest.raises(StoreDamagedError, match="lost 1 commits"):
        SqliteJournal(str(left))
    target = store.parent / "saved.db"
    status, found = doctor(capsys, "--repair", "--into", str(target), "--store", str(left))
    assert status == 1
    assert any("1 commits at the end of the store" in each for each in found["lost"])
    assert history(target) == before


def test_errors_of_damage_lead_to_the_doctor(store: Path, capsys: Capture):
    halved(store)
    assert main(["list"]) == 74
    assert "actorflow doctor" in capsys.readouterr().err


def test_no_damage_is_a_bug(sound: Path, tmp_path: Path, capsys: Capture):
    content, random = sound.read_bytes(), Random(7)
    for number in range(30):
        path = tmp_path / f"{number}.db"
        path.write_bytes(flipped(content, random))
        status, found = doctor(capsys, "--store", str(path))
        assert status in (0, 1)
        assert found["is_healthy"] == (status == 0)
        try:
            assert history(path) == history(sound) or status == 1
        except ActorflowError:
            assert status == 1
