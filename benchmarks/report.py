"""What was measured, beside what was aimed at: as tables for people, or as one JSON document."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import apsw
from attrs import frozen

import actorflow
from benchmarks.measure import Measured
from benchmarks.workloads import Name

MOST_RATIO: dict[Name, float] = {"W1": 4.0, "W2": 3.0, "W3": 4.0}
"""actorflow durable over the coordinator durable, by the median of pairs."""

LEAST_RUNS_PER_S: dict[Name, float] = {"W4": 800.0}


@frozen
class Verdict:
    """A target, and what came of it."""

    workload: Name
    backend: str
    what: str
    found: float
    limit: float
    is_met: bool


def verdicts(measured: Measured) -> list[Verdict]:
    """All targets of one workload on one back end."""
    work = measured.workload
    most_commits = max(measured.commits)
    found = [_at_most(measured, "commits", most_commits, work.commit_limit)]
    if work.name in MOST_RATIO:
        ratio = measured.ratio("actorflow durable", "coordinator durable")
        found.append(_at_most(measured, "times the coordinator, durable", ratio, MOST_RATIO[work.name]))
    if work.name in LEAST_RUNS_PER_S:
        rate, least = measured.runs_per_s, LEAST_RUNS_PER_S[work.name]
        found.append(Verdict(work.name, measured.backend, "runs/s, durable", rate, least, rate >= least))
    return found


def machine(folder: Path) -> dict[str, Any]:
    """Facts without which the numbers say nothing."""
    return {
        "actorflow": actorflow.__version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "loadavg": [round(load, 2) for load in os.getloadavg()],
        "sqlite": apsw.sqlite_lib_version(),
        "flush_us": round(1e6 * _flush_s(folder), 1),
        "folder": str(folder.parent),
    }


def tables(results: Sequence[Measured], facts: dict[str, Any]) -> str:
    """Everything, for people."""
    lines = ["  ".join(f"{key} {value}" for key, value in facts.items())]
    for measured in results:
        lines += ["", *_table(measured)]
    lines.append("")
    all_verdicts = [verdict for measured in results for verdict in verdicts(measured)]
    lines += [_sentence(verdict) for verdict in all_verdicts]
    met = sum(verdict.is_met for verdict in all_verdicts)
    lines.append(f"{'PASS' if met == len(all_verdicts) else 'FAIL'}  {met} of {len(all_verdicts)} targets")
    return "\n".join(lines)


def document(results: Sequence[Measured], facts: dict[str, Any]) -> dict[str, Any]:
    """Everything, for programs; times in seconds, by round."""
    return {"machine": facts, "results": [_entry(measured) for measured in results]}


def _at_most(measured: Measured, what: str, found: float, limit: float) -> Verdict:
    return Verdict(measured.workload.name, measured.backend, what, found, limit, found <= limit)


def _flush_s(folder: Path) -> float:
    """The median time that a file in this folder takes to be flushed."""
    times: list[float] = []
    with (folder / "flush").open("wb", buffering=0) as file:
        for _ in range(50):
            file.seek(0)
            file.write(os.urandom(4096))
            start = perf_counter()
            os.fsync(file.fileno())
            times.append(perf_counter() - start)
    return median(times)


def _table(measured: Measured) -> list[str]:
    work = measured.workload
    lines = [
        f"{work.name} on {measured.backend}: {work.title} ({len(measured.commits)} rounds)",
        f"  {'µs per task':<22}{'median':>9}{'min':>9}",
    ]
    for name in measured.seconds:
        middle, least = measured.micros_per_task(name)
        lines.append(f"  {name:<22}{middle:>9.1f}{least:>9.1f}")
    for kind, cold_s in measured.cold_s.items():
        lines.append(f"  {f'first run, {kind}':<22}{1e6 * cold_s / work.task_count:>9.1f}")
    for compared, name in _COMPARED:
        ratio = measured.ratio(f"actorflow {compared}", name)
        lines.append(f"  actorflow {compared} is {ratio:.2f} × {name}")
    lines.append(f"  commits {_spread(measured.commits)}, at most {work.commit_limit}")
    if work.run_count > 1:
        lines.append(f"  {measured.runs_per_s:,.0f} runs/s durable")
    return lines


_COMPARED = (
    ("durable", "coordinator durable"),
    ("memory", "coordinator memory"),
    ("memory", "bare tasks"),
)


def _spread(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _sentence(verdict: Verdict) -> str:
    relation = "at least" if verdict.what.startswith("runs/s") else "at most"
    word = "PASS" if verdict.is_met else "FAIL"
    where = f"{verdict.workload} {verdict.backend}"
    return f"{word}  {where:<11} {verdict.found:,.4g} {verdict.what} ({relation} {verdict.limit:,.4g})"


def _entry(measured: Measured) -> dict[str, Any]:
    work = measured.workload
    return {
        "workload": work.name,
        "title": work.title,
        "backend": measured.backend,
        "tasks": work.task_count,
        "runs": work.run_count,
        "cold_s": measured.cold_s,
        "seconds": measured.seconds,
        "micros_per_task": {name: measured.micros_per_task(name) for name in measured.seconds},
        "ratios": {
            f"actorflow {kind} / {name}": measured.ratio(f"actorflow {kind}", name)
            for kind, name in _COMPARED
        },
        "commits": measured.commits,
        "runs_per_s": measured.runs_per_s,
        "targets": [
            {"what": each.what, "found": each.found, "limit": each.limit, "is_met": each.is_met}
            for each in verdicts(measured)
        ],
    }


def fail_status(results: Sequence[Measured]) -> int:
    """The exit status: 1 if a target was missed."""
    return int(not all(verdict.is_met for measured in results for verdict in verdicts(measured)))


def to_stderr(sentence: str) -> None:
    """Say how far it has come, out of the way of the report."""
    print(sentence, file=sys.stderr, flush=True)
