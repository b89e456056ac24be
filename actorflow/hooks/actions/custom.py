"""Actions that the program brings along: functions under a name of their own, and functions for an event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias, cast

from attrs import evolve, frozen

from actorflow.core.delivery import TryResult
from actorflow.core.hook_context import HookContext
from actorflow.hooks.actions.action import ActionSurroundings
from actorflow.hooks.records import plain_record
from actorflow.spec.action_contracts import ActionContract, ParamsRefused

__all__ = ["CodeAction", "CustomAction", "CustomFunction"]

CustomFunction: TypeAlias = Callable[[HookContext, Any], Awaitable[Mapping[str, Any] | None]]
"""What a custom action does with an event and its params; the mapping that it may return is kept in the record."""


@frozen
class CustomAction:
    """Calls a function of the program with the hook's params as an object of its class."""

    function: CustomFunction
    contract: ActionContract

    is_batchable: ClassVar[bool] = False
    bounds_itself: ClassVar[bool] = False

    async def deliver(self, batch: Sequence[HookContext], around: ActionSurroundings) -> Sequence[TryResult]:
        """Call the function for one delivery."""
        del around
        (context,) = batch
        try:
            params = self.contract.structured(_copied(context.params or {}))
        except ParamsRefused as refused:
            return [TryResult(status="failed", error=f"params: {refused}", is_final=True)]
        return [await _called(self.function(_copied_context(context), params))]


@frozen
class CodeAction:
    """Calls the function that the program has for an event under the hook's name."""

    is_batchable: ClassVar[bool] = False
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
    told: object = await call
    match told:
        case None:
            return TryResult()
        case Mapping():
            return TryResult(record=plain_record(told))
        case _:
            error = (
                f"the function returned a {type(told).__name__}; return a mapping for the record, or nothing"
            )
            return TryResult(status="failed", error=error, is_final=True)


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
