"""What the row of a run must say, from its events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

from actorflow.core.events import (
    DefinitionChanged,
    Event,
    GenerationStarted,
    PauseRequested,
    Resumed,
    RunFinished,
    RunStarted,
)
from actorflow.core.plan import Plan
from actorflow.core.state import RunState
from actorflow.journal.protocol import RunStatus, RunSummary

__all__ = ["definition_of", "folded", "summary_after"]

_STATUS_AFTER: Final[dict[type[Event], RunStatus]] = {
    GenerationStarted: "running",
    Resumed: "running",
    PauseRequested: "paused",
}


def summary_after(state: RunState, event: Event) -> RunSummary | None:
    """The row of a run behind an event that is in its state already; None: the event leaves it as it was."""
    status = _STATUS_AFTER.get(type(event))
    if status is None and not isinstance(event, RunFinished):
        return None
    return RunSummary(
        status=status if status is not None else cast("RunFinished", event).outcome,
        generation=state.generation,
        started_at=state.run_started_at,
        ended_at=state.ended_at,
    )


def folded(plan: Plan, events: Iterable[Event]) -> tuple[RunState, RunSummary | None]:
    """The state behind events from the first on, and the row of the run.

    Raises:
        IllegalTransitionError: they are not those of a run of this plan.
    """
    state = RunState(plan)
    summary: RunSummary | None = None
    for event in events:
        state.apply(event)
        summary = summary_after(state, event) or summary
    return state, summary


def definition_of(events: Iterable[Event]) -> str:
    """The hash of the definition that a run goes by; empty: nothing says it."""
    pins = (event.definition for event in events if isinstance(event, RunStarted | DefinitionChanged))
    return next(reversed([*pins]), "")
