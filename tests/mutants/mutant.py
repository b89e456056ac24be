"""What a mutant is, and the ways to hunt one.

A hunt looks for a broken promise, and raises it as `BrokenPromise`. Of the code as it is it finds none, however long it
looks; with a mutant let loose it has to find one of those that the mutant is known to break.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, Protocol

from attrs import field, frozen
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.promises import BrokenPromise

LEAST_SEEDS: Final = 8
"""So many of its seeds a hunt tries at the least, whatever its effort."""


class Hunt(Protocol):
    """Looks for a broken promise."""

    def look(self, effort: float = 1.0) -> None:
        """Look.

        Args:
            effort: the part of its examples that it tries at most, above 0; a hunt that has only a few tries them all.

        Raises:
            BrokenPromise: it has found one.
        """
        ...


@frozen(eq=False)
class Machine:
    """A state machine that does whatever can happen, in any order; the same examples each time."""

    make: Callable[[], RuleBasedStateMachine]
    examples: int = 500
    steps: int = 30

    def look(self, effort: float = 1.0) -> None:
        """See `Hunt`."""
        bounded = settings(
            max_examples=max(1, round(self.examples * effort)),
            stateful_step_count=self.steps,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],  # the first breach will do, however long
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )
        run_state_machine_as_test(self.make, settings=bounded)


@frozen(eq=False)
class Check:
    """One scene, played once."""

    play: Callable[[], None]

    def look(self, effort: float = 1.0) -> None:
        """See `Hunt`."""
        self.play()


@frozen(eq=False)
class Seeds:
    """One scene, played for each of so many seeds, from 0: where something is cut off, or which world it is."""

    play: Callable[[int], None]
    count: int

    def look(self, effort: float = 1.0) -> None:
        """See `Hunt`."""
        for seed in range(max(min(self.count, LEAST_SEEDS), round(self.count * effort))):
            self.play(seed)


@frozen
class Mutant:
    """A switch, the promises any of which gives it away, by what happens first, and where that shows soon."""

    switch: Callable[[], AbstractContextManager[None]]  #: its docstring is one sentence: what is broken
    broken: frozenset[str] = field(converter=frozenset[str])
    hunt: Hunt

    @property
    def what(self) -> str:
        """What is broken, in a sentence."""
        return " ".join((inspect.getdoc(self.switch) or "").split())

    def killed_by(self) -> BrokenPromise | None:
        """Let it loose and hunt it: the promise that it was seen to break; None if it lives."""
        try:
            with self.switch():
                self.hunt.look()
        except BrokenPromise as broken:
            return broken
        return None
