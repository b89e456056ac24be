"""The metrics of runs as a journal tells of them: what a live runtime that ran all of them would have measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Final, TypeAlias

from actorflow.core.events import Event, HookFinished, RunFinished
from actorflow.core.hook_config import HookEntry
from actorflow.core.hook_context import HIDDEN
from actorflow.core.plan import Plan, plan_of
from actorflow.core.state import RunState
from actorflow.journal.protocol import Delivery, Journal, RunRow
from actorflow.metrics.measuring import action_at, hook_action, hook_actions
from actorflow.metrics.registry import Metrics
from actorflow.metrics.snapshot import Snapshot
from actorflow.spec.definition import from_json

_AT_ONCE: Final = 1_000
_METRIC: Final = "metric"


Telling: TypeAlias = Callable[[HookEntry, str], bool]
"""Whether the tags that a hook has recorded for a task may tell what is sensitive; without a task, for the run."""


def collect(
    journal: Journal, rows: Iterable[RunRow], telling: Callable[[Plan], Telling] | None = None
) -> Snapshot:
    """Measure runs from all of their events, the run that started first in front.

    A gauge that several runs have recorded shows what the one that started last has. What a run has recorded under a
    name that another kind of metric has is left out, as it was when it ran.

    Args:
        journal: of the store.
        rows: of the runs.
        telling: for the plan of a run; the values of the tags in question read `***`. None: all are told.

    Raises:
        StoreDamagedError: a run is not what was written.
    """
    metrics = Metrics()
    known = sorted(rows, key=lambda row: (row.summary.started_at, row.run_id))
    for row in known:
        _collect_run(metrics, journal, row, telling)
    waiting = journal.pending_counts()
    metrics.watch("actorflow_runs_running", lambda: sum(row.summary.status == "running" for row in known))
    metrics.watch("actorflow_hook_backlog", lambda: sum(waiting.get(row.run_id, 0) for row in known))
    return metrics.snapshot()


def _collect_run(
    metrics: Metrics, journal: Journal, row: RunRow, telling: Callable[[Plan], Telling] | None
) -> None:
    plan = plan_of(from_json(journal.definition(row.definition)))
    state = RunState(plan)
    replay = _Replay(metrics, plan, None if telling is None else telling(plan))
    deliveries = journal.deliveries(row.run_id)
    told_of: dict[int, str] = dict.fromkeys((one.seq for one in deliveries), "")
    events = journal.events(row.run_id)
    while batch := list(islice(events, _AT_ONCE)):
        metrics.note(plan, [event for _, event in batch])
        for seq, event in batch:
            state.apply(event)
            if isinstance(event, RunFinished):
                metrics.note_run(state)
            if seq in told_of:
                told_of[seq] = getattr(event, "task", None) or ""
            replay.take_blocking(event)
    for delivery in deliveries:
        replay.take(delivery, told_of[delivery.seq])


class _Replay:
    """Takes the measurements of a run's hooks again, by what their records say of them."""

    def __init__(self, metrics: Metrics, plan: Plan, telling: Telling | None) -> None:
        self._metrics = metrics
        self._plan = plan
        self._telling = telling
        self._actions = hook_actions(plan)
        self._entries = {entry.path: entry for entry in plan.hooks.entries}

    def take(self, delivery: Delivery, task: str) -> None:
        """Count a delivery about a task, or about the run, and measure what it has."""
        action = action_at(self._actions, delivery.hook)
        self._metrics.note_delivery(action, delivery.status)
        if action == _METRIC and delivery.status == "delivered":
            self._measure(delivery.record, self._entries.get(delivery.hook), task)

    def take_blocking(self, event: Event) -> None:
        """Measure what a blocking hook has, if the event is its end."""
        if (
            isinstance(event, HookFinished)
            and event.status == "ok"
            and hook_action(self._plan, event) == _METRIC
        ):
            task = "" if event.event == "on_stage_complete" else event.subject
            self._measure(event.record, self._plan.hooks.entry_of(event), task)

    def _measure(self, record: Mapping[str, Any], entry: HookEntry | None, task: str) -> None:
        is_telling = self._telling is not None and entry is not None and self._telling(entry, task)
        try:
            tags = dict.fromkeys(record["tags"], HIDDEN) if is_telling else record["tags"]
            self._metrics.record(record["name"], record["kind"], record["value"], tags)
        except (KeyError, ValueError):
            return
