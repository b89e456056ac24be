"""The HookActor: parent of the deliveries of all runs, and starter of blocking hooks.

Deliveries are worked on in slices, one after the other, beside the tasks of the runs. While tasks are on the move there is
a pause behind each slice: a long one at first, since what tasks leave of the loop is there for the taking once they rest,
and a short one when deliveries have been behind for a while. The tries themselves are turns of the runner pool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final

import anyio
import anyio.lowlevel

from actorflow.actors.alarm import Alarm
from actorflow.actors.host import Host
from actorflow.actors.pool import RunnerPool
from actorflow.hooks.blocking import BlockingHook
from actorflow.hooks.debtor import Debtor
from actorflow.hooks.deliveries import RunDeliveries
from actorflow.hooks.open_deliveries import Desk

__all__ = ["HookActor"]

SLICE_S: Final = 0.001
"""So long the loop is held at a time."""

PAUSE_S: Final = 0.05
"""The pause behind a slice while tasks are on the move."""

LATE_S: Final = 1.0
"""Events that were not looked at for so long are not put off as long any more."""

LATE_PAUSE_S: Final = 0.008
"""The pause then: one part in nine is left to deliveries, and never nothing."""

REST_S: Final = 0.02
"""Tasks of a run rest when nothing has happened in it for so long."""


class HookActor:
    """Starts blocking hooks at once; sees to it that async hooks get what they are owed, and that no task waits for it.

    What is owed lies in the journal, so a crash of this actor costs nothing but a new look.

    Args:
        host: the loop.
        pool: performs tries.
        alarm: wakes for tries that are due later.
        is_busy: whether attempts wait for a runner.
    """

    def __init__(self, host: Host, pool: RunnerPool, alarm: Alarm, is_busy: Callable[[], bool]) -> None:
        self._host = host
        self._desk = Desk(pool, alarm)
        self._is_busy = is_busy
        self._gate = host.gate()
        self._followed: dict[str, RunDeliveries] = {}
        self._ready: dict[RunDeliveries, None] = {}  #: in turn

    @property
    def backlog(self) -> int:
        """Deliveries that are owed and not settled, as far as events are folded."""
        return sum(deliveries.unsettled_count for deliveries in self._followed.values())

    def start(self, hook: BlockingHook) -> None:
        """Run a blocking hook as soon as a runner is free."""
        hook.start()

    def follow(self, debtor: Debtor) -> RunDeliveries:
        """The deliveries of a run, which are told of its events from now on; the same until `forget`."""
        known = self._followed.get(debtor.run_id)
        if known is None:
            known = self._followed[debtor.run_id] = RunDeliveries(debtor, self._host, self._desk, self._wake)
        return known

    async def drain(self, debtor: Debtor) -> None:
        """Wait until nothing more of a run can be delivered by this process, tries that are due later included."""
        await self.follow(debtor).drain()

    async def forget(self, run_id: str) -> None:
        """End the tries of a run and follow it no more; what it owes stays in the journal. Then it may be released."""
        deliveries = self._followed.get(run_id)
        if deliveries is not None:
            await deliveries.end()
            self._followed.pop(run_id, None)
            self._ready.pop(deliveries, None)

    def close(self) -> None:
        """Work on nothing any more."""
        self._ready.clear()
        self._followed.clear()

    async def run(self) -> None:
        """Work on what is ready until cancelled."""
        while True:
            while self._ready:
                worked_on = self._work_slice()
                await self._pause(worked_on)
            await self._gate.wait()

    def _work_slice(self) -> Sequence[RunDeliveries]:
        until = perf_counter() + SLICE_S
        worked_on: list[RunDeliveries] = []
        while self._ready:
            deliveries = next(iter(self._ready))
            del self._ready[deliveries]
            deliveries.work(until)
            worked_on.append(deliveries)
            if deliveries.has_more:
                self._ready[deliveries] = None
            if perf_counter() >= until:
                break
        return worked_on

    async def _pause(self, worked_on: Sequence[RunDeliveries]) -> None:
        """Let tasks go on, unless somebody waits for these deliveries."""
        await anyio.lowlevel.checkpoint()  # the tries of the slice begin: they are not what it makes way for
        now = self._host.time()
        behind = [(each, since) for each in worked_on if (since := each.behind_since) is not None]
        are_on_the_move = self._is_busy() or any(now - each.noted_at < REST_S for each, _ in behind)
        if are_on_the_move and not any(each.is_draining for each in worked_on):
            is_late = any(now - since > LATE_S for _, since in behind)
            await anyio.sleep(LATE_PAUSE_S if is_late else PAUSE_S)

    def _wake(self, deliveries: RunDeliveries) -> None:
        self._ready[deliveries] = None
        self._gate.open()
