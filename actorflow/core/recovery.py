"""What follows a failed attempt: pure, and the same for every driver.

The order is that of the workflow format: retries of the agent at hand, then the next fallback with attempts of its own,
then the fallback value, then whoever handles the failure, then the task's strategy.
"""

from __future__ import annotations

from random import Random
from typing import Any, TypeAlias

from attrs import frozen

from actorflow.core.commands import Decide
from actorflow.core.events import (
    Effect,
    Event,
    Failure,
    FallbackChosen,
    FallbackValueUsed,
    RetryScheduled,
    TaskFailed,
)
from actorflow.spec.model import RetrySpec, TaskSpec

NEVER_RETRIED = frozenset({"not_found"})
"""Failure types that another attempt of the same agent cannot mend: a program that does not exist."""


@frozen
class Retry:
    """The same agent tries again."""

    delay_s: float


@frozen
class Fallback:
    """The next agent tries."""

    agent: str


@frozen
class Value:
    """The task succeeds with its fallback value."""

    output: Any


@frozen
class Handle:
    """The failure is somebody's business: a transition or an edge leads on from it."""


@frozen
class Skip:
    """The failure is tolerated: the output is null, dependants start."""


@frozen
class Finish:
    """The run will fail, after all that does not depend on the task."""


@frozen
class Abort:
    """The run fails now."""


Verdict: TypeAlias = Retry | Fallback | Value | Handle | Skip | Finish | Abort


def decide(failed: Decide) -> Verdict:
    """Say what follows the failure of an attempt."""
    spec = failed.spec
    if failed.agent_attempts < spec.retry.max_attempts and may_be_retried(failed.failure, spec.retry):
        key = f"{failed.run_id}/{failed.task}/{failed.attempt}"
        return Retry(delay_before_retry(spec.retry, failed.agent_attempts, key))
    if failed.agent_index + 1 < len(spec.agents):
        return Fallback(spec.agents[failed.agent_index + 1])
    if spec.on_error.has_fallback_value:
        return Value(failed.fallback_value)
    if failed.effect == "handled":
        return Handle()
    match spec.on_error.strategy:
        case "skip":
            return Skip()
        case "finish":
            return Finish()
        case "abort":
            return Abort()


def may_be_retried(failure: Failure, retry: RetrySpec) -> bool:
    """Whether another attempt of the same agent makes sense: `no_retry_on` comes before `retry_on`."""
    if failure.type in NEVER_RETRIED or _is_one_of(failure, retry.no_retry_on):
        return False
    return not retry.retry_on or _is_one_of(failure, retry.retry_on)


def _is_one_of(failure: Failure, kinds: tuple[str | int, ...]) -> bool:
    """Whether a failure is of one of these types, or came with one of these exit or HTTP statuses."""
    if not kinds:
        return False
    facts = (failure.type, failure.detail.get("exit_status"), failure.detail.get("http_status"))
    return any(fact is not None and fact in kinds for fact in facts)


def answer(failed: Decide, now: float) -> Event:
    """Turn the verdict on a failure into the event to commit with it."""
    match decide(failed):
        case Retry(delay_s):
            return RetryScheduled(now, failed.task, failed.attempt + 1, now + delay_s)
        case Fallback(agent):
            return FallbackChosen(now, failed.task, agent)
        case Value(output):
            return FallbackValueUsed(now, failed.task, output)
        case Handle() | Skip() | Finish() | Abort():
            return TaskFailed(now, failed.task, failed.effect, failed.failure)


def effect_of(spec: TaskSpec, *, is_handled: bool) -> Effect:
    """What it means for the run that nobody is left to try the task; `strategy: skip` comes before a handler."""
    if spec.on_error.strategy == "skip":
        return "tolerated"
    return "handled" if is_handled else "fatal"


def delay_before_retry(retry: RetrySpec, failed_attempts: int, key: str) -> float:
    """Seconds to wait after `failed_attempts` attempts of an agent, in [0, `max_delay`].

    Jitter is seeded with `key`, so the same run, task and attempt always wait alike. `full` draws from [0, delay],
    `equal` from [delay / 2, delay] (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """
    delay = min(_backoff(retry, failed_attempts), retry.max_delay)
    match retry.jitter:
        case "none":
            return delay
        case "full":
            return Random(key).uniform(0.0, delay)  # noqa: S311 - spreads load, guards nothing
        case "equal":
            return Random(key).uniform(delay / 2, delay)  # noqa: S311


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
