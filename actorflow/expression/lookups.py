"""How an expression reaches into its context: keys of mappings and items of lists, and nothing else.

No attribute of a Python object is ever looked at, so a dunder name is a missing key like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actorflow.expression.kinds import is_list, is_mapping, kind
from actorflow.expression.limits import Fault, Meter, Run, Scope
from actorflow.expression.names import Path, did_you_mean, listed, shown


class Missing(Fault):
    """There is no such name, key or item; the sentence is only composed if nobody supplies a default."""

    def __init__(self, holder: Any, where: str, key: str | int, column: int) -> None:
        super().__init__("", column)
        self.holder = holder
        self.where = where  #: the path of the holder; empty for the context itself
        self.key = key

    def describe(self) -> str:
        """Say what is missing and, where it is a key, what there is."""
        where = shown(self.where)[1:-1]
        match self.key:
            case int() if is_list(self.holder):
                return f"{where} has {len(self.holder)} items, and none at this index"
            case int():
                return f"{where} is {kind(self.holder)}: only a list has numbered items"
            case key if not is_mapping(self.holder):
                hint = (
                    "; an item of a list is reached by its number, as in [0]" if is_list(self.holder) else ""
                )
                return f"{where} is {kind(self.holder)} and has no {shown(key)}{hint}"
            case key:
                return _describe_unknown(key, self.holder, self.where)


def _describe_unknown(key: str, holder: Mapping[Any, Any], where: str) -> str:
    hint = did_you_mean(key, holder)
    if "-" in key and key.partition("-")[0] in holder:
        hint = "; a subtraction is written with spaces around its `-`"
    if not where:
        return f"unknown name {shown(key)}; known here: {listed(holder)}{hint}"
    return f"{shown(where)[1:-1]} has no {shown(key)}; it has: {listed(holder)}{hint}"


def path_lookup(path: Path, columns: tuple[int, ...]) -> Run:
    """The value at a path whose keys are all known when it is compiled."""

    def run(scope: Scope, _meter: Meter) -> Any:
        value: Any = scope
        try:
            for key in path:
                value = value[key]
        except (KeyError, TypeError, IndexError):
            raise _first_missing(scope, path, columns) from None
        return value

    return run


def _first_missing(scope: Scope, path: Path, columns: tuple[int, ...]) -> Missing:
    value: Any = scope
    for depth, key in enumerate(path[:-1]):
        if not is_mapping(value) or key not in value:
            return Missing(value, ".".join(path[:depth]), key, columns[depth])
        value = value[key]
    return Missing(value, ".".join(path[:-1]), path[-1], columns[-1])


def item_lookup(holder: Run, where: str, key: Run, column: int) -> Run:
    """What a value that was computed holds under a key that was."""
    where = where or "the value before it"

    def run(scope: Scope, meter: Meter) -> Any:
        value, at = holder(scope, meter), key(scope, meter)
        try:
            if isinstance(at, str) and is_mapping(value):
                return value[at]
            if isinstance(at, int) and not isinstance(at, bool) and is_list(value):
                return value[at]
        except (KeyError, IndexError):
            raise Missing(value, where, at, column) from None
        if isinstance(at, bool) or not isinstance(at, str | int):
            raise Fault(f"what stands in [ ] is a string or an integer, not {kind(at)}", column)
        raise Missing(value, where, at, column)

    return run
