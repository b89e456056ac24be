"""A checked definition as canonical JSON and back: what a journal keeps, and what it is known by.

The JSON is the model, class by class and field by field, and a field that has its default is left out: a task costs what
its file says of it. The defaults therefore belong to the format. Whoever changes one, or the model in any way that old
JSON would read differently, raises `FORMAT` and teaches `_in_present_form` what the older definitions mean; a test holds
the defaults to those of the number.
"""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Callable, Hashable, Mapping
from functools import cache
from typing import Any, Final, TypeAlias, cast

import attrs
from attrs import fields

from actorflow.spec.model import (
    AggregateSpec,
    CollectionSpec,
    CommandRunner,
    CompositeSpec,
    Container,
    FileItems,
    HttpRunner,
    ParallelSpec,
    PythonRunner,
    RouterSpec,
    Runner,
    ScriptRunner,
    SignalSpec,
    WaitSpec,
    WorkflowSpec,
)
from actorflow.spec.structuring import Forms, key_of

__all__ = ["FORMAT", "digest", "from_json", "remember_definition", "spec_definition", "to_json"]

FORMAT: Final = 2
"""The number of this way of writing, kept under `format`; definitions without one are of the first."""

_Json: TypeAlias = dict[str, Any]

_KIND: Final = "kind"  # what tells the containers apart
_CONTAINERS: Final[Mapping[str, type[Container]]] = {
    "parallel": ParallelSpec,
    "collection": CollectionSpec,
    "router": RouterSpec,
    "wait": WaitSpec,
    "signal": SignalSpec,
    "aggregate": AggregateSpec,
    "composite": CompositeSpec,
}
_KINDS: Final = {kind: word for word, kind in _CONTAINERS.items()}
_RUNNERS: Final[Mapping[str, type[Runner]]] = {
    "path": PythonRunner,
    "command": CommandRunner,
    "language": ScriptRunner,
    "url": HttpRunner,
}
"""The key that only this runner has, and always has."""


def to_json(spec: WorkflowSpec) -> bytes:
    """Write a definition as canonical JSON: the same bytes for equal definitions.

    Raises:
        ValueError: a number in it is no JSON: infinite, or not a number.
    """
    text = json.dumps(
        {"format": FORMAT, **_written(spec)},
        default=_written,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )
    return text.encode()


def from_json(body: bytes) -> WorkflowSpec:
    """Read what `to_json` of this or an earlier version wrote: the inverse of it.

    Raises:
        ValueError: for anything else, and for a definition of a later version.
    """
    try:
        data = _in_present_form(json.loads(body))
        spec: WorkflowSpec = _FORMS.of(WorkflowSpec).read(data)
    except Exception as error:  # each part that reads has errors of its own
        msg = f"this is not a stored definition: {error!r}"
        raise ValueError(msg) from error
    return spec


def digest(body: bytes) -> str:
    """The name of a definition: the SHA-256 of its canonical JSON, in hexadecimal."""
    return hashlib.sha256(body).hexdigest()


_known: dict[int, tuple[weakref.ref[WorkflowSpec], str, bytes]] = {}


def spec_definition(spec: WorkflowSpec) -> tuple[str, bytes]:
    """The digest and canonical JSON of a definition, worked out once for as long as the object lives."""
    known = _known.get(id(spec))
    if known is not None and known[0]() is spec:
        return known[1:]
    body = to_json(spec)
    name = digest(body)
    remember_definition(spec, name, body)
    return name, body


def remember_definition(spec: WorkflowSpec, name: str, body: bytes) -> None:
    """Take it as known what `spec_definition` gives for an object that was read from this very JSON, of this format."""
    key = id(spec)
    _known[key] = (weakref.ref(spec, lambda gone: _forget(key, gone)), name, body)


def _forget(key: int, gone: weakref.ref[WorkflowSpec]) -> None:
    known = _known.get(key)
    if known is not None and known[0] is gone:  # the id may be another object's by now
        del _known[key]


def _written(part: object) -> _Json:
    """What json asks for when it meets an object of the model, or a mapping that is no dict."""
    if isinstance(part, Mapping):
        return dict(cast("Mapping[str, Any]", part))
    written: _Json = {}
    for name, key, default in _layout(cast("Hashable", type(part))):
        value = getattr(part, name)
        if value is not default and (value != default or type(value) is not type(default)):
            written[key] = value
    if type(part) in _KINDS:
        written[_KIND] = _KINDS[cast("type[Container]", type(part))]
    return written


@cache
def _layout(kind: Hashable) -> tuple[tuple[str, str, object], ...]:
    """Per field: its name, its key, and its default (attrs.NOTHING: it has none, and is always written)."""
    return tuple((each.name, key_of(each.name), _default(each)) for each in fields(cast("type[Any]", kind)))


def _default(attribute: attrs.Attribute[Any]) -> object:
    make: Callable[[], object] | None = getattr(attribute.default, "factory", None)
    return attribute.default if make is None else make()


def _in_present_form(data: _Json) -> _Json:
    """The same definition in the words of this version; `data` may be changed."""
    number = data.pop("format", 1)
    if number == 1:
        data["hooks"] = {"lists": {event: _old_hooks(event, hooks) for event, hooks in data["hooks"].items()}}
    elif number != FORMAT:
        msg = f"it is of format {number!r}, and this version reads up to {FORMAT}"
        raise ValueError(msg)
    return data


def _old_hooks(event: str, hooks: list[_Json]) -> list[_Json]:
    """Hooks from when each was a command, and who waits for it followed from its event alone."""
    policy = {
        "pre_workflow": {"mode": "blocking", "on_error": "fail"},
        "on_stage_complete": {"mode": "async"},
    }
    return [{**hook, **policy.get(event, {"mode": "blocking"})} for hook in hooks]


def _container(data: _Json) -> type[Container]:
    return _CONTAINERS[data.pop(_KIND)]


def _runner(data: _Json) -> type[Runner]:
    return next(kind for key, kind in _RUNNERS.items() if key in data)


_FORMS: Final = Forms(
    unions={Container: _container, Runner: _runner},
    special={(CollectionSpec, "items"): str | list[Any] | FileItems},
)
