"""Tasks, and the containers that have tasks inside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from attrs import field, frozen

from actorflow.spec.model.hooks import HookLists
from actorflow.spec.model.recovery import OnErrorSpec, RetrySpec, Transition
from actorflow.spec.model.runners import RUNNER_WORDS, Runner, no_entries
from actorflow.spec.model.words import ChildStrategy, CollectionMode, TaskId, TaskType


@frozen(kw_only=True)
class ParallelSpec:
    """Tasks side by side."""

    tasks: tuple[TaskSpec, ...]
    strategy: ChildStrategy = "wait_all"
    max_parallel: int | None = None
    min_success: int | None = None  #: of `best_effort`


@frozen(kw_only=True)
class FileItems:
    """The items of a collection, in a file."""

    path: str
    format: Literal["json", "jsonl", "csv", "lines"]


@frozen(kw_only=True)
class CollectionSpec:
    """One child per item: the task's own agent, or a workflow of `tasks`, once for each."""

    items: Any  #: a template that gives a list, a list, or `FileItems`
    tasks: tuple[TaskSpec, ...] = ()  #: empty: the task's own agent performs each
    item_var: str = "item"
    index_var: str = "index"
    filter: str | None = None  #: an expression over item and index
    mode: CollectionMode = "parallel"
    batch: int | None = None  #: items per child
    strategy: ChildStrategy = "wait_all"
    max_parallel: int | None = None
    min_success: int | None = None


@frozen(kw_only=True)
class RouterSpec:
    """A condition chooses one of the tasks."""

    condition: str  #: a template; `route_key` of its value is the key of a route
    routes: Mapping[str, TaskId]
    default: TaskId | None = None


@frozen(kw_only=True)
class WaitSpec:
    """Waits for what comes first of what is given."""

    signal: str | None = None
    until: str | None = None  #: a wall time, or a template that gives one
    seconds: float | None = None  #: of `for:`
    condition: str | None = None  #: an expression over `signal` that must hold for a signal to count
    on_timeout: Transition | None = None


@frozen(kw_only=True)
class SignalSpec:
    """Sends a named signal."""

    signal: str
    run: str | None = None  #: a run's id, or a template that gives one; None: this run
    to_all: bool = False  #: to all runs that wait for it
    payload: Any = None


@frozen(kw_only=True)
class AggregateSpec:
    """Only outputs: no agent."""


@frozen(kw_only=True)
class CompositeSpec:
    """A workflow inside a task."""

    tasks: tuple[TaskSpec, ...] = ()
    uses: str | None = None  #: another workflow file, relative to this one


Container: TypeAlias = (
    ParallelSpec | CollectionSpec | RouterSpec | WaitSpec | SignalSpec | AggregateSpec | CompositeSpec
)
"""What a task that is not basic does."""


@frozen(kw_only=True)
class LoopSpec:
    """Repeats a task: a number of times, or while or until an expression holds."""

    repeat: int | None = None
    while_: str | None = None
    until: str | None = None
    max_iterations: int | None = None  #: given wherever `repeat` is not
    delay: float | None = None  #: seconds between iterations
    collect: bool = False


@frozen(kw_only=True)
class TaskSpec:
    """A node of the workflow."""

    id: TaskId
    type: TaskType = "basic"
    container: Container | None = None  #: None for a basic task
    loop: LoopSpec | None = None
    agent: str | None = None  #: the first agent's name; None for a task with an inline runner
    runner: Runner | None = None  #: the inline runner; None for a task with an agent
    description: str = ""
    with_: Mapping[str, Any] | None = None  #: None: the agent gets the run's inputs
    env: Mapping[str, Any] = field(factory=no_entries)
    outputs: Mapping[str, Any] | None = None  #: templates over `output`; None: the output is the agent's
    sleep: float | None = None  #: seconds between the task's being ready and its first attempt
    timeout: float | None = None  #: seconds per attempt
    deadline: float | None = None  #: seconds for all attempts of all agents together
    when: str | None = None  #: the text of an expression or of one template
    depends_on: tuple[TaskId, ...] = ()  #: edges `on: success`
    on_failure_of: tuple[TaskId, ...] = ()  #: edges `on: failure`
    on_end_of: tuple[TaskId, ...] = ()  #: edges `on: always`
    retry: RetrySpec = RetrySpec()
    on_error: OnErrorSpec = OnErrorSpec()
    on_success: Transition | None = None
    notify: str | None = None  #: logged when the task has succeeded
    notice: Mapping[str, Any] = field(factory=no_entries)  #: of a `notify` with title, priority, channels
    hooks: HookLists = HookLists()
    priority: int = 0  #: lower starts first
    metadata: Mapping[str, Any] = field(factory=no_entries)
    options: Mapping[str, Any] = field(factory=no_entries)  #: laid over the agent's own
    soft_errors: bool = False  #: an output that says it is an error is a failure
    idempotent: bool = True  #: false: an attempt that a crash cut off is not run again
    sensitive: bool = False  #: its output is shown as `***`
    allow_transform: bool = False  #: a hook may replace its output

    @property
    def agents(self) -> tuple[str, ...]:
        """Who is tried, in order; an inline runner goes by its kind's word."""
        first = (self.agent or "") if self.runner is None else RUNNER_WORDS[type(self.runner)]
        return (first, *self.on_error.fallback_agents)

    @property
    def children(self) -> tuple[TaskSpec, ...]:
        """The tasks inside a container; none of a basic task."""
        return getattr(self.container, "tasks", ())


def every_task(tasks: tuple[TaskSpec, ...]) -> tuple[TaskSpec, ...]:
    """The tasks and all that are inside them, at any depth, each container before its children."""
    found = list(tasks)
    for task in found:  # grows while it is read
        found.extend(task.children)
    return tuple(found)


def route_key(value: Any) -> str:
    """The key of a router's routes for a value: a text as it is, any other in JSON (`true`, `5`, `null`)."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
