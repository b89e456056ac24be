"""A definition while it is being read: what is understood so far, and where its parts stand."""

from __future__ import annotations

import math
import re
from typing import Any, Final, Literal

from attrs import define, field, frozen

from actorflow.spec.block import Block
from actorflow.spec.model import AgentSpec, InputSpec, StageSpec, TaskId, TaskSpec, Trust
from actorflow.spec.nodes import NOWHERE, ListNode, MapNode, Mark, Node
from actorflow.spec.report import Report
from actorflow.spec.words import RESERVED

__all__ = ["Draft", "Scope", "Site", "as_data", "read_data", "read_id"]

_ID: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}")


@frozen
class Scope:
    """Who reads a template: a task, the notice of a task that succeeded, an agent for any task, or the outputs."""

    kind: Literal["task", "notify", "agent", "outputs"]
    task: TaskId = ""


@frozen
class Site:
    """A text that may hold a template, and where it stands."""

    text: str
    mark: Mark
    path: str
    scope: Scope
    is_condition: bool = False


@define
class Draft:
    """The parts of a definition; what could not be read is missing, or has its default."""

    report: Report
    trust: Trust
    inputs: dict[str, InputSpec] | None = None
    agents: dict[str, AgentSpec] = field(factory=dict[str, AgentSpec])
    tasks: dict[TaskId, TaskSpec] = field(factory=dict[TaskId, TaskSpec])
    task_blocks: dict[TaskId, Block] = field(factory=dict[TaskId, Block])
    stages: list[StageSpec] = field(factory=list[StageSpec])
    stage_blocks: list[Block] = field(factory=list[Block])
    sites: list[Site] = field(factory=list[Site])

    def note(self, text: str, mark: Mark, path: str, scope: Scope) -> None:
        """Remember a text that may hold a template."""
        if "{{" in text or "$" in text:
            self.sites.append(Site(text, mark, path, scope))


def read_id(block: Block, key: str, name: str, what: str, *, mark: Mark | None = None) -> bool:
    """Whether a name may be an id of a task, input or agent; reports why not at the key, or at `mark`."""
    at = block.key_mark(key) if mark is None else mark
    if _ID.fullmatch(name) is None:
        shown = repr(name) if len(name) <= 40 else f"{name[:20]!r}… ({len(name)} characters)"
        hint = "letters, digits, _ and -, the first a letter or _, at most 128"
        block.report.add("E124", at, f"{shown} cannot be the id of {what}", hint)
        return False
    if name in RESERVED and what != "an agent":
        hint = f"choose another name: workflow.{name} is the run's own"
        block.report.add("E136", at, f"{name!r} is a reserved word and cannot be the id of {what}", hint)
        return False
    return True


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
        return {k: as_data(draft, v, marks.get(k, NOWHERE), f"{path}.{k}", scope) for k, v in node.items()}
    if isinstance(node, ListNode):
        pairs = enumerate(zip(node, node.marks, strict=True))
        return [as_data(draft, item, at, f"{path}[{index}]", scope) for index, (item, at) in pairs]
    if isinstance(node, float) and not math.isfinite(node):
        draft.report.add("E123", mark, f"{path}: {node} is no number that JSON can hold")
        return None
    return node if isinstance(node, bool | int | float) else None
