"""Mappings and lists that have begun and not ended: each puts a complete value where it belongs.

A mapping takes keys and values in turns, and knows what a workflow file allows as a key. What it refuses is told through
`say`, in the order in which it is met.
"""

from __future__ import annotations

from typing import Final, Protocol, TypeAlias, final

from actorflow.spec.text.nodes import BROKEN, Broken, ListNode, MapNode, Mark, Node, kind_of

__all__ = ["MERGE", "TEMPLATE_HINT", "TEMPLATE_MESSAGE", "Open", "OpenList", "OpenMap", "OpenRoot", "Say"]

TEMPLATE_MESSAGE: Final = "'{{' without a quote before it begins a mapping, not a template"
TEMPLATE_HINT: Final = 'quote the whole value: "{{ … }}"'

MERGE: Final = Broken()
"""Stands for a plain `<<` where a key is awaited."""


class Say(Protocol):
    """How a problem is told."""

    def __call__(self, code: str, mark: Mark, message: str, hint: str = "") -> None:
        """Note one problem."""


@final
class OpenRoot:
    """The document itself: it takes one value."""

    __slots__ = ("height", "value")
    awaits_key: Final = False

    def __init__(self) -> None:
        self.value: Node = None
        self.height = 0

    def place(self, value: Node, _mark: Mark) -> None:
        """Take the value."""
        self.value = value

    def place_of_nothing(self, mark: Mark) -> Mark:
        """Where a value stands that is left out."""
        return mark


@final
class OpenList:
    """A list that has begun.

    `first` is the number of its node: what comes between it and the last one is its size. `height` counts levels, aliases
    followed.
    """

    __slots__ = ("anchor", "first", "height", "node")
    awaits_key: Final = False

    def __init__(self, node: ListNode, anchor: str | None, first: int) -> None:
        self.node = node
        self.anchor = anchor
        self.first = first
        self.height = 1

    def place(self, value: Node, mark: Mark) -> None:
        """Take the next item."""
        node = self.node
        node.append(value)
        node.marks.append(mark)

    def place_of_nothing(self, mark: Mark) -> Mark:
        """Where an item stands that is left out; parsers agree about it."""
        return mark

    def close(self) -> Node:
        """The complete list."""
        return self.node


@final
class OpenMap:
    """A mapping that has begun; `key` is the last key that was read, `BROKEN` where it was refused."""

    __slots__ = (
        "_has_merge", "_is_broken", "_key", "_key_mark", "_merges", "_say",
        "anchor", "awaits_key", "first", "height", "node",
    )  # fmt: skip

    def __init__(self, node: MapNode, anchor: str | None, first: int, say: Say) -> None:
        self.node = node
        self.anchor = anchor
        self.first = first
        self.height = 1
        self.awaits_key = True
        self._say = say
        self._key: str | Broken = BROKEN
        self._key_mark: Mark = node.mark
        self._merges: list[MapNode] = []
        self._has_merge = False
        self._is_broken = False

    def place(self, value: Node, mark: Mark) -> None:
        """Take the next key, or the value of the last one."""
        if self.awaits_key:
            self.awaits_key = False
            self._key_mark = mark
            self._key = value if isinstance(value, str) else self._odd_key(value, mark)
            return
        self.awaits_key = True
        key, node = self._key, self.node
        if type(key) is str and key not in node:
            node[key] = value
            node.key_marks[key] = self._key_mark
            node.marks[key] = mark
        elif isinstance(key, str):
            first = node.key_marks[key][0]
            hint = "keep one of them: a key has one value"
            self._say(
                "E112",
                self._key_mark,
                f"the key {_shown(key)} appears twice; the first is in line {first}",
                hint,
            )
        elif key is MERGE:
            self._merge(value, mark)

    def place_of_nothing(self, mark: Mark) -> Mark:
        """Where a value stands that is left out: with its key, as parsers differ about it."""
        return mark if self.awaits_key else self._key_mark

    def close(self) -> Node:
        """The complete mapping, with what it merges; `BROKEN` if it was never meant to be one."""
        if self._is_broken:
            return BROKEN
        return _merged(self.node, self._merges) if self._merges else self.node

    def _odd_key(self, key: Node, mark: Mark) -> Broken:
        """The merge sign, or a refusal."""
        line, column = self.node.mark
        if isinstance(key, Broken):
            return key
        if isinstance(key, MapNode) and mark == (line, column + 1):
            self._is_broken = True
            self._say("E118", self.node.mark, TEMPLATE_MESSAGE, TEMPLATE_HINT)
            return BROKEN
        hint = "write a text before the colon" if isinstance(key, MapNode | ListNode) else "quote it"
        self._say("E117", mark, f"a key must be text, not {kind_of(key)}", hint)
        return BROKEN

    def _merge(self, value: Node, mark: Mark) -> None:
        if self._has_merge:
            hint = "give one of them a list: <<: [*a, *b]"
            self._say("E112", self._key_mark, "the merge key '<<' appears twice", hint)
        self._has_merge = True
        if not isinstance(value, ListNode):
            self._merge_one(value, mark)
            return
        is_here = value.mark == mark  # not an alias of a list: its items stand elsewhere
        for source, at in zip(value, value.marks, strict=True):
            self._merge_one(source, at if is_here else mark)

    def _merge_one(self, source: Node, mark: Mark) -> None:
        if isinstance(source, MapNode):
            self._merges.append(source)
        elif source is not BROKEN:
            hint = "name a mapping that has an anchor: <<: *name"
            self._say("E117", mark, f"'<<' merges mappings, not {kind_of(source)}", hint)


Open: TypeAlias = OpenMap | OpenList


def _shown(key: str) -> str:
    return repr(key) if len(key) <= 60 else f"{key[:57] + '...'!r}"


def _merged(node: MapNode, sources: list[MapNode]) -> MapNode:
    """Own entries come before merged ones, and earlier sources before later ones; merged entries stand first."""
    merged = MapNode(node.mark)
    for source in sources:
        for key in source:
            if key not in merged:
                merged.take(source, key)
    for key in node:
        merged.take(node, key)
    return merged
