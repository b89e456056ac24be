"""How the parts of a definition are drawn: out of what, and how densely."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias, TypeVar

from attrs import frozen
from hypothesis import strategies as st

from actorflow.testing.strategies.features import Feature

__all__ = ["FAILURE_TYPES", "SCARCE", "Drawing", "Json", "names", "values"]

Json: TypeAlias = dict[str, Any]
Drawn = TypeVar("Drawn")

FAILURE_TYPES: Final = ("Broken", "Busy", "not_found")
"""Types of failures that definitions say something about, and that runs have."""

SCARCE: Final = (6, 4, 2)
"""Of how many places that could have a thing one has it: by example, as some shall be plain and some crowded."""

_CHANCES: Final = {
    one_in: st.sampled_from([False] * (one_in - 1) + [True])
    for scarcity in SCARCE
    for one_in in (scarcity, 2 * scarcity, 3 * scarcity)
}


@frozen(eq=False)
class Drawing:
    """An example at work: what may be drawn into it, by features and agents, and from where."""

    draw: st.DrawFn
    features: frozenset[Feature]
    agents: tuple[str, ...]
    scarcity: int  #: one of `SCARCE`

    def has(self, feature: Feature, *, rarer: int = 1) -> bool:
        """Whether the feature stands at this place; no, in the simplest example.

        Args:
            feature: the feature.
            rarer: how many times less often than others, from 1 to 3.
        """
        return feature in self.features and self.draw(_CHANCES[self.scarcity * rarer])

    def one(self, first: Drawn, *others: Drawn) -> Drawn:
        """One of these; the first is the simplest."""
        return self.draw(st.sampled_from((first, *others)))

    def some(self, known: list[str], least: int, most: int) -> list[str]:
        """Some of these names, each once, in any order."""
        most = min(most, len(known))
        return self.draw(st.lists(st.sampled_from(known), min_size=least, max_size=most, unique=True))


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
