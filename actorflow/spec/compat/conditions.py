"""Conditions written as trees: one expression of ours, and the edges that its reading needs.

    and: [{type: task_status, task: tests, status: completed}, {not: {type: state_equals, key: env, value: prod}}]

A task whose status is read must have ended. Its edge becomes `on: always`, as the condition and not the edge decides
then; but where nothing else than its success will do, the edge that is there is kept.

A state is what a task's loop collected under that name (`result_key`), or else the run's input of that name. In the
conditions of a loop it is a field of what its last task gave in the last iteration, unless an input is declared for
it. Where it can be none of these, nothing ever sets it; as long as it is not there, no comparison with it holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Final

from actorflow.spec.compat.places import Place
from actorflow.spec.compat.spellings import expression_of
from actorflow.spec.text.nodes import ListNode, MapNode, Node

__all__ = ["expression"]

_STATUSES: Final = {"completed": "success", "failed": "failed", "skipped": "skipped"}
_NEVER_SEEN: Final = ("running", "pending")
_OPERATORS: Final = {
    "equals": "==",
    "not_equals": "!=",
    "greater_than": ">",
    "less_than": "<",
    "contains": "in",
}
_GUARDED: Final = (">", "<", "in")
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VARIABLE: Final = re.compile(r"\$\{\s*([\w.-]+)\s*\}|\{\{\s*([\w.-]+)\s*\}\}")


def expression(condition: Node, place: Place) -> str | None:
    """The text of an expression for a condition; None where it is none of that tool's shapes."""
    return _any(condition, place, is_must=True)


def _any(condition: Node, place: Place, *, is_must: bool) -> str | None:
    if not isinstance(condition, MapNode):
        return None
    for key, read in _TREES.items():
        if key in condition and len(condition) == 1:
            return read(condition[key], place, is_must)
    if "state_key" in condition:
        return _compared(condition, place)
    kind = condition.get("type")
    leaf = _LEAVES.get(kind) if isinstance(kind, str) else None
    return None if leaf is None else leaf(condition, place, is_must)


def _all_of(items: Node, place: Place, is_must: bool) -> str | None:
    return _joined(items, " and ", place, is_must=is_must)


def _any_of(items: Node, place: Place, _is_must: bool) -> str | None:
    return _joined(items, " or ", place, is_must=False)


def _not(item: Node, place: Place, _is_must: bool) -> str | None:
    text = _any(item, place, is_must=False)
    return None if text is None else f"not ({text})"


def _joined(items: Node, word: str, place: Place, *, is_must: bool) -> str | None:
    if not isinstance(items, ListNode) or not items:
        return None
    texts = [_any(item, place, is_must=is_must) for item in items]
    known = [text for text in texts if text is not None]
    if len(known) < len(texts):
        return None
    return known[0] if len(known) == 1 else word.join(f"({text})" for text in known)


def _task_status(leaf: MapNode, place: Place, is_must: bool) -> str | None:
    task, status = leaf.get("task"), leaf.get("status")
    if not isinstance(task, str) or not isinstance(status, str):
        return None
    if status in _NEVER_SEEN:
        place.file.aside.note_text(
            f"a task that is waited for is never {status}: the condition is false", leaf.mark
        )
        return "false"
    if status not in _STATUSES:
        return None
    place.wish(task, leaf.marks.get("task", leaf.mark), whatever=not (is_must and status == "completed"))
    return f"tasks.{task}.status == '{_STATUSES[status]}'"


def _state_equals(leaf: MapNode, place: Place, _is_must: bool) -> str | None:
    return _state_compared(leaf, "key", "==", place)


def _compared(leaf: MapNode, place: Place) -> str | None:
    operator = leaf.get("operator", "equals")
    if operator == "exists":
        return _state_exists(leaf, place, True)
    sign = _OPERATORS.get(operator) if isinstance(operator, str) else None
    return None if sign is None else _state_compared(leaf, "state_key", sign, place)


def _state_compared(leaf: MapNode, name: str, sign: str, place: Place) -> str | None:
    key = leaf.get(name)
    if not isinstance(key, str):
        return None
    state = _state(key, leaf, place)
    if state is None:
        return "false"
    value = _constant(leaf.get("value"), leaf, place)
    if sign in _GUARDED:
        test = f"{value} in {state}" if sign == "in" else f"{state} {sign} {value}"
        return f"{state} != null and {test}"
    return f"{state} {sign} {value}"


def _state_exists(leaf: MapNode, place: Place, _is_must: bool) -> str | None:
    key = leaf.get("key", leaf.get("state_key"))
    if not isinstance(key, str):
        return None
    state = _state(key, leaf, place)
    return "false" if state is None else f"{state} != null"


def _state(key: str, leaf: MapNode, place: Place) -> str | None:
    """A state as an expression that is null as long as nothing has set it; None, and a warning, where nothing can."""
    source, declared = place.file.states.get(key), place.file.inputs
    at = f".{key}" if _PLAIN.fullmatch(key) else f"[{json.dumps(key)}]"
    if source is not None and source != place.task:
        place.wish(source, leaf.mark, whatever=True)
        return f"(tasks.{source}.output | default(null))"
    if declared is not None and key in declared:
        return f"(input{at} | default(null))"
    if place.last:
        return f"({place.last}{at} | default(null))"
    if declared is None:
        return f"(input{at} | default(null))"
    place.file.aside.note_text(f"nothing sets the state {key!r}: a condition on it is false", leaf.mark)
    return None


def _always(_leaf: MapNode, _place: Place, _is_must: bool) -> str:
    return "true"


def _never(_leaf: MapNode, _place: Place, _is_must: bool) -> str:
    return "false"


def _constant(value: Node, leaf: MapNode, place: Place) -> str:
    if isinstance(value, str) and (found := _VARIABLE.fullmatch(value)):
        text = expression_of(found[1] or found[2], leaf.mark, place)
        if text is not None:
            return text
    return json.dumps(value, ensure_ascii=False, default=str)


_TREES: Final[Mapping[str, Callable[[Node, Place, bool], str | None]]] = {
    "and": _all_of,
    "or": _any_of,
    "not": _not,
}
_LEAVES: Final[Mapping[str, Callable[[MapNode, Place, bool], str | None]]] = {
    "task_status": _task_status,
    "state_equals": _state_equals,
    "state_exists": _state_exists,
    "always": _always,
    "never": _never,
}
