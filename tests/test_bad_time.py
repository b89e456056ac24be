"""Clocks that are set: in the middle of a run, and between a crash and its resume.

A run follows the loop's clock, which nobody sets, from where the wall clock stood when a process took it up. So whatever
becomes of the wall clock, nothing begins before it is due, and nobody waits longer than was asked.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import anyio
import pytest
from crash_lives import BACKENDS, start
from journal_cases import beginning, create, ok

from actorflow import AgentCall, RunOwnedElsewhereError, RunResult, Runtime, WorkflowSpec, load_dict
from actorflow.core.events import (
    AttemptStarted,
    BreakerAllowed,
    BreakerOpened,
    BreakerRefused,
    Event,
    RetryScheduled,
    RunFinished,
    SleepStarted,
)
from actorflow.journal import Append, MemoryJournal, open_journal
from actorflow.journal.protocol import STALE_S
from actorflow.journal.sqlite import SqliteJournal

pytestmark = pytest.mark.anyio

DAY_S = 86_400.0
JUMPS = {"ten days ahead": 10 * DAY_S, "ten days back": -10 * DAY_S, "an hour back": -3_600.0}

SOON_S = 10.0
"""What takes less has not waited for a clock that was set."""

PATIENCE_S = 30.0

WAIT_S = 0.15
LONG_S = 1.0
"""For what must not be over before the process is killed."""


class Wall:
    """The wall clock, which can be set."""

    def __init__(self, real: Callable[[], float]) -> None:
        self._real = real
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return self._real() + self.ahead_s


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    """The wall clock of this process from here on: of runs and of the journals that they open."""
    clock = Wall(time.time)
    monkeypatch.setattr(time, "time", clock)
    for journal in (SqliteJournal, MemoryJournal):
        monkeypatch.setitem(journal.__init__.__kwdefaults__, "clock", clock)
    return clock


@pytest.fixture(params=JUMPS)
def jump_s(request: pytest.FixtureRequest) -> float:
    return JUMPS[request.param]


@pytest.fixture(params=["memory:", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory:" else f"sqlite:///{tmp_path}/state.db"


class Lived:
    """A run that has ended, its events, and how long it took."""

    def __init__(self, result: RunResult, events: list[Event], took_s: float) -> None:
        self.result = result
        self.events = events
        self.took_s = took_s

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@asynccontextmanager
async def patient(store: str, agents: dict[str, Any]) -> AsyncIterator[Runtime]:
    """A runtime that is not waited for until a clock that was set comes round."""
    with anyio.fail_after(PATIENCE_S):
        async with Runtime(store=store, agents=agents) as rt:
            yield rt


async def run(store: str, spec: WorkflowSpec, **agents: Any) -> Lived:
    began = time.monotonic()
    events: list[Event] = []
    async with patient(store, agents) as rt:
        handle = await rt.start(spec)
        async for _, event in handle.events():
            events.append(event)
        result = await handle.wait()
    return Lived(result, events, time.monotonic() - began)


def task(**rest: Any) -> WorkflowSpec:
    return load_dict({"tasks": {"t": {"agent": "x", **rest}}})


def check_times(events: list[Event]) -> None:
    times = [event.at for event in events]
    assert times == sorted(times)
    due_at: dict[str, float] = {}
    for event in events:
        if isinstance(event, RetryScheduled | SleepStarted):
            due_at[event.task] = event.due_at
        elif isinstance(event, AttemptStarted):
            assert event.at >= due_at.get(event.task, 0.0)


class FailsOnce:
    """An agent that sets the clock, and then fails, at its first attempt."""

    def __init__(self, wall: Wall, jump_s: float) -> None:
        self._wall = wall
        self._jump_s = jump_s
        self.began: list[float] = []  #: on a clock that nobody sets

    async def __call__(self, call: AgentCall) -> str:
        self.began.append(time.monotonic())
        if len(self.began) == 1:
            self._wall.ahead_s += self._jump_s
            raise ConnectionError("hung up")
        return "ok"


# The clock is set while a run is live


RETRY = {"max_attempts": 2, "delay": WAIT_S, "jitter": "none"}


async def test_a_retry_waits_for_what_was_asked_and_no_deadline_passes(wall: Wall, store: str, jump_s: float):
    agent = FailsOnce(wall, jump_s)
    spec = load_dict(
        {"limits": {"deadline": "1h"}, "tasks": {"t": {"agent": "x", "retry": RETRY, "deadline": "1m"}}}
    )

    lived = await run(store, spec, x=agent)

    assert lived.result.status == "success"
    assert WAIT_S <= agent.began[1] - agent.began[0] < SOON_S
    check_times(lived.events)
    [retry] = lived.of(RetryScheduled)
    assert retry.due_at - retry.at == pytest.approx(WAIT_S)


async def test_a_timeout_comes_in_its_time(wall: Wall, store: str, jump_s: float):
    async def act(call: AgentCall) -> None:
        wall.ahead_s += jump_s
        await anyio.sleep_forever()

    lived = await run(store, task(timeout=WAIT_S), x=act)

    assert lived.result.tasks["t"].error["type"] == "timeout"
    assert WAIT_S <= lived.took_s < SOON_S
    check_times(lived.events)


async def test_a_deadline_comes_in_its_time(wall: Wall, store: str, jump_s: float):
    async def act(call: AgentCall) -> None:
        wall.ahead_s += jump_s if call.attempt == 1 else 0.0
        raise ConnectionError("hung up")

    retry = {"max_attempts": 1_000, "delay": "50ms", "jitter": "none"}
    lived = await run(store, task(deadline=2 * WAIT_S, retry=retry), x=act)

    assert lived.result.status == "failed"
    assert WAIT_S <= lived.took_s < SOON_S
    check_times(lived.events)


async def test_the_deadline_of_a_run_comes_in_its_time(wall: Wall, store: str, jump_s: float):
    async def act(call: AgentCall) -> None:
        wall.ahead_s += jump_s
        await anyio.sleep_forever()

    spec = load_dict({"limits": {"deadline": WAIT_S}, "tasks": {"t": {"agent": "x"}}})
    lived = await run(store, spec, x=act)

    assert (lived.result.status, lived.result.error["type"]) == ("failed", "timeout")
    assert WAIT_S <= lived.took_s < SOON_S
    check_times(lived.events)


BREAKER = {"threshold": 1, "window": "1m", "cooldown": WAIT_S, "key": "bank"}
GUARDED = {
    "retry": {"max_attempts": 2, "delay": "1ms", "jitter": "none"},
    "on_error": {"circuit_breaker": BREAKER},
}


async def test_a_breaker_cools_down_for_as_long_as_it_should(wall: Wall, store: str, jump_s: float):
    agent = FailsOnce(wall, jump_s)

    lived = await run(store, task(**GUARDED), x=agent)

    assert lived.result.status == "success"
    check_cooled_down(lived, agent)


def check_cooled_down(lived: Lived, agent: FailsOnce) -> None:
    assert WAIT_S <= agent.began[1] - agent.began[0] < SOON_S
    [opened] = lived.of(BreakerOpened)
    allowed = lived.of(BreakerAllowed)[-1]
    assert opened.at - SOON_S < opened.until <= opened.at + WAIT_S
    assert allowed.is_probe
    assert len(lived.of(BreakerRefused)) < 20, "it asks when the wait is over, and not again and again"
    check_times(lived.events)


async def test_runs_whose_clocks_differ_share_the_breakers_of_a_store(wall: Wall, store: str, jump_s: float):
    """The one began before the clock was set, the other after it opens the breaker, and the first has to wait."""
    has_opened = anyio.Event()
    spec = load_dict(
        {"tasks": {"first": {"agent": "gate"}, "t": {"agent": "x", "depends_on": ["first"], **GUARDED}}}
    )
    began: list[float] = []

    async def gate(call: AgentCall) -> None:
        await has_opened.wait()

    async def fail_or_note(call: AgentCall) -> None:
        began.append(time.monotonic())
        if not has_opened.is_set():
            raise ConnectionError("hung up")

    async with patient(store, {"gate": gate, "x": fail_or_note}) as rt:
        waits = await rt.start(spec)
        wall.ahead_s += jump_s
        opens = await rt.start(task(on_error={"circuit_breaker": BREAKER}))
        assert (await opens.wait()).status == "failed"
        has_opened.set()
        assert (await waits.wait()).status == "success"

    assert WAIT_S - 0.01 <= began[1] - began[0] < SOON_S


async def test_runs_are_listed_by_the_time_at_which_they_began(wall: Wall, store: str):
    async with Runtime(store=store, agents={"x": "echo"}) as rt:
        first = await rt.run(task(), run_id="first")
        wall.ahead_s -= 3_600.0
        second = await rt.run(task(), run_id="second")
        rows = [row.run_id for row in await rt.list()]

    assert rows == ["first", "second"]
    assert 3_590.0 < first.started_at - second.started_at < 3_600.0
    for result in (first, second):
        assert (
            result.started_at <= result.tasks["t"].started_at <= result.tasks["t"].ended_at <= result.ended_at
        )


# The clock is set between a crash and the resume


LEFT = load_dict(
    {
        "limits": {"deadline": "1h"},
        "tasks": {
            "late": {
                "agent": "x",
                "retry": {"max_attempts": 2, "delay": LONG_S, "jitter": "none"},
                "deadline": "1m",
            },
            "asleep": {"agent": "echo", "sleep": LONG_S},
            "guarded": {
                "agent": "x",
                "retry": {"max_attempts": 2, "delay": "1ms", "jitter": "none"},
                "on_error": {"circuit_breaker": {**BREAKER, "cooldown": LONG_S}},
            },
        },
    }
)


def leave(channel: Connection, store: str, backend: str) -> None:
    """Run until all three tasks wait for their time; then to be killed."""

    async def fail(call: AgentCall) -> None:
        raise ConnectionError("hung up")

    async def main() -> None:
        left = {("late", RetryScheduled), ("asleep", SleepStarted), ("guarded", BreakerRefused)}
        async with Runtime(store=store, agents={"x": fail, "echo": "echo"}) as rt:
            handle = await rt.start(LEFT, run_id="r")
            async for _, event in handle.events():
                left.discard((getattr(event, "task", ""), type(event)))
                if not left:
                    channel.send("waiting")

    anyio.run(main, backend=backend)


async def test_a_crashed_run_goes_on_in_its_time(
    wall: Wall, tmp_path: Path, jump_s: float, anyio_backend: str
):
    store = f"sqlite:///{tmp_path}/state.db"
    process = start(leave, store, anyio_backend)
    assert process.hear() == "waiting"
    process.kill()
    process.report()
    wall.ahead_s = jump_s
    began = time.monotonic()

    async def succeed(call: AgentCall) -> None:
        pass

    async with patient(store, {"x": succeed, "echo": "echo"}) as rt:
        result = await rt.resume("r")

    took_s = time.monotonic() - began
    assert result.status == "success"
    assert took_s < SOON_S
    assert {name: end.attempts for name, end in result.tasks.items()} == {
        "late": 2,
        "asleep": 1,
        "guarded": 2,
    }
    journal = open_journal(store)
    events = [event for _, event in journal.events("r")]
    journal.close()
    check_times(events)
    assert isinstance(events[-1], RunFinished)
    assert result.ended_at > result.started_at


async def test_a_clock_that_was_wrong_and_is_put_right_holds_nobody_up(
    wall: Wall, store_path: str, jump_s: float
):
    """A breaker was opened by a run of a clock that was ahead or behind; another one comes when it is right again."""
    wall.ahead_s = jump_s
    fails = await run(store_path, task(on_error={"circuit_breaker": BREAKER}), x="fail")
    assert fails.result.status == "failed"
    wall.ahead_s = 0.0

    async def succeed(call: AgentCall) -> None:
        pass

    lived = await run(store_path, task(on_error={"circuit_breaker": BREAKER}), x=succeed)

    assert lived.result.status == "success"
    assert lived.took_s < SOON_S


@pytest.fixture
def store_path(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/state.db"


# Signs of life


def owned(path: str, clock: Callable[[], float]) -> SqliteJournal:
    journal = SqliteJournal(path, clock=clock)
    ok(journal, create("r"), Append("r", 1, beginning("r")))
    return journal


@pytest.mark.parametrize(("what", "silent_s"), [("ten days ahead", 10 * DAY_S), ("an hour back", 0.0)])
def test_who_holds_its_lock_is_alive_whatever_the_clock_says(tmp_path: Path, what: str, silent_s: float):
    clock = Wall(lambda: 1_000_000.0)
    journal, other = owned(f"{tmp_path}/state.db", clock), SqliteJournal(f"{tmp_path}/state.db", clock=clock)
    clock.ahead_s = JUMPS[what]

    with pytest.raises(RunOwnedElsewhereError) as refused:
        other.claim("r")

    assert refused.value.heartbeat_age_s == silent_s
    journal.close()
    other.close()


def test_nobody_is_taken_for_stopped_once_it_has_given_a_sign_of_life(tmp_path: Path):
    for name, jump_s in JUMPS.items():
        clock = Wall(lambda: 1_000_000.0)
        path = f"{tmp_path}/{name}.db"
        journal, other = owned(path, clock), SqliteJournal(path, clock=clock)
        clock.ahead_s = jump_s
        journal.heartbeat()
        with pytest.raises(RunOwnedElsewhereError):
            other.claim("r", take_over=True)
        clock.ahead_s += STALE_S
        assert other.claim("r", take_over=True).run_id == "r"
        journal.close()
        other.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_lock_of_a_dead_owner_is_free_whatever_the_clock_says(tmp_path: Path, backend: str):
    path = f"{tmp_path}/state.db"
    process = start(leave, f"sqlite:///{path}", backend)
    assert process.hear() == "waiting"
    process.kill()
    process.report()

    for jump_s in JUMPS.values():
        clock = Wall(time.time)
        clock.ahead_s = jump_s
        journal = SqliteJournal(path, clock=clock)
        assert journal.claim("r").owner_pid is not None
        journal.close()
