"""The metric action: one measurement for each event."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, ClassVar, Final

from attrs import frozen

from actorflow.core.delivery import TryResult
from actorflow.core.hook_context import HookContext
from actorflow.hooks.actions.action import Action, ActionSurroundings

__all__ = ["MetricAction"]

_LONGEST_SHOWN: Final = 60


@frozen
class MetricAction(Action):
    """Records a measurement; what was recorded is in the record of the try: name, kind, value and tags."""

    is_batchable: ClassVar[bool] = True
    commits_batches: ClassVar[bool] = False
    bounds_itself: ClassVar[bool] = False

    async def deliver(self, batch: Sequence[HookContext], around: ActionSurroundings) -> Sequence[TryResult]:
        """Record all, one behind the other."""
        return [_recorded(around.secrets.hidden(context.params), around) for context in batch]


def _recorded(params: Mapping[str, Any], around: ActionSurroundings) -> TryResult:
    name, kind = params["name"], params.get("kind", "counter")
    value = _number(params.get("value", 1))
    if value is None:
        shown = repr(params["value"])
        shown = shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"
        error = f"the value of {name} must be a finite number, not {shown}"
        return TryResult(status="failed", error=error, final="failed")
    tags = {tag: _tag_text(of) for tag, of in params.get("tags", {}).items()}
    try:
        around.metrics.record(name, kind, value, tags)
    except ValueError as error:
        return TryResult(status="failed", error=str(error), final="failed")
    return TryResult(record={"name": name, "kind": kind, "value": value, "tags": tags})


def _number(value: Any) -> float | None:
    """The value, if it is a finite number; neither booleans nor texts are."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if isfinite(number) else None


def _tag_text(value: Any) -> str:
    """As templates put values into a text."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)
