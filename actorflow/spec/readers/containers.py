"""What tasks of each type but `basic` do: parallel, collection, router, wait, signal, aggregate and composite."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, TypeAlias

from attrs import frozen

from actorflow.expression.names import ROOTS
from actorflow.spec.model import (
    AggregateSpec,
    CollectionSpec,
    CompositeSpec,
    Container,
    ParallelSpec,
    RouterSpec,
    SignalSpec,
    TaskId,
    TaskSpec,
    TaskType,
    WaitSpec,
    route_key,
)
from actorflow.spec.readers.block import Block
from actorflow.spec.readers.draft import Draft, Scope, read_data
from actorflow.spec.readers.edges import note_jump, read_transition
from actorflow.spec.readers.expressions import UNKNOWN, constant_of, is_template, read_choice, read_condition
from actorflow.spec.readers.items import read_items
from actorflow.spec.readers.paths import read_path, refuse_untrusted
from actorflow.spec.readers.words import CHILD_STRATEGIES, COLLECTION_MODES
from actorflow.spec.text.nodes import BROKEN, ListNode, MapNode

__all__ = ["MOST_PARALLEL", "Opened", "item_names", "read_container"]

MOST_PARALLEL: Final = 100_000
"""How many attempts may run side by side at most."""

_MOST_CHILDREN: Final = 1_000_000
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_TAKEN: Final = (ROOTS - {"item", "index"}) | {
    "and", "else", "false", "if", "in", "not", "null", "or", "true", "vars", "now", "none", "None", "True", "False",
}  # fmt: skip
_SIGNAL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")


_Children: TypeAlias = Callable[[tuple[str, ...]], tuple[TaskSpec, ...]]


@frozen(eq=False)
class Opened:
    """A container while it is read."""

    draft: Draft
    block: Block
    scope: Scope  #: of the container's own templates
    children: _Children  #: reads `tasks:`, given what is known inside only
    has_own_performer: bool = False  #: an agent or runner stands beside: of a collection
    is_told: bool = False  #: whether an unknown key, or another type's, explains why there is none


_Read: TypeAlias = Callable[[Opened], Container]


def read_container(kind: TaskType, opened: Opened) -> Container | None:
    """What a task of this type does; None for a basic one."""
    read = _READERS.get(kind)
    return None if read is None else read(opened)


def item_names(block: Block) -> tuple[str, ...]:
    """What a collection calls an item and its number, where the names are good."""
    names = [block.node.get(key, default) for key, default in _ITEM_NAMES.items()]
    return tuple(name for name in names if isinstance(name, str))


_ITEM_NAMES: Final = {"item_var": "item", "index_var": "index"}


def _read_parallel(opened: Opened) -> ParallelSpec:
    block = opened.block
    tasks = _tasks(opened)
    _check_min_success(block, len(tasks))
    return ParallelSpec(
        tasks=tasks,
        strategy=block.choice("strategy", CHILD_STRATEGIES) or "wait_all",
        max_parallel=block.integer("max_parallel", 1, MOST_PARALLEL),
        min_success=block.integer("min_success", 1, _MOST_CHILDREN),
    )


def _tasks(opened: Opened, names: tuple[str, ...] = ()) -> tuple[TaskSpec, ...]:
    """The tasks inside, which must be given and not be empty."""
    block = opened.block
    value = block.node.get("tasks", BROKEN)
    if not block.has("tasks"):
        block.own_fault("E122", "has no tasks inside", "add tasks:")
    elif isinstance(value, MapNode | ListNode) and not value:
        block.fault("E123", "tasks", "must not be empty")
    return opened.children(names)


def _check_min_success(block: Block, count: int | None) -> None:
    """Whether so many can succeed, of the children if their number is known."""
    if not block.has("min_success"):
        return
    if block.node.get("strategy") != "best_effort":
        block.key_fault("E125", "min_success", "counts for strategy: best_effort alone")
    needed = block.node["min_success"]
    if count and isinstance(needed, int) and not isinstance(needed, bool) and needed > count:
        block.fault("E123", "min_success", f"must be at most {count}, the number of its tasks, not {needed}")


def _read_collection(opened: Opened) -> CollectionSpec:
    draft, block = opened.draft, opened.block
    names = _checked_item_names(block)
    if block.has("tasks") and opened.has_own_performer:
        block.key_fault("E125", "tasks", "the collection has an agent of its own for each item; keep one")
    if not block.has("tasks") and not opened.has_own_performer and not opened.is_told:
        block.own_fault(
            "E122", "nothing says what is done with each item", "add agent: NAME, or command:, or tasks:"
        )
    written = block.node.get("items")
    _check_min_success(block, len(written) if isinstance(written, ListNode) else None)
    inside = opened.scope.knowing(*names)
    return CollectionSpec(
        items=read_items(draft, block, opened.scope),
        tasks=_tasks(opened, names) if block.has("tasks") else (),
        item_var=names[0],
        index_var=names[1],
        filter=read_condition(draft, block, "filter", inside),
        mode=block.choice("mode", COLLECTION_MODES) or "parallel",
        batch=block.integer("batch", 1, _MOST_CHILDREN),
        strategy=block.choice("strategy", CHILD_STRATEGIES) or "wait_all",
        max_parallel=block.integer("max_parallel", 1, MOST_PARALLEL),
        min_success=block.integer("min_success", 1, _MOST_CHILDREN),
    )


def _checked_item_names(block: Block) -> tuple[str, str]:
    names: list[str] = []
    for key, default in _ITEM_NAMES.items():
        name = block.text(key) if block.has(key) else None
        if name is not None and _VARIABLE.fullmatch(name) is None:
            hint = "letters, digits and _, the first a letter or _, at most 128"
            block.fault("E124", key, f"{name[:40]!r} cannot be a name in expressions", hint)
        elif name in _TAKEN:
            block.fault("E136", key, f"{name!r} means something else in expressions", "choose another name")
        names.append(name or default)
    if names[0] == names[1]:
        key = "index_var" if block.has("index_var") else "item_var"
        block.fault("E133", key, f"the item and its number are both called {names[0]!r}")
    return names[0], names[1]


def _read_router(opened: Opened) -> RouterSpec:
    draft, block = opened.draft, opened.block
    if not block.has("condition"):
        block.own_fault("E122", "does not say what it chooses by", "add condition:")
    condition = read_choice(draft, block, "condition", opened.scope)
    routes = _read_routes(opened)
    default = block.name("default") if block.has("default") else None
    if default is not None:
        note_jump(opened.scope, default, block, "default")
    if condition is not None and not block.has("default"):
        _check_constant(block, condition, routes)
    return RouterSpec(condition=condition or "", routes=routes, default=default)


def _read_routes(opened: Opened) -> dict[str, TaskId]:
    block = opened.block
    if not block.has("routes"):
        block.own_fault("E122", "a router needs routes", "add routes: {VALUE: TASK}")
        return {}
    fields = block.block("routes")
    if fields is None:
        return {}
    if not fields.node:
        block.fault("E123", "routes", "must not be empty")
    routes: dict[str, TaskId] = {}
    for value in fields.node:
        target = fields.name(value)
        if target is not None:
            routes[value] = target
            note_jump(opened.scope, target, fields, value)
    return routes


def _check_constant(block: Block, condition: str, routes: Mapping[str, TaskId]) -> None:
    value = constant_of(condition)
    if value is not UNKNOWN and routes and route_key(value) not in routes:
        shown = ", ".join(list(routes)[:10])
        block.fault(
            "E139",
            "condition",
            f"is always {route_key(value):.40}, and no route is for that",
            f"add default:, or a route for it beside {shown}",
        )


def _read_wait(opened: Opened) -> WaitSpec:
    draft, block, scope = opened.draft, opened.block, opened.scope
    if not any(map(block.has, ("signal", "until", "for"))):
        block.own_fault("E122", "nothing can end this wait", "add signal:, until: or for:")
    if block.has("condition") and not block.has("signal"):
        block.key_fault(
            "E122", "condition", "is asked of a signal, and it waits for none", "add signal: NAME"
        )
    if block.has("on_timeout") and not _has_timeout(block):
        block.key_fault("E122", "on_timeout", "this wait has no timeout", "add timeout:")
    return WaitSpec(
        signal=_read_signal_name(block),
        until=_read_until(opened),
        seconds=block.duration("for"),
        condition=read_condition(draft, block, "condition", scope.knowing("signal")),
        on_timeout=read_transition(draft, block, "on_timeout", scope) if block.has("on_timeout") else None,
    )


def _has_timeout(block: Block) -> bool:
    on_error = block.node.get("on_error")
    in_on_error = isinstance(on_error, MapNode) and "deadline" in on_error
    return in_on_error or block.has("timeout") or block.has("deadline")


def _read_signal_name(block: Block) -> str | None:
    name = block.name("signal") if block.has("signal") else None
    if name is not None and _SIGNAL.fullmatch(name) is None:
        hint = "letters, digits, _, - and ., the first a letter or _; what varies belongs into the payload"
        block.fault("E124", "signal", f"{name[:40]!r} cannot be the name of a signal", hint)
        return None
    return name


def _read_until(opened: Opened) -> str | None:
    """A time of the wall clock by ISO 8601, or a template that gives one."""
    block = opened.block
    text = block.name("until") if block.has("until") else None
    if text is None:
        return None
    if is_template(text):
        opened.draft.note(text, block.mark("until"), block.path_of("until"), opened.scope)
    elif not _is_time(text):
        block.fault(
            "E123", "until", f"{text[:40]!r} is no time", "write 2030-01-31T09:00:00+01:00, or for: 5m"
        )
    return text


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text.strip())
    except ValueError:
        return False
    return True


def _read_signal(opened: Opened) -> SignalSpec:
    draft, block = opened.draft, opened.block
    if not block.has("signal"):
        block.own_fault("E122", "does not say which signal it sends", "add signal: NAME")
    to_all = block.boolean("to_all") or False
    if to_all and block.has("run"):
        block.key_fault("E125", "run", "'run' and 'to_all' both say who gets it; keep one")
    run = block.name("run") if block.has("run") else None
    if run is not None:
        draft.note(run, block.mark("run"), block.path_of("run"), opened.scope)
    has_payload = block.has("payload")
    return SignalSpec(
        signal=_read_signal_name(block) or "",
        run=run,
        to_all=to_all,
        payload=read_data(draft, block, "payload", opened.scope) if has_payload else None,
    )


def _read_aggregate(opened: Opened) -> AggregateSpec:
    if not opened.block.has("outputs"):
        opened.block.own_fault("E122", "does not say what it gives", "add outputs:")
    return AggregateSpec()


def _read_composite(opened: Opened) -> CompositeSpec:
    block = opened.block
    if not block.has("uses"):
        return CompositeSpec(tasks=_tasks(opened))
    if block.has("tasks"):
        block.key_fault("E125", "tasks", "'uses' says already what runs inside; keep one")
    if refuse_untrusted(opened.draft, block, "uses", "E207", "files"):
        return CompositeSpec()
    return CompositeSpec(uses=read_path(block, "uses"))


_READERS: Final[Mapping[TaskType, _Read]] = {
    "parallel": _read_parallel,
    "collection": _read_collection,
    "router": _read_router,
    "wait": _read_wait,
    "signal": _read_signal,
    "aggregate": _read_aggregate,
    "composite": _read_composite,
}
