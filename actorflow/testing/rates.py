"""Rates of hooks without asyncio: on any loop, and in virtual time."""

from __future__ import annotations

from collections import defaultdict

import anyio
from attrs import define, field

__all__ = ["VirtualRates"]


class VirtualRates:
    """Stands where HookRates stands, and lets through at the same times; belongs to one event loop."""

    def __init__(self) -> None:
        self._queues: defaultdict[tuple[str, float], _Queue] = defaultdict(_Queue)

    async def turn(self, key: str, per_second: float) -> None:
        """Wait until whoever shares the key may act once more: in the order in which they came.

        The first is let through at once, and each other one no sooner than `1 / per_second` seconds behind the one before
        it. Who is canceled while it waits takes no turn.
        """
        await self._queues[key, per_second].pass_through(1 / per_second)


@define
class _Queue:
    """Those who share a key."""

    is_free_at: float | None = None  #: by the loop's clock; None: nobody was here yet
    lock: anyio.Lock = field(factory=anyio.Lock)  #: fair

    async def pass_through(self, apart_s: float) -> None:
        async with self.lock:
            if self.is_free_at is not None:
                await anyio.sleep_until(self.is_free_at)
            self.is_free_at = anyio.current_time() + apart_s
