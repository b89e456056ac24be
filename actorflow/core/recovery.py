"""What follows a failed attempt: pure, and the same for every driver.

The order is that of the workflow format: retries of the agent at hand, then the next fallback with attempts of its own,
then the task's strategy.
"""

from __future__ import annotations

from random import Random
from typing import TypeAlias

from attrs import frozen

from actorflow.core.commands import Decide
from actorflow.core.events import Effect, Event, FallbackChosen, RetryScheduled, TaskFailed
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
class Skip:
    """The failure is tolerated: the output is null, dependants start."""


@frozen
class Finish:
    """The run will fail, after all that does not depend on the task."""


@frozen
class Abort:
    """The run fails now."""


Verdict: TypeAlias = Retry | Fallback | Skip | Finish | Abort


def decide(failed: Decide) -> Verdict:
    """Say what follows the failure of an attempt."""
    spec = failed.spec
    if failed.agent_attempts < spec.retry.max_attempts and failed.failure.type not in NEVER_RETRIED:
        key = f"{failed.run_id}/{failed.task}/{failed.attempt}"
        return Retry(delay_before_retry(spec.retry, failed.agent_attempts, key))
    if failed.agent_index + 1 < len(spec.agents):
        return Fallback(spec.agents[failed.agent_index + 1])
    match spec.on_error.strategy:
        case "skip":
            return Skip()
        case "finish":
            return Finish()
        case "abort":
            return Abort()


def answer(failed: Decide, now: float) -> Event:
    """Turn the verdict on a failure into the event to commit with it."""
    match decide(failed):
        case Retry(delay_s):
            return RetryScheduled(now, failed.task, failed.attempt + 1, now + delay_s)
        case Fallback(agent):
            return FallbackChosen(now, failed.task, agent)
        case Skip():
            return TaskFailed(now, failed.task, "tolerated", failed.failure)
        case Finish() | Abort():
            return TaskFailed(now, failed.task, "fatal", failed.failure)


def effect_of(spec: TaskSpec) -> Effect:
    """What it means for the run that nobody is left to try the task."""
    return "tolerated" if spec.on_error.strategy == "skip" else "fatal"


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
