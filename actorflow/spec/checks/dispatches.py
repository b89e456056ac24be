"""Tasks whose hooks start tasks whose hooks start them again: a circle that only the depth limit would end."""

from __future__ import annotations

from collections.abc import Iterator

from actorflow.spec.model import HookSpec, TaskId, TaskSpec, every_task
from actorflow.spec.order import cycles
from actorflow.spec.readers.draft import Draft
from actorflow.spec.text.nodes import ListNode, MapNode, Mark

__all__ = ["check_dispatches"]


def check_dispatches(draft: Draft) -> None:
    """Report each circle of tasks that dispatch each other by hooks of their own, or of what is inside them.

    Hooks that the workflow has for all tasks are left out: they belong to the run, and a dispatched task is a run of
    its own. A target that is no task of the file is the name of an agent.
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
        mark = next(_marks(block.node, path[1]), block.mark("hooks"))
        draft.report.add("E146", mark, f"{block.path}.hooks: {message}")


def _targets(task: TaskSpec) -> set[TaskId]:
    if not task.hooks.lists and not task.children:
        return set()
    hooks = (hook for each in every_task((task,)) for found in each.hooks.lists.values() for hook in found)
    return {target for hook in hooks if (target := _target(hook))}


def _target(hook: HookSpec) -> TaskId:
    target = hook.params.get("task_id") if hook.action == "dispatch_task" else None
    return target if isinstance(target, str) else ""


def _marks(task: MapNode, target: TaskId) -> Iterator[Mark]:
    """Where the task's own hooks name the target."""
    hooks = task.get("hooks")
    for hook_list in hooks.values() if isinstance(hooks, MapNode) else ():
        for hook in hook_list if isinstance(hook_list, ListNode) else ():
            params = hook.get("params") if isinstance(hook, MapNode) else None
            if isinstance(params, MapNode) and params.get("task_id") == target and "task_id" in params.marks:
                yield params.marks["task_id"]
