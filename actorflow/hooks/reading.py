"""A question to the journal, asked off the loop: a turn of the runner pool."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Generic, TypeVar

from actorflow.actors.host import Host
from actorflow.journal.protocol import Journal

T = TypeVar("T")

__all__ = ["Reading"]


class Reading(Generic[T]):
    """Reads, and hands over what it has read on the loop.

    Args:
        host: the loop.
        journal: that is read; a durable one may block, and is read in a thread.
        read: what is read.
        then: told what was read, unless the turn is cancelled.
        crashed: told what reading, or `then`, has raised.
        gone: told at the end, whichever it is.
    """

    def __init__(
        self,
        host: Host,
        journal: Journal,
        read: Callable[[], T],
        then: Callable[[T], None],
        *,
        crashed: Callable[[Exception], None],
        gone: Callable[[Reading[T]], None],
    ) -> None:
        self._host = host
        self._is_durable = journal.is_durable
        self._read = read
        self._then = then
        self._gone = gone
        self._crashed = crashed
        self.context: Context = copy_context()

    async def perform(self) -> None:
        """Read."""
        try:
            self._then(await self._host.in_thread(self._read) if self._is_durable else self._read())
        finally:
            self._gone(self)

    def crashed(self, error: Exception) -> None:
        """A bug of ours was met."""
        self._crashed(error)
