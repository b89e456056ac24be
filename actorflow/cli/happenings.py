"""What happens to a task between its start and its end, in plain words: retries, fallbacks, breakers, deadlines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeAlias

from attrs import frozen

from actorflow.cli.layout import counted, duration
from actorflow.core.events import (
    AttemptLost,
    AttemptStarted,
    BreakerAllowed,
    BreakerClosed,
    BreakerOpened,
    BreakerRefused,
    BudgetExhausted,
    DeadLettered,
    DefinitionChanged,
    Event,
    FallbackChosen,
    FallbackValueUsed,
    RetriesExhausted,
    RetryScheduled,
    RunDeadlinePassed,
    SignalReceived,
    SleepStarted,
    TaskDeadlinePassed,
)
from actorflow.spec.model import TaskSpec, WorkflowSpec

IN_ATTEMPTS: Final = frozenset({"retry", "fallback", "lost"})
"""The words for what a table of a task's attempts shows as well."""


@frozen
class Happening:
    """An event that is told of, without anything that an agent said."""

    task: str | None  #: None: it is the run's
    word: str  #: what it is about
    text: str


Length: TypeAlias = Callable[[float], str]
"""How a length of time in seconds is written."""

STANDS_IN: Final = "its fallback value stands in"

_AT_ONCE_S: Final = 0.005
_SAME_S: Final = 0.1  # as people see it: two clocks, or two looks at one, are not that far apart


class Narrator:
    """Says what happens to a run, event by event, and nothing twice."""

    def __init__(self) -> None:
        self._opened: dict[
            str | None, BreakerOpened
        ] = {}  #: by task: the breaker that its failure has opened

    def happening(self, event: Event) -> Happening | None:
        """What is said of an event that is neither a task's end nor a hook's, if anything."""
        if isinstance(event, BreakerOpened):
            self._opened[event.task] = event
        elif isinstance(event, BreakerRefused):
            opened = self._opened.pop(event.task, None)
            if opened and opened.key == event.key and abs(opened.until - event.until) < _SAME_S:
                return None
        return happening(event)


def happenings(events: Iterable[tuple[int, Event]]) -> Iterator[tuple[float, Happening]]:
    """What is said of the events of a run, with their times."""
    narrator = Narrator()
    for _, event in events:
        told = narrator.happening(event)
        if told is not None:
            yield event.at, told


def tasks_by_fallback_value(events: Iterable[tuple[int, Event]]) -> frozenset[str]:
    """The tasks whose output is their fallback value, because nobody else was left to try."""
    found: set[str] = set()
    for _, event in events:
        if isinstance(event, FallbackValueUsed):
            found.add(event.task)
        elif isinstance(event, AttemptStarted):
            found.discard(event.task)
    return frozenset(found)


def may_recover(spec: WorkflowSpec) -> bool:
    """Whether anything may happen to a run of this definition that is worth reading all of its events for."""
    limits = spec.limits
    return limits.retry_budget is not None or limits.deadline is not None or any(map(_recovers, spec.tasks))


def _recovers(task: TaskSpec) -> bool:
    on_error = task.on_error
    has_bounds = task.deadline is not None or on_error.breaker is not None
    has_others = bool(on_error.fallback_agents) or on_error.has_fallback_value
    return has_bounds or task.retry.max_attempts > 1 or has_others


def happening(event: Event, length: Length = duration) -> Happening | None:
    """What is said of an event that is neither a task's end nor a hook's, if anything; a length of time as `length` has it."""
    return _of_attempts(event, length) or _of_bounds(event, length) or _of_run(event)


def _of_attempts(event: Event, length: Length) -> Happening | None:
    match event:
        case RetryScheduled(task=task, at=at, attempt=attempt, due_at=due_at):
            return Happening(task, "retry", f"attempt {attempt} {_in(due_at - at, length)}")
        case FallbackChosen(task=task, agent=agent):
            return Happening(task, "fallback", f"goes to agent {agent}")
        case FallbackValueUsed(task=task):
            return Happening(task, "value", STANDS_IN)
        case SleepStarted(task=task, at=at, due_at=due_at):
            return Happening(task, "sleep", f"starts in {length(due_at - at)}")
        case AttemptLost(task=task, attempt=attempt):
            return Happening(task, "lost", f"attempt {attempt} was cut off, and runs again")
        case RetriesExhausted(task=task, agent=agent, attempts=attempts):
            return Happening(task, "retry", f"no more: {agent} has had {counted(attempts, 'attempt')}")
        case DeadLettered(task=task, letter=letter):
            return Happening(task, "letter", f"is kept as dead letter {letter}")
        case _:
            return None


def _of_bounds(event: Event, length: Length) -> Happening | None:
    match event:
        case BreakerRefused(task=task, at=at, key=key, until=until):
            return Happening(task, "breaker", f"{key} is open for another {_about(until - at, length)}")
        case BreakerAllowed(task=task, key=key, is_probe=True):
            return Happening(task, "breaker", f"{key} lets one attempt through, to see")
        case BreakerOpened(task=task, at=at, key=key, until=until):
            return Happening(task, "breaker", f"{key} opens for {_about(until - at, length)}")
        case BreakerClosed(task=task, key=key):
            return Happening(task, "breaker", f"{key} is closed again")
        case BudgetExhausted(task=task):
            return Happening(task, "budget", "no more retries: the run has spent all it may")
        case TaskDeadlinePassed(task=task):
            return Happening(task, "deadline", "has passed while the task waited")
        case _:
            return None


def _in(seconds: float, length: Length) -> str:
    return f"in {length(seconds)}" if seconds >= _AT_ONCE_S else "at once"


def _about(seconds: float, length: Length) -> str:
    """A length of time of which milliseconds have passed since it was set."""
    return length(round(seconds, 1))


def _of_run(event: Event) -> Happening | None:
    match event:
        case RunDeadlinePassed():
            return Happening(None, "deadline", "of the run has passed: what runs is canceled")
        case SignalReceived(name=name):
            return Happening(None, "signal", f"{name} is received")
        case DefinitionChanged():
            return Happening(None, "changes", "accepted: the run goes on by another definition")
        case _:
            return None
