"""The tasks of a file, at every depth, each by itself; what they say of each other is checked later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from actorflow.spec.model import TaskSpec, TaskType
from actorflow.spec.readers.block import Block
from actorflow.spec.readers.containers import Opened, item_names, read_container
from actorflow.spec.readers.draft import Draft, Level, Scope, read_id
from actorflow.spec.readers.edges import read_edges
from actorflow.spec.readers.facts import Scopes, read_facts
from actorflow.spec.readers.recovery import Performer, read_recovery
from actorflow.spec.readers.runners import WAYS, read_runner
from actorflow.spec.readers.words import TASK, TASK_KEYS, TASK_TYPES
from actorflow.spec.text.nodes import BROKEN, ListNode, MapNode, Mark, Node, kind_of

__all__ = ["has_too_many_tasks", "read_tasks"]

_PERFORMERS: Final = ("agent", "action", *WAYS)
_OF_A_RUNNER: Final = frozenset({*WAYS, "cwd", "raw"})
_OF_A_PERFORMER: Final = ("retry", "soft_errors", "options", "cwd", "raw")


def has_too_many_tasks(root: Block, most: int) -> bool:
    """Whether there are more tasks, at all depths, than a definition may have; reported before anything is read."""
    pending: list[Node] = [root.node]
    count = 0
    while pending and count <= most:
        tasks = pending.pop()
        inner = tasks.get("tasks") if isinstance(tasks, MapNode) else None
        if isinstance(inner, MapNode | ListNode):
            count += len(inner)
            pending.extend(inner.values() if isinstance(inner, MapNode) else inner)
    if count <= most:
        return False
    root.fault("E128", "tasks", f"a workflow has at most {most} tasks, those inside of others counted")
    return True


def read_tasks(draft: Draft, root: Block) -> None:
    """Read `tasks:` into the draft: a mapping, or a list whose items carry `id`; those inside of others too."""
    _read_level(draft, root, draft.top)


def _read_level(draft: Draft, holder: Block, level: Level) -> None:
    entries = dict(_entries(holder, holder.node.get("tasks", BROKEN)))
    for name, block in entries.items():
        level.blocks[name] = holder if block is None else block
    for name, block in entries.items():
        scope = Scope("task", level, name)
        level.tasks[name] = TaskSpec(id=name) if block is None else _read_task(draft, block, scope)


def _entries(holder: Block, value: Node) -> Iterator[tuple[str, Block | None]]:
    """The tasks by id, None for what is no mapping; it is reported, and so is an id that is none."""
    if isinstance(value, MapNode):
        yield from _named(holder, value)
    elif isinstance(value, ListNode):
        yield from _listed(holder, value)
    elif value is not BROKEN:
        holder.fault("E121", "tasks", f"must be a mapping of tasks, or a list of them, not {kind_of(value)}")


def _named(holder: Block, value: MapNode) -> Iterator[tuple[str, Block | None]]:
    tasks = Block(value, holder.path_of("tasks"), holder.report)
    for name in value:
        block = tasks.block(name)
        read_id(tasks, name, name, "a task")
        if block is not None and block.has("id"):
            block.key_fault("E120", "id", "unknown key 'id'", "a task in a mapping is called by its key")
        yield name, block


def _listed(holder: Block, value: ListNode) -> Iterator[tuple[str, Block]]:
    seen: dict[str, Mark] = {}
    for index, item in holder.items("tasks"):
        block = holder.item_block("tasks", index, item)
        if block is None:
            continue
        if not block.has("id"):
            block.own_fault("E122", "a task in a list needs an id", "add id: NAME")
        name = block.text("id")
        if name is None:
            continue
        read_id(block, "id", name, "a task", mark=block.mark("id"))
        if name in seen:
            block.fault(
                "E133", "id", f"the task {name!r} is there twice; the first is in line {seen[name][0]}"
            )
            continue
        seen[name] = value.marks[index]
        yield name, Block(block.node, f"{holder.path_of('tasks')}.{name}", holder.report)


def _read_task(draft: Draft, block: Block, scope: Scope) -> TaskSpec:
    kind: TaskType | None = block.choice("type", TASK_TYPES) if block.has("type") else "basic"
    if kind is None:
        return TaskSpec(id=scope.task)  # its keys may be any type's: one problem is enough
    is_told = _check_keys(block, kind)
    has_performer = not block.node.keys().isdisjoint(_PERFORMERS)
    if kind == "basic" and not has_performer and not is_told:
        block.own_fault(
            "E122", "nothing says who performs this task", "add agent: NAME, or command: or python:"
        )
    scopes = Scopes(kind, scope, _work_scope(block, scope, kind))
    values: dict[str, Any] = {"id": scope.task, "type": kind}
    if kind == "basic" or (kind == "collection" and has_performer):
        values |= _read_performer(draft, block, scopes)
    elif kind == "collection":
        _refuse_keys_of_a_performer(block)
    if kind != "basic":
        values["container"] = _read_container(
            draft, block, scopes, has_performer=has_performer, is_told=is_told
        )
    if block.has("depends_on"):
        values["depends_on"], values["on_failure_of"], values["on_end_of"] = read_edges(block)
    who = Performer(kind != "basic", kind == "basic" or has_performer, values.get("agent"))
    recovery = read_recovery(draft, block, scopes.work, who)
    values |= {
        "retry": recovery.retry,
        "on_error": recovery.on_error,
        "timeout": recovery.timeout,
        "deadline": recovery.deadline,
    }
    return TaskSpec(**values, **read_facts(draft, block, scopes))


def _check_keys(block: Block, kind: TaskType) -> bool:
    """Report keys that are unknown, or another type's; whether they explain why nobody seems to perform the task."""
    keys = TASK_KEYS[kind]
    if block.node.keys() <= keys:
        return False
    meant = block.allow(TASK)
    stray = [key for key in block.node if key in TASK.words and key not in keys]
    for key in stray:
        types = [name for name in TASK_TYPES if key in TASK_KEYS[name]]
        shown = types[0] if len(types) == 1 else ", ".join(types[:-1]) + " or " + types[-1]
        hint = (
            f"add type: {types[0]}"
            if kind == "basic" and not block.has("type")
            else f"this one is of type {kind}"
        )
        block.key_fault("E137", key, f"{key!r} belongs to a task of type {shown}", hint)
    return bool(stray) or not meant.isdisjoint(_PERFORMERS)


def _work_scope(block: Block, scope: Scope, kind: TaskType) -> Scope:
    names = item_names(block) if kind == "collection" and not block.has("tasks") else ()
    if block.has("loop"):
        names = (*names, "index")
    return scope if not names else Scope("task", scope.level, scope.task, names=(*scope.names, *names))


def _read_performer(draft: Draft, block: Block, scopes: Scopes) -> dict[str, Any]:
    """The agent by name, or the inline runner, of which there is one at most."""
    has_both = block.has("agent") and block.has("action")
    is_plain = not has_both and block.node.keys().isdisjoint(_OF_A_RUNNER)
    runner = None if is_plain else read_runner(draft, block, scopes.secret, _PERFORMERS)
    if runner is not None:
        return {"runner": runner}
    return {"agent": block.name("agent") if block.has("agent") else block.name("action")}


def _refuse_keys_of_a_performer(block: Block) -> None:
    for key in _OF_A_PERFORMER:
        if block.has(key):
            block.key_fault("E137", key, f"{key!r} is for tasks with an agent", "say it of the tasks inside")


def _read_container(
    draft: Draft, block: Block, scopes: Scopes, *, has_performer: bool, is_told: bool
) -> object:
    def children(names: tuple[str, ...]) -> tuple[TaskSpec, ...]:
        level = scopes.task.level
        known = dict.fromkeys((*level.names, *scopes.work.names, *names))
        inner = Level(around=level, owner=scopes.task.task, names=tuple(known))
        draft.inner.append(inner)
        _read_level(draft, block, inner)
        return tuple(inner.tasks.values())

    opened = Opened(draft, block, scopes.task, children, has_performer, is_told)
    return read_container(scopes.type, opened)
