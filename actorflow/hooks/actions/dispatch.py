"""The dispatch_task action: starts a task, or an agent, as a run of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from attrs import frozen

from actorflow.core.delivery import TryResult
from actorflow.core.hook_context import HookContext
from actorflow.hooks.actions.action import Action, ActionSurroundings, DispatchRefused

__all__ = ["DispatchAction"]


@frozen
class DispatchAction(Action):
    """Starts a run; `run_id` in the record names it. What becomes of that run is nothing to this one."""

    is_batchable: ClassVar[bool] = False
    commits_batches: ClassVar[bool] = False
    bounds_itself: ClassVar[bool] = False

    async def deliver(self, batch: Sequence[HookContext], around: ActionSurroundings) -> Sequence[TryResult]:
        """Start the run of one delivery; a second try is to find the run that the first has started."""
        (context,) = batch
        target, given = context.params["task_id"], context.params.get("input", {})
        if around.secrets.hidden(given) != given:
            error = f"the input for {target} holds a secret, and a run's input is recorded; name the secret where it is used"
            return [TryResult(status="failed", error=error, final="failed")]
        try:
            run_id = await around.dispatch(context, target, given)
        except DispatchRefused as refused:
            if refused.is_depth:
                return [TryResult(skip=refused.reason)]
            if refused.is_missing:
                return [TryResult(status="refused", error=refused.reason)]
            return [TryResult(status="failed", error=refused.reason, final="failed")]
        return [TryResult(record={"run_id": run_id})]
