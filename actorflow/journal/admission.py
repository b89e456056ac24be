"""Which writes may be: the rules that every journal shares, decided before anything is written."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import chain
from typing import TYPE_CHECKING

import orjson

from actorflow.errors import RunNotFoundError
from actorflow.journal.blobs import BLOB_BYTES
from actorflow.journal.codec import encode_apart, encode_events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.journal.protocol import (
        Append,
        CreateRun,
        RecordDeliveries,
        Release,
        RunRow,
        SaveCheckpoint,
    )

#: SQLite takes a value of at most 10^9 bytes, and a refused write is better than a store that fails
MAX_PAYLOAD_BYTES = 500_000_000

#: looking for a near id costs 16 µs for each candidate
_NEAREST_CANDIDATES = 1_000
_NEAREST_SHOWN = 5


def check_names(write: CreateRun) -> None:
    """Refuse names that no store can write.

    Raises:
        TypeError: a lone surrogate, or no text at all.
    """
    orjson.dumps((write.run_id, write.workflow, write.definition))


def payload_of(write: Append, last_seq: int) -> tuple[bytes, dict[str, bytes]]:
    """The JSON of events that follow the one numbered `last_seq`, and of the large values apart from it, by hash.

    Raises:
        ValueError: they do not follow it, or are too large.
        TypeError: they are not JSON.
    """
    if write.first_seq != last_seq + 1:
        msg = f"events of run {write.run_id!r} must go on at {last_seq + 1}, not at {write.first_seq}"
        raise ValueError(msg)
    payload, blobs = encode_events(write.events), dict[str, bytes]()
    if len(payload) > BLOB_BYTES:
        payload, blobs = encode_apart(write.events)
    if len(payload) > MAX_PAYLOAD_BYTES:
        msg = f"events of run {write.run_id!r} have {len(payload)} bytes together; at most {MAX_PAYLOAD_BYTES} are kept"
        raise ValueError(msg)
    return payload, blobs


def check_deliveries(write: RecordDeliveries, last_seq: int) -> None:
    """Refuse deliveries of events that do not exist.

    Raises:
        ValueError: a sequence number lies beyond the last event.
    """
    settled, pending = (one.seq for one in write.deliveries), (one.seq for one in write.pending)
    highest = max(chain(settled, pending), default=0)
    if max(highest, write.cursor) > last_seq:
        msg = f"deliveries of run {write.run_id!r} speak of event {max(highest, write.cursor)}; the last is {last_seq}"
        raise ValueError(msg)


def check_checkpoint(write: SaveCheckpoint, last_seq: int) -> None:
    """Refuse a checkpoint that is not of the end of what its run has appended.

    Raises:
        ValueError: it is of another place.
    """
    if write.seq != last_seq:
        msg = (
            f"a checkpoint of run {write.run_id!r} must be of event {last_seq}, its last, not of {write.seq}"
        )
        raise ValueError(msg)


def check_release(write: Release, last_seq: int) -> None:
    """Refuse to give a run up of which something is missing that was to be kept before.

    Raises:
        ValueError: its last event is another one than it was to be.
    """
    if write.after_seq not in (None, last_seq):
        msg = f"run {write.run_id!r} is given up with event {write.after_seq}, and its last is {last_seq}"
        raise ValueError(msg)


def run_of_probe(holder: str) -> str:
    """The run of who has a breaker's probe: no run's id has a slash, as a task's path may."""
    return holder.partition("/")[0]


def not_owned(run_id: str) -> ValueError:
    """What a write gets whose run is not this journal's."""
    return ValueError(f"run {run_id!r} is not owned by this journal: create it or claim it first")


def choose(prefix: str, rows: Sequence[RunRow]) -> RunRow:
    """The row with this id, or the only one whose id begins so.

    Raises:
        RunNotFoundError: none or several; it names the nearest.
    """
    found = [row for row in rows if row.run_id.startswith(prefix)]
    exact = [row for row in found if row.run_id == prefix]
    if exact or len(found) == 1:
        return (exact or found)[0]
    if found:
        raise RunNotFoundError(
            prefix, nearest=tuple(row.run_id for row in found[:_NEAREST_SHOWN]), ambiguous=True
        )
    raise RunNotFoundError(prefix, nearest=nearest(prefix, [row.run_id for row in rows]))


def nearest(run_id: str, known: Sequence[str]) -> tuple[str, ...]:
    """Up to five of the ids that look like this one; only the first thousand are looked at."""
    return tuple(get_close_matches(run_id, known[:_NEAREST_CANDIDATES], n=_NEAREST_SHOWN))
