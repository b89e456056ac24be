"""The forms of single values in a workflow file, and how the keys of a mapping are written down.

A form is a Python type with what JSON Schema says beyond it; one that has a name is a definition of its own in the schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeAlias, TypeVar

from attrs import Attribute, define, field, fields, frozen

from actorflow.spec.readers.words import HOOK_ACTIONS, RESERVED

__all__ = [
    "ActionName", "AgentId", "Attempts", "Budget", "Command", "Condition", "Count", "Data", "Duration", "Expression",
    "Factor", "Form", "Id", "ImportPath", "Losses", "MetricName", "Name", "Names", "Parallel", "Rate", "Retries",
    "ScriptText", "SecretId", "SignalName", "Statuses", "Template", "Text", "Url", "Variable",
    "VariableName", "VariableOfItem", "VariableOfRun", "VariablesOfRun", "key", "keys_of", "mapping",
    "types_of",
]  # fmt: skip


_Surface = TypeVar("_Surface", bound=type[Any])


def mapping(surface: _Surface) -> _Surface:
    """Declare a kind of mapping; such a class is read, and never made."""
    return define(init=False, repr=False, eq=False, slots=False)(surface)


def key(text: str, *, must: bool = False, of: str = "") -> Any:
    """A key: what it means, whether it must be given, and the `type`s of its mapping that have it, all if none is named."""
    return field(default=None, metadata={"text": text, "must": must, "types": tuple(of.split())})


def keys_of(surface: type[Any]) -> Mapping[str, Attribute[Any]]:
    """The keys of a kind of mapping, as they are written: without the underscore of `with_`."""
    return {attribute.name.rstrip("_"): attribute for attribute in fields(surface)}


def types_of(attribute: Attribute[Any]) -> tuple[str, ...]:
    """The `type`s that have this key; none named: all."""
    types: tuple[str, ...] = attribute.metadata["types"]
    return types


@frozen(eq=False)  # a union of types asks for their hash
class Form:
    """What JSON Schema says of a value beyond its Python type; under `name`, it is defined once and referred to."""

    keywords: dict[str, Any]
    name: str = ""


_NUMBER: Final = r"[0-9]+(?:\.[0-9]+)?"
_UNITS: Final = ("d|days?", "h|hours?", "m|mins?|minutes?", "s|secs?|seconds?", "ms")  # from large to small
_PARTS: Final = "".join(f"(?:{_NUMBER} ?(?:{unit}) ?)?" for unit in _UNITS)
_DURATION: Final = rf"^\s*(?:{_NUMBER}|(?=[0-9]){_PARTS})\s*$"

_END: Final = r"$(?!\n)"  # in some dialects `$` stands before a last line break too
_ID: Final = rf"^[A-Za-z_][A-Za-z0-9_-]{{0,127}}{_END}"

Text: TypeAlias = str
Data: TypeAlias = Any
"""Any value; its texts may hold templates."""

ActionName: TypeAlias = Annotated[
    str,
    Form(
        {
            "anyOf": [{"enum": list(HOOK_ACTIONS)}, {"pattern": rf"^[A-Za-z_][A-Za-z0-9_.-]{{0,127}}{_END}"}],
            "description": "one of these, or an action that the program has registered",
        }
    ),
]
AgentId: TypeAlias = Annotated[
    str, Form({"pattern": _ID, "description": "letters, digits, _ and -"}, "agent_id")
]
Id: TypeAlias = Annotated[
    str,
    Form(
        {
            "pattern": _ID,
            "not": {"enum": sorted(RESERVED)},
            "description": "letters, digits, _ and -; no word of workflow.…",
        },
        "id",
    ),
]
Name: TypeAlias = Annotated[str, Form({"pattern": r"\S"})]
"""A text that names something: not empty."""

Expression: TypeAlias = Name
"""An expression, bare or in `{{ }}`."""

Names: TypeAlias = Name | list[Name]
ImportPath: TypeAlias = Annotated[
    str, Form({"pattern": r"^[^:]+:[^:]+$", "description": "package.module:function"})
]
Template: TypeAlias = Annotated[str, Form({"pattern": "{{"})]
Url: TypeAlias = Annotated[
    str, Form({"pattern": "^(?:[hH][tT][tT][pP][sS]?:|[^:]*[{$])", "maxLength": 8_192})
]
MetricName: TypeAlias = Annotated[str, Form({"pattern": rf"^[A-Za-z_][A-Za-z0-9_.:]{{0,127}}{_END}"})]
SecretId: TypeAlias = Annotated[str, Form({"pattern": rf"^[A-Za-z_][A-Za-z0-9_]*(?:-+[A-Za-z0-9_]+)*{_END}"})]
SignalName: TypeAlias = Annotated[str, Form({"pattern": rf"^[A-Za-z_][A-Za-z0-9_.-]{{0,127}}{_END}"})]
VariableOfItem: TypeAlias = Annotated[str, Form({"pattern": rf"^[A-Za-z_][A-Za-z0-9_]{{0,127}}{_END}"})]
ScriptText: TypeAlias = Annotated[
    str, Form({"pattern": r"\S", "title": "a script's text, opaque to actorflow"})
]
VariableName: TypeAlias = Annotated[str, Form({"pattern": "^[^=\\u0000]+$"})]
VariableOfRun: TypeAlias = Annotated[str, Form({"pattern": rf"^[A-Za-z_][A-Za-z0-9_]*{_END}"})]
"""A variable that a run reads: its name is written in expressions."""

VariablesOfRun: TypeAlias = VariableOfRun | Annotated[list[VariableOfRun], Form({"uniqueItems": True})]
Variable: TypeAlias = str | bool | int | float
"""The value of a variable of the environment; a text may hold templates."""

Command: TypeAlias = Annotated[
    Any,
    Form(
        {
            "anyOf": [
                {"type": "string", "pattern": r"\S", "title": "a shell's text, opaque to actorflow"},
                {
                    "type": "array",
                    "items": {"type": "string"},
                    "minItems": 1,
                    "title": "an argv without a shell, whose items may hold templates",
                },
            ]
        },
        "command",
    ),
]
Condition: TypeAlias = Annotated[
    Any,
    Form(
        {
            "type": ["string", "boolean"],
            "description": "an expression, bare or in {{ }}, that is true or false",
        },
        "condition",
    ),
]
Duration: TypeAlias = Annotated[
    Any,
    Form(
        {
            "description": "500ms, 5s, 1m30s, 2h, 1 day, or a number of seconds; more than zero",
            "anyOf": [{"type": "string", "pattern": _DURATION}, {"type": "number", "exclusiveMinimum": 0}],
        },
        "duration",
    ),
]

Count: TypeAlias = Annotated[int, Form({"minimum": 1})]
Attempts: TypeAlias = Annotated[int, Form({"minimum": 1, "maximum": 1_000})]
Losses: TypeAlias = Annotated[int, Form({"minimum": 0, "maximum": 1_000})]
Budget: TypeAlias = Annotated[int, Form({"minimum": 0, "maximum": 1_000_000_000})]
Parallel: TypeAlias = Annotated[int, Form({"minimum": 1, "maximum": 100_000})]
Retries: TypeAlias = Annotated[int, Form({"minimum": 0, "maximum": 999})]
Factor: TypeAlias = Annotated[float, Form({"minimum": 1, "maximum": 1_000})]
Status: TypeAlias = Annotated[int, Form({"minimum": 100, "maximum": 599})]
Statuses: TypeAlias = Status | list[Status]
Rate: TypeAlias = Annotated[
    Any,
    Form(
        {
            "description": "tries per second, or 10/s, 100/m, 1000/h",
            "anyOf": [
                {"type": "string", "pattern": rf"^\s*{_NUMBER}\s*/\s*[smh]\s*$"},
                {"type": "number", "exclusiveMinimum": 0},
            ],
        }
    ),
]
