"""A checked definition as canonical JSON and back: what a journal keeps, and what it is known by."""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar, cast

from attrs import NOTHING, fields

from actorflow.spec.model import (
    AgentSpec,
    CommandRunner,
    HookLists,
    HookSpec,
    InputSpec,
    Limits,
    OnErrorSpec,
    PythonRunner,
    RetrySpec,
    Runner,
    StageSpec,
    TaskSpec,
    WorkflowSpec,
)

__all__ = ["digest", "from_json", "spec_definition", "to_json"]

_T = TypeVar("_T")
_Json: TypeAlias = Mapping[str, Any]

_MODEL: Final = (
    AgentSpec, CommandRunner, HookLists, HookSpec, InputSpec, Limits, OnErrorSpec, PythonRunner, RetrySpec, StageSpec,
    TaskSpec, WorkflowSpec,
)  # fmt: skip


def to_json(spec: WorkflowSpec) -> bytes:
    """Write a definition as canonical JSON: the same bytes for equal definitions.

    Numbers and choices are written out even where they are the defaults, so that a run that is pinned to its definition
    keeps them when a default changes; what is merely absent is left out.
    """
    text = json.dumps(
        spec, default=_written, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def from_json(body: bytes) -> WorkflowSpec:
    """Read what `to_json` wrote: the inverse of it.

    Raises:
        ValueError: for anything else.
    """
    try:
        return _workflow(json.loads(body))
    except (KeyError, TypeError, AttributeError) as error:
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


def _layout(kind: type) -> tuple[tuple[str, str, object], ...]:
    """Per field: its name, its key, and the absent value that is left out (NOTHING: always written)."""
    rows: list[tuple[str, str, object]] = []
    for each in fields(kind):
        make: Any = getattr(each.default, "factory", None)
        default: object = each.default if make is None else make()
        is_absence = default is None or default is False or default in ("", (), {})
        rows.append((each.name, each.name.rstrip("_"), default if is_absence else NOTHING))
    return tuple(rows)


_LAYOUTS: Final[dict[type, tuple[tuple[str, str, object], ...]]] = {kind: _layout(kind) for kind in _MODEL}


def _written(part: object) -> dict[str, Any]:
    """What json asks for when it meets an object of the model, or a mapping that is no dict."""
    if isinstance(part, Mapping):
        return dict(cast("Mapping[str, Any]", part))
    written: dict[str, Any] = {}
    for name, key, absent in _LAYOUTS[type(part)]:
        value = getattr(part, name)
        if absent is NOTHING or (
            value is not absent and (value != absent or type(value) is not type(absent))
        ):
            written[key] = value
    return written


def _workflow(data: _Json) -> WorkflowSpec:
    inputs = data.get("inputs")
    values: dict[str, Any] = {
        **data,
        "inputs": None if inputs is None else _each(inputs, _input),
        "limits": Limits(**data["limits"]),
        "agents": _each(data.get("agents", {}), _agent),
        "tasks": tuple(map(_task, data.get("tasks", ()))),
        "stages": tuple(map(_stage, data.get("stages", ()))),
        "hooks": HookLists(**{event: tuple(map(_hook, hooks)) for event, hooks in data["hooks"].items()}),
    }
    return WorkflowSpec(**values)


def _replaced(data: _Json, **read: Any) -> dict[str, Any]:
    return {**data, **read}


def _each(data: _Json, read: Callable[[_Json], _T]) -> dict[str, _T]:
    return {key: read(value) for key, value in data.items()}


def _input(data: _Json) -> InputSpec:
    return InputSpec(**_replaced(data, enum=tuple(data.get("enum", ()))))


def _agent(data: _Json) -> AgentSpec:
    return AgentSpec(**_replaced(data, runner=_runner(data.get("runner"))))


def _task(data: _Json) -> TaskSpec:
    values: dict[str, Any] = {
        **data,
        "runner": _runner(data.get("runner")),
        "depends_on": tuple(data.get("depends_on", ())),
        "retry": RetrySpec(**data["retry"]),
        "on_error": _on_error(data["on_error"]),
    }
    values["with_"] = values.pop("with", None)
    return TaskSpec(**values)


def _on_error(data: _Json) -> OnErrorSpec:
    return OnErrorSpec(strategy=data["strategy"], fallback_agents=tuple(data.get("fallback_agents", ())))


def _runner(data: _Json | None) -> Runner | None:
    if data is None:
        return None
    if "path" in data:
        return PythonRunner(path=data["path"])
    return CommandRunner(command=_command(data["command"]))


def _command(value: str | list[str]) -> str | tuple[str, ...]:
    return value if isinstance(value, str) else tuple(value)


def _hook(data: _Json) -> HookSpec:
    return HookSpec(**_replaced(data, command=_command(data["command"])))


def _stage(data: _Json) -> StageSpec:
    return StageSpec(name=data["name"], tasks=tuple(data["tasks"]), after=tuple(data.get("after", ())))
