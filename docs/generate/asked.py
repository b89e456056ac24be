"""The arrows of what has no transition table: each is asked of the code that decides it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias, get_args

from attrs import evolve, field, frozen

from actorflow.core.breaker import CLOSED, Breaker, BreakerAsk, BreakerReport, Outcome, ask, report
from actorflow.core.delivery import Settled, Terms, Tries, Try, TryResult, TryStatus, Verdict, next_step
from actorflow.core.hook_line import HookLine
from actorflow.errors import IllegalTransitionError
from actorflow.spec.model import BreakerSpec, HookSpec, RetrySpec

Arrow: TypeAlias = tuple[str, str, str]
"""From a state, by what, to a state."""

_NOW: Final = 1_000.0


@frozen(kw_only=True)
class Situation:
    """How it is with a delivery when its first try has ended."""

    attempts: int = 2  #: that its hook has
    age_s: float = 0.0
    is_own: bool = True  #: whether this is the process of the run
    facts: TryResult = field(factory=TryResult)  #: what the try tells besides its status


SITUATIONS: Final[Mapping[str, Situation]] = {
    "tries left": Situation(),
    "none left": Situation(attempts=1),
    "none left; it ran and said no": Situation(attempts=1, facts=TryResult(has_acted=True)),
    "another try would see the same": Situation(facts=TryResult(final="dead_letter")),
    "older than `max_age`": Situation(age_s=90_000.0),
    "in another process than the run's": Situation(is_own=False),
}


def hook_arrows() -> Iterator[Arrow]:
    """What a line of one hook does with each of its events, running or not."""
    steps: Sequence[tuple[str, Callable[[HookLine], None]]] = (
        ("HookStarted", lambda line: line.start("pre_workflow", 0)),
        ("HookFinished", lambda line: line.finish("pre_workflow", 0)),
        ("HookLost", lambda line: line.lose("pre_workflow", 0)),
    )
    for is_running in (False, True):
        for by, step in steps:
            line = HookLine("", [("pre_workflow", 0)])
            if is_running:
                line.start("pre_workflow", 0)
            try:
                step(line)
            except IllegalTransitionError:
                continue
            after = "ended" if line.is_done else ("running" if line.is_running else "next")
            yield "running" if is_running else "next", by, after


def breaker_arrows() -> Iterator[Arrow]:
    """What a breaker does with each question and each report."""
    spec = BreakerSpec(threshold=2, window=60.0, cooldown=30.0)
    question = BreakerAsk("k", spec, "r", "t")
    once = Breaker(failures=((_NOW, "r/t/1"),), window=60.0)
    opened = Breaker(until=_NOW + 30.0, cooldown=30.0)
    probing = Breaker(until=_NOW, probe=question.holder, cooldown=30.0)

    def told(breaker: Breaker, outcome: Outcome, by: str) -> Arrow:
        said = BreakerReport("k", spec, "r", "t", 2, _NOW, outcome)
        return _breaker_state(breaker), by, _breaker_state(report(breaker, said, _NOW)[0])

    def asked(breaker: Breaker, now: float, by: str) -> Arrow:
        return _breaker_state(breaker), by, _breaker_state(ask(breaker, question, now, is_probe_held=True)[0])

    yield told(CLOSED, "failure", "a failure below the threshold")
    yield told(once, "failure", "the failure that reaches the threshold within the window")
    yield asked(opened, _NOW, "asked before the cooldown is over")
    yield asked(opened, _NOW + 31.0, "asked after the cooldown, and one probe may start")
    yield told(probing, "success", "the probe succeeds")
    yield told(probing, "failure", "the probe fails")
    yield told(probing, "released", "the probe comes to no end of its own")


def _breaker_state(breaker: Breaker) -> str:
    if breaker.until is None:
        return "closed"
    return "open" if breaker.probe is None else "half_open"


def verdict(status: TryStatus, situation: Situation) -> Verdict:
    """What follows a first try that ended so."""
    result = evolve(situation.facts, status=status, error=status)
    spec = HookSpec(action="webhook", retry=RetrySpec(max_attempts=situation.attempts))
    tried = Try(number=1, at=_NOW, duration_s=0.0, status=status)
    tries = Tries().followed_by(tried, has_acted=result.has_acted)
    return next_step(
        Terms(spec, "r/1/h", _NOW), tries, result, _NOW + situation.age_s, is_own=situation.is_own
    )


def delivery_arrows() -> Iterator[Arrow]:
    """What settles a delivery; a `skip` is known before there is a try."""
    found: dict[Arrow, None] = {("pending", "not wanted", "skipped"): None}
    for status in get_args(TryStatus):
        for situation in SITUATIONS.values():
            follows = verdict(status, situation)
            if isinstance(follows, Settled):
                found["pending", status, follows.status] = None
    return iter(found)
