"""Deliveries: what a try can come to, and what follows from that. Pure: the time, and all that was tried, are given.

```
owed ──try──► ok: delivered │ another try at a later time │ failed │ dead letter
     │ └─ held: by what is missing here, for whoever takes it up later
     └─ skipped: by its `when`, the environment, a switch, the depth of dispatched runs
```
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from attrs import field, frozen

from actorflow.core.events import Failure
from actorflow.core.recovery import delay_before_retry, may_be_retried
from actorflow.spec.model import HookSpec, RetrySpec

TryStatus: TypeAlias = Literal["ok", "failed", "timed_out", "rate_limited", "circuit_open", "refused"]
SettledStatus: TypeAlias = Literal["delivered", "failed", "dead_letter", "skipped"]

Finality: TypeAlias = Literal["", "failed", "dead_letter"]
"""How a delivery ends with a try: as one that nobody can mend, or as a dead letter, which an operator may send again."""


@frozen(kw_only=True)
class TryResult:
    """What an action has come to with one delivery."""

    status: TryStatus = "ok"
    error: str = ""  #: one line; empty if there is none
    record: Mapping[str, Any] = field(factory=dict[str, Any])  #: facts for the record of the try, as JSON
    has_acted: bool = (
        False  #: it ran and said no, as a command does by its status: no dead letter comes of it
    )
    final: Finality = (
        ""  #: what becomes of it where another try would see the same; empty: it may be tried again
    )
    skip: str = ""  #: why it is passed over after all; the status does not count then
    retry_after_s: float | None = None  #: what the target asks for, honoured up to the retry's `max_delay`
    until: float | None = None  #: of `circuit_open`: when it is worth asking again


@frozen(kw_only=True)
class Try:
    """One try, as recorded."""

    number: int  #: from 1
    at: float  #: when it began, in epoch seconds
    duration_s: float
    status: TryStatus
    error: str = ""
    record: Mapping[str, Any] = field(factory=dict[str, Any])

    @property
    def counts(self) -> bool:
        """Whether it uses one of the attempts that the hook has."""
        return self.status not in ("circuit_open", "refused")


@frozen
class Settled:
    """The delivery is over."""

    status: SettledStatus
    reason: str = ""


@frozen
class Again:
    """Another try is due at a time, in epoch seconds."""

    at: float


@frozen
class Held:
    """Nothing more can be done here and now: it stays pending, with the reason, for who takes it up later."""

    reason: str


Verdict: TypeAlias = Settled | Again | Held

TRIES_KEPT: Final = 20
"""The last so many tries of a delivery are kept; all of them are counted."""

CIRCUIT_DELAY_S: Final = 1.0
"""Least seconds until an open circuit is asked again."""


@frozen
class Tries:
    """What was tried of a delivery."""

    recent: tuple[Try, ...] = ()  #: the last `TRIES_KEPT`, oldest first
    count: int = 0  #: of all
    attempts: int = 0  #: of those that count
    has_acted: bool = False  #: whether the last one that counts ran and said no

    def followed_by(self, one: Try, *, has_acted: bool = False) -> Tries:
        """With one more."""
        recent = (*self.recent, one)[-TRIES_KEPT:]
        if not one.counts:
            return Tries(recent, self.count + 1, self.attempts, self.has_acted)
        return Tries(recent, self.count + 1, self.attempts + 1, has_acted)


@frozen
class Terms:
    """What holds for all tries of a delivery."""

    spec: HookSpec = field(repr=False)
    delivery_id: str
    owed_at: float  #: in epoch seconds

    @property
    def expires_at(self) -> float:
        """When it is given up for its age alone."""
        return self.owed_at + self.spec.max_age


def next_step(terms: Terms, tries: Tries, last: TryResult, now: float, *, is_own: bool) -> Verdict:
    """Say what follows a try.

    No wait goes beyond the age at which a delivery is given up: `too_old` says so then. Jitter is drawn from a generator
    seeded with the delivery and the number of tries.

    Args:
        terms: of the delivery.
        tries: all of them, the last one included.
        last: what that came to.
        now: in epoch seconds.
        is_own: whether this is the process of the run: what is missing here is missing for good.
    """
    if last.skip:
        return Settled("skipped", last.skip)
    match last.status:
        case "ok":
            return Settled("delivered")
        case "refused":
            return Settled("dead_letter", last.error) if is_own else Held(last.error)
        case "circuit_open":
            return too_old(terms, tries, now) or _again(terms, _probe_at(last, now))
        case _:
            return _after_failure(terms, tries, last, now)


def too_old(terms: Terms, tries: Tries, now: float) -> Settled | None:
    """What becomes of a delivery for its age alone; None while it may be tried."""
    if now < terms.expires_at:
        return None
    error = tries.recent[-1].error if tries.recent else ""
    reason = f"older than {terms.spec.max_age:g} s{f'; last: {error}' if error else ''}"
    return Settled("failed" if tries.has_acted else "dead_letter", reason)


def _after_failure(terms: Terms, tries: Tries, last: TryResult, now: float) -> Verdict:
    retry = terms.spec.retry
    if not last.final and tries.attempts < retry.max_attempts and _may_be_retried(last, retry):
        key = f"{terms.delivery_id}/{tries.count}"
        delay_s = delay_before_retry(retry, tries.attempts, key, last.retry_after_s or 0.0)
        return too_old(terms, tries, now) or _again(terms, now + delay_s)
    given_up: SettledStatus = last.final or ("failed" if last.has_acted else "dead_letter")
    return Settled(given_up, last.error or last.status)


def _may_be_retried(last: TryResult, retry: RetrySpec) -> bool:
    kind = "timeout" if last.status == "timed_out" else last.status
    return may_be_retried(Failure(kind, last.error, last.record), retry)


def _probe_at(last: TryResult, now: float) -> float:
    return max(now + CIRCUIT_DELAY_S, now if last.until is None else last.until)


def _again(terms: Terms, at: float) -> Again:
    return Again(min(at, terms.expires_at))
