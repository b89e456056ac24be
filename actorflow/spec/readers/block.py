"""A mapping being read: hands out its values by key, typed, and reports what is wrong with each.

Every reader gives None (or nothing) where the key is missing, and also where its value was reported: reading goes on, so
that all problems of a file are told at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, TypeVar, final

from attrs import frozen

from actorflow.spec.durations import parse_duration
from actorflow.spec.text.nodes import BROKEN, ListNode, MapNode, Mark, Node, kind_of
from actorflow.spec.text.report import Report

__all__ = ["Block", "Item", "Keys"]

_ABSENT: Final = BROKEN  # a missing value and a reported one are passed over alike
_NONE: Final[frozenset[str]] = frozenset()
_Word = TypeVar("_Word", bound=str)


@frozen
class Keys:
    """The keys of one kind of mapping."""

    words: frozenset[str]

    @classmethod
    def of(cls, words: str) -> Keys:
        """From words."""
        return cls(frozenset(words.split()))


@frozen
class Item:
    """A text of a list, and its place there (None: it stands alone, without a list)."""

    text: str
    index: int | None


@final
class Block:
    """One mapping of a definition, and the path that leads to it."""

    __slots__ = ("node", "path", "report")

    def __init__(self, node: MapNode, path: str, report: Report) -> None:
        self.node = node
        self.path = path
        self.report = report

    def path_of(self, key: str, index: int | None = None) -> str:
        """The path of a value, as messages show it."""
        path = f"{self.path}.{key}" if self.path else key
        return path if index is None else f"{path}[{index}]"

    def mark(self, key: str, index: int | None = None) -> Mark:
        """Where a value begins, or an item of it; the mapping's own place where there is none."""
        value = self.node.get(key)
        if index is not None and isinstance(value, ListNode):
            return value.marks[index]
        return self.node.marks.get(key, self.node.mark)

    def key_mark(self, key: str) -> Mark:
        """Where a key stands."""
        return self.node.key_marks.get(key, self.node.mark)

    def index_of(self, key: str, text: str) -> int | None:
        """Where a text stands in a list; None where it stands alone."""
        value = self.node.get(key)
        return value.index(text) if isinstance(value, ListNode) and text in value else None

    def fault(self, code: str, key: str, message: str, hint: str = "", *, index: int | None = None) -> None:
        """Report a problem of a value."""
        self.report.add(code, self.mark(key, index), f"{self.path_of(key, index)}: {message}", hint)

    def key_fault(self, code: str, key: str, message: str, hint: str = "") -> None:
        """Report a problem of a key."""
        self.report.add(code, self.key_mark(key), f"{self.path_of(key)}: {message}", hint)

    def own_fault(self, code: str, message: str, hint: str = "") -> None:
        """Report a problem of the mapping as a whole."""
        self.report.add(code, self.node.mark, f"{self.path}: {message}" if self.path else message, hint)

    def has(self, key: str) -> bool:
        """Whether the key is given, be its value good or not."""
        return key in self.node

    def allow(self, keys: Keys) -> frozenset[str]:
        """Report each key that is unknown, and give the known ones that these seem to be meant for."""
        known = keys.words
        if self.node.keys() <= known:
            return _NONE
        words = sorted(known)
        meant: set[str] = set()
        for key in self.node:
            if key not in known:
                close = self.report.close(key, words)
                hint = f"did you mean {close!r}?" if close else f"known here: {', '.join(words)}"
                self.key_fault("E120", key, f"unknown key {key!r}", hint)
                meant.add(close)
        return frozenset(meant)

    def text(self, key: str) -> str | None:
        """A text."""
        value = self.node.get(key, _ABSENT)
        if isinstance(value, str):
            return value
        if value is not _ABSENT:
            self._not_text(key, value)
        return None

    def name(self, key: str) -> str | None:
        """A text that names something: not empty, without NUL."""
        value = self.text(key)
        if value is not None and (not value.strip() or "\0" in value):
            self.fault("E123", key, "must not be empty" if not value.strip() else "must not hold NUL")
            return None
        return value

    def names(self, key: str) -> tuple[Item, ...]:
        """One text or a list of them, none empty."""
        value = self.node.get(key, _ABSENT)
        if value is _ABSENT:
            return ()
        if isinstance(value, str):
            return (Item(value, None),) if self._is_full(key, value, None) else ()
        if not isinstance(value, ListNode):
            self.fault("E121", key, f"must be text or a list of texts, not {kind_of(value)}")
            return ()
        items: list[Item] = []
        for index, item in enumerate(value):
            if isinstance(item, str):
                if self._is_full(key, item, index):
                    items.append(Item(item, index))
            elif item is not BROKEN:
                self._not_text(key, item, index)
        return tuple(items)

    def _is_full(self, key: str, value: str, index: int | None) -> bool:
        if value.strip() and "\0" not in value:
            return True
        self.fault("E123", key, "must be a name, not empty and without NUL", index=index)
        return False

    def boolean(self, key: str) -> bool | None:
        """True or false."""
        value = self.node.get(key, _ABSENT)
        if isinstance(value, bool):
            return value
        if value is not _ABSENT:
            self.fault("E121", key, f"must be true or false, not {kind_of(value)}")
        return None

    def integer(self, key: str, low: int, high: int) -> int | None:
        """A whole number between two bounds, both allowed."""
        value = self.node.get(key, _ABSENT)
        if value is _ABSENT:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            self.fault("E121", key, f"must be a whole number, not {kind_of(value)}", _unquote(value))
            return None
        if not low <= value <= high:
            self.fault("E123", key, f"must be {low} to {high}, not {value}")
            return None
        return value

    def number(self, key: str, low: float, high: float) -> float | None:
        """A number between two bounds, both allowed."""
        value = self.node.get(key, _ABSENT)
        if value is _ABSENT:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            self.fault("E121", key, f"must be a number, not {kind_of(value)}", _unquote(value))
            return None
        if not low <= value <= high:
            self.fault("E123", key, f"must be {low:g} to {high:g}, not {value}")
            return None
        return float(value)

    def duration(self, key: str) -> float | None:
        """Seconds, from a duration."""
        value = self.node.get(key, _ABSENT)
        if value is _ABSENT:
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self.fault("E121", key, f"must be a duration such as 30s, not {kind_of(value)}")
            return None
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fault("E123", key, str(error))
            return None

    def choice(self, key: str, words: Iterable[_Word]) -> _Word | None:
        """One of some words."""
        value = self.node.get(key, _ABSENT)
        if value is _ABSENT:
            return None
        if not isinstance(value, str):
            self.fault(
                "E121", key, f"must be a word, not {kind_of(value)}", f"choose from {', '.join(words)}"
            )
            return None
        for word in words:
            if word == value:
                return word
        self.fault("E123", key, f"unknown word {value!r}", self.report.choices(value, words))
        return None

    def block(self, key: str) -> Block | None:
        """A mapping."""
        value = self.node.get(key, _ABSENT)
        if isinstance(value, MapNode):
            return Block(value, self.path_of(key), self.report)
        if value is not _ABSENT:
            self.fault("E121", key, f"must be a mapping, not {kind_of(value)}")
        return None

    def children(self) -> list[tuple[str, Block]]:
        """The values of a mapping of mappings, by key; an empty value is an empty mapping."""
        return [(key, child) for key in self.node if (child := self._child(key)) is not None]

    def _child(self, key: str) -> Block | None:
        if self.node[key] is None:
            return Block(MapNode(self.key_mark(key)), self.path_of(key), self.report)
        return self.block(key)

    def items(self, key: str) -> list[tuple[int, Node]]:
        """A list, item by item, without what was reported before."""
        value = self.node.get(key, _ABSENT)
        if isinstance(value, ListNode):
            return [(index, item) for index, item in enumerate(value) if item is not BROKEN]
        if value is not _ABSENT:
            self.fault("E121", key, f"must be a list, not {kind_of(value)}")
        return []

    def item_block(self, key: str, index: int, item: Node) -> Block | None:
        """An item that must be a mapping."""
        if isinstance(item, MapNode):
            return Block(item, self.path_of(key, index), self.report)
        self.fault("E121", key, f"must be a mapping, not {kind_of(item)}", index=index)
        return None

    def _not_text(self, key: str, value: Node, index: int | None = None) -> None:
        hint = ""
        if isinstance(value, bool | int | float):
            word = self.report.word_at(self.mark(key, index)) or str(value)
            hint = f'quote it: "{word}"'
        self.fault("E121", key, f"must be text, not {kind_of(value)}", hint, index=index)


def _unquote(value: Node) -> str:
    return "remove the quotes" if isinstance(value, str) and value.strip().isdigit() else ""
