"""What a task says of the tasks around it: the edges to those before it, and the transitions to those it leads to."""

from __future__ import annotations

from typing import Final, TypeAlias

from actorflow.spec.model import TaskId, Transition
from actorflow.spec.readers.block import Block
from actorflow.spec.readers.draft import Draft, Jump, Scope, read_data
from actorflow.spec.readers.words import EDGE, TRANSITION
from actorflow.spec.text.nodes import BROKEN, ListNode, MapNode, Node, kind_of

__all__ = ["Edges", "edge_index", "note_jump", "read_edges", "read_next", "read_transition"]

Edges: TypeAlias = tuple[tuple[TaskId, ...], tuple[TaskId, ...], tuple[TaskId, ...]]
"""The tasks that must have succeeded, failed, or ended in any way, each in the order of the file."""

_NO_EDGES: Final[Edges] = ((), (), ())
_KINDS: Final = ("success", "failure", "always")  # in the order of `Edges`


def read_edges(block: Block) -> Edges:
    """Read `depends_on`: one id, one `{task, on}`, or a list of them; reports a task that is there twice."""
    value = block.node.get("depends_on", BROKEN)
    if isinstance(value, ListNode) and value:
        if all(map(_is_word, value)) and len(set(map(str, value))) == len(value):
            return (tuple(map(str, value)), (), ())
        return _sorted_edges(block, [(index, item) for index, item in enumerate(value)])
    if isinstance(value, MapNode):
        return _sorted_edges(block, [(None, value)])
    texts = block.names("depends_on")
    return (tuple(item.text for item in texts), (), ()) if texts else _NO_EDGES


def _is_word(node: Node) -> bool:
    return isinstance(node, str) and bool(node.strip()) and "\0" not in node


def _sorted_edges(block: Block, items: list[tuple[int | None, Node]]) -> Edges:
    kinds: dict[TaskId, str] = {}
    for index, item in items:
        task, on = _read_edge(block, index, item)
        if task is None:
            continue
        if task in kinds:
            block.fault("E133", "depends_on", f"{task!r} is there twice", index=index)
        else:
            kinds[task] = on
    after, on_failure, on_end = (tuple(task for task, on in kinds.items() if on == kind) for kind in _KINDS)
    return (after, on_failure, on_end)


def _read_edge(block: Block, index: int | None, item: Node) -> tuple[TaskId | None, str]:
    if isinstance(item, MapNode):
        fields = Block(item, block.path_of("depends_on", index), block.report)
        fields.allow(EDGE)
        if not fields.has("task"):
            fields.own_fault("E122", "says no task", "write {task: NAME, on: success, failure or always}")
        return fields.name("task"), (fields.choice("on", _KINDS) or "success")
    if isinstance(item, str) and not _is_word(item):
        block.fault("E123", "depends_on", "must be a name, not empty and without NUL", index=index)
    elif not isinstance(item, str) and item is not BROKEN:
        block.fault("E121", "depends_on", f"must be the id of a task, not {kind_of(item)}", index=index)
    return (item if isinstance(item, str) and _is_word(item) else None), "success"


def edge_index(block: Block, task: TaskId) -> int | None:
    """Where in `depends_on` an edge from a task stands; None where it stands there alone."""
    value = block.node.get("depends_on")
    if not isinstance(value, ListNode):
        return None
    found = (
        i for i, item in enumerate(value) if (item.get("task") if isinstance(item, MapNode) else item) == task
    )
    return next(found, None)


def read_transition(draft: Draft, block: Block, key: str, scope: Scope) -> Transition | None:
    """Read `{next, with}`, or the id of the next task alone; `scope` is for the templates of `with`."""
    if isinstance(block.node.get(key), str):
        return _transition(draft, block, key, None, scope)
    fields = block.block(key)
    if fields is None:
        return None
    fields.allow(TRANSITION)
    if not fields.has("next"):
        fields.own_fault("E122", "says no task that comes next", "add next: NAME")
        return None
    return _transition(draft, fields, "next", fields, scope)


def read_next(draft: Draft, fields: Block, scope: Scope) -> Transition | None:
    """The transition of an `on_error`, whose `next` and `with` stand among its other keys."""
    if fields.has("next"):
        return _transition(draft, fields, "next", fields, scope.knowing("error"))
    if fields.has("with"):
        fields.key_fault(
            "E122", "with", "is laid over the 'with' of next, and there is no next", "add next: NAME"
        )
    return None


def _transition(
    draft: Draft, block: Block, key: str, holder: Block | None, scope: Scope
) -> Transition | None:
    target = block.name(key)
    if target is None:
        return None
    note_jump(scope, target, block, key)
    values = holder.block("with") if holder is not None else None
    if holder is None or values is None:
        return Transition(next=target)
    return Transition(
        next=target, with_={name: read_data(draft, values, name, scope) for name in values.node}
    )


def note_jump(scope: Scope, target: TaskId, block: Block, key: str) -> None:
    """Remember a transition from the task of a scope, to be checked when all tasks of its level are known."""
    scope.level.jumps.append(Jump(scope.task, target, block, key))
