"""Which tasks a definition calls sensitive."""

from __future__ import annotations

from typing import Final

from actorflow.spec.model import WorkflowSpec, every_task

HIDDEN: Final = "***"
"""Shown in place of what is sensitive."""


def sensitive_tasks(spec: WorkflowSpec) -> frozenset[str]:
    """The tasks whose outputs and messages are not shown: those that say so, and those with such a task inside.

    The output of the latter has that of the former in it.
    """
    found: set[str] = set()
    for task in reversed(every_task(spec.tasks)):  # children before what they are in
        if task.sensitive or any(child.id in found for child in task.children):
            found.add(task.id)
    return frozenset(found)
