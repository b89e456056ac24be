"""A checked definition as canonical JSON and back: what a journal keeps, and what it is known by.

The JSON is the model, class by class and field by field, and a field that has its default is left out: a task costs what
its file says of it. The defaults therefore belong to the format. Whoever changes one, or the model in any way that old
JSON would read differently, raises `FORMAT` and teaches `_in_present_form` what the older definitions mean; a test holds
the defaults to those of the number.
"""

from __future__ import annotations

import hashlib
import json
import types
import typing
import weakref
from collections.abc import Callable, Hashable, Mapping
from functools import cache
from typing import Any, Final, TypeAlias, Union, cast

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

__all__ = ["FORMAT", "digest", "from_json", "spec_definition", "to_json"]

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
        return _reader()(data, WorkflowSpec)
    except Exception as error:  # each part that reads has errors of its own
        msg = f"this is not a stored definition: {error!r}"
        raise ValueError(msg) from error


def digest(body: bytes) -> str:
    """The name of a definition: the SHA-256 of its canonical JSON, in hexadecimal."""
    return hashlib.sha256(body).hexdigest()


_known: dict[int, tuple[weakref.ref[WorkflowSpec], str, bytes]] = {}


def spec_definition(spec: WorkflowSpec) -> tuple[str, bytes]:
    """The digest and canonical JSON of a definition, worked out once for as long as the object lives."""
    key = id(spec)
    known = _known.get(key)
    if known is not None and known[0]() is spec:
        return known[1:]
    body = to_json(spec)
    name = digest(body)
    _known[key] = (weakref.ref(spec, lambda gone: _forget(key, gone)), name, body)
    return name, body


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
    return tuple((each.name, _key(each.name), _default(each)) for each in fields(cast("type[Any]", kind)))


def _key(name: str) -> str:
    return name.rstrip("_")  # a field cannot be called `with` or `while`


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


_Read: TypeAlias = Callable[[Any, Any], Any]


@cache
def _reader() -> Callable[[Any, type[WorkflowSpec]], WorkflowSpec]:
    """The function that makes the model of plain data; built once, in some 20 ms, and only where one is needed."""
    from cattrs import Converter  # noqa: PLC0415 - a run that starts afresh does without
    from cattrs.gen import make_dict_structure_fn, override  # noqa: PLC0415

    converter = Converter(forbid_extra_keys=True, detailed_validation=False)

    def of_class(kind: type[Any]) -> _Read:
        attrs.resolve_types(kind)
        overrides = {each.name: override(rename=_key(each.name)) for each in fields(kind)}
        if kind is CollectionSpec:
            overrides["items"] = override(struct_hook=items)
        make = cast(
            "Callable[..., _Read]", make_dict_structure_fn
        )  # its options and the overrides share one `**`
        return make(
            kind, converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=False, **overrides
        )

    def of_tuple(kind: Any) -> _Read:
        item = typing.get_args(kind)[0]
        read = converter.get_structure_hook(item, cache_result=False)
        return lambda values, _: tuple([read(value, item) for value in values])

    def of_optional(kind: Any) -> _Read:
        inner = cast("Any", Union)[
            tuple(each for each in typing.get_args(kind) if each is not types.NoneType)
        ]
        read = converter.get_structure_hook(inner, cache_result=False)
        return lambda value, _: None if value is None else read(value, inner)

    def container(data: _Json, _: object) -> Container:
        return converter.structure(data, _CONTAINERS[data.pop(_KIND)])

    def runner(data: _Json, _: object) -> Runner:
        return converter.structure(data, next(kind for key, kind in _RUNNERS.items() if key in data))

    def items(data: Any, _: object) -> Any:
        return converter.structure(data, FileItems) if isinstance(data, dict) else data

    converter.register_structure_hook_factory(attrs.has, of_class)
    converter.register_structure_hook_factory(_is_tuple, of_tuple)
    converter.register_structure_hook_factory(_is_optional, of_optional)
    for scalar in (str, int, float, bool):
        converter.register_structure_hook(scalar, _as_it_is(scalar))
    converter.register_structure_hook_func(lambda kind: kind == Mapping[str, Any], _as_it_is(dict))
    converter.register_structure_hook_func(_is_union_of(*_CONTAINERS.values()), container)
    converter.register_structure_hook_func(_is_union_of(*_RUNNERS.values()), runner)
    converter.register_structure_hook_func(_is_union_of(str, tuple[str, ...]), _word_or_words)
    converter.register_structure_hook_func(_is_union_of(str, int), lambda value, _: value)
    return converter.structure


def _is_tuple(kind: Any) -> bool:
    return typing.get_origin(kind) is tuple


def _is_optional(kind: Any) -> bool:
    return _is_union(kind) and types.NoneType in typing.get_args(kind)


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in {Union, types.UnionType}


_PLAIN: Final[Mapping[type, tuple[type, ...]]] = {float: (float, int)}


def _as_it_is(kind: type) -> _Read:
    """Take a value of the right type, and turn none into another."""
    allowed = _PLAIN.get(kind, (kind,))

    def read(value: Any, _: object) -> Any:
        if type(value) in allowed:
            return value
        msg = f"{type(value).__name__} where {kind.__name__} is expected"
        raise TypeError(msg)

    return read


def _word_or_words(value: Any, _: object) -> str | tuple[str, ...]:
    return value if isinstance(value, str) else tuple(value)


def _is_union_of(*kinds: object) -> Callable[[Any], bool]:
    """Whether a type is the union of these."""
    wanted = frozenset(kinds)
    return lambda kind: _is_union(kind) and frozenset(typing.get_args(kind)) == wanted
