"""Nodes made while a definition is rewritten: each stands where that stood which it was made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from actorflow.spec.text.nodes import ListNode, MapNode, Mark, Node

__all__ = ["each", "laid_over", "listing", "mapping", "mark_of", "renamed", "taken"]


def mapping(mark: Mark, entries: Mapping[str, Node]) -> MapNode:
    """A mapping whose entries all stand in one place."""
    made = MapNode(mark)
    for key, value in entries.items():
        made.put(key, mark, value, mark)
    return made


def listing(mark: Mark, items: Iterable[Node]) -> ListNode:
    """A list whose items all stand in one place."""
    made = ListNode(mark)
    for item in items:
        made.put(item, mark)
    return made


def laid_over(node: MapNode, entries: Mapping[str, Node], mark: Mark) -> MapNode:
    """The mapping with entries added or replaced, all of which stand in one place."""
    copy = node.without(())
    for key, value in entries.items():
        copy.put(key, mark, value, mark)
    return copy


def taken(source: MapNode, names: Mapping[str, str]) -> MapNode:
    """Some entries of a mapping under other names (old name: new name), each where it stood; absent ones are left out."""
    made = MapNode(source.mark)
    for old, new in names.items():
        if old in source:
            key_mark = source.key_marks.get(old, source.mark)
            made.put(new, key_mark, source[old], source.marks.get(old, source.mark))
    return made


def renamed(node: MapNode, names: Mapping[str, str]) -> MapNode:
    """The mapping with some keys under other names (old name: new name), in the order that it had."""
    made = MapNode(node.mark)
    for key in node:
        key_mark = node.key_marks.get(key, node.mark)
        made.put(names.get(key, key), key_mark, node[key], node.marks.get(key, node.mark))
    return made


def mark_of(node: MapNode, key: str) -> Mark:
    """Where an entry's value stands."""
    return node.marks.get(key, node.mark)


def each(node: MapNode, key: str, change: Callable[[MapNode], MapNode]) -> MapNode:
    """The mapping with each mapping inside one of its values changed; itself where nothing is."""
    value = node.get(key)
    if isinstance(value, MapNode):
        changes = {name: change(item) for name, item in value.items() if isinstance(item, MapNode)}
        if all(value[name] is item for name, item in changes.items()):
            return node
        named = value.without(())
        named.update(changes)
        changed: Node = named
    elif isinstance(value, ListNode):
        changed = ListNode(value.mark)
        for item, mark in zip(value, value.marks, strict=True):
            changed.put(change(item) if isinstance(item, MapNode) else item, mark)
    else:
        return node
    copy = node.without(())
    copy[key] = changed
    return copy
