"""Python data to nodes: what `load_dict` is given, checked to be JSON and nothing else.

Parts that are shared stay shared, and are counted each time they are used. Nothing here recurses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Any, Literal, cast, final

from attrs import define

from actorflow.spec.bounds import Bounds
from actorflow.spec.text.nodes import BROKEN, NOWHERE, Broken, ListNode, MapNode, Node
from actorflow.spec.text.report import Report
from actorflow.spec.text.scalars import is_modest

__all__ = ["graft"]


def graft(data: object, report: Report, bounds: Bounds) -> Node:
    """Turn dicts, lists and scalars into nodes without positions; reports what is not JSON, a cycle, or too much."""
    return _Grafting(report, bounds).run(data)


@define
class _Done:  # not frozen: there is one for each value, and that would cost four times as much
    node: Node
    size: int
    height: int


@final
class _Open:
    """A dict or list whose parts are being turned."""

    __slots__ = ("height", "key", "node", "parts", "size", "source")

    def __init__(self, source: object, node: MapNode | ListNode, parts: Iterator[tuple[Any, object]]) -> None:
        self.source = source
        self.node = node
        self.parts = parts
        self.key: Any = None
        self.size = 1
        self.height = 1


class _Refused(Exception):  # noqa: N818 - not an error: the way out of the loop
    """Raised to stop: the data is larger or deeper than it may be."""


@final
class _Grafting:
    def __init__(self, report: Report, bounds: Bounds) -> None:
        self._report = report
        self._bounds = bounds
        self._stack: list[_Open] = []
        self._seen: dict[int, _Done | Literal["open"]] = {}
        self._kept: list[
            object
        ] = []  # what `_seen` knows by its id must live on, or another object may get that id

    def run(self, data: object) -> Node:
        """Turn the whole."""
        try:
            root = self._value(data)
            while self._stack:
                top = self._stack[-1]
                part = next(top.parts, None)
                if part is None:
                    root = self._close()
                    continue
                top.key = part[0]
                done = self._value(part[1])
                if done is not None:
                    self._place(done)
        except _Refused:
            return BROKEN
        return root.node if root is not None else BROKEN

    def _value(self, data: object) -> _Done | None:
        """A scalar or a part seen before, done; or None after opening a new dict or list."""
        seen = self._seen.get(id(data))
        if seen is not None:
            if seen != "open":
                return seen
            self._say("E116", "this part contains itself: a cycle")
            return _Done(BROKEN, 1, 0)
        if data is None or isinstance(data, bool):
            return _Done(data, 1, 0)
        if isinstance(data, str | int | float):
            return _Done(self._scalar(data), 1, 0)
        if isinstance(data, Mapping | list | tuple):
            self._open(cast("Mapping[Any, object] | list[object] | tuple[object, ...]", data))
            return None
        self._say("E121", f"{type(data).__name__} is not JSON")
        return _Done(BROKEN, 1, 0)

    def _open(self, data: Mapping[Any, object] | list[object] | tuple[object, ...]) -> None:
        self._check_depth(1)
        self._seen[id(data)] = "open"
        self._kept.append(data)
        if isinstance(data, Mapping):
            self._stack.append(_Open(data, MapNode(), iter(data.items())))
        else:
            self._stack.append(_Open(data, ListNode(), iter(enumerate(data))))

    def _check_depth(self, height: int) -> None:
        if len(self._stack) + height > self._bounds.depth:
            self._say("E115", f"mappings and lists are nested more than {self._bounds.depth} deep")
            raise _Refused

    def _close(self) -> _Done:
        top = self._stack.pop()
        done = _Done(top.node, top.size, top.height)
        self._seen[id(top.source)] = done
        if self._stack:
            self._place(done)
        return done

    def _place(self, done: _Done) -> None:
        top = self._stack[-1]
        top.size += done.size
        if done.height >= top.height:
            self._check_depth(done.height)
            top.height = done.height + 1
        if top.size > self._bounds.dict_nodes:
            self._say("E128", f"the definition has more than {self._bounds.dict_nodes:,} values")
            raise _Refused
        if isinstance(top.node, ListNode):
            top.node.put(done.node, NOWHERE)
        elif isinstance(key := self._key(top.key), str):
            top.node[key] = done.node

    def _key(self, key: object) -> str | Broken:
        if not isinstance(key, str):
            self._say("E117", f"a key must be text, not {_shown(key)}")
            return BROKEN
        plain = self._scalar(key)
        return plain if isinstance(plain, str) else BROKEN

    def _scalar(self, data: str | float) -> Node:
        """The plain value: subclasses, such as members of a StrEnum, are stripped."""
        if isinstance(data, str):
            if not data.isascii() and any("\ud800" <= c <= "\udfff" for c in data):
                self._say("E111", "half of a surrogate pair stands alone in this text")
                return BROKEN
            return str.__str__(data)
        if not isinstance(data, int):
            return float.__float__(data)
        if not is_modest(data):
            self._say("E119", "an integer must fit 64 bits")
            return BROKEN
        return int.__int__(data)

    def _say(self, code: str, message: str) -> None:
        where = ".".join(_shown(opened.key) for opened in self._stack if opened.key is not None)
        self._report.add(code, NOWHERE, f"{where}: {message}" if where else message)


def _shown(key: object) -> str:
    """A key as messages show it; nothing of a foreign class is asked what it looks like."""
    if type(key) is str:
        return key.encode(errors="backslashreplace").decode()[:60]
    return str(key) if type(key) in {int, float, bool, NoneType} else type(key).__name__
