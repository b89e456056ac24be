"""What was measured up to a moment: frozen, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any, Final, Literal, TypeAlias

from attrs import frozen

MetricKind: TypeAlias = Literal["counter", "gauge", "histogram"]

Tags: TypeAlias = tuple[tuple[str, str], ...]
"""Names and values, by name: what tells the series of a metric apart."""

BUCKETS: Final[tuple[float, ...]] = tuple(
    float(f"{step}e{power}") for power in range(-4, 5) for step in (1, 2.5, 5)
)
"""Upper bounds of a histogram's buckets, the same for all; of times from a tenth of a millisecond to 14 hours."""


@frozen
class Distribution:
    """What a histogram has of one series."""

    count: int
    total: float
    largest: float
    buckets: tuple[
        int, ...
    ]  #: how many were within each bound of `BUCKETS` and in none before; above all, last

    @property
    def average(self) -> float:
        """Of all that was measured, and at least one thing was."""
        return self.total / self.count

    @property
    def within(self) -> tuple[tuple[float, int], ...]:
        """Each bound with how many were no larger."""
        return tuple(zip(BUCKETS, accumulate(self.buckets), strict=False))


@frozen
class Series:
    """One set of tags, and what was measured under it."""

    tags: Mapping[str, str]
    value: float | Distribution


@frozen
class Family:
    """A metric with all of its series, by their tags."""

    name: str
    kind: MetricKind
    unit: str  #: `seconds`, or nothing
    meaning: str  #: one sentence; empty for what a workflow has made up
    series: tuple[Series, ...]


@frozen
class Snapshot:
    """All metrics that have a series: the built-in ones in the order of their table, then the others by name."""

    families: tuple[Family, ...]

    def family(self, name: str) -> Family | None:
        """The metric of that name, if anything was measured."""
        return next((family for family in self.families if family.name == name), None)

    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        return {"metrics": [_family_document(family) for family in self.families]}


def _family_document(family: Family) -> dict[str, Any]:
    return {
        "name": family.name,
        "kind": family.kind,
        "unit": family.unit,
        "meaning": family.meaning,
        "series": [{"tags": dict(each.tags), **_value_document(each.value)} for each in family.series],
    }


def _value_document(value: float | Distribution) -> dict[str, Any]:
    if not isinstance(value, Distribution):
        return {"value": value}
    within = [{"bound": bound, "count": count} for bound, count in value.within]
    return {"count": value.count, "sum": value.total, "largest": value.largest, "within": within}
