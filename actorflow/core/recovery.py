"""What follows a failed attempt: pure, and the same for every driver.

The order is that of the workflow format. For each agent, the task's own and then its fallbacks: a circuit breaker lets it
start or not (that was asked before the attempt), its first attempt is free, each retry takes one from the run's budget,
as long as it has attempts left and the task's deadline is not over. Then the fallback value, then whoever handles the
failure, then the task's strategy.
"""

from __future__ import annotations

from random import Random
from typing import Any, TypeAlias

from attrs import frozen

from actorflow.core.commands import Decide
from actorflow.core.events import (
    BudgetExhausted,
    Effect,
    Event,
    Failure,
    FallbackChosen,
    FallbackValueUsed,
    RetriesExhausted,
    RetryScheduled,
    TaskFailed,
)
from actorflow.spec.model import RetrySpec, TaskSpec

NEVER_RETRIED = frozenset({"not_found", "did_not_stop", "not_allowed"})
"""Failure types that another attempt of the same agent cannot mend.

A program that does not exist, a body that goes on, a host that may not be reached.
"""

FINAL = frozenset({"did_not_stop"})
"""Failure types after which nobody may try: the body is at work still."""

DEADLINE_TOLERANCE_S = 0.001
"""What is left of a deadline that was waited for: clocks are floats."""


@frozen
class TryAgain:
    """The same agent tries again."""

    delay_s: float


@frozen
class TryNext:
    """The next agent tries."""

    agent: str


@frozen
class UseValue:
    """The task succeeds with its fallback value."""

    output: Any


@frozen
class GiveUp:
    """Nobody is left to try: the failure is handled, tolerated or fatal, as the task says."""

    failure: Failure


Verdict: TypeAlias = TryAgain | TryNext | UseValue | GiveUp


def answer(failed: Decide, now: float) -> tuple[Event, ...]:
    """What follows the failure of an attempt, as the events to commit with it: the verdict is the last."""
    return (*_used_up(failed, now), _verdict_event(failed, decide(failed), now))


def decide(failed: Decide) -> Verdict:
    """Say what follows the failure of an attempt."""
    spec = failed.spec
    is_final = failed.failure.type in FINAL or is_past_deadline(failed)
    if not is_final:
        delay_s = _delay(failed)
        if delay_s is not None and _has_time_for(failed, delay_s) and failed.budget_left != 0:
            return TryAgain(delay_s)
        if failed.agent_index + 1 < len(spec.agents):
            return TryNext(spec.agents[failed.agent_index + 1])
    if not spec.on_error.has_fallback_value:
        return GiveUp(failed.failure)
    if failed.fallback_fault:
        message = (
            f"{failed.failure.message}; and its fallback_value cannot be rendered: {failed.fallback_fault}"
        )
        return GiveUp(Failure("expression", message))
    return UseValue(failed.fallback_value)


def is_past_deadline(failed: Decide) -> bool:
    """Whether the task has no time left for anything."""
    return failed.remaining_s is not None and failed.remaining_s <= DEADLINE_TOLERANCE_S


def may_be_retried(failure: Failure, retry: RetrySpec) -> bool:
    """Whether another attempt of the same agent makes sense: `no_retry_on` comes before `retry_on`."""
    if failure.type in NEVER_RETRIED or _is_one_of(failure, retry.no_retry_on):
        return False
    return not retry.retry_on or _is_one_of(failure, retry.retry_on)


def effect_of(spec: TaskSpec, *, is_handled: bool) -> Effect:
    """What it means for the run that nobody is left to try the task; `strategy: skip` comes before a handler."""
    if spec.on_error.strategy == "skip":
        return "tolerated"
    return "handled" if is_handled else "fatal"


def delay_before_retry(retry: RetrySpec, failed_attempts: int, key: str, at_least: float = 0.0) -> float:
    """Seconds to wait after `failed_attempts` attempts of an agent, in [0, `max_delay`].

    Jitter is seeded with `key`, so the same run, task and attempt always wait alike. `full` draws from [0, delay],
    `equal` from [delay / 2, delay] (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).

    Args:
        retry: the task's policy.
        failed_attempts: of this agent, from 1.
        key: the seed.
        at_least: what the other side asked for (Retry-After, RFC 9110, section 10.2.3): no jitter makes it less.
    """
    delay = min(_backoff(retry, failed_attempts), retry.max_delay)
    match retry.jitter:
        case "none":
            pass
        case "full":
            delay = Random(key).uniform(0.0, delay)  # noqa: S311 - spreads load, guards nothing  # nosec B311
        case "equal":
            delay = Random(key).uniform(delay / 2, delay)  # noqa: S311  # nosec B311
    return min(max(delay, at_least), retry.max_delay)


def _delay(failed: Decide) -> float | None:
    """Seconds until the same agent's next attempt; None where it has none."""
    retry = failed.spec.retry
    if failed.agent_attempts >= retry.max_attempts or not may_be_retried(failed.failure, retry):
        return None
    key = f"{failed.run_id}/{failed.task}/{failed.attempt}"
    return delay_before_retry(retry, failed.agent_attempts, key, retry_after(failed.failure))


def retry_after(failure: Failure) -> float:
    """The seconds that whoever refused an attempt wants to be left alone."""
    asked = failure.detail.get("retry_after_s")
    return float(asked) if isinstance(asked, int | float) and asked > 0 else 0.0


def _has_time_for(failed: Decide, delay_s: float) -> bool:
    return failed.remaining_s is None or delay_s < failed.remaining_s


def _used_up(failed: Decide, now: float) -> tuple[Event, ...]:
    """What has come to its end with this failure, where something of it is noted at all."""
    most = failed.spec.retry.max_attempts
    if most > 1 and failed.agent_attempts >= most:
        agent = failed.spec.agents[failed.agent_index]
        return (RetriesExhausted(now, failed.task, agent, failed.agent_attempts),)
    is_news = failed.budget_left == 0 and not failed.is_budget_noted
    if is_news and _delay(failed) is not None and not is_past_deadline(failed):
        return (BudgetExhausted(now, failed.task),)
    return ()


def _verdict_event(failed: Decide, verdict: Verdict, now: float) -> Event:
    match verdict:
        case TryAgain(delay_s):
            return RetryScheduled(now, failed.task, failed.attempt + 1, now + delay_s)
        case TryNext(agent):
            return FallbackChosen(now, failed.task, agent)
        case UseValue(output):
            return FallbackValueUsed(now, failed.task, output)
        case GiveUp(failure):
            return TaskFailed(now, failed.task, failed.effect, failure)


def _is_one_of(failure: Failure, kinds: tuple[str | int, ...]) -> bool:
    """Whether a failure is of one of these types, or came with one of these exit or HTTP statuses."""
    if not kinds:
        return False
    facts = (failure.type, failure.detail.get("exit_status"), failure.detail.get("http_status"))
    return any(fact is not None and fact in kinds for fact in facts)


def _backoff(retry: RetrySpec, failed_attempts: int) -> float:
    match retry.backoff:
        case "constant":
            return retry.delay
        case "linear":
            return retry.delay * failed_attempts
        case "exponential":
            try:
                return retry.delay * retry.factor ** (failed_attempts - 1)
            except OverflowError:
                return retry.max_delay
