"""Recovery strategies, as programs name them."""

from __future__ import annotations

import pytest
from attrs.exceptions import FrozenInstanceError

from actorflow import Abort, ErrorRecovery, Fallback, RecoveryStrategy, Retry, Skip

STRATEGIES = [
    (3, "b", Fallback("b", after=Retry(4))),
    (3, None, Retry(4)),
    (None, "b", Fallback("b")),
    (None, None, Abort()),
    (0, None, Abort()),
    (0, "b", Fallback("b")),
    (1, None, Retry(2)),
]


@pytest.mark.parametrize(("retries", "fallback_agent", "strategy"), STRATEGIES)
def test_retries_come_before_a_fallback_and_neither_of_them_aborts(
    retries: int | None, fallback_agent: str | None, strategy: RecoveryStrategy
):
    assert ErrorRecovery.get_strategy(retries, fallback_agent) == strategy
    assert ErrorRecovery().get_strategy(retries=retries, fallback_agent=fallback_agent) == strategy


def test_nothing_given_aborts():
    assert ErrorRecovery.get_strategy() == Abort()


@pytest.mark.parametrize(
    ("strategy", "attempts_that_are_followed_by_another"),
    [
        (Retry(4), [1, 2, 3]),
        (Retry(1), []),
        (Fallback("b", after=Retry(4)), [1, 2, 3]),
        (Fallback("b"), []),
        (Skip(), []),
        (Abort(), []),
    ],
)
def test_an_agent_is_retried_until_all_its_attempts_are_made(
    strategy: RecoveryStrategy, attempts_that_are_followed_by_another: list[int]
):
    retried = [attempts for attempts in range(1, 8) if ErrorRecovery.should_retry(strategy, attempts)]
    assert retried == attempts_that_are_followed_by_another


@pytest.mark.parametrize(
    ("strategy", "agent"),
    [
        (Fallback("b"), "b"),
        (Fallback("b", after=Retry(2)), "b"),
        (Retry(2), None),
        (Skip(), None),
        (Abort(), None),
    ],
)
def test_only_a_fallback_has_an_agent(strategy: RecoveryStrategy, agent: str | None):
    assert ErrorRecovery.get_fallback_agent(strategy) == agent


def test_a_retry_without_an_attempt_is_refused():
    with pytest.raises(ValueError, match="1 or more, not 0"):
        Retry(0)


def test_a_fallback_to_nobody_is_refused():
    with pytest.raises(ValueError, match="name of an agent"):
        ErrorRecovery.get_strategy(2, "")


def test_negative_retries_are_refused():
    with pytest.raises(ValueError, match="0 or more, not -1"):
        ErrorRecovery.get_strategy(-1)


def test_strategies_are_values():
    assert {Retry(2), Retry(2), Fallback("b"), Fallback("b"), Skip(), Skip()} == {
        Retry(2),
        Fallback("b"),
        Skip(),
    }
    with pytest.raises(FrozenInstanceError):
        Retry(2).max_attempts = 3  # type: ignore[misc]
