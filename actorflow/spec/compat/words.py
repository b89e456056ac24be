"""The keys of the second document's tool, by kind of mapping, as far as they are not ours as well."""

from __future__ import annotations

from typing import Final

__all__ = [
    "AGENT_DEFAULTS", "AGENT_OPTIONS", "ENTRY_ASIDE", "LIMITS_ASIDE", "LOOP_KEYS", "PERFORMERS", "STEP_ASIDE",
    "TASK_ASIDE", "TASK_OPTIONS", "TASK_WORDS", "TEMPLATES", "UNCHECKED", "WORKFLOW_ASIDE",
]  # fmt: skip


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


AGENT_DEFAULTS: Final = ("model", "provider", "cwd", "create_cwd")
"""Keys of the workflow that hold for each agent which has none of its own."""

AGENT_OPTIONS: Final = _words(
    "model provider system_prompt tools permissions max_turns temperature max_tokens cwd create_cwd inputs outputs"
    " mcp_servers"
)
"""An agent's keys that only the agent understands: they become its `options`."""

TASK_OPTIONS: Final = _words(
    "model provider system_prompt tools permissions max_turns temperature max_tokens"
    " output context inject_context definition_of_done"
)
"""A task's keys that only its agent understands: they become its `options`."""

UNCHECKED: Final = _words("definition_of_done")
"""Those of them that promise more than an agent can keep by itself, and are named in a warning."""

TASK_ASIDE: Final = _words("group parallel_with limits overrides communication mcp_servers")
WORKFLOW_ASIDE: Final = _words(
    "dsl_version tools permissions model max_turns provider system_prompt mcp_servers communication task_groups"
    " imports notifications cwd create_cwd"
)
STEP_ASIDE: Final = _words("agents parallel_with")
ENTRY_ASIDE: Final = _words("agents tools communication")
LIMITS_ASIDE: Final = _words(
    "max_stdout_bytes max_stderr_bytes max_combined_bytes truncation_strategy max_context_bytes max_context_tasks"
    " external_storage_threshold external_storage_dir compress_external cleanup_strategy"
)

LOOP_KEYS: Final = _words(
    "type collection iterator parallel max_parallel count condition max_iterations min_iterations iteration_variable"
    " delay_between_secs"
)
"""The keys of a loop of any kind; what else stands there is set aside."""

PERFORMERS: Final = _words(
    "agent action python script command http mcp_tool llm uses embed uses_workflow subflow type"
)
"""A task that has one of these says who performs it, or that nobody does."""

TEMPLATES: Final = ("with", "env", "http", "on_complete", "items", "outputs", "command")
"""A task's keys whose texts are templates, a command's only in its list of arguments."""

TASK_WORDS: Final = (
    TASK_ASIDE
    | TASK_OPTIONS
    | _words(
        "subflow uses embed uses_workflow script command http mcp_tool llm inputs outputs subtasks on_error retry condition"
        " loop loop_spec loop_control on_complete tasks"
    )
)
"""A task that has none of these keys is ours already, but for what its texts may say."""
