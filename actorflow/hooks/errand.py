"""One try of a few deliveries: a turn of the runner pool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Context

from actorflow.core.delivery import TryResult
from actorflow.hooks.debtor import Debtor
from actorflow.hooks.line import HookLine
from actorflow.hooks.parcel import Parcel

__all__ = ["Errand"]


class Errand:
    """Has the executor make a try of each delivery of a batch.

    Args:
        line: that they are of.
        batch: the deliveries.
        debtor: their run.
        took: told at its end, with `results`, unless it is cancelled.
        crashed: told what the executor, or `took`, has raised.
        gone: told at the end, whichever it is.
    """

    def __init__(
        self,
        line: HookLine,
        batch: Sequence[Parcel],
        debtor: Debtor,
        *,
        took: Callable[[Errand], None],
        crashed: Callable[[Exception], None],
        gone: Callable[[Errand], None],
    ) -> None:
        self.line = line
        self.batch = batch
        self.results: Sequence[TryResult] = ()
        self.began_at = 0.0  #: in epoch seconds
        self._crashed = crashed
        self.context: Context = debtor.context.copy()
        self._debtor = debtor
        self._took = took
        self._gone = gone

    async def perform(self) -> None:
        """Make the tries."""
        self.began_at = self._debtor.now()
        try:
            self.results = await self._debtor.executor.deliver([parcel.for_next_try for parcel in self.batch])
            self._took(self)
        finally:
            self._gone(self)

    def crashed(self, error: Exception) -> None:
        """A bug of ours was met."""
        self._crashed(error)
