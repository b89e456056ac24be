"""The attempts of a run, and when it rested, read off its events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, TypeAlias

from attrs import asdict, define, frozen

from actorflow.core.events import (
    AttemptCanceled,
    AttemptEvent,
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
    AttemptSucceeded,
    AttemptTimedOut,
    Event,
    GenerationStarted,
    HookLost,
    Resumed,
)

Outcome: TypeAlias = Literal["success", "failed", "timed_out", "canceled", "lost"]

OUTCOMES: Final[dict[type[Event], Outcome]] = {
    AttemptSucceeded: "success",
    AttemptFailed: "failed",
    AttemptTimedOut: "timed_out",
    AttemptCanceled: "canceled",
    AttemptLost: "lost",
}


@frozen
class Attempt:
    """An attempt at a task, or one of those that a crash cut off."""

    task: str
    attempt: int
    loss: int
    agent: str
    generation: int
    started_at: float  #: epoch seconds
    ended_at: (
        float | None
    )  #: when its end was recorded: of a lost one, when the loss was noticed; None: it runs
    outcome: Outcome | None  #: None: it runs


@frozen
class Timeline:
    """What a run did when."""

    attempts: tuple[Attempt, ...] = ()  #: in the order in which they started
    #: from the last that is known of it to its going on: crashed, paused, or between two generations
    rests: tuple[tuple[float, float], ...] = ()
    last_at: float = 0.0  #: of its last event

    def of_generation(self, generation: int) -> Timeline:
        """The attempts of one generation alone."""
        attempts = tuple(each for each in self.attempts if each.generation == generation)
        return Timeline(attempts, self.rests, self.last_at)


@define
class Begun:
    """An attempt as its two events have it."""

    start: AttemptStarted
    generation: int
    end: AttemptEvent | None = None  #: None: it runs


def timeline_of(events: Iterable[tuple[int, Event]]) -> Timeline:
    """What a run did when."""
    known = [event for _, event in events]
    attempts = tuple(map(_attempt, begun(known)))
    return Timeline(attempts, tuple(_rests(known)), known[-1].at if known else 0.0)


def begun(events: Iterable[Event]) -> list[Begun]:
    """All attempts of a run as their events have them, in the order in which they started."""
    found: list[Begun] = []
    open_: dict[str, Begun] = {}
    generation = 1
    for event in events:
        if isinstance(event, GenerationStarted):
            generation = event.generation
        elif isinstance(event, AttemptStarted):
            open_[event.task] = Begun(event, generation)
            found.append(open_[event.task])
        elif isinstance(event, AttemptEvent) and event.task in open_:
            open_.pop(event.task).end = event
    return found


def attempt_documents(timeline: Timeline) -> list[dict[str, Any]]:
    """The JSON of all attempts."""
    return [asdict(attempt) for attempt in timeline.attempts]


def _attempt(each: Begun) -> Attempt:
    start, end = each.start, each.end
    return Attempt(
        task=start.task,
        attempt=start.attempt,
        loss=start.loss,
        agent=start.agent,
        generation=each.generation,
        started_at=start.at,
        ended_at=None if end is None else end.at,
        outcome=None if end is None else OUTCOMES[type(end)],
    )


def _rests(events: Sequence[Event]) -> list[tuple[float, float]]:
    """Of a crash nothing is known but the last event before it; losses are noticed after it."""
    rests: list[tuple[float, float]] = []
    alive_at = events[0].at if events else 0.0
    for event in events:
        if isinstance(event, Resumed | GenerationStarted) and event.at > alive_at:
            rests.append((alive_at, event.at))
        if not isinstance(event, AttemptLost | HookLost):
            alive_at = event.at
    return rests
