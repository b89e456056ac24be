"""The handle by which callers hold a run."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Self

from actorflow.core.events import Event
from actorflow.journal.output_log import OutputLine
from actorflow.journal.protocol import Delivery
from actorflow.runtime.live_run import LiveRun
from actorflow.runtime.result import HookCounts, RunResult


class RunHandle:
    """A run that was started: wait for it, watch it, pause or cancel it."""

    def __init__(self, live: LiveRun) -> None:
        self._live = live

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self._live.run_id

    async def wait(self) -> RunResult:
        """Wait until the run has ended or is paused. Cancelling stops the waiting, not the run.

        Raises:
            StoreFailed: the store failed under the run; what was acknowledged before is safe.
        """
        await self._live.is_over.wait()
        self._live.refuse_if_failed()
        return await self._live.read_result()

    async def settled(self) -> RunResult:
        """Like `wait`, and then until async hooks have had what they are owed, or their drain time is over."""
        await self._live.is_settled.wait()
        self._live.refuse_if_failed()
        return await self._live.read_result()

    def cancel(self, cause: str = "canceled by its caller") -> None:
        """Ask for the run's end as canceled; once its outcome is decided, this changes nothing."""
        self._live.ask_cancel(cause)

    async def pause(self, *, grace_s: float | None = None, cause: str = "paused by its caller") -> RunResult:
        """Start nothing new, give what runs `grace_s` seconds, end the rest, and leave the run to be resumed.

        None gives it what the runtime was made with.
        """
        self._live.ask_pause(cause, grace_s)
        return await self.wait()

    def events(self, after: int = 0) -> EventStream:
        """The run's events with their numbers, from `after` + 1 on: what is kept, then what comes, until it is over.

        Read from the journal, so a slow reader holds nobody up and misses nothing. May be left at any point.

        Raises:
            StoreFailed: the store failed under the run.
        """
        return EventStream(self._live, after)

    async def deliveries(self) -> list[Delivery]:
        """What has become of the run's async hooks so far, oldest first."""
        live = self._live
        return await live.read(partial(live.journal.deliveries, live.run_id))

    async def output(self, position: int = 0) -> tuple[list[OutputLine], int]:
        """Lines that commands and scripts of the run have printed behind a position, and the position behind them.

        At most about a MiB at a time: the same position says that there is nothing more yet. Best effort, as nothing waits
        for it.
        """
        live = self._live
        return await live.read(partial(live.outputs.read, live.run_id, position))

    async def hooks(self) -> HookCounts:
        """How many hooks of the run, blocking and async ones, have come to what so far.

        With async hooks this may read much of the journal: it is for a look now and then.

        Raises:
            StoreFailed: the journal cannot be read.
        """
        return (await self._live.read_result()).hooks


class EventStream:
    """An async iterator over a run's events; not a generator, so that leaving it early leaves nothing to be closed."""

    def __init__(self, live: LiveRun, after: int) -> None:
        self._live = live
        self._after = after
        self._batch: deque[tuple[int, Event]] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[int, Event]:
        live = self._live
        while not self._batch:
            is_last = live.is_over.is_set
            if live.kept_seq > self._after:
                self._batch.extend(await live.read(self._read))
            elif is_last:
                live.refuse_if_failed()
                raise StopAsyncIteration
            else:
                await live.wait_for_progress()
        self._after = self._batch[0][0]
        return self._batch.popleft()

    def _read(self) -> list[tuple[int, Event]]:
        return list(self._live.journal.events(self._live.run_id, self._after))
