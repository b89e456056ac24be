"""The HookActor: parent of the deliveries of all runs, and starter of blocking hooks.

Deliveries are worked on in slices, one after the other, beside the tasks of the runs. While tasks are on the move they make
way: what tasks leave of the loop is there for the taking once they rest. Deliveries that have been behind for a while get a
part of the loop all the same. The tries themselves are turns of the runner pool.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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

LATE_S: Final = 0.5
"""Events that were not looked at for so long make way for tasks no more."""

LATE_PAUSE_S: Final = 0.008
"""The pause behind a slice then: one part in nine is left to deliveries, and never nothing."""

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
        self._desk = Desk(host, pool, alarm)
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

    async def drain(self, debtor: Debtor, deadline: float = math.inf) -> None:
        """Wait until nothing more of a run can be delivered by this process.

        Args:
            debtor: the run.
            deadline: by the loop's clock: tries that are due by then are waited for.
        """
        await self.follow(debtor).drain(deadline)

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
                if self._work_slice():
                    # the tries of the slice begin: they are not what it makes way for
                    await anyio.lowlevel.checkpoint()
                if self._ready and (pause_s := self._pause_s()):
                    await anyio.sleep(pause_s)
            await self._gate.wait()

    def _work_slice(self) -> bool:
        """Work on those whose time it is, in turn; whether there were any."""
        is_over = self._host.slice(SLICE_S)
        now = self._host.time()
        due = [deliveries for deliveries in self._ready if self._is_due(deliveries, now)]
        for deliveries in due:
            del self._ready[deliveries]
            deliveries.work(is_over)
            if deliveries.has_more:
                self._ready[deliveries] = None
            if is_over():
                break
        return bool(due)

    def _is_due(self, deliveries: RunDeliveries, now: float) -> bool:
        """Whether it need not make way for tasks: nobody is held up by it, or it has been behind for long enough."""
        since = deliveries.behind_since
        return (
            since is None
            or deliveries.is_draining
            or now - since > LATE_S
            or not (self._is_busy() or now - deliveries.noted_at < REST_S)
        )

    def _pause_s(self) -> float:
        now = self._host.time()
        if any(each.is_draining or each.behind_since is None for each in self._ready):
            return 0.0
        if not any(self._is_due(each, now) for each in self._ready):
            return REST_S / 2
        are_on_the_move = self._is_busy() or any(now - each.noted_at < REST_S for each in self._ready)
        return LATE_PAUSE_S if are_on_the_move else 0.0

    def _wake(self, deliveries: RunDeliveries) -> None:
        self._ready[deliveries] = None
        self._gate.open()
