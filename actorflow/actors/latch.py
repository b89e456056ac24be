"""A latch: set once, waited for by any number. A run has three, so it is lighter than an event of the loop."""

from __future__ import annotations

from actorflow.actors.host import Gate, Host


class Latch:
    """Open or not; once open, for ever."""

    __slots__ = ("_gates", "_host", "is_set")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._gates: tuple[Gate, ...] = ()
        self.is_set = False

    def set(self) -> None:
        """Let everybody pass who waits, now and later."""
        if self.is_set:
            return
        self.is_set = True
        gates, self._gates = self._gates, ()
        for gate in gates:
            gate.open()

    async def wait(self) -> None:
        """Wait until it is set."""
        if self.is_set:
            return
        gate = self._host.gate()
        self._gates = (*self._gates, gate)
        try:
            await gate.wait()
        finally:
            self._gates = tuple(each for each in self._gates if each is not gate)
