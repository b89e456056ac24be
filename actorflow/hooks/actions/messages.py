"""Messages for people and machines that read logs: the actions `log` and `notify`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from attrs import frozen

from actorflow.core.delivery import TryResult
from actorflow.core.hook_context import HookContext
from actorflow.hooks.actions.action import Action, ActionSurroundings

__all__ = ["LogAction", "NotifyAction"]

_log: Final = logging.getLogger("actorflow.hooks")
_notifications: Final = logging.getLogger("actorflow.notify")

_LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}


@frozen
class LogAction(Action):
    """A record for the logger `actorflow.hooks`; its facts are under `actorflow`, which clashes with no other."""

    is_batchable: ClassVar[bool] = True
    commits_batches: ClassVar[bool] = False
    bounds_itself: ClassVar[bool] = False

    async def deliver(self, batch: Sequence[HookContext], around: ActionSurroundings) -> Sequence[TryResult]:
        """Log all, one behind the other."""
        return [_logged(context, around.secrets.hidden(context.params)) for context in batch]


@frozen
class NotifyAction(Action):
    """A notice for people: a record for the logger `actorflow.notify`."""

    is_batchable: ClassVar[bool] = True
    commits_batches: ClassVar[bool] = False
    bounds_itself: ClassVar[bool] = False

    async def deliver(self, batch: Sequence[HookContext], around: ActionSurroundings) -> Sequence[TryResult]:
        """Log all, one behind the other."""
        return [_noticed(context, around.secrets.hidden(context.params)) for context in batch]


def _logged(context: HookContext, params: Mapping[str, Any]) -> TryResult:
    facts = {
        "run_id": context.run_id,
        "event": context.event,
        "task": _task_of(context),
        "delivery_id": context.delivery_id,
        "fields": params.get("fields", {}),
    }
    _log.log(_LEVELS[params.get("level", "info")], "%s", params["message"], extra={"actorflow": facts})
    return TryResult()


def _noticed(context: HookContext, params: Mapping[str, Any]) -> TryResult:
    facts = {
        "run_id": context.run_id,
        "delivery_id": context.delivery_id,
        "title": params.get("title", ""),
        "priority": params.get("priority", "normal"),
    }
    about = _task_of(context) or context.workflow
    _notifications.info("%s: %s", about, params["message"], extra=facts)
    return TryResult()


def _task_of(context: HookContext) -> str | None:
    return None if context.task is None else str(context.task["id"])
