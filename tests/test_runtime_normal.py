"""Runs with `durability: normal`: what is flushed is what somebody was told of, and the rest waits for that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import define, field
from journal_cases import store_url

from actorflow import Runtime, load_dict
from actorflow.journal.json.journal import JsonJournal
from actorflow.journal.protocol import (
    Append,
    AskBreaker,
    Outcome,
    RecordDeliveries,
    TellBreaker,
    Write,
    is_flushed,
)
from actorflow.journal.sqlite import SqliteJournal
from actorflow.spec.model import WorkflowSpec
from tests.mutants.switches import replaced

pytestmark = pytest.mark.anyio


async def nothing(_: object) -> None:
    return None


CHAIN = {
    f"t{number}": {"agent": "echo", **({"depends_on": [f"t{number - 1}"]} if number else {})}
    for number in range(10)
}


def workflow(tasks: dict, durability: str = "normal", **more: object) -> WorkflowSpec:
    return load_dict({"name": "w", "tasks": tasks, "limits": {"durability": durability}, **more}, trust="own")


@define
class Kept:
    """The commits of a store's journals, as they were asked for."""

    commits: list[Sequence[Write]] = field(factory=list[Sequence[Write]])

    @property
    def flushed(self) -> list[list[str]]:
        """What the flushed commits keep of events, by the names of their classes."""
        return [events_in(writes) for writes in self.commits if is_flushed(writes)]

    @property
    def unflushed(self) -> list[list[str]]:
        """The same of the others."""
        return [events_in(writes) for writes in self.commits if not is_flushed(writes)]


def events_in(writes: Sequence[Write]) -> list[str]:
    return [type(event).__name__ for write in writes if isinstance(write, Append) for event in write.events]


@pytest.fixture(params=["sqlite", "json"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return store_url(request.param, tmp_path)


@pytest.fixture
def kept(store: str) -> Iterator[Kept]:
    """What is committed to the store meanwhile."""
    kind: Any = JsonJournal if store.startswith("json:") else SqliteJournal
    commit, kept = kind.commit, Kept()

    def noted(journal: Any, writes: Sequence[Write]) -> list[Outcome]:
        kept.commits.append(writes)
        return commit(journal, writes)

    with replaced(kind, "commit", noted):
        yield kept


@pytest.mark.parametrize("durability", ["normal", "lazy"])
async def test_of_a_chain_the_first_commit_is_flushed_and_the_last(store: str, kept: Kept, durability: str):
    async with Runtime(store=store, agents={"echo": "echo"}) as rt:
        result = await rt.run(workflow(CHAIN, durability))
    assert result.status == "success"
    assert [events[0] for events in kept.flushed if events] == ["RunStarted", "AttemptSucceeded"]
    assert kept.flushed[1][-1] == "RunFinished"
    assert len(kept.unflushed) == len(CHAIN) - 1


async def test_of_a_chain_with_full_durability_every_commit_is_flushed(store: str, kept: Kept):
    async with Runtime(store=store, agents={"echo": "echo"}) as rt:
        await rt.run(workflow(CHAIN, "full"))
    assert kept.unflushed == []
    assert len([events for events in kept.flushed if events]) == len(CHAIN) + 1


async def test_a_pause_and_what_goes_on_after_it_are_flushed(store: str, kept: Kept):
    is_reached, may_end = anyio.Event(), anyio.Event()

    async def wait(_: object) -> None:
        is_reached.set()
        await may_end.wait()

    tasks = {"a": {"agent": "wait"}, "b": {"agent": "echo", "depends_on": ["a"]}}
    async with Runtime(store=store, agents={"echo": "echo", "wait": wait}) as rt:
        handle = await rt.start(workflow(tasks), run_id="r")
        await is_reached.wait()
        assert (await handle.pause(grace_s=0)).status == "paused"
        assert is_flushed(kept.commits[-1]), "the run is given up, and nothing before it can be lost any more"
        may_end.set()
        assert (await rt.resume("r")).status == "success"
    told = {name for events in kept.flushed for name in events}
    assert told >= {"PauseRequested", "Resumed", "RunFinished"}
    assert not {name for events in kept.unflushed for name in events} & {"PauseRequested", "Resumed"}


async def test_a_signal_that_was_taken_is_flushed(store: str, kept: Kept):
    is_reached, may_end = anyio.Event(), anyio.Event()

    async def wait(_: object) -> None:
        is_reached.set()
        await may_end.wait()

    async with Runtime(store=store, agents={"wait": wait}) as rt:
        handle = await rt.start(workflow({"a": {"agent": "wait"}}), run_id="r")
        await is_reached.wait()
        await rt.signal("r", "news", {"n": 1})
        assert any("SignalReceived" in events for events in kept.flushed)
        may_end.set()
        await handle.wait()


async def test_breakers_hooks_and_checkpoints_of_a_normal_run_ask_for_no_flush(store: str, kept: Kept):
    tasks = {
        name: {"agent": "echo", "on_error": {"circuit_breaker": {"threshold": 3}}, **more}
        for name, more in {"a": {}, "b": {"depends_on": ["a"]}, "c": {"depends_on": ["b"]}}.items()
    }
    told: list[object] = []

    async def note(context: object) -> None:
        told.append(context)

    async with Runtime(store=store, agents={"echo": "echo"}) as rt:
        rt.on("task_finished")(note)
        rt.on("workflow_finished")(note)
        result = await (await rt.start(workflow(tasks))).settled()
    assert result.status == "success"
    assert len(told) == 4
    asked = [
        write for writes in kept.commits for write in writes if isinstance(write, AskBreaker | TellBreaker)
    ]
    assert asked
    assert not any(write.flush for write in asked)
    assert [events[-1] for events in kept.flushed if events][-1] == "RunFinished"
    assert len(kept.unflushed) > len(kept.flushed)


async def test_runs_that_hooks_of_a_normal_run_start_are_normal_too(store: str, kept: Kept):
    parent = {
        "agent": "echo",
        "hooks": {"task_finished": [{"type": "dispatch_task", "params": {"task_id": "child"}}]},
    }
    async with Runtime(store=store, agents={"echo": "echo", "child": "echo"}) as rt:
        rt.on("task_finished")(nothing)
        handle = await rt.start(workflow({"a": parent}), run_id="p")
        await handle.settled()
        children = {row.run_id for row in await rt.list()} - {"p"}
    assert len(children) == 1
    settled = [
        write.flush
        for writes in kept.commits
        for write in writes
        if isinstance(write, RecordDeliveries) and write.run_id in children
    ]
    assert settled
    assert not any(settled)
