"""The keys that a task of any type may have and that stand for themselves, each with its reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from attrs import frozen

from actorflow.spec.model import TaskType
from actorflow.spec.readers.actions import read_notice
from actorflow.spec.readers.agents import read_options
from actorflow.spec.readers.block import Block
from actorflow.spec.readers.draft import Draft, Scope, read_data
from actorflow.spec.readers.edges import read_transition
from actorflow.spec.readers.expressions import read_condition
from actorflow.spec.readers.hooks import read_hook_lists
from actorflow.spec.readers.loops import read_loop
from actorflow.spec.readers.runners import read_env
from actorflow.spec.readers.words import ON_COMPLETE
from actorflow.spec.text.nodes import MapNode

__all__ = ["Scopes", "read_facts"]

_MOST_PRIORITY: Final = 1_000_000


@frozen(eq=False)
class Scopes:
    """What the templates of one task may read."""

    type: TaskType
    task: Scope  #: before it starts
    work: Scope  #: for each attempt: an item and an iteration are known too

    @property
    def secret(self) -> Scope:
        """For what is rendered when an attempt starts, and never written down."""
        return Scope("task", self.work.level, self.work.task, secrets=True, names=self.work.names)

    @property
    def after(self) -> Scope:
        """When it has succeeded."""
        return Scope("after", self.task.level, self.task.task, names=self.task.names)


def read_facts(draft: Draft, block: Block, scopes: Scopes) -> dict[str, Any]:
    """The fields of the task that its keys give; those that were reported are missing."""
    values: dict[str, Any] = {}
    for key in block.node:
        if key in _READERS:
            name, read = _READERS[key]
            value = read(draft, block, key, scopes)
            if value is not None:
                values[name] = value
    if block.has("on_complete"):
        values |= _read_on_complete(draft, block, scopes)
    return values


_Read: TypeAlias = Callable[[Draft, Block, str, Scopes], object]


def _text(_draft: Draft, block: Block, key: str, _scopes: Scopes) -> str | None:
    return block.text(key)


def _boolean(_draft: Draft, block: Block, key: str, _scopes: Scopes) -> bool | None:
    return block.boolean(key)


def _duration(_draft: Draft, block: Block, key: str, _scopes: Scopes) -> float | None:
    return block.duration(key)


def _priority(_draft: Draft, block: Block, key: str, _scopes: Scopes) -> int | None:
    return block.integer(key, -_MOST_PRIORITY, _MOST_PRIORITY)


def _mapping(draft: Draft, block: Block, key: str, scope: Scope | None) -> dict[str, object] | None:
    values = block.block(key)
    return None if values is None else {name: read_data(draft, values, name, scope) for name in values.node}


def _outputs(draft: Draft, block: Block, key: str, scopes: Scopes) -> dict[str, object] | None:
    """Over the task's own output; an aggregate has none, and reads the tasks before it."""
    return _mapping(draft, block, key, scopes.task if scopes.type == "aggregate" else scopes.after)


def _read_on_complete(draft: Draft, block: Block, scopes: Scopes) -> dict[str, Any]:
    fields = block.block("on_complete")
    if fields is None:
        return {}
    fields.allow(ON_COMPLETE)
    value = fields.node.get("notify")
    if isinstance(value, MapNode):
        notice = Block(value, fields.path_of("notify"), fields.report)
        said = read_notice(draft, notice, scopes.after)
        message = said.pop("message", None)
        return {"notify": message if isinstance(message, str) else "", "notice": said}
    text = fields.text("notify")
    if text is not None:
        draft.note(text, fields.mark("notify"), fields.path_of("notify"), scopes.after)
    return {"notify": text}


_READERS: Final[Mapping[str, tuple[str, _Read]]] = {
    "description": ("description", _text),
    "with": ("with_", lambda draft, block, key, scopes: _mapping(draft, block, key, scopes.work)),
    "env": ("env", lambda draft, block, _key, scopes: read_env(draft, block, scopes.secret)),
    "outputs": ("outputs", _outputs),
    "sleep": ("sleep", _duration),
    "when": ("when", lambda draft, block, key, scopes: read_condition(draft, block, key, scopes.task)),
    "on_success": (
        "on_success",
        lambda draft, block, key, scopes: read_transition(draft, block, key, scopes.after),
    ),
    "hooks": (
        "hooks",
        lambda draft, block, _key, scopes: read_hook_lists(draft, block, scopes.task.level, scopes.task.task),
    ),
    "loop": ("loop", lambda draft, block, _key, scopes: read_loop(draft, block, scopes.work)),
    "priority": ("priority", _priority),
    "metadata": ("metadata", lambda draft, block, key, _scopes: _mapping(draft, block, key, None)),
    "options": ("options", lambda draft, block, _key, _scopes: read_options(draft, block)),
    "soft_errors": ("soft_errors", _boolean),
    "idempotent": ("idempotent", _boolean),
    "sensitive": ("sensitive", _boolean),
    "allow_transform": ("allow_transform", _boolean),
}
"""By key: the field of the task, and what reads it."""
