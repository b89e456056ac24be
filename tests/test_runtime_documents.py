"""A JSON store has the state of each run as a file for people, behind the run and at its rest."""

from __future__ import annotations

import logging
from pathlib import Path

import anyio
import pytest

from actorflow import RunResult, Runtime, StatePersistence, WorkflowState, load_dict

pytestmark = pytest.mark.anyio

STEPS = load_dict(
    {
        "name": "steps",
        "tasks": {"one": {"agent": "step"}, "two": {"agent": "wait", "depends_on": ["one"]}},
    }
)


async def document(path: anyio.Path, *, of: str) -> WorkflowState:
    """The state in a file, as soon as it is that of a run with this status in its second task."""
    with anyio.fail_after(30):
        while True:
            if await path.exists():
                state = WorkflowState.from_json(await path.read_bytes())
                if state.task_statuses["two"] == of:
                    return state
            await anyio.sleep(0.01)


async def run_steps(folder: Path, gate: anyio.Event, *, pauses: bool = False) -> RunResult:
    async def step(call: object) -> int:
        return 1

    async def wait(call: object) -> int:
        await gate.wait()
        return 2

    path = anyio.Path(folder / "steps-1.json")
    async with Runtime(store=f"json:{folder}", agents={"step": step, "wait": wait}) as rt:
        handle = await rt.start(STEPS, run_id="steps-1")
        state = await document(path, of="running")
        assert (state.status, state.completed_tasks, state.progress) == ("running", ("one",), 0.5)
        if pauses:
            return await handle.pause(grace_s=0.0)
        gate.set()
        return await handle.wait()


async def test_people_find_how_far_a_run_has_come_and_how_it_ended(tmp_path: Path):
    result = await run_steps(tmp_path, anyio.Event())
    assert result.status == "success"
    found = WorkflowState.from_json((tmp_path / "steps-1.json").read_bytes())
    with StatePersistence(f"json:{tmp_path}") as states:
        assert found == states.load("steps-1")
    assert (tmp_path / "steps-1.json").stat().st_mode & 0o777 == 0o600


async def test_people_find_a_run_paused_that_was_left(tmp_path: Path):
    await run_steps(tmp_path, anyio.Event(), pauses=True)
    found = WorkflowState.from_json((tmp_path / "steps-1.json").read_bytes())
    with StatePersistence(f"json:{tmp_path}") as states:
        assert found == states.load("steps")
    assert found.status == "paused"


async def test_nobody_reads_the_file_back(tmp_path: Path):
    await run_steps(tmp_path, anyio.Event())
    (tmp_path / "steps-1.json").write_text("notes")
    with StatePersistence(f"json:{tmp_path}") as states:
        assert states.load("steps").status == "success"
        assert states.delete("steps-1")
    assert not (tmp_path / "steps-1.json").exists()


async def test_a_state_that_cannot_be_written_is_told_once_and_the_runs_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    async def step(call: object) -> int:
        return 1

    for number in range(2):
        (tmp_path / f"steps-{number}.json").mkdir()
    with caplog.at_level(logging.WARNING, "actorflow.runtime"):
        async with Runtime(store=f"json:{tmp_path}", agents={"step": step, "wait": step}) as rt:
            results = [await rt.run(STEPS, run_id=f"steps-{number}") for number in range(2)]
    assert [result.status for result in results] == ["success"] * 2
    told = [each.message for each in caplog.records if "for people" in each.message]
    assert len(told) == 1
    assert "steps-0" in told[0]
