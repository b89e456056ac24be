"""What happens when an attempt fails: retries, breakers, transitions, and what is left when all is used up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from actorflow.spec.model.words import Backoff, Jitter, Strategy, TaskId


@frozen(kw_only=True)
class RetrySpec:
    """How often, and after what delay, an attempt is tried again; the numbers hold for each agent by itself."""

    max_attempts: int = 1  #: all attempts counted, at least 1
    delay: float = 1.0  #: seconds before the second attempt
    backoff: Backoff = "exponential"
    factor: float = 2.0
    max_delay: float = 60.0  #: seconds; no delay is longer
    jitter: Jitter = "full"
    retry_on: tuple[str | int, ...] = ()  #: error types, exit and HTTP statuses; empty: everything
    no_retry_on: tuple[str | int, ...] = ()


@frozen(kw_only=True)
class BreakerSpec:
    """A circuit breaker, shared by the runs of a store under its key."""

    threshold: int = 5  #: failures within `window` that open it
    window: float = 60.0  #: seconds
    cooldown: float = 30.0  #: seconds until one probe is let through
    key: str | None = None  #: None: the agent's name, or the target's


@frozen(kw_only=True)
class Transition:
    """An edge that is taken when its task ends in a certain way."""

    next: TaskId
    with_: Mapping[str, Any] | None = None  #: laid over the target's own `with`; None: nothing is


@frozen(kw_only=True)
class OnErrorSpec:
    """What happens when the attempts of a task's agent are used up."""

    strategy: Strategy = "abort"
    fallback_agents: tuple[str, ...] = ()
    has_fallback_value: bool = False
    fallback_value: Any = None  #: the task's output when every agent has failed; may hold templates
    next: Transition | None = None
    breaker: BreakerSpec | None = None
    max_losses: int = 5  #: attempts that crashes may cut off in one generation
