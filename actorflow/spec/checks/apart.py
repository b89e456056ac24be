"""Why a task cannot be named where it is: it, or who names it, is started by a hook."""

from __future__ import annotations

from actorflow.spec.model import TaskId
from actorflow.spec.readers.draft import Draft

__all__ = ["is_apart", "why_apart"]


def is_apart(draft: Draft, target: TaskId) -> bool:
    """Whether the file has this task, and the run that is being checked has it not, because of a hook that starts one."""
    return target in draft.top.blocks and target not in draft.top.tasks


def why_apart(draft: Draft, target: TaskId) -> tuple[str, str]:
    """What to say to who names such a task: a message and a hint."""
    if draft.alone:
        message = f"{draft.alone!r} is started by a hook, as a run of its own, which has no {target!r}"
        return message, "pass what it needs in the input of its dispatch_task"
    message = f"{target!r} is started by a hook, as a run of its own, and is no part of this one"
    return message, "take it out of here, or out of dispatch_task"
