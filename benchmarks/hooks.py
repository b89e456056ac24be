"""What hooks cost: the tasks of a run with async hooks beside the same without, and what a blocking hook adds to a task."""

from __future__ import annotations

import gc
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, process_time
from typing import Any, Final

import anyio
from attrs import define, field, frozen

from actorflow import AgentCall, HookContext, Runtime, WorkflowSpec, load_dict
from actorflow.core.events import AttemptSucceeded, TaskFinished
from actorflow.hooks import HookRegistry
from benchmarks.report import machine
from benchmarks.sinks import sinks

MOST_RATIO: Final = 1.3
MOST_RATIO_OF_REAL_TASKS: Final = 1.02
MOST_RATIO_OF_BAD_SINKS: Final = 1.1
"""Against the live sink; the target says `no more`, and a tenth is what neighbours make of it."""
MOST_BLOCKING_S: Final = 0.001

TASK_S: Final = 0.005
DRAIN_S: Final = 60.0
BAD: Final = frozenset({"webhook to a slow sink", "webhook to a dead sink"})
"""Contestants whose third hook never gets what it is owed: nobody waits for that."""


@frozen
class Nothing:
    """The params of an action that does nothing."""


async def _at_once(_: AgentCall) -> None:
    """A task that does nothing."""


async def _for_a_while(_: AgentCall) -> None:
    await anyio.sleep(TASK_S)


async def _nothing(_: HookContext, __: Nothing) -> None:
    """An action that does nothing."""


def _registry() -> HookRegistry:
    registry = HookRegistry()
    registry.hook_action("nothing", params=Nothing)(_nothing)
    return registry


def _spec(name: str, count: int, hooks: Mapping[str, Any], parallel: int) -> WorkflowSpec:
    tasks = {f"task-{i}": {"agent": "agent"} for i in range(count)}
    body = {"name": name, "limits": {"max_parallel": parallel}, "tasks": tasks, "hooks": dict(hooks)}
    return load_dict(body, trust="own", actions=_registry().contracts)


def _three(third: Mapping[str, Any]) -> Mapping[str, Any]:
    log = {"type": "log", "params": {"message": "{{ task.id }} is {{ task.status }}", "level": "debug"}}
    metric = {"type": "metric", "params": {"name": "tasks_done", "tags": {"status": "{{ task.status }}"}}}
    return {"task_finished": [log, metric, third]}


def _webhook(url: str) -> Mapping[str, Any]:
    body = {"task": "{{ task.id }}", "status": "{{ task.status }}"}
    batch = {"max": 50, "window": "200ms"}
    return {"type": "webhook", "batch": batch, "timeout": "30s", "params": {"url": url, "body": body}}


def _contestants(urls: Mapping[str, str]) -> Mapping[str, Mapping[str, Any]]:
    """The hooks of each, by what its third one is."""
    local = {"type": "nothing", "params": {}}
    webhooks = {f"webhook to a {name} sink": _three(_webhook(url)) for name, url in urls.items()}
    return {"none": {}, "local": _three(local), **webhooks}


@define
class Turns:
    """Seconds of each contestant, by round."""

    seconds: dict[str, list[float]] = field(factory=dict[str, list[float]])
    cpu_per_delivery_s: dict[str, list[float]] = field(factory=lambda: defaultdict[str, list[float]](list))

    def ratio(self, name: str, against: str) -> float:
        """The median over the rounds."""
        pairs = zip(self.seconds[name], self.seconds[against], strict=True)
        return median(one / other for one, other in pairs)


async def measure_async(
    count: int, rounds: int, folder: Path, urls: Mapping[str, str], *, tasks_work: bool
) -> Turns:
    """Time W1 to the end of its last task: without hooks, and with three of each kind; real tasks without the bad sinks."""
    parallel = 100 if tasks_work else 1_000
    hooks = _contestants(urls)
    names = [name for name in hooks if not (tasks_work and name in BAD)]
    specs = {name: _spec(name, count, hooks[name], parallel) for name in names}
    agent = _for_a_while if tasks_work else _at_once
    turns = Turns({name: [] for name in specs})
    for number in range(rounds + 1):
        order = list(specs) if number % 2 else list(specs)[::-1]
        for place, name in enumerate(order):
            store = folder / f"{place}-{number}.db"
            seconds, cpu_s = await _one_turn(specs[name], agent, store, urls, is_bad=name in BAD)
            if number:  # the first is to warm up
                turns.seconds[name].append(seconds)
                turns.cpu_per_delivery_s[name].append(cpu_s / (3 * count))
    return turns


async def _one_turn(
    spec: WorkflowSpec,
    agent: Callable[[AgentCall], Awaitable[None]],
    store: Path,
    urls: Mapping[str, str],
    *,
    is_bad: bool,
) -> tuple[float, float]:
    """Seconds until the run is over, and of the processor from then until its hooks have had what they are owed."""
    drain_s = 0.05 if is_bad else DRAIN_S
    async with _runtime(f"sqlite:///{store}", agent, drain_s=drain_s, allow_hosts=urls.values()) as rt:
        gc.collect()
        began = perf_counter()
        handle = await rt.start(spec)
        await handle._live.is_over.wait()
        seconds = perf_counter() - began
        cpu_began = process_time()
        result = await handle.settled()
        cpu_s = process_time() - cpu_began
        counts = result.hooks
        if not is_bad and (counts.pending or counts.failed or counts.dead_letters):
            raise RuntimeError(f"not all deliveries are made: {counts}")
    return seconds, cpu_s


async def measure_blocking(count: int) -> Sequence[float]:
    """What each task waits for a blocking hook that does nothing, from its outcome to its end; in memory, so our part alone."""
    hook = {"type": "nothing", "mode": "blocking", "params": {}}
    chain = {
        f"task-{i}": {"agent": "agent", "depends_on": [f"task-{i - 1}"] if i else []} for i in range(count)
    }
    body = {"name": "blocking", "tasks": chain, "hooks": {"task_finished": [hook]}}
    spec = load_dict(body, actions=_registry().contracts)
    ended: dict[str, float] = {}
    waits: list[float] = []
    async with _runtime("memory:", _at_once) as rt:
        handle = await rt.start(spec)
        (await handle.wait()).raise_for_status()
        async for _, event in handle.events():
            match event:
                case AttemptSucceeded():
                    ended[event.task] = event.at
                case TaskFinished():
                    waits.append(event.at - ended[event.task])
                case _:
                    pass
    return waits


@asynccontextmanager
async def _runtime(
    store: str,
    agent: Callable[[AgentCall], Awaitable[None]],
    drain_s: float = DRAIN_S,
    allow_hosts: Iterable[str] = (),
) -> AsyncGenerator[Runtime]:
    logging.getLogger("actorflow.hooks").setLevel(logging.INFO)
    runtime = Runtime(
        store=store,
        agents={"agent": agent},
        hooks=_registry(),
        drain_timeout_s=drain_s,
        allow_hosts=allow_hosts,
    )
    async with runtime as rt:
        yield rt


async def report(count: int, rounds: int, folder: Path, backend: str) -> tuple[str, bool]:
    """All rows of hooks on one back end, for people; and whether each met its target."""
    with sinks() as urls:
        no_work = await measure_async(count, rounds, folder / "no-op", urls, tasks_work=False)
        at_work = await measure_async(count, rounds, folder / "work", urls, tasks_work=True)
    waits = sorted(await measure_blocking(1_000))
    p99 = quantiles(waits, n=100)[98]
    live = "webhook to a live sink"
    rows = [
        _row(
            "log, metric, an action of the program; no-op tasks", no_work.ratio("local", "none"), MOST_RATIO
        ),
        _row(f"log, metric, {live}; no-op tasks", no_work.ratio(live, "none"), MOST_RATIO),
        _row("the first three; tasks of 5 ms", at_work.ratio("local", "none"), MOST_RATIO_OF_REAL_TASKS),
        _row("the others; tasks of 5 ms", at_work.ratio(live, "none"), MOST_RATIO_OF_REAL_TASKS),
        *(
            _row(f"{name}, over a live one", no_work.ratio(name, live), MOST_RATIO_OF_BAD_SINKS)
            for name in sorted(BAD)
        ),
    ]
    blocking = p99 <= MOST_BLOCKING_S
    lines = [
        f"hooks on {backend}: {count:,} tasks, medians of {rounds} pairs; to the end of the last task",
        *(line for line, _ in rows),
        _blocking_row(median(waits), p99),
        *(_cpu_row(name, no_work.cpu_per_delivery_s[name]) for name in ("local", live)),
    ]
    return "\n".join(lines), blocking and all(is_met for _, is_met in rows)


def _cpu_row(name: str, cpu_s: Sequence[float]) -> str:
    return f"       CPU per delivery, rendering, action and record included, {name}: {1e6 * median(cpu_s):.0f} µs"


def facts(folder: Path) -> str:
    """The machine, on one line."""
    return "  ".join(f"{key} {value}" for key, value in machine(folder).items())


def _blocking_row(p50: float, p99: float) -> str:
    word = "ok  " if p99 <= MOST_BLOCKING_S else "MISS"
    times = f"p50 {1e3 * p50:.2f} ms, p99 {1e3 * p99:.2f} ms"
    return f"  {word} blocking hook, from outcome to end, without the disk: {times} (at most {1e3 * MOST_BLOCKING_S:g} ms)"


def _row(what: str, ratio: float, limit: float) -> tuple[str, bool]:
    is_met = ratio <= limit
    return f"  {'ok  ' if is_met else 'MISS'} {what}: {ratio:.2f} times (at most {limit:g})", is_met
