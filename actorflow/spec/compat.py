"""The second document's spellings, rewritten into ours; nothing behind this module knows them.

- A document with an `id` and a `type` or `action`, and no `tasks`, is a workflow of that one task.
- Keys of that document's tool that say nothing to us are set aside, an agent's as its `options`, with one warning.
- `retry_delay_secs` and `exponential_backoff` beside a `retry` become a retry with a delay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from actorflow.spec.nodes import ListNode, MapNode, Mark, Node
from actorflow.spec.report import Report
from actorflow.spec.words import TASK, TOOL_KEYS

__all__ = ["rewrite"]

_DELAY_KEYS: Final = ("retry_delay_secs", "exponential_backoff")
_OF_THE_WORKFLOW: Final = frozenset(
    {"name", "version", "inputs", "outputs", "limits", "agents", "hooks", "workflows"}
)


def rewrite(root: MapNode, report: Report) -> MapNode:
    """Give the same definition in our own words."""
    aside = _SetAside()
    if "id" in root and ("type" in root or "action" in root) and "tasks" not in root:
        root = _of_one_task(root)
    root = aside.strip(root)
    root = _each(root, "agents", aside.strip_agent)
    root = _each(root, "tasks", lambda task: _with_plain_retry(aside.strip(task)))
    root = _each(root, "workflows", aside.strip_entry)
    aside.warn(report)
    return root


class _SetAside:
    """The tool's keys of one file: each name once, and where the first of them stands."""

    def __init__(self) -> None:
        self._marks: dict[str, Mark] = {}

    def strip(self, node: MapNode) -> MapNode:
        found = self._found(node)
        return node.without(found) if found else node

    def strip_agent(self, agent: MapNode) -> MapNode:
        found = self._found(agent)
        if not found or not isinstance(agent.get("options", None), MapNode | None):
            return agent
        given = agent.get("options")
        options = given.without(()) if isinstance(given, MapNode) else MapNode(agent.mark)
        for key in found:
            options.take(agent, key)
        return agent.without(found).with_entry("options", options, agent.mark)

    def strip_entry(self, entry: MapNode) -> MapNode:
        return _each(self.strip(entry), "steps", self.strip)

    def warn(self, report: Report) -> None:
        if not self._marks:
            return
        names = ", ".join(self._marks)
        report.warn(
            "W101",
            min(self._marks.values()),
            f"keys of another tool are kept aside: {names}",
            "an agent finds its own in its options",
        )

    def _found(self, node: MapNode) -> list[str]:
        if node.keys().isdisjoint(TOOL_KEYS):
            return []
        found = [key for key in node if key in TOOL_KEYS]
        for key in found:
            mark = node.key_marks.get(key, node.mark)
            self._marks[key] = min(mark, self._marks.get(key, mark))
        return found


def _each(node: MapNode, key: str, change: Callable[[MapNode], MapNode]) -> MapNode:
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
        listed = ListNode(value.mark)
        for item, mark in zip(value, value.marks, strict=True):
            listed.put(change(item) if isinstance(item, MapNode) else item, mark)
        changed = listed
    else:
        return node
    copy = node.without(())
    copy[key] = changed
    return copy


def _of_one_task(root: MapNode) -> MapNode:
    """Task keys go to the task, the others stay; the workflow is called by the task's id."""
    name = root["id"]
    moved = [key for key in root if key in TASK.now | TASK.later and key not in _OF_THE_WORKFLOW]
    task = MapNode(root.mark)
    for key in moved:
        task.take(root, key)
    tasks = ListNode(root.mark)
    tasks.put(task, root.mark)
    whole = root.without(moved)
    if "name" not in whole and isinstance(name, str):
        whole.put("name", root.key_marks.get("id", root.mark), name, root.marks.get("id", root.mark))
    return whole.with_entry("tasks", tasks, root.mark)


def _with_plain_retry(task: MapNode) -> MapNode:
    on_error = task.get("on_error")
    if not isinstance(on_error, MapNode) or on_error.keys().isdisjoint(_DELAY_KEYS):
        return task
    retries, delay = on_error.get("retry"), on_error.get("retry_delay_secs")
    grows = on_error.get("exponential_backoff", False)
    if isinstance(retries, bool) or not isinstance(retries, int) or not isinstance(grows, bool):
        return task  # read as it stands, those keys are unknown: that is the message to give
    copy = task.without(())
    copy["on_error"] = _retry_written_out(on_error, retries, delay, grows=grows)
    return copy


def _retry_written_out(on_error: MapNode, retries: int, delay: Node, *, grows: bool) -> MapNode:
    mark = on_error.marks.get("retry", on_error.mark)
    retry = MapNode(mark)
    entries: dict[str, Node] = {"max_attempts": retries + 1}
    if delay is not None:
        entries["delay"] = delay
    if not grows:
        entries |= {"backoff": "constant", "jitter": "none"}
    for key, value in entries.items():
        retry.put(key, mark, value, on_error.marks.get("retry_delay_secs", mark) if key == "delay" else mark)
    return on_error.without(_DELAY_KEYS).with_entry("retry", retry, mark)
