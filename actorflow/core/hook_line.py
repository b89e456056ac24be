"""The line of blocking hooks of one phase: one after the other, in list order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from actorflow.core.events import BlockingHookEvent, HookStatus
from actorflow.errors import IllegalTransitionError

HookPlace: TypeAlias = tuple[BlockingHookEvent, int]
"""A blocking hook by its event and its index in that event's list."""


class HookLine:
    """Which hook is next, and whether it is running. A failed set-up hook ends its line; others never do."""

    def __init__(self, places: Iterable[HookPlace]) -> None:
        self._places = tuple(places)
        self._position = 0
        self.is_running = False

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

    def finish(self, event: BlockingHookEvent, index: int, status: HookStatus) -> None:
        """The head has ended."""
        self._expect_running(event, index, "HookFinished")
        self.is_running = False
        is_last = event == "pre_workflow" and status != "ok"
        self._position = len(self._places) if is_last else self._position + 1

    def lose(self, event: BlockingHookEvent, index: int) -> None:
        """The head was cut off by a crash, and is next again."""
        self._expect_running(event, index, "HookLost")
        self.is_running = False

    def _expect_running(self, event: BlockingHookEvent, index: int, what: str) -> None:
        if not self.is_running or self.head != (event, index):
            raise IllegalTransitionError(f"hook {event}[{index}]", "not running", what)
