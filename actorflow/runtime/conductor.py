"""The Conductor: parent of the WorkflowActors. It sets runs going, and sets them going again after a crash."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress

import anyio
from attrs import frozen

from actorflow.core.events import Event, GenerationStarted, RunStarted
from actorflow.core.state import RunState
from actorflow.core.step import recovered
from actorflow.errors import ActorflowError, FencedError, RunExistsError, StoreFailed
from actorflow.journal.protocol import ChangeDefinition, CreateRun, Release
from actorflow.runtime.clock import RunClock
from actorflow.runtime.dispatch import Dispatching, is_detached
from actorflow.runtime.inbox import InboxWatch
from actorflow.runtime.live_run import LiveRun
from actorflow.runtime.staff import Ledger, Staff
from actorflow.runtime.task_actor import Performers


@frozen
class Opening:
    """How a run is set going in this process."""

    state: RunState
    seq: int  #: of its last event in the journal
    events: Sequence[Event]  #: to begin with
    performers: Performers
    clock: RunClock
    create: (
        CreateRun | ChangeDefinition | None
    )  #: for a run that is not in the journal yet, or not by this definition
    checkpoint_seq: int = 0  #: of the last event in its last checkpoint

    @property
    def is_detached(self) -> bool:
        """Whether a hook of another run starts it, or has."""
        first = self.events[0] if self.events else None
        return is_detached(first if isinstance(first, RunStarted) else self.state.started)

    @property
    def begins_generation(self) -> bool:
        """Whether it does not just go on."""
        return any(isinstance(event, GenerationStarted) for event in self.events)


_logger = logging.getLogger("actorflow.runtime")


class Conductor:
    """Runs runs."""

    def __init__(self, staff: Staff, drain_timeout_s: float, dispatch: Dispatching) -> None:
        self._staff = staff
        self._drain_timeout_s = drain_timeout_s
        self._dispatch = dispatch
        self._drains: set[anyio.CancelScope] = set()
        self._begun = staff.host.gate()
        self._when_over = self._over  #: one object for all runs
        self._is_store_lost = False
        self._is_measuring = False  #: runs that have ended
        self.live: dict[str, LiveRun] = {}
        self.is_closing = False
        self._inbox = InboxWatch(staff.host, staff.store, self.live, self._lose_store)
        if staff.store.journal.is_durable:
            staff.employ(lambda: self._inbox.run(self._begun.wait))

    def begin(self, run_id: str, opening: Opening, ledger: Ledger) -> LiveRun:
        """Set a run going, or return the one that somebody else has resumed meanwhile.

        Raises:
            RunExistsError: it is a new one, and another of that id is live.
        """
        if self.is_closing and not opening.is_detached:
            raise RuntimeError("the runtime is being closed: no run can be started any more")
        if run_id in self.live:
            if isinstance(opening.create, CreateRun):
                raise RunExistsError(run_id)
            return self.live[run_id]
        state, seq = opening.state, opening.seq
        live = LiveRun(
            run_id,
            state,
            seq,
            staff=self._staff,
            ledger=ledger,
            clock=opening.clock,
            performers=opening.performers,
            checkpoint_seq=opening.checkpoint_seq,
            dispatch=self._dispatch,
            when_over=self._when_over,
            begins_generation=opening.begins_generation,
        )
        self.live[run_id] = live
        self._begun.open()
        if opening.seq:
            self._staff.spawn(self._look_and_open, live, opening)
        else:
            self._open(live, opening)
        return live

    def _lose_store(self, error: ActorflowError) -> None:
        """End what runs; at once, where it is another process's by now. Each run is told once, whoever finds it out."""
        if self._is_store_lost:
            return
        self._is_store_lost = True
        if isinstance(error, FencedError):
            self._staff.trees.kill_all_nowait()
            self._staff.threads.abandon()
            self.hurry()
        for live in list(self.live.values()):
            live.lose_store(error)

    async def drain(self, live: LiveRun) -> None:
        """Give the run's async hooks their time to have what they are owed, and what they have started its to end."""
        with self.time_to_drain() as time:
            if live.owes_hooks:
                await self._staff.hooks.drain(live.debtor, time.deadline)
            if live.has_children is not None:
                await live.has_children.wait()
            while live.children:  # may grow meanwhile
                await live.children[0].wait()
                live.children.pop(0)

    async def drain_detached(self) -> None:
        """Wait until all runs here have settled: those that hooks have started for as long as there is to drain."""
        while (run := next((run for run in self.live.values() if not run.is_detached), None)) is not None:
            await run.is_settled.wait()
        with self.time_to_drain():
            while self.live:
                await next(iter(self.live.values())).is_settled.wait()

    @contextmanager
    def time_to_drain(self, timeout_s: float | None = None) -> Generator[anyio.CancelScope]:
        """Leave what goes on after so many seconds, or as many as there are to drain, or when nobody waits any more.

        Gives the scope, whose deadline says when that will be.
        """
        allowed_s = self._drain_timeout_s
        with anyio.move_on_after(allowed_s if timeout_s is None else timeout_s) as scope:
            self._drains.add(scope)
            try:
                yield scope
            finally:
                self._drains.discard(scope)

    def hurry(self) -> None:
        """Drain no more, now or later."""
        self._drain_timeout_s = 0.0
        for scope in self._drains:
            scope.cancel()

    # A run that goes well has no task of its own: it is opened, takes its turns, and is over

    def _open(self, live: LiveRun, opening: Opening) -> None:
        if opening.create is not None:
            live.create(opening.create)
        live.actor.begin(opening.events)

    async def _look_and_open(self, live: LiveRun, opening: Opening) -> None:
        """Open a run of which something may have been asked while nobody owned it: it hears of that before it is over."""
        if live.journal.is_durable:
            await self._inbox.look()
        self._open(live, opening)

    def _over(self, live: LiveRun, error: Exception | None) -> None:
        """The run's actor takes no more turns: the run is over, or it is to be mended."""
        if error is not None:
            self._staff.spawn(self._mend, live, error)
            return
        if live.actor.last_seq > live.opened_seq:
            self._staff.metrics.note_ended(live.actor.state)
        is_given_up = live.actor.is_released
        if is_given_up or live.owes_hooks:
            live.end()
        if is_given_up and not live.plan.hooks.dispatch_paths:
            self._settle(live)
        else:
            self._staff.spawn(self._see_off, live)

    async def _see_off(self, live: LiveRun) -> None:
        """Do what is left to do for a run that is over: have its hooks drained, and give it up."""
        if not live.owes_hooks:
            await self._give_up(live)
            live.end()
        try:
            if live.owes_hooks or live.plan.hooks.dispatch_paths:
                await self._see_to_hooks(live)
        except Exception as left:
            _logger.warning(
                "the hooks of run %s were left as they are: %s", live.run_id, left, exc_info=_bug(left)
            )
        finally:
            self._settle(live)

    def _settle(self, live: LiveRun) -> None:
        """Nothing is left to do for the run."""
        del self.live[live.run_id]
        live.is_settled.set()
        if self._staff.metrics.has_many_ended and not self._is_measuring:
            self._is_measuring = True
            self._staff.spawn(self._measure_ended)

    async def _measure_ended(self) -> None:
        await self._staff.host.in_thread(self._staff.metrics.measure_ended)
        self._is_measuring = False

    async def _see_to_hooks(self, live: LiveRun) -> None:
        """Drain, and keep what came of it for who asks later: the run may be somebody else's by then."""
        try:
            await self.drain(live)
        finally:
            await self._staff.hooks.forget(live.run_id)
            with suppress(ActorflowError):  # who asks is told
                live.last_result = await live.read_result()
            await self._give_up(live)

    async def _give_up(self, live: LiveRun) -> None:
        """Let others have the run. One that can't be given up any more goes with its owner."""
        if not live.actor.is_released:
            await live.ledger.actor.keep(Release(live.run_id))

    async def _mend(self, live: LiveRun, error: Exception) -> None:
        """Go on from the journal after a crash, as another process would; where that is of no use, end the run here."""
        try:
            events = await self._mended(live, error)
        except Exception as final:  # noqa: BLE001 - of the store, or a bug: whoever waits for the run is told
            await self._fail(live, final)
        else:
            self._over(live, None) if events is None else live.actor.begin(events)

    async def _mended(self, live: LiveRun, error: Exception) -> Sequence[Event] | None:
        """With what the run goes on by another actor; None: all was done and kept.

        Raises:
            Exception: the error itself, if it is none of a bug, or comes too often.
        """
        if isinstance(error, ActorflowError):
            raise error
        live.restarts.note_crash(error)  # the journal is right, the actor was not
        await live.actor.abandon()
        live.refuse_if_failed()  # its creation was refused, and so was all that came after
        if live.actor.is_released:
            live.note_kept()  # others may have it by now; its end was kept, and nothing was left to do
            return None
        return await self._reopen(live)

    async def _fail(self, live: LiveRun, error: Exception) -> None:
        """End a run here that cannot go on. A crash that restarts can't mend is everybody's end."""
        if isinstance(error, FencedError):
            self._lose_store(error)
        try:
            await live.actor.abandon()
            await self._staff.hooks.forget(live.run_id)
            await self._give_up(live)
        finally:
            live.end(error)
            self._settle(live)
        if not isinstance(error, ActorflowError):
            raise error

    async def _reopen(self, live: LiveRun) -> Sequence[Event]:
        state = RunState(live.plan)
        seq = 0
        for number, event in await live.read(lambda: list(live.journal.events(live.run_id))):
            state.apply(event)
            seq = number
        if not seq:
            raise StoreFailed(f"run {live.run_id!r} crashed before its first event was kept")
        live.restart(state, seq)
        return recovered(state, state.last_at) if state.phase != "ended" else []


def _bug(error: Exception) -> Exception | None:
    """The error itself, for its traceback, unless it is one that says all there is to say."""
    return None if isinstance(error, ActorflowError) else error
