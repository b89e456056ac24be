"""The closed choices of the format, and what ids are."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

TaskId: TypeAlias = str

Backoff = Literal["constant", "linear", "exponential"]
ChildStrategy = Literal["wait_all", "fail_fast", "best_effort", "race"]
CollectionMode = Literal["parallel", "sequential"]
Durability = Literal["full", "normal", "lazy", "memory"]
HookAction = Literal["command", "log", "notify", "webhook", "metric", "dispatch_task", "transform"]
HookErrors = Literal["continue", "fail", "disable"]
HookEvent = Literal[
    "pre_workflow", "post_workflow", "on_error", "on_stage_complete", "workflow_started", "workflow_finished",
    "workflow_paused", "workflow_resumed", "task_started", "task_finished", "task_retrying", "task_skipped",
    "task_timed_out", "task_lost", "fallback_started", "retries_exhausted", "breaker_opened", "breaker_closed",
    "budget_exhausted", "dead_lettered", "child_finished", "iteration_finished", "signal_received",
]  # fmt: skip
HookMode = Literal["async", "blocking"]
InputType = Literal["string", "number", "integer", "boolean", "object", "array"]
Jitter = Literal["full", "equal", "none"]
Language = Literal["python", "bash", "javascript", "ruby", "perl"]
Strategy = Literal["abort", "finish", "skip"]
TaskType = Literal["basic", "parallel", "collection", "router", "wait", "signal", "aggregate", "composite"]
Trust = Literal["own", "data"]

NOT_FIRED_YET: Final[frozenset[HookEvent]] = frozenset({"child_finished", "iteration_finished"})
"""Events of the format that nothing in this version fires."""
