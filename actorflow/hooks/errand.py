"""Tries of a line's deliveries, one batch after the other while they are done at once: a turn of the runner pool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Final

from actorflow.actors.host import Host
from actorflow.hooks.debtor import Debtor
from actorflow.hooks.line import HookLine, Tried
from actorflow.hooks.parcel import Parcel

__all__ = ["Errand"]


SLICE_S: Final = 0.001
"""An errand that has taken so long does not go on with another batch: others wait for the loop."""


class Errand:
    """Has the executor make a try of each delivery of a batch, and then of the next one's.

    Args:
        line: that they are of.
        batch: the first deliveries.
        debtor: their run.
        host: the loop.
        take: told how each try ended, and whether the errand may go on; says with which batch it does. An empty one is
            its end. It is not told of a batch in which the errand was cancelled.
        crashed: told what the executor, or `take`, has raised.
        gone: told at the end, whichever it is.
    """

    def __init__(
        self,
        line: HookLine,
        batch: Sequence[Parcel],
        debtor: Debtor,
        *,
        host: Host,
        take: Callable[[HookLine, Tried, bool], Sequence[Parcel]],
        crashed: Callable[[Exception], None],
        gone: Callable[[Errand], None],
    ) -> None:
        self._line = line
        self._batch = batch
        self._debtor = debtor
        self._host = host
        self._take = take
        self._crashed = crashed
        self._gone = gone
        self.context: Context = debtor.context.copy()

    async def perform(self) -> None:
        """Make the tries."""
        is_over = self._host.slice(SLICE_S)
        try:
            batch = self._batch
            while batch:
                tried = await self._tried(batch)
                batch = self._take(self._line, tried, not is_over())
        finally:
            self._gone(self)

    def crashed(self, error: Exception) -> None:
        """A bug of ours was met."""
        self._crashed(error)

    async def _tried(self, batch: Sequence[Parcel]) -> Tried:
        began_at = self._debtor.now()
        self._line.note_begun(began_at)
        results = await self._debtor.executor.deliver([parcel.for_next_try for parcel in batch])
        return Tried(batch, results, began_at)
