"""The names under which people and hooks know what happens: which event of the journal is which of the lifecycle."""

from __future__ import annotations

from actorflow.core.events import (
    AttemptLost,
    AttemptTimedOut,
    BreakerClosed,
    BreakerOpened,
    BudgetExhausted,
    DeadLettered,
    Event,
    FallbackChosen,
    PauseRequested,
    Resumed,
    RetriesExhausted,
    RetryScheduled,
    SignalReceived,
    StageCompleted,
    TaskSkipped,
)
from actorflow.spec.model import HookEvent

LIFECYCLE: dict[type[Event], HookEvent] = {
    RetryScheduled: "task_retrying",
    FallbackChosen: "fallback_started",
    RetriesExhausted: "retries_exhausted",
    BreakerOpened: "breaker_opened",
    BreakerClosed: "breaker_closed",
    BudgetExhausted: "budget_exhausted",
    DeadLettered: "dead_lettered",
    AttemptLost: "task_lost",
    AttemptTimedOut: "task_timed_out",
    TaskSkipped: "task_skipped",
    StageCompleted: "on_stage_complete",
    PauseRequested: "workflow_paused",
    Resumed: "workflow_resumed",
    SignalReceived: "signal_received",
}
"""Events that are one thing of the lifecycle each, whatever else has happened. The ends of tasks and runs are several."""


def lifecycle_name(event: Event) -> HookEvent | None:
    """The lifecycle's name for an event; None for what is only of the engine's concern."""
    return LIFECYCLE.get(type(event))
