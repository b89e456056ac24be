"""Names that a definition leaves unsaid: of agents for what lies in a library, and of tasks that are added."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, final

from actorflow.spec.text.nodes import ListNode, MapNode, Node

__all__ = ["AgentNames", "FreeNames"]

_LIBRARY_KEYS: Final = ("uses", "embed", "uses_workflow")
"""A task's keys that name something in a library: `name@version`, or `group:name`."""

_LONGEST: Final = 128
_ID: Final = re.compile(rf"[A-Za-z_][A-Za-z0-9_-]{{0,{_LONGEST - 1}}}")
_NOT_OF_IDS: Final = re.compile(r"[^A-Za-z0-9_-]+")
_AGENT_KEYS: Final = ("agent", "action", "fallback_agent")


@final
class FreeNames:
    """Ids that are given to nobody else yet."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._counts: dict[str, int] = {}

    def take(self, stem: str, ending: str = "") -> str:
        """An id like `STEMENDING`, with a number appended where that is taken; what no id may hold becomes `-`."""
        stem = _NOT_OF_IDS.sub("-", stem).strip("-")
        if not stem or not (stem[0].isalpha() or stem[0] == "_"):
            stem = f"_{stem}"
        stem = stem[: _LONGEST - len(ending)]
        count, name = self._counts.get(stem, 1), stem + ending
        while name in self._taken:
            count += 1
            number = f"{ending}-{count}"
            name = stem[: _LONGEST - len(number)] + number
        self._counts[stem] = count
        self._taken.add(name)
        return name


@final
class AgentNames:
    """The agents that stand for what lies in a library: one for each name there, and none for two."""

    def __init__(self, root: MapNode) -> None:
        self._root = root
        self._free: FreeNames | None = None
        self._given: dict[str, str] = {}

    def of(self, reference: str) -> str | None:
        """The agent for a reference, whose version says nothing; None where it names nothing."""
        name = reference.partition("@")[0].strip()
        if not _NOT_OF_IDS.sub("", name):
            return None
        if self._free is None:  # few files have one: the others are not walked through
            named = set(_agents_in(self._root))
            self._free = FreeNames(named)
            self._given = {each: each for each in named if _ID.fullmatch(each)}
        if name not in self._given:
            self._given[name] = self._free.take(name)
        return self._given[name]


def _agents_in(root: MapNode) -> Iterable[str]:
    """The names of all agents that a definition declares or calls, those in a library without their versions."""
    agents = root.get("agents")
    yield from agents if isinstance(agents, MapNode) else ()
    pending: list[Node] = [root]
    seen: set[int] = set()  # aliases share their nodes
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        if isinstance(node, ListNode):
            pending.extend(node)
        elif isinstance(node, MapNode):
            pending.extend(node.values())
            yield from _agents_of(node)
        else:
            continue
        seen.add(id(node))


def _agents_of(node: MapNode) -> Iterable[str]:
    for key in (*_AGENT_KEYS, *_LIBRARY_KEYS):
        name = node.get(key)
        if isinstance(name, str):
            yield name.partition("@")[0].strip() if key in _LIBRARY_KEYS else name
