"""How often hooks act: a leaky bucket for each that has a `rate_limit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from actorflow.actors.room import AsyncioRoom

if TYPE_CHECKING:
    from aiolimiter import AsyncLimiter

__all__ = ["HookRates", "Rates"]


class Rates(Protocol):
    """Who holds hooks to their rates."""

    async def turn(self, key: str, per_second: float) -> None:
        """Wait until whoever shares the key may act once more; see `HookRates.turn`."""
        ...


class HookRates:
    """The buckets of a runtime, shared by all of its runs."""

    def __init__(self, room: AsyncioRoom) -> None:
        self._room = room
        self._limiters: dict[tuple[str, float], AsyncLimiter] = {}

    async def turn(self, key: str, per_second: float) -> None:
        """Wait until whoever shares the key may act once more.

        The turns of a key are never closer to each other than its rate says: no burst of them comes first.
        """
        await self._room.call(self._acquire, key, per_second)

    async def _acquire(self, key: str, per_second: float) -> None:
        limiter = self._limiters.get((key, per_second))
        if limiter is None:
            from aiolimiter import AsyncLimiter  # noqa: PLC0415 - it imports asyncio, and few hooks have a rate

            # a bucket for one: a larger one would let through twice the rate in its first second
            limiter = self._limiters[key, per_second] = AsyncLimiter(1, 1 / per_second)
        await limiter.acquire()
