"""What happens when requests, ends and exits meet; each is the smallest history of something that once went wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import anyio
import pytest

from actorflow import ActorflowError, Runtime, load_dict
from actorflow.actors.host import current_host
from actorflow.actors.pool import RunnerPool
from actorflow.core.breaker import BreakerAsk, BreakerReport
from actorflow.core.events import AttemptSucceeded, BreakerOpened
from actorflow.hooks.blocking import BlockingHook
from actorflow.journal import Answered, MemoryJournal, Request
from actorflow.runtime.breaker_actor import BreakerActor, BreakerClient
from actorflow.runtime.clock import RunClock
from actorflow.runtime.handle import RunHandle
from actorflow.runtime.journal_actor import JournalActor
from actorflow.runtime.workflow_actor import WorkflowActor
from actorflow.spec.model import BreakerSpec, WorkflowSpec
from tests.hook_tries import around_of, context_of, executor_of

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
    context = context_of("command", {"command": f"touch {tmp_path}/begun", "env": {}})
    async with anyio.create_task_group() as tasks:
        host = current_host()
        pool = RunnerPool(host, tasks)
        executor = executor_of(around_of(tmp_path))
        blocking = BlockingHook(context, executor, host=host, pool=pool, answer=answers.append)
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


# Requests

_numbers = count(1)


def go_on(handle: RunHandle) -> None:
    """Take a pause back, as another process asks."""
    handle._live.receive(Request(next(_numbers), handle.run_id, "resume", {}, 0.0, 1))


async def hang(_: object) -> None:
    await anyio.sleep_forever()


async def test_any_number_of_callers_may_send_signals_at_once(store: str):
    async with Runtime(store=store, agents={"x": hang}, grace_s=0) as rt:
        handle = await rt.start(workflow({"a": {"agent": "x"}}, limits={"max_parallel": 1}), run_id="r")
        async with anyio.create_task_group() as callers:
            for number in range(600):
                callers.start_soon(lambda n: rt.signal("r", "n", n % 500, signal_id=str(n % 500)), number)
        assert sorted(handle._live.actor.state.signals["n"]) == list(range(500))


async def test_any_number_of_callers_may_ask_for_less_and_less_grace(store: str):
    async with Runtime(store=store, agents={"x": hang}) as rt:
        handle = await rt.start(workflow({"a": {"agent": "x"}}, limits={"max_parallel": 1}))
        for number in range(600):
            rt.pause_all("again", grace_s=6.0 - number / 100)
        with anyio.fail_after(5):
            assert (await handle.wait()).status == "paused"


async def test_a_run_that_ends_while_it_is_pausing_cannot_go_on(store: str):
    begun = anyio.Event()

    async def end(_):
        await begun.wait()

    async with Runtime(store=store, agents={"x": end}) as rt:
        handle = await rt.start(workflow({"a": {"agent": "x"}}))
        handle._live.ask_pause("p", 5.0)
        begun.set()
        while handle._live.actor.state.phase != "ended":
            await anyio.lowlevel.checkpoint()
        go_on(handle)
        assert (await handle.wait()).status == "success"


async def test_a_pause_that_was_taken_back_ends_nothing_of_the_next_one(store: str):
    let_end = anyio.Event()

    async def wait(_):
        await let_end.wait()

    async with Runtime(store=store, agents={"x": wait}) as rt, anyio.create_task_group() as tasks:
        handle = await rt.start(workflow({"a": {"agent": "x"}}))
        for grace_s in (0.2, 0.1):
            handle._live.ask_pause("first", grace_s)
        go_on(handle)
        paused = []

        async def pause() -> None:
            paused.append(await handle.pause(grace_s=30))

        tasks.start_soon(pause)
        await anyio.sleep(0.3)
        let_end.set()
    assert [result.tasks["a"].status for result in paused] == ["success"]


async def test_less_grace_counts_also_when_it_was_asked_for_first(store: str):
    async with Runtime(store=store, agents={"x": hang}) as rt:
        handle = await rt.start(workflow({"a": {"agent": "x"}}))
        handle._live.ask_pause("first", 0.1)
        pause = Request(1, handle.run_id, "pause", {"cause": "second", "grace_s": 30}, 0.0, 1)
        assert handle._live.receive(pause)
        with anyio.fail_after(5):
            assert (await handle.wait()).status == "paused"


async def test_a_cancel_after_a_pause_leaves_behind_what_does_not_stop(store: str):
    begun, is_let_go = anyio.Event(), anyio.Event()

    async def stuck(_):
        begun.set()
        with anyio.CancelScope(shield=True):
            await is_let_go.wait()

    async with Runtime(store=store, agents={"x": stuck}, grace_s=0.1) as rt:
        handle = await rt.start(workflow({"a": {"agent": "x"}}))
        await begun.wait()
        handle._live.ask_pause("p", 0.0)
        await anyio.sleep(0.05)
        handle.cancel()
        with anyio.fail_after(5):
            result = await handle.wait()
        is_let_go.set()
    assert (result.status, result.tasks["a"].error["type"]) == ("canceled", "did_not_stop")


async def test_a_cancel_of_a_canceled_run_that_is_being_paused_ends_it(store: str):
    begun, is_let_go = anyio.Event(), anyio.Event()

    async def stuck(_):
        begun.set()
        with anyio.CancelScope(shield=True):
            await is_let_go.wait()

    async with Runtime(store=store, agents={"x": stuck}, grace_s=0.2) as rt:
        handle = await rt.start(workflow({"a": {"agent": "x"}}))
        await begun.wait()
        handle.cancel()
        await anyio.sleep(0.05)
        handle._live.ask_pause("p", 0.0)
        await anyio.sleep(0.05)
        handle.cancel()
        with anyio.fail_after(5):
            assert (await handle.wait()).status == "canceled"
        is_let_go.set()


# Crashes of ours

MOMENTS: dict[str, Callable[[WorkflowActor], bool]] = {
    "a batch is on its way": lambda actor: actor._outbox.is_answer_owed and actor.state.progress > 0.2,
    "the last batch is on its way": lambda actor: (
        actor._outbox.is_answer_owed and actor.state.phase == "ended"
    ),
}


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_crash_while_the_journal_is_at_work_costs_nothing_that_was_handed_to_it(
    moment, tmp_path: Path
):
    spec = workflow({f"t{n}": {"agent": "x"} for n in range(60)}, limits={"max_parallel": 5})
    async with Runtime(store=f"sqlite:///{tmp_path}/runs.db", agents={"x": "echo"}) as rt:
        handle = await rt.start(spec, run_id="r")
        while not MOMENTS[moment](handle._live.actor):
            await anyio.lowlevel.checkpoint()
        handle._live.actor.tell(object())
        with anyio.fail_after(10):
            assert (await handle.settled()).status == "success"
        numbers = [seq async for seq, _ in handle.events()]
        assert numbers == list(range(1, handle._live.kept_seq + 1))
        [row] = await rt.list()
    assert (row.summary.status, row.owner_pid) == ("success", None)


async def test_a_signal_that_is_told_to_an_actor_that_crashes_is_received_by_the_next(store: str):
    async with Runtime(store=store, agents={"x": hang}, grace_s=0) as rt:
        handle = await rt.start(workflow({"a": {"agent": "x"}}), run_id="r")
        live = handle._live
        live.actor.tell(object())  # in front of the signal, in the same turn
        with anyio.fail_after(5):
            assert await live.send_signal("n", 1, "s")
        assert live.actor.state.signals == {"n": [1]}


async def test_an_answer_that_cannot_be_delivered_keeps_no_other_from_who_waits_for_it(caplog):
    answered = []

    def crash(_: object) -> None:
        raise RuntimeError("a bug of ours")

    async with anyio.create_task_group() as tasks:
        actor = JournalActor(current_host(), MemoryJournal())
        tasks.start_soon(actor.run)
        for reply in (crash, answered.append):
            actor.tell(Answered([1]), reply)
        await actor.keep(Answered([1]))
        actor.stop()
    assert answered == [None]
    assert "the answer to Answered could not be delivered" in caplog.text


async def test_a_breaker_that_refuses_a_run_which_is_over_keeps_nothing_of_it():
    heard = []
    breaker = BreakerSpec(threshold=1, window=60.0, cooldown=60.0)
    async with anyio.create_task_group() as tasks:
        host = current_host()
        journal, clock = JournalActor(host, MemoryJournal()), RunClock(current_host())
        tasks.start_soon(journal.run)
        breakers = BreakerActor(journal, clock)
        client = BreakerClient("r", clock, heard.append, lambda: True)
        breakers.report(client, BreakerReport("k", breaker, "r", "a", 1, clock.now(), "failure"))
        breakers.ask(client, BreakerAsk("k", breaker, "r", "b"))
        await journal.keep(Answered([1]))
        journal.stop()
    assert [type(event) for event in heard] == [BreakerOpened]
    assert not breakers._waiting
