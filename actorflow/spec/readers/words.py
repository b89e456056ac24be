"""The words of the format: its keys by kind of mapping, and its closed choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

from actorflow.spec.model import (
    Backoff,
    ChildStrategy,
    CollectionMode,
    Durability,
    HookAction,
    HookErrors,
    HookEvent,
    HookMode,
    InputType,
    Jitter,
    Language,
    Strategy,
    TaskType,
)
from actorflow.spec.readers.block import Keys

__all__ = [
    "AGENT", "BACKOFFS", "BATCH", "BREAKER", "CHILD_STRATEGIES", "COLLECTION_MODES", "DEFAULTS", "DURABILITIES",
    "EDGE", "ENTRY", "HOOK", "HOOK_ACTIONS", "HOOK_COMMAND", "HOOK_ERRORS", "HOOK_EVENTS", "HOOK_MODES", "HTTP",
    "HTTP_METHODS", "INPUT", "INPUT_TYPES", "ITEMS_FILE", "JITTERS", "LANGUAGES", "LIMITS", "LOOP",
    "ON_COMPLETE", "ON_ERROR", "RESERVED", "RETRY", "RUN_EVENTS", "SCRIPT", "SECRET", "STAGE_MODES", "STEP",
    "STRATEGIES", "TASK", "TASK_KEYS", "TASK_TYPES", "TRANSITION", "WORKFLOW",
]  # fmt: skip

WORKFLOW: Final = Keys.of(
    "name version description inputs outputs env secrets defaults limits agents tasks hook_sets hooks workflows"
)
INPUT: Final = Keys.of("type required default description enum sensitive")
SECRET: Final = Keys.of("env file")
LIMITS: Final = Keys.of("max_parallel retry_budget deadline durability keep")
AGENT: Final = Keys.of("description python command script http cwd raw env timeout soft_errors options")
RETRY: Final = Keys.of("max_attempts delay backoff factor max_delay jitter retry_on no_retry_on")
DEFAULTS: Final = Keys.of("timeout retry hooks")
ON_ERROR: Final = Keys.of(
    "retry strategy fallback_agent fallback_value next with timeout deadline circuit_breaker max_losses"
    " max_attempts delay backoff factor max_delay jitter retry_on no_retry_on"
)
BREAKER: Final = Keys.of("threshold window cooldown key")
TRANSITION: Final = Keys.of("next with")
EDGE: Final = Keys.of("task on")
ON_COMPLETE: Final = Keys.of("notify")
LOOP: Final = Keys.of("repeat while until max_iterations delay collect")
SCRIPT: Final = Keys.of("language text file args cwd")
HTTP: Final = Keys.of("url method headers query body json auth expect_status extract")
ITEMS_FILE: Final = Keys.of("file format")

_ANY_TASK: Final = (
    "id type description depends_on with env when sleep timeout deadline on_error on_success on_complete hooks outputs"
    " priority metadata idempotent sensitive loop allow_transform "
)
_PERFORMED: Final = "agent action python command script http cwd raw soft_errors options retry "
_MANY: Final = "tasks strategy max_parallel min_success "
TASK_KEYS: Final[Mapping[TaskType, frozenset[str]]] = {
    "basic": frozenset((_ANY_TASK + _PERFORMED).split()),
    "parallel": frozenset((_ANY_TASK + _MANY).split()),
    "collection": frozenset(
        (_ANY_TASK + _PERFORMED + _MANY + "items item_var index_var filter mode batch").split()
    ),
    "router": frozenset((_ANY_TASK + "condition routes default").split()),
    "wait": frozenset((_ANY_TASK + "signal until for condition on_timeout").split()),
    "signal": frozenset((_ANY_TASK + "signal run to_all payload").split()),
    "aggregate": frozenset(_ANY_TASK.split()),
    "composite": frozenset((_ANY_TASK + "tasks uses").split()),
}
"""The keys that each type of task has."""

TASK: Final = Keys(frozenset[str]().union(*TASK_KEYS.values()))
"""The keys of tasks of any type."""

ENTRY: Final = Keys.of("description inputs outputs hooks steps")
STEP: Final = Keys.of("stage tasks mode depends_on")
HOOK: Final = Keys.of(
    "type name description params timeout when enabled environments on_error disable_after mode retry rate_limit batch"
    " circuit_breaker ordered max_age"
)
HOOK_COMMAND: Final = Keys.of("command env cwd timeout max_output")
BATCH: Final = Keys.of("max window")

INPUT_TYPES: Final[tuple[InputType, ...]] = ("string", "number", "integer", "boolean", "object", "array")
DURABILITIES: Final[tuple[Durability, ...]] = ("full", "normal", "lazy", "memory")
BACKOFFS: Final[tuple[Backoff, ...]] = ("constant", "linear", "exponential")
JITTERS: Final[tuple[Jitter, ...]] = ("full", "equal", "none")
STRATEGIES: Final[tuple[Strategy, ...]] = ("abort", "finish", "skip")
TASK_TYPES: Final[tuple[TaskType, ...]] = get_args(TaskType)
CHILD_STRATEGIES: Final[tuple[ChildStrategy, ...]] = get_args(ChildStrategy)
COLLECTION_MODES: Final[tuple[CollectionMode, ...]] = get_args(CollectionMode)
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
HTTP_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
STAGE_MODES: Final = ("parallel", "sequential")

HOOK_ACTIONS: Final[tuple[HookAction, ...]] = get_args(HookAction)
HOOK_ERRORS: Final[tuple[HookErrors, ...]] = get_args(HookErrors)
HOOK_MODES: Final[tuple[HookMode, ...]] = get_args(HookMode)
HOOK_EVENTS: Final[tuple[HookEvent, ...]] = get_args(HookEvent)
RUN_EVENTS: Final[frozenset[HookEvent]] = frozenset(
    {
        "pre_workflow", "post_workflow", "on_error", "on_stage_complete", "workflow_started", "workflow_finished",
        "workflow_paused", "workflow_resumed",
    }
)  # fmt: skip
"""What happens to a run as a whole; any other event happens to a task of it, and a task may have hooks for it."""

RESERVED: Final = frozenset({"name", "version", "run_id", "status", "error", "stage"})
"""Words of `workflow.…` that an input or a task may not be called, as `${workflow.x}` reads both."""
