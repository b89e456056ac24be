"""What a workflow file is made of before it means anything: mappings, lists and scalars that know where they stood.

Positions are kept beside the values, so that whoever reads a value can say where it came from. Nodes are shared where a
file uses aliases, and so never changed once they are composed: `without` and `with_entry` make another mapping.
"""

from __future__ import annotations

import math
from collections.abc import Container
from typing import Final, TypeAlias, final

__all__ = ["BROKEN", "NOWHERE", "Broken", "ListNode", "MapNode", "Mark", "Node", "kind_of"]

Mark: TypeAlias = tuple[int, int]
"""Line and column, both from 1, the column in code points; (0, 0) where a definition has no text."""

NOWHERE: Final[Mark] = (0, 0)


@final
class Broken:
    """Stands for a value that was reported already: readers pass over it in silence."""


BROKEN: Final = Broken()


@final
class MapNode(dict[str, "Node"]):
    """A mapping, and where it, its keys and its values begin."""

    __slots__ = ("key_marks", "mark", "marks")

    def __init__(self, mark: Mark = NOWHERE) -> None:
        super().__init__()
        self.mark = mark
        self.key_marks: dict[str, Mark] = {}
        self.marks: dict[str, Mark] = {}

    def put(self, key: str, key_mark: Mark, value: Node, mark: Mark) -> None:
        """Add or replace an entry."""
        self[key] = value
        self.key_marks[key] = key_mark
        self.marks[key] = mark

    def take(self, other: MapNode, key: str) -> None:
        """Add an entry of another mapping, with its position there."""
        self.put(key, other.key_marks.get(key, NOWHERE), other[key], other.marks.get(key, NOWHERE))

    def without(self, keys: Container[str]) -> MapNode:
        """The same mapping but for these keys."""
        copy = MapNode(self.mark)
        for key in self:
            if key not in keys:
                copy.take(self, key)
        return copy

    def with_entry(self, key: str, value: Node, mark: Mark) -> MapNode:
        """The same mapping with one entry added or replaced."""
        copy = self.without(())
        copy.put(key, mark, value, mark)
        return copy


@final
class ListNode(list["Node"]):
    """A list, and where it and its items begin."""

    __slots__ = ("mark", "marks")

    def __init__(self, mark: Mark = NOWHERE) -> None:
        super().__init__()
        self.mark = mark
        self.marks: list[Mark] = []

    def put(self, value: Node, mark: Mark) -> None:
        """Add an item."""
        self.append(value)
        self.marks.append(mark)


Node: TypeAlias = MapNode | ListNode | str | int | float | bool | Broken | None


def kind_of(node: Node) -> str:
    """Name a value for a message: `a mapping`, `the number 5`, `nothing`."""
    match node:
        case None:
            return "nothing"
        case bool():
            return f"the boolean {str(node).lower()}"
        case float() if math.isnan(node):
            return "nan, which is no number"
        case int() | float():
            return f"the number {node}"
        case str():
            return f"the text {node!r}" if len(node) <= 60 else f"the text {node[:57] + '...'!r}"
        case MapNode():
            return "a mapping"
        case ListNode():
            return "a list"
        case _:
            return "something unreadable"
