"""Workflow files: the model, loading with positions, and whole-file checks."""

from actorflow.spec.bounds import Bounds
from actorflow.spec.definition import digest, from_json, spec_definition, to_json
from actorflow.spec.durations import parse_duration
from actorflow.spec.loading import Loaded, load, load_dict, load_with_warnings, loads, loads_with_warnings
from actorflow.spec.model import (
    AgentSpec,
    CommandRunner,
    HookLists,
    HookSpec,
    InputSpec,
    Limits,
    OnErrorSpec,
    PythonRunner,
    RetrySpec,
    Runner,
    StageSpec,
    TaskSpec,
    WorkflowSpec,
    shell_item,
)

__all__ = [
    "AgentSpec",
    "Bounds",
    "CommandRunner",
    "HookLists",
    "HookSpec",
    "InputSpec",
    "Limits",
    "Loaded",
    "OnErrorSpec",
    "PythonRunner",
    "RetrySpec",
    "Runner",
    "StageSpec",
    "TaskSpec",
    "WorkflowSpec",
    "digest",
    "from_json",
    "load",
    "load_dict",
    "load_with_warnings",
    "loads",
    "loads_with_warnings",
    "parse_duration",
    "shell_item",
    "spec_definition",
    "to_json",
]
