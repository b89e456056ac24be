"""What one simulated process has not heard of yet: that others have written to the store."""

from __future__ import annotations

import anyio

__all__ = ["News"]


class News:
    """Wakes who looks at the store, when there may be something to see."""

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._quiet_count = 0

    def tell(self) -> None:
        """Another process has written."""
        self._quiet_count = 0
        self._event.set()

    def patience(self) -> int:
        """How much longer than usual the next look may be off: twice as long each time that nothing was told."""
        self._quiet_count += 1
        return 1 << min(self._quiet_count, 20)

    async def wait(self) -> None:
        """Wait until something is told; what was told since the last time counts."""
        await self._event.wait()
        self._event = anyio.Event()
