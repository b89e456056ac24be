"""Metrics as Prometheus reads them, by its own package, which is imported when it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from actorflow.metrics.names import exposed_name
from actorflow.metrics.snapshot import Distribution, Family, Snapshot

if TYPE_CHECKING:
    from prometheus_client.core import Metric

EXTRA: Final = "prometheus"
"""The extra that brings the package along."""


class PrometheusMissing(Exception):  # noqa: N818 - a fact about the installation
    """Raised where the package is not installed; says how it is."""

    def __init__(self) -> None:
        super().__init__(f"this needs the package prometheus-client: pip install 'actorflow[{EXTRA}]'")


def prometheus_text(snapshot: Snapshot) -> str:
    """A snapshot in Prometheus' text format; dots in names become underscores.

    Raises:
        PrometheusMissing: the package is not installed.
    """
    try:
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise PrometheusMissing from error
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(snapshot))
    return generate_latest(registry).decode()


class _Collected:
    """A snapshot in the form of one of the package's collectors."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        return map(_metric, self._snapshot.families)


def _metric(family: Family) -> Metric:
    from prometheus_client.core import Metric  # noqa: PLC0415 - an extra

    name = exposed_name(family.name, family.kind)
    metric = Metric(name, family.meaning, family.kind)
    for series in family.series:
        for suffix, tags, value in _samples(family, series.value):
            metric.add_sample(f"{name}{suffix}", {**series.tags, **tags}, value)
    return metric


def _samples(family: Family, value: float | Distribution) -> Iterator[tuple[str, Mapping[str, Any], float]]:
    """What follows the name, which tags come on top, and the number, of each sample of a series."""
    if not isinstance(value, Distribution):
        yield "_total" if family.kind == "counter" else "", {}, value
        return
    for bound, count in value.within:
        yield "_bucket", {"le": str(bound)}, count
    yield "_bucket", {"le": "+Inf"}, value.count
    yield "_count", {}, value.count
    yield "_sum", {}, value.total
