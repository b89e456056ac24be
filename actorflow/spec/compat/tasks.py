"""Tasks: one level of them after the other, each key in our words.

A task with `subtasks` is a composite of them. They inherit what they do not say: its agent, its `on_error` and its
priority, as in that tool, where such a task performs nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from actorflow.spec.compat.agents import with_options
from actorflow.spec.compat.conditions import expression
from actorflow.spec.compat.edges import with_edges
from actorflow.spec.compat.loops import fetch_of, with_loop
from actorflow.spec.compat.names import FreeNames
from actorflow.spec.compat.notices import has_notice, with_notice
from actorflow.spec.compat.outputs import with_task_outputs
from actorflow.spec.compat.performers import with_performer
from actorflow.spec.compat.places import Place
from actorflow.spec.compat.retries import has_plain_retry, with_plain_retry
from actorflow.spec.compat.spellings import may_be_theirs, respelled
from actorflow.spec.compat.subflows import with_subflow
from actorflow.spec.compat.trees import laid_over, mapping, mark_of
from actorflow.spec.compat.words import (
    PERFORMERS,
    TASK_ASIDE,
    TASK_OPTIONS,
    TASK_WORDS,
    TEMPLATES,
    UNCHECKED,
)
from actorflow.spec.text.nodes import ListNode, MapNode, Node

__all__ = ["rewritten_tasks"]

_INHERITED: Final = ("agent", "on_error", "priority", "inject_context")


def rewritten_tasks(tasks: Node, place: Place) -> Node:
    """A mapping or list of tasks in our words; itself where nothing changes."""
    if isinstance(tasks, MapNode):
        tasks, fetches = _with_fetches(tasks)
        named = {name: task for name, task in tasks.items() if isinstance(task, MapNode)}
        changed = _level(named, fetches, place)
        if all(tasks[name] is task for name, task in changed.items()):
            return tasks
        copy = tasks.without(())
        copy.update(changed)
        return copy
    if isinstance(tasks, ListNode):
        return _rewritten_list(tasks, place)
    return tasks


def _rewritten_list(tasks: ListNode, place: Place) -> ListNode:
    """A list of tasks that carry ids; of two with one id, which the loader reports, the second stays as it is."""
    tasks, fetches = _with_listed_fetches(tasks)
    named = _by_id(tasks)
    changed = _level({name: task for name, (_, task) in named.items()}, fetches, place)
    by_index = {named[name][0]: task for name, task in changed.items()}
    copy = ListNode(tasks.mark)
    for index, (task, mark) in enumerate(zip(tasks, tasks.marks, strict=True)):
        copy.put(by_index.get(index, task), mark)
    return copy


def _by_id(tasks: ListNode) -> dict[str, tuple[int, MapNode]]:
    """The first task of each id, and its index; one without is called by its index."""
    first: dict[str, tuple[int, MapNode]] = {}
    for index, task in enumerate(tasks):
        if isinstance(task, MapNode):
            first.setdefault(str(task.get("id", index)), (index, task))
    return first


def _level(tasks: dict[str, MapNode], fetches: Mapping[str, str], place: Place) -> dict[str, MapNode]:
    """Tasks that stand side by side, with the edges between them that their texts ask for."""
    if place.running:
        place.file.growth.add_tasks(len(tasks))
    level = place.level(frozenset(tasks), fetches)
    changed = {
        name: task if _is_ours(task, level) else _rewritten(task, level.of(name, task.get("agent")))
        for name, task in tasks.items()
    }
    place.pass_on(level.wishes, level.siblings)
    return with_edges(changed, level.wishes) if level.wishes else changed


def _is_ours(task: MapNode, level: Place) -> bool:
    """Whether nothing in a task could be that tool's."""
    if level.names:
        return False
    found = task.keys() & TASK_WORDS
    if found and not all(key in _OURS and _OURS[key](task[key]) for key in found):
        return False
    return not any(key in task and may_be_theirs(task[key]) for key in TEMPLATES)


def _is_no_mapping(value: Node) -> bool:
    return not isinstance(value, MapNode)


_OURS: Final[Mapping[str, Callable[[Node], bool]]] = {
    "command": _is_no_mapping,
    "script": _is_no_mapping,
    "on_complete": lambda on_complete: not has_notice(on_complete),
    "on_error": lambda on_error: not has_plain_retry(on_error),
    "retry": lambda retry: not has_plain_retry(retry),
}
"""By key that both tools have: whether a value is in a shape that only we read."""


def _with_fetches(tasks: MapNode) -> tuple[MapNode, dict[str, str]]:
    """The tasks, before each that iterates over what a server gives the task that fetches it, and the names of those."""
    made = _fetches({name: task for name, task in tasks.items() if isinstance(task, MapNode)}, tasks)
    if not made:
        return tasks, {}
    whole = MapNode(tasks.mark)
    for name in tasks:
        if name in made:
            fetch, task = made[name]
            whole.put(fetch, tasks.key_marks.get(name, tasks.mark), task, task.mark)
        whole.take(tasks, name)
    return whole, {name: fetch for name, (fetch, _) in made.items()}


def _with_listed_fetches(tasks: ListNode) -> tuple[ListNode, dict[str, str]]:
    """The same for a list."""
    named = _by_id(tasks)
    made = _fetches({name: task for name, (_, task) in named.items()}, named)
    if not made:
        return tasks, {}
    before = {named[name][0]: entry for name, entry in made.items()}
    whole = ListNode(tasks.mark)
    for index, (item, mark) in enumerate(zip(tasks, tasks.marks, strict=True)):
        if index in before:
            fetch, task = before[index]
            whole.put(laid_over(task, {"id": fetch}, task.mark), mark)
        whole.put(item, mark)
    return whole, {name: fetch for name, (fetch, _) in made.items()}


def _fetches(tasks: Mapping[str, MapNode], taken: Iterable[str]) -> dict[str, tuple[str, MapNode]]:
    """By task: the name of the task that fetches its items, which is nobody else's, and that task."""
    made = {name: fetch for name, task in tasks.items() if (fetch := fetch_of(task, name)) is not None}
    free = FreeNames(taken if made else ())
    return {name: (free.take(name, "_items"), fetch) for name, fetch in made.items()}


def _rewritten(task: MapNode, place: Place) -> MapNode:
    """One task in our words."""
    task, inner = with_loop(task, place)
    task, inner = with_subflow(task, inner)
    task = _with_subtasks(task, inner)
    task = with_performer(task, inner)
    task = _with_variables(_with_inputs(task), inner)
    task = with_task_outputs(task, inner)
    task = _with_condition(task, place)
    task = with_plain_retry(task, place.file.aside)
    task = with_notice(task, place.file.aside)
    task = _with_options(task, place)
    return _with_texts(_with_children(task, inner), inner)


def _with_children(task: MapNode, place: Place) -> MapNode:
    """The task with the tasks inside it in our words, where they are under `tasks:`."""
    tasks = task.get("tasks")
    changed = rewritten_tasks(tasks, place)
    if changed is tasks:
        return task
    copy = task.without(())
    copy["tasks"] = changed
    return copy


def _with_subtasks(task: MapNode, place: Place) -> MapNode:
    """A composite, or a collection of them, for a task with `subtasks`."""
    subtasks = task.get("subtasks")
    items = [item for item in subtasks if isinstance(item, MapNode)] if isinstance(subtasks, ListNode) else []
    if not isinstance(subtasks, ListNode) or not items or len(items) < len(subtasks):
        return task.without(("subtasks",)) if subtasks == [] else task
    children = MapNode(subtasks.mark)
    for item in items:
        for name, child in item.items():
            mark = item.key_marks.get(name, item.mark)
            if name in children:
                place.file.report.add("E133", mark, f"subtasks: the task {name!r} is there twice")
            elif isinstance(child, MapNode):
                children.put(name, mark, _inheriting(child, task), child.mark)
            else:
                children.put(name, mark, child, mark)
    parent = task.without({"subtasks", "agent", "on_error", "inject_context"})
    entries: dict[str, Node] = {"tasks": children}
    if "type" not in task:
        entries = {"type": "composite", **entries}
    return laid_over(parent, entries, mark_of(task, "subtasks"))


def _inheriting(child: MapNode, parent: MapNode) -> MapNode:
    """A subtask with what it takes over from its parent."""
    wanted = [key for key in _INHERITED if key in parent and key not in child]
    if not child.keys().isdisjoint(PERFORMERS):
        wanted = [key for key in wanted if key != "agent"]
    if not wanted:
        return child
    copy = child.without(())
    for key in wanted:
        copy.take(parent, key)
    return copy


def _with_inputs(task: MapNode) -> MapNode:
    """`inputs:` of a task is its `with:`; what its performer has put there comes first."""
    inputs = task.get("inputs")
    if not isinstance(inputs, MapNode):
        return task
    given = task.get("with")
    if given is not None and not isinstance(given, MapNode):
        return task
    merged = laid_over(inputs, given or {}, mark_of(task, "inputs"))
    return laid_over(task.without(("inputs",)), {"with": merged}, mark_of(task, "inputs"))


def _with_variables(task: MapNode, place: Place) -> MapNode:
    """An agent in a loop gets the loop's variables where it is given nothing else: that tool has them in its prompt."""
    if not place.names or "with" in task or task.keys().isdisjoint({"agent", "action"}):
        return task
    given: dict[str, Node] = {name: "{{ " + read + " }}" for name, read in place.names.items()}
    return laid_over(task, {"with": mapping(task.mark, given)}, task.mark)


def _with_condition(task: MapNode, place: Place) -> MapNode:
    condition = task.get("condition")
    if not isinstance(condition, MapNode) or "when" in task:
        return task  # of two conditions, the loader names the one that it does not know
    text = expression(condition, place)
    if text is None:
        return task
    return laid_over(task.without(("condition",)), {"when": text}, mark_of(task, "condition"))


def _with_options(task: MapNode, place: Place) -> MapNode:
    """Keys for the agent go to its options, where there is one; the rest is set aside."""
    aside = place.file.aside
    task = aside.strip(task, TASK_ASIDE)
    if task.keys().isdisjoint(TASK_OPTIONS):
        return task
    if "agent" not in task and "action" not in task:
        return aside.strip(task, TASK_OPTIONS, "only an agent could act on it")
    aside.strip(task, UNCHECKED, "the agent finds it in its options; nothing here checks it")
    return with_options(task, TASK_OPTIONS)


def _with_texts(task: MapNode, place: Place) -> MapNode:
    """The task with that tool's variables in its templates spelled as ours; what a shell reads is opaque."""
    changes: dict[str, Node] = {}
    for key in TEMPLATES:
        value = task.get(key)
        if value is None or (key == "command" and isinstance(value, str)):
            continue
        changed = respelled(value, mark_of(task, key), place)
        if changed is not value:
            changes[key] = changed
    if not changes:
        return task
    copy = task.without(())
    copy.update(changes)
    return copy
