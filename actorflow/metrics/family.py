"""What is kept of one metric while it is measured: its series, up to a cap."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from attrs import define, field

from actorflow.metrics.snapshot import BUCKETS, Distribution, Family, MetricKind, Series, Tags

MOST_SERIES: Final = 1_000
"""Sets of tags that a metric tells apart; a tag that has another value each time must not fill the memory."""

OVERFLOW: Final[Tags] = (("overflow", "true"),)
"""The tags of what has come after that."""


@define
class Tally:
    """A histogram's series, as it is added to."""

    count: int = 0
    total: float = 0.0
    largest: float = float("-inf")
    buckets: list[int] = field(factory=lambda: [0] * (len(BUCKETS) + 1))

    def take(self, values: Sequence[float]) -> None:
        """Add values."""
        for value in values:
            self.buckets[bisect_left(BUCKETS, value)] += 1
        self.count += len(values)
        self.total += sum(values)
        self.largest = max(self.largest, *values)


@define(eq=False)
class LiveFamily:
    """A metric's series, by their tags. Not safe for threads: whoever has it sees to that."""

    name: str
    kind: MetricKind
    meaning: str = ""
    unit: str = ""
    _numbers: dict[Tags, float] = field(factory=dict[Tags, float], init=False)
    _tallies: dict[Tags, Tally] = field(factory=dict[Tags, Tally], init=False)

    def take(self, tags: Tags, values: Sequence[float]) -> bool:
        """Add values to a series: to a counter's sum, in place of what a gauge has, or to a histogram.

        Args:
            tags: by name.
            values: at least one.

        Returns:
            Whether there was room for the tags; if not, the values are under `OVERFLOW`.
        """
        place = self._place(tags)
        match self.kind:
            case "counter":
                self._numbers[place] = self._numbers.get(place, 0.0) + sum(values)
            case "gauge":
                self._numbers[place] = values[-1]
            case "histogram":
                self._tallies.setdefault(place, Tally()).take(values)
        return place is not OVERFLOW

    def frozen(self) -> Family:
        """As it stands."""
        kept: dict[Tags, float | Distribution] = dict(self._numbers)
        kept.update((tags, _distribution(tally)) for tags, tally in self._tallies.items())
        series = tuple(Series(dict(tags), kept[tags]) for tags in sorted(kept))
        return Family(self.name, self.kind, self.unit, self.meaning, series)

    def _place(self, tags: Tags) -> Tags:
        kept = self._tallies if self.kind == "histogram" else self._numbers
        return tags if tags in kept or len(kept) < MOST_SERIES else OVERFLOW


def _distribution(tally: Tally) -> Distribution:
    return Distribution(tally.count, tally.total, tally.largest, tuple(tally.buckets))
