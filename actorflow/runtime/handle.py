"""A run that is being run, and the handle by which callers hold it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread
from attrs import define, field

from actorflow.actors.host import Gate, Host
from actorflow.core.events import Event
from actorflow.core.plan import Plan
from actorflow.core.state import RunState
from actorflow.hooks.blocking import BlockingHook
from actorflow.hooks.owed import Debtor
from actorflow.journal.protocol import Delivery, Journal
from actorflow.runtime.messages import Cancel, Pause
from actorflow.runtime.result import RunResult, result_of
from actorflow.runtime.workflow_actor import WorkflowActor

T = TypeVar("T")


@define(eq=False)
class LiveRun:
    """A run in this process: its actor, and who watches it."""

    run_id: str
    plan: Plan
    host: Host
    debtor: Debtor
    actor: WorkflowActor
    make_actor: Callable[[RunState, int], WorkflowActor]  #: for a restart: from a state and its last number
    is_kept: anyio.Event = field(factory=anyio.Event)  #: its first batch is in the journal, or can't be
    is_over: anyio.Event = field(factory=anyio.Event)  #: ended, paused, or failed with its store
    is_settled: anyio.Event = field(factory=anyio.Event)  #: over, and owed hooks are drained
    error: Exception | None = None
    kept_seq: int = 0
    watchers: list[Gate] = field(factory=list[Gate])
    hook: BlockingHook | None = None  #: the blocking hook that was started last

    @property
    def running_hook(self) -> BlockingHook:
        """The blocking hook that runs."""
        assert self.hook is not None
        return self.hook

    @property
    def journal(self) -> Journal:
        """The journal that has its events."""
        return self.debtor.journal

    def progressed(self, seq: int) -> None:
        """Events up to `seq` are kept."""
        self.kept_seq = seq
        self.is_kept.set()
        self.wake_watchers()

    def wake_watchers(self) -> None:
        """Let every iterator over the run's events look again."""
        for gate in self.watchers:
            gate.open()

    def end(self, error: Exception | None = None) -> None:
        """The run is over for this process."""
        self.error = self.error or error
        self.is_kept.set()
        self.is_over.set()
        self.wake_watchers()

    async def read(self, read: Callable[[], T]) -> T:
        """Read from the journal without holding the loop up."""
        return await anyio.to_thread.run_sync(read) if self.journal.is_durable else read()

    def refuse_if_failed(self) -> None:
        """Raise what ended the run against its will."""
        if self.error is not None:
            raise self.error


class RunHandle:
    """A run that was started: wait for it, watch it, pause or cancel it."""

    def __init__(self, live: LiveRun) -> None:
        self._live = live

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self._live.run_id

    async def wait(self) -> RunResult:
        """Wait until the run has ended or is paused. Cancelling stops the waiting, not the run.

        Raises:
            StoreFailed: the store failed under the run; what was acknowledged before is safe.
        """
        await self._live.is_over.wait()
        self._live.refuse_if_failed()
        return await self._result()

    async def settled(self) -> RunResult:
        """Like `wait`, and then until async hooks have had what they are owed, or their drain time is over."""
        await self._live.is_settled.wait()
        self._live.refuse_if_failed()
        return await self._result()

    def cancel(self, cause: str = "canceled by its caller") -> None:
        """Ask for the run's end as canceled; once its outcome is decided, this changes nothing."""
        if not self._live.is_over.is_set():
            self._live.actor.tell(Cancel(cause))

    async def pause(self, *, grace_s: float = 10.0, cause: str = "paused by its caller") -> RunResult:
        """Start nothing new, give what runs `grace_s` seconds, end the rest, and leave the run to be resumed."""
        if not self._live.is_over.is_set():
            self._live.actor.tell(Pause(cause, grace_s))
        return await self.wait()

    async def events(self, after: int = 0) -> AsyncIterator[tuple[int, Event]]:
        """The run's events with their numbers, from `after` + 1 on: what is kept, then what comes, until it is over.

        Read from the journal, so a slow reader holds nobody up and misses nothing.

        Raises:
            StoreFailed: the store failed under the run.
        """
        live = self._live
        gate = live.host.gate()
        live.watchers.append(gate)
        try:
            while True:
                is_last = live.is_over.is_set()
                if live.kept_seq > after:
                    for seq, event in await live.read(partial(self._events_after, after)):
                        after = seq
                        yield seq, event
                elif is_last:
                    live.refuse_if_failed()
                    return
                else:
                    await gate.wait()
        finally:
            live.watchers.remove(gate)

    async def deliveries(self) -> list[Delivery]:
        """What has become of the run's async hooks so far, oldest first."""
        live = self._live
        return await live.read(partial(live.journal.deliveries, live.run_id))

    def _events_after(self, after: int) -> list[tuple[int, Event]]:
        return list(self._live.journal.events(self._live.run_id, after))

    async def _result(self) -> RunResult:
        live = self._live
        deliveries: list[Delivery] = []
        if live.plan.hooks.on_stage_complete:
            deliveries = await self.deliveries()
        return result_of(live.actor.state, deliveries)
