"""The handle by which callers hold a run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from actorflow.core.events import Event
from actorflow.journal.protocol import Delivery
from actorflow.runtime.live_run import LiveRun
from actorflow.runtime.messages import Cancel, Pause
from actorflow.runtime.result import RunResult, result_of


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
        return await self._result()

    async def settled(self) -> RunResult:
        """Like `wait`, and then until async hooks have had what they are owed, or their drain time is over."""
        await self._live.is_settled.wait()
        self._live.refuse_if_failed()
        return await self._result()

    def cancel(self, cause: str = "canceled by its caller") -> None:
        """Ask for the run's end as canceled; once its outcome is decided, this changes nothing."""
        if not self._live.is_over.is_set:
            self._live.actor.tell(Cancel(self._live.clock.now(), cause))

    async def pause(self, *, grace_s: float = 10.0, cause: str = "paused by its caller") -> RunResult:
        """Start nothing new, give what runs `grace_s` seconds, end the rest, and leave the run to be resumed."""
        if not self._live.is_over.is_set:
            self._live.actor.tell(Pause(self._live.clock.now(), cause, grace_s))
        return await self.wait()

    async def events(self, after: int = 0) -> AsyncIterator[tuple[int, Event]]:
        """The run's events with their numbers, from `after` + 1 on: what is kept, then what comes, until it is over.

        Read from the journal, so a slow reader holds nobody up and misses nothing.

        Raises:
            StoreFailed: the store failed under the run.
        """
        live = self._live
        gate = live.staff.host.gate()
        live.watchers.append(gate)
        try:
            while True:
                is_last = live.is_over.is_set
                if live.kept_seq > after:
                    for seq, event in await live.read(partial(self._events_after, after)):
                        after = seq
                        yield seq, event
                elif is_last:
                    live.refuse_if_failed()
                    return
                else:
                    await gate.wait()
        finally:
            live.watchers.remove(gate)

    async def deliveries(self) -> list[Delivery]:
        """What has become of the run's async hooks so far, oldest first."""
        live = self._live
        return await live.read(partial(live.journal.deliveries, live.run_id))

    def _events_after(self, after: int) -> list[tuple[int, Event]]:
        return list(self._live.journal.events(self._live.run_id, after))

    async def _result(self) -> RunResult:
        live = self._live
        deliveries: list[Delivery] = []
        if live.has_async_hooks:
            deliveries = await self.deliveries()
        return result_of(live.actor.state, deliveries)
