"""What hooks start: tasks of the file, each as a run of its own, or agents in their place.

A task that a hook starts is no node of the run whose hook it is, nor of any other: it is checked by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TypeVar

from attrs import evolve

from actorflow.spec.checks.dependencies import check_order
from actorflow.spec.checks.templates import check_templates
from actorflow.spec.model import HookLists, TaskId, TaskSpec, WorkflowSpec, every_task
from actorflow.spec.order import cycles
from actorflow.spec.readers.draft import Dispatch, Draft, Level, Site

__all__ = ["dispatched_by", "set_apart"]

_T = TypeVar("_T")


def set_apart(draft: Draft, hooks: Iterable[HookLists]) -> None:
    """Take the tasks that hooks start out of the file's own, and check each as the only task of a run.

    Args:
        draft: all of its tasks are read.
        hooks: all lists of the file that are not a task's.
    """
    if not draft.dispatches:
        return
    _check_targets(draft)
    _report_circles(draft)
    tasks = draft.top.tasks
    of_tasks = (task.hooks for task in every_task(tuple(tasks.values())))
    named = {name for found in (*hooks, *of_tasks) for name in found.dispatched}
    draft.dispatched = {name: task for name, task in tasks.items() if name in named}
    if draft.dispatched:
        _check_each(draft)


def dispatched_by(spec: WorkflowSpec) -> tuple[TaskSpec, ...]:
    """Those of a definition's dispatched tasks that its hooks start, or hooks of what these start, in their order."""
    known = {task.id: task for task in spec.dispatched}
    pending = [name for hooks in spec.hooks_of_run for name in hooks.dispatched]
    found: set[TaskId] = set()
    while pending:
        name = pending.pop()
        if name in known and name not in found:
            found.add(name)
            pending.extend(_targets(known[name]))
    return tuple(task for name, task in known.items() if name in found)


def _targets(task: TaskSpec) -> set[TaskId]:
    """What the hooks of a task start, or those of what is inside it."""
    if not task.hooks.lists and not task.children:
        return set()
    return {name for each in every_task((task,)) for name in each.hooks.dispatched}


def _check_targets(draft: Draft) -> None:
    """A target that is no task of the file is an agent: report what only looks like one."""
    containers = {name: level.owner for level in draft.inner for name in level.tasks}
    for dispatch in draft.dispatches:
        if dispatch.target not in draft.tasks and dispatch.target not in draft.agents:
            _check_agent(draft, dispatch, containers.get(dispatch.target))


def _check_agent(draft: Draft, dispatch: Dispatch, container: TaskId | None) -> None:
    target, params = dispatch.target, dispatch.params
    if container is not None:
        message = (
            f"{target!r} is inside of the container {container!r}: only tasks of the file can be started"
        )
        params.fault("E138", "task_id", message, f"name {container!r}, or move it out")
        return
    hint = draft.report.nearest(target, (*draft.tasks, *draft.agents))
    if hint:
        message = (
            f"{params.path_of('task_id')}: {target!r} is no task of the file, and no agent that it declares"
        )
        draft.report.warn("W102", params.mark("task_id"), message, hint)


def _report_circles(draft: Draft) -> None:
    """Report each circle of tasks that dispatch each other by hooks of their own, or of what is inside them.

    Hooks that the workflow has for all tasks are left out: they belong to the run, and a dispatched task is a run of
    its own.
    """
    tasks = draft.tasks
    targets = {name: found for name, task in tasks.items() if (found := _targets(task) & tasks.keys())}
    names = list(targets)
    number = {name: index for index, name in enumerate(names)}
    edges = [[number[target] for target in sorted(targets[name]) if target in number] for name in names]
    for circle in cycles(edges):
        path = [names[node] for node in [*circle, circle[0]][::-1]]
        block = draft.task_blocks[path[0]]
        message = f"hooks of these tasks start each other without end: {' -> '.join(path)}"
        steps = (each for each in draft.dispatches if each.level is draft.top and each.task == path[0])
        marks = (each.params.mark("task_id") for each in steps if each.target == path[1])
        draft.report.add("E146", next(marks, block.mark("hooks")), f"{block.path}.hooks: {message}")


def _check_each(draft: Draft) -> None:
    """Check each dispatched task by itself, and leave the file's level without them."""
    top = draft.top
    rest = {name: task for name, task in top.tasks.items() if name not in draft.dispatched}
    jumps = _by_task((jump.source, jump) for jump in top.jumps)
    levels: dict[TaskId, list[Level]] = _by_task((level.root_of(""), level) for level in draft.inner)
    sites: dict[TaskId, list[Site]] = _by_task((site.scope.root_task, site) for site in draft.sites)
    for name, task in draft.dispatched.items():
        top.tasks, top.jumps = {name: task}, jumps[name]
        alone = evolve(
            draft, alone=name, inputs=None, stages=[], stage_blocks=[], inner=levels[name], sites=sites[name]
        )
        check_order(alone)
        check_templates(alone, {name})
    top.tasks = rest
    top.jumps = [jump for name in rest for jump in jumps[name]]
    draft.inner = [level for name in rest for level in levels[name]]


def _by_task(pairs: Iterable[tuple[TaskId, _T]]) -> dict[TaskId, list[_T]]:
    found: defaultdict[TaskId, list[_T]] = defaultdict(list)
    for name, value in pairs:
        found[name].append(value)
    return found
