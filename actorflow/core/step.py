"""One step of a run, for whatever drives it: settle the state after something happened.

A driver applies what happened, calls `settle`, commits the events that it returns together with what happened, and only
then performs the commands. `begin`, `next_generation` and `recovered` are the events that open a run, open it again,
and go on after a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import TypeAlias

from attrs import frozen

from actorflow.core.commands import (
    AskBreaker,
    CancelAttempt,
    CancelHook,
    Decide,
    Finish,
    Record,
    RunHook,
    StartAttempt,
    TellBreaker,
)
from actorflow.core.events import (
    AttemptLost,
    BlockingHookEvent,
    Event,
    GenerationStarted,
    HookLost,
    Resumed,
)
from actorflow.core.state import RunState

Action: TypeAlias = StartAttempt | CancelAttempt | AskBreaker | TellBreaker | RunHook | CancelHook | Finish
"""A command that a driver performs; the others have become events."""


@frozen
class Step:
    """What to commit, and what to do once that is committed."""

    events: list[Event]
    actions: list[Action]


def settle(state: RunState, now: float, decide: Callable[[Decide], Sequence[Event]]) -> Step:
    """Ask for commands and apply the events that they imply, until nothing more follows.

    Only facts and verdicts have consequences within a step: what starts or ends work has none before it is done.
    """
    events: list[Event] = []
    actions: list[Action] = []
    has_consequences = True
    while has_consequences:
        has_consequences = False
        for command in state.commands(now):
            match command:
                case StartAttempt() | RunHook() | Finish():
                    actions.append(command)
                    implied: Sequence[Event] = (command.started(now),)
                case Record():
                    has_consequences = True
                    implied = (command.event,)
                case Decide():
                    has_consequences = True
                    implied = decide(command)
                case CancelAttempt() | CancelHook() | AskBreaker() | TellBreaker():
                    actions.append(command)
                    continue
            for event in implied:
                state.apply(event)
                events.append(event)
    return Step(events, actions)


def next_generation(state: RunState, now: float, retried: Sequence[str] = ()) -> GenerationStarted:
    """The event that starts the first pass of a run, or the next one after an end.

    Args:
        state: new, or ended.
        now: the time.
        retried: the only tasks that an operator wants tried again; none: all that has not succeeded.
    """
    if retried:
        return GenerationStarted(now, state.generation + 1, "retry", tuple(retried))
    return GenerationStarted(now, state.generation + 1, "resume" if state.generation else "start")


def recovered(state: RunState, now: float) -> list[Event]:
    """What a new owner of a run that has not ended records first: what was cut off, and that it goes on."""
    return [*cut_off(state, now), Resumed(now)]


def cut_off(
    state: RunState,
    now: float,
    tasks: Container[str] = (),
    hooks: Container[tuple[BlockingHookEvent, int, str]] = (),
) -> list[Event]:
    """The losses of a run whose attempts and hooks do not go on.

    Args:
        state: the run.
        now: the time.
        tasks: whose attempts go on all the same.
        hooks: those that do, by event, index and subject.
    """
    places = ((*line.head, line.subject) for line in state.running_lines())
    running = (state.tasks[index] for index in state.running)
    return [
        *(HookLost(now, *place) for place in places if place not in hooks),
        *(AttemptLost(now, task.id, task.attempt, task.loss) for task in running if task.id not in tasks),
    ]
