"""Two processes on one store: neither sees the other's locks, and neither runs the other's runs."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from pathlib import Path

import anyio
import pytest
from crash_lives import BACKENDS, start

from actorflow import RunExistsError, RunOwnedElsewhereError, Runtime, load_dict

RUNS = 40

QUICK = load_dict(
    {
        "name": "quick",
        "tasks": {
            "one": {"agent": "echo", "with": {"n": 1}},
            "two": {"agent": "echo", "depends_on": ["one"]},
        },
    }
)

HELD = load_dict({"name": "held", "tasks": {"wait": {"agent": "wait"}}})


def crowd(channel: Connection, store: str, name: str, backend: str) -> None:
    """Run forty runs, four at a time, once told to go; and tell how they ended."""

    async def main() -> list[str]:
        statuses: list[str] = []
        async with Runtime(store=store, agents={"echo": "echo"}) as rt:

            async def some(worker: int) -> None:
                for number in range(worker, RUNS, 4):
                    result = await rt.run(QUICK, run_id=f"{name}-{number}")
                    statuses.append(result.status)

            async with anyio.create_task_group() as workers:
                for worker in range(4):
                    workers.start_soon(some, worker)
        return statuses

    channel.send("ready")
    channel.recv()
    channel.send(anyio.run(main, backend=backend))


@pytest.mark.parametrize("turn", range(3))
def test_two_that_make_a_store_at_the_same_moment_both_run_all_their_runs(turn, tmp_path):
    store = f"sqlite:///{tmp_path}/new/state.db"
    both = [start(crowd, store, name, backend) for name, backend in zip("ab", BACKENDS, strict=True)]
    assert [process.hear() for process in both] == ["ready", "ready"]
    for process in both:
        process.channel.send("go")
    for process in both:
        assert process.hear() == ["success"] * RUNS
        process.report()
    anyio.run(_check_list, store)


async def _check_list(store: str) -> None:
    async with Runtime(store=store) as rt:
        rows = await rt.list()
    assert sorted(row.run_id for row in rows) == sorted(f"{name}-{i}" for name in "ab" for i in range(RUNS))
    assert {(row.summary.status, row.owner_pid) for row in rows} == {("success", None)}


def holder(channel: Connection, store: str, gate: Path, backend: str) -> None:
    """Run a run that does not end before the gate is there."""

    def wait(call: object) -> str:
        channel.send("running")
        while not gate.exists():
            time.sleep(0.005)
        return "done"

    async def main() -> str:
        async with Runtime(store=store, agents={"wait": wait}) as rt:
            return (await rt.run(HELD, run_id="mine")).status

    channel.send(anyio.run(main, backend=backend))


@pytest.mark.parametrize("backend", BACKENDS)
def test_who_wants_a_run_that_another_process_runs_is_told_its_pid(backend, tmp_path):
    store, gate = f"sqlite:///{tmp_path}/state.db", tmp_path / "gate"
    process = start(holder, store, gate, backend)
    try:
        assert process.hear() == "running"
        anyio.run(_check_owned, store, process.pid, backend=backend)
    finally:
        gate.touch()
    assert process.hear() == "success"
    process.report()
    anyio.run(_check_free, store, backend=backend)


async def _check_owned(store: str, pid: int) -> None:
    async with Runtime(store=store, agents={"wait": "echo"}) as rt:
        with pytest.raises(RunOwnedElsewhereError) as refused:
            await rt.resume("mine")
        assert (refused.value.run_id, refused.value.pid) == ("mine", pid)
        with pytest.raises(RunExistsError):
            await rt.run(HELD, run_id="mine")
        [row] = await rt.list()
        assert (row.owner_pid, row.summary.status) == (pid, "running")
        assert (await rt.run(HELD, run_id="another")).status == "success"


async def _check_free(store: str) -> None:
    async with Runtime(store=store, agents={"wait": "echo"}) as rt:
        result = await rt.resume("mine")
        assert (result.status, result.tasks["wait"].output) == ("success", "done")


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_run_of_a_killed_process_is_up_for_whoever_comes(backend, tmp_path):
    store = f"sqlite:///{tmp_path}/state.db"
    process = start(holder, store, tmp_path / "gate", backend)
    assert process.hear() == "running"
    process.kill()
    assert process.report() is None
    anyio.run(_check_taken_up, store, backend=backend)


async def _check_taken_up(store: str) -> None:
    async with Runtime(store=store, agents={"wait": "echo"}) as rt:
        [row] = await rt.list()
        assert (row.owner_pid, row.summary.status) == (None, "running")
        result = await rt.resume("mine")
        assert (result.status, result.generation, result.tasks["wait"].losses) == ("success", 1, 1)
