"""The metrics of runs as a journal tells of them: what a live runtime that ran all of them would have measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

from actorflow.core.events import Event, HookFinished, RunFinished
from actorflow.core.plan import Plan, plan_of
from actorflow.core.state import RunState
from actorflow.journal.protocol import Journal, RunRow
from actorflow.metrics.measuring import action_at, hook_action, hook_actions
from actorflow.metrics.registry import Metrics
from actorflow.metrics.snapshot import Snapshot
from actorflow.spec.definition import from_json

_AT_ONCE: Final = 1_000
_METRIC: Final = "metric"


def collect(journal: Journal, rows: Iterable[RunRow]) -> Snapshot:
    """Measure runs from all of their events, the run that started first in front.

    A gauge that several runs have recorded shows what the one that started last has. What a run has recorded under a
    name that another kind of metric has is left out, as it was when it ran.

    Raises:
        StoreDamagedError: a run is not what was written.
    """
    metrics = Metrics()
    known = sorted(rows, key=lambda row: (row.summary.started_at, row.run_id))
    for row in known:
        _collect_run(metrics, journal, row)
    waiting = journal.pending_counts()
    metrics.watch("actorflow_runs_running", lambda: sum(row.summary.status == "running" for row in known))
    metrics.watch("actorflow_hook_backlog", lambda: sum(waiting.get(row.run_id, 0) for row in known))
    return metrics.snapshot()


def _collect_run(metrics: Metrics, journal: Journal, row: RunRow) -> None:
    plan = plan_of(from_json(journal.definition(row.definition)))
    state = RunState(plan)
    events = (event for _, event in journal.events(row.run_id))
    while batch := list(islice(events, _AT_ONCE)):
        metrics.note(plan, batch)
        for event in batch:
            state.apply(event)
            if isinstance(event, RunFinished):
                metrics.note_run(state)
            _replay_hook(metrics, plan, event)
    actions = hook_actions(plan)
    for delivery in journal.deliveries(row.run_id):
        action = action_at(actions, delivery.hook)
        metrics.note_delivery(action, delivery.status)
        if action == _METRIC and delivery.status == "delivered":
            _replay(metrics, delivery.record)


def _replay_hook(metrics: Metrics, plan: Plan, event: Event) -> None:
    if isinstance(event, HookFinished) and event.status == "ok" and hook_action(plan, event) == _METRIC:
        _replay(metrics, event.record)


def _replay(metrics: Metrics, record: Mapping[str, Any]) -> None:
    """Take a measurement again by what its hook's record says of it."""
    try:
        metrics.record(record["name"], record["kind"], record["value"], record["tags"])
    except (KeyError, ValueError):
        return
