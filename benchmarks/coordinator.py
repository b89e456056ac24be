"""The bare coordinator: the least that durable work in waves costs.

It has a counter per task, one no-op coroutine per task, and after each wave one transaction with a full flush: two event
rows and one state row for each task. It commits on the event loop itself, which a library in somebody else's process must
not do: no thread has to be woken, and the loop waits for the disk. It has no recovery, retries, timeouts, limits,
templates, hooks or result; none of its rows is checked when it is read.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import apsw
import trio

from actorflow.journal.driver import connect
from benchmarks.workloads import Graph

Together: TypeAlias = Callable[[Callable[[int], Awaitable[Any]], Sequence[int]], Awaitable[list[Any]]]
"""Call an async function for each number, side by side, and give back what they returned, in order."""

_SCHEMA = """
CREATE TABLE events (run INTEGER, seq INTEGER, event TEXT NOT NULL, PRIMARY KEY (run, seq)) WITHOUT ROWID;
CREATE TABLE tasks (run INTEGER, task TEXT, status TEXT NOT NULL, attempt INTEGER NOT NULL, output TEXT,
  ended_at REAL, PRIMARY KEY (run, task)) WITHOUT ROWID;
"""
_INSERT_EVENT = "INSERT INTO events VALUES (?, ?, ?)"
_INSERT_TASK = "INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?)"


class Records(Protocol):
    """Where a coordinator keeps what has happened."""

    def begin(self) -> None:
        """A run begins."""
        ...

    def keep(self, tasks: Sequence[str], outputs: Sequence[Any], started_at: float) -> None:
        """A wave has ended: keep it before the next one starts."""
        ...


async def coordinate(graph: Graph, together: Together, records: Records) -> int:
    """Run a graph of no-ops wave by wave; the count of tasks that were run."""

    async def perform(_: int) -> None:
        return None

    records.begin()
    unmet = [len(above) for above in graph.upstream]
    wave = [task for task, count in enumerate(unmet) if not count]
    done_count = 0
    while wave:
        started_at = time.time()
        outputs = await together(perform, wave)
        records.keep([graph.names[task] for task in wave], outputs, started_at)
        done_count += len(wave)
        ready: list[int] = []
        for task in wave:
            for below in graph.downstream[task]:
                unmet[below] -= 1
                if not unmet[below]:
                    ready.append(below)
        wave = ready
    return done_count


class MemoryRecords:
    """Keeps states in a dict, until the next run."""

    def __init__(self) -> None:
        self._states: dict[str, tuple[str, Any]] = {}

    def begin(self) -> None:
        """Forget the last run."""
        self._states = {}

    def keep(self, tasks: Sequence[str], outputs: Sequence[Any], started_at: float) -> None:  # noqa: ARG002
        """Note outputs."""
        for task, output in zip(tasks, outputs, strict=True):
            self._states[task] = ("success", output)


class SqliteRecords:
    """Keeps rows in SQLite, through the same driver as actorflow: WAL, synchronous FULL, one transaction a wave.

    Checkpoints are left out of what is measured: `tend`, called between rounds, empties the WAL, and the next round
    overwrites it.
    """

    def __init__(self, path: Path) -> None:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        self._db = connect(str(path), flags=flags, vfs=None)
        self._db.pragma("journal_mode", "wal")
        self._db.pragma("synchronous", "FULL")
        self._db.wal_autocheckpoint(0)
        self._db.execute(_SCHEMA)
        self._cursor = self._db.cursor()
        self._run = 0
        self._seq = 0

    def begin(self) -> None:
        """Number the next run."""
        self._run += 1
        self._seq = 0

    def keep(self, tasks: Sequence[str], outputs: Sequence[Any], started_at: float) -> None:
        """Write two events and a state for each task, and flush."""
        run, now = self._run, time.time()
        events: list[tuple[int, int, str]] = []
        states: list[tuple[Any, ...]] = []
        seq = self._seq
        for task, output in zip(tasks, outputs, strict=True):
            started = {"type": "attempt_started", "at": started_at, "task": task, "attempt": 1}
            ended = {"type": "attempt_succeeded", "at": now, "task": task, "attempt": 1, "output": output}
            events.append((run, seq + 1, json.dumps(started)))
            events.append((run, seq + 2, json.dumps(ended)))
            seq += 2
            states.append((run, task, "success", 1, json.dumps(output), now))
        self._seq = seq
        cursor = self._cursor
        cursor.execute("BEGIN IMMEDIATE")
        cursor.executemany(_INSERT_EVENT, events)
        cursor.executemany(_INSERT_TASK, states)
        cursor.execute("COMMIT")

    def tend(self) -> None:
        """Empty the WAL into the database."""
        self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def close(self) -> None:
        """Close the database."""
        self._db.close()


async def together_on_asyncio(perform: Callable[[int], Awaitable[Any]], tasks: Sequence[int]) -> list[Any]:
    """With a task for each; one alone is simply awaited."""
    if len(tasks) == 1:
        return [await perform(tasks[0])]
    return await asyncio.gather(*(perform(task) for task in tasks))


async def together_on_trio(perform: Callable[[int], Awaitable[Any]], tasks: Sequence[int]) -> list[Any]:
    """With a task for each, in one nursery; one alone is simply awaited."""
    if len(tasks) == 1:
        return [await perform(tasks[0])]
    outputs: list[Any] = [None] * len(tasks)

    async def keep(place: int, task: int) -> None:
        outputs[place] = await perform(task)

    async with trio.open_nursery() as nursery:
        for place, task in enumerate(tasks):
            nursery.start_soon(keep, place, task)  # pyright: ignore[reportUnknownMemberType]
    return outputs
