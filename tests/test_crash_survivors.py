"""What a killed runner leaves running is ended before its task runs again, by whoever comes next."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from crash_checks import check_crashed, check_ended
from crash_lives import BACKENDS, Life, Process, children_in, live, live_through, start, wait_until

from actorflow.core.events import AttemptLost


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a run lives; what it leaves running at the end of the test is killed."""
    yield tmp_path
    for pid in children_in(tmp_path):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def besieged(folder: Path, backend: str) -> Process:
    """A runner whose run waits, with a process that does nothing and one that ignores TERM."""
    process = start(live, Life(folder, "besieged", backend))
    wait_until(lambda: (folder / "up-waiting").exists() and ticks(folder))
    return process


def kill(process: Process) -> None:
    """End a runner as `kill -9` does."""
    process.kill()
    assert process.report() is None


def ticks(folder: Path) -> list[str]:
    """What the command and its unruly child have written: `begin` as the command starts, `tick` again and again."""
    path = folder / "ticks"
    return (
        [line for line in path.read_text().splitlines() if line.startswith("tick")] if path.exists() else []
    )


def check_no_overlap(folder: Path, losses: int) -> None:
    """Nothing of a life was at work any more when the command began in the next one."""
    lines = (folder / "ticks").read_text().splitlines()
    begun = [line for line in lines if line.startswith("begin")]
    assert begun == [f"begin {loss}" for loss in range(losses + 1)]
    assert set(lines[lines.index("begin 1") :]) <= {"begin 1"}, (
        "a process of the first life was at work in the second"
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_they_hold_nothing_of_ours_and_are_ended_before_their_task_runs_again(backend, folder):
    runner = besieged(folder, backend)
    kill(runner)
    assert not [held for pid in children_in(folder) for held in _open_files(pid) if "state.db" in held]
    left = check_crashed(folder)
    (folder / "go").touch()
    report = live_through(Life(folder, "besieged", BACKENDS[backend == "asyncio"]))
    assert report is not None
    assert report.facts["status"] == "success"
    assert sorted(lost.task for lost in check_ended(folder, left).of(AttemptLost)) == ["held", "waiting"]
    check_no_overlap(folder, losses=1)
    assert children_in(folder) == []


def test_a_runner_that_is_killed_while_it_ends_them_leaves_the_rest_to_the_next_one(folder):
    kill(besieged(folder, "asyncio"))
    left = check_crashed(folder)
    count = len(children_in(folder))
    hunter = start(live, Life(folder, "besieged", "trio"))
    wait_until(
        lambda: len(children_in(folder)) < count
    )  # who heeds TERM is gone, and who does not has five seconds
    kill(hunter)
    assert children_in(folder)
    assert check_crashed(folder)[0].events == left[0].events
    (folder / "go").touch()
    report = live_through(Life(folder, "besieged", "trio"))
    assert report is not None
    assert report.facts["status"] == "success"
    check_ended(folder, left)
    check_no_overlap(folder, losses=1)
    assert children_in(folder) == []


def test_the_runs_of_a_copied_store_end_no_processes_of_the_original(folder):
    runner = besieged(folder, "asyncio")
    copy = folder / "elsewhere"
    kill(runner)
    copy.mkdir()
    for file in folder.glob("state.db*"):
        shutil.copy(file, copy)
    (copy / "go").touch()
    report = live_through(Life(copy, "besieged", "trio"))
    assert report is not None
    assert report.facts["status"] == "success"
    count = len(ticks(folder))
    wait_until(lambda: len(ticks(folder)) > count)
    assert len(children_in(folder)) >= 3, "the command, the one that does nothing, the one that ticks"


def _open_files(pid: int) -> list[str]:
    """The paths of what a process has open."""
    found: list[str] = []
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed since it was listed: a shell opens files in passing
                found.append(str(entry.readlink()))
    return found
