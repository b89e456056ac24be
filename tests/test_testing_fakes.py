"""Scripted agents, rates and the hook recorder of `actorflow.testing`: each does what it says, on both back ends."""

from __future__ import annotations

import asyncio
import selectors
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio

from actorflow import AgentCall, BadInputError, RunResult, Runtime
from actorflow.actors.host import current_host
from actorflow.actors.room import AsyncioRoom
from actorflow.hooks.rates import HookRates, Rates
from actorflow.testing.agents import AgentStep, Crashes, Fails, Hangs, Raises, Returns, ScriptedAgent
from actorflow.testing.clock import run_virtually
from actorflow.testing.rates import VirtualRates
from actorflow.testing.recorder import HookRecorder
from actorflow.testing.world import World
from tests.hook_tries import context_of, until
from tests.hooked_runs import ECHO, workflow

on_both = pytest.mark.anyio


def call_of(attempt: int = 1, loss: int = 0, task: str = "a") -> AgentCall:
    return AgentCall(input=None, task=task, run_id="r", attempt=attempt, loss=loss)


FAILS, RETURNS, CRASHES = Fails("no"), Returns("yes"), Crashes()

TURNS: dict[str, tuple[Sequence[AgentStep], dict[tuple[int, int], AgentStep]]] = {
    "one step is for all attempts": ([RETURNS], {(1, 0): RETURNS, (1, 3): RETURNS, (7, 0): RETURNS}),
    "one step for each attempt, the last again and again": (
        [FAILS, RETURNS],
        {(1, 0): FAILS, (2, 0): RETURNS, (9, 0): RETURNS},
    ),
    "a lost attempt comes to the same step": (
        [FAILS, RETURNS],
        {(1, 1): FAILS, (1, 2): FAILS, (2, 1): RETURNS},
    ),
    "crashes stand before the step of the attempt that they cut off": (
        [CRASHES, CRASHES, FAILS, CRASHES, RETURNS],
        {
            (1, 0): CRASHES,
            (1, 1): CRASHES,
            (1, 2): FAILS,
            (1, 3): FAILS,
            (2, 0): CRASHES,
            (2, 1): RETURNS,
            (3, 0): RETURNS,
        },
    ),
    "crashes at the end go on": (
        [FAILS, CRASHES],
        {(1, 0): FAILS, (2, 0): CRASHES, (2, 4): CRASHES, (3, 0): CRASHES},
    ),
    "nothing but crashes": ([CRASHES], {(1, 0): CRASHES, (1, 1): CRASHES, (2, 0): CRASHES}),
}


@pytest.mark.parametrize("name", TURNS)
def test_the_step_of_an_attempt_follows_from_its_number_and_its_losses(name: str):
    steps, expected = TURNS[name]
    agent = ScriptedAgent(*steps)
    assert {turn: agent.step_for(call_of(*turn)) for turn in expected} == expected
    assert {turn: agent.step_for(call_of(*turn)) for turn in reversed(expected)} == expected, (
        "it counts calls"
    )


def test_a_step_may_be_a_function_of_the_call():
    agent = ScriptedAgent(lambda call: Returns(f"{call.task} {call.attempt}"))
    assert agent.step_for(call_of(2, task="b")) == Returns("b 2")


def test_a_script_without_steps_is_refused():
    with pytest.raises(ValueError, match="at least one step"):
        ScriptedAgent()


async def result_of(agent: ScriptedAgent, task: dict[str, Any]) -> RunResult:
    async with Runtime(store="memory:", agents={"scripted": agent}) as rt:
        return await rt.run(workflow({"a": {"agent": "scripted", **task}}), run_id="r")


@on_both
async def test_attempts_of_a_run_end_as_scripted():
    agent = ScriptedAgent(
        Fails("the bank is closed", "Closed"), Raises(ValueError("no luck")), Returns({"paid": True})
    )
    result = await result_of(agent, {"retry": {"max_attempts": 3, "delay": "1ms"}})
    assert (result.status, result.tasks["a"].output) == ("success", {"paid": True})
    assert [(called.call.attempt, called.how) for called in agent.calls] == [
        (1, "failed"),
        (2, "raised"),
        (3, "returned"),
    ]


@on_both
async def test_a_failure_has_the_type_and_the_message_of_its_step():
    result = await result_of(ScriptedAgent(Fails("closed", "Bank")), {})
    assert result.tasks["a"].error == {"type": "Bank", "message": "closed", "attempt": 1, "task": "a"}


def test_an_agent_that_asks_not_to_be_asked_again_is_left_alone_for_so_long():
    agent = ScriptedAgent(Fails("closed", retry_after_s=7.0), Fails("closed"), Returns())
    run_virtually(
        lambda: result_of(
            agent, {"retry": {"max_attempts": 3, "delay": "1s", "jitter": "none", "backoff": "constant"}}
        )
    )
    began = [called.began_at for called in agent.calls]
    assert [later - earlier for earlier, later in pairwise(began)] == pytest.approx([7.0, 1.0], abs=1e-5)


@on_both
async def test_an_error_that_stands_for_many_attempts_does_not_grow():
    error = ValueError("no luck")
    result = await result_of(ScriptedAgent(Raises(error)), {"retry": {"max_attempts": 5, "delay": "1ms"}})
    traceback, depth = error.__traceback__, 0
    while traceback is not None:
        traceback, depth = traceback.tb_next, depth + 1
    assert (result.status, result.tasks["a"].attempts) == ("failed", 5)
    assert depth < 10


@on_both
async def test_what_hangs_ends_by_its_timeout():
    agent = ScriptedAgent(Hangs(), Returns("at last"))
    result = await result_of(agent, {"timeout": "20ms", "retry": {"max_attempts": 2, "delay": "1ms"}})
    assert (result.status, [called.how for called in agent.calls]) == ("success", ["canceled", "returned"])


def test_what_ignores_its_cancel_goes_on_for_so_long():
    agent = ScriptedAgent(Hangs(ignores_cancel_s=3.0))
    result = run_virtually(lambda: result_of(agent, {"timeout": "2s"}))
    (called,) = agent.calls
    assert (result.status, called.how) == ("failed", "canceled")
    assert called.ended_at is not None
    assert called.ended_at - called.began_at == pytest.approx(5.0)


@pytest.mark.parametrize(
    "step", [Returns(after_s=90.0), Fails(after_s=90.0), Raises(ValueError(), after_s=90.0)]
)
def test_a_step_takes_its_time_by_the_clock_of_the_loop(step: AgentStep):
    agent = ScriptedAgent(step)
    run_virtually(lambda: result_of(agent, {}))
    (called,) = agent.calls
    assert called.ended_at is not None
    assert called.ended_at - called.began_at == pytest.approx(90.0)


@on_both
async def test_a_call_that_goes_on_is_seen():
    agent = ScriptedAgent(Hangs())
    async with anyio.create_task_group() as group:
        group.start_soon(agent, call_of())
        await until(lambda: agent.calls)
        assert [(called.how, called.ended_at) for called in agent.calls] == [("running", None)]
        group.cancel_scope.cancel()


@on_both
async def test_a_crash_outside_of_a_world_is_an_error():
    with pytest.raises(RuntimeError, match="World"):
        await ScriptedAgent(Crashes())(call_of())


def test_a_scripted_crash_ends_its_process_and_the_next_one_comes_to_the_step_behind_it():
    agent = ScriptedAgent(Crashes(after_s=2.0), Fails("no"), Crashes(), Returns("yes"))
    spec = workflow({"a": {"agent": "scripted", "retry": {"max_attempts": 2}}})

    async def story(world: World) -> RunResult:
        async with world.process(agents={"scripted": agent}) as process:
            await process.runtime.run(spec, run_id="r")
        for _ in range(2):
            async with world.process(agents={"scripted": agent}) as process:
                result = await process.runtime.resume("r")
        return result

    with World(seed=1) as world:
        result = world.run(story)
    assert [(called.call.attempt, called.call.loss, called.how) for called in agent.calls] == [
        (1, 0, "crashed"),
        (1, 1, "failed"),
        (2, 0, "crashed"),
        (2, 1, "returned"),
    ]
    assert (result.status, result.tasks["a"].output) == ("success", "yes")


# --- rates -------------------------------------------------------------------------------------------------------------------


class JumpingLoop(asyncio.SelectorEventLoop):
    """A loop of asyncio in which nothing but timers is waited for: no thread, no descriptor."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self._loop.jump(timeout)
        return ready


async def turns_taken(rates: Rates) -> list[float]:
    """When turns of 5 a second are let through: some wait, one gives up, one is in the middle of a pause, one is late."""
    began, at = anyio.current_time(), list[float]()

    async def take() -> None:
        await rates.turn("hook", 5.0)
        at.append(anyio.current_time() - began)

    async with anyio.create_task_group() as group:
        for begins_s, patience_s in (
            (0.0, 9.0),
            (0.02, 9.0),
            (0.04, 0.3),
            (0.06, 9.0),
            (0.75, 9.0),
            (2.0, 9.0),
            (2.05, 9.0),
        ):
            group.start_soon(_after, begins_s, patience_s, take)
    return at


async def _after(begins_s: float, patience_s: float, take: Callable[[], Awaitable[None]]) -> None:
    await anyio.sleep(begins_s)
    with anyio.move_on_after(patience_s):
        await take()


async def turns_of_the_real_rates() -> list[float]:
    room = AsyncioRoom(current_host())
    try:
        return await turns_taken(HookRates(room))
    finally:
        await room.aclose()


def test_turns_come_at_the_same_times_as_with_the_real_rates():
    real = anyio.run(turns_of_the_real_rates, backend_options={"loop_factory": JumpingLoop})
    fake = run_virtually(lambda: turns_taken(VirtualRates()))
    assert fake == pytest.approx(real, abs=1e-5)
    assert fake == pytest.approx([0.0, 0.2, 0.4, 0.75, 2.0, 2.2], abs=1e-5)


def test_turns_in_virtual_time_are_exactly_as_far_apart_as_the_rate_says():
    async def story() -> list[float]:
        rates, at = VirtualRates(), list[float]()
        for _ in range(4):
            await rates.turn("hook", 1 / 3_600)
            at.append(trio.current_time())
        return [each - at[0] for each in at]

    assert run_virtually(story) == pytest.approx([0.0, 3_600.0, 7_200.0, 10_800.0])


def test_turns_are_taken_in_the_order_in_which_they_were_asked_for():
    async def story() -> list[int]:
        rates, order = VirtualRates(), list[int]()

        async def take(number: int) -> None:
            await anyio.sleep(number / 1_000)
            await rates.turn("hook", 1.0)
            order.append(number)

        async with anyio.create_task_group() as group:
            for number in range(9):
                group.start_soon(take, number)
        return order

    assert run_virtually(story) == list(range(9))


@on_both
async def test_each_hook_has_a_rate_of_its_own():
    rates = VirtualRates()
    with anyio.fail_after(5):
        for key in ("a", "b", "c"):
            await rates.turn(key, 1 / 3_600)


# --- recorder ----------------------------------------------------------------------------------------------------------------


@on_both
async def test_a_recorder_is_told_of_all_events_that_a_function_may_have_in_order():
    recorder = HookRecorder()
    agents = {"echo": "echo", "scripted": ScriptedAgent(Fails("no"))}
    async with Runtime(store="memory:", agents=agents) as rt:
        recorder.listen(rt)
        handle = await rt.start(workflow({"a": ECHO, "b": {"agent": "scripted", "depends_on": ["a"]}}))
        await handle.settled()
    assert Counter(context.event for context in recorder.told) == {
        "pre_workflow": 1,
        "workflow_started": 1,
        "task_started": 2,
        "task_finished": 2,
        "dead_lettered": 1,
        "on_error": 1,
        "post_workflow": 1,
        "workflow_finished": 1,
    }
    assert [(each.task and each.task["id"], each.status) for each in recorder.of("task_finished")] == [
        ("a", "success"),
        ("b", "failed"),
    ]


@on_both
async def test_a_recorder_is_told_of_no_more_than_it_listens_to():
    recorder = HookRecorder()
    async with Runtime(store="memory:", agents={"echo": "echo"}) as rt:
        recorder.listen(rt, "task_finished", "task_finished")
        await (await rt.start(workflow({"a": ECHO, "b": ECHO}))).settled()
    assert [context.event for context in recorder.told] == ["task_finished"] * 2


@on_both
async def test_what_a_recorder_will_be_told_can_be_waited_for_within_the_run():
    recorder = HookRecorder()
    with anyio.fail_after(10):
        async with Runtime(store="memory:", agents={"scripted": ScriptedAgent(Hangs())}) as rt:
            recorder.listen(rt, "task_started")
            handle = await rt.start(workflow({"a": {"agent": "scripted"}}), run_id="r")
            context = await recorder.wait_for("task_started")
            handle.cancel()
    assert (context.run_id, context.task and context.task["id"]) == ("r", "a")


@on_both
async def test_several_wait_for_what_a_recorder_will_be_told():
    recorder, seen = HookRecorder(), list[tuple[str, int]]()

    async def wait(count: int) -> None:
        context = await recorder.wait_for("task_finished", count)
        seen.append((str(context.delivery_id), count))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for count in (2, 1, 1):
                group.start_soon(wait, count)
            await anyio.lowlevel.checkpoint()
            await recorder(context_of(delivery_id="d1"))
            await until(lambda: len(seen) == 2)
            await recorder(context_of(delivery_id="d2"))
    assert seen == [("d1", 1), ("d1", 1), ("d2", 2)]


def test_an_event_that_does_not_exist_is_refused():
    with pytest.raises(BadInputError, match="task_finished"):
        HookRecorder().listen(Runtime(store="memory:"), "task_finish")  # type: ignore[arg-type]
