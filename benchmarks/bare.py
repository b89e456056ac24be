"""Bare tasks of the event loop, one per node, each started by the last of those that it waits for.

The floor in memory: nothing is kept, nothing is recorded, an error would end it all. Tasks that wait for the same tasks
share a counter, as they do in actorflow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import trio

from benchmarks.workloads import Graph


class Joins:
    """Counters of a graph: one for each distinct set of tasks that others wait for. Made before the clock starts."""

    def __init__(self, graph: Graph) -> None:
        waiting: dict[tuple[int, ...], list[int]] = {}
        for task, above in enumerate(graph.upstream):
            waiting.setdefault(above, []).append(task)
        self.first = waiting.pop((), [])
        self.waiting = list(waiting.values())
        self.unmet = [len(above) for above in waiting]
        self.counts_in: list[list[int]] = [[] for _ in graph.upstream]
        for number, above in enumerate(waiting):
            for task in above:
                self.counts_in[task].append(number)


async def bare_on_asyncio(joins: Joins) -> int:
    """Run the graph in one asyncio task group; the count of tasks that were run."""
    async with asyncio.TaskGroup() as group:
        nodes = _Nodes(joins, lambda task: _forget(group.create_task(nodes.run(task))))
        nodes.start_first()
    return nodes.done_count


async def bare_on_trio(joins: Joins) -> int:
    """Run the graph in one trio nursery; the count of tasks that were run."""
    async with trio.open_nursery() as nursery:
        nodes = _Nodes(joins, lambda task: nursery.start_soon(nodes.run, task))  # pyright: ignore[reportUnknownMemberType]
        nodes.start_first()
    return nodes.done_count


class _Nodes:
    """One pass over a graph."""

    def __init__(self, joins: Joins, start: Callable[[int], None]) -> None:
        self._joins = joins
        self._start = start
        self._unmet = list(joins.unmet)
        self.done_count = 0

    def start_first(self) -> None:
        for task in self._joins.first:
            self._start(task)

    async def run(self, task: int) -> None:
        self.done_count += 1
        for join in self._joins.counts_in[task]:
            self._unmet[join] -= 1
            if not self._unmet[join]:
                for below in self._joins.waiting[join]:
                    self._start(below)


def _forget(_: object) -> None:
    """The group holds its tasks."""
