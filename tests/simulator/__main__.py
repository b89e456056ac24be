"""`python -m tests.simulator`: seeds by the thousand, and the shortest history of whatever breaks."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pprint import pformat
from types import FrameType
from typing import Final, get_args

from attrs import asdict, define, field

from tests.mutants.catalogue import MUTANTS
from tests.simulator.drawing import draw
from tests.simulator.scenario import Mode, Scenario
from tests.simulator.shrinking import shortest
from tests.simulator.verdict import NOTHING_ELSE, Breach, judge

CHUNK: Final = 50
"""Seeds that a process is given at a time."""

LONGEST_S: Final = 30
"""A world that takes so many real seconds hangs: its process says where, and ends."""


@define
class Tally:
    """What has come of some seeds."""

    seeds: int = 0
    counts: Counter[str] = field(factory=Counter[str])
    breaches: list[tuple[int, Mode, Breach]] = field(factory=list[tuple[int, Mode, Breach]])
    hashes: dict[tuple[int, Mode], str] = field(factory=dict[tuple[int, Mode], str])

    def add(self, other: Tally) -> None:
        """Take those of others in."""
        self.seeds += other.seeds
        self.counts += other.counts
        self.breaches += other.breaches
        self.hashes |= other.hashes


def broken(mutant: str) -> AbstractContextManager[None]:
    """For a while, a mutant is let loose; none, if it has no name."""
    return MUTANTS[mutant].switch() if mutant else nullcontext()


def try_seeds(seeds: Sequence[int], modes: Sequence[Mode], mutant: str, apart: int) -> Tally:
    """Perform worlds, one after the other, until something breaks.

    Args:
        seeds: of the worlds.
        modes: in turn: a seed has one mode.
        mutant: what is broken on purpose; empty for nothing.
        apart: of so many seeds the trace of one is hashed; 0: of none.
    """
    tally = Tally()
    with broken(mutant), collected_at_the_end():
        for seed in seeds:
            mode = modes[seed % len(modes)]
            scenario = draw(seed, mode)
            with bounded(seed, mode):
                verdict = judge(scenario)
            tally.seeds += 1
            tally.counts += _counted(scenario)
            if verdict.observed is not None:
                tally.counts["commits"] += len(verdict.observed.commits)
                tally.counts["bodies"] += len(verdict.observed.bodies)
                tally.counts["processes"] += len(verdict.observed.world.processes)
                tally.counts["killed"] += sum(each.is_dead for each in verdict.observed.world.processes)
                if apart and not seed % apart:
                    tally.hashes[seed, mode] = verdict.observed.world.trace_hash()
            if verdict.breach is not None:
                tally.breaches.append((seed, mode, verdict.breach))
                break
    return tally


@contextmanager
def collected_at_the_end() -> Generator[None]:
    """Worlds leave circles behind; looking for them all the time would cost a tenth of it."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


@contextmanager
def bounded(seed: int, mode: Mode) -> Generator[None]:
    """End the process, and say where it stands, should a world keep the processor for too long."""

    def give_up(_: int, frame: FrameType | None) -> None:
        print(
            f"seed {seed} hangs: {NOTHING_ELSE}\nagain: python -m tests.simulator --seed {seed} --mode {mode}"
        )
        traceback.print_stack(frame, file=sys.stdout)
        sys.stdout.flush()
        os._exit(1)

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LONGEST_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _counted(scenario: Scenario) -> Counter[str]:
    kinds = [fault.kind for life in scenario.lives for fault in life.faults]
    return Counter([*kinds, *(act.kind for act in scenario.acts), *(["runs"] * len(scenario.starts))])


def report(seed: int, mode: Mode, breach: Breach, mutant: str = "") -> str:
    """What broke, and the shortest history in which it does."""
    said = f" --mutant {mutant!r}" if mutant else ""

    def breaks(smaller: Scenario) -> bool:
        with broken(mutant):
            found = judge(smaller).breach
        return found is not None and found.is_like(breach)

    scenario = shortest(draw(seed, mode), breaks)
    with broken(mutant):
        verdict = judge(scenario)
    last = verdict.breach or breach
    trace = [] if verdict.observed is None else verdict.observed.world.trace()
    lines = [
        f"seed {seed} breaks: {breach.promise}",
        f"again: python -m tests.simulator --seed {seed} --mode {mode}{said}",
        "",
        "The shortest scenario that breaks the same:",
        pformat(asdict(scenario), width=120, sort_dicts=False, compact=True),
        "",
        "Its history:",
        *(f"  {line}" for line in trace),
        "",
        last.what,
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000, help="how many worlds")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="one world alone; its trace is printed")
    parser.add_argument("--mode", choices=[*get_args(Mode), "both"], default="both")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--mutant", default="", metavar="NAME", help="break something on purpose")
    parser.add_argument(
        "--check-traces", type=int, default=0, metavar="K", help="perform each Kth seed twice"
    )
    parser.add_argument("--hashes", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    modes: tuple[Mode, ...] = get_args(Mode) if asked.mode == "both" else (asked.mode,)
    if asked.seed is not None:
        return _show(asked.seed, modes[asked.seed % len(modes)], asked.mutant)
    if asked.hashes:
        for (seed, mode), told in _hashes(asked.first, asked.seeds, modes, asked.check_traces).items():
            print(seed, mode, told)
        return 0
    return _search(asked, modes)


def _show(seed: int, mode: Mode, mutant: str) -> int:
    with broken(mutant), bounded(seed, mode):
        verdict = judge(draw(seed, mode))
    if verdict.observed is not None:
        print("\n".join(verdict.observed.world.trace()))
        print(f"trace hash {verdict.observed.world.trace_hash()}")
    if verdict.breach is None:
        print(f"seed {seed}, every invariant held")
        return 0
    print(report(seed, mode, verdict.breach, mutant))
    return 1


def _search(asked: argparse.Namespace, modes: Sequence[Mode]) -> int:
    began, tally = time.monotonic(), Tally()
    try:
        for part in _parts(asked, modes):
            tally.add(part)
            if tally.breaches:
                break
    except BrokenProcessPool:
        return 1  # it has said why
    minutes = (time.monotonic() - began) / 60
    counts = ", ".join(f"{count:,} {what}" for what, count in sorted(tally.counts.items()))
    print(f"{tally.seeds:,} seeds in {60 * minutes:.1f} s, {tally.seeds / minutes:,.0f} a minute: {counts}")
    if tally.breaches:
        print(report(*min(tally.breaches, key=lambda found: found[0]), mutant=asked.mutant))
        return 1
    if asked.check_traces:
        other = _told_elsewhere(asked)
        differ = sorted(key for key, told in tally.hashes.items() if other.get(key) != told)
        if differ:
            print(f"the same seed gives another trace in another process: {differ[:10]}")
            return 1
        print(f"{len(tally.hashes):,} traces are the same in another process")
    print(f"{tally.seeds:,} seeds, every invariant held")
    return 0


def _parts(asked: argparse.Namespace, modes: Sequence[Mode]) -> Iterator[Tally]:
    chunks = [
        range(first, min(first + CHUNK, asked.first + asked.seeds))
        for first in range(asked.first, asked.first + asked.seeds, CHUNK)
    ]
    if asked.jobs <= 1:
        for chunk in chunks:
            yield try_seeds(chunk, modes, asked.mutant, asked.check_traces)
        return
    with ProcessPoolExecutor(asked.jobs) as pool:
        futures = [pool.submit(try_seeds, chunk, modes, asked.mutant, asked.check_traces) for chunk in chunks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _hashes(first: int, count: int, modes: Sequence[Mode], apart: int) -> dict[tuple[int, Mode], str]:
    seeds = [seed for seed in range(first, first + count) if not seed % max(apart, 1)]
    return try_seeds(seeds, modes, "", max(apart, 1)).hashes


def _told_elsewhere(asked: argparse.Namespace) -> dict[tuple[int, str], str]:
    """The hashes of traces as a process has them whose strings have other hashes."""
    command = [sys.executable, "-m", "tests.simulator", "--hashes", f"--check-traces={asked.check_traces}"]
    command += [f"--seeds={asked.seeds}", f"--from={asked.first}", f"--mode={asked.mode}"]
    environ = {**os.environ, "PYTHONHASHSEED": "4242"}
    told = subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout
    rows = (line.split() for line in told.splitlines())
    return {(int(seed), mode): known for seed, mode, known in rows}


if __name__ == "__main__":
    sys.exit(main())
