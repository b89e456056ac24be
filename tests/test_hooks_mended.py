"""Promises about hooks that were broken once: each test has the smallest run that tells."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import apsw
import pytest

from actorflow import AgentCall, BadInputError, HookContext, Runtime, load_dict
from actorflow.core.delivery import TryResult
from actorflow.errors import ChangeRefusedError, StoreDamagedError
from actorflow.hooks.opening import WINDOW
from actorflow.hooks.unsettled import pending_documents
from actorflow.journal import open_journal
from actorflow.journal.protocol import Journal, RecordDeliveries
from actorflow.spec.model import WorkflowSpec
from tests.delivery_lives import PATIENT, RUN, Pager, Run, hook, until
from tests.hooked_runs import AGENTS, ECHO, Words, kept, registry_with, sqlite, workflow

pytestmark = pytest.mark.anyio

LONG_S = 15.0
"""Nothing here takes so long, unless it hangs."""

NEVER_S = 2 * LONG_S
"""What nobody should wait for."""


@pytest.fixture
def store(tmp_path: Path) -> str:
    return sqlite(tmp_path)


@pytest.fixture(params=["memory", "sqlite"])
def journals(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Journal, Journal]]:
    opened = [
        open_journal("memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/{name}.db")
        for name in ("here", "there")
    ]
    yield opened[0], opened[1]
    for journal in opened:
        journal.close()


class Sink:
    """An action that hangs while it is dead, and notes what it is told when it is not."""

    def __init__(self) -> None:
        self.is_dead = True
        self.reached_count = 0
        self.told: list[HookContext] = []

    async def act(self, context: HookContext, params: Words) -> None:
        self.reached_count += 1
        if self.is_dead:
            await anyio.sleep_forever()
        self.told.append(context)


class Refusing:
    """An action that fails while it is down, and counts its tries."""

    def __init__(self) -> None:
        self.is_down = True
        self.try_count = 0

    async def act(self, context: HookContext, params: Words) -> None:
        self.try_count += 1
        if self.is_down:
            raise ConnectionError("down")


class Held:
    """An agent that is held up until it may end."""

    def __init__(self) -> None:
        self.is_reached = anyio.Event()
        self.may_end = anyio.Event()
        self.call_count = 0

    async def work(self, _: AgentCall) -> str:
        self.call_count += 1
        self.is_reached.set()
        await self.may_end.wait()
        return "done"


def acting(**more: Any) -> dict[str, Any]:
    return {"task_finished": [{"type": "act", "timeout": "1h", **more}]}


def dispatching(task: str, **more: Any) -> dict[str, Any]:
    return {"task_finished": [{"type": "dispatch_task", "params": {"task_id": task}, **more}]}


async def leave_owing(store: str, spec: WorkflowSpec, sink: Sink, *, tries: int = 1, **more: Any) -> None:
    """A run `r` whose deliveries, and those of the runs that its hooks start, hang until its process has gone."""
    registry = registry_with(sink.act)
    async with Runtime(store=store, agents=AGENTS, hooks=registry, grace_s=0.0, **more) as rt:
        await (await rt.start(spec, run_id="r")).wait()
        await until(lambda: sink.reached_count == tries)
        rt.stop_draining()


# What is owed is never lost


async def test_rows_that_are_there_before_the_cursor_has_moved_are_delivered(
    journals: tuple[Journal, Journal],
):
    here, there = journals
    facts: dict[str, Any] = {"flags": {"hooks": [["signal_received", "tell"]]}}
    run, same = Run(here, hook(retry=PATIENT), **facts), Run(there, hook(retry=PATIENT), **facts)
    stuck = Pager(is_stuck=lambda _: True)
    async with run.life(stuck, is_new=True) as life:
        life.signal(WINDOW + 1)  # so many that all get rows
        await until(lambda: len(run.rows) == 2 * (WINDOW + 1))
    same.signal(WINDOW + 1)
    there.commit([RecordDeliveries(RUN, (), 0, run.rows)])
    pager = Pager()
    async with same.life(pager) as life:
        await life.drain()
    assert len(pager.told) == len(same.settled) == 2 * (WINDOW + 1)
    assert {one.status for one in same.settled.values()} == {"delivered"}


async def test_a_line_without_order_tries_all_however_many_are_held(journals: tuple[Journal, Journal]):
    def refuses_a_third(context: HookContext) -> TryResult:
        return TryResult(status="refused", error="not here") if context.params["n"] % 3 == 0 else TryResult()

    count = 2 * WINDOW
    run, pager = Run(journals[0], hook(ordered=False)), Pager(refuses_a_third)
    async with run.life(Pager(is_stuck=lambda _: True), is_new=True) as life:
        life.signal(count)
        await until(lambda: len(run.rows) == count)
    async with run.life(pager, is_own=False, longest_s=LONG_S) as life:
        await life.drain()
    assert sorted(number for number, _ in pager.numbers()) == list(range(1, count + 1))
    assert len(run.rows) == count // 3


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [("ACTORFLOW_HOOKS", "off", "ACTORFLOW_HOOKS"), ("ACTORFLOW_ENV", "prod", "prod")],
)
async def test_a_process_in_which_a_hook_is_off_holds_what_another_has_left_pending(
    store: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
):
    action = Refusing()
    registry = registry_with(action.act)
    spec = workflow(
        hooks=acting(environments=["development"], retry={"max_attempts": 9, "delay": "1ms"}),
        actions=registry.contracts,
    )
    async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
        handle = await rt.start(spec, run_id="r")
        await until(lambda: bool(action.try_count) and bool(kept(store, "r")[1]))
        rt.stop_draining()
        await handle.settled()
    tried, action.is_down = action.try_count, False
    monkeypatch.setenv(name, value)
    async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
        off = await rt.drain_hooks("r")
        documents = pending_documents(rt._opened.staff.store.journal.pending("r"))
    monkeypatch.delenv(name)
    assert (action.try_count, off.hooks.pending, off.hooks.skipped) == (tried, 1, 0)
    assert [says in document["reason"] for document in documents] == [True]
    async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
        on = await rt.drain_hooks("r")
    assert (on.hooks.pending, on.hooks.delivered) == (0, 1)


@pytest.mark.parametrize(
    "hooks",
    [{}, {"hooks": {"task_started": [{"type": "act"}]}}],
    ids=["none are left", "another is"],
)
async def test_a_changed_definition_may_not_drop_a_hook_that_is_owed_something(
    store: str, hooks: dict[str, Any]
):
    registry = registry_with(Refusing().act)

    def spec(hooks: dict[str, Any]) -> WorkflowSpec:
        return workflow({"a": {"agent": "fail", **hooks}}, actions=registry.contracts)

    owing = spec({"hooks": acting(retry={"max_attempts": 9, "delay": "1h"})})
    async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
        handle = await rt.start(owing, run_id="r")
        await until(lambda: bool(kept(store, "r")[1]))
        rt.stop_draining()
        await handle.settled()
    async with Runtime(store=store, agents={"fail": "echo"}, hooks=registry) as rt:
        with pytest.raises(ChangeRefusedError, match=r"a\.task_finished\[0\] is gone, and has deliveries"):
            await rt.resume("r", accept=spec(hooks))
    assert kept(store, "r")[1] == ["r/5/tasks.a.task_finished[0]"]


# What an operator asks for


async def test_a_letter_of_a_hook_that_is_disabled_is_tried_when_it_is_asked_for(store: str):
    action = Refusing()
    registry = registry_with(action.act)
    spec = workflow(hooks=acting(on_error="disable", disable_after=1), actions=registry.contracts)
    async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
        handle = await rt.start(spec)
        await handle.settled()
        (letter,) = await rt.dead_letters()
        action.is_down = False
        result = await rt.retry_delivery(letter.id)
        left = await rt.dead_letters()
    assert (action.try_count, result.hooks.delivered, result.hooks.skipped, left) == (2, 1, 0, [])


async def test_a_letter_of_a_hook_that_is_gone_is_refused_and_kept(store: str):
    action = Refusing()
    registry = registry_with(action.act)

    def spec(**more: Any) -> WorkflowSpec:
        return workflow({"a": {"agent": "fail", **more}}, actions=registry.contracts)

    async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
        await (await rt.start(spec(hooks=acting()), run_id="r")).settled()
        before = [letter.id for letter in await rt.dead_letters() if letter.kind == "delivery"]
        await rt.resume("r", accept=spec())
        with pytest.raises(BadInputError, match="has no hook"):
            await rt.retry_delivery(before[0])
        after = [letter.id for letter in await rt.dead_letters() if letter.kind == "delivery"]
    assert len(before) == 1
    assert after == before
    assert action.try_count == 1


# A runtime always closes


async def test_a_run_settles_although_what_is_kept_of_its_hooks_is_damaged(store: str):
    may_go_on = anyio.Event()

    async def act(context: HookContext, params: Words) -> None:
        if params.say == "waits":
            await may_go_on.wait()

    registry = registry_with(act)
    hooks = [{"type": "act"}, {"type": "act", "params": {"say": "waits"}}]
    spec = workflow(hooks={"task_finished": hooks}, actions=registry.contracts)
    async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
        handle = await rt.start(spec, run_id="r")
        await until(lambda: len(kept(store, "r")[0]) == 1)
        damage = apsw.Connection(store.removeprefix("sqlite:///"))
        damage.execute("UPDATE deliveries SET record = '{}'")
        damage.close()
        may_go_on.set()
        with anyio.fail_after(LONG_S), pytest.raises(StoreDamagedError):
            await handle.settled()
        assert "r" not in rt._opened.conductor.live


@pytest.mark.parametrize("name", ["hooks", "parent", "environment"])
async def test_a_flag_that_is_the_runtimes_own_is_refused_and_nothing_else_suffers(name: str):
    async with Runtime(store="memory:", agents=AGENTS) as rt:
        with pytest.raises(BadInputError, match=f"the flag {name!r}"):
            await rt.start(workflow(), flags={name: True})
        handle = await rt.start(workflow(), flags={"mine": True})
        assert (await handle.settled()).status == "success"


async def test_leaving_a_runtime_ends_a_drain_that_another_task_waits_for(store: str):
    sink = Sink()
    registry = registry_with(sink.act)
    await leave_owing(store, workflow(hooks=acting(), actions=registry.contracts), sink)

    async def drain() -> None:
        assert (await rt.drain_hooks("r", timeout_s=NEVER_S)).hooks.pending

    async with anyio.create_task_group() as group:
        async with Runtime(
            store=store, agents=AGENTS, hooks=registry, drain_timeout_s=0.0, grace_s=0.0
        ) as rt:
            group.start_soon(drain)
            await until(lambda: sink.reached_count == 2)
            began_at = anyio.current_time()
        assert anyio.current_time() - began_at < LONG_S


async def test_draining_a_live_run_without_hooks_leaves_nothing_behind(store: str):
    held = Held()
    async with Runtime(store=store, agents={"held": held.work}) as rt:
        handle = await rt.start(workflow({"a": {"agent": "held"}}), run_id="r")
        await held.is_reached.wait()
        await rt.drain_hooks("r")
        held.may_end.set()
        await handle.settled()
        assert rt._opened.staff.hooks._followed == {}


# Secrets and sensitive values


async def test_the_input_of_a_task_is_told_to_no_action_although_a_template_reads_it(store: str):
    told: list[str] = []

    async def act(context: HookContext, params: Words) -> None:
        told.append(str(context.document()))
        raise ConnectionError("down")

    registry = registry_with(act)
    task = {"agent": "echo", "sensitive": True, "with": {"pin": "{{ input.pin }}", "n": 1}}
    spec = workflow(
        {"a": task},
        acting(when="task.input.n == 1"),
        actions=registry.contracts,
        inputs={"pin": {"type": "string", "sensitive": True}},
    )
    async with Runtime(store=store, agents=AGENTS, hooks=registry) as rt:
        await (await rt.start(spec, inputs={"pin": "PIN-4711"})).settled()
        (letter,) = await rt.dead_letters()
        told.append(str(rt._opened.staff.store.journal.dead_letter_body(letter.id)))
    assert len(told) == 2
    assert not any("PIN-4711" in each for each in told)


# Runs that hooks start


async def test_a_run_id_in_the_record_of_another_action_is_nobodys_child(store: str):
    async def act(context: HookContext, params: Words) -> dict[str, Any]:
        return {"run_id": params.say}

    registry, held = registry_with(act), Held()
    agents = {**AGENTS, "held": held.work}
    claims = [{"type": "act", "params": {"say": say}} for say in ("r", "other")]
    never = {"type": "dispatch_task", "when": "false", "params": {"task_id": "echo"}}
    spec = workflow({"a": {"agent": "fail"}}, {"task_finished": [*claims, never]}, actions=registry.contracts)
    async with Runtime(store=store, agents=agents, hooks=registry, grace_s=0.0) as rt:
        await (await rt.start(spec, run_id="r")).settled()
        await rt.start(workflow({"a": {"agent": "held"}}), run_id="other")
        await held.is_reached.wait()
    async with Runtime(store=store, agents=agents, hooks=registry, drain_timeout_s=NEVER_S) as rt:
        handle = await rt.start_resumed("r")
        with anyio.fail_after(LONG_S):
            await handle.settled()
        other = await rt.get("other")
    assert (other.status, held.call_count) == ("paused", 1)


@pytest.mark.parametrize("mode", ["async", "blocking"])
async def test_a_child_of_any_hook_goes_on_when_its_parent_is_resumed(store: str, mode: str):
    child = Held()
    agents = {**AGENTS, "child": child.work}
    spec = workflow({"a": {"agent": "echo", "hooks": dispatching("child", mode=mode)}})
    async with Runtime(store=store, agents=agents, grace_s=0.0) as rt:
        await rt.start(spec, run_id="r")
        await child.is_reached.wait()
        rt.stop_draining()
    child.may_end.set()
    async with Runtime(store=store, agents=agents) as rt:
        await (await rt.start_resumed("r")).settled()
        statuses = {row.workflow: row.summary.status for row in await rt.list()}
    assert (statuses, child.call_count) == ({"w": "success", "w/child": "success"}, 2)


async def test_a_child_that_has_ended_is_not_kept_by_its_parent(store: str):
    child, second = Held(), Held()
    tasks = {"a": {"agent": "echo", "hooks": dispatching("child")}, "b": {"agent": "second"}}
    async with Runtime(store=store, agents={**AGENTS, "child": child.work, "second": second.work}) as rt:
        handle = await rt.start(workflow(tasks), run_id="r")
        await child.is_reached.wait()
        live = rt._opened.conductor.live
        (known,) = [weakref.ref(run) for run_id, run in live.items() if run_id != "r"]
        child.may_end.set()
        await until(lambda: list(live) == ["r"])
        with anyio.fail_after(LONG_S):
            await until(lambda: gc.collect() >= 0 and known() is None)
        second.may_end.set()
        await handle.settled()


CHILDREN = 6


def family() -> tuple[Sink, WorkflowSpec]:
    """A workflow with children that owe something when they have ended, and what they owe it to."""
    sink = Sink()
    tasks = {f"a{n}": {"agent": "echo", "hooks": dispatching("c")} for n in range(CHILDREN)}
    document = {"name": "w", "tasks": {**tasks, "c": {**ECHO, "hooks": acting()}}}
    return sink, load_dict(document, trust="own", actions=registry_with(sink.act).contracts)


@pytest.mark.parametrize("how", ["drained", "resumed"])
async def test_children_that_have_ended_are_drained_side_by_side(store: str, how: str):
    sink, spec = family()
    await leave_owing(store, spec, sink, tries=CHILDREN)
    are_all_there, count = anyio.Event(), 0

    async def act(context: HookContext, params: Words) -> None:
        nonlocal count
        count += 1
        if count == CHILDREN:
            are_all_there.set()
        await are_all_there.wait()

    async with Runtime(store=store, agents=AGENTS, hooks=registry_with(act), drain_timeout_s=LONG_S) as rt:
        if how == "drained":
            await rt.drain_hooks("r")
        else:
            await (await rt.start_resumed("r")).settled()
        delivered = [
            (await rt.get(row.run_id)).hooks.delivered for row in await rt.list() if row.run_id != "r"
        ]
    assert delivered == [1] * CHILDREN


async def test_a_runtime_is_left_only_when_nobody_takes_children_up_any_more(
    store: str, caplog: pytest.LogCaptureFixture
):
    sink, spec = family()
    await leave_owing(store, spec, sink, tries=CHILDREN)
    with caplog.at_level(logging.WARNING, "actorflow"):
        async with Runtime(store=store, agents=AGENTS, hooks=registry_with(sink.act), grace_s=0.0) as rt:
            await rt.start_resumed("r")
            rt.stop_draining()
    assert caplog.messages == []
