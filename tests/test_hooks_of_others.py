"""What a run owes to hooks waits for whoever asks for that run: another run of the same store delivers none of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import define, field, frozen
from crash_checks import check_crashed, check_ended
from crash_hook_workflows import REGISTRY
from crash_lives import SPECS, Death, Life, live_through
from crash_records import Body, Ledger
from crash_workflows import AGENTS, RUN_ID

from actorflow import AgentCall, RunResult, Runtime, WorkflowSpec, load_dict
from actorflow.core.hook_context import HookContext
from actorflow.hooks import HookRegistry

pytestmark = pytest.mark.anyio

OWED = Counter(
    {
        f"{RUN_ID} {told}": 1
        for told in ("workflow_started", "task_finished a", "task_finished b", "workflow_finished")
    }
)
"""All that hooks of the run are told in the end."""


@frozen
class NoParams:
    """Nothing."""


@define
class Program:
    """A program whose hooks are stuck, or not, and whose second task can be held up."""

    store: str
    is_stuck: bool = False
    is_held_up: bool = False
    heard: Counter[str] = field(factory=Counter[str])
    registry: HookRegistry = field(factory=HookRegistry)

    def __attrs_post_init__(self) -> None:
        @self.registry.hook_action("note", params=NoParams, timeout=60)
        async def note(context: HookContext, params: NoParams) -> None:
            if self.is_stuck:
                await anyio.sleep_forever()
            task = "" if context.task is None else f" {context.task['id']}"
            self.heard[f"{context.run_id} {context.event}{task}"] += 1

    @property
    def runtime(self) -> Runtime:
        return Runtime(
            store=self.store,
            agents={"*": self._work},
            hooks=self.registry,
            grace_s=0.0,
            drain_timeout_s=0.0 if self.is_stuck else 30.0,
        )

    async def _work(self, call: AgentCall) -> None:
        if self.is_held_up and call.task == "b":
            await anyio.sleep_forever()

    @property
    def spec(self) -> WorkflowSpec:
        note = [{"type": "note"}]
        whole: dict[str, Any] = {
            "name": "w",
            "tasks": {"a": {"agent": "work"}, "b": {"agent": "work", "depends_on": ["a"]}},
            "hooks": dict.fromkeys(("workflow_started", "task_finished", "workflow_finished"), note),
        }
        return load_dict(whole, trust="own", actions=self.registry.contracts)


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/s.db"


async def left_behind(store: str, *, is_paused: bool) -> RunResult:
    """A run that has ended, or was paused, in a program that could not deliver anything."""
    program = Program(store, is_stuck=True, is_held_up=is_paused)
    async with program.runtime as rt:
        handle = await rt.start(program.spec, run_id=RUN_ID)
        async for _, event in handle.events():
            if is_paused and getattr(event, "task", "") == "b":
                break
    assert not program.heard
    async with Program(store).runtime as rt:
        return await rt.get(RUN_ID)


@pytest.mark.parametrize("is_paused", [False, True], ids=["ended", "paused"])
async def test_another_run_delivers_nothing_of_one_that_was_left(is_paused, store):
    left = await left_behind(store, is_paused=is_paused)
    assert (left.status, left.hooks.delivered) == ("paused" if is_paused else "success", 0)
    program = Program(store)
    async with program.runtime as rt:
        await (await rt.start(program.spec, run_id="other")).settled()
        assert (await rt.get(RUN_ID)).hooks == left.hooks
    assert {told.split(" ")[0] for told in program.heard} == {"other"}


async def test_an_ended_run_is_delivered_for_when_its_hooks_are_drained_or_it_is_resumed(store):
    assert (await left_behind(store, is_paused=False)).hooks.pending == 4
    program = Program(store)
    async with program.runtime as rt:
        drained = await rt.drain_hooks(RUN_ID)
        assert (drained.hooks.delivered, drained.hooks.pending) == (4, 0)
        await (await rt.start_resumed(RUN_ID)).settled()
    assert program.heard == OWED


async def test_a_succeeded_run_that_is_resumed_gets_what_it_is_owed_and_does_not_run_again(store):
    await left_behind(store, is_paused=False)
    program = Program(store)
    async with program.runtime as rt:
        result = await (await rt.start_resumed(RUN_ID)).settled()
    assert (result.generation, result.hooks.delivered, result.hooks.pending) == (1, 4, 0)
    assert program.heard == OWED


async def test_a_paused_run_is_delivered_for_without_going_on_and_gets_the_rest_when_it_does(store):
    await left_behind(store, is_paused=True)
    program = Program(store)
    async with program.runtime as rt:
        drained = await rt.drain_hooks(RUN_ID)
        assert (drained.status, drained.hooks.pending) == ("paused", 0)
        assert set(program.heard) == {f"{RUN_ID} workflow_started", f"{RUN_ID} task_finished a"}
        result = await (await rt.start_resumed(RUN_ID)).settled()
        assert (result.status, result.hooks.pending) == ("success", 0)
    assert program.heard == OWED


async def test_another_run_delivers_nothing_of_one_whose_process_was_killed(
    anyio_backend_name, tmp_path, monkeypatch
):
    life = Life(tmp_path, "hooked", anyio_backend_name, Death("after", keeps="StageCompleted"), generations=2)
    assert await anyio.to_thread.run_sync(live_through, life) is None
    left = check_crashed(tmp_path)
    assert {*left[0].owed} > {delivery.delivery_id for delivery in left[0].deliveries}
    monkeypatch.setenv("LEDGER", str(tmp_path / "ledger"))
    async with Runtime(store=life.store, agents=AGENTS, hooks=REGISTRY) as rt:
        await (await rt.start(SPECS["hooked"], run_id="other")).settled()
    now = check_crashed(tmp_path)
    assert (now[0].events, now[0].deliveries) == (left[0].events, left[0].deliveries)
    assert _of_run(now[1]) == _of_run(left[1])
    heir = Life(tmp_path, "hooked", anyio_backend_name, generations=2)
    assert await anyio.to_thread.run_sync(live_through, heir) is not None
    check_ended(tmp_path, left)


def _of_run(written: Ledger) -> Counter[Body]:
    """What was begun for the run that was killed."""
    return Counter(
        {body: times for body, times in written.starts.items() if body[0].startswith(f"{RUN_ID}/")}
    )
