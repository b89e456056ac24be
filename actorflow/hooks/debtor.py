"""A run whose events owe deliveries: what these are made of, who makes tries of them, and who keeps what came of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextvars import Context, copy_context
from typing import Protocol

from attrs import field, frozen

from actorflow.core.delivery import TryResult
from actorflow.core.hook_context import HookContext
from actorflow.core.plan import Plan
from actorflow.journal.protocol import Journal, Outcome, Write
from actorflow.spec.model import HookSpec

__all__ = ["Debtor", "Executor", "Switches"]


class Executor(Protocol):
    """Makes tries."""

    async def deliver(self, batch: Sequence[HookContext]) -> Sequence[TryResult]:
        """Make one try of each delivery of a batch, all of one hook; a result for each, in their order.

        What it raises, but for a cancellation, is a bug or the end of the store.
        """
        ...

    def is_batchable(self, spec: HookSpec) -> bool:
        """Whether the action of a hook takes several deliveries at once."""
        ...

    def commits_batches(self, spec: HookSpec) -> bool:
        """Whether it is to be kept which deliveries of a hook are tried together, before they are."""
        ...

    def recall_gone(self, targets: Collection[str]) -> None:
        """These targets have said in this run that they are gone; told before the first try."""
        ...


class Switches(Protocol):
    """What the environments of a run and of this process say about hooks."""

    def skip_reason(self, spec: HookSpec, path: str) -> str:
        """Why a hook does not act for the run, whatever process delivers; empty if it does."""
        ...

    def hold_reason(self, spec: HookSpec, path: str) -> str:
        """Why this process delivers nothing to a hook; empty if it does."""
        ...


def _unheard(action: str, status: str) -> None:
    """Nobody counts."""


@frozen(kw_only=True, eq=False)
class Debtor:
    """A run that this process owns and that has async hooks."""

    run_id: str
    plan: Plan = field(repr=False)
    journal: Journal = field(repr=False)
    keep: Callable[[Write, Callable[[Outcome], None]], None] = field(repr=False)  #: to the journal's actor
    executor: Executor = field(repr=False)
    switches: Switches = field(repr=False)
    now: Callable[[], float] = field(repr=False)  #: the run's clock, in epoch seconds
    is_new: bool  #: created by this process: nothing of it need be read
    is_own: (
        bool  #: its generation began in this process: a secret or a host that is missing is missing for good
    )
    note: Callable[[str, str], None] = field(
        default=_unheard, repr=False
    )  #: told the action and the status of what is settled, once it is kept
    context: Context = field(factory=copy_context, repr=False)  #: the context variables that its hooks see
