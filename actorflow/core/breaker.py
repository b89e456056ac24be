"""The circuit breaker: one state machine for each key of a store, shared by all runs there.

```
closed ──threshold failures within window──► open ──cooldown──► half-open: one probe is let through
   ▲                                          ▲                     │
   └───────────── it succeeds ────────────────┼─────────────────────┤
                                              └───── it fails ──────┘
```

It is pure: the journal reads a breaker, asks here, and writes what comes of it within one transaction, so that no two
processes can both have the probe. Who reports an outcome twice (because it was killed before it was told the answer) is
given the same answer, and nothing is counted twice.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from attrs import evolve, frozen

from actorflow.spec.model import BreakerSpec

Outcome: TypeAlias = Literal["success", "failure", "released"]
"""How what was let through has ended; `released`: it came to no end of its own."""


@frozen
class Breaker:
    """What is kept under a key; times are epoch seconds of one clock, windows and cooldowns seconds."""

    failures: tuple[tuple[float, str], ...] = ()  #: when, and of which attempt; those within `window`
    until: float | None = (
        None  #: None: closed; else no attempt before then, and one probe at a time from then on
    )
    probe: str | None = None  #: who has been let through to try: see `BreakerAsk.holder`
    changed_by: str = ""  #: the attempt whose outcome opened or closed it last
    closed_at: float | None = (
        None  #: when a probe closed it; what failed before that is forgotten, also if told late
    )
    window: float = (
        0.0  #: the widest that anybody has counted in: tasks may share a key, and ask for different ones
    )
    cooldown: float = 0.0  #: that of the task which opened it


CLOSED = Breaker()

_TOLERANCE_S = 0.001
"""Times go from one clock to another and back: who comes so much too early has waited."""


@frozen
class BreakerAsk:
    """May this task start an attempt?"""

    key: str
    spec: BreakerSpec
    run_id: str
    task: str

    @property
    def holder(self) -> str:
        """Who it is for: asked again, the same one has the probe still."""
        return f"{self.run_id}/{self.task}"


@frozen
class BreakerReport:
    """How an attempt ended that a breaker had let through."""

    key: str
    spec: BreakerSpec
    run_id: str
    task: str
    attempt: int
    at: float
    outcome: Outcome

    @property
    def holder(self) -> str:
        """As in `BreakerAsk`."""
        return f"{self.run_id}/{self.task}"

    @property
    def id(self) -> str:
        """Names the outcome, whoever reports it and how often."""
        return f"{self.run_id}/{self.task}/{self.attempt}"


@frozen
class Allowed:
    """The attempt may start."""

    is_probe: bool


@frozen
class Refused:
    """Not before `until`; and then, should somebody else have the probe, not before another time."""

    until: float
    is_probing: bool = False  #: somebody else has the probe: it may be over any time, and `until` is a guess


@frozen
class Counted:
    """The outcome is noted."""

    change: Literal["opened", "closed"] | None
    until: float | None = None  #: where it opened: as in `Refused`


BreakerAnswer: TypeAlias = Allowed | Refused | Counted


def ask(
    breaker: Breaker, question: BreakerAsk, now: float, *, is_probe_held: bool
) -> tuple[Breaker, Allowed | Refused]:
    """Say whether an attempt may start, and what the breaker is afterwards.

    Args:
        breaker: as it is kept.
        question: who wants to start.
        now: the time.
        is_probe_held: whether the run of `breaker.probe` is still somebody's; a probe of nobody's is free again.
    """
    if breaker.until is None:
        return breaker, Allowed(is_probe=False)
    if breaker.probe == question.holder:
        return breaker, Allowed(is_probe=True)
    if now < breaker.until - _TOLERANCE_S:
        # never longer than a cooldown from now, also where the clock that opened it was ahead of ours
        until = min(breaker.until, now + breaker.cooldown)
        return evolve(breaker, until=until), Refused(until)
    if breaker.probe is not None and is_probe_held:
        return breaker, Refused(now + breaker.cooldown, is_probing=True)
    return evolve(breaker, probe=question.holder), Allowed(is_probe=True)


def report(breaker: Breaker, told: BreakerReport, now: float) -> tuple[Breaker, Counted]:
    """Count an outcome; say whether it opened or closed the breaker, and what the breaker is afterwards.

    A failure that is told later than a window after it happened, as after a crash, counts nothing.
    """
    if breaker.changed_by == told.id and told.outcome != "released":  # told before
        change: Literal["opened", "closed"] = "closed" if breaker.until is None else "opened"
        return breaker, Counted(change, breaker.until)
    if breaker.until is None:
        if told.outcome != "failure" or _is_over(breaker, told, now):
            return breaker, Counted(None)
        return _count(breaker, told)
    if breaker.probe != told.holder:
        return breaker, Counted(None)  # it began before the breaker opened, and changes nothing
    match told.outcome:
        case "success":
            return Breaker(changed_by=told.id, closed_at=told.at), Counted("closed")
        case "failure":
            return _opened(breaker, told)
        case "released":
            return evolve(breaker, probe=None), Counted(None)


def _is_over(breaker: Breaker, told: BreakerReport, now: float) -> bool:
    """Whether a failure is told too late to count, or happened before a probe showed that all is well again.

    One that seems to lie a window before that was timed by a clock that has been set back since: it counts.
    """
    window = told.spec.window
    is_known = breaker.closed_at is not None and 0 <= breaker.closed_at - told.at < window
    return is_known or now - told.at >= window


def _count(breaker: Breaker, told: BreakerReport) -> tuple[Breaker, Counted]:
    """By distance, not by order: a clock that was set back does not make what came before it count for longer."""
    window = max(breaker.window, told.spec.window)
    kept = [each for each in breaker.failures if abs(told.at - each[0]) < window]
    if all(each[1] != told.id for each in kept):
        kept.append((told.at, told.id))
    counted = evolve(breaker, failures=tuple(kept), window=window)
    recent = sum(abs(told.at - at) < told.spec.window for at, _ in kept)
    return _opened(counted, told) if recent >= told.spec.threshold else (counted, Counted(None))


def _opened(breaker: Breaker, told: BreakerReport) -> tuple[Breaker, Counted]:
    until, cooldown = told.at + told.spec.cooldown, told.spec.cooldown
    opened = evolve(breaker, until=until, probe=None, changed_by=told.id, closed_at=None, cooldown=cooldown)
    return opened, Counted("opened", until)
