"""Where the time of one workload goes: the same run again and again under cProfile."""

from __future__ import annotations

import cProfile
import pstats
from pathlib import Path

import anyio

from benchmarks.measure import Backend, Kind, open_runtime, perform_runs
from benchmarks.workloads import Workload


def profile(work: Workload, backend: Backend, kind: Kind, *, rounds: int, folder: Path, top: int) -> None:
    """Print the functions in which `rounds` warm runs spend most time, by their own and with what they call.

    The event loop's thread alone is profiled; a durable run's commits show as its waiting. The profiler makes every call
    dearer by about a microsecond, so small functions look larger than they are.
    """
    profiler = cProfile.Profile()

    async def main() -> None:
        async with open_runtime(kind, folder / "profile.db") as runtime:
            await perform_runs(runtime, work)
            profiler.enable()
            for _ in range(rounds):
                await perform_runs(runtime, work)
            profiler.disable()

    anyio.run(main, backend=backend)
    print(f"{work.name} on {backend}, {kind}: {rounds} rounds, {rounds * work.task_count:,} tasks")
    stats = pstats.Stats(profiler)
    stats.sort_stats("tottime").print_stats(top)
    stats.sort_stats("cumulative").print_stats(top)
