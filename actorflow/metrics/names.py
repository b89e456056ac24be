"""What a measurement may be: names that Prometheus can be told too, a kind that there is, a number, and tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Final, cast, get_args

from actorflow.metrics.built_in import PREFIX
from actorflow.metrics.snapshot import MetricKind, Tags

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:]{0,127}")
_TAG: Final = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]{0,127}")
_TAKEN_TAGS: Final = frozenset({"le", "quantile", "overflow"})
_TOTAL: Final = "_total"


def refuse_bad_kind(name: str, kind: object) -> None:
    """Raise ValueError for what is no kind of metric."""
    if kind not in get_args(MetricKind):
        raise ValueError(f"metric {name!r}: there is no kind {kind!r}; choose counter, gauge or histogram")


def refuse_bad_value(name: str, kind: MetricKind, value: object) -> None:
    """Raise ValueError for a number that cannot be measured, TypeError for what is none."""
    try:
        is_finite = isfinite(cast("float", value))
    except TypeError:
        raise TypeError(
            f"metric {name!r} cannot be {value!r}: a number is measured, not a {type(value).__name__}"
        ) from None
    except OverflowError:
        is_finite = False
    number = cast("float", value)
    if not is_finite:
        raise ValueError(f"metric {name!r} cannot be {number}: only finite numbers are measured")
    if kind == "counter" and number < 0:
        raise ValueError(f"metric {name!r} cannot be {number:g}: a counter only grows; use a gauge")


def refuse_bad_name(name: object) -> None:
    """Raise ValueError for what cannot be the name of a metric that a workflow makes up."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise ValueError(
            f"{name!r} cannot be the name of a metric; write letters, digits, _, . and :, the first a letter or _, "
            "at most 128"
        )
    if name.startswith(PREFIX):
        raise ValueError(
            f"metric {name!r}: names that begin with {PREFIX} are actorflow's own; choose another"
        )


def checked_tags(name: str, tags: object) -> Tags:
    """The tags of a metric in order.

    Raises:
        ValueError: one of them has a name that no tag can have.
        TypeError: they are no texts by name.
    """
    if not isinstance(tags, Mapping):
        raise TypeError(f"metric {name!r}: tags are texts by name, not {tags!r}; of none, write {{}}")
    given = cast("Mapping[object, object]", tags)
    for tag, value in given.items():
        if not isinstance(value, str):
            raise TypeError(f"metric {name!r}: the tag {tag!r} is a text, not {value!r}")
        if not isinstance(tag, str) or _TAG.fullmatch(tag) is None or tag in _TAKEN_TAGS:
            raise ValueError(
                f"metric {name!r}: {tag!r} cannot be the name of a tag; write letters, digits and _, the first a "
                f"letter or a single _, and none of {', '.join(sorted(_TAKEN_TAGS))}"
            )
    return tuple(sorted(cast("Mapping[str, str]", tags).items()))


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
