"""Measuring: the contestants take turns in one process, round by round, so that what disturbs one disturbs the others."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Literal, TypeAlias, get_args

import anyio
from attrs import define, field, frozen

from actorflow import Runtime
from benchmarks.bare import Joins, bare_on_asyncio, bare_on_trio
from benchmarks.coordinator import (
    MemoryRecords,
    SqliteRecords,
    Together,
    coordinate,
    together_on_asyncio,
    together_on_trio,
)
from benchmarks.workloads import Workload, no_op

Backend: TypeAlias = Literal["asyncio", "trio"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
Kind: TypeAlias = Literal["durable", "memory"]

SETTLE_S = 0.01
"""Between turns: what is left to do after a result, such as giving the run up, is not charged to the next turn."""


@frozen
class Contestant:
    """Somebody who does the work once when called."""

    name: str
    perform: Callable[[], Awaitable[None]]
    tend: Callable[[], None]  #: called before each turn, off the clock


@define
class Measured:
    """One workload on one back end: seconds per turn, in the order of the rounds."""

    workload: Workload
    backend: Backend
    cold_s: dict[Kind, float] = field(factory=dict[Kind, float])  #: actorflow's first run of the definition
    seconds: dict[str, list[float]] = field(factory=dict[str, list[float]])  #: by contestant, warm
    commits: list[int] = field(factory=list[int])  #: of actorflow durable, by round

    def micros_per_task(self, name: str) -> tuple[float, float]:
        """The median and the least, in microseconds per task."""
        each = [1e6 * seconds / self.workload.task_count for seconds in self.seconds[name]]
        return median(each), min(each)

    def ratio(self, name: str, against: str) -> float:
        """The median over the rounds of the one's time divided by the other's in the same round."""
        pairs = zip(self.seconds[name], self.seconds[against], strict=True)
        return median(one / other for one, other in pairs)

    @property
    def runs_per_s(self) -> float:
        """Runs of actorflow, durable, per second, by the median round."""
        return self.workload.run_count / median(self.seconds["actorflow durable"])


async def measure(work: Workload, backend: Backend, *, rounds: int, folder: Path) -> Measured:
    """Let all contestants do the work, once to warm up and then `rounds` times, taking turns at going first.

    Must run on the loop that `backend` names.
    """
    measured = Measured(work, backend)
    async with (
        open_runtime("durable", folder / f"actorflow-{work.name}-{backend}.db") as durable,
        open_runtime("memory", folder) as memory,
    ):
        records = SqliteRecords(folder / f"coordinator-{work.name}-{backend}.db")
        contestants = _contestants(measured, durable, memory, records)
        measured.cold_s["durable"] = await _timed(contestants[0])
        measured.cold_s["memory"] = await _timed(contestants[2])
        for contestant in contestants:
            await _timed(contestant)
            measured.seconds[contestant.name] = []
        measured.commits.clear()
        for number in range(rounds):
            gc.collect()  # whoever goes first starts clean; within a round garbage is the business of who trips over it
            for contestant in contestants if number % 2 else reversed(contestants):
                measured.seconds[contestant.name].append(await _timed(contestant))
        records.close()
    return measured


async def perform_runs(runtime: Runtime, work: Workload) -> None:
    """Do the work through actorflow: from the first `run` to the last result."""
    if work.run_count == 1:
        await _run_to_success(runtime, work)
        return
    async with anyio.create_task_group() as group:
        for _ in range(work.run_count):
            group.start_soon(_run_to_success, runtime, work)


@asynccontextmanager
async def open_runtime(kind: Kind, path: Path) -> AsyncGenerator[Runtime]:
    """An open runtime that knows the agent of the workloads."""
    store = "memory:" if kind == "memory" else f"sqlite:///{path}"
    async with Runtime(store=store, agents={"no_op": no_op}) as runtime:
        yield runtime


async def _run_to_success(runtime: Runtime, work: Workload) -> None:
    (await runtime.run(work.spec)).raise_for_status()


def _contestants(
    measured: Measured, durable: Runtime, memory: Runtime, records: SqliteRecords
) -> Sequence[Contestant]:
    """In pairs: who is compared with whom comes right after."""
    work = measured.workload
    is_asyncio = measured.backend == "asyncio"
    together = together_on_asyncio if is_asyncio else together_on_trio
    run_bare = bare_on_asyncio if is_asyncio else bare_on_trio
    in_memory = MemoryRecords()
    joins = Joins(work.graph)

    async def perform_durable() -> None:
        commit_count = durable.commit_count
        await perform_runs(durable, work)
        measured.commits.append(durable.commit_count - commit_count)

    async def bare() -> None:
        _check(await run_bare(joins), work)

    return (
        Contestant("actorflow durable", perform_durable, _nothing),
        Contestant("coordinator durable", lambda: _coordinate(work, together, records), records.tend),
        Contestant("actorflow memory", lambda: perform_runs(memory, work), _nothing),
        Contestant("coordinator memory", lambda: _coordinate(work, together, in_memory), _nothing),
        Contestant("bare tasks", bare, _nothing),
    )


async def _coordinate(work: Workload, together: Together, records: SqliteRecords | MemoryRecords) -> None:
    _check(await coordinate(work.graph, together, records), work)


def _check(done_count: int, work: Workload) -> None:
    assert done_count == work.task_count, f"{done_count} tasks of {work.task_count} were run"


async def _timed(contestant: Contestant) -> float:
    """Seconds of one turn."""
    await anyio.sleep(SETTLE_S)
    contestant.tend()
    start = perf_counter()
    await contestant.perform()
    return perf_counter() - start


def _nothing() -> None:
    """Nothing is to be done before a turn."""
