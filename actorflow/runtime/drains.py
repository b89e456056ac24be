"""Deliveries of runs that are not live: what is owed of them is delivered without going on with them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import anyio
from attrs import frozen

from actorflow.actors.latch import Latch
from actorflow.core.events import HookFinished
from actorflow.core.owed import owes_hooks
from actorflow.core.plan import Plan
from actorflow.core.state import RunState
from actorflow.errors import ActorflowError, BadInputError, DeadLetterNotFoundError, RunOwnedElsewhereError
from actorflow.hooks.parcel import renewed
from actorflow.journal.protocol import (
    DeadLetter,
    DropDeadLetters,
    Journal,
    PendingDelivery,
    RecordDeliveries,
    RunRow,
    Write,
)
from actorflow.runtime.clock import RunClock
from actorflow.runtime.dispatch import Parent
from actorflow.runtime.environment import run_secrets
from actorflow.runtime.letters import hindrance_to
from actorflow.runtime.result import RunResult, result_from, result_of
from actorflow.runtime.run_hooks import HookPorts, RunHooks

if TYPE_CHECKING:
    from actorflow.runtime.open_runtime import OpenRuntime

_logger = logging.getLogger("actorflow.runtime")


@frozen
class Drains:
    """Delivers, on behalf of a caller of this runtime."""

    open_: OpenRuntime

    async def drain(self, run_id: str, timeout_s: float | None) -> RunResult:
        """See `Runtime.drain_hooks`."""
        ledger = self.open_.staff.store
        run_id = (await ledger.actor.ask(lambda: ledger.journal.find(run_id))).run_id
        while True:
            live = await self.open_.live(run_id)
            if live is None:
                results: list[RunResult] = []
                if await self.open_.hold(run_id, partial(self._deliver, timeout_s, results)):
                    return results[0]
            elif live.is_over.is_set:
                await live.is_settled.wait()
            else:
                if live.owes_hooks:
                    with self.open_.conductor.time_to_drain(timeout_s) as time:
                        await self.open_.staff.hooks.drain(live.debtor, time.deadline)
                return await self._kept(run_id)

    async def _kept(self, run_id: str) -> RunResult:
        """A run as its journal has it; what has happened to a live one, and is on its way there, is not told yet."""
        journal, host = self.open_.staff.store.journal, self.open_.staff.host
        row = await host.in_thread(journal.find, run_id)
        state = (await self.open_.read(row)).state
        return await host.in_thread(result_from, journal, row, state)

    async def retry(self, letters: Sequence[DeadLetter], timeout_s: float | None) -> RunResult:
        """See `Runtime.retry_deliveries`; the letters are of one run."""
        run_id = letters[0].run_id
        while True:
            results: list[RunResult] = []
            live = await self.open_.live(run_id)
            if live is not None:
                await live.is_settled.wait()
            elif await self.open_.hold(run_id, partial(self._deliver_again, letters, timeout_s, results)):
                return results[0]

    async def take_up_children(
        self, run_id: str, plan: Plan, children: list[Latch], timeout_s: float | None = None
    ) -> None:
        """Go on with the runs that hooks of a run have started, and that nobody has: those that have ended are drained.

        Args:
            run_id: of the run.
            plan: its own.
            children: those that go on here are added to these.
            timeout_s: for all that are drained; None: as long as there is to drain.
        """
        journal = self.open_.staff.store.journal
        if not plan.hooks.dispatch_paths or not journal.is_durable:
            return
        child_ids = await self.open_.staff.host.in_thread(_dispatched, journal, run_id, plan)
        with self.open_.conductor.time_to_drain(timeout_s):
            async with anyio.create_task_group() as group:
                for child_id in child_ids:
                    group.start_soon(self._take_up, child_id, run_id, children, timeout_s)

    async def _take_up(
        self, run_id: str, parent: str, children: list[Latch], timeout_s: float | None
    ) -> None:
        try:
            child = await self.open_.go_on(run_id)
            if child is None:
                await self.drain(run_id, timeout_s)
            else:
                children.append(child.is_settled)
        except RunOwnedElsewhereError:
            pass  # somebody goes on with it
        except ActorflowError as error:
            _logger.warning("run %s, which a hook of %s has started, cannot go on: %s", run_id, parent, error)

    async def _deliver_again(
        self, letters: Sequence[DeadLetter], timeout_s: float | None, results: list[RunResult], row: RunRow
    ) -> None:
        state = (await self.open_.read(row)).state
        owed = [await self._renewed(letter, state) for letter in letters]
        await self._keep(
            RecordDeliveries(row.run_id, (), row.cursor, tuple(owed)),
            DropDeadLetters(row.run_id, ids=tuple(letter.id for letter in letters)),
        )
        await self._deliver(timeout_s, results, row)

    async def _renewed(self, letter: DeadLetter, state: RunState) -> PendingDelivery:
        """The delivery of a dead letter as it is owed again."""
        body = await self.open_.staff.host.in_thread(
            self.open_.staff.store.journal.dead_letter_body, letter.id
        )
        if body is None:
            raise DeadLetterNotFoundError(letter.id)
        now = RunClock(self.open_.staff.host).now()
        pending = renewed(PendingDelivery(letter.id, letter.task, letter.seq, now, body), now)
        hindrance = hindrance_to(pending, state, self.open_.staff)
        if hindrance:
            raise BadInputError((f"nothing was tried, and the dead letter stays: {hindrance}",))
        return pending

    async def _deliver(self, timeout_s: float | None, results: list[RunResult], row: RunRow) -> None:
        """Deliver what a run that is ours is owed, and wait for what its hooks start; the result goes into `results`."""
        open_ = self.open_
        state = (await open_.read(row)).state
        children: list[Latch] = []
        await self.take_up_children(row.run_id, state.plan, children, timeout_s)
        ports = HookPorts(
            run_id=row.run_id,
            plan=state.plan,
            state=lambda: state,
            staff=open_.staff,
            ledger=open_.staff.store,
            clock=RunClock(open_.staff.host, not_before=state.last_at),
            secrets=run_secrets(state.plan),
            tell=_nobody,
            keep=open_.staff.store.actor.tell,
            dispatch=partial(open_.dispatch, Parent(lambda: state, children)),
            is_new=False,
            is_own=False,
        )
        if not owes_hooks(state):
            results.append(result_of(state, ()))
            return
        hooks = RunHooks(ports)
        try:
            with self.open_.conductor.time_to_drain(timeout_s) as time:
                await open_.staff.hooks.drain(hooks.debtor, time.deadline)
                for child in children:  # may grow while it is read
                    await child.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await open_.staff.hooks.forget(row.run_id)
        journal = open_.staff.store.journal
        read = partial(_result, journal, row.run_id, state)
        results.append(await self.open_.staff.host.in_thread(read) if journal.is_durable else read())

    async def _keep(self, *writes: Write) -> None:
        """Keep writes in one commit."""
        actor = self.open_.staff.store.actor
        errors: list[Exception | None] = []

        async def keep(write: Write) -> None:
            errors.append(await actor.keep(write))

        async with anyio.create_task_group() as group:
            for write in writes:
                group.start_soon(keep, write)
        refused = next((error for error in errors if error is not None), None)
        if refused is not None:
            raise refused if isinstance(refused, ActorflowError) else ActorflowError(str(refused))


def _dispatched(journal: Journal, run_id: str, plan: Plan) -> Sequence[str]:
    """The runs that hooks of a run have started, async and blocking ones; reads all of its events for the latter."""
    paths = plan.hooks.dispatch_paths
    records = [each.record for each in journal.deliveries(run_id) if each.hook in paths]
    if plan.hooks.blocks_for_dispatch:
        for _, event in journal.events(run_id):
            if isinstance(event, HookFinished) and plan.hooks.entry_of(event).path in paths:
                records.append(event.record)
    return tuple(dict.fromkeys(str(record["run_id"]) for record in records if "run_id" in record))


def _result(journal: Journal, run_id: str, state: RunState) -> RunResult:
    return result_from(journal, journal.find(run_id), state)


def _nobody(message: object) -> None:
    """A run that does not go on has no blocking hooks, and nobody to be told of them."""
    raise AssertionError(f"told {message!r} of a run that nobody goes on with")
