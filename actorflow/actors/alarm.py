"""The alarm: one task that wakes many, over a heap of times."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from heapq import heapify, heappop, heappush

import anyio
from attrs import define, field

from actorflow.actors.host import Host


@define(order=True)
class Appointment:
    """A call that is due at a time; `cancel()` it when it is not wanted any more."""

    due: float
    _number: int
    _callback: Callable[[], None] | None = field(order=False)

    def cancel(self) -> None:
        """Make it nothing; its place in the heap goes when its time comes, or when such places are many."""
        self._callback = None

    @property
    def is_canceled(self) -> bool:
        """Whether nothing will be called."""
        return self._callback is None

    def keep(self) -> None:
        """Call, if still wanted."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Alarm:
    """Calls back at times of the loop's clock. Callbacks are short, and never raise."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._gate = host.gate()
        self._heap: list[Appointment] = []
        self._numbers = itertools.count()
        self._sweep_at = 1024

    def after(self, delay_s: float, callback: Callable[[], None]) -> Appointment:
        """Have `callback` called in `delay_s` seconds, on the loop's thread."""
        appointment = Appointment(self._host.time() + delay_s, next(self._numbers), callback)
        heappush(self._heap, appointment)
        if self._heap[0] is appointment:
            self._gate.open()
        elif len(self._heap) > self._sweep_at:
            self._sweep()
        return appointment

    async def run(self) -> None:
        """Keep appointments until cancelled."""
        while True:
            due = self._heap[0].due if self._heap else float("inf")
            if due > self._host.time():
                with anyio.CancelScope(deadline=due):
                    await self._gate.wait()
            self._keep_due()

    def _keep_due(self) -> None:
        now = self._host.time()
        while self._heap and (self._heap[0].due <= now or self._heap[0].is_canceled):
            heappop(self._heap).keep()

    def _sweep(self) -> None:
        self._heap = [appointment for appointment in self._heap if not appointment.is_canceled]
        heapify(self._heap)
        self._sweep_at = max(1024, 2 * len(self._heap))
