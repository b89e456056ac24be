"""The inputs of a run, checked against what the workflow declares."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from typing import Any

from actorflow.agents.output import OutputError, plain
from actorflow.errors import BadInputError
from actorflow.spec.model import InputSpec, InputType, WorkflowSpec


def checked_inputs(spec: WorkflowSpec, given: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs as the run will see them: checked, converted from text where a type is declared, defaults filled in.

    Without an `inputs:` block any name is accepted, as it is.

    Raises:
        BadInputError: with one sentence for each input that is unknown, missing, or not what is declared.
    """
    if spec.inputs is None:
        return _all_kept(given)
    problems = [_unknown(name, spec.inputs) for name in given if name not in spec.inputs]
    checked: dict[str, Any] = {}
    for name, declared in spec.inputs.items():
        try:
            if name in given:
                checked[name] = _converted(given[name], declared)
            elif declared.has_default:
                checked[name] = declared.default
            elif declared.required:
                problems.append(f"input {name!r} is required ({declared.type})")
            else:
                checked[name] = None
        except ValueError as error:
            problems.append(f"input {name!r} {error}")
    if problems:
        raise BadInputError(tuple(problems))
    return checked


def _unknown(name: str, declared: Mapping[str, InputSpec]) -> str:
    near = difflib.get_close_matches(name, list(declared)[:1000], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"this workflow has {', '.join(declared) or 'none'}"
    return f"unknown input {name!r}; {hint}"


def _all_kept(given: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs that nothing is declared of, as they are."""
    kept: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in given.items():
        try:
            kept[name] = _kept(value)
        except ValueError as error:
            problems.append(f"input {name!r} {error}")
    if problems:
        raise BadInputError(tuple(problems))
    return kept


def _kept(value: Any, *, is_sensitive: bool = False) -> Any:
    """A copy of a value that the journal can keep."""
    try:
        return plain(value)
    except OutputError as error:
        raise ValueError(f"is not JSON{'' if is_sensitive else f': {error}'}") from None


def _converted(value: Any, declared: InputSpec) -> Any:
    given = _kept(value, is_sensitive=declared.sensitive)
    convert = _CONVERTERS[declared.type]
    result = _kept(convert(given), is_sensitive=declared.sensitive) if isinstance(given, str) else given
    if not _IS[declared.type](result):
        raise ValueError(f"is {_told(given, declared)}, which is not of type {declared.type}")
    if declared.enum and result not in declared.enum:
        raise ValueError(f"is {_told(result, declared)}, not one of {', '.join(map(_shown, declared.enum))}")
    return result


def _told(value: Any, declared: InputSpec) -> str:
    return "a value that is not shown" if declared.sensitive else _shown(value)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _number(value: str) -> Any:
    for convert in (int, float):
        try:
            return convert(value)
        except ValueError:
            continue
    return value


def _integer(value: str) -> Any:
    return int(value) if value.removeprefix("-").isdecimal() and len(value) < 20 else value


def _boolean(value: str) -> Any:
    return {"true": True, "false": False}.get(value, value)


def _from_json(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


_CONVERTERS: dict[InputType, Callable[[Any], Any]] = {
    "string": str,
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "object": _from_json,
    "array": _from_json,
}

_IS: dict[InputType, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
}
