"""Declared outputs of a task: `{rows: {source: {type: task_output, task: fetch}}}`.

What a task gives is its agent's output. A source that is a task's output is a template over it; a file or a state is
nothing that a task gives here, so it is set aside, and whoever reads it reads a field of the agent's output.
"""

from __future__ import annotations

import re
from typing import Final

from actorflow.spec.compat.places import Place
from actorflow.spec.compat.spellings import OWN_FIELDS
from actorflow.spec.compat.trees import laid_over, mark_of
from actorflow.spec.text.nodes import MapNode, Node

__all__ = ["declared_source", "results_of", "with_task_outputs"]

_OWN: Final = re.compile(r"\$\{\s*task\.([A-Za-z_]\w*)\s*\}")
_OUTPUT_KEYS: Final = frozenset({"source", "description"})
_SOURCES: Final = frozenset({"file", "state", "task_output"})
_HINT: Final = "a file or state is no output here: what the task gives is its agent's output"


def with_task_outputs(task: MapNode, place: Place) -> MapNode:
    """The task with its `outputs` as templates."""
    outputs = task.get("outputs")
    if not isinstance(outputs, MapNode) or not outputs:
        return task
    made = MapNode(outputs.mark)
    for name, value in outputs.items():
        at = outputs.key_marks.get(name, outputs.mark)
        text = _template(value, place)
        if text is None:
            place.file.aside.note("outputs", outputs.key_marks.get(name, outputs.mark), _HINT)
        else:
            made.put(name, at, text, mark_of(outputs, name))
    if not made:
        return task.without(("outputs",))
    return laid_over(task, {"outputs": made}, mark_of(task, "outputs"))


def _template(value: Node, place: Place) -> Node:
    """One output as a template; None where it is a source that means nothing here."""
    if isinstance(value, str):
        own = _OWN.fullmatch(value)
        is_result = own is not None and own[1] not in place.siblings | OWN_FIELDS
        return "{{ output." + own[1] + " }}" if own is not None and is_result else value
    source = declared_source(value)
    if source is None:
        return value
    task = source.get("task")
    if source.get("type") != "task_output" or not isinstance(task, str):
        return None
    if task == place.task:
        return "{{ output }}"
    place.wish(task, source.mark)
    return "{{ tasks." + task + ".output }}"


def declared_source(value: Node) -> MapNode | None:
    """The source of an output in that tool's words; None for any other value, which is an output as it stands."""
    source = value.get("source") if isinstance(value, MapNode) else None
    if not isinstance(value, MapNode) or not isinstance(source, MapNode) or value.keys() - _OUTPUT_KEYS:
        return None
    kind = source.get("type")
    return source if isinstance(kind, str) and kind in _SOURCES else None


def results_of(tasks: Node) -> dict[str, str]:
    """By the name of a declared output: the only task that declares it."""
    found: dict[str, list[str]] = {}
    for task, node in tasks.items() if isinstance(tasks, MapNode) else ():
        outputs = node.get("outputs") if isinstance(node, MapNode) else None
        for name in outputs if isinstance(outputs, MapNode) else ():
            found.setdefault(name, []).append(task)
    return {name: by[0] for name, by in found.items() if len(by) == 1}
