"""A run beside receivers that do all that they should not: its tasks do not notice, and each delivery ends as the table says."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from actorflow import Runtime
from actorflow.core.events import Event, RunFinished
from actorflow.runtime.handle import RunHandle
from tests.chaos_sink import ChaosSink, drip, silence
from tests.hooked_runs import AGENTS, ECHO, sqlite, workflow
from tests.test_hooks_webhook import ANSWERS

pytestmark = pytest.mark.anyio

TRIES = 2
HANGS = {
    "a byte a second": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "silence": silence(),
}
ACTS = {**{name: act for name, (act, _, _) in ANSWERS.items()}, **HANGS}
TASKS = {f"t{number}": name for number, name in enumerate(ACTS)}
"""What the receiver does, by the task whose end it is told of."""

MEMORY_KIB = 200 * 1_024


@pytest.fixture
def sink() -> Iterator[ChaosSink]:
    with ChaosSink() as sink:
        for task, name in TASKS.items():
            sink.answers(f"/{task}", ACTS[name])
        yield sink


def ends_as(name: str) -> tuple[str, int]:
    """How a delivery ends whose receiver always does so, and after how many tries."""
    if name in HANGS:
        return "dead_letter", TRIES
    _, (status, final), _ = ANSWERS[name]
    if status == "ok":
        return "delivered", 1
    return "dead_letter", 1 if final else TRIES


def chaotic(sink: ChaosSink) -> Mapping[str, Any]:
    """A webhook for each task's end, to a path of its own; none waits for another."""
    return {
        "task_finished": [
            {
                "type": "webhook",
                "params": {"url": sink.url("/{{ task.id }}"), "body": "{{ output }}"},
                "timeout": "1s",
                "retry": {"max_attempts": TRIES, "delay": "1ms", "max_delay": "2ms"},
                "ordered": False,
            }
        ]
    }


async def task_events(handle: RunHandle) -> list[tuple[str, str]]:
    """The types of a run's events and whom they are about, in a fixed order: tasks that run side by side end as they like."""
    events: list[Event] = [event async for _, event in handle.events()]
    assert isinstance(events[-1], RunFinished)
    return sorted((type(event).__name__, str(getattr(event, "task", ""))) for event in events)


async def test_no_event_of_a_task_changes_memory_is_flat_and_every_delivery_ends_as_it_should(
    sink: ChaosSink, tmp_path: Path
) -> None:
    tasks = dict.fromkeys(TASKS, ECHO)
    async with Runtime(
        store=sqlite(tmp_path), agents=AGENTS, allow_hosts=[sink.url("")], drain_timeout_s=60.0
    ) as rt:
        bare = await rt.start(workflow(tasks), run_id="bare")
        assert (await bare.settled()).status == "success"
        before = peak_memory_kib()
        handle = await rt.start(workflow(tasks, chaotic(sink)), run_id="beset")
        result = await handle.settled()
        deliveries = await handle.deliveries()
        assert peak_memory_kib() - before < MEMORY_KIB
        assert await task_events(handle) == await task_events(bare)

    assert (result.status, result.had_errors, result.hooks.pending) == ("success", False, 0)
    ended = {
        TASKS[delivery.record["target"].rpartition("/")[2]]: (delivery.status, delivery.record["try_count"])
        for delivery in deliveries
    }
    assert ended == {name: ends_as(name) for name in ACTS}
    assert result.hooks.dead_letters == sum(ends_as(name)[0] == "dead_letter" for name in ACTS)


def peak_memory_kib() -> int:
    """The most that this process has ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
