"""Blocking hooks, for the naive model: whose lists hold for what, and how far each line of them has come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actorflow.core.events import Event, HookFinished, HookLost, HookStarted
from actorflow.spec.model import HookSpec, WorkflowSpec

OF_TASKS = ("task_started", "task_finished")
FAILURES = ("failed", "timed_out", "canceled")


def hooks_for(spec: WorkflowSpec, event: Any, subject: str = "") -> list[tuple[str, HookSpec]]:
    """The hooks of an event with their paths: the task's own, where it is about one, the workflow's, the defaults'."""
    lists = [("", spec.hooks), ("defaults.", spec.default_hooks)][: 2 if spec.hooks.inherit else 1]
    found: list[tuple[str, HookSpec]] = []
    if event in OF_TASKS:
        (task,) = (task for task in spec.tasks if task.id == subject)
        own = (f"tasks.{task.id}.", task.hooks)
        lists = [own, *lists] if task.hooks.inherit else [own]
        if event == "task_finished" and task.notify is not None:
            found.append((f"tasks.{task.id}.on_complete", HookSpec(mode="async")))
    for prefix, hooks in lists:
        found += [(f"{prefix}{event}[{number}]", hook) for number, hook in enumerate(hooks.of(event))]
    return found


def hook_of(spec: WorkflowSpec, event: HookStarted | HookFinished) -> tuple[str, HookSpec]:
    """The hook that an event tells of, with its path."""
    return hooks_for(spec, event.event, event.subject)[event.index]


def places(spec: WorkflowSpec, event: str, subject: str = "") -> list[tuple[str, int]]:
    """The hooks of an event that are waited for."""
    hooks = hooks_for(spec, event, subject)
    return [(event, index) for index, (_, hook) in enumerate(hooks) if hook.mode == "blocking"]


def is_refusal(spec: WorkflowSpec, event: HookFinished) -> bool:
    """Whether a hook's end ends its line, and fails what it is about."""
    return event.status in FAILURES and hook_of(spec, event)[1].on_error == "fail"


class Line:
    """How far some lists of hooks have come, one after the other, in a history."""

    def __init__(
        self,
        spec: WorkflowSpec,
        names: Sequence[str],
        subject: str,
        history: Sequence[tuple[int, Event]],
    ) -> None:
        self.subject = subject
        self.places = [place for name in names for place in places(spec, name, subject)]
        mine = [
            (at, event)
            for at, event in history
            if isinstance(event, HookStarted | HookFinished | HookLost)
            and event.event in names
            and event.subject == subject
        ]
        ended = [(at, event) for at, event in mine if isinstance(event, HookFinished)]
        self.began_at = mine[0][0] if mine else None  #: the position of its first hook
        self.over_at = ended[-1][0] if ended else None  #: that of the last one that has ended
        self.refusal = next((event for _, event in ended if is_refusal(spec, event)), None)
        done = [(event.event, event.index) for _, event in ended]
        self.left = [] if self.refusal else [place for place in self.places if place not in done]
        last = mine[-1][1] if mine else None
        self.running = (last.event, last.index) if isinstance(last, HookStarted) else None
        self._ended = [event for _, event in ended]

    @property
    def is_idle(self) -> bool:
        """Whether its next hook may have its turn."""
        return bool(self.left) and self.running is None

    @property
    def vars(self) -> dict[str, Any]:
        """What the transforms of the list at hand have set."""
        known: dict[str, Any] = {}
        for event in self._ended:
            if event.status == "ok" and event.event == self.left[0][0]:
                known.update(event.record.get("vars", {}))
        return known
