"""A definition while it is being read: what is understood so far, and where its parts stand."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from attrs import define, field, frozen

from actorflow.spec.action_contracts import ActionContract
from actorflow.spec.model import (
    AgentSpec,
    HookLists,
    InputSpec,
    RetrySpec,
    SecretSpec,
    StageSpec,
    TaskId,
    TaskSpec,
    Trust,
)
from actorflow.spec.order import Before
from actorflow.spec.readers.block import Block
from actorflow.spec.readers.words import RESERVED
from actorflow.spec.text.nodes import NOWHERE, ListNode, MapNode, Mark, Node
from actorflow.spec.text.report import Report

__all__ = [
    "ID", "Defaults", "Dispatch", "Draft", "Graph", "Jump", "Level", "Scope", "Site", "as_data", "read_data", "read_id"
]  # fmt: skip

ID: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}")
"""The id of a task, an input or an agent."""

_NO_RETRY: Final = RetrySpec()
_PLAIN: Final = frozenset({int, bool, type(None)})  # what is JSON as it stands, wherever it does


@frozen(eq=False)
class Graph:
    """The order of a level without cycles: its tasks by number in file order, then the barrier of each stage.

    An edge of any kind and a transition count alike: who may read a task's result is who comes after it.
    """

    number: dict[TaskId, int]
    before: Before
    order: list[int]


@frozen
class Jump:
    """A transition, and where the name of its target stands."""

    source: TaskId
    target: TaskId
    block: Block
    key: str


@define(eq=False)
class Level:
    """Tasks that stand side by side: those of the file, or those inside one container."""

    tasks: dict[TaskId, TaskSpec] = field(factory=dict[TaskId, TaskSpec])
    blocks: dict[TaskId, Block] = field(factory=dict[TaskId, Block])
    around: Level | None = None  #: the level of the container; None for the file's own tasks
    owner: TaskId = ""  #: the container's id there
    #: what templates inside may read besides, those of the levels around it included
    names: tuple[str, ...] = ()
    jumps: list[Jump] = field(factory=list[Jump])
    #: filled by `check_order`; None also where a cycle, or a problem of a stage, leaves no order to speak of
    graph: Graph | None = None
    #: ids that are named here, and were reported as no task's
    missing: set[TaskId] = field(factory=set[TaskId])

    def level_of(self, task: TaskId) -> tuple[Level, TaskId | None] | None:
        """Where a task's id is looked up from inside: this level first, then the levels around it.

        Returns:
            The level that has the task, and who of that level asks: None where it is the asking task itself.
        """
        asks: TaskId | None = None
        level: Level | None = self
        while level is not None:
            if task in level.tasks:
                return level, asks
            asks = level.owner
            level = level.around
        return None

    def root_of(self, task: TaskId) -> TaskId:
        """The task of the file that a task of this level is, or is inside of; empty where it is no task's."""
        level, name = self, task
        while level.around is not None:
            level, name = level.around, level.owner
        return name

    def misses(self, task: TaskId) -> bool:
        """Whether it was reported, here or around, that there is no such task."""
        return task in self.missing or (self.around is not None and self.around.misses(task))


@frozen
class Dispatch:
    """A hook that starts a task or an agent as a run of its own, and where it says so."""

    target: str
    params: Block  #: with `task_id`
    level: Level
    task: TaskId  #: whose hook it is; empty: the workflow's, or one of a set


@frozen(eq=False)
class Scope:
    """Who reads a template: a task, what comes after its success, an agent for any task, a hook, or the outputs."""

    kind: Literal["task", "after", "agent", "hook", "outputs"]
    level: Level
    task: TaskId = ""
    secrets: bool = False  #: whether `${NAME}` and `secrets.x` are legal
    names: tuple[str, ...] = ()  #: more roots that are known here, such as `error` or `signal`

    @property
    def root_task(self) -> TaskId:
        """The task of the file that it belongs to, directly or inside of it; empty where it is no task's."""
        return self.level.root_of(self.task)

    def knowing(self, *names: str) -> Scope:
        """The same reader, who knows more roots."""
        return Scope(self.kind, self.level, self.task, self.secrets, (*self.names, *names))


@frozen
class Site:
    """A text that may hold a template, and where it stands."""

    text: str
    mark: Mark
    path: str
    scope: Scope
    is_condition: bool = False


@frozen
class Defaults:
    """`defaults:` for tasks that have an agent or an inline runner; its hooks are kept apart."""

    timeout: float | None = None  #: where neither the task nor its agent says one
    retry: RetrySpec = _NO_RETRY  #: what a task says itself comes first, field by field


@define
class Draft:
    """The parts of a definition.

    What could not be read has its default: a name whose value was reported is known all the same, so that nothing more
    is said where it is used.
    """

    report: Report
    trust: Trust
    allow_env: frozenset[str] | None = None  #: the only variables that it may name; None: as its trust says
    may_reach: bool = False  #: whether it may name hosts though it is data
    no_commands: bool = False  #: whether it may name nothing that runs code, though it is one's own
    inputs: dict[str, InputSpec] | None = None
    env: tuple[str, ...] = ()
    secrets: dict[str, SecretSpec] = field(factory=dict[str, SecretSpec])
    hook_sets: dict[str, HookLists] = field(factory=dict[str, HookLists])
    defaults: Defaults = Defaults()
    agents: dict[str, AgentSpec] = field(factory=dict[str, AgentSpec])
    top: Level = field(factory=Level)
    inner: list[Level] = field(factory=list[Level])  #: the levels of all containers, outer ones first
    stages: list[StageSpec] = field(factory=list[StageSpec])
    stage_blocks: list[Block] = field(factory=list[Block])
    sites: list[Site] = field(factory=list[Site])
    actions: Mapping[str, ActionContract] = field(factory=dict[str, ActionContract])  #: that the program has
    dispatches: list[Dispatch] = field(factory=list[Dispatch])
    #: filled by `set_apart`: tasks of the file that hooks start, which are no longer among `tasks`
    dispatched: dict[TaskId, TaskSpec] = field(factory=dict[TaskId, TaskSpec])
    alone: TaskId = ""  #: the dispatched task that is being checked by itself

    @property
    def levels(self) -> tuple[Level, ...]:
        """All levels, the file's own first."""
        return (self.top, *self.inner)

    @property
    def tasks(self) -> dict[TaskId, TaskSpec]:
        """The file's own tasks."""
        return self.top.tasks

    @property
    def task_blocks(self) -> dict[TaskId, Block]:
        """Where the file's own tasks stand."""
        return self.top.blocks

    def may_name(self, variable: str) -> bool:
        """Whether `${NAME}` may stand for a variable of the environment."""
        return self.trust == "own" if self.allow_env is None else variable in self.allow_env

    def note(self, text: str, mark: Mark, path: str, scope: Scope) -> None:
        """Remember a text that may hold a template."""
        if "{{" in text or "$" in text:
            self.sites.append(Site(text, mark, path, scope))


def read_id(block: Block, key: str, name: str, what: str, *, mark: Mark | None = None) -> bool:
    """Whether a name may be an id of a task, input or agent; reports why not at the key, or at `mark`."""
    at = block.key_mark(key) if mark is None else mark
    if ID.fullmatch(name) is None:
        shown = repr(name) if len(name) <= 40 else f"{name[:20]!r}… ({len(name)} characters)"
        hint = "letters, digits, _ and -, the first a letter or _, at most 128"
        block.report.add("E124", at, f"{shown} cannot be the id of {what}{_unlike_ascii(name)}", hint)
        return False
    if name in RESERVED and what != "an agent":
        hint = f"choose another name: workflow.{name} is the run's own"
        block.report.add("E136", at, f"{name!r} is a reserved word and cannot be the id of {what}", hint)
        return False
    return True


def _unlike_ascii(name: str) -> str:
    """Say which character of a name only looks like a letter of ASCII, or is not seen at all."""
    found = next((c for c in name if not c.isascii()), None)
    return "" if found is None else f": its character {name.index(found) + 1} is U+{ord(found):04X}"


def read_data(draft: Draft, block: Block, key: str, scope: Scope | None) -> Any:
    """A value of any shape as plain JSON; its texts are noted as sites where there is a scope."""
    return as_data(draft, block.node[key], block.mark(key), block.path_of(key), scope)


def as_data(draft: Draft, node: Node, mark: Mark, path: str, scope: Scope | None) -> Any:
    """A node as plain JSON; recurses no deeper than nodes go, which their loading has bounded."""
    if isinstance(node, str):
        if scope is not None:
            draft.note(node, mark, path, scope)
        return node
    if isinstance(node, MapNode):
        marks = node.marks
        return {
            k: v if type(v) in _PLAIN else as_data(draft, v, marks.get(k, NOWHERE), f"{path}.{k}", scope)
            for k, v in node.items()
        }
    if isinstance(node, ListNode):
        pairs = enumerate(zip(node, node.marks, strict=True))
        return [as_data(draft, item, at, f"{path}[{index}]", scope) for index, (item, at) in pairs]
    if isinstance(node, float) and not math.isfinite(node):
        draft.report.add("E123", mark, f"{path}: {node} is no number that JSON can hold")
        return None
    return node if isinstance(node, bool | int | float) else None
