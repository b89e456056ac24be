"""Breakers, retry budgets, deadlines and dead letters through the Runtime, in a file and in memory."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from crash_checks import check_journal, recorded
from crash_lives import wait_until
from crash_workflows import RUN_ID

from actorflow import AgentCall, RunHandle, Runtime, WorkflowSpec, load_dict
from actorflow.core.events import (
    AttemptStarted,
    BreakerAllowed,
    BreakerClosed,
    BreakerOpened,
    BreakerRefused,
    Event,
    RetryScheduled,
    RunDeadlinePassed,
    TaskDeadlinePassed,
)
from actorflow.core.lifecycle import lifecycle_name
from actorflow.errors import DeadLetterNotFoundError, RunNotEndedError, RunOwnedElsewhereError

pytestmark = pytest.mark.anyio

SOON = {"delay": "1ms", "jitter": "none"}


class Agents:
    """Agents whose failures are ended, and whose work is let go, by the test."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.is_mended = False
        self.let_go = anyio.Event()
        self.is_at_work = anyio.Event()

    @property
    def by_name(self) -> dict[str, Any]:
        return {
            "broken": self.broken,
            "spare": self.broken,
            "shaky": self.shaky,
            "held": self.held,
            "echo": "echo",
        }

    async def broken(self, call: AgentCall) -> str:
        """Fail until it is mended."""
        self.calls.append(call.task)
        if not self.is_mended:
            raise RuntimeError("out of order")
        return "mended"

    async def shaky(self, call: AgentCall) -> str:
        """Succeed at the third attempt."""
        self.calls.append(call.task)
        if call.attempt < 3:
            raise ConnectionError("hung up")
        return "fine"

    async def held(self, call: AgentCall) -> str:
        """Wait to be let go."""
        self.calls.append(call.task)
        self.is_at_work.set()
        await self.let_go.wait()
        return "let go"


@pytest.fixture
def agents() -> Agents:
    return Agents()


@pytest.fixture(params=["sqlite", "memory"])
async def rt(request: pytest.FixtureRequest, tmp_path: Path, agents: Agents) -> AsyncIterator[Runtime]:
    store = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/state.db"
    async with Runtime(store=store, agents=agents.by_name, grace_s=0.0) as runtime:
        yield runtime


def spec(name: str = "w", limits: dict[str, Any] | None = None, **tasks: dict[str, Any]) -> WorkflowSpec:
    return load_dict({"name": name, "limits": limits or {}, "tasks": tasks}, trust="own")


async def history(handle: RunHandle) -> list[Event]:
    return [event async for _, event in handle.events()]


def of(kind: type[Event], events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


async def test_whoever_watches_a_run_is_told_each_step_of_its_recovery(rt, agents):
    all_of_it = spec(
        limits={"retry_budget": 3},
        lost={"agent": "held"},
        closed={
            "agent": "shaky",
            "retry": {"max_attempts": 3, **SOON},
            "on_error": {"circuit_breaker": {"threshold": 2, "cooldown": "20ms", "key": "bank"}},
        },
        doomed={
            "agent": "broken",
            "depends_on": ["lost", "closed"],
            "retry": {"max_attempts": 2, **SOON},
            "on_error": {"fallback_agent": "spare"},
        },
    )
    handle = await rt.start(all_of_it, run_id=RUN_ID)
    await agents.is_at_work.wait()
    assert (await handle.pause(grace_s=0.0)).status == "paused"
    agents.let_go.set()
    names = {lifecycle_name(event) for event in await history(await rt.start_resumed(RUN_ID))}
    assert names >= {
        "task_retrying",
        "fallback_started",
        "retries_exhausted",
        "breaker_opened",
        "breaker_closed",
        "budget_exhausted",
        "dead_lettered",
        "task_lost",
        "workflow_paused",
        "workflow_resumed",
    }


# Breakers

OPENED = spec(
    "opens", t={"agent": "broken", "on_error": {"circuit_breaker": {"threshold": 1, "cooldown": "1h"}}}
)


async def test_a_breaker_that_one_run_opens_keeps_others_of_the_store_out(rt, agents):
    assert (await rt.run(OPENED)).status == "failed"
    detour = spec(
        t={
            "agent": "broken",
            "on_error": {"fallback_agent": "echo", "circuit_breaker": {"threshold": 1, "cooldown": "1h"}},
        }
    )
    result = await rt.run(detour)
    assert (result.status, result.tasks["t"].agent, result.tasks["t"].attempts) == ("success", "echo", 1)
    assert agents.calls == ["t"]


async def test_a_breaker_is_still_open_for_the_next_process(tmp_path, agents):
    store = f"sqlite:///{tmp_path}/state.db"
    async with Runtime(store=store, agents=agents.by_name) as rt:
        await rt.run(OPENED)
    agents.is_mended = True
    async with Runtime(store=store, agents=agents.by_name) as rt:
        handle = await rt.start(OPENED, run_id=RUN_ID)
        async for _, event in handle.events():
            if isinstance(event, BreakerRefused):
                break
        handle.cancel()
        result = await handle.wait()
    assert (result.status, result.tasks["t"].status, result.tasks["t"].attempts) == ("canceled", "skipped", 0)
    assert agents.calls == ["t"]
    check_journal(recorded(tmp_path))


async def test_of_all_who_wait_for_a_breaker_one_tries_and_the_others_go_on_as_it_succeeds(rt, agents):
    shared = {"key": "bank", "threshold": 1, "cooldown": "50ms"}
    await rt.run(spec(t={"agent": "broken", "on_error": {"circuit_breaker": shared}}))
    long = shared | {"cooldown": "1h"}  # of those that are refused while one tries
    waits = spec(waits={"agent": "held", "on_error": {"circuit_breaker": long}})
    handles = [await rt.start(waits) for _ in range(6)]
    with anyio.fail_after(10):
        await agents.is_at_work.wait()
        for handle in handles:
            async for _, event in handle.events():
                if isinstance(event, BreakerRefused | AttemptStarted):
                    break
        assert agents.calls == ["t", "waits"]
        agents.let_go.set()
        assert {(await handle.wait()).status for handle in handles} == {"success"}
    events = [await history(handle) for handle in handles]
    assert sorted(allowed.is_probe for each in events for allowed in of(BreakerAllowed, each)) == [
        False
    ] * 5 + [True]
    assert sum(event.task == "waits" for each in events for event in of(BreakerClosed, each)) == 1


async def test_each_outcome_is_counted_before_its_task_asks_again_however_many_ask_at_once(tmp_path, agents):
    tasks = {
        f"t{n}": {
            "agent": "shaky",
            "retry": {"max_attempts": 3, "delay": f"{n % 5 + 1}ms", "jitter": "full"},
            "on_error": {"circuit_breaker": {"threshold": 2, "cooldown": "10ms", "key": f"k{n}"}},
        }
        for n in range(40)
    }
    async with Runtime(store=f"sqlite:///{tmp_path}/state.db", agents=agents.by_name) as rt:
        assert (await rt.run(spec(**tasks), run_id=RUN_ID)).status == "success"
    run = recorded(tmp_path)
    check_journal(run)
    assert len(run.of(BreakerOpened)) == len(run.of(BreakerClosed)) == 40


async def test_a_probe_that_is_canceled_is_somebody_elses(rt, agents):
    shared = {"key": "bank", "threshold": 1, "cooldown": "30ms"}
    await rt.run(spec(t={"agent": "broken", "on_error": {"circuit_breaker": shared}}))
    waits = spec(waits={"agent": "held", "on_error": {"circuit_breaker": shared}})
    first, second = await rt.start(waits), await rt.start(waits)
    with anyio.fail_after(10):
        await agents.is_at_work.wait()
        first.cancel()
        assert (await first.wait()).status == "canceled"
        agents.let_go.set()
        assert (await second.wait()).status == "success"


# Budget and delays


async def test_a_run_spends_no_more_retries_than_its_budget_over_all_tasks_at_once(rt, agents):
    tasks = {f"t{n}": {"agent": "broken", "retry": {"max_attempts": 5, **SOON}} for n in range(10)}
    for task in tasks.values():
        task["on_error"] = {"strategy": "skip"}
    handle = await rt.start(spec(limits={"retry_budget": 7}, **tasks))
    result = await handle.wait()
    assert result.status == "success"
    events = await history(handle)
    assert len(of(RetryScheduled, events)) == 7
    assert [lifecycle_name(event) for event in events].count("budget_exhausted") == 1
    assert len(agents.calls) == 17


async def test_who_asks_to_be_left_alone_is_for_at_most_the_longest_delay():
    class Busy(Exception):
        """As an HTTP client raises it."""

        def __init__(self, retry_after: float) -> None:
            self.retry_after = retry_after
            super().__init__("busy")

    async def busy(call: AgentCall) -> None:
        if call.attempt < 3:
            raise Busy(0.03 if call.attempt == 1 else 3600.0)

    retry = {"max_attempts": 3, "delay": "1ms", "max_delay": "50ms", "jitter": "none"}
    async with Runtime(store="memory:", agents={"busy": busy}) as rt:
        handle = await rt.start(spec(t={"agent": "busy", "retry": retry}))
        assert (await handle.wait()).status == "success"
        delays = [event.due_at - event.at for event in of(RetryScheduled, await history(handle))]
    assert delays == pytest.approx([0.03, 0.05], abs=1e-6)


# Deadlines


async def test_a_task_that_waits_for_a_breaker_beyond_its_deadline_has_its_fallback_value(rt, agents):
    await rt.run(OPENED)
    late = spec(
        t={
            "agent": "broken",
            "deadline": "50ms",
            "on_error": {
                "fallback_value": {"late": True},
                "circuit_breaker": {"threshold": 1, "cooldown": "1h"},
            },
        }
    )
    handle = await rt.start(late)
    with anyio.fail_after(10):
        result = await handle.wait()
    assert (result.status, result.tasks["t"].output, result.tasks["t"].attempts) == (
        "success",
        {"late": True},
        0,
    )
    assert len(of(TaskDeadlinePassed, await history(handle))) == 1
    assert agents.calls == ["t"]


async def test_a_run_beyond_its_deadline_fails_and_its_hooks_run(tmp_path, agents):
    timed = load_dict(
        {
            "name": "timed",
            "limits": {"deadline": "100ms"},
            "tasks": {"held": {"agent": "held"}, "below": {"agent": "echo", "depends_on": ["held"]}},
            "hooks": {"post_workflow": [f"touch {tmp_path}/after"]},
        },
        trust="own",
    )
    async with Runtime(store="memory:", agents=agents.by_name) as rt:
        handle = await rt.start(timed)
        with anyio.fail_after(10):
            result = await handle.wait()
        assert (result.status, result.error["type"]) == ("failed", "timeout")
        assert (result.tasks["held"].status, result.tasks["below"].reason) == ("canceled", "aborted")
        assert len(of(RunDeadlinePassed, await history(handle))) == 1
    assert (tmp_path / "after").exists()


async def test_the_time_in_which_nobody_owns_a_run_is_not_of_its_deadlines(tmp_path, agents):
    store = f"sqlite:///{tmp_path}/state.db"
    timed = spec(limits={"deadline": "400ms"}, held={"agent": "held", "deadline": "400ms"})
    async with Runtime(store=store, agents=agents.by_name) as rt:
        handle = await rt.start(timed, run_id=RUN_ID)
        await agents.is_at_work.wait()
        await handle.pause(grace_s=0.0)
    paused_at = time.time()
    await anyio.to_thread.run_sync(wait_until, lambda: time.time() > paused_at + 0.4)
    agents.let_go.set()
    async with Runtime(store=store, agents=agents.by_name) as rt:
        assert (await rt.resume(RUN_ID)).status == "success"


# Dead letters

TWO_LETTERS = spec(
    "letters",
    one={"agent": "broken", "with": {"n": 1}, "on_error": {"strategy": "finish"}},
    two={"agent": "spare", "with": {"n": 2}, "on_error": {"strategy": "finish"}},
    below={"agent": "echo", "depends_on": ["one"], "with": {"got": "{{ tasks.one.output }}"}},
)


async def test_a_dead_letter_is_tried_again_with_what_is_below_it_and_nothing_else(rt, agents):
    assert (await rt.run(TWO_LETTERS, run_id=RUN_ID)).status == "failed"
    letters = await rt.dead_letters()
    assert {(letter.id, letter.reason) for letter in letters} == {
        (f"{RUN_ID}/1/one", "RuntimeError: out of order"),
        (f"{RUN_ID}/1/two", "RuntimeError: out of order"),
    }
    agents.is_mended = True
    result = await (await rt.start_retried(f"{RUN_ID}/1/o")).settled()
    assert (result.generation, result.status, result.error["task"]) == (2, "failed", "two")
    assert result.tasks["one"].output == "mended"
    assert result.tasks["below"].output["input"] == {"got": "mended"}
    assert [letter.task for letter in await rt.dead_letters()] == ["two"]
    result = await (await rt.start_retried(f"{RUN_ID}/1/two")).settled()
    assert (result.generation, result.status, result.error) == (3, "success", None)
    assert await rt.dead_letters() == []
    assert sorted(agents.calls) == ["one", "one", "two", "two"]


async def test_a_dead_letter_that_fails_again_is_another_one(rt):
    await rt.run(TWO_LETTERS, run_id=RUN_ID)
    await (await rt.start_retried(f"{RUN_ID}/1/one")).settled()
    assert {letter.id for letter in await rt.dead_letters()} == {f"{RUN_ID}/2/one", f"{RUN_ID}/1/two"}


async def test_a_dead_letter_is_forgotten_once(rt):
    await rt.run(TWO_LETTERS, run_id=RUN_ID)
    assert await rt.purge_dead_letters([f"{RUN_ID}/1/one", "nobody"]) == 1
    assert await rt.purge_dead_letters([f"{RUN_ID}/1/one"]) == 0
    with pytest.raises(DeadLetterNotFoundError) as unknown:
        await rt.start_retried(f"{RUN_ID}/1/one")
    assert unknown.value.nearest == (f"{RUN_ID}/1/two",)
    assert (await rt.get(RUN_ID)).status == "failed"


async def test_what_is_handled_tolerated_or_canceled_is_no_dead_letter(rt, agents):
    handled = {"agent": "broken", "on_error": {"next": "handler"}}
    await rt.run(
        spec(t={"agent": "broken", "on_error": {"strategy": "skip"}}, h=handled, handler={"agent": "echo"})
    )
    handle = await rt.start(spec(held={"agent": "held"}))
    await agents.is_at_work.wait()
    handle.cancel()
    await handle.wait()
    assert await rt.dead_letters() == []


async def test_a_dead_letter_of_a_run_that_goes_on_has_to_wait(tmp_path, agents):
    store = f"sqlite:///{tmp_path}/state.db"
    goes_on = spec(t={"agent": "broken", "on_error": {"strategy": "finish"}}, held={"agent": "held"})
    async with Runtime(store=store, agents=agents.by_name) as rt, Runtime(store=store) as other:
        handle = await rt.start(goes_on, run_id=RUN_ID)
        async for _, event in handle.events():
            if lifecycle_name(event) == "dead_lettered":
                break
        with pytest.raises(RunOwnedElsewhereError):
            await other.start_retried(f"{RUN_ID}/1/t")
        await handle.pause(grace_s=0.0)
        with pytest.raises(RunNotEndedError):
            await rt.start_retried(f"{RUN_ID}/1/t")
        assert (await rt.get(RUN_ID)).status == "paused"
