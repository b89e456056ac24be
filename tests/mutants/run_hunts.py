"""Hunts over whole runtimes: what is told is kept, hooks hold nobody up, clocks that are set, secrets, requests."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Final

import anyio
import apsw

from actorflow import AgentCall, HookContext, RunResult, Runtime
from actorflow.core.events import AttemptStarted, RunFinished, SignalReceived
from actorflow.errors import StoreFailed
from actorflow.journal.sqlite import SqliteJournal
from tests.hooked_runs import AGENTS, Words, registry_with, workflow
from tests.mutants.mutant import Seeds
from tests.mutants.places import RUN, folder, store
from tests.mutants.run_scenes import (
    PATIENCE_S,
    keeping,
    on_disk,
    really,
    slow_commits,
    variable,
    virtually,
    wall_clock,
    witness,
)
from tests.mutants.switches import replaced
from tests.promises import expect

ACTS_LATER: Final = "performed only after commit"
TOLD_LATER: Final = "nothing is told that is not kept"
BESIDE: Final = "an async hook holds nobody up"
ITS_OWN: Final = "a hook holds up only what it is about"
CLOCKS: Final = "a clock that is set moves no timer"
DRAINED: Final = "what is owed is delivered before its run is given up"
ANSWERED: Final = "a request goes with the event that it became"
PAUSED: Final = "nothing starts while pausing"
SOMEWHERE: Final = "a dead letter that is tried again is pending or a dead letter"
ONCE_ENDED: Final = "an ended success is not opened again"
HIDDEN: Final = "a secret is found nowhere"

HOOK_S: Final = 100.0
LATE: Final = "1h"
SECRET: Final = "Zq9-canary-77"
SECRET_NAME: Final = "MUTANTS_CANARY"


async def starts_are_kept() -> None:
    """Each body looks for its own start in the store."""
    missing: list[tuple[str, int]] = []
    with store() as path, slow_commits(), witness(path) as seen:

        async def look(call: AgentCall) -> None:
            if not seen.has(call.run_id, AttemptStarted, task=call.task, attempt=call.attempt):
                missing.append((call.task, call.attempt))

        async with on_disk(path, agents={"x": look}) as rt:
            await rt.run(workflow({"a": {"agent": "x"}, "b": {"agent": "x", "depends_on": ["a"]}}))
    expect(ACTS_LATER, not missing, missing)


async def results_are_kept() -> None:
    """Whoever is told a result looks for it in the store."""
    with store() as path, slow_commits(), witness(path) as seen:
        async with on_disk(path, agents={"x": "echo"}) as rt:
            await rt.run(workflow({"a": {"agent": "x"}}), run_id=RUN)
            is_kept = seen.has(RUN, RunFinished)
    expect(TOLD_LATER, is_kept, "the result")


@contextmanager
def full_from(failing: int) -> Generator[None]:
    """For a while, the disk is full from that commit on; they are counted from 0."""
    numbers, commit_truly = count(), SqliteJournal._commit

    def commit_or_fail(journal: SqliteJournal) -> None:
        if next(numbers) >= failing:
            raise apsw.FullError("the disk is full")
        commit_truly(journal)

    with replaced(SqliteJournal, "_commit", commit_or_fail):
        yield


async def _results_are_kept_or_refused(failing: int) -> None:
    with store() as path, witness(path) as seen:
        is_told = True
        with full_from(failing):
            try:
                async with on_disk(path, agents={"x": "echo"}) as rt:
                    await rt.run(workflow({"a": {"agent": "x"}}), run_id=RUN)
            except* StoreFailed:
                is_told = False
        expect(TOLD_LATER, not is_told or seen.has(RUN, RunFinished), f"the result, by commit {failing}")


def a_full_disk_is_told(failing: int) -> None:
    """From one of its commits on the disk is full."""
    with keeping(TOLD_LATER):
        anyio.run(_results_are_kept_or_refused, failing)


async def _begun(tasks: dict[str, Any], hook: dict[str, Any]) -> dict[str, float]:
    """Run tasks of which each end has a hook that takes long; when each began, by the loop's clock."""
    began: dict[str, float] = {}

    async def begin(call: AgentCall) -> None:
        began[call.task] = anyio.current_time()

    async def act(context: HookContext, params: Words) -> None:
        if context.task["id"] == "a":
            await anyio.sleep(HOOK_S)

    registry = registry_with(act)
    hooks = {"task_finished": [{"type": "act", "timeout": LATE, **hook}]}
    async with Runtime(store="memory:", agents={"x": begin}, hooks=registry) as rt:
        await rt.run(workflow(tasks, hooks, actions=registry.contracts))
    return began


async def nobody_waits_for_async_hooks() -> None:
    """A chain, with an async hook that takes long."""
    began = await _begun({"a": {"agent": "x"}, "b": {"agent": "x", "depends_on": ["a"]}}, {"mode": "async"})
    expect(BESIDE, began["b"] - began["a"] < 1.0, began)


async def others_do_not_wait_for_a_hook() -> None:
    """Two chains, with a blocking hook that takes long in one of them."""
    chains = {
        "a": {"agent": "x"},
        "c": {"agent": "x", "sleep": "1s"},
        "d": {"agent": "x", "depends_on": ["c"]},
    }
    began = await _begun(chains, {"mode": "blocking"})
    expect(ITS_OWN, began["d"] - began["a"] < HOOK_S / 2, began)


async def a_timeout_comes_in_its_time() -> None:
    """The wall clock is put back by an hour while an attempt runs."""
    took: list[float] = []
    with wall_clock() as wall:

        async def hang(call: AgentCall) -> None:
            began, wall.ahead_s = anyio.current_time(), -3_600.0
            try:
                await anyio.sleep_forever()
            finally:
                took.append(anyio.current_time() - began)

        spec = workflow({"a": {"agent": "x", "timeout": "10s"}})
        async with Runtime(store="memory:", agents={"x": hang}) as rt:
            await rt.run(spec)
    expect(CLOCKS, len(took) == 1 and abs(took[0] - 10.0) < 1.0, took)


async def a_deadline_comes_in_its_time() -> None:
    """The wall clock is put ten days ahead in the first of two attempts, whose task has a minute."""
    calls: list[int] = []
    with wall_clock() as wall:

        async def fail_once(call: AgentCall) -> None:
            calls.append(call.attempt)
            if call.attempt == 1:
                wall.ahead_s = 864_000.0
                raise ConnectionError("hung up")

        task = {"agent": "x", "deadline": "1m", "retry": {"max_attempts": 2, "delay": "5s"}}
        async with Runtime(store="memory:", agents={"x": fail_once}) as rt:
            result = await rt.run(workflow({"a": task}))
    expect(CLOCKS, (result.status, calls) == ("success", [1, 2]), (result.status, calls))


async def a_drain_comes_before_the_end() -> None:
    """The last hook of a run takes a while."""

    async def act(context: HookContext, params: Words) -> None:
        await anyio.sleep(5.0)

    registry = registry_with(act)
    hooks = {"workflow_finished": [{"type": "act", "timeout": LATE}]}
    async with Runtime(store="memory:", agents={"x": "echo"}, hooks=registry) as rt:
        handle = await rt.start(workflow({"a": {"agent": "x"}}, hooks, actions=registry.contracts))
        result = await handle.settled()
        settled = await handle.deliveries()
    expect(DRAINED, [each.status for each in settled] == ["delivered"], (result.hooks, settled))


async def a_request_lasts_until_its_event() -> None:
    """After each commit somebody looks whether a request is gone, and what it became is not there."""
    lost: list[str] = []
    asked: list[int] = []
    commit_truly = SqliteJournal._commit
    with store() as path, witness(path) as seen:

        def commit_and_look(journal: SqliteJournal) -> None:
            commit_truly(journal)
            if asked and not seen.is_asked(asked[0]) and not seen.has(RUN, SignalReceived):
                lost.append("gone before its event is kept")

        async def wait(call: AgentCall) -> None:
            while not seen.has(RUN, SignalReceived):  # noqa: ASYNC110 - rows of a store have no events
                await anyio.sleep(0.005)

        async with on_disk(path, agents={"x": wait}) as rt:
            handle = await rt.start(workflow({"a": {"agent": "x"}}), run_id=RUN)
            while not seen.has(RUN, AttemptStarted):  # noqa: ASYNC110
                await anyio.sleep(0.005)
            with replaced(SqliteJournal, "_commit", commit_and_look):
                body = {"name": "go", "payload": None, "signal_id": "s-1"}
                asked.append(seen.post(RUN, "signal", body))
                await handle.wait()
    expect(ANSWERED, not lost, lost)


async def what_is_held_does_not_start_after_a_pause() -> None:
    """A run is paused while a start is on its way to the store."""
    begun: list[str] = []
    has_ended, may_commit = anyio.Event(), threading.Event()
    commit_truly = SqliteJournal._commit

    def commit_when_let(journal: SqliteJournal) -> None:
        may_commit.wait(PATIENCE_S)
        commit_truly(journal)

    async def begin(call: AgentCall) -> None:
        begun.append(call.task)
        if call.task == "a":
            may_commit.clear()
            has_ended.set()

    async def let_commit() -> None:
        await anyio.sleep(0.05)  # by then the pause has been heard
        may_commit.set()

    may_commit.set()
    tasks = {"a": {"agent": "x"}, "b": {"agent": "x", "depends_on": ["a"]}}
    with store() as path, replaced(SqliteJournal, "_commit", commit_when_let):
        async with on_disk(path, agents={"x": begin}) as rt, anyio.create_task_group() as group:
            handle = await rt.start(workflow(tasks))
            await has_ended.wait()
            await anyio.sleep(0.02)  # by then what follows is on its way
            group.start_soon(let_commit)
            result = await handle.pause(grace_s=0.0)
    expect(PAUSED, begun == ["a"], (result.status, begun))


async def _a_letter_is_never_gone(failing: int) -> None:
    async def act(context: HookContext, params: Words) -> None:
        raise ConnectionError("no route")

    registry = registry_with(act)
    spec = workflow(None, {"task_finished": [{"type": "act"}]}, actions=registry.contracts)
    with store() as path, witness(path) as seen:
        async with on_disk(path, agents=AGENTS, hooks=registry) as rt:
            await (await rt.start(spec, run_id=RUN)).settled()
        (letter,) = seen.letters()
        with full_from(failing), suppress(BaseExceptionGroup, StoreFailed):
            async with on_disk(path, hooks=registry) as rt:
                await rt.retry_delivery(letter)
        expect(SOMEWHERE, letter in [*seen.letters(), *seen.pending(RUN)], f"by commit {failing}")


def a_letter_that_is_tried_again_is_never_gone(failing: int) -> None:
    """The disk is full from some commit on while a dead letter is tried again, in vain."""
    with keeping(SOMEWHERE):
        anyio.run(_a_letter_is_never_gone, failing)


async def an_ended_success_stays_as_it_is() -> None:
    """Whoever resumes it gets its result."""
    acted: list[int] = []

    async def act(context: HookContext, params: Words) -> None:
        acted.append(context.generation)

    registry = registry_with(act)
    hooks = {"post_workflow": [{"type": "act"}]}
    async with Runtime(store="memory:", agents={"x": "echo"}, hooks=registry) as rt:
        await rt.run(workflow({"a": {"agent": "x"}}, hooks, actions=registry.contracts), run_id=RUN)
        results: list[RunResult] = [await rt.resume(RUN) for _ in range(2)]
    expect(ONCE_ENDED, acted == [1], acted)
    expect(ONCE_ENDED, [each.generation for each in results] == [1, 1], results)


async def secrets_are_found_nowhere() -> None:
    """Everybody tells a secret: an output, an error, and a hook that is to be tried again in an hour."""

    async def tell(call: AgentCall) -> str:
        if call.task == "a":
            return f"the token is {SECRET}"
        raise ValueError(f"no token like {SECRET}")

    async def act(context: HookContext, params: Words) -> None:
        raise ConnectionError(f"no route for {params.say}")

    registry = registry_with(act)
    hook = {
        "type": "act",
        "params": {"say": "{{ secrets.token }}"},
        "retry": {"max_attempts": 2, "delay": LATE},
    }
    tasks = {name: {"agent": "x", "on_error": {"strategy": "skip"}} for name in "ab"}
    spec = workflow(
        tasks,
        {"task_finished": [hook]},
        actions=registry.contracts,
        secrets={"token": {"env": SECRET_NAME}},
    )
    with folder() as where, variable(SECRET_NAME, SECRET):
        async with on_disk(
            str(where / "runs.db"), agents={"x": tell}, hooks=registry, drain_timeout_s=0.2
        ) as rt:
            handle = await rt.start(spec)
            await handle.settled()
            kept = _files_with_secrets(where)
        kept += _files_with_secrets(where)
    expect(HIDDEN, not kept, kept)


def _files_with_secrets(where: Path) -> Sequence[str]:
    return [path.name for path in where.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


STARTS: Final = really(ACTS_LATER, starts_are_kept)
RESULTS: Final = really(TOLD_LATER, results_are_kept)
FULL_DISK: Final = Seeds(a_full_disk_is_told, 4)
ASYNC_HOOK: Final = virtually(BESIDE, nobody_waits_for_async_hooks)
BLOCKING_HOOK: Final = virtually(ITS_OWN, others_do_not_wait_for_a_hook)
TIMEOUT: Final = virtually(CLOCKS, a_timeout_comes_in_its_time)
DEADLINE: Final = virtually(CLOCKS, a_deadline_comes_in_its_time)
DRAIN: Final = virtually(DRAINED, a_drain_comes_before_the_end)
REQUEST: Final = really(ANSWERED, a_request_lasts_until_its_event)
PAUSE: Final = really(PAUSED, what_is_held_does_not_start_after_a_pause)
LETTER: Final = Seeds(a_letter_that_is_tried_again_is_never_gone, 6)
ENDED: Final = virtually(ONCE_ENDED, an_ended_success_stays_as_it_is)
SECRETS: Final = really(HIDDEN, secrets_are_found_nowhere)
