"""The rota: one task of the loop in which many actors take their turns.

An actor that only ever reacts to its mail needs no task of its own, which would cost 50 µs, some thirty objects, and a
wake-up for each of its messages. It is called when there is mail, and takes one turn for all that has come by then.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import anyio.lowlevel

from actorflow.actors.host import Host

SLICE_S = 0.002
"""After so long the loop sees to its other tasks."""


class Called(Protocol):
    """An actor that takes turns."""

    is_called: bool  #: has a turn to come; false at first, and kept by the rota

    def turn(self) -> None:
        """See to all that is in the mailbox. It raises nothing: what goes wrong is for the actor's own parent."""
        ...


class Rota:
    """Has actors take their turns, in the order in which they were called."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._gate = host.gate()
        self._called: deque[Called] = deque()

    def call(self, actor: Called) -> None:
        """Give an actor a turn, unless it has one to come; on the loop's thread."""
        if not actor.is_called:
            actor.is_called = True
            if not self._called:
                self._gate.open()
            self._called.append(actor)

    async def run(self) -> None:
        """Have turns taken until cancelled."""
        while True:
            await self._gate.wait()
            while self._take_turns():
                await anyio.lowlevel.checkpoint()

    def _take_turns(self) -> bool:
        """For the time of a slice, or until nobody has a turn to come; whether somebody has."""
        called, is_over = self._called, self._host.slice(SLICE_S)
        while called:
            actor = called.popleft()
            actor.is_called = False
            actor.turn()
            if is_over():
                break
        return bool(called)
