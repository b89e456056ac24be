"""The running trio loop as a host."""

from __future__ import annotations

from collections.abc import Callable

import trio

from actorflow.actors.host import RealHost


class TrioHost(RealHost):
    """The running trio loop."""

    name = "trio"
    cancelled_class: type[BaseException] = trio.Cancelled

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self.time = trio.current_time

    def is_cancelled(self) -> bool:
        """Nobody but trio can make a Cancelled."""
        return True

    def gate(self) -> _TrioGate:
        """A gate that parks its waiter."""
        return _TrioGate()

    def call_from_thread(self, callback: Callable[[], None]) -> None:
        """By the loop's token."""
        try:
            self._token.run_sync_soon(callback)  # pyright: ignore[reportUnknownMemberType] - its stub is untyped
        except trio.RunFinishedError as error:
            raise RuntimeError("the trio loop is gone") from error


class _TrioGate:
    __slots__ = ("_is_open", "_waiter")

    def __init__(self) -> None:
        self._is_open = False
        self._waiter: trio.lowlevel.Task | None = None

    def open(self) -> None:
        waiter = self._waiter
        if waiter is None:
            self._is_open = True
        else:
            self._waiter = None
            trio.lowlevel.reschedule(waiter)

    async def wait(self) -> None:
        if not self._is_open:
            self._waiter = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._forget)
        self._is_open = False

    def _forget(self, _: object) -> trio.lowlevel.Abort:
        self._waiter = None
        return trio.lowlevel.Abort.SUCCEEDED
