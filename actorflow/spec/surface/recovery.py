"""Keys of recovery: retries, breakers, transitions, and what a failure means."""

from __future__ import annotations

from typing import TypeAlias

from actorflow.spec.model import Backoff, Jitter, Strategy
from actorflow.spec.surface.forms import (
    Attempts,
    Count,
    Data,
    Duration,
    Factor,
    Id,
    Losses,
    Name,
    Names,
    Retries,
    key,
    mapping,
)

Fault: TypeAlias = Name | int
Faults: TypeAlias = Fault | list[Fault]


@mapping
class Retry:
    """How often, and after what delay, an attempt is tried again; for each agent by itself."""

    max_attempts: Attempts = key("All attempts counted.")
    delay: Duration = key("Before the second attempt; 1s if not given.")
    backoff: Backoff = key("How the delay grows; exponential if not given.")
    factor: Factor = key("By what it grows; 2 if not given.")
    max_delay: Duration = key("No delay is longer; 60s if not given.")
    jitter: Jitter = key("How much of the delay is drawn by lot; full if not given.")
    retry_on: Faults = key("Only these are tried again: error types, exit codes, HTTP statuses.")
    no_retry_on: Faults = key("These are not tried again.")


@mapping
class Breaker:
    """A circuit breaker, shared by the runs of a store under its key."""

    threshold: Count = key("Failures within the window that open it; 5 if not given.")
    window: Duration = key("60s if not given.")
    cooldown: Duration = key("How long it stays open until one probe is let through; 30s if not given.")
    key: Name = key("What it is shared by; the agent's name, or the target, if not given.")


@mapping
class Transition:
    """The task that comes next, and what is laid over its own `with`."""

    next: Id = key("A task of the same level; it starts only when it is reached.", must=True)
    with_: dict[str, Data] = key("Laid over the target's own `with`.")


@mapping
class OnError:
    """What happens when an attempt of the task fails, and when its attempts are used up."""

    retry: Retries | Retry = key("How many times it is tried again, or how.")
    fallback_agent: Names = key("Agents that are tried next, in order, each with attempts of its own.")
    fallback_value: Data = key("The task's output when every agent has failed.")
    strategy: Strategy = key("What becomes of the run; abort if not given.")
    next: Id = key("A task that handles the failure: it reads `error`, and the run can still succeed.")
    with_: dict[str, Data] = key("Laid over the `with` of `next`.")
    circuit_breaker: Breaker = key("Opens when the agent keeps failing.")
    max_losses: Losses = key("Attempts that crashes may cut off; 5 if not given.")
    timeout: Duration = key("As the task's own.")
    deadline: Duration = key("As the task's own.")
    max_attempts: Attempts = key("As in `retry`.")
    delay: Duration = key("As in `retry`.")
    backoff: Backoff = key("As in `retry`.")
    factor: Factor = key("As in `retry`.")
    max_delay: Duration = key("As in `retry`.")
    jitter: Jitter = key("As in `retry`.")
    retry_on: Faults = key("As in `retry`.")
    no_retry_on: Faults = key("As in `retry`.")
