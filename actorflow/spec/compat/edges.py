"""Edges that a definition leaves unsaid: a task that is read must have ended before its reader starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import define, frozen

from actorflow.spec.compat.trees import mapping
from actorflow.spec.text.nodes import ListNode, MapNode, Mark, Node

__all__ = ["Wish", "with_edges"]


@frozen
class Wish:
    """A task reads another one."""

    reader: str
    target: str
    mark: Mark
    whatever: bool = False  #: however it ended: the edge is `on: always`, also where it is a plain one so far


def with_edges(tasks: Mapping[str, MapNode], wishes: Iterable[Wish]) -> dict[str, MapNode]:
    """The tasks of one level with an edge for each wish that has none yet.

    A wish that would close a cycle, or leads out of the level, is passed over: the loader says what is wrong there. So is
    one for which a cycle cannot be ruled out in a million steps, all wishes of the level together.
    """
    edited = dict(tasks)
    walk = _Walk(edited)
    for wish in wishes:
        reader = edited.get(wish.reader)
        if reader is None or wish.target not in edited or wish.target == wish.reader:
            continue
        before = _targets(reader)
        if wish.target in before:
            if wish.whatever and before[wish.target]:
                edited[wish.reader] = _with_edge(reader, wish)
        elif not walk.may_lead(wish.target, wish.reader):
            edited[wish.reader] = _with_edge(reader, wish)
    return edited


def _targets(task: MapNode) -> dict[str, bool]:
    """What a task depends on, and whether the edge is a plain name."""
    value = task.get("depends_on")
    items = value if isinstance(value, ListNode) else [value]
    targets: dict[str, bool] = {}
    for item in items:
        target = item.get("task") if isinstance(item, MapNode) else item
        if isinstance(target, str):
            targets[target] = isinstance(item, str)
    return targets


@define
class _Walk:
    """Looks whether one task comes after another, backwards along the edges."""

    tasks: Mapping[str, MapNode]
    steps: int = 1_000_000  #: that are left

    def may_lead(self, start: str, goal: str) -> bool:
        """Whether `start` comes after `goal`, or that cannot be told any more."""
        seen, waiting = {start}, [start]
        while waiting:
            self.steps -= 1
            name = waiting.pop()
            if name == goal or self.steps < 0:
                return True
            found = [each for each in _targets(self.tasks[name]) if each in self.tasks and each not in seen]
            seen.update(found)
            waiting.extend(found)
        return False


def _with_edge(task: MapNode, wish: Wish) -> MapNode:
    edge: Node = mapping(wish.mark, {"task": wish.target, "on": "always"}) if wish.whatever else wish.target
    value = task.get("depends_on")
    edges = ListNode(value.mark if isinstance(value, ListNode) else wish.mark)
    if isinstance(value, ListNode):
        for item, mark in zip(value, value.marks, strict=True):
            if item != wish.target:
                edges.put(item, mark)
    elif value is not None and value != wish.target:
        edges.put(value, task.marks.get("depends_on", wish.mark))
    edges.put(edge, wish.mark)
    return task.with_entry("depends_on", edges, task.marks.get("depends_on", wish.mark))
