"""A line of blocking hooks: one after the other, in list order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from actorflow.core.events import BlockingHookEvent, Failure
from actorflow.errors import IllegalTransitionError

HookPlace: TypeAlias = tuple[BlockingHookEvent, int]
"""A blocking hook by its event and its index in that event's list."""


class HookLine:
    """Which hook of a run, a stage or a task is next, and whether it is running.

    Args:
        subject: the task or stage; empty for the run.
        places: of its hooks, in order.
    """

    def __init__(self, subject: str, places: Iterable[HookPlace]) -> None:
        self.subject = subject
        self._places = tuple(places)
        self._position = 0
        self.is_running = False
        self.vars: Mapping[str, Any] = {}  #: what its transforms have set
        self.failure: Failure | None = None  #: of the hook that ended the line, and fails what it is about

    @property
    def is_done(self) -> bool:
        """Whether every hook of the line has ended."""
        return self._position == len(self._places)

    @property
    def head(self) -> HookPlace:
        """The hook that is running or comes next."""
        return self._places[self._position]

    def start(self, event: BlockingHookEvent, index: int) -> None:
        """The head begins."""
        if self.is_running or self.is_done or self.head != (event, index):
            raise IllegalTransitionError(f"hook {event}[{index}]", "not next in its line", "HookStarted")
        self.is_running = True

    def finish(self, event: BlockingHookEvent, index: int, failure: Failure | None = None) -> None:
        """The head has ended, or is passed over; a failure that is given ends the line."""
        self.expect_next(event, index)
        self.is_running = False
        self.failure = failure
        self._position = self._position + 1 if failure is None else len(self._places)
        if not self.is_done and self.head[0] != event:
            self.vars = {}  # the next list has its own

    def lose(self, event: BlockingHookEvent, index: int) -> None:
        """The head was cut off by a crash, and is next again."""
        if not self.is_running or self.head != (event, index):
            raise IllegalTransitionError(f"hook {event}[{index}]", "not running", "HookLost")
        self.is_running = False

    def expect_next(self, event: BlockingHookEvent, index: int) -> None:
        """Raise unless it is the head that has ended."""
        if self.is_done or self.head != (event, index):
            raise IllegalTransitionError(f"hook {event}[{index}]", "not next in its line", "HookFinished")
