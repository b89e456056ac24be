"""Keys of the second document's tool that say nothing to us: set aside, with one warning for each name."""

from __future__ import annotations

from collections.abc import Container
from typing import final

from actorflow.spec.text.nodes import MapNode, Mark
from actorflow.spec.text.report import Report

__all__ = ["SetAside"]

_HINT = "nothing here acts on it"


@final
class SetAside:
    """What was set aside in one file: each key once, and where the first of them stands."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[Mark, str]] = {}
        self._texts: dict[str, Mark] = {}

    def strip(self, node: MapNode, keys: Container[str], hint: str = _HINT) -> MapNode:
        """The mapping without those keys, each of which is noted; itself where it has none."""
        found = [key for key in node if key in keys]
        for key in found:
            self.note(key, node.key_marks.get(key, node.mark), hint)
        return node.without(found) if found else node

    def note(self, key: str, mark: Mark, hint: str = _HINT) -> None:
        """Note a key that is set aside."""
        if key not in self._keys or mark < self._keys[key][0]:
            self._keys[key] = (mark, hint)

    def note_text(self, problem: str, mark: Mark) -> None:
        """Note a text that keeps no meaning; each sentence is told once."""
        self._texts[problem] = min(mark, self._texts.get(problem, mark))

    def warn(self, report: Report) -> None:
        """Tell all of it: W101 for each key, W105 for each text."""
        for key, (mark, hint) in self._keys.items():
            report.warn("W101", mark, f"a key of another tool is kept aside: {key}", hint)
        for problem, mark in self._texts.items():
            report.warn("W105", mark, problem)
