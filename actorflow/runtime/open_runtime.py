"""What there is between entering and leaving a runtime: its actors, and the ways in which a run of the store is taken up."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar

import anyio
from attrs import field, frozen

from actorflow.core.events import Event, RunStarted
from actorflow.core.hook_context import HookContext
from actorflow.core.owed import FLAG
from actorflow.core.plan import plan_of
from actorflow.core.state import CORE_VERSION, RunState
from actorflow.core.step import next_generation, recovered
from actorflow.errors import (
    BindError,
    DeadLetterNotFoundError,
    MissingVariablesError,
    RunExistsError,
    RunNotEndedError,
    RunOwnedElsewhereError,
    UnboundAgentsError,
)
from actorflow.hooks.actions.action import DispatchRefused
from actorflow.hooks.switches import ENVIRONMENT
from actorflow.journal.protocol import CreateRun, DeadLetter, Release, RunRow, RunSummary
from actorflow.runtime.acceptance import Accepted, accept_changes
from actorflow.runtime.bindings import Binder, Bound
from actorflow.runtime.checkpoints import ReadRun, read_run
from actorflow.runtime.clock import RunClock
from actorflow.runtime.conductor import Conductor, Opening
from actorflow.runtime.dispatch import PARENT, DispatchedSpecs, Parent, dispatched_id, parent_flag
from actorflow.runtime.drains import Drains
from actorflow.runtime.environment import read_environment
from actorflow.runtime.inputs import checked_inputs
from actorflow.runtime.live_run import LiveRun
from actorflow.runtime.ownership import claim
from actorflow.runtime.staff import Ledger, Staff
from actorflow.runtime.task_actor import Performers
from actorflow.runtime.turns import Errand, Turns
from actorflow.spec.definition import spec_definition
from actorflow.spec.model import WorkflowSpec

T = TypeVar("T")

NOBODY: Final = Performers({}, {}, {}, {})
"""For runs in which no attempt will start."""


@frozen
class OpenRuntime:
    """The actors of a runtime, and what it was given."""

    staff: Staff
    binder: Binder
    conductor: Conductor
    turns: Turns
    dispatched: DispatchedSpecs = field(factory=DispatchedSpecs)

    @classmethod
    def over(cls, staff: Staff, binder: Binder, drain_timeout_s: float) -> OpenRuntime:
        """A runtime whose actors are hired."""

        async def dispatch(parent: Parent, context: HookContext, target: str, given: Any) -> str:
            return await opened.dispatch(parent, context, target, given)

        opened = cls(staff, binder, Conductor(staff, drain_timeout_s, dispatch), Turns(staff.host))
        live = opened.conductor.live
        staff.metrics.watch(
            "actorflow_runs_running", lambda: sum(not run.is_over.is_set for run in list(live.values()))
        )
        return opened

    async def start_new(
        self,
        spec: WorkflowSpec,
        inputs: Mapping[str, Any],
        *,
        run_id: str,
        flags: Mapping[str, Any],
        is_alone: bool = False,
        recorded: Mapping[str, str] | None = None,
    ) -> LiveRun:
        """Start a run of a definition that leaves no choice; return once its start is in the journal.

        Args:
            spec: the definition.
            inputs: those given.
            run_id: its id.
            flags: what else is recorded of how it was started.
            is_alone: refuse it beside another run of the workflow.
            recorded: what the run that asks for it has recorded of its own bindings.

        Raises:
            ActorflowError: it cannot be, and nothing was run; see `Runtime.run`.
        """
        given = checked_inputs(spec, inputs)
        bound = await self.bind_new(spec, recorded or {})
        env = await self.read_environment(spec)
        digest, body = spec_definition(spec)
        clock = RunClock(self.staff.host)
        state = RunState(plan_of(spec))
        functions = [list(key) for key in self.staff.functions]
        told = {**flags, FLAG: functions} if functions else flags
        if state.plan.hooks.has_environments:
            told = {**told, ENVIRONMENT: self.staff.switches.environment}
        started = RunStarted(
            clock.now(), run_id, spec.name, digest, given, env, bound.recorded, told, CORE_VERSION
        )
        summary = RunSummary("running", 1, started.at, None)
        create = CreateRun(run_id, spec.name, digest, body, summary, is_alone=is_alone)
        ledger = self.staff.memory if spec.limits.durability == "memory" else self.staff.store
        opening = Opening(
            state, 0, [started, next_generation(state, started.at)], bound.performers, clock, create
        )
        return await self.start(run_id, opening, ledger)

    async def dispatch(self, parent: Parent, context: HookContext, target: str, given: Any) -> str:
        """Start a run for a hook of another, or go on with the one that the same delivery has started before.

        Returns:
            The run's id.

        Raises:
            DispatchRefused: it would be one too many below each other, or something that it needs is not here.
        """
        flags = {PARENT: parent_flag(parent.started, context)}
        run_id = dispatched_id(target, context.delivery_id)
        state = parent.state()
        spec, recorded = self.dispatched.of(state.plan.spec, target), state.bindings
        child: LiveRun | None = None
        with anyio.CancelScope(shield=True):  # half a start would be a run that nobody takes up
            try:
                child = await self.start_new(spec, given, run_id=run_id, flags=flags, recorded=recorded)
            except RunExistsError:
                child = await self.go_on(run_id)
            except (UnboundAgentsError, BindError, MissingVariablesError) as missing:
                raise DispatchRefused(str(missing), is_missing=True) from missing
        if child is not None:
            parent.children[:] = [latch for latch in parent.children if not latch.is_set]
            parent.children.append(child.is_settled)
        return run_id

    async def go_on(self, run_id: str) -> LiveRun | None:
        """Take a run up that was left, if it has anything left to do and nobody has it; None where it does not go on."""
        live = await self.live(run_id)
        if live is not None:
            return live
        ledger = self._ledger
        row = await ledger.actor.ask(lambda: ledger.journal.find(run_id))
        if row.summary.status not in ("running", "paused"):
            return None
        try:
            return await self.resume(run_id) or self.conductor.live.get(run_id)
        except RunOwnedElsewhereError:
            return None

    async def bind_new(self, spec: WorkflowSpec, recorded: Mapping[str, str]) -> Bound:
        """Bind a definition for a new run; see `Binder.bind_new`."""
        if self.binder.may_block(spec, recorded):
            bound = await self.staff.host.in_thread(self.binder.bind_new, spec, recorded)
        else:
            bound = self.binder.bind_new(spec, recorded)
        await self._prepare(bound.performers)
        return bound

    async def read_environment(self, spec: WorkflowSpec) -> Mapping[str, str]:
        """The declared variables, as the run will have them; and see that no secret is missing that it will want."""
        plan = plan_of(spec)
        if not spec.env and not plan.secret_names and not plan.hooks.secret_names:
            return {}
        return await self.staff.host.in_thread(read_environment, spec, self.staff.switches)

    async def live(self, run_id: str) -> LiveRun | None:
        """The run, if it is live here; waits while somebody is about to set it going."""
        await self.turns.over(run_id)
        return self.conductor.live.get(run_id)

    async def start(self, run_id: str, opening: Opening, ledger: Ledger) -> LiveRun:
        """Set a new run going, and wait until its first batch is in the journal; cancelling pauses it.

        Raises:
            RunExistsError: there is one of that id.
            WorkflowRunningError: it was to be the only one of its workflow.
        """
        live: LiveRun | None = None
        try:
            async with self.turns.of(run_id):
                live = self.conductor.begin(run_id, opening, ledger)
                await live.is_kept.wait()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await _leave(live)
            raise
        live.refuse_if_failed()
        return live

    async def resume(
        self, run_id: str, *, accept: WorkflowSpec | None = None, take_over: bool = False
    ) -> LiveRun | None:
        """Set a run going again if it has anything left to do, by a changed definition if there is one.

        It goes on in the journal when this returns. Cancelling leaves it paused, or as it was.

        Returns:
            None: it is live here by now.
        """
        opening_of = partial(self._resumption, accept)
        return await self._take_up(run_id, opening_of, _leave, take_over=take_over)

    async def retry(self, letter: DeadLetter) -> LiveRun | None:
        """Begin the next generation of a run for the task of a dead letter and what is below it; else like `resume`.

        Raises:
            RunNotEndedError: its last generation goes on yet.
            DeadLetterNotFoundError: the task has been tried again meanwhile.
        """
        return await self._take_up(letter.run_id, partial(self._retrial, letter), _leave, take_over=False)

    async def stop(
        self, run_id: str, last: Callable[[float], Event], *, is_lasting: bool, take_over: bool
    ) -> LiveRun | None:
        """Record of a run what keeps it from starting anything more, and let it come to rest; else like `resume`.

        Cancelling leaves it as it was, or on its way there.

        Args:
            run_id: the run's whole id.
            last: the event, at a time.
            is_lasting: also where the run is paused already.
            take_over: as for `Journal.claim`.
        """
        opening_of = partial(self._standstill, last, is_lasting)
        return await self._take_up(run_id, opening_of, _nothing, take_over=take_over)

    async def hold(self, run_id: str, do: Callable[[RunRow], Awaitable[None]]) -> bool:
        """Own a run that is not live here for as long as something takes, and give it up again, whoever cancels.

        Returns:
            False: it is live here by now, and nothing was done.
        """

        async def held() -> bool:
            async with self.turns.of(run_id):
                if run_id in self.conductor.live:
                    return False
                async with self._owned(run_id, take_over=False) as row:
                    await do(row)
                return True

        return await self._run(held, _nothing)

    async def read(self, row: RunRow) -> ReadRun:
        """Fold a run as the store's journal has it."""
        return await self._blocking(partial(read_run, self._ledger.journal, row))

    async def _take_up(
        self,
        run_id: str,
        opening_of: Callable[[RunRow], Awaitable[Opening]],
        undo: Callable[[LiveRun | None], Awaitable[None]],
        *,
        take_over: bool,
    ) -> LiveRun | None:
        """Own a run that is not live here, and set it going; it is given up again if anything stands in the way."""

        async def take_up() -> LiveRun | None:
            async with self.turns.of(run_id):
                if run_id in self.conductor.live:
                    return None
                async with self._owned(run_id, take_over=take_over) as row:
                    live = self.conductor.begin(run_id, await opening_of(row), self._ledger)
                with anyio.CancelScope(shield=True):
                    await live.is_kept.wait()
            live.refuse_if_failed()
            self.staff.spawn(self._take_up_children, live)
            return live

        return await self._run(take_up, undo)

    async def _take_up_children(self, parent: LiveRun) -> None:
        """Go on with what hooks of a run have started, and that was left with it."""
        try:
            async with self.turns.of(
                f"{parent.run_id}/children"
            ):  # whoever closes the runtime waits for this
                await Drains(self).take_up_children(parent.run_id, parent.plan, parent.children)
        finally:
            if parent.has_children is not None:
                parent.has_children.set()

    async def _run(self, do: Callable[[], Awaitable[T]], undo: Callable[[T], Awaitable[None]]) -> T:
        errand = Errand(self.staff.host, do, undo)
        self.staff.spawn(errand.run)
        return await errand.wait()

    @asynccontextmanager
    async def _owned(self, run_id: str, *, take_over: bool) -> AsyncGenerator[RunRow]:
        """Own a run in one's turn; it is given up at the end unless it is live by then."""
        # not on the writing thread: processes get some seconds to end, and other runs go on meanwhile
        row = await self._blocking(partial(claim, self._ledger.journal, run_id, take_over=take_over))
        try:
            yield row
        finally:
            if run_id not in self.conductor.live:
                await self._ledger.actor.keep(Release(run_id))

    async def _resumption(self, accept: WorkflowSpec | None, row: RunRow) -> Opening:
        read = await self.read(row)
        accepted = None if accept is None else await self._accept(row, read, accept)
        state = read.state if accepted is None else accepted.state
        clock = self._clock(state)
        if state.phase == "ended" and state.ending is not None and state.ending.outcome == "success":
            return Opening(state, read.seq, [], NOBODY, clock, None, read.checkpoint_seq)
        performers = await self._bind(state.plan.spec, state.bindings)
        is_ended, now = state.phase in ("ended", "idle"), clock.now()
        events = [next_generation(state, now)] if is_ended else recovered(state, now)
        create = None
        if accepted is not None:
            create, events = accepted.write, [accepted.event(now), *events]
        return Opening(state, read.seq, events, performers, clock, create, read.checkpoint_seq)

    async def _retrial(self, letter: DeadLetter, row: RunRow) -> Opening:
        read = await self.read(row)
        state, clock = read.state, self._clock(read.state)
        if state.phase != "ended":
            raise RunNotEndedError(row.run_id, "resume it, and retry what has failed when it has ended")
        if state.task(letter.task).status != "failed":
            raise DeadLetterNotFoundError(letter.id)
        performers = await self._bind(state.plan.spec, state.bindings)
        events = [next_generation(state, clock.now(), (letter.task,))]
        return Opening(state, read.seq, events, performers, clock, None, read.checkpoint_seq)

    async def _standstill(self, last: Callable[[float], Event], is_lasting: bool, row: RunRow) -> Opening:
        read = await self.read(row)
        state, clock = read.state, self._clock(read.state)
        events: list[Event] = []
        if state.phase != "ended" and (is_lasting or not state.is_pausing):
            events = [*recovered(state, clock.now()), last(clock.now())]
        return Opening(state, read.seq, events, NOBODY, clock, None, read.checkpoint_seq)

    @property
    def _ledger(self) -> Ledger:
        """The only one whose runs can be nobody's: those in memory alone are live, or gone."""
        return self.staff.store

    async def _blocking(self, ask: Callable[[], T]) -> T:
        """Ask something of the store that takes its time where that is a file."""
        return await self.staff.host.in_thread(ask) if self._ledger.journal.is_durable else ask()

    def _clock(self, state: RunState) -> RunClock:
        return RunClock(self.staff.host, not_before=state.last_at)

    async def _accept(self, row: RunRow, read: ReadRun, accept: WorkflowSpec) -> Accepted:
        bindings = self.binder.recorded(accept)
        change = partial(accept_changes, self._ledger.journal, row, read.state, accept, bindings)
        return await self.staff.host.in_thread(change)

    async def _bind(self, spec: WorkflowSpec, recorded: Mapping[str, str]) -> Performers:
        if self.binder.may_block(spec, recorded):
            performers = await self.staff.host.in_thread(self.binder.bind, spec, recorded)
        else:
            performers = self.binder.bind(spec, recorded)
        await self._prepare(performers)
        return performers

    async def _prepare(self, performers: Performers) -> None:
        """Have at hand what attempts need: their timeouts count from their start."""
        if performers.makes_requests:
            await self.staff.http.prepare()


async def _leave(live: LiveRun | None) -> None:
    """Pause a run at once that its caller does not want any more, and wait for that."""
    if live is not None:
        live.ask_pause("its caller was cancelled", 0.0)
        await live.is_over.wait()


async def _nothing(_: object) -> None:
    """There is nothing to undo."""
