"""How the parts of a definition are drawn: out of what, and how densely."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeAlias, TypeVar

from attrs import evolve, frozen
from hypothesis import strategies as st

from actorflow.testing.strategies.features import FEATURE_WORDS, Feature

__all__ = [
    "FAILURE_TYPES",
    "SCARCE",
    "Drawing",
    "Json",
    "names",
    "pick",
    "pick_from_few",
    "pick_some",
    "together",
    "values",
]

Json: TypeAlias = dict[str, Any]
Drawn = TypeVar("Drawn")

FAILURE_TYPES: Final = ("Broken", "Busy", "not_found")
"""Types of failures that definitions say something about, and that runs have."""

SCARCE: Final = (3, 2)
"""Of how many places that could have a thing one has it: by example, as some shall be plain and some crowded."""

_BITS: Final = 6
"""Larger numbers are not drawn evenly: small ones come more often."""

_FEW: Final = 12
"""More than there are tasks in most definitions, or things that can happen next; divisible by the first numbers."""


@cache
def _numbers(count: int) -> st.SearchStrategy[int]:
    """Below `count`; kept, as to make a strategy takes longer than to draw from it."""
    return st.integers(0, count - 1)


def pick(draw: st.DrawFn, choices: Sequence[Drawn]) -> Drawn:
    """One of these, each as often as any other; the first is the simplest."""
    return choices[draw(_numbers(len(choices)))]


def pick_from_few(draw: st.DrawFn, found: Sequence[Drawn]) -> Drawn:
    """One of what there happens to be: what is drawn stays legal, and mostly means the same, when there is less."""
    return found[draw(_numbers(_FEW)) % len(found)]


def pick_some(draw: st.DrawFn, found: Sequence[Drawn], least: int, most: int) -> list[Drawn]:
    """From `least` to `most` of what there happens to be, each once, in any order."""
    left = list(found)
    count = min(least + draw(_numbers(most - least + 1)), len(left))
    return [left.pop(draw(_numbers(_FEW)) % len(left)) for _ in range(count)]


@st.composite
def together(draw: st.DrawFn, make: Callable[[st.DrawFn], Drawn]) -> Drawn:
    """What `make` draws, as one part of an example: when that shrinks, the part is left out as a whole."""
    return make(draw)


@frozen(eq=False)
class Drawing:
    """An example at work: what may be drawn into it, by features and agents, and from where."""

    draw: st.DrawFn
    features: frozenset[Feature]
    agents: tuple[str, ...]
    scarcity: int  #: one of `SCARCE`

    @classmethod
    def begin(cls, draw: st.DrawFn, features: frozenset[Feature], agents: tuple[str, ...]) -> Drawing:
        """Begin an example: of many features some stay out of it, so that those which are in it meet."""
        words: list[Feature] = [word for word in FEATURE_WORDS if word in features]
        chosen = words if len(words) <= _BITS else _some_features(draw, words)
        return cls(draw, frozenset(chosen), agents, pick(draw, SCARCE))

    def has(self, feature: Feature, *, rarer: int = 1) -> bool:
        """Whether the feature stands at this place; no, in the simplest example.

        Args:
            feature: the feature.
            rarer: how many times less often than others.
        """
        if feature not in self.features:
            return False
        places = self.scarcity * rarer
        return self.draw(_numbers(places)) == places - 1

    def one(self, *choices: Drawn) -> Drawn:
        """One of these; the first is the simplest."""
        return pick(self.draw, choices)

    def part(self, make: Callable[[Drawing], Drawn]) -> Drawn:
        """As `together`."""
        return self.draw(together(lambda draw: make(evolve(self, draw=draw))))

    def near(self, found: Sequence[Drawn]) -> Drawn:
        """As `pick_from_few`."""
        return pick_from_few(self.draw, found)

    def some(self, known: Sequence[str], least: int, most: int) -> list[str]:
        """From `least` to `most` of these names."""
        return pick_some(self.draw, known, least, most)


def _some_features(draw: st.DrawFn, features: Sequence[Feature]) -> Iterator[Feature]:
    """None is the simplest."""
    for begin in range(0, len(features), _BITS):
        part = features[begin : begin + _BITS]
        bits = draw(_numbers(2 ** len(part)))
        for place, feature in enumerate(part):
            if bits >> place & 1:
                yield feature


def names(prefix: str, count: int) -> list[str]:
    """So many ids."""
    return [f"{prefix}{number}" for number in range(count)]


def values(max_leaves: int = 3) -> st.SearchStrategy[Any]:
    """JSON data that every part of the runtime can keep; null is the simplest."""
    plain = (
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.floats(allow_nan=False, allow_infinity=False, width=32)
        | st.text(max_size=8)
    )
    return st.recursive(plain, _containers, max_leaves=max_leaves)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from(["a", "b", "n"])
    objects: st.SearchStrategy[Mapping[str, Any]] = st.dictionaries(keys, inner, max_size=3)
    return st.lists(inner, max_size=3) | objects
