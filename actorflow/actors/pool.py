"""The runner pool: anyio tasks that perform the turns of many actors, one after the other.

A fresh anyio task costs 30 µs and 9 kB, so runners are reused. One runner is woken; when the turn that it performs
suspends for the first time, that wakes the next. A thousand turns that never suspend need one runner, a thousand that
sleep need a thousand. A runner has one cancel scope, renewed only after a cancel, and shielded from its host: who
wants the pool to end says `stop`, after what runs has been seen to.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, Literal, Protocol, TypeAlias

import anyio
from anyio.abc import TaskGroup

from actorflow.actors.host import Gate, Host

SLICE_COUNT = 256
SLICE_S = 0.002
"""After so many turns, or so long, a runner lets the loop see to its other tasks."""

IDLE_KEPT = 128
"""Runners that are kept for later when there is nothing to do."""


Whereabouts: TypeAlias = Literal["at_work", "queued", "absent"]


class Turn(Protocol):
    """One performance of an actor: what the pool runs."""

    @property
    def context(self) -> Context:
        """The context variables that the turn sees; what it sets there goes with it."""
        ...

    def perform(self) -> Coroutine[Any, Any, None]:
        """Do it. Exceptions are the pool's business only where they are bugs: they end in `crashed`.

        A KeyboardInterrupt, which comes wherever the process happens to be, ends in `RunnerPool.interrupt`.
        """
        ...

    def crashed(self, error: Exception) -> None:
        """Told that `perform` raised."""
        ...


class TurnClosed(GeneratorExit):
    """Thrown into a turn whose loop is gone, and with it everybody who could be told how it ended."""


class RunnerPool:
    """Performs turns, in the order in which they are submitted.

    A turn that does not end when it is cancelled keeps its runner; the others go on.
    """

    def __init__(self, host: Host, task_group: TaskGroup) -> None:
        self._host = host
        self._task_group = task_group
        self._queue: deque[Turn] = deque()
        self._idle: list[_Runner] = []
        self._at_work: dict[Turn, _Runner] = {}
        self._runners: dict[_Runner, None] = {}
        self._is_waking = False
        self._is_stopping = False
        #: what the program was interrupted with inside a turn. All of the task group is cancelled then, and whoever
        #: has left the group is to raise it: raised in a task, it stops an asyncio loop with all that has to end there
        self.interrupt: KeyboardInterrupt | None = None

    def submit(self, turn: Turn) -> None:
        """Queue a turn; it begins when the loop comes to it."""
        self._queue.append(turn)
        self._wake_one()

    def cancel(self, turn: Turn) -> Whereabouts:
        """Cancel a turn that is at work, or take it out of the queue.

        Returns:
            Where it was. `at_work`: it ends by itself, having seen the cancellation. `queued`: it never begins.
            `absent`: it has ended, or was never submitted; nothing was done.
        """
        runner = self._at_work.get(turn)
        if runner is not None:
            runner.scope.cancel()
            return "at_work"
        try:
            self._queue.remove(turn)
        except ValueError:
            return "absent"
        return "queued"

    def stop(self) -> None:
        """Cancel all that is at work, drop what is queued, and let every runner end."""
        self._is_stopping = True
        self._queue.clear()
        for runner in self._runners:
            runner.scope.cancel()

    @property
    def is_at_work(self) -> bool:
        """Whether a turn has begun that has not ended; any thread may ask."""
        return bool(self._at_work)

    @property
    def queued_count(self) -> int:
        """Turns that have not begun."""
        return len(self._queue)

    def _wake_one(self) -> None:
        if self._is_waking or not self._queue:
            return
        self._is_waking = True
        if self._idle:
            self._idle.pop().gate.open()
        else:
            self._task_group.start_soon(self._run)

    async def _run(self) -> None:
        runner = _Runner(self._host.gate())
        self._runners[runner] = None
        try:
            is_wanted = True
            while is_wanted and not self._is_stopping:
                with anyio.CancelScope(shield=True) as runner.scope:
                    await self._serve(runner)
                is_wanted = runner.scope.cancel_called
        finally:
            del self._runners[runner]

    async def _serve(self, runner: _Runner) -> None:
        """Perform turns until the scope is cancelled, or there are too many idle runners."""
        scope = runner.scope
        while not scope.cancel_called:
            self._is_waking = False
            if not self._queue:
                if len(self._idle) >= IDLE_KEPT:
                    return
                self._idle.append(runner)
                await runner.gate.wait()
                continue
            await self._perform_slice(runner)

    async def _perform_slice(self, runner: _Runner) -> None:
        queue, at_work, scope = self._queue, self._at_work, runner.scope
        is_over = self._host.slice(SLICE_S)
        for _ in range(SLICE_COUNT):
            turn = queue.popleft()
            at_work[turn] = runner
            try:
                await _in_context(turn.context, turn.perform, self._wake_one)
            except Exception as error:  # noqa: BLE001 - a bug in an actor must not take the pool with it
                turn.crashed(error)
            except KeyboardInterrupt as interrupt:
                self.interrupt = interrupt
                self._task_group.cancel_scope.cancel()
            finally:
                del at_work[turn]
            if not queue or scope.cancel_called:
                return
            if is_over():
                break
        self._wake_one()
        await anyio.lowlevel.checkpoint()


class _Runner:
    """One anyio task of the pool, as the others see it."""

    __slots__ = ("gate", "scope")

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.scope = anyio.CancelScope()


@types.coroutine
def _in_context(
    context: Context, perform: Callable[[], Coroutine[Any, Any, None]], on_suspend: Callable[[], None]
) -> Generator[Any, Any, None]:
    """Drive a coroutine in a context of its own, inside this task; `on_suspend` is called when it first suspends."""
    run = context.run
    coroutine = perform()
    try:
        step = run(coroutine.send, None)
    except StopIteration:
        return
    on_suspend()
    while True:
        resume: Callable[[Any], Any] = coroutine.send
        try:
            value = yield step
        except GeneratorExit:
            resume, value = coroutine.throw, TurnClosed()
        except BaseException as error:  # noqa: BLE001 - cancellation and all: it is for the coroutine
            resume, value = coroutine.throw, error
        try:
            step = run(resume, value)
        except StopIteration:
            return
