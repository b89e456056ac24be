"""Variables in texts: `${task.fetch.rows}`, `{{fruit}}`, `${loop.index}`, `${agent.depth}`, `${secret.key}`.

What our templates read by themselves (`${workflow.x}`, `${task.x.output}`) is left to them, and so is what neither they
nor that tool know: the loader's message is better. What only that tool could know (`${group.x.y}`) stays as literal text,
with a warning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from attrs import frozen

from actorflow.spec.compat.places import Place
from actorflow.spec.text.nodes import BROKEN, ListNode, MapNode, Mark, Node

__all__ = ["OWN_FIELDS", "expression_of", "may_be_theirs", "respelled"]

_NAME: Final = r"[A-Za-z_]\w*(?:\.[A-Za-z_][\w-]*)*"
_VARIABLE: Final = re.compile(
    r"\$\$|\{\{\s*\"[^\"]*\"\s*\}\}"  # a dollar sign, and a literal text: passed over
    rf"|(?<!\$)\$\{{\s*(?P<dollar>{_NAME})\s*\}}|\{{\{{\s*(?P<brace>{_NAME})\s*\}}\}}"
)
_FIELDS: Final = frozenset({"output", "status", "error", "attempts"})
OWN_FIELDS: Final = frozenset({"id", "type", "status", "attempt", "error", "duration_ms", "input"})
"""What `task.…` reads of the task itself, in our templates."""

_COUNTERS: Final = frozenset({"iteration", "index"})


@frozen
class _Value:
    """A variable that is known before the run."""

    value: Node


@frozen
class _Literal:
    """A variable that means nothing here."""


_Meaning: TypeAlias = str | _Value | _Literal | None
"""An expression; a value; literal text; or None: as it stands."""


def may_be_theirs(node: Node) -> bool:
    """Whether a text in a value may hold a variable of that tool; outside of its loops, whose variables have any name.

    It costs next to nothing, so that a file of ours is not rewritten text by text to find that nothing changes.
    """
    pending = [node]
    for part in pending:  # grows while it is read
        if isinstance(part, str):
            if "{" in part and _MAY_BE_THEIRS.search(part) is not None:
                return True
        elif isinstance(part, MapNode):
            pending.extend(part.values())
        elif isinstance(part, ListNode):
            pending.extend(part)
    return False


def respelled(node: Node, mark: Mark, place: Place) -> Node:
    """A value whose texts are templates, with that tool's variables spelled as ours; itself where nothing changes."""
    match node:
        case str():
            return _respelled_text(node, mark, place) if "${" in node or "{{" in node else node
        case MapNode():
            return _respelled_mapping(node, place)
        case ListNode():
            items = [respelled(item, at, place) for item, at in zip(node, node.marks, strict=True)]
            if all(new is old for new, old in zip(items, node, strict=True)):
                return node
            copy = ListNode(node.mark)
            for item, at in zip(items, node.marks, strict=True):
                copy.put(item, at)
            return copy
        case _:
            return node


def _respelled_mapping(node: MapNode, place: Place) -> MapNode:
    changes = {
        key: changed
        for key, value in node.items()
        if (changed := respelled(value, node.marks.get(key, node.mark), place)) is not value
    }
    if not changes:
        return node
    copy = node.without(())
    copy.update(changes)
    return copy


def expression_of(name: str, mark: Mark, place: Place) -> str | None:
    """The expression that a dotted name stands for; None where it is none."""
    meaning = _meaning(tuple(name.split(".")), mark, place, is_dollar=False)
    return meaning if isinstance(meaning, str) else None


def _respelled_text(text: str, mark: Mark, place: Place) -> Node:
    filling = place.file.growth.filling(mark)

    def replaced(found: re.Match[str]) -> str:
        name = found["dollar"] or found["brace"]
        if name is None:
            return found[0]
        meaning = _meaning(tuple(name.split(".")), mark, place, is_dollar=found["dollar"] is not None)
        match meaning:
            case None:
                return found[0]
            case str():
                return "{{ " + meaning + " }}"
            case _Value(value):
                return _as_text(value) if filling.takes(value) else ""
            case _:
                return _kept_literal(found[0], mark, place)

    whole = _VARIABLE.fullmatch(text)
    if whole is not None and (name := whole["dollar"] or whole["brace"]):
        meaning = _meaning(tuple(name.split(".")), mark, place, is_dollar=whole["dollar"] is not None)
        if isinstance(meaning, _Value):
            return meaning.value if filling.takes(meaning.value) else BROKEN
    changed = _VARIABLE.sub(replaced, text)
    if filling.is_refused:
        return BROKEN
    return text if changed == text else changed


def _as_text(value: Node) -> str:
    """A value as it reads inside a text: a text is a template already, and stays one."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=lambda _broken: None)


def _kept_literal(written: str, mark: Mark, place: Place) -> str:
    place.file.aside.note_text(f"{written} means nothing here and stays as it is written", mark)
    return f"${written}" if written.startswith("$") else '{{ "' + written + '" }}'


def _meaning(path: tuple[str, ...], mark: Mark, place: Place, *, is_dollar: bool) -> _Meaning:
    root, *rest = path
    if root in place.names:
        return ".".join([place.names[root], *rest])
    if not rest:
        return _bare(root, place, is_dollar=is_dollar)
    read = _ROOTS.get(root)
    return None if read is None else read(path, mark, place)


def _bare(name: str, place: Place, *, is_dollar: bool) -> _Meaning:
    if name in _COUNTERS and place.names:
        return "index"
    if is_dollar and name in place.values:
        return _Value(place.values[name])
    if is_dollar and place.file.inputs is not None and name in place.file.inputs:
        return f"input.{name}"
    return None


def _of_loop(path: tuple[str, ...], _mark: Mark, place: Place) -> _Meaning:
    if path[1] in place.names:
        return ".".join([place.names[path[1]], *path[2:]])
    return "index" if path[1] in _COUNTERS and place.names else _Literal()


def _of_task(path: tuple[str, ...], mark: Mark, place: Place) -> _Meaning:
    """Of `task.x`: a variable of the loop, or of another task's results; of `task.t.x`: what that task gave back."""
    name, rest = path[1], path[2:]
    if name in place.names:
        return ".".join([place.names[name], *rest])
    if name == "iteration" and place.names:
        return "index"
    if rest:
        if name in OWN_FIELDS or rest[0] in _FIELDS or not place.knows(name):
            return None
        place.wish(name, mark)
        return ".".join(("tasks", name, "output", *rest))
    source = place.file.results.get(name)
    if source is None or name in OWN_FIELDS or source == place.task:
        return None
    place.wish(source, mark)
    return f"tasks.{source}.output.{name}"


def _of_agent(path: tuple[str, ...], _mark: Mark, place: Place) -> _Meaning:
    defaults = place.file.agents.get(place.agent or "", {})
    return _Value(defaults[path[1]]) if path[1:] and path[1] in defaults else _Literal()


def _of_state(path: tuple[str, ...], mark: Mark, place: Place) -> _Meaning:
    task = place.file.states.get(path[1])
    if task is not None and task != place.task:
        place.wish(task, mark)
        return ".".join(("tasks", task, "output", *path[2:]))
    if place.file.inputs is not None and path[1] in place.file.inputs:
        return ".".join(("input", *path[1:]))
    return _Literal()


def _of_subflow(path: tuple[str, ...], _mark: Mark, place: Place) -> _Meaning:
    if path[1] in place.values:
        return _Value(place.values[path[1]])
    return None if path[0] == "workflow" else _Literal()


def _of_secret(path: tuple[str, ...], _mark: Mark, _place: Place) -> _Meaning:
    return f"secrets.{path[1]}"


def _of_nothing(_path: tuple[str, ...], _mark: Mark, _place: Place) -> _Meaning:
    return _Literal()


_ROOTS: Final[Mapping[str, Callable[[tuple[str, ...], Mark, Place], _Meaning]]] = {
    "loop": _of_loop,
    "task": _of_task,
    "agent": _of_agent,
    "state": _of_state,
    "subflow": _of_subflow,
    "workflow": _of_subflow,
    "secret": _of_secret,
    "group": _of_nothing,
    "metadata": _of_nothing,
}
_MAY_BE_THEIRS: Final = re.compile(
    rf"\$\{{\s*(?:\w+\s*\}}|(?:{'|'.join(_ROOTS)})\.)|\{{\{{\s*(?:{'|'.join(_ROOTS)})\."
)
"""`${name}` alone, and names under a root of that tool: no other text changes, unless a loop names a variable."""
