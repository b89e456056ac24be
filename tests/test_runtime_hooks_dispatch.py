"""Runs that hooks start: linked to their parents, started once, and nothing to their outcome."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from actorflow import AgentCall, HookContext, Runtime, UnboundAgentsError
from actorflow.core.events import RunStarted
from actorflow.journal.protocol import RunRow
from actorflow.runtime.dispatch import Parent
from tests.hooked_runs import AGENTS, ECHO, Words, registry_with, sqlite, workflow

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else sqlite(tmp_path)


def dispatch(task: str, **given: object) -> dict[str, Any]:
    return {"type": "dispatch_task", "params": {"task_id": task, **({"input": given} if given else {})}}


def parent(target: str = "child", /, **more: Any) -> dict[str, Any]:
    return {"agent": "echo", "hooks": {"task_finished": [dispatch(target, **more)]}}


async def children_of(rt: Runtime, *parents: str) -> list[RunRow]:
    return [row for row in reversed(await rt.list()) if row.run_id not in parents]


class Held:
    """An agent that is held up until it may end."""

    def __init__(self) -> None:
        self.is_reached = anyio.Event()
        self.may_end = anyio.Event()
        self.calls = 0

    async def work(self, _: AgentCall) -> str:
        self.calls += 1
        self.is_reached.set()
        await self.may_end.wait()
        return "done"


async def test_a_task_of_the_file_is_a_run_of_its_own_with_its_input_and_its_own_hooks(store: str):
    said: list[str] = []

    async def act(context: HookContext, params: Words) -> None:
        said.append(f"{context.workflow} {context.event} {params.say}")

    registry = registry_with(act)
    child = {
        "agent": "echo",
        "with": {"got": "{{ input.status }}"},
        "hooks": {"task_finished": [{"type": "act", "params": {"say": "{{ output.input.got }}"}}]},
    }
    spec = workflow(
        {"a": parent(status="{{ task.status }}"), "child": child},
        {"workflow_finished": [{"type": "act", "params": {"say": "{{ workflow.status }}"}}]},
        actions=registry.contracts,
    )
    async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
        handle = await rt.start(spec, run_id="p", inputs={"status": "of the parent"})
        result = await handle.settled()
        (row,) = await children_of(rt, "p")
        started = (await rt.get(row.run_id)).tasks["child"]
        (told,) = [each for each in await handle.deliveries() if each.hook.endswith("a.task_finished[0]")]

    assert result.status == "success"
    assert row.workflow == "w/child"
    assert started.output["input"] == {"got": "success"}
    assert told.record["run_id"] == row.run_id
    assert list(result.tasks) == ["a"], "what hooks start is no task of the parent"
    assert sorted(said) == ["w workflow_finished success", "w/child task_finished success"]


async def test_what_started_a_run_stands_in_its_first_event(tmp_path: Path):
    async with Runtime(store=sqlite(tmp_path), agents=AGENTS) as rt:
        handle = await rt.start(workflow({"a": parent("echo")}), run_id="p")
        await handle.settled()
        (row,) = await children_of(rt, "p")
        (first, *_) = [event for _, event in rt._opened.staff.store.journal.events(row.run_id)]
        (told,) = await handle.deliveries()
    assert isinstance(first, RunStarted)
    assert first.flags["parent"] == {"run_id": "p", "task": "a", "delivery_id": told.delivery_id, "depth": 1}


async def test_dispatched_runs_are_three_deep_at_most(store: str):
    tasks = {"a": parent("b"), "b": parent("c"), "c": parent("d"), "d": parent("e"), "e": ECHO}
    async with Runtime(store=store, agents=AGENTS) as rt:
        handle = await rt.start(workflow(tasks), run_id="p")
        await handle.settled()
        rows = await children_of(rt, "p")
        last = await rt.get(rows[-1].run_id)
    assert [row.workflow for row in rows] == ["w/b", "w/b/c", "w/b/c/d"]
    assert (last.status, last.hooks.skipped, last.hooks.delivered) == ("success", 1, 0)


async def test_an_agent_that_there_is_not_is_told_before_a_run_exists(store: str):
    async with Runtime(store=store, agents=AGENTS) as rt:
        with pytest.raises(UnboundAgentsError, match="nobody"):
            await rt.start(workflow({"a": parent("nobody")}))
        assert await rt.list() == []


async def test_what_a_child_needs_and_is_not_here_is_a_dead_letter_and_nothing_else(
    store: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("CHILD_TOKEN", raising=False)
    child = {"command": "true", "env": {"TOKEN": "${CHILD_TOKEN}"}}
    async with Runtime(store=store, agents=AGENTS) as rt:
        handle = await rt.start(workflow({"a": parent("child"), "child": child}), run_id="p")
        result = await handle.settled()
        rows = await children_of(rt, "p")
        (letter,) = await rt.dead_letters()
    assert (result.status, result.hooks.dead_letters, rows) == ("success", 1, [])
    assert "CHILD_TOKEN" in letter.reason


async def test_a_child_that_fails_is_nothing_to_its_parent(store: str):
    async with Runtime(store=store, agents=AGENTS) as rt:
        handle = await rt.start(workflow({"a": parent("fail")}), run_id="p")
        result = await handle.settled()
        (row,) = await children_of(rt, "p")
    assert (result.status, result.had_errors, result.hooks.delivered) == ("success", False, 1)
    assert row.summary.status == "failed"


async def test_a_child_goes_on_when_its_parent_is_canceled(store: str):
    child, held = Held(), Held()
    tasks = {"a": parent("child"), "b": {"agent": "held"}}
    async with Runtime(store=store, agents={**AGENTS, "child": child.work, "held": held.work}) as rt:
        handle = await rt.start(workflow(tasks), run_id="p")
        await child.is_reached.wait()
        handle.cancel()
        canceled = await handle.wait()
        child.may_end.set()
        await handle.settled()
        (row,) = await children_of(rt, "p")
    assert (canceled.status, row.summary.status) == ("canceled", "success")


async def test_a_parent_has_settled_when_its_children_have(store: str):
    child = Held()
    async with Runtime(store=store, agents={**AGENTS, "child": child.work}) as rt:
        handle = await rt.start(workflow({"a": parent("child")}), run_id="p")
        ended = await handle.wait()
        await child.is_reached.wait()
        (before,) = await children_of(rt, "p")
        child.may_end.set()
        await handle.settled()
        (after,) = await children_of(rt, "p")
    assert ended.status == "success"
    assert (before.summary.status, after.summary.status) == ("running", "success")


async def test_leaving_the_runtime_waits_for_children_for_as_long_as_there_is_to_drain(tmp_path: Path):
    child, store = Held(), sqlite(tmp_path)
    agents = {**AGENTS, "child": child.work}
    async with Runtime(store=store, agents=agents) as rt:
        await rt.start(workflow({"a": parent("child")}), run_id="p")
        await child.is_reached.wait()
        child.may_end.set()
    async with Runtime(store=store) as rt:
        (row,) = await children_of(rt, "p")
    assert row.summary.status == "success"


async def test_a_child_that_is_paused_at_the_deadline_goes_on_when_its_parent_is_resumed(tmp_path: Path):
    child, store = Held(), sqlite(tmp_path)
    agents = {**AGENTS, "child": child.work}
    async with Runtime(store=store, agents=agents, grace_s=0.0) as rt:
        await rt.start(workflow({"a": parent("child")}), run_id="p")
        await child.is_reached.wait()
        rt.stop_draining()
    async with Runtime(store=store, agents=agents) as rt:
        (paused,) = await children_of(rt, "p")
        child.may_end.set()
        handle = await rt.start_resumed("p")
        result = await handle.settled()
    async with Runtime(store=store) as rt:
        (ended,) = await children_of(rt, "p")
        output = (await rt.get(ended.run_id)).tasks["child"].output
    assert (paused.summary.status, ended.summary.status, ended.run_id) == ("paused", "success", paused.run_id)
    assert (result.status, output, child.calls) == ("success", "done", 2)


async def test_the_same_delivery_made_again_starts_no_second_run(store: str):
    contexts: list[HookContext] = []
    may_go_on = anyio.Event()

    async def tell(context: HookContext) -> None:
        contexts.append(context)

    async def wait(_: object) -> None:
        await may_go_on.wait()

    child = Held()
    child.may_end.set()
    tasks = {"a": ECHO, "b": {"agent": "wait", "depends_on": ["a"]}}
    async with Runtime(store=store, agents={**AGENTS, "wait": wait, "child": child.work}) as rt:
        rt.on("task_finished")(tell)
        handle = await rt.start(workflow(tasks), run_id="p")
        while not contexts:
            await anyio.lowlevel.checkpoint()
        open_ = rt._opened
        parent_run = Parent(lambda: open_.conductor.live["p"].actor.state, [])
        ids = [await open_.dispatch(parent_run, contexts[0], "child", {"n": 1}) for _ in range(3)]
        rows = await children_of(rt, "p")
        may_go_on.set()
        await handle.settled()
    assert ids == [rows[0].run_id] * 3
    assert (len(rows), child.calls) == (1, 1)


async def test_a_parent_in_memory_has_its_children_there(tmp_path: Path):
    child = Held()
    async with Runtime(store=sqlite(tmp_path), agents={**AGENTS, "child": child.work}) as rt:
        spec = workflow({"a": parent("child")}, limits={"durability": "memory"})
        handle = await rt.start(spec, run_id="p")
        await child.is_reached.wait()
        child.may_end.set()
        result = await handle.settled()
        rows = list(await rt.list())
    assert (result.status, result.hooks.delivered, child.calls) == ("success", 1, 1)
    assert rows == []
