"""The real runtime under a clock that jumps from one thing that is due to the next: what is waited is told exactly.

Trio's own clock for tests; asyncio has none. Agents are async, so that nothing happens beside the clock: no thread, no
process, and a store in memory.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import pytest

from actorflow import AgentCall, RunResult, Runtime, load_dict
from actorflow.core.events import (
    AttemptStarted,
    BreakerOpened,
    BreakerRefused,
    Event,
    RetryScheduled,
    RunDeadlinePassed,
    RunFinished,
    TaskDeadlinePassed,
    TaskFailed,
)
from actorflow.spec.model import WorkflowSpec
from actorflow.testing import run_virtually, virtual_ports
from tests.promises_of_recovery import seeded_delay

DAY_S = 86_400.0
EXACTLY = 1e-5
"""Seconds; epoch seconds are floats, and a year of them has no finer ones after arithmetic."""

AnyEvent = TypeVar("AnyEvent", bound=Event)
Result = TypeVar("Result")
Agent = Callable[[AgentCall], Awaitable[Any]]


class History:
    """What happened to a run, with its start as time zero."""

    def __init__(self, result: RunResult, events: list[Event]) -> None:
        self.result, self.events = result, events
        self.started_at = events[0].at

    def times(self, kind: type[Event], task: str = "") -> list[float]:
        """When events of a kind happened, in seconds from the start; of one task, if it is named."""
        found = (
            e for e in self.events if isinstance(e, kind) and (not task or getattr(e, "task", "") == task)
        )
        return [event.at - self.started_at for event in found]

    def each(self, kind: type[AnyEvent]) -> list[AnyEvent]:
        return [event for event in self.events if isinstance(event, kind)]


def workflow(tasks: dict[str, Any], **more: Any) -> WorkflowSpec:
    return load_dict({"name": "w", "tasks": tasks, **more}, trust="own")


def virtually(spec: WorkflowSpec, **agents: Agent) -> History:
    """Run a workflow on the clock that jumps."""
    return virtually_side_by_side(spec, **agents)[0]


def virtually_side_by_side(*specs: WorkflowSpec, **agents: Agent) -> list[History]:
    """Run workflows at the same time, in one runtime; the runs are called r-1, r-2 and so on."""

    async def main() -> list[History]:
        async with Runtime(store="memory:", agents=agents, ports=virtual_ports()) as rt:
            handles = [await rt.start(spec, run_id=f"r-{n}") for n, spec in enumerate(specs, 1)]
            results = [await handle.wait() for handle in handles]
            events = [[event async for _, event in handle.events()] for handle in handles]
            return [History(*each) for each in zip(results, events, strict=True)]

    return run_virtually(main)


class BusyError(Exception):
    """Says for how long its agent wants to be left alone."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"busy for {retry_after:g} s")
        self.retry_after = retry_after


async def broken(_: AgentCall) -> None:
    raise ValueError("no luck")


async def at_once(_: AgentCall) -> str:
    return "done"


def failing(times: int) -> Agent:
    """An agent that fails so often for each run, and then succeeds."""
    calls: defaultdict[str, int] = defaultdict(int)

    async def agent(call: AgentCall) -> str:
        calls[call.run_id] += 1
        if calls[call.run_id] <= times:
            raise ValueError("no luck")
        return "done"

    return agent


def taking(seconds: float) -> Agent:
    """An agent that takes so long."""

    async def agent(_: AgentCall) -> str:
        await anyio.sleep(seconds)
        return "done"

    return agent


def test_a_year_of_retries_takes_no_time():
    retry = {"max_attempts": 366, "delay": "1d", "max_delay": "1d", "backoff": "constant", "jitter": "none"}
    began = time.perf_counter()
    history = virtually(workflow({"a": {"agent": "x", "retry": retry}}), x=failing(365))
    assert time.perf_counter() - began < 5.0
    assert history.times(AttemptStarted) == pytest.approx([n * DAY_S for n in range(366)], abs=EXACTLY)
    assert history.result.tasks["a"].attempts == 366
    assert history.result.status == "success"


@pytest.mark.parametrize("jitter", ["none", "equal", "full"])
@pytest.mark.parametrize("backoff", ["constant", "linear", "exponential"])
def test_attempts_start_exactly_when_their_seed_says(backoff: str, jitter: str):
    retry = {"max_attempts": 8, "delay": "10s", "max_delay": "5m", "backoff": backoff, "jitter": jitter}
    spec = workflow(
        {name: {"agent": "x", "retry": retry, "on_error": {"strategy": "finish"}} for name in "ab"}
    )
    history = virtually(spec, x=broken)
    for name in "ab":
        expected = [0.0]
        for failed in range(1, 8):
            expected.append(expected[-1] + seeded_delay(spec.tasks[0].retry, failed, f"r-1/{name}/{failed}"))
        due = [e.due_at - history.started_at for e in history.each(RetryScheduled) if e.task == name]
        assert due == pytest.approx(expected[1:], abs=EXACTLY)
        assert history.times(AttemptStarted, name) == pytest.approx(expected, abs=EXACTLY)


def test_a_retry_waits_as_long_as_it_is_asked_to_and_never_longer_than_max_delay():
    asked = iter([40.0, 4000.0])

    async def busy(_: AgentCall) -> str:
        seconds = next(asked, None)
        if seconds is None:
            return "done"
        raise BusyError(seconds)

    retry = {"max_attempts": 3, "delay": "1s", "max_delay": "10m", "jitter": "none"}
    history = virtually(workflow({"a": {"agent": "x", "retry": retry}}), x=busy)
    assert history.times(AttemptStarted) == pytest.approx([0.0, 40.0, 640.0], abs=EXACTLY)


def test_a_task_sleeps_before_its_first_attempt():
    spec = workflow(
        {"a": {"agent": "x", "sleep": "3h"}, "b": {"agent": "x", "depends_on": ["a"], "sleep": "90s"}}
    )
    history = virtually(spec, x=at_once)
    assert history.times(AttemptStarted) == pytest.approx([10_800.0, 10_890.0], abs=EXACTLY)


def test_each_attempt_has_its_timeout():
    retry = {"max_attempts": 3, "delay": "30s", "backoff": "constant", "jitter": "none"}
    history = virtually(workflow({"a": {"agent": "x", "timeout": "2m", "retry": retry}}), x=taking(DAY_S))
    assert history.times(AttemptStarted) == pytest.approx([0.0, 150.0, 300.0], abs=EXACTLY)
    assert history.times(TaskFailed) == pytest.approx([420.0], abs=EXACTLY)
    assert history.result.tasks["a"].error["type"] == "timeout"


def test_a_deadline_ends_the_attempt_that_runs_when_it_comes():
    retry = {"max_attempts": 9, "delay": "10s", "backoff": "constant", "jitter": "none"}
    spec = workflow({"a": {"agent": "x", "timeout": "1m", "deadline": "100s", "retry": retry}})
    history = virtually(spec, x=taking(DAY_S))
    assert history.times(AttemptStarted) == pytest.approx([0.0, 70.0], abs=EXACTLY)
    assert history.times(TaskFailed) == pytest.approx([100.0], abs=EXACTLY)


def test_a_retry_that_would_come_after_the_deadline_is_not_waited_for():
    retry = {"max_attempts": 9, "delay": "1m", "backoff": "constant", "jitter": "none"}
    spec = workflow({"a": {"agent": "x", "deadline": "150s", "retry": retry}})
    history = virtually(spec, x=broken)
    assert history.times(AttemptStarted) == pytest.approx([0.0, 60.0, 120.0], abs=EXACTLY)
    assert history.times(TaskFailed) == pytest.approx([120.0], abs=EXACTLY)


def test_a_deadline_begins_with_the_first_attempt():
    spec = workflow({"a": {"agent": "x", "sleep": "1h", "deadline": "10s"}})
    assert virtually(spec, x=taking(9)).result.status == "success"


def test_the_deadline_of_a_run_cancels_what_runs():
    spec = workflow(
        {"a": {"agent": "x"}, "b": {"agent": "y"}, "c": {"agent": "x", "depends_on": ["a"]}},
        limits={"deadline": "2h"},
    )
    history = virtually(spec, x=taking(5400), y=taking(DAY_S))
    assert history.times(RunDeadlinePassed) == pytest.approx([7200.0], abs=EXACTLY)
    assert history.times(RunFinished) == pytest.approx([7200.0], abs=EXACTLY)
    statuses = {name: task.status for name, task in history.result.tasks.items()}
    assert statuses == {"a": "success", "b": "canceled", "c": "canceled"}
    assert history.result.status == "failed"
    assert history.result.error["type"] == "timeout"


def guarded(**more: Any) -> dict[str, Any]:
    breaker = {"threshold": 2, "window": "1h", "cooldown": "10m"}
    retry = {"max_attempts": 3, "delay": "1m", "backoff": "constant", "jitter": "none"}
    return {"agent": "x", "retry": retry, "on_error": {"circuit_breaker": breaker}, **more}


def test_who_is_refused_by_a_breaker_starts_when_its_cooldown_is_over():
    history = virtually(workflow({"a": guarded()}), x=failing(2))
    assert history.times(BreakerOpened) == pytest.approx([60.0], abs=EXACTLY)
    assert history.times(BreakerRefused) == pytest.approx([120.0], abs=EXACTLY)
    assert history.times(AttemptStarted) == pytest.approx([0.0, 60.0, 660.0], abs=EXACTLY)
    assert history.result.status == "success"


def test_of_two_runs_that_wait_for_a_breaker_one_probes_and_the_other_starts_when_it_has_succeeded():
    async def flaky(call: AgentCall) -> str:
        if call.attempt < 2:
            raise ValueError("no luck")
        await anyio.sleep(7)
        return "done"

    histories = virtually_side_by_side(workflow({"a": guarded()}), workflow({"a": guarded()}), x=flaky)
    starts = sorted(history.times(AttemptStarted) for history in histories)
    assert starts[0] == pytest.approx([0.0, 600.0], abs=EXACTLY)
    assert starts[1] == pytest.approx([0.0, 607.0], abs=EXACTLY)


def test_whose_breaker_is_open_until_after_its_deadline_fails_at_once():
    history = virtually(workflow({"a": guarded(deadline="5m")}), x=broken)
    assert history.times(AttemptStarted) == pytest.approx([0.0, 60.0], abs=EXACTLY)
    assert history.times(TaskDeadlinePassed) == pytest.approx([120.0], abs=EXACTLY)
    assert history.result.tasks["a"].error["type"] == "timeout"
    assert "its circuit breaker 'x' is open" in history.result.tasks["a"].error["message"]


def test_of_the_tasks_that_wait_for_a_breaker_one_asks_when_it_may_be_over():
    async def flaky(call: AgentCall) -> str:
        if call.attempt < 2:
            raise ValueError("no luck")
        await anyio.sleep(7)
        return "done"

    history = virtually(workflow({f"t{n}": guarded() for n in range(20)}), x=flaky)
    refused_at = history.times(BreakerRefused)
    assert refused_at == pytest.approx([60.0] * 20 + [600.0], abs=EXACTLY), "at 600, one probes, and one asks"
    starts = [0.0] * 20 + [600.0] + [607.0] * 19
    assert history.times(AttemptStarted) == pytest.approx(starts, abs=EXACTLY)


def test_a_deadline_that_comes_while_no_slot_is_free_ends_its_task_then():
    retry = {"max_attempts": 3, "delay": "5s", "backoff": "constant", "jitter": "none"}
    spec = workflow(
        {
            "a": {"agent": "x", "deadline": "10s", "retry": retry, "on_error": {"strategy": "finish"}},
            "b": {"agent": "y"},
        },
        limits={"max_parallel": 1},
    )
    history = virtually(spec, x=broken, y=taking(3600))
    assert history.times(TaskDeadlinePassed) == pytest.approx([10.0], abs=EXACTLY)
    assert history.times(AttemptStarted, "a") == pytest.approx([0.0], abs=EXACTLY)
    assert history.times(RunFinished) == pytest.approx([3600.0], abs=EXACTLY)


def test_a_retried_dead_letter_has_deadlines_of_its_own():
    calls: list[int] = []

    async def slow(call: AgentCall) -> str:
        calls.append(call.attempt)
        await anyio.sleep(50)
        return await failing(int(call.attempt == 1))(call)

    async def main() -> str:
        spec = workflow({"a": {"agent": "x", "deadline": "1m"}}, limits={"deadline": "70s"})
        async with Runtime(store="memory:", agents={"x": slow}, ports=virtual_ports()) as rt:
            result = await rt.run(spec)
            (letter,) = await rt.dead_letters()
            again = await (await rt.start_retried(letter.id)).wait()
            return f"{result.status}, {again.status}"

    statuses = run_virtually(main)
    assert (statuses, calls) == ("failed, success", [1, 2])
