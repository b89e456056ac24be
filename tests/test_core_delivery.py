"""What follows a try of a delivery: the rules, one by one, and what holds for all of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorflow.core.delivery import (
    TRIES_KEPT,
    Again,
    Held,
    Settled,
    Terms,
    Tries,
    Try,
    TryResult,
    Verdict,
    next_step,
    too_old,
)
from actorflow.spec.model import HookSpec, RetrySpec

OWED_AT = 1_000.0
NOW = 1_010.0
DELAY_S = 4.0

STEADY = RetrySpec(max_attempts=3, delay=DELAY_S, backoff="constant", jitter="none")


def terms(**more: Any) -> Terms:
    return Terms(HookSpec(action="page", retry=STEADY, **more), "r/7/task_finished[0]", OWED_AT)


def after(count: int, last: TryResult | None = None) -> Tries:
    """So many tries; all that came before the last one have failed."""
    tries = Tries()
    for number in range(1, count + 1):
        result = TryResult(status="failed") if last is None or number < count else last
        one = Try(number=number, at=OWED_AT, duration_s=0.1, status=result.status, error=result.error)
        tries = tries.followed_by(one, has_acted=result.has_acted)
    return tries


def follows(
    last: TryResult, count: int = 1, *, now: float = NOW, is_own: bool = True, **more: Any
) -> Verdict:
    return next_step(terms(**more), after(count, last), last, now, is_own=is_own)


FAILED = TryResult(status="failed", error="no")

RULES: dict[str, tuple[Verdict, Verdict]] = {
    "ok is delivered": (follows(TryResult()), Settled("delivered")),
    "ok counts however late it comes": (follows(TryResult(), now=1e9), Settled("delivered")),
    "an action may pass over": (follows(TryResult(status="failed", skip="depth 3")), Settled("skipped", "depth 3")),
    "a failure is tried again": (follows(FAILED), Again(NOW + DELAY_S)),
    "so is a timeout": (follows(TryResult(status="timed_out"), 2), Again(NOW + DELAY_S)),
    "and what is told to come later": (follows(TryResult(status="rate_limited")), Again(NOW + DELAY_S)),
    "the target may ask for more time": (
        follows(TryResult(status="rate_limited", retry_after_s=20.0)), Again(NOW + 20.0)
    ),
    "but not for more than max_delay": (
        follows(TryResult(status="rate_limited", retry_after_s=900.0)), Again(NOW + STEADY.max_delay)
    ),
    "used up, it is dead": (follows(FAILED, 3), Settled("dead_letter", "no")),
    "without a reason, the status is one": (follows(TryResult(status="timed_out"), 3), Settled("dead_letter", "timed_out")),
    "what ran and said no is failed": (
        follows(TryResult(status="failed", error="exit 1", has_acted=True), 3), Settled("failed", "exit 1")
    ),
    "what ran and said no is tried again before": (
        follows(TryResult(status="failed", error="exit 1", has_acted=True), 2), Again(NOW + DELAY_S)
    ),
    "what would be the same again is failed": (
        follows(TryResult(status="failed", error="bad", final="failed")), Settled("failed", "bad")
    ),
    "or dead at once, where its target may be mended": (
        follows(TryResult(status="failed", error="gone", final="dead_letter")), Settled("dead_letter", "gone")
    ),
    "also if a try before ran and said no": (
        follows(TryResult(status="failed", error="gone", has_acted=True, final="dead_letter"), 2),
        Settled("dead_letter", "gone"),
    ),
    "refused at home is dead": (follows(TryResult(status="refused", error="no KEY")), Settled("dead_letter", "no KEY")),
    "refused elsewhere is held": (
        follows(TryResult(status="refused", error="no KEY"), is_own=False), Held("no KEY")
    ),
    "refused elsewhere is held however old": (
        follows(TryResult(status="refused", error="no KEY"), is_own=False, now=1e9), Held("no KEY")
    ),
    "an open circuit is asked again when it says": (
        follows(TryResult(status="circuit_open", until=NOW + 30.0)), Again(NOW + 30.0)
    ),
    "and not at once where it does not say": (follows(TryResult(status="circuit_open")), Again(NOW + 1.0)),
    "no wait is longer than its age allows": (follows(FAILED, max_age=12.0), Again(OWED_AT + 12.0)),
    "an open circuit does not keep it alive": (
        follows(TryResult(status="circuit_open", until=NOW + 30.0), max_age=12.0), Again(OWED_AT + 12.0)
    ),
    "too old after a failure, which is told": (
        follows(FAILED, max_age=10.0), Settled("dead_letter", "older than 10 s; last: no")
    ),
    "too old, and it had run": (
        follows(TryResult(status="failed", has_acted=True), max_age=10.0), Settled("failed", "older than 10 s")
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_what_follows_a_try(rule: str) -> None:
    told, expected = RULES[rule]
    assert told == expected


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (TryResult(status="timed_out"), ("timeout",)),
        (TryResult(status="failed", record={"exit_status": 3}), (3,)),
        (TryResult(status="failed", record={"http_status": 400}), (400,)),
    ],
)
def test_what_is_not_retried_is_over_at_once(result: TryResult, words: tuple[str | int, ...]) -> None:
    spec = HookSpec(retry=RetrySpec(max_attempts=3, no_retry_on=words))
    verdict = next_step(Terms(spec, "d", OWED_AT), after(1, result), result, NOW, is_own=True)
    assert isinstance(verdict, Settled)


def test_an_open_circuit_uses_no_attempt() -> None:
    tries = Tries()
    for number in range(1, 51):
        tries = tries.followed_by(Try(number=number, at=NOW, duration_s=0.0, status="circuit_open"))
    assert (tries.count, tries.attempts, len(tries.recent)) == (50, 0, TRIES_KEPT)
    assert next_step(terms(), tries, TryResult(status="circuit_open"), NOW, is_own=True) == Again(NOW + 1.0)


def test_the_last_tries_are_kept_and_all_are_counted() -> None:
    tries = after(30)
    assert [one.number for one in tries.recent] == list(range(11, 31))
    assert tries.attempts == tries.count == 30


def test_a_delivery_is_too_old_from_its_age_on() -> None:
    old = terms(max_age=10.0)
    assert too_old(old, Tries(), OWED_AT + 9.999) is None
    assert too_old(old, Tries(), OWED_AT + 10.0) == Settled("dead_letter", "older than 10 s")


def test_the_same_try_of_the_same_delivery_always_waits_alike() -> None:
    spec = HookSpec(retry=RetrySpec(max_attempts=9, delay=5.0, jitter="full"))
    waits = {
        next_step(Terms(spec, name, OWED_AT), after(2), FAILED, NOW, is_own=True)
        for name in ("r/1/a", "r/1/a", "r/1/b")
    }
    assert len(waits) == 2


RETRIES = st.builds(
    RetrySpec,
    max_attempts=st.integers(1, 8),
    delay=st.floats(0.0, 30.0),
    backoff=st.sampled_from(["constant", "linear", "exponential"]),
    max_delay=st.floats(0.0, 120.0),
    jitter=st.sampled_from(["none", "full", "equal"]),
)
SPECS = st.builds(HookSpec, retry=RETRIES, max_age=st.floats(1.0, 100_000.0))
RESULTS = st.builds(
    TryResult,
    status=st.sampled_from(["ok", "failed", "timed_out", "rate_limited", "circuit_open", "refused"]),
    error=st.sampled_from(["", "no"]),
    has_acted=st.booleans(),
    final=st.sampled_from(["", "", "failed", "dead_letter"]),
    skip=st.sampled_from(["", "", "depth"]),
    retry_after_s=st.none() | st.floats(0.0, 1e6),
    until=st.none() | st.floats(0.0, 1e6),
)


@given(spec=SPECS, results=st.lists(RESULTS, min_size=1, max_size=20), is_own=st.booleans())
def test_a_delivery_ends_within_its_attempts_and_its_age(
    spec: HookSpec, results: list[TryResult], is_own: bool
) -> None:
    each, tries, now = Terms(spec, "d", OWED_AT), Tries(), OWED_AT
    for number, result in enumerate(results, 1):
        one = Try(number=number, at=now, duration_s=0.0, status=result.status, error=result.error)
        tries = tries.followed_by(one, has_acted=result.has_acted)
        verdict = next_step(each, tries, result, now, is_own=is_own)
        if not isinstance(verdict, Again):
            check_end(verdict, each, tries, result, now, is_own=is_own)
            return
        assert tries.attempts < spec.retry.max_attempts or not one.counts
        assert not result.final or not one.counts
        assert now <= verdict.at <= each.expires_at
        if one.counts:
            assert verdict.at - now <= spec.retry.max_delay + 1e-6
        now = verdict.at
        if too_old(each, tries, now) is not None:
            return


def check_end(
    verdict: Verdict, each: Terms, tries: Tries, result: TryResult, now: float, *, is_own: bool
) -> None:
    """That it ends so is what the rules say."""
    match verdict:
        case Held(reason):
            assert result.status == "refused"
            assert not is_own
            assert reason == result.error
        case Settled("delivered", _):
            assert result.status == "ok"
            assert not result.skip
        case Settled("skipped", reason):
            assert reason == result.skip
        case Settled("failed", _):
            assert result.has_acted or result.final == "failed" or tries.has_acted
        case Settled("dead_letter", _):
            is_used_up = tries.attempts >= each.spec.retry.max_attempts
            is_old = now >= each.expires_at
            is_dead = result.final == "dead_letter" or (result.status == "refused" and is_own)
            assert is_used_up or is_old or is_dead
        case _:
            raise AssertionError(verdict)
