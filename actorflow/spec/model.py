"""The workflow model: what a file, a dict or a builder becomes, and all that the core ever sees of it.

Everything is frozen, and made of JSON types alone, so that a run can carry its definition in the journal and be resumed
long after the file has changed or gone. Values that may hold templates keep them as written; who uses them compiles them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from attrs import field, frozen

TaskId: TypeAlias = str

_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash"})

Backoff = Literal["constant", "linear", "exponential"]
Durability = Literal["full", "memory"]
HookEvent = Literal["pre_workflow", "post_workflow", "on_error", "on_stage_complete"]
InputType = Literal["string", "number", "integer", "boolean", "object", "array"]
Jitter = Literal["full", "equal", "none"]
Strategy = Literal["abort", "finish", "skip"]
Trust = Literal["own", "data"]


@frozen(kw_only=True)
class InputSpec:
    """One declared input of a workflow."""

    type: InputType = "string"
    required: bool = False
    default: Any = None
    has_default: bool = False
    description: str = ""
    enum: tuple[Any, ...] = ()


@frozen(kw_only=True)
class Limits:
    """What a run may use at most."""

    max_parallel: int = 100  #: attempts that run side by side, at least 1
    durability: Durability = "full"


@frozen(kw_only=True)
class RetrySpec:
    """How often, and after what delay, an attempt is tried again; the numbers hold for each agent by itself."""

    max_attempts: int = 1  #: all attempts counted, at least 1
    delay: float = 1.0  #: seconds before the second attempt
    backoff: Backoff = "exponential"
    factor: float = 2.0
    max_delay: float = 60.0  #: seconds; no delay is longer
    jitter: Jitter = "full"


@frozen(kw_only=True)
class OnErrorSpec:
    """What happens when the attempts of a task's agent are used up."""

    strategy: Strategy = "abort"
    fallback_agents: tuple[str, ...] = ()


@frozen(kw_only=True)
class PythonRunner:
    """A Python callable, named as `package.module:function`."""

    path: str


@frozen(kw_only=True)
class CommandRunner:
    """A command: a string is a shell's, opaque to us; a list is an argv whose items are templates."""

    command: str | tuple[str, ...]


Runner: TypeAlias = PythonRunner | CommandRunner


@frozen(kw_only=True)
class AgentSpec:
    """Who performs attempts: a runner, or a name that the caller binds."""

    name: str
    description: str = ""
    runner: Runner | None = None
    env: Mapping[str, Any] = field(factory=dict[str, Any])
    timeout: float | None = None  #: seconds per attempt; a task's own timeout comes first
    options: Mapping[str, Any] = field(factory=dict[str, Any])  #: keys that only the agent understands


@frozen(kw_only=True)
class TaskSpec:
    """A node of the workflow."""

    id: TaskId
    agent: str | None = None  #: the first agent's name; None for a task with an inline runner
    runner: Runner | None = None  #: the inline runner; None for a task with an agent
    description: str = ""
    with_: Mapping[str, Any] | None = None  #: None: the agent gets the run's inputs
    env: Mapping[str, Any] = field(factory=dict[str, Any])
    timeout: float | None = None  #: seconds per attempt
    when: str | None = None  #: the text of an expression or of one template
    depends_on: tuple[TaskId, ...] = ()
    retry: RetrySpec = RetrySpec()
    on_error: OnErrorSpec = OnErrorSpec()
    notify: str | None = None  #: logged when the task has succeeded

    @property
    def agents(self) -> tuple[str, ...]:
        """Who is tried, in order; an inline runner goes by its kind's word."""
        if self.runner is None:
            first = self.agent or ""
        else:
            first = "python" if isinstance(self.runner, PythonRunner) else "command"
        return (first, *self.on_error.fallback_agents)


@frozen(kw_only=True)
class HookSpec:
    """A shell command (or argv) on a lifecycle event."""

    command: str | tuple[str, ...]
    description: str = ""
    timeout: float = 300.0  #: seconds


@frozen(kw_only=True)
class HookLists:
    """The hooks of a workflow, by event, each list in the order in which it runs."""

    pre_workflow: tuple[HookSpec, ...] = ()
    post_workflow: tuple[HookSpec, ...] = ()
    on_error: tuple[HookSpec, ...] = ()
    on_stage_complete: tuple[HookSpec, ...] = ()

    def of(self, event: HookEvent) -> tuple[HookSpec, ...]:
        """The list of one event."""
        hooks: tuple[HookSpec, ...] = getattr(self, event)
        return hooks


@frozen(kw_only=True)
class StageSpec:
    """A named group of tasks with a barrier before it."""

    name: str
    tasks: tuple[TaskId, ...]
    after: tuple[str, ...] = ()  #: the stages that must have ended first; filled at load


@frozen(kw_only=True)
class WorkflowSpec:
    """A whole checked definition; references between its parts are known to be good."""

    name: str
    version: str = ""
    description: str = ""
    entry: str | None = None  #: the name under `workflows:`, if it has one
    inputs: Mapping[str, InputSpec] | None = None  #: None: any input is accepted
    outputs: Mapping[str, Any] = field(factory=dict[str, Any])
    limits: Limits = Limits()
    agents: Mapping[str, AgentSpec] = field(factory=dict[str, AgentSpec])
    tasks: tuple[TaskSpec, ...] = ()  #: in file order; only those that the run will have
    stages: tuple[StageSpec, ...] = ()
    hooks: HookLists = HookLists()
    trust: Trust = "own"
    path: str | None = None  #: where it was read from, absolute
    folder: str = "."  #: absolute; commands run here, relative paths start here

    @property
    def agent_names(self) -> tuple[str, ...]:
        """Every agent that some task of the run may be given to, each once, in order of first use."""
        names: dict[str, None] = {}
        for task in self.tasks:
            names.update(dict.fromkeys(task.agents[0 if task.runner is None else 1 :]))
        return tuple(names)


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
