"""How events become JSON, and come back equal.

An event is an array `[tag, version, at, …]`: its fields in the order of its class, a `Failure` as an array of its own.
Tags and versions are the format of every store that was ever written: a class may be renamed, its tag may not, and a
class that gets more fields, at its end and with defaults, gets the next version. Values are JSON as orjson gives it back (string keys, integers of 64
bits, no NaN): whoever makes an event sees to that.

Where values are kept apart (see `blobs`), the array has one item more than its class has fields, a mark
`{index in the array: hash of the value's JSON}`, and null in their places. No value of a user's can stand there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import orjson
from attrs import fields, frozen

from actorflow.core.events import (
    AttemptCanceled,
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
    AttemptSucceeded,
    AttemptTimedOut,
    BreakerAllowed,
    BreakerClosed,
    BreakerCounted,
    BreakerOpened,
    BreakerRefused,
    BudgetExhausted,
    CancelRequested,
    DeadLettered,
    DefinitionChanged,
    Event,
    Failure,
    FallbackChosen,
    FallbackValueUsed,
    GenerationStarted,
    HookFinished,
    HookLost,
    HookStarted,
    PauseRequested,
    Resumed,
    RetriesExhausted,
    RetryScheduled,
    RunDeadlinePassed,
    RunEnding,
    RunFinished,
    RunStarted,
    SignalReceived,
    SleepStarted,
    StageCompleted,
    TaskCanceled,
    TaskDeadlinePassed,
    TaskFailed,
    TaskFinished,
    TaskSkipped,
)
from actorflow.errors import StoreDamagedError
from actorflow.journal.blobs import BLOB_BYTES, Fetch, no_blob, put_back, set_apart
from actorflow.journal.plain import encode

#: tag, version, class: every member of `Event`, once
REGISTRY: tuple[tuple[str, int, type[Event]], ...] = (
    ("run_started", 1, RunStarted),
    ("generation_started", 2, GenerationStarted),
    ("attempt_started", 1, AttemptStarted),
    ("attempt_succeeded", 1, AttemptSucceeded),
    ("attempt_failed", 1, AttemptFailed),
    ("attempt_timed_out", 1, AttemptTimedOut),
    ("attempt_canceled", 1, AttemptCanceled),
    ("attempt_lost", 1, AttemptLost),
    ("retry_scheduled", 1, RetryScheduled),
    ("fallback_chosen", 1, FallbackChosen),
    ("fallback_value_used", 1, FallbackValueUsed),
    ("retries_exhausted", 1, RetriesExhausted),
    ("budget_exhausted", 1, BudgetExhausted),
    ("breaker_allowed", 1, BreakerAllowed),
    ("breaker_refused", 1, BreakerRefused),
    ("breaker_counted", 1, BreakerCounted),
    ("breaker_opened", 1, BreakerOpened),
    ("breaker_closed", 1, BreakerClosed),
    ("sleep_started", 1, SleepStarted),
    ("task_deadline_passed", 1, TaskDeadlinePassed),
    ("task_failed", 1, TaskFailed),
    ("task_canceled", 1, TaskCanceled),
    ("task_finished", 1, TaskFinished),
    ("task_skipped", 1, TaskSkipped),
    ("dead_lettered", 1, DeadLettered),
    ("stage_completed", 1, StageCompleted),
    ("hook_started", 2, HookStarted),
    ("hook_finished", 2, HookFinished),
    ("hook_lost", 2, HookLost),
    ("pause_requested", 1, PauseRequested),
    ("resumed", 1, Resumed),
    ("cancel_requested", 1, CancelRequested),
    ("signal_received", 1, SignalReceived),
    ("definition_changed", 1, DefinitionChanged),
    ("run_deadline_passed", 1, RunDeadlinePassed),
    ("run_ending", 1, RunEnding),
    ("run_finished", 1, RunFinished),
)

#: tag and version of what is not written any more, and how many fields it has
EARLIER: dict[tuple[str, int], int] = {
    ("generation_started", 1): 3,
    ("hook_started", 1): 3,
    ("hook_finished", 1): 5,
    ("hook_lost", 1): 3,
}

#: a batch is large because it is long, more often than not: so many events are looked at together
_ROWS_IN_PART = 64


def encode_events(events: Sequence[Event]) -> bytes:
    """Write events as one JSON array.

    Raises:
        TypeError: a value is not JSON, or not an event at all.
    """
    return encode(_rows(events))


def encode_apart(events: Sequence[Event]) -> tuple[bytes, dict[str, bytes]]:
    """The same with the large values apart: as JSON, by hash.

    Raises:
        TypeError: as for `encode_events`.
    """
    rows, blobs = _rows(events), dict[str, bytes]()
    parts: list[bytes] = []
    for start in range(0, len(rows), _ROWS_IN_PART):
        some = rows[start : start + _ROWS_IN_PART]
        part = encode(some)
        if len(part) > BLOB_BYTES:
            part = encode([_marked(row, blobs) for row in some])
        parts.append(part[1:-1])
    return b"[" + b",".join(parts) + b"]", blobs


def decode_events(payload: bytes, run_id: str, first_seq: int, fetch: Fetch = no_blob) -> list[Event]:
    """Read what `encode_events` or `encode_apart` wrote.

    Args:
        payload: the JSON.
        run_id: which run it is of, for errors.
        first_seq: the number of the first event, for errors.
        fetch: gives the JSON of a value that is kept apart.

    Raises:
        StoreDamagedError: not such an array, an unknown tag, a version newer than this code, or a value that is gone.
    """
    seq = first_seq
    events: list[Event] = []
    try:
        for seq, row in enumerate(orjson.loads(payload), first_seq):
            form = _BY_TAG.get(row[0])
            if form is None or form.version != row[1]:
                form = _BY_EARLIER.get((row[0], row[1]))
            if form is None:
                raise _unknown(run_id, seq, row[0], row[1])
            if len(row) > form.width:
                put_back(row, row.pop(), fetch)
            events.append(form.build(row))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise StoreDamagedError(
            f"run {run_id!r} cannot be read: event {seq} is malformed ({error})"
        ) from error
    return events


def encode_record(record: Mapping[str, Any]) -> bytes:
    """Write the record of a delivery as JSON; a `TypeError` says that it is none."""
    return encode(record)


def decode_record(payload: bytes) -> dict[str, Any]:
    """Read what `encode_record` wrote."""
    record: dict[str, Any] = orjson.loads(payload)
    return record


def _marked(row: Sequence[Any], blobs: dict[str, bytes]) -> Sequence[Any]:
    """A row without its large values, and with a mark where it has any."""
    values, mark = set_apart(row, blobs)
    return (*values, mark) if mark else values


def _rows(events: Sequence[Event]) -> list[tuple[Any, ...]]:
    """Events as arrays, their values as they are."""
    rows: list[tuple[Any, ...]] = []
    for event in events:
        form = _BY_CLASS.get(type(event))
        if form is None:
            msg = f"{type(event).__name__} is not an event"
            raise TypeError(msg)
        rows.append(form.prefix + form.values(event))
    return rows


@frozen
class _Form:
    """How the events of one class look in JSON."""

    version: int
    width: int  #: items of its array
    prefix: tuple[str, int]
    values: Callable[[Event], tuple[Any, ...]]
    build: Callable[[list[Any]], Event]


def _form(tag: str, version: int, kind: type[Event], count: int | None = None) -> _Form:
    """The form of a class, or that of an earlier version of it, which had only the first `count` fields."""
    known = fields(kind)[:count]
    names = [one.name for one in known]
    getter = attrgetter(*names) if len(names) > 1 else _single(names[0])
    restored = [(at, _RESTORED[str(one.type)]) for at, one in enumerate(known) if str(one.type) in _RESTORED]
    width, prefix = len(names) + 2, (tag, version)
    if not restored:
        return _Form(version, width, prefix, getter, lambda row: kind(*row[2:]))

    def build(row: list[Any]) -> Event:
        found = row[2:]
        for at, restore in restored:
            found[at] = restore(found[at])
        return kind(*found)

    values = _flattening(getter, names.index("failure")) if "failure" in names else getter
    return _Form(version, width, prefix, values, build)


def _flattening(getter: Callable[[Event], tuple[Any, ...]], at: int) -> Callable[[Event], tuple[Any, ...]]:
    """A failure is flattened here, and not by orjson's hook, which would also take one inside an output."""

    def values(event: Event) -> tuple[Any, ...]:
        found = getter(event)
        failure: Failure | None = found[at]
        flat = None if failure is None else (failure.type, failure.message, failure.detail)
        return (*found[:at], flat, *found[at + 1 :])

    return values


def _failure(flat: Sequence[Any] | None) -> Failure | None:
    """Undo the flattening."""
    return None if flat is None else Failure(*flat)


#: what JSON does not give back as it went, by the annotation of its field
_RESTORED: dict[str, Callable[[Any], Any]] = {
    "Failure": _failure,
    "Failure | None": _failure,
    "tuple[str, ...]": tuple,
}


def _single(name: str) -> Callable[[Event], tuple[Any, ...]]:
    """An attrgetter of one name gives the bare value; events are tuples here."""
    getter = attrgetter(name)
    return lambda event: (getter(event),)


def _unknown(run_id: str, seq: int, tag: object, version: object) -> StoreDamagedError:
    return StoreDamagedError(
        f"run {run_id!r} cannot be read: event {seq} is {tag!r} in version {version!r}, which this version of actorflow "
        "does not know; use the version that wrote it, or a newer one"
    )


_BY_CLASS: dict[type, _Form] = {kind: _form(tag, version, kind) for tag, version, kind in REGISTRY}
_BY_TAG = {tag: _BY_CLASS[kind] for tag, _, kind in REGISTRY}
_BY_EARLIER = {
    (tag, version): _form(tag, version, kind, count)
    for (tag, version), count in EARLIER.items()
    for current, _, kind in REGISTRY
    if current == tag
}
