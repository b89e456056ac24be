"""The JSON Schema of a workflow file, for editors: a walk over the classes of the surface.

It describes our own format, in the draft 2020-12, and says less than the loader checks: what it refuses, the loader
refuses too, and whether names, edges and templates are good only the loader can tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from actorflow.spec.compat.words import (
    AGENT_OPTIONS,
    ENTRY_ASIDE,
    STEP_ASIDE,
    TASK_ASIDE,
    TASK_OPTIONS,
    WORKFLOW_ASIDE,
)
from actorflow.spec.model import InputType
from actorflow.spec.surface import (
    PARAMS_OF,
    Agent,
    Entry,
    Hook,
    Input,
    ListedTask,
    OneTask,
    Stage,
    Task,
    WorkflowFile,
    keys_of,
    types_of,
)
from actorflow.spec.surface.forms import Form

__all__ = ["workflow_schema"]

Schema: TypeAlias = dict[str, Any]

_TYPES: Final = {str: "string", bool: "boolean", int: "integer", float: "number", NoneType: "null"}
_WORD_START: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_OF_ANOTHER_TOOL: Final = "Of another tool: handed to the agent, or set aside."
_TASK_TOOL_KEYS: Final = TASK_OPTIONS | TASK_ASIDE
_TOOL_KEYS: Final[Mapping[type[Any], frozenset[str]]] = {
    WorkflowFile: WORKFLOW_ASIDE,
    OneTask: WORKFLOW_ASIDE | _TASK_TOOL_KEYS,
    Task: _TASK_TOOL_KEYS,
    ListedTask: _TASK_TOOL_KEYS,
    Agent: AGENT_OPTIONS,
    Entry: ENTRY_ASIDE,
    Stage: STEP_ASIDE,
}
"""What such mappings may have besides our own keys; that tool's other spellings an editor need not know."""


def workflow_schema() -> Schema:
    """The schema of a whole file: a workflow, or one task that is a workflow."""
    walk = _Walk()
    one_task, whole = walk.schema_of(OneTask), walk.schema_of(WorkflowFile)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "actorflow workflow",
        "type": "object",
        "if": {
            "required": ["id"],
            "anyOf": _required_each(("type", "action")),
            "not": {"required": ["tasks"]},
        },
        "then": one_task,
        "else": whole,
        "$defs": dict(sorted(walk.definitions.items())),
    }


class _Walk:
    """From types to schemas; what has a name is defined once, and referred to."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}

    def schema_of(self, kind: Any) -> Schema:
        """The schema of a type as it stands in an annotation."""
        origin, parts = get_origin(kind), get_args(kind)
        if origin is Annotated:
            return self._form(parts[0], parts[1])
        if origin in {Union, UnionType}:
            return {"anyOf": [self.schema_of(part) for part in parts]}
        if origin is Literal:
            return {"enum": list(parts)}
        if origin is list:
            return {"type": "array", "items": self.schema_of(parts[0])}
        if origin is dict:
            return self._dictionary(*parts)
        if kind is Any:
            return {}
        return {"type": _TYPES[kind]} if kind in _TYPES else self._mapping(kind)

    def _form(self, kind: Any, form: Form) -> Schema:
        schema = self.schema_of(kind) | form.keywords
        if not form.name:
            return schema
        self.definitions[form.name] = schema
        return _reference(form.name)

    def _dictionary(self, key: Any, value: Any) -> Schema:
        schema: Schema = {"type": "object", "additionalProperties": self.schema_of(value)}
        return schema if key is str else schema | {"propertyNames": self.schema_of(key)}

    def _mapping(self, surface: type[Any]) -> Schema:
        name = surface.__name__
        if name not in self.definitions:
            self.definitions[name] = {}  # what refers to itself finds it defined
            self.definitions[name] = self._written_out(surface)
        return _reference(name)

    def _written_out(self, surface: type[Any]) -> Schema:
        hints = get_type_hints(surface, include_extras=True)
        keys = keys_of(surface)
        properties = {
            key: self.schema_of(hints[attribute.name]) | {"description": attribute.metadata["text"]}
            for key, attribute in keys.items()
        }
        others = sorted(_TOOL_KEYS.get(surface, frozenset()) - keys.keys())
        properties |= {key: {"description": _OF_ANOTHER_TOOL} for key in others}
        required = [key for key, attribute in keys.items() if attribute.metadata["must"]]
        rules = [*_choices(surface), *self._rules(surface)]
        return {
            "title": _WORD_START.sub(" ", surface.__name__).lower(),
            "description": surface.__doc__,
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
            **({"required": required} if required else {}),
            **({"allOf": rules} if rules else {}),
        }

    def _rules(self, surface: type[Any]) -> Iterable[Schema]:
        if hasattr(surface, "USUAL_TYPE"):
            yield from _keys_by_type(surface)
        if issubclass(surface, Task):
            yield from _needs_by_type(surface)
        elif surface is Hook:
            for action, params in PARAMS_OF.items():
                needed = ("command", "params") if action == surface.USUAL_TYPE else ("params",)
                fits = {"properties": {"params": self.schema_of(params)}, "anyOf": _required_each(needed)}
                yield {"if": _typed(surface, [action]), "then": fits}
        elif surface is Input:
            for kind in get_args(InputType):
                fits = {"properties": {"default": {"type": kind}, "enum": {"items": {"type": kind}}}}
                yield {"if": _typed(surface, [kind]), "then": fits}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _required_each(keys: Iterable[str]) -> list[Schema]:
    return [{"required": [key]} for key in keys]


def _choices(surface: type[Any]) -> Iterable[Schema]:
    """Which keys exclude each other, and of which there must be one."""
    if hasattr(surface, "ONE_OF"):
        yield {"oneOf": _required_each(surface.ONE_OF)}
    if hasattr(surface, "AT_MOST_ONE"):
        ways = _required_each(surface.AT_MOST_ONE)
        yield {"oneOf": [*ways, {"not": {"anyOf": ways}}]}
    if hasattr(surface, "AT_LEAST_ONE"):
        yield {"anyOf": _required_each(surface.AT_LEAST_ONE)}
    for keys in getattr(surface, "APART", ()):
        yield {"not": {"required": list(keys)}}
    if hasattr(surface, "BRINGS"):
        yield {"dependentRequired": {key: list(others) for key, others in surface.BRINGS.items()}}


def _typed(surface: type[Any], words: Iterable[str]) -> Schema:
    """What holds of a mapping whose `type` is one of some words, said or understood."""
    words = list(words)
    condition: Schema = {"properties": {"type": {"enum": words}}}
    return condition if surface.USUAL_TYPE in words else condition | {"required": ["type"]}


def _keys_by_type(surface: type[Any]) -> Iterable[Schema]:
    """The keys that only some types have, refused in all others."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for key, attribute in keys_of(surface).items():
        groups.setdefault(types_of(attribute), []).append(key)
    for types, keys in groups.items():
        if types:
            yield {"if": _typed(surface, types), "else": {"properties": dict.fromkeys(keys, False)}}


def _needs_by_type(surface: type[Task]) -> Iterable[Schema]:
    for kind, groups in surface.NEEDS.items():
        needed = {"allOf": [{"anyOf": _required_each(group)} for group in groups]}
        yield {"if": _typed(surface, [kind]), "then": needed}
