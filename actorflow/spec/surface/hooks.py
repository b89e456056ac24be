"""Keys of hooks: the lifecycle events, the hooks on them, and the params of each action."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from actorflow.spec.model import HookAction, HookErrors, HookMode
from actorflow.spec.surface.forms import (
    ActionName,
    AgentId,
    Command,
    Condition,
    Count,
    Data,
    Duration,
    Form,
    MetricName,
    Name,
    Names,
    Rate,
    Retries,
    Statuses,
    Template,
    Text,
    Url,
    Variable,
    VariableName,
    key,
    mapping,
)
from actorflow.spec.surface.recovery import Breaker, Retry


@mapping
class TaskHookSet:
    """Actions on what happens to a task, each list in the order in which it runs."""

    task_started: HookList = key("Before a task's first attempt.")
    task_finished: HookList = key("After a task's last attempt: status is success, failed or canceled.")
    task_retrying: HookList = key("When a task will be tried again.")
    task_skipped: HookList = key("When a task does not run.")
    task_timed_out: HookList = key("When an attempt took too long.")
    task_lost: HookList = key("When a crash cut an attempt off.")
    fallback_started: HookList = key("When the next agent takes a task over.")
    retries_exhausted: HookList = key("When an agent's attempts are used up.")
    breaker_opened: HookList = key("When a circuit breaker opens.")
    breaker_closed: HookList = key("When a circuit breaker closes.")
    budget_exhausted: HookList = key("When a run's retries are used up.")
    dead_lettered: HookList = key("When a task is given up.")
    child_finished: HookList = key("When a child of a container has ended.")
    iteration_finished: HookList = key("When an iteration of a loop has ended.")
    signal_received: HookList = key("When a signal has come.")
    use: Names = key("Names of hook_sets whose lists come after these.")


@mapping
class TaskHooks(TaskHookSet):
    """Actions on what happens to a task, inside of other lists."""

    inherit: bool = key("Whether the lists around these come after them; true if not given.")


@mapping
class HookSet(TaskHookSet):
    """Hooks for reuse, each list in the order in which it runs."""

    pre_workflow: HookList = key("Before the first task; blocking. If one fails, the run does.")
    post_workflow: HookList = key("At the end of a run, whatever it was; blocking.")
    on_error: HookList = key("When a run has failed; blocking.")
    on_stage_complete: HookList = key("When all tasks of a stage have ended.")
    workflow_started: HookList = key("When a run starts.")
    workflow_finished: HookList = key("When a run has ended.")
    workflow_paused: HookList = key("When a run is paused.")
    workflow_resumed: HookList = key("When a run goes on.")


@mapping
class Hooks(HookSet, TaskHooks):
    """Actions on lifecycle events, each list in the order in which it runs."""


@mapping
class Batch:
    """Deliveries that are sent together."""

    max: Count = key("How many at most; 50 if not given.")
    window: Duration = key("How long the first waits for more; 200ms if not given.")


@mapping
class Hook:
    """An action on a lifecycle event."""

    USUAL_TYPE: ClassVar = "command"
    APART: ClassVar = (("params", "command"), ("params", "env"), ("params", "cwd"), ("params", "max_output"))

    type: ActionName = key("What it does; command if not given.")
    name: Name = key("What it is called in records and by ACTORFLOW_HOOKS; several may share a name.")
    description: Text = key("What it is for.")
    command: Command = key("What runs.", of="command")
    env: dict[VariableName, Variable] = key("Variables; may hold templates and ${NAME}.", of="command")
    cwd: Name = key("Where it runs, relative to the workflow file.", of="command")
    max_output: Count = key("Bytes of each stream that are kept.", of="command")
    params: dict[str, Data] = key("What the action needs; a command may have its own keys here.")
    when: Condition = key("Whether it acts.")
    enabled: Condition = key("Whether there is such a hook at all.")
    environments: Names = key("The values of ACTORFLOW_ENV under which it acts; any, if not given.")
    mode: HookMode = key(
        "Whether the run, stage or task waits for it; not on every event is there one that can."
    )
    on_error: HookErrors = key(
        "What its failure means; fail is for blocking hooks before an outcome is decided."
    )
    disable_after: Count = key("With on_error: disable, the failures in a row after which it acts no more.")
    timeout: Duration = key("Of each try: 5m for a command, 10s for a webhook, 5s for others.")
    retry: Retries | Retry = key("How often it is tried again, or how; 5 attempts for a webhook.")
    rate_limit: Rate = key("How often it acts, per process.")
    batch: Batch = key("Sends several deliveries together.")
    circuit_breaker: Breaker = key("Stops trying a target that keeps failing.")
    ordered: bool = key("Whether deliveries of a run keep their order; true if not given.")
    max_age: Duration = key("After which a delivery is given up; 24h if not given.")


HookList: TypeAlias = list[Text | list[Text] | Hook]


@mapping
class Channel:
    """Where a notice goes: a service's webhook, or a file that it is added to."""

    ONE_OF: ClassVar = ("url", "path")

    type: Literal["slack", "discord", "teams", "ntfy", "webhook", "file"] = key("The service.", must=True)
    url: Url = key("The service's webhook; may hold templates and ${NAME}.")
    headers: dict[str, Text | int | float] = key("May hold templates and ${NAME}.")
    path: Name = key("Of a file: relative to the workflow file.")


@mapping
class Notice:
    """A message to people: logged, and sent to each channel."""

    message: Name = key("What to say; may hold templates.", must=True)
    title: Name = key("Above the message.")
    priority: Literal["low", "normal", "high", "urgent"] = key("How urgent it is; normal if not given.")
    channels: list[Channel] = key("Where it is sent besides the log.")


@mapping
class CommandParams:
    """A command of the shell, or an argv."""

    command: Command = key("What runs.", must=True)
    env: dict[VariableName, Variable] = key("Variables; may hold templates and ${NAME}.")
    cwd: Name = key("Where it runs, relative to the workflow file.")
    timeout: Duration = key("Of each try, as beside params.")
    max_output: Count = key("Bytes of each stream that are kept.")


@mapping
class LogParams:
    """A record for the logger."""

    level: Literal["debug", "info", "warning", "error", "critical"] = key("info if not given.")
    message: Name = key("May hold templates.", must=True)
    fields: dict[str, Data] = key("Facts beside the message.")


@mapping
class Sign:
    """Signs a webhook as Standard Webhooks says."""

    secret: Names = key("One secret, or several while they are rotated; ${NAME}.", must=True)


@mapping
class WebhookParams:
    """One request to a host that the caller allows."""

    url: Url = key("May hold templates and ${NAME}.", must=True)
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = key("POST if not given.")
    headers: dict[str, Text | int | float] = key("May hold templates and ${NAME}.")
    body: Data = key("What is sent as JSON; the event if not given.")
    sign: Sign = key("Signs it.")
    expect_status: Statuses = key("What counts as success; any 2xx if not given.")


@mapping
class MetricParams:
    """A measurement."""

    name: MetricName = key("The series.", must=True)
    kind: Literal["counter", "gauge", "histogram"] = key("counter if not given.")
    value: Template | float = key("1 if not given; may be a template.")
    tags: dict[str, Variable] = key("May hold templates.")


@mapping
class DispatchParams:
    """Starts a task, or an agent, as a run of its own."""

    task_id: AgentId = key(
        "A task of the file, which is then no part of the run, or an agent under that name.", must=True
    )
    input: dict[str, Data] = key("What it gets; may hold templates.")


@mapping
class TransformParams:
    """Computes values that later hooks of its list read as `vars.name`; they are journalled, and so never secrets."""

    AT_LEAST_ONE: ClassVar = ("set", "output")

    set: Annotated[dict[str, Data], Form({"minProperties": 1})] = key("Expressions by name.")
    output: Data = key("Replaces the task's output, if the task says allow_transform.")


PARAMS_OF: Mapping[HookAction, type[Any]] = {
    "command": CommandParams,
    "log": LogParams,
    "notify": Notice,
    "webhook": WebhookParams,
    "metric": MetricParams,
    "dispatch_task": DispatchParams,
    "transform": TransformParams,
}
"""What each action's `params` are."""
