"""The transition tables: status × event type → status. A missing key is an `IllegalTransitionError`.

They are the specification, the error check, and the source of the state diagrams in the documentation.
"""

from __future__ import annotations

from typing import Literal

from actorflow.core.events import (
    AttemptCanceled,
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
    AttemptSucceeded,
    AttemptTimedOut,
    BreakerAllowed,
    BreakerClosed,
    BreakerCounted,
    BreakerOpened,
    BreakerRefused,
    BudgetExhausted,
    CancelRequested,
    DeadLettered,
    DefinitionChanged,
    Event,
    FallbackChosen,
    FallbackValueUsed,
    GenerationStarted,
    HookFinished,
    HookLost,
    HookStarted,
    PauseRequested,
    Resumed,
    RetriesExhausted,
    RetryScheduled,
    RunDeadlinePassed,
    RunEnding,
    RunFinished,
    RunStarted,
    SignalReceived,
    SleepStarted,
    StageCompleted,
    TaskCanceled,
    TaskDeadlinePassed,
    TaskFailed,
    TaskFinished,
    TaskSkipped,
)

TaskStatus = Literal[
    "pending",
    "preparing",
    "running",
    "deciding",
    "waiting",
    "finishing",
    "success",
    "failed",
    "canceled",
    "skipped",
]
"""`preparing`: its blocking hooks on task_started run. `deciding`: an attempt failed and its verdict, which is committed
with it, is not applied yet. `finishing`: its outcome is known, and its blocking hooks on task_finished run."""

RunPhase = Literal["new", "idle", "setup", "tasks", "ending", "ended"]
"""`idle`: between RunStarted and the first generation. `setup` runs pre_workflow hooks, `ending` on_error and
post_workflow hooks."""

TASK_TRANSITIONS: dict[tuple[TaskStatus, type[Event]], TaskStatus] = {
    ("pending", AttemptStarted): "running",
    ("pending", SleepStarted): "waiting",
    ("pending", BreakerAllowed): "pending",
    ("pending", BreakerRefused): "waiting",
    ("pending", TaskSkipped): "skipped",
    ("pending", TaskFailed): "failed",  # its input could not be rendered
    ("running", AttemptSucceeded): "success",
    ("running", AttemptFailed): "deciding",
    ("running", AttemptTimedOut): "deciding",
    ("running", AttemptCanceled): "canceled",
    ("running", AttemptLost): "waiting",
    ("deciding", RetriesExhausted): "deciding",
    ("deciding", BudgetExhausted): "deciding",
    ("deciding", RetryScheduled): "waiting",
    ("deciding", FallbackChosen): "waiting",
    ("deciding", FallbackValueUsed): "success",
    ("deciding", TaskFailed): "failed",
    ("waiting", BreakerAllowed): "waiting",
    ("waiting", BreakerRefused): "waiting",
    ("waiting", FallbackChosen): "waiting",  # its agent's breaker is open
    ("waiting", TaskDeadlinePassed): "deciding",
    ("waiting", AttemptStarted): "running",
    ("waiting", TaskCanceled): "canceled",
    ("waiting", TaskSkipped): "skipped",  # before its first attempt
    ("waiting", TaskFailed): "failed",  # lost too often, or its input could not be rendered
    ("preparing", TaskSkipped): "skipped",
    ("preparing", TaskFailed): "failed",
    ("finishing", TaskFailed): "failed",  # a hook turned its success down
    ("finishing", TaskFinished): "success",  # or failed, or canceled: its outcome
    ("failed", DeadLettered): "failed",
}
"""What a breaker is told of an outcome (BreakerCounted, -Opened, -Closed) changes no status, and comes when it comes."""

_TASK_EVENTS: tuple[type[Event], ...] = (
    AttemptSucceeded,
    AttemptFailed,
    AttemptTimedOut,
    AttemptCanceled,
    AttemptLost,
    RetryScheduled,
    FallbackChosen,
    FallbackValueUsed,
    RetriesExhausted,
    BudgetExhausted,
    BreakerAllowed,
    BreakerRefused,
    BreakerCounted,
    BreakerOpened,
    BreakerClosed,
    SleepStarted,
    TaskDeadlinePassed,
    TaskFailed,
    TaskCanceled,
    TaskFinished,
    TaskSkipped,
    DeadLettered,
    StageCompleted,
    HookStarted,
    HookFinished,
    HookLost,
)

RUN_TRANSITIONS: dict[tuple[RunPhase, type[Event]], RunPhase] = {
    ("new", RunStarted): "idle",
    ("idle", GenerationStarted): "setup",
    ("ended", GenerationStarted): "setup",
    ("setup", HookStarted): "setup",
    ("setup", HookFinished): "setup",
    ("setup", HookLost): "setup",
    ("tasks", AttemptStarted): "tasks",
    ("tasks", RunEnding): "ending",
    ("ending", HookStarted): "ending",
    ("ending", HookFinished): "ending",
    ("ending", HookLost): "ending",
    ("ending", RunFinished): "ended",
    **{("tasks", event): "tasks" for event in _TASK_EVENTS},
    **{
        (phase, event): phase
        for phase in ("setup", "tasks", "ending")
        for event in (PauseRequested, Resumed, CancelRequested, SignalReceived, DefinitionChanged)
    },
    ("ended", DefinitionChanged): "ended",
    ("setup", RunDeadlinePassed): "setup",
    ("tasks", RunDeadlinePassed): "tasks",
}
"""The step from `setup` to `tasks` is not an event of its own: it is the end of the last pre_workflow hook."""

SHOWN: dict[str, str] = {"preparing": "pending", "deciding": "running", "finishing": "running"}
"""What people and templates see of statuses that are the engine's own."""

ENDED: frozenset[str] = frozenset({"success", "failed", "canceled", "skipped"})
