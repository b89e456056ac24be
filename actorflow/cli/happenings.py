"""What happens to a task between its start and its end, in plain words: retries, fallbacks, breakers, deadlines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from attrs import frozen

from actorflow.cli.layout import counted, duration
from actorflow.core.events import (
    AttemptLost,
    BreakerAllowed,
    BreakerClosed,
    BreakerOpened,
    BreakerRefused,
    BudgetExhausted,
    DeadLettered,
    DefinitionChanged,
    Event,
    FallbackChosen,
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


def happenings(events: Iterable[tuple[int, Event]]) -> Iterator[tuple[float, Happening]]:
    """What is said of the events of a run, with their times."""
    for _, event in events:
        told = happening(event)
        if told is not None:
            yield event.at, told


def may_recover(spec: WorkflowSpec) -> bool:
    """Whether anything may happen to a run of this definition that is worth reading all of its events for."""
    limits = spec.limits
    return limits.retry_budget is not None or limits.deadline is not None or any(map(_recovers, spec.tasks))


def _recovers(task: TaskSpec) -> bool:
    on_error = task.on_error
    has_bounds = task.deadline is not None or on_error.breaker is not None
    return has_bounds or task.retry.max_attempts > 1 or bool(on_error.fallback_agents)


def happening(event: Event) -> Happening | None:
    """What is said of an event that is neither a task's end nor a hook's, if anything."""
    return _of_attempts(event) or _of_bounds(event) or _of_run(event)


def _of_attempts(event: Event) -> Happening | None:
    match event:
        case RetryScheduled(task=task, at=at, attempt=attempt, due_at=due_at):
            return Happening(task, "retry", f"attempt {attempt} in {duration(due_at - at)}")
        case FallbackChosen(task=task, agent=agent):
            return Happening(task, "fallback", f"goes to agent {agent}")
        case SleepStarted(task=task, at=at, due_at=due_at):
            return Happening(task, "sleep", f"starts in {duration(due_at - at)}")
        case AttemptLost(task=task, attempt=attempt):
            return Happening(task, "lost", f"attempt {attempt} was cut off, and runs again")
        case RetriesExhausted(task=task, agent=agent, attempts=attempts):
            return Happening(task, "retry", f"no more: {agent} has had {counted(attempts, 'attempt')}")
        case DeadLettered(task=task, letter=letter):
            return Happening(task, "letter", f"is kept as dead letter {letter}")
        case _:
            return None


def _of_bounds(event: Event) -> Happening | None:
    match event:
        case BreakerRefused(task=task, at=at, key=key, until=until):
            return Happening(task, "breaker", f"{key} is open for another {duration(until - at)}")
        case BreakerAllowed(task=task, key=key, is_probe=True):
            return Happening(task, "breaker", f"{key} lets one attempt through, to see")
        case BreakerOpened(task=task, at=at, key=key, until=until):
            return Happening(task, "breaker", f"{key} opens for {duration(until - at)}")
        case BreakerClosed(task=task, key=key):
            return Happening(task, "breaker", f"{key} is closed again")
        case BudgetExhausted(task=task):
            return Happening(task, "budget", "no more retries: the run has spent all it may")
        case TaskDeadlinePassed(task=task):
            return Happening(task, "deadline", "has passed while the task waited")
        case _:
            return None


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
