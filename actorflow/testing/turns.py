"""What a fake does next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Generic, TypeVar

__all__ = ["Turns"]

T = TypeVar("T")


class Turns(Generic[T]):
    """Steps that are taken one after the other, by each who comes with a key of its own; the last one again and again.

    Args:
        steps: one or more.
    """

    def __init__(self, steps: Sequence[T]) -> None:
        if not steps:
            raise ValueError("say what is to happen: there is no step")
        self._steps = tuple(steps)
        self._taken = Counter[str]()

    def next_for(self, key: str) -> T:
        """The step of whoever has the key, and one on for the next time."""
        number = self._taken[key]
        self._taken[key] += 1
        return self.numbered(number)

    def numbered(self, number: int) -> T:
        """A step by its number, from 0; takes no turn."""
        return self._steps[min(number, len(self._steps) - 1)]
