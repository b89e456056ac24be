"""Deliveries of real runs: in order, beside the tasks, and kept for later where they cannot be made now."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from actorflow import HookContext, MissingVariablesError, Runtime
from actorflow.errors import DeadLetterNotFoundError
from tests.hooked_runs import AGENTS, ECHO, Words, kept, registry_with, sqlite, workflow

pytestmark = pytest.mark.anyio

FLOOD_TASKS, FLOOD_HOOKS = 1_000, 20


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else sqlite(tmp_path)


class Sink:
    """An action that hangs while it is dead, and notes what it is told when it is not."""

    def __init__(self) -> None:
        self.is_dead = True
        self.is_reached = anyio.Event()
        self.told: list[tuple[str, int]] = []

    async def act(self, context: HookContext, params: Words) -> None:
        self.is_reached.set()
        if self.is_dead:
            await anyio.sleep_forever()
        self.told.append((context.path, int(context.delivery_id.split("/")[1])))


async def test_a_flood_to_a_dead_sink_holds_no_task_up_and_is_delivered_later_in_order(tmp_path: Path):
    sink, store = Sink(), sqlite(tmp_path)
    registry = registry_with(sink.act)
    hook = {"type": "act", "timeout": "1h"}
    tasks = {f"t{n}": ECHO for n in range(FLOOD_TASKS)}
    spec = workflow(tasks, {"task_finished": [hook] * FLOOD_HOOKS}, actions=registry.contracts)
    async with Runtime(store=store, agents=AGENTS, hooks=registry, drain_timeout_s=1.0) as rt:
        handle = await rt.start(spec, run_id="r")
        ended = await handle.wait()
        (deliveries,) = rt._opened.staff.hooks._followed.values()
        await sink.is_reached.wait()
        most = deliveries.resident_count
        given_up = await handle.settled()
    sink.is_dead = False
    async with Runtime(store=store, hooks=registry) as rt:
        drained = await rt.drain_hooks("r", timeout_s=120.0)

    flood = FLOOD_TASKS * FLOOD_HOOKS
    assert (ended.status, ended.hooks.delivered, ended.hooks.pending) == ("success", 0, flood)
    assert most <= FLOOD_HOOKS * 256
    assert (given_up.hooks.delivered, given_up.hooks.pending) == (0, flood)
    assert (drained.hooks.delivered, drained.hooks.pending, drained.hooks.dead_letters) == (flood, 0, 0)
    assert len(set(sink.told)) == len(sink.told) == flood
    for place in range(FLOOD_HOOKS):
        seqs = [seq for path, seq in sink.told if path == f"task_finished[{place}]"]
        assert seqs == sorted(seqs)


async def test_a_slow_hook_delays_its_own_deliveries_alone(store: str):
    may_go_on = anyio.Event()
    told: list[str] = []

    async def act(context: HookContext, params: Words) -> None:
        if params.say == "slow" and context.task["id"] == "t0":
            await may_go_on.wait()
        told.append(params.say)
        if told.count("fast") == 9:
            may_go_on.set()

    registry = registry_with(act)
    hooks = [{"type": "act", "params": {"say": say}, "timeout": "1h"} for say in ("slow", "fast")]
    tasks = {f"t{n}": {"agent": "echo", "depends_on": [f"t{n - 1}"] if n else []} for n in range(9)}
    async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
        handle = await rt.start(workflow(tasks, {"task_finished": hooks}, actions=registry.contracts))
        result = await handle.settled()
    assert told == ["fast"] * 9 + ["slow"] * 9
    assert result.hooks.delivered == 18


async def test_one_that_waits_for_its_next_try_holds_up_those_behind_it(store: str):
    told: list[tuple[str, int]] = []

    async def act(context: HookContext, params: Words) -> None:
        told.append((context.task["id"], context.number))
        if (context.task["id"], context.number) in {("t0", 1), ("t0", 2), ("t1", 1)}:
            raise ConnectionError("no route")

    registry = registry_with(act)
    hook = {"type": "act", "retry": {"max_attempts": 3, "delay": "5ms"}}
    tasks = {f"t{n}": {"agent": "echo", "depends_on": [f"t{n - 1}"] if n else []} for n in range(3)}
    async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
        handle = await rt.start(workflow(tasks, {"task_finished": [hook]}, actions=registry.contracts))
        result = await handle.settled()
        tries = [len(each.record["tries"]) for each in await handle.deliveries()]
    assert told == [("t0", 1), ("t0", 2), ("t0", 3), ("t1", 1), ("t1", 2), ("t2", 1)]
    assert (result.hooks.delivered, tries) == (3, [3, 2, 1])


async def test_a_dead_letter_is_tried_again_with_all_of_its_tries_and_then_it_is_gone(store: str):
    is_down, numbers = True, []

    async def act(context: HookContext, params: Words) -> None:
        numbers.append(context.number)
        if is_down:
            raise ConnectionError("no route")

    registry = registry_with(act)
    hook = {"type": "act", "retry": {"max_attempts": 2, "delay": "1ms"}}
    async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
        handle = await rt.start(workflow(None, {"task_finished": [hook]}, actions=registry.contracts))
        first = await handle.settled()
        (letter,) = await rt.dead_letters()
        second = await rt.retry_delivery(letter.id)
        (same,) = await rt.dead_letters()
        is_down = False
        third = await rt.retry_delivery(letter.id[:-3])
        assert list(await rt.dead_letters()) == []
        with pytest.raises(DeadLetterNotFoundError):
            await rt.retry_delivery(letter.id)

    assert (letter.kind, letter.reason) == ("delivery", "ConnectionError: no route")
    assert same.id == letter.id
    assert [(r.hooks.delivered, r.hooks.dead_letters, r.hooks.pending) for r in (first, second, third)] == [
        (0, 1, 0),
        (0, 1, 0),
        (1, 0, 0),
    ]
    assert len(numbers) == 5
    assert (first.status, third.status) == ("success", "success")


TOKEN_HOOK = {"command": 'test -n "$TOKEN"', "env": {"TOKEN": "${HOOK_TOKEN}"}, "mode": "async"}


async def test_a_variable_that_no_process_has_is_told_before_a_run_exists(
    store: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("HOOK_TOKEN", raising=False)
    async with Runtime(store=store, agents=AGENTS) as rt:
        with pytest.raises(MissingVariablesError, match="HOOK_TOKEN"):
            await rt.start(workflow(None, {"task_finished": [TOKEN_HOOK]}))
        assert await rt.list() == []


@pytest.mark.parametrize(
    "terms", [{"environments": ["prod"]}, {"enabled": False}], ids=lambda terms: next(iter(terms))
)
async def test_a_variable_of_a_hook_that_does_not_act_here_may_be_missing(
    store: str, monkeypatch: pytest.MonkeyPatch, terms: dict[str, object]
):
    monkeypatch.delenv("HOOK_TOKEN", raising=False)
    async with Runtime(store=store, agents=AGENTS) as rt:
        result = await rt.run(workflow(None, {"task_finished": [{**TOKEN_HOOK, **terms}]}))
    assert (result.status, result.hooks.dead_letters) == ("success", 0)


async def test_a_variable_that_goes_missing_is_a_dead_letter_in_the_runs_own_process(
    store: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOOK_TOKEN", "t0ken-value")

    async def lose_it(_: object) -> None:
        monkeypatch.delenv("HOOK_TOKEN")

    async with Runtime(store=store, agents={"lose": lose_it}) as rt:
        handle = await rt.start(workflow({"a": {"agent": "lose"}}, {"task_finished": [TOKEN_HOOK]}))
        result = await handle.settled()
        (letter,) = await rt.dead_letters()
    assert (result.status, result.hooks.dead_letters, result.hooks.pending) == ("success", 1, 0)
    assert "HOOK_TOKEN" in letter.reason


async def test_a_variable_that_a_later_process_lacks_keeps_a_delivery_pending_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store, sink = sqlite(tmp_path), Sink()
    registry = registry_with(sink.act)
    monkeypatch.setenv("HOOK_TOKEN", "t0ken-value")
    hook = {"type": "act", "params": {"say": "${HOOK_TOKEN}"}, "timeout": "1h"}
    spec = workflow(None, {"task_finished": [hook]}, actions=registry.contracts)
    async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
        handle = await rt.start(spec, run_id="r")
        await sink.is_reached.wait()
        rt.stop_draining()
        await handle.settled()
    sink.is_dead = False
    monkeypatch.delenv("HOOK_TOKEN")
    async with Runtime(store=store, hooks=registry) as rt:
        without = await rt.drain_hooks("r")
        journal = rt._opened.staff.store.journal
        (row,) = journal.pending("r")
    monkeypatch.setenv("HOOK_TOKEN", "t0ken-value")
    async with Runtime(store=store, hooks=registry) as rt:
        with_it = await rt.drain_hooks("r")

    assert (without.hooks.pending, without.hooks.dead_letters) == (1, 0)
    assert "HOOK_TOKEN" in row.body["reason"]
    assert "t0ken-value" not in str(row.body)
    assert (with_it.hooks.delivered, with_it.hooks.pending, len(sink.told)) == (1, 0, 1)


async def test_a_paused_run_is_drained_without_going_on(tmp_path: Path):
    store, sink = sqlite(tmp_path), Sink()
    registry = registry_with(sink.act)
    is_begun = anyio.Event()

    async def hold(_: object) -> None:
        is_begun.set()
        await anyio.sleep_forever()

    tasks = {"a": ECHO, "b": {"agent": "hold", "depends_on": ["a"]}}
    hook = {"type": "act", "timeout": "1h"}
    spec = workflow(tasks, {"task_finished": [hook]}, actions=registry.contracts)
    agents = {"echo": "echo", "hold": hold}
    async with Runtime(store=store, agents=agents, hooks=registry, grace_s=0.0) as rt:
        await rt.start(spec, run_id="r")
        await is_begun.wait()
        rt.stop_draining()
    sink.is_dead = False
    async with Runtime(store=store, hooks=registry) as rt:
        before = await rt.get("r")
        after = await rt.drain_hooks("r")
    assert (before.status, before.hooks.pending) == ("paused", 1)
    assert (after.status, after.hooks.pending, after.hooks.delivered) == ("paused", 0, 1)
    assert after.tasks == before.tasks


async def test_a_run_of_another_definition_in_the_store_delivers_nothing_of_it(tmp_path: Path):
    store, sink = sqlite(tmp_path), Sink()
    registry = registry_with(sink.act)
    hook = {"type": "act", "timeout": "1h"}
    spec = workflow(None, {"task_finished": [hook]}, actions=registry.contracts)
    async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
        await rt.start(spec, run_id="owing")
        await sink.is_reached.wait()
        rt.stop_draining()
    sink.is_dead = False
    async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
        other = await (await rt.start(spec, run_id="other")).settled()
        owing = await rt.get("owing")
    assert (other.hooks.delivered, owing.hooks.delivered, owing.hooks.pending) == (1, 0, 1)
    assert len(sink.told) == 1
    assert kept(store, "other")[1] == []


async def test_what_is_older_than_it_may_be_is_a_dead_letter(tmp_path: Path):
    sink = Sink()
    registry = registry_with(sink.act)
    hook = {
        "type": "act",
        "timeout": "10ms",
        "max_age": "50ms",
        "retry": {"max_attempts": 100, "delay": "5ms"},
    }
    async with Runtime(store=sqlite(tmp_path), agents=AGENTS, hooks=registry) as rt:
        handle = await rt.start(workflow(None, {"task_finished": [hook]}, actions=registry.contracts))
        result = await handle.settled()
        (letter,) = await rt.dead_letters()
    assert (result.status, result.hooks.dead_letters) == ("success", 1)
    assert "older than 0.05 s" in letter.reason
