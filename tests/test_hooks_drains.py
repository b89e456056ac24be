"""Drains: who waits for deliveries waits for what can come within the time there is, and for nothing else."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import anyio
import pytest
import trio
import trio.testing

from actorflow import HookContext, Runtime, load_dict
from actorflow.core.delivery import TryResult
from actorflow.hooks.opening import WINDOW
from actorflow.journal import open_journal
from actorflow.spec.model import BatchSpec, HookSpec, RetrySpec
from actorflow.testing import CommitFault, Returns, ScriptedAgent, World
from tests.delivery_lives import FAILED, Life, Pager, Run, hook
from tests.hooked_runs import AGENTS, Words, registry_with, workflow

EVERY_TEN_S = RetrySpec(max_attempts=4, delay=10.0, backoff="constant", jitter="none")

HOUR_S = 3_600.0

Scene = Callable[[Life], Awaitable[None]]


def virtually(pager: Pager, scene: Scene, *hooks: HookSpec) -> None:
    """Play a scene with a new run, on a clock that jumps."""
    run = Run(open_journal("memory:"), *hooks)

    async def main() -> None:
        async with run.life(pager, is_new=True, longest_s=math.inf) as life:
            await scene(life)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))  # pyright: ignore[reportUnknownMemberType] - its stub is untyped


def fails_first(context: HookContext) -> TryResult:
    """The first signal fails at all of its tries, the others never."""
    return FAILED if context.params["n"] == 1 else TryResult()


async def seconds_of(drain: Awaitable[None]) -> float:
    """How long somebody waits."""
    began_at = anyio.current_time()
    await drain
    return anyio.current_time() - began_at


async def drained(life: Life, patience_s: float) -> float:
    """Wait for so long at most; how long that was."""
    deadline = anyio.current_time() + patience_s
    return await seconds_of(life.actor.drain(life.debtor, deadline))


@pytest.mark.parametrize(
    ("patience_s", "waits_s", "tries"), [(9.0, 0.0, 1), (11.0, 10.0, 2), (29.0, 20.0, 3), (math.inf, 30.0, 4)]
)
@pytest.mark.parametrize("ordered", [True, False])
def test_a_drain_waits_for_what_is_due_before_its_end_and_for_nothing_that_is_due_later(
    patience_s: float, waits_s: float, tries: int, *, ordered: bool
) -> None:
    pager = Pager(fails_first)

    async def scene(life: Life) -> None:
        life.signal(1)
        assert await drained(life, patience_s) == pytest.approx(waits_s, abs=0.2)
        assert len(pager.told) == tries
        assert [len(row.body["tries"]) for row in life.run.rows] == ([tries] if tries < 4 else [])

    virtually(pager, scene, hook(retry=EVERY_TEN_S, ordered=ordered))


def test_what_a_drain_does_not_wait_for_holds_up_no_other_hook() -> None:
    pager = Pager(lambda context: FAILED if context.path.endswith("[0]") else TryResult())

    async def scene(life: Life) -> None:
        life.signal(2 * WINDOW)
        assert await drained(life, 5.0) == pytest.approx(0.0, abs=0.2)
        assert (len(pager.numbers(0)), len(pager.numbers(1))) == (1, 2 * WINDOW)
        assert len(life.run.rows) == 2 * WINDOW

    virtually(pager, scene, hook(retry=EVERY_TEN_S), hook())


def test_a_try_that_is_under_way_is_waited_for() -> None:
    pager = Pager(takes_s=lambda _: 4.0)

    async def scene(life: Life) -> None:
        life.signal(1)
        assert await drained(life, 5.0) == pytest.approx(4.0, abs=0.2)

    virtually(pager, scene, hook())


def test_each_who_waits_has_an_end_of_their_own() -> None:
    waited: list[float] = []

    async def scene(life: Life) -> None:
        async def wait(patience_s: float) -> None:
            waited.append(await drained(life, patience_s))

        life.signal(1)
        async with anyio.create_task_group() as group:
            for patience_s in (25.0, 5.0, 15.0):
                group.start_soon(wait, patience_s)

    virtually(Pager(fails_first), scene, hook(retry=EVERY_TEN_S))
    assert waited == pytest.approx([0.0, 10.0, 20.0], abs=0.2)


def test_what_waits_for_company_waits_no_more_when_somebody_waits_for_it() -> None:
    pager = Pager(is_batchable=True)

    async def scene(life: Life) -> None:
        life.signal(1)
        await anyio.sleep(5.0)
        assert pager.told == []
        assert await drained(life, 30.0) == pytest.approx(0.0, abs=0.2)

    virtually(pager, scene, hook(batch=BatchSpec(max=9, window=60.0)))
    assert len(pager.told) == 1


@pytest.mark.anyio
async def test_a_run_whose_hook_is_to_be_tried_again_in_an_hour_settles_at_once() -> None:
    async def unreachable(context: HookContext, params: Words) -> None:
        raise ConnectionError("nobody is there")

    registry = registry_with(unreachable)
    retry = {"max_attempts": 2, "delay": "1h", "max_delay": "1h", "jitter": "none"}
    spec = workflow(hooks={"task_finished": [{"type": "act", "retry": retry}]}, actions=registry.contracts)
    with anyio.fail_after(10.0):
        async with Runtime(store="memory:", agents=AGENTS, hooks=registry, drain_timeout_s=HOUR_S / 2) as rt:
            result = await rt.run(spec)
            drained = await rt.drain_hooks(result.run_id)
    assert (result.status, result.hooks.pending, drained.hooks.pending) == ("success", 1, 1)


def test_a_drain_tells_of_a_live_run_what_is_kept_and_no_more():
    hooks = {"task_finished": [{"type": "log", "params": {"message": "done"}}]}
    spec = load_dict(
        {"name": "w", "tasks": {"first": {"agent": "x"}, "last": {"agent": "y"}}, "hooks": hooks}
    )
    agents = {"x": ScriptedAgent(Returns(after_s=1.0)), "y": ScriptedAgent(Returns(after_s=2.0))}
    told: list[str] = []

    async def story(world: World) -> None:
        async with world.process(agents=agents, faults=[CommitFault(2, "busy", 60.0)]) as process:
            handle = await process.runtime.start(spec, run_id="r")
            await anyio.sleep(3.0)  # both have ended, and the second one waits for the store
            told.append((await process.runtime.drain_hooks("r", timeout_s=1.0)).status)
            told.append((await handle.settled()).status)

    with World(seed=1) as world:
        world.run(story)
    assert told == ["running", "success"]
