"""What a definition may say and a run of this version cannot do yet.

Such a definition loads and validates: the format is one. A run of it is refused before it exists, so that nothing of it is
passed over in silence. What a run learns to do loses its row here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from actorflow.errors import Problem
from actorflow.spec.model import TaskSpec, WorkflowSpec

__all__ = ["unsupported"]

_Found: TypeAlias = tuple[str, str]
"""A place, and what of it cannot be done."""


def unsupported(spec: WorkflowSpec) -> tuple[Problem, ...]:
    """Everything in a definition that a run of it could not do, each with code E190, in the order of the definition.

    Args:
        spec: a workflow that could run: one with several entries must have been `chosen`.
    """
    found = (row for task in (*spec.tasks, *spec.dispatched) for row in _of_task(task))
    file = spec.path or ""
    return tuple(Problem("E190", f"{place}: {what} cannot run yet", file=file) for place, what in found)


def _of_task(task: TaskSpec) -> Iterator[_Found]:
    place = f"tasks.{task.id}"
    if task.type != "basic":
        yield place, f"a task of type {task.type}"
    elif task.loop is not None:
        yield f"{place}.loop", "a task in a loop"
