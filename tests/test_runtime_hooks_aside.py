"""Async hooks change nothing: a run has the same journal with them and without, to the event and to the time.

On a clock that jumps, so that all of a run's time is that of its agents and blocking hooks. Each of these takes a time of
its own, which no two share: what happens first is never a matter of luck.
"""

from __future__ import annotations

from random import Random
from typing import Any, cast

import anyio
import attrs
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow import AgentCall, HookContext, Runtime
from actorflow.core.events import Event, RunStarted
from actorflow.hooks import HookRegistry
from actorflow.spec.model import HookEvent, HookLists, HookSpec, RetrySpec, WorkflowSpec
from actorflow.testing import run_virtually, virtual_ports
from actorflow.testing.clock import EPOCH_S
from tests.hooked_runs import Words, workflow
from tests.random_hooks import AROUND, NEVER_WAITED_FOR
from tests.random_runs import random_workflow

EVENTS = cast(
    "tuple[HookEvent, ...]",
    (*AROUND, *NEVER_WAITED_FOR, "fallback_started", "retries_exhausted", "task_timed_out"),
)
WAYS = ("ok", "raise", "hang", "late", "exit", "nonsense")


@frozen
class Told:
    """What has become of one run."""

    status: str
    journal: list[Any]  #: its events, as plain values
    delivered: int
    settled: int


@given(st.integers(0, 2**32))
@settings(max_examples=70, deadline=None)
def test_with_hooks_and_without_the_journal_of_a_run_is_the_same(seed: int):
    bare, hooked = both(Random(seed))
    assert hooked.journal == bare.journal
    assert hooked.status == bare.status


def test_those_hooks_do_act():
    told = [both(Random(seed))[1] for seed in range(20)]
    assert sum(each.delivered for each in told) > 100
    assert sum(each.settled - each.delivered for each in told) > 100


def test_a_function_that_hangs_has_thirty_seconds():
    async def hang(_: HookContext) -> None:
        await anyio.sleep_forever()

    async def main() -> tuple[float, str]:
        async with Runtime(
            store="memory:", agents={"*": "echo"}, drain_timeout_s=1e6, ports=virtual_ports()
        ) as rt:
            rt.on("task_finished")(hang)
            began = anyio.current_time()
            handle = await rt.start(workflow())
            result = await handle.settled()
            (letter,) = await rt.dead_letters()
            assert result.status == "success"
            return anyio.current_time() - began, letter.reason

    took_s, reason = run_virtually(main)
    assert 30.0 <= took_s < 31.0
    assert "30" in reason


def both(draw: Random) -> tuple[Told, Told]:
    """A workflow's run without async hooks, and its run with many of them."""
    spec = without_async(random_workflow(draw))
    seed = draw.random()
    return run(spec, seed, is_followed=False), run(with_async(draw, spec), seed, is_followed=True)


def without_async(spec: WorkflowSpec) -> WorkflowSpec:
    """The workflow with blocking hooks alone, none of them a process."""
    return evolve(
        spec,
        hooks=_blocking(spec.hooks),
        default_hooks=_blocking(spec.default_hooks),
        tasks=tuple(evolve(task, hooks=_blocking(task.hooks), notify=None) for task in spec.tasks),
    )


def _blocking(hooks: HookLists) -> HookLists:
    return evolve(
        hooks,
        lists={
            event: tuple(
                each if each.action == "transform" else evolve(each, action="wait", params={}, command="")
                for each in found
                if each.mode == "blocking"
            )
            for event, found in hooks.lists.items()
        },
    )


def with_async(draw: Random, spec: WorkflowSpec) -> WorkflowSpec:
    """The same with async hooks behind all others, so that those keep their places."""
    last = "default_hooks" if spec.hooks.inherit else "hooks"
    hooks: HookLists = getattr(spec, last)
    more = {
        event: hooks.lists.get(event, ()) + tuple(_random_hook(draw) for _ in range(draw.randint(1, 3)))
        for event in EVENTS
    }
    return evolve(spec, **{last: evolve(hooks, lists={**hooks.lists, **more})})


def _random_hook(draw: Random) -> HookSpec:
    return HookSpec(
        action="act",
        params={"say": draw.choice([*WAYS, "{{ tasks.t0.output }}", "{{ output }}"])},
        mode="async",
        on_error=draw.choice(["continue", "disable"]),
        disable_after=draw.randint(1, 3),
        when=draw.choice([None, None, None, "false", "error == null", "output > 0"]),
        timeout=draw.choice([0.3, 5.0]),
        retry=RetrySpec(max_attempts=draw.randint(1, 3), delay=draw.choice([0.01, 0.7]), jitter="full"),
        ordered=draw.random() < 0.8,
    )


def run(spec: WorkflowSpec, seed: float, *, is_followed: bool) -> Told:
    """Run a workflow on the clock that jumps; what its agents and blocking hooks do follows from the seed."""

    async def agent(call: AgentCall) -> int:
        draw = Random(f"{seed}/{call.task}/{call.attempt}/{call.agent}")
        await take_time(draw, draw.uniform(0.1, 3.0))
        if draw.random() < 0.3:
            raise draw.choice([ValueError("no luck"), ConnectionError("no route")])
        return draw.randint(0, 2)

    async def wait(context: HookContext, params: Words) -> None:
        draw = Random(f"{seed}/{context.delivery_id}")
        await take_time(draw, draw.uniform(0.01, 0.5))
        if draw.random() < 0.2:
            raise ConnectionError("no route")

    registry = HookRegistry()
    registry.hook_action("act", params=Words)(act)
    registry.hook_action("wait", params=Words)(wait)

    async def main() -> Told:
        async with Runtime(
            store="memory:", agents={"*": agent}, hooks=registry, drain_timeout_s=1e6, ports=virtual_ports()
        ) as rt:
            if is_followed:
                for event in EVENTS:
                    rt.on(event)(tell)
            handle = await rt.start(spec, run_id="r")
            result = await handle.settled()
            journal = [plain(event) async for _, event in handle.events()]
            settled = await handle.deliveries()
            assert result.hooks.pending == 0
            delivered = sum(each.status == "delivered" for each in settled)
            return Told(result.status, journal, delivered, len(settled))

    return run_virtually(main)


async def take_time(draw: Random, seconds: float) -> None:
    """Sleep; who is cancelled takes a time of its own to end."""
    ended_in = draw.uniform(0.001, 0.1)
    try:
        await anyio.sleep(seconds)
    except anyio.get_cancelled_exc_class():
        with anyio.CancelScope(shield=True):
            await anyio.sleep(ended_in)
        raise


def plain(event: Event) -> Any:
    """An event as plain values, but for what says that there are hooks; times to a tenth of a millisecond."""
    if isinstance(event, RunStarted):
        event = evolve(event, definition="", flags={})
    return type(event).__name__, _rounded(attrs.asdict(event))


def _rounded(value: Any) -> Any:
    match value:
        case float():
            return round(value - EPOCH_S, 4) if value > EPOCH_S - 1.0 else round(value, 4)
        case dict():
            return {
                key: _rounded(item) for key, item in value.items() if key != "tries" and key != "duration_s"
            }
        case list() | tuple():
            return [_rounded(item) for item in value]
        case _:
            return value


async def act(context: HookContext, params: Words) -> Any:
    match params.say:
        case "raise":
            raise ConnectionError("no route")
        case "hang":
            await anyio.sleep_forever()
        case "late":
            await anyio.sleep(0.37)
        case "exit":
            raise SystemExit(3)
        case "nonsense":
            return object()
        case _:
            return {"said": params.say}
    return None


async def tell(context: HookContext) -> None:
    if context.at % 1.0 < 0.5:
        raise ValueError("no luck")
