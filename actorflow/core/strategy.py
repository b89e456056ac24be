"""What is to follow the failure of a task's attempts, as a caller names it: retry, fallback, skip or abort.

These are words for programs that decide about failures themselves. What the engine does is said by a task's definition,
which knows more than they do: delays, several fallbacks, breakers, budgets; see `recovery`.
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

__all__ = ["Abort", "ErrorRecovery", "Fallback", "RecoveryStrategy", "Retry", "Skip"]


@frozen
class Retry:
    """The same agent tries again, until it has had this many attempts.

    Raises:
        ValueError: there would be no attempt at all.
    """

    max_attempts: int  #: all attempts counted, at least 1

    def __attrs_post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts counts the first attempt too: 1 or more, not {self.max_attempts}")


@frozen
class Fallback:
    """Another agent gets the task.

    Raises:
        ValueError: the agent has no name.
    """

    agent: str
    after: Retry | None = None  #: what the first agent may try before; None: one attempt

    def __attrs_post_init__(self) -> None:
        if not self.agent:
            raise ValueError("a fallback needs the name of an agent")


@frozen
class Skip:
    """The failure is tolerated, and what depends on the task starts."""


@frozen
class Abort:
    """The run fails."""


RecoveryStrategy: TypeAlias = Retry | Fallback | Skip | Abort
"""One of the four; a `match` over it is exhaustive."""


class ErrorRecovery:
    """Which strategy two words of a definition amount to, and what a strategy asks for.

    It has no state: the class itself does as well as an instance.

    ```python
    strategy = ErrorRecovery.get_strategy(3, "b")       # Fallback("b", after=Retry(4))
    ErrorRecovery.should_retry(strategy, attempts=4)    # False: it is b's turn
    ErrorRecovery.get_fallback_agent(strategy)          # "b"
    ```
    """

    @staticmethod
    def get_strategy(retries: int | None = None, fallback_agent: str | None = None) -> RecoveryStrategy:
        """Retries come before the fallback; with neither of the two the run is aborted.

        Args:
            retries: attempts after the first one, as `retry: 3` says in a file; 0 is the same as none.
            fallback_agent: who gets the task when they are used up.

        Raises:
            ValueError: `retries` is negative, or the agent's name is empty.
        """
        if retries is not None and retries < 0:
            raise ValueError(f"retries are 0 or more, not {retries}")
        retry = Retry(retries + 1) if retries else None
        if fallback_agent is not None:
            return Fallback(fallback_agent, after=retry)
        return retry or Abort()

    @staticmethod
    def should_retry(strategy: RecoveryStrategy, attempts: int) -> bool:
        """Whether the agent that failed tries again.

        Args:
            strategy: what was chosen.
            attempts: how many it has made, the failed one included.
        """
        match strategy:
            case Retry(max_attempts) | Fallback(_, Retry(max_attempts)):
                return attempts < max_attempts
            case Fallback() | Skip() | Abort():
                return False

    @staticmethod
    def get_fallback_agent(strategy: RecoveryStrategy) -> str | None:
        """Who gets the task when there are no retries, or none any more; None where nobody does."""
        return strategy.agent if isinstance(strategy, Fallback) else None
