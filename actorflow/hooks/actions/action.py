"""What an action is, and what it may use of its surroundings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

from attrs import field, frozen

from actorflow.actors.host import Host
from actorflow.core.delivery import TryResult
from actorflow.core.hook_context import HookContext
from actorflow.egress.guard import Guard
from actorflow.http.client import Requester
from actorflow.processes import Trees
from actorflow.secrecy.run_secrets import RunSecrets
from actorflow.spec.model import HookEvent

__all__ = [
    "Action",
    "ActionSurroundings",
    "Dispatch",
    "DispatchRefused",
    "HookFunction",
    "MetricKind",
    "MetricsPort",
]

MetricKind: TypeAlias = Literal["counter", "gauge", "histogram"]

HookFunction: TypeAlias = Callable[[HookContext], Awaitable[Mapping[str, Any] | None]]
"""A function of the program for an event; what it returns is kept in the record of the try."""

Dispatch: TypeAlias = Callable[[HookContext, str, Any], Awaitable[str]]
"""Starts a task or agent as a run of its own, with an input, and returns the run's id. May raise DispatchRefused."""


class DispatchRefused(Exception):  # noqa: N818 - a fact about a dispatch, not a fault
    """Raised when nothing is dispatched, and another try would not change that.

    Args:
        reason: one sentence.
        is_depth: dispatched runs have dispatched runs too often already: the delivery is passed over, and no failure.
        is_missing: something that the run needs is not in this process, and may be in another.
    """

    def __init__(self, reason: str, *, is_depth: bool = False, is_missing: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_depth = is_depth
        self.is_missing = is_missing


class MetricsPort(Protocol):
    """Where measurements go."""

    def record(self, name: str, kind: MetricKind, value: float, tags: Mapping[str, str]) -> None:
        """Take one measurement; raises ValueError for one that does not fit what the name has been used for."""
        ...


@frozen(kw_only=True, eq=False)
class ActionSurroundings:
    """What the actions of one run may use."""

    host: Host
    trees: Trees
    folder: str  #: the workflow's; what a hook says of files is relative to it
    inherited: Mapping[str, str] = field(
        repr=False
    )  #: what its commands find of the environment of this process
    secrets: RunSecrets
    metrics: MetricsPort
    dispatch: Dispatch
    functions: Mapping[tuple[HookEvent, str], HookFunction]  #: the program's, by event and name
    http: Requester
    guard: Guard  #: says where requests may go
    gone: set[str] = field(factory=set[str])  #: targets that are asked no more in this run; see `webhook`


class Action(Protocol):
    """A kind of thing that hooks do; what is one says so by its base."""

    is_batchable: ClassVar[bool]
    """Whether it takes several deliveries of one hook together; else it is given one at a time."""
    commits_batches: ClassVar[bool]
    """Whether those that a hook's `batch` puts together are one to the target, and stay so: which they are is kept before
    the first try, each later one has the same, and the `batch` of their contexts names them."""
    bounds_itself: ClassVar[bool]
    """Whether it keeps to the hook's `timeout` and `max_output` by itself, and tells what it had come to by then."""

    def breaker_key(self, context: HookContext) -> str:
        """What a circuit breaker without a key of its own is about; empty: the hook.

        Args:
            context: with secrets put in, which the key must not show.
        """
        del context
        return ""

    async def deliver(self, batch: Sequence[HookContext], around: ActionSurroundings) -> Sequence[TryResult]:
        """Make one try of each delivery.

        Whatever it raises is a failed try of all of them. Cancelling ends the try, and what has been done for it stays
        done.

        Args:
            batch: deliveries of one hook, in the order of their events, with secrets put in.
            around: what it may use.

        Returns:
            What each has come to, in the order of the batch; records are JSON.
        """
        ...
