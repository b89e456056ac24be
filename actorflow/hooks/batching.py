"""Which deliveries of a hook are tried together. Pure.

To a log, deliveries that are tried together are still so many. To the target of a webhook they are one thing: which they
are is settled before the first try, and from then on they go together or not at all. Such a batch is named by its
members, so a name tells whether all of them are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import islice
from typing import Any, Final, cast

from attrs import frozen

from actorflow.core.delivery import Again, Verdict
from actorflow.hooks.parcel import Parcel

__all__ = ["Batch", "composed", "in_step", "is_whole", "name_of", "sealed", "taken"]

_NAME_LENGTH: Final = 32

_OWN: Final = "body"
"""The one param in which members of a batch may differ: the others are those of the request."""


@frozen(eq=False)
class Batch:
    """Deliveries for one try, in the order of their events."""

    parcels: Sequence[Parcel] = ()
    is_closed: bool = False  #: nothing can join it any more


def taken(due: Iterator[Parcel], most: int) -> Batch:
    """The first that are due, whatever they are: each goes for itself."""
    parcels = list(islice(due, most))
    return Batch(parcels, is_closed=len(parcels) == most or _has_waited(parcels))


def composed(due: Iterator[Parcel], most: int) -> Batch:
    """The first that are due and can be one thing to a target: those of a sealed batch, or as many as fit behind the first.

    What an operator has asked for goes alone.
    """
    first = next(due, None)
    if first is None:
        return Batch()
    if first.batch:
        return Batch([first, *(parcel for parcel in due if parcel.batch == first.batch)], is_closed=True)
    parcels = [first]
    while len(parcels) < most and not first.is_asked_for:
        parcel = next(due, None)
        if parcel is None:
            return Batch(parcels, is_closed=_has_waited(parcels))
        if not _fit(first, parcel):
            break
        parcels.append(parcel)
    return Batch(parcels, is_closed=True)


def sealed(parcels: Sequence[Parcel]) -> Sequence[Parcel]:
    """The same, as the members of a batch from now on: none is given up for its age before the youngest is."""
    name, owed_at = name_of(parcels), max(parcel.terms.owed_at for parcel in parcels)
    return [parcel.sealed(name, owed_at) for parcel in parcels]


def is_whole(parcels: Sequence[Parcel]) -> bool:
    """Whether these are all the members of the batch that the first is of."""
    return name_of(parcels) == parcels[0].batch


def name_of(parcels: Iterable[Parcel]) -> str:
    """What a batch of these is called: `b_` and a hash of their ids, in order."""
    ids = "\n".join(parcel.id for parcel in parcels)
    return f"b_{sha256(ids.encode()).hexdigest()[:_NAME_LENGTH]}"


def in_step(verdicts: Sequence[Verdict]) -> Sequence[Verdict]:
    """What follows for the members of a batch: those that are tried again are so together, at the latest of their times."""
    at = max((verdict.at for verdict in verdicts if isinstance(verdict, Again)), default=0.0)
    return [Again(at) if isinstance(verdict, Again) else verdict for verdict in verdicts]


def _has_waited(parcels: Sequence[Parcel]) -> bool:
    """Whether the first was tried before: it has waited for company once."""
    return bool(parcels) and parcels[0].tries.count > 0


def _fit(first: Parcel, other: Parcel) -> bool:
    """Whether two can be of one batch: one request has room for both, and they have as many attempts left."""
    if other.batch or other.is_asked_for or other.tries.attempts != first.tries.attempts:
        return False
    return _envelope(first.context.params) == _envelope(other.context.params)


def _envelope(params: Any) -> object:
    if not isinstance(params, Mapping):
        return params
    return {name: value for name, value in cast("Mapping[str, Any]", params).items() if name != _OWN}
