"""Stores in hostile surroundings, as who works on a command line meets them: the status, the code, and what is safe."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from multiprocessing.connection import Connection
from pathlib import Path

import anyio
import apsw
import pytest
from cli_shell import PATIENCE_S, WAITS, Shell, no_process_left_of, survivors
from crash_lives import BACKENDS, start
from journal_cases import beginning, contents, create, large, ok, step

from actorflow import Runtime, load_dict
from actorflow.cli import main
from actorflow.core.events import RunFinished
from actorflow.errors import ActorflowError
from actorflow.journal import Append, Journal, open_journal
from actorflow.journal.schema import SCHEMA_VERSION
from actorflow.journal.sqlite import SqliteJournal

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.db"))
OLD = [path for path in GOLDEN if int.from_bytes(path.read_bytes()[60:64]) < SCHEMA_VERSION]
"""Those of an earlier schema: SQLite keeps that number in the header of a file."""


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with no_process_left_of(Shell(tmp_path)) as shell:
        yield shell


def error_of(output: str) -> tuple[str, str]:
    error = json.loads(output)["error"]
    return error["code"], error["message"]


# Stores that are not what was written


def write_store(path: Path) -> None:
    """A store with a failed run, closed, so that all of it is in the database."""
    spec = load_dict({"tasks": {"t": {"agent": "x"}}})

    async def fail_a_run() -> None:
        async with Runtime(store=f"sqlite:///{path}", agents={"x": "fail"}) as rt:
            await rt.run(spec, run_id="r")

    anyio.run(fail_a_run)


def cut(path: Path, length: Callable[[int], int]) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: length(len(data))])


def flip(path: Path) -> None:
    """One bit, in the text of an event."""
    data = path.read_bytes()
    at = data.rindex(b"attempt_failed")
    path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])


def alter(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as db:
        db.executescript(statement)
    db.close()


def lose_log(path: Path) -> None:
    """As after a crash and a removed -wal file: the database is there, what was written last is not."""
    journal = SqliteJournal(str(path))
    ok(journal, create("s"), Append("s", 1, beginning("s")))
    data = path.read_bytes(), Path(f"{path}.mark").read_bytes()
    journal._store.fail("the process died")
    journal.close()
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    path.write_bytes(data[0])
    Path(f"{path}.mark").write_bytes(data[1])


SPOILED: dict[str, tuple[Callable[[Path], object], int, str, str]] = {
    "empty": (lambda path: cut(path, lambda _: 0), 74, "E502", "lost"),
    "removed": (lambda path: path.unlink(), 74, "E502", "lost"),
    "cut in half": (lambda path: cut(path, lambda length: length // 2), 74, "E502", "damaged"),
    "cut by a page": (lambda path: cut(path, lambda length: length - 4096), 74, "E502", "damaged"),
    "cut within its first page": (lambda path: cut(path, lambda _: 100), 74, "E502", "damaged"),
    "a flipped bit": (flip, 74, "E502", "damaged at event"),
    "without its log": (lose_log, 74, "E502", "-wal file was damaged or removed"),
    "of a newer version": (lambda path: alter(path, "PRAGMA user_version = 99"), 73, "E501", "schema 99"),
    "of another program": (
        lambda path: alter(path, "PRAGMA application_id = 7"),
        73,
        "E501",
        "another program's",
    ),
    "no database": (lambda path: path.write_text("notes\n" * 500), 73, "E501", "not a database"),
}


@pytest.mark.parametrize("words", ["resume r", "show r"])
@pytest.mark.parametrize("what", SPOILED)
def test_a_spoiled_store_is_told_with_its_status_and_stays_as_it_is(
    what: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    spoil, status, code, said = SPOILED[what]
    path = tmp_path / "runs.db"
    write_store(path)
    spoil(path)
    before = path.read_bytes() if path.exists() else None

    ended = main([*words.split(), "--store", str(path), "--json"])

    printed = capsys.readouterr()
    assert (ended, error_of(printed.out)[0]) == (status, code), printed.out
    assert said in error_of(printed.out)[1]
    assert "Traceback" not in printed.err
    assert (path.read_bytes() if path.exists() else None) == before


@pytest.mark.parametrize("loss", ["removed", "replaced"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_store_that_goes_while_a_run_is_live_ends_the_run_with_its_processes(
    shell: Shell, backend: str, loss: str
):
    waits = shell.write("w.yaml", f"tasks: {{t: {{command: '{WAITS}'}}, u: {{command: 'sleep 60'}}}}")
    process = shell.start("run", waits, "--backend", backend, "--run-id", "r", "--json")
    shell.wait_for("began")
    path = shell.folder / "runs.db"
    SqliteJournal(str(shell.folder / "other.db")).close()
    if loss == "replaced":
        (shell.folder / "other.db").rename(path)
    else:
        path.unlink()
    (shell.folder / "go").touch()

    out, err = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 74, err
    assert error_of(out)[0] == "E500"
    assert "what was acknowledged is safe" in error_of(out)[1]
    assert "Traceback" not in err
    assert survivors(shell) == []


# No room, and no permission

BIG = load_dict(
    {
        "tasks": {
            name: {"agent": "big", "depends_on": [chr(ord(name) - 1)][: name != "a"]} for name in "abcdef"
        }
    }
)


def limited(channel: Connection, store: str, limit: int, backend: str) -> None:
    """Run where no file may be longer than so many bytes; tell the class of the error, or the status."""

    async def big(_: object) -> str:
        return "word " * 4_000

    async def main() -> str:
        async with Runtime(store=store, agents={"big": big}) as rt:
            return (await rt.run(BIG, run_id="r")).status

    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    try:
        said = anyio.run(main, backend=backend)
    except ActorflowError as error:
        said = type(error).__name__
    channel.send(said)


def test_wherever_the_disk_is_full_what_was_kept_is_there_and_the_run_goes_on(tmp_path: Path):
    ends: list[str] = []
    for number, limit in enumerate([0, *range(8_192, 500_000, 24_576), 1_000_000]):
        path = tmp_path / f"{limit}.db"
        process = start(limited, f"sqlite:///{path}", limit, BACKENDS[number % 2])
        ends.append(process.hear())
        process.report()
        assert anyio.run(end_of, f"sqlite:///{path}") == "success"
    assert ends[0] == "StoreUnusableError"
    assert ends[-1] == "success"
    assert sorted(ends, key=["StoreUnusableError", "StoreFailed", "success"].index) == ends
    assert ends.count("StoreFailed") > 3


async def end_of(store: str) -> str:
    """Take up a run where it is, or begin it, and see it to its end."""
    async with Runtime(store=store, agents={"big": "echo"}) as rt:
        is_there = any(row.run_id == "r" for row in await rt.list())
        result = await (rt.resume("r") if is_there else rt.run(BIG, run_id="r"))
    return result.status


def test_a_full_disk_ends_a_command_with_74_and_its_processes_with_it(shell: Shell):
    file = shell.write(
        "w.yaml",
        "tasks: {t: {command: 'touch began; exec sleep 60'},"
        " u: {command: 'yes | head -c 2000000; while ! test -e began; do sleep 0.02; done'},"
        " v: {command: 'true', depends_on: [u]}}",
    )
    command = f"ulimit -f 600; exec $A run {file} --run-id r --json"
    full = shell.sh(command)

    assert full.returncode == 74, full.stderr
    assert error_of(full.stdout.decode())[0] == "E500"
    assert b"Traceback" not in full.stderr
    assert survivors(shell) == []
    shell.write("go", "")
    assert shell.show("r")["status"] == "crashed"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users reach, too: the root's are nobody else's."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def obey(channel: Connection, folder: Path, commands: list[list[str]]) -> None:
    """Give commands as a user whom permissions bind, as they do not bind the root; tell the status and output of each."""
    with tempfile.TemporaryDirectory() as elsewhere, redirect_stdout(StringIO()):
        # what is imported late may lie where only the root may read
        main(["run", str(folder / "w.yaml"), "--store", f"{elsewhere}/runs.db"])
        main(["resume", "last", "--store", f"{elsewhere}/runs.db", "--json"])
    if os.getuid() == 0:
        os.setuid(NOBODY)
    for words in commands:
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
            status = main([*words, "--store", str(folder / "runs.db"), "--json"])
        channel.send((status, out.getvalue(), err.getvalue()))


NOBODY = 65_534


@pytest.mark.parametrize(("what", "mode"), [("folder", 0o555), ("files", 0o777)])
def test_what_may_not_be_written_is_told_and_changes_nothing(what: str, mode: int, open_folder: Path):
    file = open_folder / "w.yaml"
    file.write_text("tasks: {t: {command: 'true'}}", encoding="utf-8")
    write_store(open_folder / "runs.db")
    for path in open_folder.iterdir():
        path.chmod(0o444)
    open_folder.chmod(mode)
    before = (open_folder / "runs.db").read_bytes()
    commands = [["run", str(file)], ["resume", "r"], ["cancel", "r"], ["list"]]

    process = start(obey, open_folder, commands)

    for _ in commands:
        status, out, err = process.hear()
        assert status == 73, out
        assert error_of(out)[0] == "E501"
        assert "ermission denied" in error_of(out)[1], what
        assert "Traceback" not in err
    process.report()
    assert (open_folder / "runs.db").read_bytes() == before


def test_a_folder_that_may_not_be_written_has_no_store(open_folder: Path):
    file = open_folder / "w.yaml"
    file.write_text("tasks: {t: {command: 'true'}}", encoding="utf-8")
    open_folder.chmod(0o555)

    process = start(obey, open_folder, [["run", str(file)]])

    status, out, _ = process.hear()
    process.report()
    assert (status, error_of(out)[0]) == (73, "E501")
    assert [path.name for path in open_folder.iterdir()] == ["w.yaml"]


# Every call to the disk fails in turn, those that read included


class CountingDisk(apsw.VFS):
    """Passes everything on, counts every call, and does something at one of them, before it is made."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0
        self.at = 0
        self.act: Callable[[], object] = lambda: None
        super().__init__(name, "")

    def arm(self, at: int, act: Callable[[], object]) -> None:
        self.at, self.act, self.calls = at, act, 0

    def count(self) -> None:
        self.calls += 1
        if self.calls == self.at:
            self.act()

    def xOpen(self, name, flags):
        self.count()
        return CountedFile(self, name, flags)

    def xDelete(self, name, sync_folder):
        self.count()
        super().xDelete(name, sync_folder)

    def xAccess(self, name, flags):
        self.count()
        return super().xAccess(name, flags)


class CountedFile(apsw.VFSFile):
    def __init__(self, disk: CountingDisk, name, flags) -> None:
        self.disk = disk
        super().__init__("", name, flags)

    def xRead(self, amount, offset):
        self.disk.count()
        return super().xRead(amount, offset)

    def xWrite(self, data, offset):
        self.disk.count()
        super().xWrite(data, offset)

    def xSync(self, flags):
        self.disk.count()

    def xTruncate(self, size):
        self.disk.count()
        super().xTruncate(size)

    def xFileSize(self):
        self.disk.count()
        return super().xFileSize()

    def xLock(self, level):
        self.disk.count()
        super().xLock(level)


@pytest.fixture(scope="module")
def disk() -> Iterator[CountingDisk]:
    made = CountingDisk("counting-disk")
    yield made
    made.unregister()


def say_no() -> None:
    raise apsw.IOError("the disk said no")


def work(path: str) -> list[object]:
    """Open a store that is there, go on with its run, and read all of it."""
    journal = SqliteJournal(path, vfs="counting-disk")
    try:
        journal.claim("r")
        journal._wal._due_pages = 4
        ok(journal, Append("r", 3, step(1, large(1))))
        journal.maintain()
        return contents(journal)
    finally:
        journal.close()


def test_whichever_call_to_the_disk_fails_nobody_is_told_anything_wrong(disk: CountingDisk, tmp_path: Path):
    made = tmp_path / "made.db"
    disk.arm(0, say_no)
    journal = SqliteJournal(str(made), vfs="counting-disk")
    ok(journal, create("r"), Append("r", 1, beginning("r")))
    journal.close()
    sound = copy_of(made, tmp_path / "sound.db")
    disk.arm(0, say_no)
    expected = work(str(sound))
    total = disk.calls
    refused = 0
    assert total > 30
    for at in range(1, total + 1):
        path = copy_of(made, tmp_path / f"{at}.db")
        disk.arm(at, say_no)
        try:
            assert work(str(path)) == expected
        except ActorflowError:
            refused += 1
        disk.arm(0, say_no)
        again = SqliteJournal(str(path), vfs="counting-disk")
        assert len(list(again.events("r"))) in (2, 4)
        again.claim("r")
        again.close()
    assert refused > total // 2


def copy_of(store: Path, path: Path) -> Path:
    shutil.copy(store, path)
    if Path(f"{store}.mark").exists():
        shutil.copy(f"{store}.mark", f"{path}.mark")
    return path


# Killed while a store of an earlier version is brought up to date


CALLS_OF_AN_UPGRADE = 40
"""To the disk, behind the copy that is kept first; some more, so that its end is among them."""


def upgrade(channel: Connection, path: str, at: int) -> None:
    """Open a store, and die at one of the calls that this makes to the disk; tell how many there were."""
    disk = CountingDisk("deadly-disk")
    disk.arm(at, lambda: os.kill(os.getpid(), signal.SIGKILL))
    journal = SqliteJournal(path, vfs="deadly-disk")
    calls = disk.calls
    journal.close()
    channel.send(calls)


@pytest.mark.parametrize("golden", OLD, ids=lambda path: path.stem)
def test_a_kill_anywhere_in_an_upgrade_loses_nothing(golden: Path, tmp_path: Path):
    expected = read_store(copy_of(golden, tmp_path / "sound.db"))
    counted = start(upgrade, str(copy_of(golden, tmp_path / "counted.db")), 0)
    total = counted.report()
    versions: set[int] = set()
    # the calls before are those of opening, and of copying what there is, which is all the same
    dense = max(1, total - CALLS_OF_AN_UPGRADE)
    for at in [*range(1, dense, max(1, dense // 8)), *range(dense, total + 1)]:
        path = copy_of(golden, tmp_path / f"{at}.db")
        assert start(upgrade, str(path), at).report() is None
        versions.add(version_of(path, tmp_path))
        assert read_store(path) == expected
        assert version_of(path, tmp_path) == SCHEMA_VERSION
    assert versions == {version_of(golden, tmp_path), SCHEMA_VERSION}, "killed before its commit and after it"


def version_of(path: Path, folder: Path) -> int:
    """The schema of a store that a dead process has left, read from a copy in some folder."""
    copy = shutil.copy(path, folder / "copy.db")
    if Path(f"{path}-wal").exists():
        shutil.copy(f"{path}-wal", f"{copy}-wal")
    db = apsw.Connection(str(copy))
    version = int(db.pragma("user_version"))
    db.close()
    return version


def read_store(path: Path) -> list[object]:
    journal = SqliteJournal(str(path))
    try:
        return contents(journal)
    finally:
        journal.close()


# Many processes


RUNS = 20
QUICK = load_dict(
    {
        "name": "quick",
        "tasks": {
            "one": {"agent": "echo", "with": {"n": 1}},
            "two": {"agent": "echo", "depends_on": ["one"]},
        },
    }
)


def crowd(channel: Connection, store: str, name: str, backend: str) -> None:
    """Run twenty runs, four at a time; tell when the first has begun, and how all ended."""

    async def main() -> list[str]:
        statuses: list[str] = []
        async with Runtime(store=store, agents={"echo": "echo"}) as rt:

            async def some(worker: int) -> None:
                for number in range(worker, RUNS, 4):
                    handle = await rt.start(QUICK, run_id=f"{name}-{number}")
                    if number == 0:
                        channel.send("begun")
                    statuses.append((await handle.wait()).status)

            async with anyio.create_task_group() as workers:
                for worker in range(4):
                    workers.start_soon(some, worker)
        return statuses

    channel.send(anyio.run(main, backend=backend))


def test_many_runs_of_many_processes_all_succeed_in_one_store(tmp_path: Path):
    store = f"sqlite:///{tmp_path}/state.db"
    processes = [start(crowd, store, name, BACKENDS[number % 2]) for number, name in enumerate("abcdef")]
    for process in processes:
        assert process.hear() == "begun"
        assert process.hear() == ["success"] * RUNS
        process.report()
    check_whole(store, {f"{name}-{number}" for name in "abcdef" for number in range(RUNS)})


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_killed_processes_leave_is_recovered_while_others_run_on(tmp_path: Path, backend: str):
    store = f"sqlite:///{tmp_path}/state.db"
    processes = {name: start(crowd, store, name, BACKENDS[number % 2]) for number, name in enumerate("abcd")}
    for process in processes.values():
        assert process.hear() == "begun"
    for name in "ab":
        processes[name].kill()
        processes[name].process.join(PATIENCE_S)
    anyio.run(recover, store, backend=backend)
    for name in "cd":
        assert processes[name].hear() == ["success"] * RUNS
        processes[name].report()
    check_whole(store, {f"{name}-{number}" for name in "cd" for number in range(RUNS)})


async def recover(store: str) -> None:
    async with Runtime(store=store, agents={"echo": "echo"}) as rt:
        recovered = await rt.recover()
        assert recovered.refused == {}
        for handle in recovered.handles:
            assert handle.run_id[0] in "ab"
            assert (await handle.wait()).status == "success"


def check_whole(store: str, expected: set[str]) -> None:
    """All runs have ended in success, and each journal is whole to its last event."""
    journal: Journal = open_journal(store)
    rows = {row.run_id: row for row in journal.runs()}
    assert set(rows) >= expected
    for run_id, row in rows.items():
        assert (row.summary.status, row.owner_pid) == ("success", None), run_id
        events = list(journal.events(run_id))
        assert [seq for seq, _ in events] == list(range(1, len(events) + 1))
        assert isinstance(events[-1][1], RunFinished)
    journal.close()


# A process that nobody finds


def test_an_orphan_that_cleared_its_environment_holds_no_run(shell: Shell):
    file = shell.write(
        "w.yaml",
        "tasks: {t: {command: 'test -e go || { env -i setsid sleep 60 & echo $! > orphan; touch began; sleep 60; }'}}",
    )
    process = shell.start("run", file, "--run-id", "r")
    shell.wait_for("began")
    orphan = int((shell.folder / "orphan").read_text())
    try:
        process.kill()
        process.communicate(timeout=PATIENCE_S)
        shell.write("go", "")

        resumed = shell.run("resume", "r", "--json")

        assert resumed.returncode == 0, resumed.stderr
        os.kill(orphan, 0)  # it is there still
        assert survivors(shell) == []
    finally:
        os.kill(orphan, signal.SIGKILL)
