"""The definition as a whole: inputs, limits, agents, tasks, stages, hooks, and the entries of a file that has several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from actorflow.spec.model.hooks import HookLists
from actorflow.spec.model.runners import AgentSpec, no_entries
from actorflow.spec.model.tasks import TaskSpec, every_task
from actorflow.spec.model.words import Durability, InputType, TaskId, Trust


@frozen(kw_only=True)
class InputSpec:
    """One declared input of a workflow."""

    type: InputType = "string"
    required: bool = False
    default: Any = None
    has_default: bool = False
    description: str = ""
    enum: tuple[Any, ...] = ()
    sensitive: bool = False  #: shown as `***`


@frozen(kw_only=True)
class SecretSpec:
    """Where a declared secret is read when it is used: exactly one of the two is given."""

    env: str | None = None  #: a variable of the process's environment
    #: a file's path, relative to the workflow's folder; its text without the last line's end is the secret
    file: str | None = None


@frozen(kw_only=True)
class Limits:
    """What a run may use at most."""

    max_parallel: int = 100  #: attempts that run side by side, at least 1
    retry_budget: int | None = None  #: retries that the whole run may spend; None: no bound
    deadline: float | None = None  #: seconds for the whole run
    durability: Durability = "full"
    keep: float | None = None  #: seconds that an ended run stays in the store, for `prune`


@frozen(kw_only=True)
class StageSpec:
    """A named group of tasks with a barrier before it."""

    name: str
    tasks: tuple[TaskId, ...]
    after: tuple[str, ...] = ()  #: the stages that must have ended first; filled at load


@frozen(kw_only=True)
class EntrySpec:
    """A named workflow over the tasks of its file: one entry under `workflows:`."""

    name: str
    description: str = ""
    inputs: Mapping[str, InputSpec] | None = None  #: None: the file's
    outputs: Mapping[str, Any] | None = None  #: None: the file's
    stages: tuple[StageSpec, ...] = ()
    tasks: tuple[TaskSpec, ...] = ()  #: those that a run of it will have, in file order
    hooks: HookLists = HookLists()


@frozen(kw_only=True)
class WorkflowSpec:
    """A whole checked definition; references between its parts are known to be good.

    A file with several entries under `workflows:` is not one workflow yet: `entries` holds them, and
    `chosen(spec, name)` gives the one that is to run.
    """

    name: str
    version: str = ""
    description: str = ""
    entry: str | None = None  #: the name under `workflows:`, if it has one
    entries: tuple[EntrySpec, ...] = ()  #: where one is still to be chosen: more than one
    inputs: Mapping[str, InputSpec] | None = None  #: None: any input is accepted
    outputs: Mapping[str, Any] = field(factory=no_entries)
    env: tuple[str, ...] = ()  #: variables that are read once, at the start, and journalled
    secrets: Mapping[str, SecretSpec] = field(factory=dict[str, SecretSpec])
    limits: Limits = Limits()
    agents: Mapping[str, AgentSpec] = field(factory=dict[str, AgentSpec])
    tasks: tuple[TaskSpec, ...] = ()  #: in file order; only those that the run will have
    dispatched: tuple[TaskSpec, ...] = ()  #: those that a hook starts, each as a run of its own
    stages: tuple[StageSpec, ...] = ()
    hooks: HookLists = HookLists()  #: an entry's come after the file's
    default_hooks: HookLists = HookLists()  #: of `defaults.hooks`: after a task's and the workflow's
    trust: Trust = "own"
    path: str | None = None  #: where it was read from, absolute
    folder: str = "."  #: absolute; commands run here, relative paths start here

    @property
    def secret_variables(self) -> frozenset[str]:
        """The variables of the environment that hold declared secrets: processes get them under `env` only."""
        return frozenset(secret.env for secret in self.secrets.values() if secret.env is not None)

    @property
    def agent_names(self) -> tuple[str, ...]:
        """Every agent that some task of the run may be given to, each once, in order of first use."""
        return _agents_of(every_task(self.tasks))

    @property
    def dispatch_agents(self) -> tuple[str, ...]:
        """Every agent that runs which hooks start may need: of the tasks that they run, or named in place of one."""
        dispatched = every_task(self.dispatched)
        tasks = {task.id for task in self.dispatched}
        holders = (*self.hooks_of_run, *(task.hooks for task in dispatched))
        named = (name for hooks in holders for name in hooks.dispatched if name not in tasks)
        return tuple(dict.fromkeys([*_agents_of(dispatched), *named]))

    @property
    def hooks_of_run(self) -> tuple[HookLists, ...]:
        """Every list of hooks that a run has, in its tasks at all depths too; what is cut off is left out."""
        around = (self.hooks, self.default_hooks) if self.hooks.inherit else (self.hooks,)
        return (*around, *(task.hooks for task in every_task(self.tasks)))


def _agents_of(tasks: tuple[TaskSpec, ...]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for task in tasks:
        if task.agent is not None or task.runner is not None:
            names.update(dict.fromkeys(task.agents[0 if task.runner is None else 1 :]))
    return tuple(names)
