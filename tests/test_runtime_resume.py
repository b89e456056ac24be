"""Pause and resume of the embedded runtime: whoever leaves a run leaves it to be taken up again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import sniffio
from crash_checks import check_journal, recorded
from crash_lives import wait_until
from crash_workflows import RUN_ID
from left_behind import leave_child

from actorflow import (
    AgentCall,
    BadInputError,
    RunExistsError,
    RunNotFoundError,
    RunResult,
    Runtime,
    UnboundAgentsError,
    load_dict,
)
from actorflow.core.events import AttemptLost, AttemptStarted, AttemptSucceeded, PauseRequested, Resumed

pytestmark = pytest.mark.anyio

RELAY = load_dict(
    {
        "name": "relay",
        "tasks": {
            "first": {"agent": "quick"},
            "second": {"agent": "long", "depends_on": ["first"]},
            "third": {"agent": "quick", "depends_on": ["second"]},
        },
        "outputs": {"last": "{{ tasks.third.output }}"},
    }
)


class Relay:
    """Agents that remember their calls; the long one waits until it is let go."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int]] = []
        self.is_long_running = anyio.Event()
        self.is_let_go = anyio.Event()

    @property
    def agents(self) -> dict[str, Callable[[AgentCall], Any]]:
        """By name."""
        return {"quick": self.quick, "long": self.long}

    async def quick(self, call: AgentCall) -> str:
        """Take no time."""
        self.calls.append((call.task, call.attempt, call.loss))
        return f"{call.task} done"

    async def long(self, call: AgentCall) -> str:
        """Wait to be let go."""
        self.calls.append((call.task, call.attempt, call.loss))
        self.is_long_running.set()
        await self.is_let_go.wait()
        return f"{call.task} done"


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/state.db"


async def resumed(store: str, relay: Relay) -> None:
    """Resume the run in another runtime, and see that what was cut off, and nothing else, ran again."""
    relay.is_let_go.set()
    async with Runtime(store=store, agents=relay.agents) as rt:
        result = await rt.resume(RUN_ID)
    assert (result.status, result.generation, dict(result.outputs)) == ("success", 1, {"last": "third done"})
    assert [result.tasks[name].losses for name in ("first", "second", "third")] == [0, 0, 0]
    assert relay.calls == [("first", 1, 0), ("second", 1, 0), ("second", 1, 1), ("third", 1, 0)]


def check_history(folder: Path) -> None:
    """The journal says the same."""
    run = recorded(folder)
    check_journal(run)
    kinds = [type(event) for _, event in run.events]
    assert kinds.count(PauseRequested) == kinds.count(Resumed) == kinds.count(AttemptLost) == 1
    assert (kinds.count(AttemptStarted), kinds.count(AttemptSucceeded)) == (4, 3)


async def test_cancelling_the_scope_around_a_run_pauses_it(store, tmp_path):
    relay = Relay()
    async with Runtime(store=store, agents=relay.agents) as rt:
        async with anyio.create_task_group() as caller:
            caller.start_soon(lambda: rt.run(RELAY, run_id=RUN_ID))
            await relay.is_long_running.wait()
            caller.cancel_scope.cancel()
        paused = await rt.get(RUN_ID)
        assert (paused.status, paused.tasks["first"].status) == ("paused", "success")
    await resumed(store, relay)
    check_history(tmp_path)


async def test_a_run_that_was_paused_is_resumed_in_the_same_runtime(store, tmp_path):
    relay = Relay()
    async with Runtime(store=store, agents=relay.agents) as rt:
        async with anyio.create_task_group() as caller:
            caller.start_soon(lambda: rt.run(RELAY, run_id=RUN_ID))
            await relay.is_long_running.wait()
            caller.cancel_scope.cancel()
        relay.is_let_go.set()
        result = await rt.resume(RUN_ID)
        assert (result.status, result.tasks["second"].losses) == ("success", 0)
    check_history(tmp_path)


async def test_leaving_a_runtime_with_a_live_run_pauses_it(store, tmp_path):
    relay = Relay()
    async with Runtime(store=store, agents=relay.agents, grace_s=0.01) as rt:
        await rt.start(RELAY, run_id=RUN_ID)
        await relay.is_long_running.wait()
    async with Runtime(store=store) as rt:
        [row] = await rt.list()
        assert (row.summary.status, row.owner_pid) == ("paused", None)
    await resumed(store, relay)
    check_history(tmp_path)


async def test_cancelling_the_scope_around_a_runtime_pauses_its_runs_at_once(store, tmp_path):
    relay = Relay()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as host:

            async def serve() -> None:
                async with Runtime(store=store, agents=relay.agents, grace_s=60) as rt:
                    await rt.run(RELAY, run_id=RUN_ID)

            host.start_soon(serve)
            await relay.is_long_running.wait()
            host.cancel_scope.cancel()
    await resumed(store, relay)
    check_history(tmp_path)


async def test_an_attempt_that_ends_within_the_grace_period_is_kept(store):
    relay = Relay()

    async def let_go_while_the_runtime_waits() -> None:
        await anyio.sleep(0.01)
        relay.is_let_go.set()

    async with (
        anyio.create_task_group() as others,
        Runtime(store=store, agents=relay.agents, grace_s=60) as rt,
    ):
        await rt.start(RELAY, run_id=RUN_ID)
        await relay.is_long_running.wait()
        others.start_soon(let_go_while_the_runtime_waits)
    async with Runtime(store=store, agents=relay.agents) as rt:
        paused = await rt.get(RUN_ID)
        assert (paused.status, paused.tasks["second"].status, paused.tasks["third"].status) == (
            "paused",
            "success",
            "pending",
        )
        result = await rt.resume(RUN_ID)
    assert result.status == "success"
    assert relay.calls == [("first", 1, 0), ("second", 1, 0), ("third", 1, 0)]


async def test_the_error_of_a_host_that_leaves_its_runtime_is_the_one_that_comes_out(store):
    relay = Relay()
    with pytest.raises(ZeroDivisionError):
        async with Runtime(store=store, agents=relay.agents, grace_s=0.0) as rt:
            await rt.start(RELAY, run_id=RUN_ID)
            await relay.is_long_running.wait()
            raise ZeroDivisionError
    await resumed(store, relay)


async def test_a_command_that_is_cut_off_by_a_pause_is_ended_and_runs_again(store, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = f'if [ -p "{pipe}" ]; then echo $$ > "{pipe}"; exec sleep 60; fi'
    spec = load_dict({"name": "one", "tasks": {"one": {"command": command}}}, trust="own")
    async with Runtime(store=store, grace_s=0.0) as rt:
        await rt.start(spec, run_id=RUN_ID)
        pid = await anyio.to_thread.run_sync(pipe.read_text)
    pipe.unlink()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
    async with Runtime(store=store) as rt:
        result = await rt.resume(RUN_ID)
    assert (result.status, result.tasks["one"].losses) == ("success", 0)


async def test_a_success_is_returned_as_it_is_however_often_it_is_resumed(store):
    relay = Relay()
    relay.is_let_go.set()
    async with Runtime(store=store, agents=relay.agents) as rt:
        first = await rt.run(RELAY, run_id=RUN_ID)
        assert await rt.resume(RUN_ID) == first
    async with Runtime(store=store) as rt:
        assert await rt.resume(RUN_ID) == first
        assert await rt.get(RUN_ID) == first
    assert len(relay.calls) == 3


async def test_a_resume_without_the_agents_that_were_bound_in_code_names_them_and_changes_nothing(store):
    relay = Relay()
    async with Runtime(store=store, agents=relay.agents, grace_s=0.0) as rt:
        await rt.start(RELAY, run_id=RUN_ID)
        await relay.is_long_running.wait()
    async with Runtime(store=store) as rt:
        before = await rt.get(RUN_ID)
        with pytest.raises(UnboundAgentsError) as refused:
            await rt.resume(RUN_ID)
        assert set(refused.value.agents) == {"quick", "long"}
        assert await rt.get(RUN_ID) == before
    await resumed(store, relay)


async def test_a_run_that_nobody_has_is_not_found(store):
    async with Runtime(store=store) as rt:
        with pytest.raises(RunNotFoundError):
            await rt.resume(RUN_ID)


FLAKY_STAGES = load_dict(
    {
        "name": "flaky-stages",
        "tasks": {"good": {"agent": "good"}, "bad": {"agent": "bad"}},
        "workflows": {
            "main": {
                "hooks": {"on_stage_complete": ["sleep 0.05; echo $ACTORFLOW_DELIVERY_ID >> $DELIVERED"]},
                "steps": [{"stage": "one", "tasks": ["good"]}, {"stage": "two", "tasks": ["bad"]}],
            }
        },
    },
    trust="own",
)


@pytest.mark.parametrize("waits_for", ["end", "deliveries"])
async def test_a_failed_run_is_resumed_at_once_although_its_hooks_are_still_owed(
    waits_for, store, tmp_path, monkeypatch
):
    monkeypatch.setenv("DELIVERED", str(tmp_path / "delivered"))
    calls: list[str] = []

    async def good(call: AgentCall) -> None:
        calls.append(call.task)

    async def bad(call: AgentCall) -> None:
        calls.append(call.task)
        if len(calls) == 2:
            raise RuntimeError("not yet")

    with anyio.fail_after(20):
        async with Runtime(store=store, agents={"good": good, "bad": bad}) as rt:
            handle = await rt.start(FLAKY_STAGES, run_id=RUN_ID)
            failed = await (handle.wait() if waits_for == "end" else handle.settled())
            assert failed.status == "failed"
            again = await (await rt.start_resumed(RUN_ID)).settled()
            assert (again.status, again.generation, again.hooks.pending) == ("success", 2, 0)
    assert calls == ["good", "bad", "bad"]
    run = recorded(tmp_path)
    check_journal(run)
    assert [delivery.delivery_id for delivery in run.deliveries] == run.owed
    assert (tmp_path / "delivered").read_text().split() == run.owed


async def test_a_second_run_under_the_id_of_a_live_one_is_refused_and_leaves_that_alone(store):
    relay = Relay()
    async with Runtime(store=store, agents=relay.agents) as rt:
        handle = await rt.start(RELAY, run_id=RUN_ID)
        await relay.is_long_running.wait()
        with pytest.raises(RunExistsError):
            await rt.run(RELAY, run_id=RUN_ID)
        relay.is_let_go.set()
        assert (await handle.wait()).status == "success"
    assert len(relay.calls) == 3


async def test_of_two_that_begin_under_one_id_at_the_same_time_one_is_refused(store):
    relay = Relay()
    relay.is_let_go.set()
    ends: list[str] = []

    async def begin(runtime: Runtime) -> None:
        try:
            ends.append((await runtime.run(RELAY, run_id=RUN_ID)).status)
        except RunExistsError:
            ends.append("refused")

    async with Runtime(store=store, agents=relay.agents) as rt, anyio.create_task_group() as callers:
        callers.start_soon(begin, rt)
        callers.start_soon(begin, rt)
    assert sorted(ends) == ["refused", "success"]
    assert len(relay.calls) == 3


async def test_two_who_resume_a_run_at_the_same_time_share_it(store):
    relay = Relay()
    async with Runtime(store=store, agents=relay.agents, grace_s=0.0) as rt:
        await rt.start(RELAY, run_id=RUN_ID)
        await relay.is_long_running.wait()
    results: list[RunResult] = []

    async def resume(runtime: Runtime) -> None:
        results.append(await runtime.resume(RUN_ID))

    relay.is_let_go.set()
    async with Runtime(store=store, agents=relay.agents) as rt, anyio.create_task_group() as callers:
        callers.start_soon(resume, rt)
        callers.start_soon(resume, rt)
    assert results[0] == results[1]
    assert relay.calls == [("first", 1, 0), ("second", 1, 0), ("second", 1, 1), ("third", 1, 0)]


async def test_a_caller_that_is_cancelled_while_its_run_begins_pauses_it_too(store):
    relay = Relay()
    async with Runtime(store=store, agents=relay.agents) as rt:
        with anyio.CancelScope() as caller:
            caller.cancel()
            await rt.run(RELAY, run_id=RUN_ID)
        assert (await rt.get(RUN_ID)).status == "paused"
        with anyio.CancelScope() as caller:
            caller.cancel()
            await rt.resume(RUN_ID)
        relay.is_let_go.set()
        result = await rt.resume(RUN_ID)
        assert result.status == "success"


async def test_any_number_who_resume_a_run_that_is_soon_over_have_its_one_result(store):
    relay = Relay()
    async with Runtime(store=store, agents=relay.agents, grace_s=0.0) as rt:
        await rt.start(RELAY, run_id=RUN_ID)
        await relay.is_long_running.wait()
    relay.is_let_go.set()
    results: list[RunResult] = []

    async def resume(runtime: Runtime) -> None:
        results.append(await runtime.resume(RUN_ID))

    async with Runtime(store=store, agents=relay.agents) as rt:
        async with anyio.create_task_group() as callers:
            for _ in range(20):
                callers.start_soon(resume, rt)
        [row] = await rt.list()
    assert results == [results[0]] * 20
    assert (results[0].status, row.owner_pid) == ("success", None)
    assert relay.calls == [("first", 1, 0), ("second", 1, 0), ("second", 1, 1), ("third", 1, 0)]


async def test_a_definition_that_cannot_be_chosen_from_leaves_the_run_to_others(store):
    relay = Relay()
    async with Runtime(store=store, agents=relay.agents, grace_s=0.0) as rt:
        await rt.start(RELAY, run_id=RUN_ID)
        await relay.is_long_running.wait()
    entry = {"steps": [{"stage": "s", "tasks": ["t"]}]}
    of_two = load_dict(
        {"name": "relay", "tasks": {"t": {"agent": "quick"}}, "workflows": {"one": entry, "two": entry}}
    )
    async with Runtime(store=store, agents=relay.agents) as rt:
        with pytest.raises(BadInputError, match="one, two"):
            await rt.resume(RUN_ID, accept=of_two)
        await resumed(store, relay)


# who is cancelled while the processes of a dead owner are ended, before the run is taken


@asynccontextmanager
async def natively(call: Callable[[], Awaitable[object]]) -> AsyncIterator[Callable[[], object]]:
    """Call something beside the block, which may cancel it by the means of the loop itself, past any shield of anyio's."""
    if sniffio.current_async_library() == "asyncio":
        task = asyncio.ensure_future(call())
        yield task.cancel
        with suppress(asyncio.CancelledError):
            await task
    else:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            yield tasks.cancel_scope.cancel


async def left_behind(store: str, relay: Relay, folder: Path) -> None:
    """A paused run that was taken by a process that died, and whose child is about to be ended."""
    async with Runtime(store=store, agents=relay.agents, grace_s=0.0) as rt:
        await rt.start(RELAY, run_id=RUN_ID)
        await relay.is_long_running.wait()
    await anyio.to_thread.run_sync(leave_child, folder, store, RUN_ID)


@pytest.mark.parametrize("word", ["resume", "cancel", "signal"])
async def test_who_is_cancelled_while_a_run_is_taken_leaves_it_to_others(word, store, tmp_path):
    relay = Relay()
    await left_behind(store, relay, tmp_path)
    async with Runtime(store=store, agents=relay.agents) as rt:
        asks = {"signal": lambda: rt.signal(RUN_ID, "price")}
        async with natively(asks.get(word, lambda: getattr(rt, word)(RUN_ID))) as cancel:
            await anyio.to_thread.run_sync(wait_until, (tmp_path / "told").exists)
            cancel()
            (tmp_path / "go").touch()
        [row] = await rt.list()
        assert (row.summary.status, row.owner_pid) == ("paused", None)
        await resumed(store, relay)
    check_history(tmp_path)


async def test_who_is_cancelled_while_a_run_is_taken_takes_it_from_nobody_else(store, tmp_path):
    relay = Relay()
    results: list[RunResult] = []
    await left_behind(store, relay, tmp_path)
    relay.is_let_go.set()
    async with Runtime(store=store, agents=relay.agents) as rt, anyio.create_task_group() as callers:

        async def resume() -> None:
            results.append(await rt.resume(RUN_ID))

        async with natively(lambda: rt.resume(RUN_ID)) as cancel:
            await anyio.to_thread.run_sync(wait_until, (tmp_path / "told").exists)
            callers.start_soon(resume)
            await anyio.to_thread.run_sync(lambda: None)
            cancel()
            (tmp_path / "go").touch()
    assert [result.status for result in results] == ["success"]
    check_history(tmp_path)


async def test_runs_that_are_refused_their_id_are_in_nobodys_way_who_resumes_the_one_of_that_id(
    store, tmp_path
):
    relay = Relay()
    async with Runtime(store=store, agents=relay.agents, grace_s=0.0) as rt:
        await rt.start(RELAY, run_id=RUN_ID)
        await relay.is_long_running.wait()
    relay.is_let_go.set()
    results: list[RunResult] = []
    async with Runtime(store=store, agents=relay.agents) as rt, anyio.create_task_group() as callers:

        async def resume() -> None:
            results.append(await rt.resume(RUN_ID))

        callers.start_soon(resume)
        while not results:
            await anyio.lowlevel.checkpoint()
            with pytest.raises(RunExistsError):
                await rt.run(RELAY, run_id=RUN_ID)
    assert [result.status for result in results] == ["success"]
    check_history(tmp_path)
