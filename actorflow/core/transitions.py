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
    CancelRequested,
    Event,
    FallbackChosen,
    FallbackValueUsed,
    GenerationStarted,
    HookFinished,
    HookLost,
    HookStarted,
    PauseRequested,
    Resumed,
    RetryScheduled,
    RunEnding,
    RunFinished,
    RunStarted,
    SleepStarted,
    StageCompleted,
    TaskCanceled,
    TaskFailed,
    TaskSkipped,
)

TaskStatus = Literal["pending", "running", "deciding", "waiting", "success", "failed", "canceled", "skipped"]
"""`deciding`: an attempt failed and its verdict, which is committed with it, is not applied yet."""

RunPhase = Literal["new", "idle", "setup", "tasks", "ending", "ended"]
"""`idle`: between RunStarted and the first generation. `setup` runs pre_workflow hooks, `ending` on_error and
post_workflow hooks."""

TASK_TRANSITIONS: dict[tuple[TaskStatus, type[Event]], TaskStatus] = {
    ("pending", AttemptStarted): "running",
    ("pending", SleepStarted): "waiting",
    ("pending", TaskSkipped): "skipped",
    ("pending", TaskFailed): "failed",  # its input could not be rendered
    ("running", AttemptSucceeded): "success",
    ("running", AttemptFailed): "deciding",
    ("running", AttemptTimedOut): "deciding",
    ("running", AttemptCanceled): "canceled",
    ("running", AttemptLost): "waiting",
    ("deciding", RetryScheduled): "waiting",
    ("deciding", FallbackChosen): "waiting",
    ("deciding", FallbackValueUsed): "success",
    ("deciding", TaskFailed): "failed",
    ("waiting", AttemptStarted): "running",
    ("waiting", TaskCanceled): "canceled",
    ("waiting", TaskSkipped): "skipped",  # before its first attempt
    ("waiting", TaskFailed): "failed",  # lost too often, or its input could not be rendered
}

_TASK_EVENTS: tuple[type[Event], ...] = (
    AttemptSucceeded,
    AttemptFailed,
    AttemptTimedOut,
    AttemptCanceled,
    AttemptLost,
    RetryScheduled,
    FallbackChosen,
    FallbackValueUsed,
    SleepStarted,
    TaskFailed,
    TaskCanceled,
    TaskSkipped,
    StageCompleted,
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
        for event in (PauseRequested, Resumed, CancelRequested)
    },
}
"""The step from `setup` to `tasks` is not an event of its own: it is the end of the last pre_workflow hook."""

ENDED: frozenset[str] = frozenset({"success", "failed", "canceled", "skipped"})
