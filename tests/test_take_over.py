"""A process that was stopped loses its runs to another, and finds that out when it wakes up: it writes nothing more."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import apsw
import pytest
from crash_checks import check_crashed, check_ended, ledger, recorded
from crash_lives import (
    BACKENDS,
    FENCED,
    Life,
    Process,
    children_in,
    live,
    live_through,
    start,
    wait_until,
)
from crash_workflows import RUN_ID

from actorflow import AgentCall, RunOwnedElsewhereError, Runtime, load_dict
from actorflow.core.events import AttemptLost
from actorflow.errors import FencedError

OTHER = {"asyncio": "trio", "trio": "asyncio"}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a run lives; what it leaves running at the end of the test is killed."""
    yield tmp_path
    for pid in children_in(tmp_path):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def store(folder: Path) -> str:
    return f"sqlite:///{folder}/state.db"


def in_store(folder: Path, statement: str) -> None:
    """Change the store's file behind everybody's back."""
    connection = apsw.Connection(f"{folder}/state.db")
    connection.execute(statement)
    connection.close()


def grow_stale(folder: Path) -> None:
    """Let all owners of the store have said nothing for an hour."""
    in_store(folder, "UPDATE owners SET heartbeat_at = heartbeat_at - 3600")


def stopped(folder: Path, backend: str, workflow: str = "besieged") -> Process:
    """A runner that is stopped while a command and a Python agent of its run are at work."""
    runner = start(live, Life(folder, workflow, backend))
    wait_until(
        lambda: (folder / "up-waiting").exists() and (f"{RUN_ID}/held/1", 1, 0) in ledger(folder).starts
    )
    runner.stop()
    return runner


async def refused(folder: Path, word: str, take_over: bool = False) -> RunOwnedElsewhereError:
    """What is told who wants the run, by the name of a method of the runtime."""
    async with Runtime(store=store(folder), agents={"*": "echo"}) as rt:
        with pytest.raises(RunOwnedElsewhereError) as error:
            await getattr(rt, word)(RUN_ID, take_over=take_over)
    return error.value


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stopped_process_that_wakes_up_after_a_take_over_writes_nothing_and_ends_its_children(
    backend, folder
):
    runner = stopped(folder, backend)
    left = check_crashed(folder)
    grow_stale(folder)
    (folder / "go").touch()
    report = live_through(Life(folder, "besieged", OTHER[backend], take_over=True))
    assert report is not None
    assert report.facts["status"] == "success"
    run, written = check_ended(folder, left), ledger(folder)
    assert sorted(lost.task for lost in run.of(AttemptLost)) == ["held", "waiting"]

    runner.go_on()
    assert [runner.hear() for _ in range(3)] == ["up", "running", FENCED]
    runner.report()
    assert recorded(folder).events == run.events
    assert ledger(folder).starts == written.starts
    assert children_in(folder) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_another_run_of_the_stopped_process_has_at_work_is_ended_as_it_wakes_up(backend, folder):
    runner = stopped(folder, backend, "patient")
    in_store(folder, "UPDATE owners SET fenced = 1")
    assert children_in(folder)
    runner.go_on()
    assert [runner.hear() for _ in range(3)] == ["up", "running", FENCED]
    runner.report()
    assert children_in(folder) == []
    (folder / "go").touch()
    report = live_through(Life(folder, "patient", backend))
    assert report is not None
    assert report.facts["status"] == "success"
    check_ended(folder)


@pytest.mark.parametrize("backend", BACKENDS)
def test_before_its_silence_is_long_enough_nobody_may_take_over(backend, folder):
    runner = stopped(folder, backend, "patient")
    for take_over in (False, True):
        error = anyio.run(refused, folder, "resume", take_over, backend=backend)
        assert (error.run_id, error.pid) == (RUN_ID, runner.pid)
        assert f"is run by process {runner.pid}; wait for it" in str(error)
    grow_stale(folder)
    for word in ("resume", "cancel", "pause"):
        error = anyio.run(refused, folder, word, backend=backend)
        assert error.pid == runner.pid
        assert error.heartbeat_age_s > 3600
        assert "--take-over" in str(error)
    (folder / "go").touch()
    runner.go_on()
    report = runner.report()
    assert report.facts["status"] == "success"
    assert check_ended(folder).of(AttemptLost) == []


CROWD = 400

HELD = load_dict(
    {"name": "held", "tasks": {"one": {"agent": "held"}, "two": {"agent": "held", "depends_on": ["one"]}}}
)


@pytest.mark.anyio
async def test_a_runtime_that_is_fenced_tells_everybody_who_waits_for_any_of_its_runs(folder):
    told: list[str] = []
    calls: Counter[str] = Counter()
    all_run = anyio.Event()

    async def hold(call: AgentCall) -> None:
        calls[call.run_id] += 1
        if len(calls) == CROWD:
            all_run.set()
        await anyio.sleep_forever()

    async def wait(rt: Runtime, run_id: str) -> None:
        with pytest.raises(FencedError):
            await rt.run(HELD, run_id=run_id)
        told.append(run_id)

    with anyio.fail_after(60):
        async with Runtime(store=store(folder), agents={"held": hold}) as rt:
            async with anyio.create_task_group() as callers:
                for number in range(CROWD):
                    callers.start_soon(wait, rt, f"r{number}")
                await all_run.wait()
                grow_stale(folder)
                async with Runtime(store=store(folder), agents={"held": "echo"}) as other:
                    result = await other.resume("r7", take_over=True)
                    assert (result.status, result.tasks["one"].losses) == ("success", 1)
            for ask in (rt.run(HELD), rt.resume("r8"), rt.list()):
                with pytest.raises(FencedError):
                    await ask
    assert len(told) == CROWD
    assert set(calls.values()) == {1}
    async with Runtime(store=store(folder), agents={"held": "echo"}) as rt:
        assert (await rt.resume("r8")).status == "success"
