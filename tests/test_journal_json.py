"""The store in a folder of JSON lines: what its files are, what a crash leaves, what damage is told, and who may write."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from journal_cases import (
    RUNNING,
    beginning,
    contents,
    create,
    large,
    letter,
    ok,
    save,
    step,
    write_history,
)

from actorflow.errors import (
    RunNotFoundError,
    RunOwnedElsewhereError,
    StoreBusyError,
    StoreDamagedError,
    StoreFailed,
    StoreUnusableError,
)
from actorflow.journal import (
    Answered,
    Append,
    ChangeDefinition,
    CreateRun,
    KeepDeadLetter,
    KeepDefinition,
    Release,
)
from actorflow.journal.files import file_name
from actorflow.journal.json import log as json_log
from actorflow.journal.json.folder import JsonFolder
from actorflow.journal.json.inbox import JsonInbox
from actorflow.journal.json.journal import JsonJournal
from actorflow.journal.json.line import first_sum, write_line
from actorflow.journal.protocol import CHECKED_KEPT, STALE_S, Journal
from tests.mutants.switches import replaced


def opened(folder: Path, **how: Any) -> JsonJournal:
    return JsonJournal(str(folder), patience_s=0, **how)


def die(journal: JsonJournal) -> None:
    """What a kill does to a journal: its lock is free, and nothing else happens any more."""
    journal._office.give_back()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "a" / "store"


@pytest.fixture
def journal(root: Path) -> Iterator[JsonJournal]:
    journal = opened(root)
    yield journal
    journal.close()


# Files


def test_a_run_is_a_file_of_lines_with_all_that_is_its_own(root: Path, journal: JsonJournal):
    ok(journal, create("r"), Append("r", 1, beginning("r")))
    ok(journal, Append("r", 3, step(0)), KeepDeadLetter(letter("r", "t")), Release("r"))
    lines = [orjson.loads(line) for line in (root / "r.events.jsonl").read_bytes().splitlines()]
    assert [[fact[0] for fact in line["facts"]] for line in lines] == [
        ["run", "events"],
        ["events", "letter", "owner"],
    ]
    assert [line["commit"] for line in lines] == [2, 3]
    assert (root / "store.jsonl").read_bytes().count(b"\n") == 1


def test_folders_are_made_for_us_alone_and_one_that_is_there_stays_as_it_is(tmp_path: Path):
    tmp_path.chmod(0o755)
    journal = opened(tmp_path / "a" / "store")
    ok(journal, create("r"))
    journal.post("r", "pause", {})
    journal.save_snapshot("r", {})
    journal.close()
    made = [tmp_path / "a", *(tmp_path / "a").rglob("*")]
    assert {(path.is_dir(), path.stat().st_mode & 0o777) for path in made} == {(True, 0o700), (False, 0o600)}
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_who_only_reads_writes_nothing(root: Path):
    reader = opened(root)
    assert reader.runs() == []
    with pytest.raises(RunNotFoundError):
        reader.find("r")
    reader.close()
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("name", ["Run", "RUN", "run/1", "../run", ".run", "run\n", "rün", "r" * 300])
def test_every_run_has_a_file_of_its_own_whatever_its_id(name: str, root: Path, journal: JsonJournal):
    names = ["run", name]
    ok(journal, *(CreateRun(each, "w", "d", b"{}", RUNNING) for each in names))
    assert len({path.name.lower() for path in root.glob("*.events.jsonl")}) == 2
    assert all(len(path.name) < 200 for path in root.iterdir())
    journal.close()
    again = opened(root)
    assert sorted(row.run_id for row in again.runs()) == sorted(names)
    again.close()


def test_a_run_that_is_deleted_leaves_no_file(root: Path, journal: JsonJournal):
    for run_id in ("r", "s"):
        ok(journal, create(run_id), Append(run_id, 1, beginning(run_id)), Release(run_id))
        journal.post(run_id, "pause", {})
        journal.save_snapshot(run_id, {})
        journal.documents.keep(run_id, b"{}")
    assert journal.delete("r")
    assert not [path for path in root.rglob("*") if path.name.startswith(("r.", "1."))]
    assert [row.run_id for row in journal.runs()] == ["s"]
    assert journal.is_asked(2)


def test_a_run_may_have_the_id_of_one_that_was_deleted(root: Path, journal: JsonJournal):
    reader = opened(root)
    for number in range(3):
        ok(
            journal,
            create("r"),
            Append("r", 1, beginning("r")),
            *([] if number % 2 else [Append("r", 3, step(number))]),
        )
        ok(journal, Release("r"))
        assert contents(reader) == contents(journal)
        assert journal.delete("r")
        assert number != 1 or reader.runs() == []
    ok(journal, create("r"))
    assert contents(reader) == contents(journal)
    journal.close()
    again = opened(root)
    again.claim("r")
    ok(again, Append("r", 1, beginning("r")))
    again.close()
    assert opened(root).find("r").last_seq == 2


def test_runs_of_one_commit_stay_in_their_order(root: Path, journal: JsonJournal):
    ok(journal, create("b"), create("c"), create("a"))
    assert [row.run_id for row in journal.runs()] == ["a", "c", "b"]
    assert opened(root).runs() == journal.runs()


def test_who_opens_it_next_finds_the_last_definition_alone_and_no_checkpoint_of_the_one_before(
    root: Path, journal: JsonJournal
):
    ok(journal, create("r"), Append("r", 1, beginning("r")), save("r", 2))
    assert opened(root).checkpoint("r") is not None
    ok(journal, ChangeDefinition("r", "d2", b"{}"))
    reader = opened(root)
    assert reader.checkpoint("r") is None
    assert reader.definition("d2") == b"{}"
    with pytest.raises(StoreDamagedError, match="no definition 'd1'"):
        reader.definition("d1")


def test_who_opens_it_next_knows_the_latest_definitions_that_were_checked(root: Path, journal: JsonJournal):
    ok(journal, *(KeepDefinition(f"k{number}", "d", b"{}") for number in range(CHECKED_KEPT + 2)))
    reader = opened(root)
    assert [reader.cached_definition(f"k{number}") is None for number in range(4)] == [
        True,
        True,
        False,
        False,
    ]


# Crashes


def images_of_history(folder: Path) -> tuple[list[tuple[Path, int]], list[list[Any]]]:
    """What kills would leave of a history: copies of its folder around and within each write to a file of lines.

    Each copy comes with the number of the last commit that was acknowledged; and what the store says after each commit.
    """
    root, images = folder / "store", list[tuple[Path, int]]()
    journal = opened(root)
    states = [contents(journal)]
    write, append = json_log.write_all, JsonFolder.append

    def copy() -> None:
        image = folder / str(len(images))
        shutil.copytree(root, image)
        images.append((image, len(states) - 1))

    def write_in_steps(fd: int, content: bytes, at: int) -> None:
        for size in (0, len(content) // 2, len(content)):
            write(fd, content[:size], at)
            copy()

    def append_and_note(kept: JsonFolder, parts: Any, *, is_flushed: bool = True) -> None:
        append(kept, parts, is_flushed=is_flushed)
        states.append(contents(journal))

    with replaced(json_log, "write_all", write_in_steps), replaced(JsonFolder, "append", append_and_note):
        write_history(journal)
    journal.close()
    return images, states


def test_whatever_is_left_by_a_kill_has_all_that_was_acknowledged_and_no_half_of_a_commit(tmp_path: Path):
    images, states = images_of_history(tmp_path)
    assert len(images) > 50
    for image, acknowledged in images:
        reader = opened(image)
        assert contents(reader) in states[acknowledged : acknowledged + 2]
        ended: list[str] = []
        for row in reader.runs():
            reader.claim(row.run_id, end_survivors=ended.append)
        ok(reader, create("next"))
        found = contents(reader)
        reader.close()
        again = opened(image)
        assert contents(again) == found
        again.close()


def test_a_commit_of_two_runs_is_there_for_both_or_for_none(root: Path, tmp_path: Path, journal: JsonJournal):
    ok(journal, create("a"), create("b"))
    before, size = contents(journal), (root / "b.events.jsonl").stat().st_size
    mark = (root / "store.mark").read_bytes()
    ok(journal, Append("a", 1, beginning("a")), Append("b", 1, beginning("b")))
    for cut in (size, size + 1, (root / "b.events.jsonl").stat().st_size - 1):
        image = tmp_path / f"cut-{cut}"
        shutil.copytree(root, image)
        os.truncate(image / "b.events.jsonl", cut)
        (image / "store.mark").write_bytes(mark)
        after = opened(image)
        assert contents(after) == before
        after.claim("a")
        ok(after, Append("a", 1, beginning("a")))
        after.close()
        assert [row.last_seq for row in opened(image).runs()] == [0, 2]


def test_who_dies_leaves_its_runs_and_their_processes_to_who_comes_next(root: Path, journal: JsonJournal):
    ok(journal, create("r"))
    reader = opened(root)
    assert reader.find("r").owner_pid == os.getpid()
    die(journal)
    assert reader.find("r").owner_pid is None
    told: list[str] = []
    assert reader.claim("r", end_survivors=told.append).owner_pid == os.getpid()
    assert told == [f"{journal.cookie}r/"]
    reader.close()
    told.clear()
    opened(root).claim("r", end_survivors=told.append)
    assert told == [], "it was given up"


def test_who_claims_a_run_again_and_dies_is_known_as_its_owner(root: Path, journal: JsonJournal):
    ok(journal, create("r"), Release("r"))
    for _ in range(2):
        journal.claim("r")
        ok(journal, Release("r"))
    journal.claim("r")
    die(journal)
    told: list[str] = []
    opened(root).claim("r", end_survivors=told.append)
    assert told == [f"{journal.cookie}r/"]


def test_a_run_is_not_taken_while_its_last_processes_do_not_end(root: Path, journal: JsonJournal):
    ok(journal, create("r"))
    die(journal)
    heir = opened(root)

    def refuse(_: str) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        heir.claim("r", end_survivors=refuse)
    told: list[str] = []
    opened(root).claim("r", end_survivors=told.append)
    assert told == [f"{journal.cookie}r/"]
    heir.close()


def test_a_removal_that_was_cut_short_is_finished_by_who_writes_next(root: Path, journal: JsonJournal):
    ok(journal, create("r"), Append("r", 1, beginning("r")), Release("r"))
    left = (root / "r.events.jsonl").read_bytes()
    journal.delete("r")
    journal.close()
    (root / "r.events.jsonl").write_bytes(left)
    again = opened(root)
    assert again.runs() == []
    ok(again, create("s"))
    assert not (root / "r.events.jsonl").exists()
    ok(again, create("r"))
    again.close()
    assert sorted(row.run_id for row in opened(root).runs()) == ["r", "s"]


@pytest.mark.parametrize("fails", ["write_all", "flush", "flush_folder"])
def test_an_error_of_the_disk_ends_the_use_of_the_store_and_loses_nothing(
    fails: str, root: Path, journal: JsonJournal
):
    ok(journal, create("r"), Append("r", 1, beginning("r")))
    before = list(journal.events("r"))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with replaced(json_log, fails, fail), pytest.raises(StoreFailed, match="No space left on device"):
        journal.commit([create("s")])
    with pytest.raises(StoreFailed, match="No space left on device"):
        journal.runs()
    again = opened(root)
    assert list(again.events("r")) == before
    ok(again, create("t"))
    again.close()


# Damage


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def swap_lines(path: Path) -> None:
    first, second, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([second, first, *rest]))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "removed": lambda path: path.unlink(),
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "without its end": lambda path: os.truncate(path, path.stat().st_size - 1),
    "without its last line": lambda path: path.write_bytes(
        b"".join(path.read_bytes().splitlines(keepends=True)[:-1])
    ),
    "without its first line": lambda path: path.write_bytes(
        b"".join(path.read_bytes().splitlines(keepends=True)[1:])
    ),
    "in another order": swap_lines,
    "a flipped bit": flip,
    "another run's": lambda path: shutil.copy(path.with_name("run-a.events.jsonl"), path),
}


@pytest.mark.parametrize("name", ["run-b.events.jsonl", "store.jsonl"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_as_written_is_told_and_stays_as_it_is(damage: str, name: str, tmp_path: Path):
    root = tmp_path / "store"
    journal = opened(root)
    write_history(journal)
    for _ in range(2):
        ok(journal, Answered([1]))
    journal.close()
    before, path = (root / name).read_bytes(), root / name
    DAMAGES[damage](path)
    if path.exists() and path.read_bytes() == before:
        pytest.fail("nothing was damaged")
    spoiled = path.read_bytes() if path.exists() else None
    for _ in range(2):
        with pytest.raises(StoreDamagedError, match="restore") as told:
            opened(root)
        assert str(root) in str(told.value)
    assert (path.read_bytes() if path.exists() else None) == spoiled


def test_a_line_that_is_not_as_written_is_told_with_its_file_and_number(root: Path, journal: JsonJournal):
    write_history(journal)
    journal.close()
    path = root / "run-a.events.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], lines[3].replace(b"task", b"tusk"), *lines[4:]]))
    with pytest.raises(StoreDamagedError, match=r"run-a\.events\.jsonl:4: .*not what was written"):
        opened(root)


def test_damage_that_comes_while_it_is_read_is_told_too(root: Path, journal: JsonJournal):
    write_history(journal)
    reader = opened(root)
    flip(root / "run-a.events.jsonl")
    ok(journal, Append("run-a", 15, step(9)))
    assert reader.find("run-a").last_seq == 16, "what was read before is not read again"
    os.truncate(root / "run-b.events.jsonl", 10)
    ok(journal, Append("run-a", 17, step(10)))
    with pytest.raises(StoreDamagedError):
        reader.runs()


def test_without_its_mark_a_store_is_read_as_far_as_it_goes(root: Path, journal: JsonJournal):
    write_history(journal)
    before = contents(journal)
    journal.close()
    (root / "store.mark").unlink()
    again = opened(root)
    assert contents(again) == before
    again.close()


def test_without_its_mark_it_is_still_seen_that_something_is_missing_in_the_middle(
    root: Path, journal: JsonJournal
):
    write_history(journal)
    journal.close()
    (root / "store.mark").unlink()
    path = root / "run-b.events.jsonl"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(StoreDamagedError, match="run-b"):
        opened(root)


def test_a_later_version_is_told_to_be_one(root: Path):
    root.mkdir(parents=True)
    line, _ = write_line(first_sum("store.jsonl"), 1, 1, [("store", 99)])
    (root / "store.jsonl").write_bytes(line)
    with pytest.raises(StoreUnusableError, match=r"newer version of actorflow \(format 99"):
        opened(root)


def test_lines_that_do_not_fit_together_are_damage_also_where_each_is_whole(root: Path):
    root.mkdir(parents=True)
    store, _ = write_line(first_sum("store.jsonl"), 1, 1, [("store", 1)])
    run, _ = write_line(first_sum("r.events.jsonl"), 2, 1, [("summary", "running", 1, 1.0, None)])
    (root / "store.jsonl").write_bytes(store)
    (root / "r.events.jsonl").write_bytes(run)
    with pytest.raises(StoreDamagedError, match="does not fit together"):
        opened(root)


@pytest.mark.parametrize("how", ["moved", "removed", "lock"])
def test_a_folder_that_goes_while_it_is_in_use_ends_its_use(how: str, root: Path, journal: JsonJournal):
    ok(journal, create("r"))
    match how:
        case "moved":
            root.rename(root.with_name("elsewhere"))
        case "removed":
            shutil.rmtree(root)
        case _:
            (root / "store.lock").unlink()
    looks = [lambda: journal.commit([create("s")]), journal.requests]
    for look in looks if how == "moved" else reversed(looks):
        with pytest.raises(StoreFailed, match="moved or removed"):
            look()
    assert not (root / "s.events.jsonl").exists()


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_what_is_no_folder_cannot_be_a_store(name: str, tmp_path: Path):
    (tmp_path / "file").write_text("notes")
    with pytest.raises(StoreUnusableError, match="cannot open the store"):
        opened(tmp_path / name)


# Several processes


def test_one_process_at_a_time_owns_runs_and_others_are_told_which(root: Path, journal: JsonJournal):
    ok(journal, create("r"))
    other = opened(root)
    for write in (lambda: other.commit([create("s")]), lambda: other.purge_dead_letters(["x"])):
        with pytest.raises(StoreBusyError, match=f"in use by process {os.getpid()}") as told:
            write()
        assert told.value.pid == os.getpid()
    ok(journal, Release("r"))
    ok(other, create("s"))
    with pytest.raises(StoreBusyError):
        journal.commit([create("t")])
    other.close()
    ok(journal, create("t"))
    assert [row.run_id for row in journal.runs()] == ["t", "s", "r"]


def test_a_run_of_another_process_cannot_be_claimed_or_deleted(root: Path, journal: JsonJournal):
    ok(journal, create("r"), create("s"), Release("s"))
    other = opened(root)
    for refused in (lambda: other.claim("r"), lambda: other.delete("r")):
        with pytest.raises(RunOwnedElsewhereError) as told:
            refused()
        assert told.value.pid == os.getpid()
    for refused in (
        lambda: other.claim("s"),
        lambda: other.delete("s"),
        lambda: other.claim("r", take_over=True),
    ):
        with pytest.raises(StoreBusyError):
            refused()


def test_an_owner_that_says_nothing_is_seen_to_be_silent(root: Path):
    now = 1000.0
    journal, other = (opened(root, clock=lambda: now) for _ in range(2))
    ok(journal, create("r"))
    now += STALE_S + 5
    with pytest.raises(RunOwnedElsewhereError, match="has said nothing for 35 s"):
        other.claim("r")
    journal.heartbeat()
    assert other.find("r").heartbeat_at == now
    with pytest.raises(RunOwnedElsewhereError, match="gave a sign of life 0 s ago"):
        other.claim("r")
    journal.close()


def test_others_follow_what_is_written(root: Path, journal: JsonJournal):
    reader, seen = opened(root), []
    append = JsonFolder.append

    def append_and_look(kept: JsonFolder, parts: Any, *, is_flushed: bool = True) -> None:
        append(kept, parts, is_flushed=is_flushed)
        seen.append(contents(reader) == contents(journal))

    with replaced(JsonFolder, "append", append_and_look):
        write_history(journal)
    assert len(seen) > 10
    assert all(seen)


def test_requests_of_others_reach_the_owner_in_their_order_until_they_are_answered(
    root: Path, journal: JsonJournal
):
    ok(journal, create("r"), create("s"), Release("s"))
    other = opened(root)
    numbers = [
        other.post("r", "signal", {"n": 1}),
        journal.post("r", "pause", {}),
        other.post("s", "cancel", {}),
    ]
    assert numbers == [1, 2, 3]
    assert [(each.id, each.kind, each.body, each.pid) for each in journal.requests()] == [
        (1, "signal", {"n": 1}, os.getpid()),
        (2, "pause", {}, os.getpid()),
    ]
    assert other.requests() == []
    ok(other, Answered([2]))
    ok(journal, Answered([1]))
    assert journal.requests() == []
    assert [other.is_asked(number) for number in numbers] == [False, False, True]
    assert other.post("r", "pause", {}) == 4
    with pytest.raises(RunNotFoundError):
        other.post("nobody", "pause", {})


def test_a_request_is_older_than_a_claim_that_came_after_it(root: Path, journal: JsonJournal):
    ok(journal, create("r"), Release("r"))
    journal.post("r", "pause", {})
    journal.claim("r")
    journal.post("r", "signal", {})
    assert [(each.kind, each.is_older) for each in journal.requests()] == [("pause", True), ("signal", False)]


def test_a_request_that_was_answered_is_not_heard_again_after_a_crash(root: Path, journal: JsonJournal):
    ok(journal, create("r"))
    number = journal.post("r", "cancel", {})
    left = (root / "inbox" / "1.json").read_bytes()
    ok(journal, Answered([number]))
    die(journal)
    (root / "inbox" / "1.json").write_bytes(left)
    heir = opened(root)
    assert not heir.is_asked(number)
    heir.claim("r")
    assert heir.requests() == []
    assert not (root / "inbox" / "1.json").exists()
    (root / "inbox" / "last").unlink()
    assert heir.post("r", "pause", {}) == 2
    heir.close()


def test_a_request_that_was_answered_and_cannot_be_removed_is_not_heard_again(
    root: Path, journal: JsonJournal
):
    ok(journal, create("r"))
    number = journal.post("r", "cancel", {})

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with replaced(JsonInbox, "drop", fail):
        ok(journal, Answered([number]))
    assert journal.requests() == []
    assert not journal.is_asked(number)


def test_a_damaged_request_is_passed_over_and_told_of_once(
    root: Path, journal: JsonJournal, caplog: pytest.LogCaptureFixture
):
    ok(journal, create("r"))
    for kind in ("pause", "cancel"):
        journal.post("r", kind, {})
    flip(root / "inbox" / "1.json")
    with caplog.at_level(logging.ERROR, "actorflow.journal"):
        for _ in range(2):
            assert [each.kind for each in journal.requests()] == ["cancel"]
    assert [record.message for record in caplog.records] == [
        f"{root}/inbox/1.json: the file is damaged; remove it, or restore it from a copy"
    ]


def test_snapshots_are_kept_whoever_writes_to_the_store(root: Path, journal: JsonJournal):
    ok(journal, create("r"))
    other = opened(root)
    other.save_snapshot("State", {"n": 1})
    other.save_snapshot("state", {"n": 2})
    assert journal.snapshots() == {"State": {"n": 1}, "state": {"n": 2}}
    assert other.delete("State")
    flip(root / "states" / "state.json")
    with pytest.raises(StoreDamagedError, match=r"states/state\.json"):
        journal.snapshots()


def test_a_state_for_people_is_there_whole_or_not_at_all(root: Path, journal: JsonJournal):
    for size in (1, 1000, 10):
        journal.documents.keep("r", b"x" * size)
        assert (root / "r.json").read_bytes() == b"x" * size
    assert [path.name for path in root.iterdir()] == ["r.json"]


def test_large_values_are_in_the_file_of_their_run(root: Path, journal: Journal):
    ok(journal, create("r"), Append("r", 1, beginning("r")), Append("r", 3, step(0, large())))
    assert (root / f"{file_name('r')}.events.jsonl").stat().st_size > 64 * 1024
    journal.close()
    assert next(opened(root).events("r", 2))[1] == step(0, large())[0]
