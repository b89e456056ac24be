"""Several processes on one store: none sees the others' locks, none runs the others' runs, and each finds what is left."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from pathlib import Path

import anyio
import pytest
from crash_lives import BACKENDS, start

from actorflow import RunExistsError, RunOwnedElsewhereError, Runtime, UnboundAgentsError, load_dict
from actorflow.errors import WorkflowRunningError

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


ROUNDS = 10


def racer(channel: Connection, store: str, name: str, backend: str) -> None:
    """In each round, start a run that is to be the only one of its workflow, once told to go; tell whether it is.

    The last go ends it: who leaves gives up its runs, which then stand in nobody's way.
    """

    async def main() -> None:
        async with Runtime(store=store, agents={"wait": "sleep:1h"}, grace_s=0.0) as rt:
            for number in range(ROUNDS):
                spec = load_dict({"name": f"round-{number}", "tasks": {"wait": {"agent": "wait"}}})
                await rt.list()
                channel.send("ready")
                await anyio.to_thread.run_sync(channel.recv)
                try:
                    await rt.start(spec, run_id=f"{name}-{number}", if_running="fail")
                    channel.send("started")
                except WorkflowRunningError as error:
                    channel.send((error.workflow, error.run_id, error.pid))
            await anyio.to_thread.run_sync(channel.recv)

    anyio.run(main, backend=backend)


def test_of_two_that_start_the_only_run_of_a_workflow_at_the_same_moment_one_does(tmp_path):
    store = f"sqlite:///{tmp_path}/state.db"
    both = {name: start(racer, store, name, backend) for name, backend in zip("ab", BACKENDS, strict=True)}
    winners: list[str] = []
    for number in range(ROUNDS):
        for process in both.values():
            assert process.hear() == "ready"
        for process in both.values():
            process.channel.send("go")
        told = {name: process.hear() for name, process in both.items()}
        [winner] = [name for name, said in told.items() if said == "started"]
        [loser] = told.keys() - {winner}
        assert told[loser] == (f"round-{number}", f"{winner}-{number}", both[winner].pid)
        winners.append(winner)
    for process in both.values():
        process.channel.send("go")
    for process in both.values():
        process.report()
    anyio.run(_check_only, store, [f"{winner}-{number}" for number, winner in enumerate(winners)])


async def _check_only(store: str, run_ids: list[str]) -> None:
    async with Runtime(store=store) as rt:
        assert sorted(row.run_id for row in await rt.list()) == sorted(run_ids)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_of_nobodys_or_one_that_has_ended_stands_in_nobodys_way(backend, tmp_path):
    store = f"sqlite:///{tmp_path}/state.db"
    process = start(holder, store, tmp_path / "gate", backend)
    assert process.hear() == "running"
    process.kill()
    assert process.report() is None
    anyio.run(_check_alone, store, backend=backend)


async def _check_alone(store: str) -> None:
    async with Runtime(store=store, agents={"wait": "echo"}) as rt:
        for _ in range(2):
            assert (await rt.run(HELD, if_running="fail")).status == "success"


def leaver(channel: Connection, store: str, backend: str) -> None:
    """Leave three runs running, of which one is of an agent that nobody else has, and one paused."""

    async def main() -> None:
        async with Runtime(store=store, agents={"wait": "sleep:1h", "mine": wait}) as rt:
            for run_id in ("one", "two"):
                await rt.start(HELD, run_id=run_id)
            await rt.start(load_dict({"name": "held", "tasks": {"wait": {"agent": "mine"}}}), run_id="cannot")
            await (await rt.start(HELD, run_id="paused")).pause(grace_s=0.0)
            channel.send("running")
            await anyio.sleep_forever()

    async def wait(call: object) -> None:
        await anyio.sleep_forever()

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_that_a_killed_process_left_running_goes_on_and_what_cannot_is_told(backend, tmp_path):
    store = f"sqlite:///{tmp_path}/state.db"
    gate = tmp_path / "gate"
    alive = start(holder, store, gate, backend)
    assert alive.hear() == "running"
    process = start(leaver, store, backend)
    assert process.hear() == "running"
    process.kill()
    assert process.report() is None
    anyio.run(_check_recovered, store, backend=backend)
    gate.touch()
    assert alive.hear() == "success"
    alive.report()


async def _check_recovered(store: str) -> None:
    async with Runtime(store=store, agents={"wait": "echo"}) as rt:
        recovered = await rt.recover()
        assert {handle.run_id for handle in recovered.handles} == {"one", "two"}
        assert [(await handle.settled()).status for handle in recovered.handles] == ["success"] * 2
        [(run_id, reason)] = recovered.refused.items()
        assert run_id == "cannot"
        assert isinstance(reason, UnboundAgentsError)
        again = await rt.recover()
        assert (again.handles, list(again.refused)) == ((), ["cannot"])
        statuses = {row.run_id: row.summary.status for row in await rt.list()}
    assert statuses == {
        **dict.fromkeys(("one", "two"), "success"),
        **dict.fromkeys(("cannot", "mine"), "running"),
        "paused": "paused",
    }
