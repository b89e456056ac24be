"""Keys of the file as a whole: its inputs, limits, secrets, entries and stages."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from actorflow.spec.model import Durability, InputType
from actorflow.spec.surface.agents import Agent
from actorflow.spec.surface.forms import (
    AgentId,
    Budget,
    Data,
    Duration,
    Form,
    Id,
    Name,
    Names,
    Parallel,
    Retries,
    SecretId,
    Text,
    Variable,
    VariableName,
    VariablesOfRun,
    key,
    mapping,
)
from actorflow.spec.surface.hooks import Hooks, HookSet, TaskHooks
from actorflow.spec.surface.recovery import Retry
from actorflow.spec.surface.tasks import ListedTask, Tasks


@mapping
class Input:
    """One declared input of a workflow."""

    USUAL_TYPE: ClassVar = "string"

    type: InputType = key("What the value must be; string if not given.")
    required: bool = key("Whether a run needs it.")
    default: Data = key("The value where a run brings none.")
    description: Text = key("What it is for.")
    enum: Annotated[list[Data], Form({"minItems": 1})] = key("The only values that it may have.")
    sensitive: bool = key("Whether it is shown as ***.")


@mapping
class Secret:
    """Where a secret is read when it is used: exactly one of the two."""

    ONE_OF: ClassVar = ("env", "file")

    env: VariableName = key("A variable of the environment.")
    file: Name = key(
        "A file, relative to the workflow's; its text without the last line's end is the secret."
    )


@mapping
class Limits:
    """What a run may use at most."""

    max_parallel: Parallel = key("Attempts that run side by side; 100 if not given.")
    retry_budget: Budget = key("Retries that the whole run may spend.")
    deadline: Duration = key("For the whole run.")
    durability: Durability = key(
        "Whether each step is flushed to the disk (full, if not given), written (normal), or kept in memory; lazy is "
        "kept as normal."
    )
    keep: Duration = key("How long an ended run stays in the store.")


@mapping
class Defaults:
    """What holds for tasks that do not say otherwise."""

    timeout: Duration = key("Of each attempt of a task that has an agent.")
    retry: Retries | Retry = key("Of a task that has an agent.")
    hooks: TaskHooks = key("After those of the task and of the workflow.")


@mapping
class Stage:
    """A named group of tasks, with a barrier before it."""

    stage: Name = key("Its name.", must=True)
    tasks: Annotated[Names, Form({"minItems": 1})] = key("Its tasks.", must=True)
    mode: Literal["parallel", "sequential"] = key("parallel if not given.")
    depends_on: Names = key("The stages before it; the one above if no stage says.")


@mapping
class Entry:
    """A named workflow over the tasks of its file."""

    description: Text = key("What it is for.")
    inputs: dict[Id, Input | None] = key("Instead of the file's.")
    outputs: dict[str, Data] = key("Instead of the file's.")
    hooks: Hooks = key("Beside the file's.")
    steps: Annotated[list[Stage], Form({"minItems": 1})] = key("Its stages; all tasks if not given.")


Entries: TypeAlias = Annotated[dict[Name, Entry | None], Form({"minProperties": 1})]


@mapping
class WorkflowFile:
    """A workflow: tasks in dependency order, each performed by an agent, with recovery and hooks."""

    name: Name = key("Any text; the file's stem if not given.")
    version: Text = key("Any text; quote a number.")
    description: Text = key("What it is for.")
    inputs: dict[Id, Input | None] = key("Checked before anything runs; any input is accepted if not given.")
    outputs: dict[str, Data] = key("What a run gives: templates over its tasks.")
    env: VariablesOfRun = key("Variables that are read once, at the start; `env.NAME` in templates.")
    secrets: dict[SecretId, Secret] = key(
        "Read when they are used, never recorded; `secrets.name` in templates."
    )
    defaults: Defaults = key("For tasks that do not say otherwise.")
    limits: Limits = key("What a run may use at most.")
    agents: dict[AgentId, Agent | None] = key("Who performs attempts.")
    tasks: Tasks = key("A mapping of tasks, or a list of tasks that have an id.")
    hooks: Hooks = key("Hooks on the run's events, and on those of all tasks.")
    hook_sets: dict[Text, HookSet | None] = key("Named hooks, for `use` in hooks.")
    workflows: Entries = key("Named workflows over the same tasks.")


@mapping
class OneTask(ListedTask):
    """A workflow of one task: a document with an id, a type or action, and no tasks."""

    name: Name = key("Any text; the task's id if not given.")
    version: Text = key("Any text; quote a number.")
    inputs: dict[Id, Input | None] = key("Checked before anything runs; any input is accepted if not given.")
    outputs: dict[str, Data] = key("What a run gives: templates over its tasks.")
    # the run's variables or the task's, told apart by their form
    env: VariablesOfRun | dict[VariableName, Variable] = key(  # type: ignore[assignment]
        "Names of variables that are read once, at the start; or the variables for the task's attempts."
    )
    secrets: dict[SecretId, Secret] = key(
        "Read when they are used, never recorded; `secrets.name` in templates."
    )
    defaults: Defaults = key("For a task that does not say otherwise.")
    limits: Limits = key("What a run may use at most.")
    agents: dict[AgentId, Agent | None] = key("Who performs attempts.")
    hooks: Hooks = key(  # type: ignore[assignment, unused-ignore]
        "Hooks on the run's events, and on the task's."
    )
    hook_sets: dict[Text, HookSet | None] = key("Named hooks, for `use` in hooks.")
    workflows: Entries = key("Named workflows over the same task.")
