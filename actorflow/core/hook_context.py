"""What an action is told of the event that it is performed for: a frozen snapshot, rendered from the journal alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from actorflow.spec.model import HookEvent, HookSpec

HIDDEN = "***"
"""In place of what is sensitive, for those who do not name it."""


@frozen(kw_only=True)
class HookContext:
    """One delivery, as its action sees it. All of it is JSON but `spec`, and `params` until secrets are put in.

    Sensitive inputs and outputs read `***` here; who names them in a template has them in `params`.
    """

    delivery_id: str  #: the same for all tries of a delivery, over restarts
    event: HookEvent
    path: str  #: of the hook, such as `task_finished[0]` or `tasks.fetch.task_finished[0]`
    spec: HookSpec = field(repr=False)
    run_id: str
    workflow: str
    generation: int
    at: float  #: when it happened, in epoch seconds
    status: str  #: of the task, where it is an event of a task; else of the run, or of its stage
    stage: str = ""  #: the one that was entered last, or that has ended
    task: Mapping[str, Any] | None = None  #: `{id, type, status, attempt, error, duration_ms}`
    output: Any = None  #: the task's, once it has ended
    error: Mapping[str, Any] | None = None  #: `{type, message, attempt, task}` of the task, or of the run
    input: Mapping[str, Any] = field(factory=dict[str, Any])  #: the run's
    detail: Mapping[str, Any] = field(
        factory=dict[str, Any]
    )  #: what only this event has, such as `due_at` or `reason`
    vars: Mapping[str, Any] = field(factory=dict[str, Any])  #: what transforms of the same list have set
    params: Any = None  #: rendered; of a `command`: `{command, env}`
    number: int = 1  #: of the try at hand
    is_asked_for: bool = False  #: by an operator, who wants it made whatever has been before
    batch: str = ""  #: of those that are sent as one: what the target knows them by, the same for all tries

    @property
    def error_text(self) -> str:
        """Why it failed, in one line that begins with the task; empty if it has not."""
        if self.error is None:
            return ""
        task, message = self.error.get("task"), str(self.error.get("message", ""))
        return f"{task}: {message}" if task else message

    def document(self) -> dict[str, Any]:
        """The event as JSON: what is sent where a hook does not say what."""
        return {
            "event": self.event,
            "run_id": self.run_id,
            "workflow": self.workflow,
            "generation": self.generation,
            "at": self.at,
            "status": self.status,
            "stage": self.stage,
            "task": self.task,
            "output": self.output,
            "error": self.error,
            **({"detail": self.detail} if self.detail else {}),
        }
