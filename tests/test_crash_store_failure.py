"""The store fails under live runs: everybody is told, all that runs is ended, and nobody waits for ever."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import anyio
import apsw
import pytest
from crash_checks import check_journal, recorded
from crash_workflows import RUN_ID

from actorflow import AgentCall, RunHandle, Runtime, StoreFailed, load_dict
from actorflow.core.events import AttemptSucceeded
from actorflow.journal.sqlite import SqliteJournal

pytestmark = pytest.mark.anyio

SPEC = load_dict(
    {
        "name": "failing-store",
        "tasks": {
            "child": {"command": 'echo $$ >> "$PIDS"; exec sleep 60'},
            "waits": {"agent": "wait"},
            "one": {"agent": "step"},
            "two": {"agent": "step", "depends_on": ["one"]},
            "three": {"agent": "step", "depends_on": ["two"]},
            "four": {"agent": "step", "depends_on": ["three"]},
        },
        "hooks": {"pre_workflow": ["true"], "on_stage_complete": ["true"]},
    },
    trust="own",
)


async def wait(call: AgentCall) -> None:
    await anyio.sleep_forever()


async def step(call: AgentCall) -> None:
    await anyio.sleep(0.01)


@pytest.fixture
def pids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PIDS", str(tmp_path / "pids"))
    return tmp_path / "pids"


def fail_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commit with this number, and all after it, end in an I/O error."""
    commit, numbers = SqliteJournal._commit, count(1)

    def fail(journal: SqliteJournal) -> None:
        if next(numbers) >= number:
            raise apsw.IOError("disk I/O error")
        commit(journal)

    monkeypatch.setattr(SqliteJournal, "_commit", fail)


@pytest.mark.parametrize("number", [1, 2, 3, 5, 6, 7])
async def test_everybody_is_told_and_nothing_is_left_running(number, pids, tmp_path, monkeypatch):
    fail_at(number, monkeypatch)
    told: list[StoreFailed] = []

    async def ask(runtime: Runtime, run_id: str) -> None:
        with pytest.raises(StoreFailed) as failed:
            await runtime.run(SPEC, run_id=run_id)
        told.append(failed.value)

    with anyio.fail_after(20):
        async with Runtime(store=f"sqlite:///{tmp_path}/state.db", agents={"wait": wait, "step": step}) as rt:
            async with anyio.create_task_group() as callers:
                for run_id in (RUN_ID, "another", "third"):
                    callers.start_soon(ask, rt, run_id)
            for call in (rt.run(SPEC), rt.resume(RUN_ID), rt.get(RUN_ID), rt.list()):
                with pytest.raises(StoreFailed):
                    await call
    assert len(told) == 3
    assert all("disk I/O error" in str(error) for error in told)
    check_ended_children(pids)
    monkeypatch.undo()
    check_journal(recorded(tmp_path))


def check_ended_children(pids: Path) -> None:
    for pid in pids.read_text().split() if pids.exists() else ():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


async def test_who_holds_a_handle_is_told_too_and_its_events_end(pids, tmp_path, monkeypatch):
    fail_at(5, monkeypatch)
    seen: list[int] = []

    async def watch(handle: RunHandle) -> None:
        with pytest.raises(StoreFailed):
            async for seq, _ in handle.events():
                seen.append(seq)

    with anyio.fail_after(20):
        async with Runtime(store=f"sqlite:///{tmp_path}/state.db", agents={"wait": wait, "step": step}) as rt:
            handle = await rt.start(SPEC, run_id=RUN_ID)
            async with anyio.create_task_group() as watchers:
                watchers.start_soon(watch, handle)
                for call in (handle.wait, handle.settled, handle.pause):
                    with pytest.raises(StoreFailed):
                        await call()
            handle.cancel()
    assert seen == list(range(1, len(seen) + 1))


async def test_a_fresh_runtime_goes_on_from_what_was_acknowledged(pids, tmp_path, monkeypatch):
    store = f"sqlite:///{tmp_path}/state.db"
    fail_at(5, monkeypatch)
    with pytest.raises(StoreFailed):
        async with Runtime(store=store, agents={"wait": wait, "step": step}) as rt:
            await rt.run(SPEC, run_id=RUN_ID)
    monkeypatch.undo()
    monkeypatch.setenv("PIDS", str(pids))
    async with Runtime(store=store, agents={"wait": step, "step": step}, grace_s=0.0) as rt:
        handle = await rt.start_resumed(RUN_ID)
        async for _, event in handle.events():
            if isinstance(event, AttemptSucceeded) and event.task == "four":
                break
        result = await handle.pause(grace_s=0.0)
        assert {name: task.status for name, task in result.tasks.items() if task.status != "success"} == {
            "child": "running"
        }
    check_ended_children(pids)
    check_journal(recorded(tmp_path))
