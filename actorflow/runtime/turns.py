"""One at a time: who looks whether a run is taken, and then takes it, is not looked at halfway.

A runtime owns what it owns for all of its callers. So between seeing that a run is nobody's here and having it live, or
having given it up again, a caller must be alone with it: another would take the run for its own, and its release would
be the end of both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio

from actorflow.actors.host import Gate, Host
from actorflow.actors.latch import Latch

T = TypeVar("T")


class Turns:
    """Turns of this runtime's callers on its runs, in the order in which they come."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._waiting: dict[str, tuple[Gate, ...]] = {}  #: of runs that somebody is at, who is next

    def of(self, run_id: str) -> Turn:
        """Be the only one who may take a run; cancelled while waiting, nothing has happened."""
        return Turn(self, run_id)

    async def over(self, run_id: str) -> None:
        """Wait until nobody is about to take a run who came before."""
        if run_id in self._waiting:
            async with self.of(run_id):
                pass

    async def all_over(self) -> None:
        """Wait until nobody is at any run."""
        while self._waiting:
            await self.over(next(iter(self._waiting)))

    async def begin(self, run_id: str) -> None:
        """Wait for one's turn; not even a cancelled caller is held up where nobody is before it."""
        waiting = self._waiting.get(run_id)
        if waiting is None:
            self._waiting[run_id] = ()
            return
        gate = self._host.gate()
        self._waiting[run_id] = (*waiting, gate)
        try:
            await gate.wait()
        except BaseException:
            if gate in self._waiting[run_id]:
                self._waiting[run_id] = tuple(each for each in self._waiting[run_id] if each is not gate)
            else:
                self.end(run_id)  # it was one's turn in the same turn of the loop
            raise

    def end(self, run_id: str) -> None:
        """One's turn is over: it is the next one's."""
        waiting = self._waiting[run_id]
        if waiting:
            self._waiting[run_id] = waiting[1:]
            waiting[0].open()
        else:
            del self._waiting[run_id]


class Turn:
    """One caller's turn on a run, as a scope. No generator: each run that is started enters one."""

    __slots__ = ("_run_id", "_turns")

    def __init__(self, turns: Turns, run_id: str) -> None:
        self._turns = turns
        self._run_id = run_id

    async def __aenter__(self) -> None:
        await self._turns.begin(self._run_id)

    async def __aexit__(self, *_: object) -> None:
        self._turns.end(self._run_id)


class Errand(Generic[T]):
    """Something that is either done for who waits for it, or undone, however its waiting ends.

    It runs in a task of the runtime's own. A shield of anyio's keeps its cancellation away, and not the `Task.cancel` of
    asyncio, such as `asyncio.wait_for` does: that would leave behind a thread that is about to take a run for nobody.

    Args:
        host: the loop.
        do: the errand; cancelled when it is not wanted any more.
        undo: told what came of it, should it be done by then.
    """

    def __init__(
        self, host: Host, do: Callable[[], Awaitable[T]], undo: Callable[[T], Awaitable[None]]
    ) -> None:
        self._do = do
        self._undo = undo
        self._scope = anyio.CancelScope()
        self._is_over = Latch(host)
        self._values: list[T] = []
        self._error: Exception | None = None

    async def run(self) -> None:
        """Do it; to be spawned, as nobody may cancel this but `wait`."""
        try:
            with self._scope:
                self._values.append(await self._do())
            if self._scope.cancel_called:
                await self._take_back()
        except Exception as error:  # noqa: BLE001 - it is for who waits
            self._error = error
        finally:
            self._is_over.set()

    async def wait(self) -> T:
        """Wait for what comes of it. Cancelled, wait until it is undone.

        Raises:
            Exception: whatever the errand raises.
        """
        try:
            await self._is_over.wait()
        except BaseException:
            with anyio.CancelScope(shield=True):
                if self._is_over.is_set:  # and cancelled in the same turn of the loop
                    await self._take_back()
                self._scope.cancel()
                await self._is_over.wait()
            raise
        if self._error is not None:
            raise self._error
        return self._values[0]

    async def _take_back(self) -> None:
        for value in self._values:
            await self._undo(value)
