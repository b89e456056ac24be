"""Actions that the program brings along: functions under a name of their own, and functions for an event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import isfinite
from typing import Any, ClassVar, TypeAlias, cast

from anyio.lowlevel import checkpoint_if_cancelled
from attrs import evolve, frozen

from actorflow.core.delivery import TryResult
from actorflow.core.hook_context import HookContext
from actorflow.hooks.actions.action import Action, ActionSurroundings
from actorflow.hooks.reasons import reason_of
from actorflow.hooks.records import plain_record
from actorflow.spec.action_contracts import ActionContract, ParamsRefused

__all__ = ["CodeAction", "CustomAction", "CustomFunction"]

CustomFunction: TypeAlias = Callable[[HookContext, Any], Awaitable[Mapping[str, Any] | None]]
"""What a custom action does with an event and its params; the mapping that it may return is kept in the record."""


@frozen
class CustomAction(Action):
    """Calls a function of the program with the hook's params as an object of its class."""

    function: CustomFunction
    contract: ActionContract

    is_batchable: ClassVar[bool] = False
    commits_batches: ClassVar[bool] = False
    bounds_itself: ClassVar[bool] = False

    async def deliver(self, batch: Sequence[HookContext], around: ActionSurroundings) -> Sequence[TryResult]:
        """Call the function for one delivery."""
        del around
        (context,) = batch
        try:
            params = self.contract.structured(_copied(context.params or {}))
        except ParamsRefused as refused:
            return [TryResult(status="failed", error=f"params: {refused}", final="failed")]
        return [await _called(self.function(_copied_context(context), params))]


@frozen
class CodeAction(Action):
    """Calls the function that the program has for an event under the hook's name."""

    is_batchable: ClassVar[bool] = False
    commits_batches: ClassVar[bool] = False
    bounds_itself: ClassVar[bool] = False

    async def deliver(self, batch: Sequence[HookContext], around: ActionSurroundings) -> Sequence[TryResult]:
        """Call the function for one delivery."""
        (context,) = batch
        function = around.functions.get((context.event, context.spec.name))
        if function is None:
            error = f"this process has no function {context.spec.name!r} for {context.event}; register it with Runtime.on"
            return [TryResult(status="refused", error=error)]
        return [await _called(function(_copied_context(context)))]


async def _called(call: Awaitable[Mapping[str, Any] | None]) -> TryResult:
    """What a call has come to; what it raises goes on, unless it asks for a wait, as errors of HTTP clients do."""
    try:
        told: object = await call
    except Exception as raised:
        asked_s = _retry_after(raised)
        if asked_s is None:
            raise
        await checkpoint_if_cancelled()  # it may be all that was made of a cancellation
        return TryResult(status="failed", error=reason_of(raised), retry_after_s=asked_s)
    match told:
        case None:
            return TryResult()
        case Mapping():
            return TryResult(record=plain_record(told))
        case _:
            error = (
                f"the function returned a {type(told).__name__}; return a mapping for the record, or nothing"
            )
            return TryResult(status="failed", error=error, final="failed")


def _retry_after(error: Exception) -> float | None:
    """The seconds that an error asks for by its `retry_after`; anything but a sensible number is none."""
    try:
        asked = getattr(error, "retry_after", None)
        if isinstance(asked, bool) or not isinstance(asked, int | float):
            return None
        seconds = float(asked)
    except Exception:  # noqa: BLE001 - other people's code, or a number beyond all floats
        return None
    return seconds if isfinite(seconds) and seconds >= 0 else None


def _copied_context(context: HookContext) -> HookContext:
    """The function's own: what it changes in there is nothing to the run, and to other hooks."""
    return evolve(
        context,
        task=_copied(context.task),
        output=_copied(context.output),
        error=_copied(context.error),
        input=_copied(context.input),
        detail=_copied(context.detail),
        vars=_copied(context.vars),
        params=_copied(context.params),
    )


def _copied(value: Any) -> Any:
    """A copy of JSON."""
    match value:
        case Mapping():
            mapping = cast("Mapping[str, Any]", value)
            return {key: _copied(item) for key, item in mapping.items()}
        case [*items]:
            return [_copied(item) for item in items]
        case _:
            return value
