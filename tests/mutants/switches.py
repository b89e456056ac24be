"""Switches that break something for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from actorflow.core import frontier
from actorflow.core import state as core_state
from actorflow.core.events import Event, SkipReason
from actorflow.core.plan import On
from actorflow.core.state import RunState
from actorflow.core.task_state import TaskState


@contextmanager
def edges_otherwise(applies: Callable[[On, TaskState], bool], reason: SkipReason | None) -> Iterator[None]:
    """For a while, some ends of tasks mean something else to who waits for them."""
    why_barred = frontier.why_barred

    def otherwise(on: On, task: TaskState) -> SkipReason | None:
        return reason if applies(on, task) else why_barred(on, task)

    with replaced(frontier, "why_barred", otherwise):
        yield


@contextmanager
def replaced(owner: object, name: str, value: object) -> Iterator[None]:
    """For a while, something else goes by this name."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def replaced_applier(kind: type[Event], applier: Callable[[RunState, Any], None]) -> Iterator[None]:
    """For a while, events of a kind are applied otherwise."""
    with replaced(core_state, "APPLIERS", {**core_state.APPLIERS, kind: applier}):
        yield


@contextmanager
def also(kind: type[Event], effect: Callable[[RunState, Any], None]) -> Iterator[None]:
    """For a while, events of a kind do something more."""
    applier = core_state.APPLIERS[kind]

    def apply(state: RunState, event: Event) -> None:
        applier(state, event)
        effect(state, event)

    with replaced_applier(kind, apply):
        yield
