"""The bounds of every expression, the meter that keeps count of them, and the fault that a node raises.

An expression has no loops, so its nodes bound the number of its steps; what is left to bound is the work that one node
does on data, and the size of what it builds. Both are checked before the work is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

MAX_SOURCE = 4 * 1024  #: code points of one expression
MAX_TEMPLATE = 64 * 1024  #: code points of one string that holds templates
MAX_EXPRESSIONS = 500  #: in one string
MAX_VALUES = 200_000  #: values in one nested template, those behind shared references counted each time
MAX_NODES = 500  #: of one expression
MAX_DEPTH = 40  #: levels of nesting in one expression
MAX_DATA_DEPTH = 100  #: levels of nesting in data that is written as JSON, or in a nested template
MAX_STEPS = 100_000  #: items (or 64 code points) looked at in one evaluation
CHEAP_STEPS = 2_000  #: what an expression without names may cost when it is tried out at load
MAX_ITEMS = 10_000  #: of a list that an expression builds
MAX_TEXT = (
    1024 * 1024
)  #: code points of a text that an expression builds, and of all text that a template builds
MAX_BITS = 4096  #: of an integer that takes part in arithmetic, or comes out of it
MAX_DIGITS = 400  #: of an integer written as text

TEXT_STEP_SHIFT = 6  # 64 code points cost a step: copying them takes about as long as looking at one item
_BITS_STEP_SHIFT = 12  # 4,096 bits of an integer cost one: small ones are free
_SEARCH_STEP_SHIFT = 11  # so do 2,048 pairs of characters that a search compares
_SEARCH_PAIRS = 3_000_000  # CPython searches short texts by trying each place, longer ones in linear time


class Fault(Exception):  # noqa: N818 - internal: it becomes an ExpressionError where the source is known
    """What is wrong, and the column of the expression's text where it shows; 0 while nobody has said."""

    def __init__(self, problem: str, column: int = 0) -> None:
        super().__init__(problem)
        self.problem = problem
        self.column = column

    def describe(self) -> str:
        """The sentence for people."""
        return self.problem

    def place(self, column: int) -> None:
        """Say where it happened, unless a node nearer to it has."""
        self.column = self.column or column


class TooMuchWork(Fault):
    """The steps are used up."""


def check_text(length: int) -> None:
    """Refuse a text that would be too long, before it is built."""
    if length > MAX_TEXT:
        raise Fault(f"the text would be longer than {MAX_TEXT:,} characters")


class Meter:
    """What one evaluation (or one rendering of a template) may still use."""

    __slots__ = ("steps", "text")

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self.steps = steps
        self.text = MAX_TEXT

    def spend(self, steps: int) -> None:
        """Pay for work on data, before it is done."""
        self.steps -= steps
        if self.steps < 0:
            raise TooMuchWork(f"too much work: more than {MAX_STEPS:,} steps for one value")

    def build_text(self, length: int) -> None:
        """Pay for a text of so many code points, before it is built."""
        check_text(length)
        self.spend(length >> TEXT_STEP_SHIFT)

    def read_text(self, length: int) -> None:
        """Pay for reading a text once from its beginning to its end."""
        self.spend(length >> TEXT_STEP_SHIFT)

    def search_text(self, needle: int, holder: int) -> None:
        """Pay for looking for one text in another, of these lengths."""
        self.read_text(needle + holder)
        self.spend(min(needle * holder, _SEARCH_PAIRS) >> _SEARCH_STEP_SHIFT)

    def read_number(self, number: object, times: int = 1) -> None:
        """Pay for reading a number so many times; anything else is free."""
        if isinstance(number, int) and (steps := number.bit_length() >> _BITS_STEP_SHIFT):
            self.spend(times * steps)

    def build_list(self, length: int) -> None:
        """Pay for a list of so many items, before it is built."""
        if length > MAX_ITEMS:
            raise Fault(f"the list would have {length:,} items; an expression builds at most {MAX_ITEMS:,}")
        self.spend(length)

    def render_text(self, length: int) -> None:
        """Pay for text that a template puts together, out of what the whole rendering may produce."""
        self.text -= length
        if self.text < 0:
            raise Fault(f"the template would give more than {MAX_TEXT:,} characters of text")


Scope: TypeAlias = Mapping[str, Any]
Run: TypeAlias = Callable[[Scope, Meter], Any]  # a compiled node
