"""What metrics and tags may be called, so that all that is measured can be told to Prometheus too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from actorflow.metrics.built_in import PREFIX
from actorflow.metrics.snapshot import MetricKind, Tags

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:]{0,127}")
_TAG: Final = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]{0,127}")
_TAKEN_TAGS: Final = frozenset({"le", "quantile", "overflow"})
_TOTAL: Final = "_total"


def refuse_bad_name(name: str) -> None:
    """Raise ValueError for what cannot be the name of a metric that a workflow makes up."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            f"{name!r} cannot be the name of a metric; write letters, digits, _, . and :, the first a letter or _, "
            "at most 128"
        )
    if name.startswith(PREFIX):
        raise ValueError(
            f"metric {name!r}: names that begin with {PREFIX} are actorflow's own; choose another"
        )


def checked_tags(name: str, tags: Mapping[str, str]) -> Tags:
    """The tags of a metric in order; raises ValueError for one that cannot be the name of a tag."""
    for tag in tags:
        if _TAG.fullmatch(tag) is None or tag in _TAKEN_TAGS:
            raise ValueError(
                f"metric {name!r}: {tag!r} cannot be the name of a tag; write letters, digits and _, the first a "
                f"letter or a single _, and none of {', '.join(sorted(_TAKEN_TAGS))}"
            )
    return tuple(sorted(tags.items()))


def exposed_name(name: str, kind: MetricKind) -> str:
    """What Prometheus calls a metric: no dots, and a counter without its `_total`."""
    plain = name.replace(".", "_")
    return plain.removesuffix(_TOTAL) if kind == "counter" else plain


def sample_names(name: str, kind: MetricKind) -> tuple[str, ...]:
    """The names of its samples there, and its own: two metrics must have none in common."""
    plain = exposed_name(name, kind)
    match kind:
        case "counter":
            return (plain, f"{plain}{_TOTAL}")
        case "gauge":
            return (plain,)
        case "histogram":
            return (plain, f"{plain}_bucket", f"{plain}_count", f"{plain}_sum")
