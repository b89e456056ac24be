"""Stores of earlier versions open, show their runs, and go on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from actorflow import Runtime

pytestmark = pytest.mark.anyio

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.db"))


def test_there_is_a_golden_store():
    assert GOLDEN


@pytest.fixture(params=GOLDEN, ids=lambda path: path.stem)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    copy = shutil.copy(request.param, tmp_path / "store.db")
    return f"sqlite:///{copy}"


async def test_its_runs_are_listed_and_shown(store: str):
    async with Runtime(store=store) as rt:
        rows = {row.run_id: row.summary.status for row in await rt.list()}
        success, failed, paused = [await rt.get(name) for name in ("success", "failed", "paused")]
    assert rows == {"success": "success", "failed": "failed", "paused": "paused"}
    assert (success.outputs, success.tasks["a"].output["input"]["text"]) == ({"n": 7}, "ünïcödé ✓")
    assert (failed.error["type"], failed.tasks["c"].attempts, failed.hooks.failed) == ("fail", 2, 1)
    assert (paused.tasks["b"].status, paused.tasks["c"].status) == ("success", "running")


async def test_what_is_not_done_goes_on(store: str):
    agents = {"s": "echo", "y": "echo"}
    async with Runtime(store=store, agents=agents) as rt:
        paused = await rt.resume("paused")
        failed = await rt.resume("failed")
        success = await rt.resume("success")
    assert (paused.status, paused.generation, paused.tasks["c"].losses) == ("success", 1, 1)
    assert (failed.status, failed.generation, failed.tasks["c"].attempts) == ("success", 2, 3)
    assert (success.status, success.generation) == ("success", 1)


async def test_what_its_hooks_are_owed_is_delivered_once(store: str):
    async with Runtime(store=store, agents={"s": "echo"}) as rt:
        await rt.resume("paused")
    async with Runtime(store=store) as rt:
        result = await rt.get("paused")
    assert (result.hooks.delivered, result.hooks.failed, result.hooks.pending) == (2, 0, 0)
