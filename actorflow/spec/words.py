"""The words of the format: its keys by kind of mapping, and its closed choices.

What stands under `later` belongs to the format and is refused as not supported yet, never passed over.
"""

from __future__ import annotations

from typing import Final

from actorflow.spec.block import Keys
from actorflow.spec.model import Backoff, Durability, HookEvent, InputType, Jitter, Strategy

__all__ = [
    "AGENT", "BACKOFFS", "CONTAINERS", "DURABILITIES", "DURABILITIES_LATER", "ENTRY", "HOOK", "HOOK_ACTIONS_LATER",
    "HOOK_EVENTS", "HOOK_EVENTS_LATER", "INPUT", "INPUT_TYPES", "JITTERS", "LIMITS", "ON_COMPLETE", "ON_ERROR",
    "RESERVED", "RETRY", "STAGE_MODES_LATER", "STEP", "STRATEGIES", "TASK", "TOOL_KEYS", "WORKFLOW",
]  # fmt: skip

WORKFLOW: Final = Keys.of(
    "name version description inputs outputs limits agents tasks hooks workflows",
    "env secrets defaults hook_sets",
)
INPUT: Final = Keys.of("type required default description enum", "sensitive")
LIMITS: Final = Keys.of("max_parallel durability", "retry_budget deadline keep")
AGENT: Final = Keys.of(
    "description python command env timeout options",
    "script http cwd raw soft_errors idempotent sensitive circuit_breaker",
)
TASK: Final = Keys.of(
    "id type agent action python command description with env timeout when depends_on retry on_error on_complete",
    "script http cwd raw soft_errors sleep deadline on_success hooks outputs priority metadata idempotent sensitive loop"
    " tasks strategy max_parallel min_success items item_var index_var filter mode batch condition routes default"
    " signal until for on_timeout payload uses max_losses circuit_breaker allow_transform inputs",
)
RETRY: Final = Keys.of("max_attempts delay backoff factor max_delay jitter", "retry_on no_retry_on")
ON_ERROR: Final = Keys.of(
    "retry strategy fallback_agent",
    "fallback_value next with circuit_breaker max_losses retry_on no_retry_on timeout deadline",
)
ON_COMPLETE: Final = Keys.of("notify")
ENTRY: Final = Keys.of("description hooks steps", "inputs outputs limits env secrets defaults")
STEP: Final = Keys.of("stage tasks mode depends_on", "when hooks on_error timeout max_parallel")
HOOK: Final = Keys.of(
    "command description timeout",
    "type name params when enabled environments on_error disable_after mode retry rate_limit batch circuit_breaker"
    " ordered max_age inherit use env cwd max_output allow_transform",
)

TOOL_KEYS: Final = Keys.of(
    "dsl_version tools permissions model max_turns provider system_prompt mcp_servers communication task_groups group"
    " parallel_with"
).now

INPUT_TYPES: Final[tuple[InputType, ...]] = ("string", "number", "integer", "boolean", "object", "array")
DURABILITIES: Final[tuple[Durability, ...]] = ("full", "memory")
DURABILITIES_LATER: Final = ("normal", "lazy")
BACKOFFS: Final[tuple[Backoff, ...]] = ("constant", "linear", "exponential")
JITTERS: Final[tuple[Jitter, ...]] = ("full", "equal", "none")
STRATEGIES: Final[tuple[Strategy, ...]] = ("abort", "finish", "skip")
CONTAINERS: Final = ("parallel", "collection", "router", "wait", "signal", "aggregate", "composite")
STAGE_MODES_LATER: Final = ("sequential",)
HOOK_EVENTS: Final[tuple[HookEvent, ...]] = ("pre_workflow", "post_workflow", "on_error", "on_stage_complete")
HOOK_EVENTS_LATER: Final = Keys.of(
    "",
    "workflow_started workflow_finished workflow_paused workflow_resumed task_started task_finished task_retrying"
    " task_skipped task_timed_out task_lost fallback_started retries_exhausted breaker_opened breaker_closed"
    " budget_exhausted dead_lettered child_finished iteration_finished signal_received",
).later
HOOK_ACTIONS_LATER: Final = ("command", "log", "notify", "webhook", "metric", "dispatch_task", "transform")

RESERVED: Final = frozenset({"name", "version", "run_id", "status", "error", "stage"})
"""Words of `workflow.…` that an input or a task may not be called, as `${workflow.x}` reads both."""
