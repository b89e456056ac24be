"""Outputs as plain JSON data: what an agent returned, exactly as every reader of the journal will see it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from math import isfinite
from typing import Any, Final, TypeGuard, TypeVar

from actorflow.agents.call import AgentFailed

__all__ = ["OutputError", "plain", "plain_facts"]

DEEPEST: Final = 100  #: lists and mappings within each other
LARGEST: Final = 64 * 1024 * 1024  #: bytes of the output as compact JSON in UTF-8
_T = TypeVar("_T")

_kind_of: Callable[[object], type[object]] = type  # the exact class; typed so that `Any` has one too

_LEAST_INTEGER: Final = -(2**63)
_GREATEST_INTEGER: Final = 2**64 - 1  # what JSON libraries keep exactly: signed or unsigned 64 bits
_PROBLEMS_SHOWN: Final = 10
_SHORT: Final = 100
_LONGEST_NUMBER: Final = 25
_LONGEST_ESCAPE: Final = 6
_LONGEST_SHORT: Final = _SHORT * _LONGEST_ESCAPE + 3  # two quotes and a comma or colon


class OutputError(AgentFailed):
    """Raised for an output that is not JSON data; `path` says where, as `$.items[3].price`."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__("output", f"{path}: {problem}", {"path": path})
        self.path = path
        self.problem = problem


def plain(value: Any) -> Any:
    """Copy a value to plain JSON data.

    None, bool, int within 64 bits (signed or unsigned), finite float and str without lone surrogates are taken as they
    are, and only as themselves: neither enums nor other subclasses. Lists and tuples become lists, mappings with str
    keys dicts. The result shares no list or dict with the value.

    Raises:
        OutputError: for anything else, more than 100 levels (a cycle has as many as one likes), or more than 64 MiB.
    """
    kind = _kind_of(value)
    if value is None or kind is bool or (kind is str and len(value) <= _SHORT and value.isascii()):
        return value
    if kind is int and _LEAST_INTEGER <= value <= _GREATEST_INTEGER:
        return value
    copy = _Copy()
    try:
        result = copy.of(value, 0)
    except _Refused as refused:
        raise OutputError(refused.path, refused.problem) from None
    if copy.most > LARGEST and _encoded_size(result) > LARGEST:
        raise OutputError("$", _TOO_LARGE)
    return result


def plain_facts(facts: object) -> dict[str, Any]:
    """Copy what is JSON data of a mapping, as `plain` does; `not_kept` says why the rest is none, ten times at most.

    Of anything else there is nothing to copy.
    """
    if not _is_mapping(facts):
        return {}
    kept: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in facts.items():
        try:
            kept.update(plain({key: value}))
        except OutputError as error:
            problems.append(str(error))
    try:
        plain(kept)
    except OutputError as error:  # each is small enough, and all together are not
        kept, problems = {}, [str(error)]
    return {**kept, "not_kept": problems[:_PROBLEMS_SHOWN]} if problems else kept


_TOO_LARGE: Final = "more than 64 MiB of JSON; write it to a file and return its name"


class _Refused(Exception):  # noqa: N818 - carries the path up through the copy; never leaves this module
    def __init__(self, problem: str, container: int = 0) -> None:
        super().__init__(problem)
        self.problem = problem
        self.container = container  # id of the one that was too deep
        self.steps: list[str] = []

    @property
    def path(self) -> str:
        return "$" + "".join(reversed(self.steps))

    def below(self, container: object, step: str) -> None:
        """Note on the way up where it was; a container that comes up again holds itself."""
        self.steps.append(step)
        if id(container) == self.container:
            self.problem = "a list or mapping that holds itself is not JSON"
            self.steps.clear()
            self.steps.append(step)


class _Copy:
    """One copy, with bounds of its encoded size: `least` and `most` bytes."""

    __slots__ = ("least", "most")

    def __init__(self) -> None:
        self.least = 0
        self.most = 0

    def of(self, value: Any, depth: int) -> Any:
        kind = _kind_of(value)
        copy = _BY_TYPE.get(kind)
        if copy is not None:
            return copy(self, value, depth)
        if _is_array(value):
            return self.array(_snapshot(value, lambda: value), depth)
        if _is_mapping(value):
            return self.mapping(value, depth)
        raise _Refused(_why_not(value))

    def constant(self, value: bool | None, _depth: int) -> bool | None:
        self.count(4, 5)
        return value

    def integer(self, value: int, _depth: int) -> int:
        if not _LEAST_INTEGER <= value <= _GREATEST_INTEGER:
            raise _Refused("an integer of more than 64 bits is not kept exactly; make it a string")
        self.count(1, _LONGEST_NUMBER)
        return value

    def number(self, value: float, _depth: int) -> float:
        if not isfinite(value):
            raise _Refused("NaN is not JSON" if value != value else "an infinite number is not JSON")  # noqa: PLR0124
        self.count(3, _LONGEST_NUMBER)
        return value

    def text(self, value: str, _depth: int) -> str:
        self.count(len(value) + 2, len(value) * _LONGEST_ESCAPE + 2)
        if not value.isascii():
            _check_surrogates(value)
        return value

    def array(self, value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
        self.enter(value, depth, len(value))
        result: list[Any] = []
        for item in value:
            kind = _kind_of(item)
            try:
                # What most values are is taken without a call: an output lies on the way of every attempt.
                if (
                    (kind is str and len(item) <= _SHORT and item.isascii())
                    or (kind is int and _LEAST_INTEGER <= item <= _GREATEST_INTEGER)
                    or item is None
                    or kind is bool
                ):
                    result.append(item)
                else:
                    result.append(self.of(item, depth + 1))
            except _Refused as refused:
                refused.below(value, f"[{len(result)}]")
                raise
        return result

    def mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        items = _snapshot(value, value.items)
        self.enter(value, depth, 2 * len(items))
        result: dict[str, Any] = {}
        for key, item in items:
            kind = _kind_of(item)
            try:
                if _kind_of(key) is not str or len(key) > _SHORT or not key.isascii():
                    self.key(key)
                if (
                    (kind is str and len(item) <= _SHORT and item.isascii())
                    or (kind is int and _LEAST_INTEGER <= item <= _GREATEST_INTEGER)
                    or item is None
                    or kind is bool
                ):
                    result[key] = item
                else:
                    result[key] = self.of(item, depth + 1)
            except _Refused as refused:
                refused.below(value, _step(key))
                raise
        return result

    def key(self, key: object) -> None:
        if not isinstance(key, str) or _kind_of(key) is not str:
            raise _Refused(f"the key {_shown(key)} is not a string")
        self.text(key, 0)

    def enter(self, container: object, depth: int, count: int) -> None:
        """Begin a container of so many short values; what is longer is counted by itself, on top."""
        if depth >= DEEPEST:
            raise _Refused(f"more than {DEEPEST} levels of lists and mappings", id(container))
        self.count(2 * count + 1, _LONGEST_SHORT * count + 2)

    def count(self, least: int, most: int) -> None:
        self.least += least
        self.most += most
        if self.least > LARGEST:
            raise _Refused(_TOO_LARGE)


_BY_TYPE: Final[dict[type, Callable[[_Copy, Any, int], Any]]] = {
    type(None): _Copy.constant,
    bool: _Copy.constant,
    int: _Copy.integer,
    float: _Copy.number,
    str: _Copy.text,
    list: _Copy.array,
    tuple: _Copy.array,
    dict: _Copy.mapping,
}


def _is_array(value: object) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return isinstance(value, list | tuple)


def _is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def _snapshot(value: object, items: Callable[[], Iterable[_T]]) -> list[_T]:
    """The items, read at once: a thread of the agent's may still change them, and a subclass may do anything."""
    try:
        return list(items())
    except Exception as error:
        raise _Refused(f"a {type(value).__name__} that cannot be read: {type(error).__name__}") from error


def _check_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _Refused(f"a lone surrogate ({text[error.start]!a}) is not text") from None


def _why_not(value: object) -> str:
    kind = type(value).__name__
    match value:
        case bytes() | bytearray() | memoryview():
            return f"{kind} is not JSON; decode it, or encode it as base64"
        case Enum():
            return f"{kind} is an enum, not JSON; return its value or its name"
        case str() | int() | float():
            base = "str" if isinstance(value, str) else "int" if isinstance(value, int) else "float"
            return f"{kind} is a subclass of {base}, not JSON; convert it with {base}()"
        case _:
            return f"{kind} is not JSON; return None, numbers, text, lists and dicts"


def _shown(key: object) -> str:
    return repr(key) if key is None or type(key) in (bool, int, float) else f"of type {type(key).__name__}"


def _step(key: object) -> str:
    if (
        not isinstance(key, str) or _kind_of(key) is not str
    ):  # the problem is the key itself, not what it leads to
        return ""
    if key.isidentifier() and len(key) <= _SHORT:
        return f".{key}"
    return f"[{json.dumps(key if len(key) <= _SHORT else key[:_SHORT] + '…')}]"


def _encoded_size(value: Any) -> int:
    """The exact size, for the few whose bounds leave it open."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
