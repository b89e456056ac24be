"""The metrics that every runtime has: one table, for what measures, for `# HELP`, and for the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from actorflow.core.events import (
    AttemptCanceled,
    AttemptFailed,
    AttemptLost,
    AttemptSucceeded,
    AttemptTimedOut,
    Event,
    RetryScheduled,
)
from actorflow.metrics.snapshot import MetricKind, Tags

PREFIX: Final = "actorflow_"
"""Begins the names of these, and of no others."""


@frozen
class BuiltIn:
    """What one of them means."""

    kind: MetricKind
    meaning: str  #: one sentence
    tags: tuple[str, ...] = ()
    unit: str = ""


BUILT_IN: Final[Mapping[str, BuiltIn]] = {
    "actorflow_runs_total": BuiltIn(
        "counter",
        "Runs that ended, by outcome; one that is resumed after its end ends once more.",
        ("workflow", "status"),
    ),
    "actorflow_runs_running": BuiltIn(
        "gauge", "Runs that have begun, and are neither over nor paused; in a store also crashed ones."
    ),
    "actorflow_tasks_total": BuiltIn(
        "counter",
        "Tasks of runs that ended, by what became of them in the generation that ended.",
        ("status",),
    ),
    "actorflow_attempts_total": BuiltIn(
        "counter", "Attempts that ended, or were cut off by a crash or a pause (lost).", ("outcome",)
    ),
    "actorflow_retries_total": BuiltIn(
        "counter", "Attempts that were put off to a later time, for the same agent, after a failure."
    ),
    "actorflow_queue_wait_seconds": BuiltIn(
        "histogram",
        "From the end of all that a task waits for to its first attempt; pre_workflow and task_started hooks, "
        "sleeps, open breakers and pauses are in it.",
        unit="seconds",
    ),
    "actorflow_run_seconds": BuiltIn(
        "histogram",
        "From the start of a run's generation to its end, hooks that it waits for and pauses included.",
        ("status",),
        "seconds",
    ),
    "actorflow_task_seconds": BuiltIn(
        "histogram",
        "From a task's first attempt to its end, with all retries and the waits between them.",
        ("status",),
        "seconds",
    ),
    "actorflow_attempt_seconds": BuiltIn(
        "histogram",
        "From the start of a task's last attempt to the end of the task; earlier attempts are not timed.",
        ("status",),
        "seconds",
    ),
    "actorflow_hook_deliveries_total": BuiltIn(
        "counter",
        "What became of hooks: of async ones each time that a delivery was settled, of blocking ones each time "
        "that one ended.",
        ("action", "mode", "status"),
    ),
    "actorflow_hook_backlog": BuiltIn(
        "gauge",
        "Deliveries to async hooks that are not settled; of a store, those that it keeps for a later try.",
    ),
    "actorflow_breaker_open": BuiltIn(
        "gauge", "1 from when a circuit breaker opens until a probe has closed it, 0 after that.", ("key",)
    ),
    "actorflow_commit_seconds": BuiltIn(
        "histogram",
        "How long the store took for a commit, flush included; not in the journal, and so of live runtimes only.",
        unit="seconds",
    ),
}
"""In the order in which they are told. Totals count from the start of a runtime, or over all that a store has."""

OF_EVENTS: Final[Mapping[type[Event], tuple[str, Tags]]] = {
    AttemptSucceeded: ("actorflow_attempts_total", (("outcome", "success"),)),
    AttemptFailed: ("actorflow_attempts_total", (("outcome", "failed"),)),
    AttemptTimedOut: ("actorflow_attempts_total", (("outcome", "timed_out"),)),
    AttemptCanceled: ("actorflow_attempts_total", (("outcome", "canceled"),)),
    AttemptLost: ("actorflow_attempts_total", (("outcome", "lost"),)),
    RetryScheduled: ("actorflow_retries_total", ()),
}
"""The counters that count events by their type alone."""
