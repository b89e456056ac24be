"""Named workflows: stages whose tasks are written out in place, and lists of tasks without stages.

    steps: [{stage: build, agents: [builder], tasks: [compile: {description: …}], mode: sequential}]

A task that a stage writes out, and `tasks:` does not have, is lifted there. What it repeats of one that is there already
says nothing new and goes unread; what says something else is refused.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

from actorflow.spec.compat.aside import SetAside
from actorflow.spec.compat.trees import each, laid_over, listing, mark_of, taken
from actorflow.spec.compat.words import ENTRY_ASIDE, PERFORMERS, STEP_ASIDE
from actorflow.spec.text.nodes import ListNode, MapNode, Mark, Node
from actorflow.spec.text.report import Report

__all__ = ["with_steps"]

_MODES: Final = ("sequential", "parallel")


def with_steps(root: MapNode, aside: SetAside, report: Report) -> MapNode:
    """The definition with plain names in its stages, and with all tasks under `tasks:`."""
    lifted = _Lifted(_known(root.get("tasks")), aside, report)
    root = each(root, "workflows", lambda entry: _with_stages(entry, lifted))
    if not lifted.found:
        return root
    tasks = root.get("tasks")
    if tasks is not None and not isinstance(tasks, MapNode):
        return root
    whole = tasks.without(()) if isinstance(tasks, MapNode) else MapNode(root.mark)
    for name, (task, mark) in lifted.found.items():
        whole.put(name, mark, task, task.mark)
    return root.with_entry("tasks", whole, mark_of(root, "tasks"))


def _known(tasks: Node) -> dict[str, Node]:
    """The tasks of `tasks:` by name."""
    if isinstance(tasks, ListNode):
        named = [task for task in tasks if isinstance(task, MapNode)]
        return {str(task.get("id")): task.without(("id",)) for task in named}
    return dict(tasks) if isinstance(tasks, MapNode) else {}


@define
class _Lifted:
    """Tasks that stages write out and `tasks:` does not have."""

    known: dict[str, Node]  #: what `tasks:` has
    aside: SetAside
    report: Report
    found: dict[str, tuple[MapNode, Mark]] = field(factory=dict[str, tuple[MapNode, Mark]])

    def lift(self, name: str, task: Node, agent: Node, mark: Mark) -> None:
        """Take a task and the only agent of its stage, unless there is a task of that name; it may not differ."""
        written = task if isinstance(task, MapNode) else MapNode(mark)
        whole = _by_agent(written, agent, mark)
        if name in self.known:
            self._compare(name, written, self.known[name], mark)
        elif name not in self.found or not self.found[name][0]:
            self.found[name] = (whole, mark)
        elif written:
            self._compare(name, whole, self.found[name][0], mark)

    def _compare(self, name: str, task: MapNode, other: Node, mark: Mark) -> None:
        told = other if isinstance(other, MapNode) else MapNode()
        said = task.keys() - {"description"}  # it decides nothing: that tool's files vary it
        odd = next((key for key in sorted(said) if key not in told or told[key] != task[key]), None)
        if odd is not None:
            message = f"steps: the task {name!r} is written out a second time with another {odd!r}"
            self.report.add(
                "E133", task.key_marks.get(odd, mark), message, "keep one, and name it in the other"
            )


def _with_stages(entry: MapNode, lifted: _Lifted) -> MapNode:
    entry = lifted.aside.strip(entry, ENTRY_ASIDE)
    if "tasks" in entry and "steps" not in entry:
        entry = _as_one_stage(entry, lifted.aside)
    return each(entry, "steps", lambda step: _with_names(step, lifted))


def _as_one_stage(entry: MapNode, aside: SetAside) -> MapNode:
    """An entry with a list of tasks, and perhaps an `execution_mode`, is a workflow of one stage."""
    stage = taken(entry, {"tasks": "tasks"})
    mode = entry.get("execution_mode")
    entries: dict[str, Node] = {"stage": "tasks"}
    if isinstance(mode, str) and mode in _MODES:
        entries["mode"] = mode
    elif "execution_mode" in entry:
        at = entry.key_marks.get("execution_mode", entry.mark)
        aside.note("execution_mode", at, f"write {' or '.join(_MODES)}")
    mark = mark_of(entry, "tasks")
    steps = listing(mark, [laid_over(stage, entries, mark)])
    return laid_over(entry.without(("tasks", "execution_mode")), {"steps": steps}, mark)


def _with_names(step: MapNode, lifted: _Lifted) -> MapNode:
    """A stage with the names of its tasks; where that tool's default mode holds, the mode is said."""
    agents, tasks = step.get("agents"), step.get("tasks")
    if "agents" in step and "mode" not in step:
        step = step.with_entry("mode", "sequential", step.mark)
    step = lifted.aside.strip(step, STEP_ASIDE, "each task says who performs it")
    if isinstance(tasks, MapNode):
        tasks = listing(tasks.mark, [tasks])
    if not isinstance(tasks, ListNode) or not any(isinstance(item, MapNode) for item in tasks):
        return step
    alone = agents[0] if isinstance(agents, ListNode) and len(agents) == 1 else None
    names = ListNode(tasks.mark)
    for item, mark in zip(tasks, tasks.marks, strict=True):
        if not isinstance(item, MapNode):
            names.put(item, mark)
            continue
        for name, task in item.items():
            at = item.key_marks.get(name, item.mark)
            names.put(name, at)
            lifted.lift(name, task, alone, at)
    return step.with_entry("tasks", names, tasks.mark)


def _by_agent(task: MapNode, agent: Node, mark: Mark) -> MapNode:
    """A task that is written out in a stage; the stage's only agent performs it if nothing else is said."""
    if isinstance(agent, str) and task.keys().isdisjoint({*PERFORMERS, "subtasks"}):
        return laid_over(task, {"agent": agent}, mark)
    return task
