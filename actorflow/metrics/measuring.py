"""What can be measured of a run: from its state when it has ended, and from the few events that say more than their type.

All of it is pure, and follows from what the journal has, so that a live runtime and who reads its journal later
measure the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

from actorflow.core.events import BreakerClosed, BreakerOpened, Event, HookFinished
from actorflow.core.hook_config import FUNCTION
from actorflow.core.plan import Plan
from actorflow.core.state import RunState
from actorflow.core.task_state import TaskState
from actorflow.core.transitions import ENDED
from actorflow.metrics.snapshot import Tags

TELLING: frozenset[type[Event]] = frozenset({HookFinished, BreakerOpened, BreakerClosed})
"""The types of events that are looked into one by one."""


@frozen
class Measured:
    """Values of one series of a built-in metric."""

    name: str
    tags: Tags
    values: Sequence[float]


def measured_at_end(state: RunState) -> Iterator[Measured]:
    """What the end of a run's generation tells; of a run that has not ended, nothing."""
    if state.phase != "ended" or state.ending is None or state.ended_at is None or state.started is None:
        return
    status = (("status", state.ending.outcome),)
    yield Measured("actorflow_runs_total", (*status, ("workflow", state.started.workflow)), (1.0,))
    yield Measured("actorflow_run_seconds", status, (state.ended_at - state.generation_started_at,))
    since = state.generation_started_at
    by_status: dict[str, list[TaskState]] = {}
    for task in state.tasks:
        if task.status in ENDED and task.ended_at is not None and task.ended_at >= since:
            by_status.setdefault(task.status, []).append(task)
    for name, tasks in by_status.items():
        yield from _measured_tasks((("status", name),), tasks)
    yield Measured("actorflow_queue_wait_seconds", (), tuple(queue_waits(state)))


def _measured_tasks(tags: Tags, tasks: Sequence[TaskState]) -> Iterator[Measured]:
    yield Measured("actorflow_tasks_total", tags, (float(len(tasks)),))
    took = [_between(task.started_at, task.ended_at) for task in tasks if task.started_at is not None]
    yield Measured("actorflow_task_seconds", tags, took)
    last = [_between(task.attempt_started_at, task.ended_at) for task in tasks if task.started_at is not None]
    yield Measured("actorflow_attempt_seconds", tags, last)


def queue_waits(state: RunState) -> Iterator[float]:
    """For each task that has begun in this generation, the seconds since the last of what it waits for had ended.

    That is the tasks of its edges, the one whose transition led to it, those of the stages before its own, and the start
    of the generation; each join and each stage is looked at once.
    """
    plan, since = state.plan, state.generation_started_at
    ends = [since if task.ended_at is None else max(since, task.ended_at) for task in state.tasks]
    of_joins = [_latest(ends, join.upstream, since) for join in plan.joins]
    of_stages = [_latest(ends, stage.tasks, since) for stage in plan.stages]
    before_stages = [_latest(of_stages, stage.after, since) for stage in plan.stages]
    for index, task in enumerate(state.tasks):
        if task.started_at is None or task.started_at < since:
            continue
        ready_at = _latest(of_joins, plan.joins_of.get(index, ()), since)
        if task.reached_by is not None:
            ready_at = max(ready_at, ends[task.reached_by])
        if plan.stage_of[index] >= 0:
            ready_at = max(ready_at, before_stages[plan.stage_of[index]])
        yield max(0.0, task.started_at - ready_at)


def hook_action(plan: Plan, event: HookFinished) -> str:
    """The action of the blocking hook that has ended."""
    return plan.hooks.entry_of(event).spec.action


def hook_actions(plan: Plan) -> dict[str, str]:
    """The actions of the hooks that a definition has, by path."""
    return {entry.path: entry.spec.action for entry in plan.hooks.entries}


def action_at(actions: dict[str, str], path: str) -> str:
    """The action of the hook at a path: of the definition, or else a function of the program."""
    return actions.get(path, FUNCTION)


def settled(action: str, mode: str, status: str) -> Measured:
    """One more end of a hook."""
    tags = (("action", action), ("mode", mode), ("status", status))
    return Measured("actorflow_hook_deliveries_total", tags, (1.0,))


def _latest(times: Sequence[float], indexes: Iterable[int], since: float) -> float:
    return max((times[index] for index in indexes), default=since)


def _between(start: float | None, end: float | None) -> float:
    """Seconds between two times that are known; a clock that was set back between processes makes none negative."""
    assert start is not None
    assert end is not None
    return max(0.0, end - start)
