"""What a definition may say and a run of this version cannot do yet.

Such a definition loads and validates: the format is one. A run of it is refused before it exists, so that nothing of it is
passed over in silence. What a run learns to do loses its row here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from actorflow.errors import Problem
from actorflow.spec.model import HookLists, HttpRunner, TaskSpec, WorkflowSpec

__all__ = ["unsupported"]

_Found: TypeAlias = tuple[str, str]
"""A place, and what of it cannot be done."""


def unsupported(spec: WorkflowSpec) -> tuple[Problem, ...]:
    """Everything in a definition that a run of it could not do, each with code E190, in the order of the definition.

    Args:
        spec: a workflow that could run: one with several entries must have been `chosen`.
    """
    found = (
        *_of_agents(spec),
        *(row for task in (*spec.tasks, *spec.dispatched) for row in _of_task(task)),
        *_of_hooks("hooks", spec.hooks),
        *_of_hooks("defaults.hooks", spec.default_hooks),
    )
    file = spec.path or ""
    return tuple(Problem("E190", f"{place}: {what} cannot run yet", file=file) for place, what in found)


_TASK: Final[tuple[tuple[str, str, Callable[[TaskSpec], bool]], ...]] = (
    ("loop", "a task in a loop", lambda task: task.loop is not None),
    ("http", "an HTTP request", lambda task: isinstance(task.runner, HttpRunner)),
)
"""By key: what of a task cannot run, and how it is told that a task has it."""


def _of_agents(spec: WorkflowSpec) -> Iterator[_Found]:
    for name in dict.fromkeys((*spec.agent_names, *spec.dispatch_agents)):
        if name in spec.agents and isinstance(spec.agents[name].runner, HttpRunner):
            yield f"agents.{name}.http", "an HTTP request"


def _of_task(task: TaskSpec) -> Iterator[_Found]:
    place = f"tasks.{task.id}"
    if task.type != "basic":
        yield place, f"a task of type {task.type}"
        return
    for key, what, is_given in _TASK:
        if is_given(task):
            yield f"{place}.{key}", what
    yield from _of_hooks(f"{place}.hooks", task.hooks)


def _of_hooks(place: str, hooks: HookLists) -> Iterator[_Found]:
    for event, found in hooks.lists.items():
        for index, hook in enumerate(found):
            if hook.action == "webhook":
                yield f"{place}.{event}[{index}]", "a hook of type webhook"
