"""What there is between entering and leaving a runtime: its actors, and the ways in which a run of the store is taken up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import anyio.to_thread
from attrs import frozen

from actorflow.core.events import Event
from actorflow.core.plan import plan_of
from actorflow.core.state import RunState
from actorflow.core.step import next_generation, recovered
from actorflow.errors import DeadLetterNotFoundError, RunNotEndedError, SurvivorsError
from actorflow.journal.protocol import DeadLetter, Release, RunRow
from actorflow.runtime.acceptance import Accepted, accept_changes
from actorflow.runtime.bindings import Binder, Bound
from actorflow.runtime.checkpoints import ReadRun, read_run
from actorflow.runtime.clock import RunClock
from actorflow.runtime.conductor import Conductor, Opening
from actorflow.runtime.environment import read_environment
from actorflow.runtime.live_run import LiveRun
from actorflow.runtime.staff import Ledger, Staff
from actorflow.runtime.task_actor import Performers
from actorflow.spec.model import WorkflowSpec
from actorflow.survivors import end_survivors

NOBODY: Final = Performers({}, {}, {}, {})
"""For runs in which no attempt will start."""


@frozen
class OpenRuntime:
    """The actors of a runtime, and what it was given."""

    staff: Staff
    binder: Binder
    conductor: Conductor

    async def bind_new(self, spec: WorkflowSpec) -> Bound:
        """Bind a definition for a new run; see `Binder.bind_new`."""
        if self.binder.may_block(spec, {}):
            return await anyio.to_thread.run_sync(self.binder.bind_new, spec)
        return self.binder.bind_new(spec)

    async def read_environment(self, spec: WorkflowSpec) -> Mapping[str, str]:
        """The declared variables, as the run will have them; and see that no secret is missing that it will want."""
        if not spec.env and not plan_of(spec).secret_names:
            return {}
        return await anyio.to_thread.run_sync(read_environment, spec)

    async def claim(self, run_id: str, ledger: Ledger, *, take_over: bool = False) -> RunRow:
        """Become the owner of a run, once no process of its owner before is left; see `Journal.claim`.

        Raises:
            SurvivorsError: there are some that do not end.
        """
        claim = partial(
            ledger.journal.claim, run_id, take_over=take_over, end_survivors=partial(_end_all, run_id)
        )
        if not ledger.journal.is_durable:
            return claim()
        # not on the writing thread: processes get some seconds to end, and other runs go on meanwhile
        return await anyio.to_thread.run_sync(claim)

    async def resume(self, row: RunRow, ledger: Ledger, accept: WorkflowSpec | None = None) -> LiveRun:
        """Set a claimed run going again if it has anything left to do, by a changed definition if there is one."""
        async with self._released_on_error(row, ledger) as holding:
            read = await self.read(row, ledger)
            accepted = None if accept is None else await self._accept(row, ledger, read, accept)
            state = read.state if accepted is None else accepted.state
            clock = self._clock(state)
            if state.phase == "ended" and state.ending is not None and state.ending.outcome == "success":
                return holding(Opening(state, read.seq, [], NOBODY, clock, None, read.checkpoint_seq))
            performers = await self._bind(state.plan.spec, state.bindings)
            is_ended, now = state.phase in ("ended", "idle"), clock.now()
            events = [next_generation(state, now)] if is_ended else recovered(state, now)
            create = None
            if accepted is not None:
                create, events = accepted.write, [accepted.event(now), *events]
            return holding(Opening(state, read.seq, events, performers, clock, create, read.checkpoint_seq))

    async def retry(self, row: RunRow, ledger: Ledger, letter: DeadLetter) -> LiveRun:
        """Begin the next generation of a claimed run for the task of a dead letter and what is below it.

        Raises:
            RunNotEndedError: its last generation goes on yet.
            DeadLetterNotFoundError: the task has been tried again meanwhile.
        """
        async with self._released_on_error(row, ledger) as holding:
            read = await self.read(row, ledger)
            state, clock = read.state, self._clock(read.state)
            if state.phase != "ended":
                raise RunNotEndedError(row.run_id, "resume it, and retry what has failed when it has ended")
            if state.task(letter.task).status != "failed":
                raise DeadLetterNotFoundError(letter.id)
            performers = await self._bind(state.plan.spec, state.bindings)
            events = [next_generation(state, clock.now(), (letter.task,))]
            return holding(Opening(state, read.seq, events, performers, clock, None, read.checkpoint_seq))

    async def stop(
        self, row: RunRow, ledger: Ledger, last: Callable[[float], Event], *, is_lasting: bool
    ) -> LiveRun:
        """Record of a claimed run what keeps it from starting anything more, and let it come to rest.

        Args:
            row: the run.
            ledger: where it is kept.
            last: the event, at a time.
            is_lasting: also where the run is paused already.
        """
        async with self._released_on_error(row, ledger) as holding:
            read = await self.read(row, ledger)
            state, clock = read.state, self._clock(read.state)
            events: list[Event] = []
            if state.phase != "ended" and (is_lasting or not state.is_pausing):
                events = [*recovered(state, clock.now()), last(clock.now())]
            return holding(Opening(state, read.seq, events, NOBODY, clock, None, read.checkpoint_seq))

    def _clock(self, state: RunState) -> RunClock:
        return RunClock(self.staff.host, not_before=state.last_at)

    async def read(self, row: RunRow, ledger: Ledger) -> ReadRun:
        """Fold a run as its journal has it."""
        if not ledger.journal.is_durable:
            return read_run(ledger.journal, row)
        return await anyio.to_thread.run_sync(read_run, ledger.journal, row)

    async def _accept(self, row: RunRow, ledger: Ledger, read: ReadRun, accept: WorkflowSpec) -> Accepted:
        bindings = self.binder.recorded(accept)
        change = partial(accept_changes, ledger.journal, row, read.state, accept, bindings)
        return await anyio.to_thread.run_sync(change)

    async def _bind(self, spec: WorkflowSpec, recorded: Mapping[str, str]) -> Performers:
        if self.binder.may_block(spec, recorded):
            return await anyio.to_thread.run_sync(self.binder.bind, spec, recorded)
        return self.binder.bind(spec, recorded)

    def _released_on_error(self, row: RunRow, ledger: Ledger) -> _Holding:
        return _Holding(self.conductor, row, ledger)


class _Holding:
    """A claimed run on its way to being live; whatever stops it there gives it up again."""

    def __init__(self, conductor: Conductor, row: RunRow, ledger: Ledger) -> None:
        self._conductor = conductor
        self._row = row
        self._ledger = ledger

    async def __aenter__(self) -> Callable[[Opening], LiveRun]:
        return lambda opening: self._conductor.begin(self._row.run_id, opening, self._ledger)

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None and self._row.run_id not in self._conductor.live:
            await self._ledger.actor.keep(Release(self._row.run_id))


def _end_all(run_id: str, cookie_prefix: str) -> None:
    left: Sequence[int] = end_survivors(cookie_prefix)
    if left:
        raise SurvivorsError(run_id, tuple(left))
