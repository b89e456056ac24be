"""The workflow model: what a file, a dict or a builder becomes, and all that the core ever sees of it.

Everything is frozen, and made of JSON types alone, so that a run can carry its definition in the journal and be resumed
long after the file has changed or gone. Values that may hold templates keep them as written; who uses them compiles them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from attrs import field, frozen

TaskId: TypeAlias = str

_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash"})

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


def _no_entries() -> dict[str, Any]:
    """A new mapping for a field that is not given; `dict[str, Any]` itself, as a factory, takes five times as long."""
    return {}


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
    file: str | None = (
        None  #: a file's path, relative to the workflow's folder; its text, stripped, is the secret
    )


@frozen(kw_only=True)
class Limits:
    """What a run may use at most."""

    max_parallel: int = 100  #: attempts that run side by side, at least 1
    retry_budget: int | None = None  #: retries that the whole run may spend; None: no bound
    deadline: float | None = None  #: seconds for the whole run
    durability: Durability = "full"
    keep: float | None = None  #: seconds that an ended run stays in the store, for `prune`


@frozen(kw_only=True)
class RetrySpec:
    """How often, and after what delay, an attempt is tried again; the numbers hold for each agent by itself."""

    max_attempts: int = 1  #: all attempts counted, at least 1
    delay: float = 1.0  #: seconds before the second attempt
    backoff: Backoff = "exponential"
    factor: float = 2.0
    max_delay: float = 60.0  #: seconds; no delay is longer
    jitter: Jitter = "full"
    retry_on: tuple[str | int, ...] = ()  #: error types, exit and HTTP statuses; empty: everything
    no_retry_on: tuple[str | int, ...] = ()


@frozen(kw_only=True)
class BreakerSpec:
    """A circuit breaker, shared by the runs of a store under its key."""

    threshold: int = 5  #: failures within `window` that open it
    window: float = 60.0  #: seconds
    cooldown: float = 30.0  #: seconds until one probe is let through
    key: str | None = None  #: None: the agent's name, or the target's


@frozen(kw_only=True)
class Transition:
    """An edge that is taken when its task ends in a certain way."""

    next: TaskId
    with_: Mapping[str, Any] | None = None  #: laid over the target's own `with`; None: nothing is


@frozen(kw_only=True)
class OnErrorSpec:
    """What happens when the attempts of a task's agent are used up."""

    strategy: Strategy = "abort"
    fallback_agents: tuple[str, ...] = ()
    has_fallback_value: bool = False
    fallback_value: Any = None  #: the task's output when every agent has failed; may hold templates
    next: Transition | None = None
    breaker: BreakerSpec | None = None
    max_losses: int = 5  #: attempts that crashes may cut off in one generation


@frozen(kw_only=True)
class PythonRunner:
    """A Python callable, named as `package.module:function`."""

    path: str


@frozen(kw_only=True)
class CommandRunner:
    """A command: a string is a shell's, opaque to us; a list is an argv whose items are templates."""

    command: str | tuple[str, ...]
    cwd: str | None = None  #: relative to the workflow's folder; None: that folder


@frozen(kw_only=True)
class ScriptRunner:
    """A script: a text of its own, run from a private temporary file, or a file that is run where it lies."""

    language: Language
    text: str | None = None  #: opaque to us; None where `file` is given
    file: str | None = None  #: relative to the workflow's folder
    args: tuple[str, ...] = ()  #: templates
    cwd: str | None = None


@frozen(kw_only=True)
class HttpAuth:
    """How a request proves who sends it; the values are templates that may hold secrets."""

    kind: Literal["bearer", "basic", "api_key"]
    values: Mapping[str, str]  #: `token`; or `username` and `password`; or `header` and `value`


@frozen(kw_only=True)
class HttpRunner:
    """One HTTP request for each attempt."""

    url: str
    method: str = "GET"
    headers: Mapping[str, Any] = field(factory=_no_entries)
    query: Mapping[str, Any] = field(factory=_no_entries)
    body: str | None = None
    json: Any = None
    has_json: bool = False
    auth: HttpAuth | None = None
    expect_status: tuple[int, ...] = ()  #: empty: any 2xx
    extract: str | None = None  #: a bare expression over `output`, the answer's body


Runner: TypeAlias = PythonRunner | CommandRunner | ScriptRunner | HttpRunner


@frozen(kw_only=True)
class AgentSpec:
    """Who performs attempts: a runner, or a name that the caller binds."""

    name: str
    description: str = ""
    runner: Runner | None = None
    env: Mapping[str, Any] = field(factory=_no_entries)
    timeout: float | None = None  #: seconds per attempt; a task's own timeout comes first
    soft_errors: bool = False  #: as for a task
    options: Mapping[str, Any] = field(factory=_no_entries)  #: keys that only the agent understands


@frozen(kw_only=True)
class BatchSpec:
    """Deliveries that an action takes together."""

    max: int = 50
    window: float = 0.2  #: seconds that the first of them waits for more


@frozen(kw_only=True)
class HookSpec:
    """An action on a lifecycle event."""

    action: HookAction = "command"
    command: str | tuple[str, ...] = ""  #: of a `command`: a shell's text, or an argv
    env: Mapping[str, Any] = field(factory=_no_entries)  #: of a `command`; templates
    cwd: str | None = None  #: of a `command`
    max_output: int = 65_536  #: of a `command`: bytes of each stream that are kept
    params: Mapping[str, Any] = field(factory=_no_entries)  #: of every other action; templates
    name: str = ""
    description: str = ""
    timeout: float = 300.0  #: seconds per try
    mode: HookMode = "blocking"
    on_error: HookErrors = "continue"
    disable_after: int = 5  #: failures in a row, with `on_error: disable`
    when: str | None = None
    enabled: str | None = None  #: an expression; None: it is
    environments: tuple[str, ...] = ()  #: values of ACTORFLOW_ENV; empty: any
    retry: RetrySpec = RetrySpec()
    rate_limit: float | None = None  #: tries per second and process
    batch: BatchSpec | None = None
    breaker: BreakerSpec | None = None
    ordered: bool = True
    max_age: float = 86_400.0  #: seconds after which a delivery is given up


@frozen(kw_only=True)
class HookLists:
    """The hooks of a workflow or task by event, each list in the order in which it runs."""

    lists: Mapping[HookEvent, tuple[HookSpec, ...]] = field(factory=dict["HookEvent", "tuple[HookSpec, ...]"])
    inherit: bool = True  #: whether the lists of what is around it come after these

    def of(self, event: HookEvent) -> tuple[HookSpec, ...]:
        """The list of one event."""
        return self.lists.get(event, ())


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
    env: Mapping[str, Any] = field(factory=_no_entries)
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
    notice: Mapping[str, Any] = field(factory=_no_entries)  #: of a `notify` with title, priority, channels
    hooks: HookLists = HookLists()
    priority: int = 0  #: lower starts first
    metadata: Mapping[str, Any] = field(factory=_no_entries)
    options: Mapping[str, Any] = field(factory=_no_entries)  #: laid over the agent's own
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


RUNNER_WORDS: Mapping[type[Runner], str] = {
    PythonRunner: "python",
    CommandRunner: "command",
    ScriptRunner: "script",
    HttpRunner: "http",
}


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
    outputs: Mapping[str, Any] = field(factory=_no_entries)
    env: tuple[str, ...] = ()  #: variables that are read once, at the start, and journalled
    secrets: Mapping[str, SecretSpec] = field(factory=dict[str, SecretSpec])
    limits: Limits = Limits()
    agents: Mapping[str, AgentSpec] = field(factory=dict[str, AgentSpec])
    tasks: tuple[TaskSpec, ...] = ()  #: in file order; only those that the run will have
    stages: tuple[StageSpec, ...] = ()
    hooks: HookLists = HookLists()  #: an entry's come after the file's
    default_hooks: HookLists = HookLists()  #: of `defaults.hooks`: after a task's and the workflow's
    trust: Trust = "own"
    path: str | None = None  #: where it was read from, absolute
    folder: str = "."  #: absolute; commands run here, relative paths start here

    @property
    def agent_names(self) -> tuple[str, ...]:
        """Every agent that some task of the run may be given to, each once, in order of first use."""
        names: dict[str, None] = {}
        for task in every_task(self.tasks):
            if task.agent is not None or task.runner is not None:
                names.update(dict.fromkeys(task.agents[0 if task.runner is None else 1 :]))
        return tuple(names)


def every_task(tasks: tuple[TaskSpec, ...]) -> tuple[TaskSpec, ...]:
    """The tasks and all that are inside them, at any depth, each container before its children."""
    found = list(tasks)
    for task in found:  # grows while it is read
        found.extend(task.children)
    return tuple(found)


def route_key(value: Any) -> str:
    """The key of a router's routes for a value: a text as it is, any other in JSON (`true`, `5`, `null`)."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def shell_item(argv: list[str] | tuple[str, ...]) -> int | None:
    """The index of the item that a shell reads as its program (after `sh -c`), if the argv has one.

    That item is opaque, as a shell's text always is: it is never rendered, and the loader refuses a template of ours in
    it.
    """
    for start, item in enumerate(argv):
        if item.rsplit("/", 1)[-1] in _SHELLS:
            for index in range(start + 1, len(argv) - 1):
                flag = argv[index]
                if flag.startswith("-") and not flag.startswith("--") and "c" in flag:
                    return index + 1
                if not flag.startswith(("-", "+")) and argv[index - 1] not in {"-o", "-O", "+o", "+O"}:
                    break
    return None
