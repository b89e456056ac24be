"""What happens when requests, ends and exits meet; each is the smallest history of something that once went wrong."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from actorflow import ActorflowError, Runtime, load_dict
from actorflow.actors.host import current_host
from actorflow.actors.pool import RunnerPool
from actorflow.core.events import AttemptSucceeded
from actorflow.hooks.blocking import BlockingHook
from actorflow.hooks.command import CommandHook
from actorflow.processes import ProcessTrees
from actorflow.spec.model import HookSpec, WorkflowSpec

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'runs.db'}"


def workflow(tasks: dict, **more: object) -> WorkflowSpec:
    return load_dict({"name": "w", "tasks": tasks, **more}, trust="own")


async def test_a_cancel_while_attempts_are_ended_for_a_pause_ends_the_run(store: str):
    begun = anyio.Event()

    async def slow_to_end(_):
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.1)

    spec = workflow({"a": {"agent": "x"}}, hooks={"post_workflow": ["true"]})
    async with Runtime(store=store, agents={"x": slow_to_end}) as rt, anyio.create_task_group() as tasks:
        handle = await rt.start(spec)
        await begun.wait()
        tasks.start_soon(lambda: handle.pause(grace_s=0))
        await anyio.sleep(0.03)
        handle.cancel()
        with anyio.fail_after(10):
            result = await handle.wait()
    assert (result.status, result.tasks["a"].status, result.hooks.delivered) == ("canceled", "canceled", 1)


async def test_a_cancel_while_a_hook_is_ended_for_a_pause_ends_the_run(store: str):
    spec = workflow({"a": {"agent": "x"}}, hooks={"pre_workflow": ["trap '' TERM; sleep 5"]})
    async with Runtime(store=store, agents={"x": "echo"}) as rt, anyio.create_task_group() as tasks:
        handle = await rt.start(spec)
        await anyio.sleep(0.1)
        tasks.start_soon(lambda: handle.pause(grace_s=0))
        await anyio.sleep(0.05)
        handle.cancel()
        with anyio.fail_after(20):
            result = await handle.wait()
    assert (result.status, result.tasks["a"].reason) == ("canceled", "canceled")


async def test_no_run_is_started_while_the_runtime_is_closed_and_closing_does_not_hang(store: str):
    async def short(_):
        await anyio.sleep(0.03)

    async def start_again_and_again(rt: Runtime) -> None:
        with suppress(RuntimeError, ActorflowError):
            while True:
                await rt.run(workflow({"a": {"agent": "x"}}))

    with anyio.fail_after(10):
        async with (
            anyio.create_task_group() as tasks,
            Runtime(store=store, agents={"x": short}, grace_s=0) as rt,
        ):
            tasks.start_soon(start_again_and_again, rt)
            await anyio.sleep(0.02)


async def test_an_outcome_is_kept_though_the_next_attempt_takes_its_time(store: str):
    async def quick(_):
        # longer than a runner's slice: another attempt is queued when the outcome is told
        time.sleep(0.004)  # noqa: ASYNC251

    async def hang(_):
        await anyio.sleep_forever()

    spec = workflow({"a": {"agent": "quick"}, "b": {"agent": "hang"}})
    async with Runtime(store=store, agents={"quick": quick, "hang": hang}, grace_s=0) as rt:
        handle = await rt.start(spec)
        with anyio.fail_after(5):
            async for _, event in handle.events():
                if isinstance(event, AttemptSucceeded):
                    break


async def test_a_hook_that_a_nameless_signal_kills_is_recorded_and_the_line_goes_on(
    store: str, tmp_path: Path
):
    steps = [{"stage": "one", "tasks": ["a"]}]
    hooks = {"on_stage_complete": ["kill -40 $$", f"echo x >> {tmp_path}/second"]}
    spec = workflow({"a": {"agent": "x"}}, workflows={"w": {"steps": steps, "hooks": hooks}})
    async with Runtime(store=store, agents={"x": "echo"}) as rt:
        result = await (await rt.start(spec)).settled()
    assert (result.hooks.delivered, result.hooks.failed, result.hooks.pending) == (1, 1, 0)
    assert (tmp_path / "second").read_text() == "x\n"


async def test_a_blocking_hook_that_is_abandoned_before_it_begins_never_begins(tmp_path: Path):
    answers = []
    hook = HookSpec(command=f"touch {tmp_path}/begun")
    async with anyio.create_task_group() as tasks:
        host = current_host()
        pool = RunnerPool(host, tasks)
        job = CommandHook(hook, {}, str(tmp_path), "id")
        blocking = BlockingHook(job, host=host, pool=pool, trees=ProcessTrees(), answer=answers.append)
        blocking.abandon()
        blocking.start()
        await anyio.wait_all_tasks_blocked()
        pool.stop()
    assert answers == [None]
    assert not (tmp_path / "begun").exists()


async def test_any_number_of_callers_may_cancel_and_pause(store: str):
    async with Runtime(store=store, agents={"x": lambda _: anyio.sleep_forever()}) as rt:
        handle = await rt.start(workflow({"a": {"agent": "x"}}, limits={"max_parallel": 1}))
        for _ in range(500):
            rt.pause_all("again", grace_s=5)
        for _ in range(500):
            handle.cancel()
        assert (await handle.wait()).status == "canceled"


async def test_a_run_that_is_pausing_is_resumed_when_it_is_paused(store: str):
    calls = []

    async def slow_to_end(call):
        calls.append(call.loss)
        if call.loss == 0:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.1)
            await anyio.sleep_forever()

    async with Runtime(store=store, agents={"x": slow_to_end}) as rt, anyio.create_task_group() as tasks:
        handle = await rt.start(workflow({"a": {"agent": "x"}}), run_id="r")
        await anyio.sleep(0.02)
        tasks.start_soon(lambda: handle.pause(grace_s=0))
        await anyio.sleep(0.02)
        result = await rt.resume("r")
    assert result.status == "success"
    assert calls == [0, 1]


async def test_who_stops_waiting_for_a_run_leaves_nothing_behind(store: str):
    async with Runtime(store=store, agents={"x": lambda _: anyio.sleep_forever()}, grace_s=0) as rt:
        handle = await rt.start(workflow({"a": {"agent": "x"}}))
        for _ in range(20):
            with anyio.move_on_after(0.001):
                await handle.wait()
        assert not handle._live.is_over._gates
