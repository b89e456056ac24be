"""Async hooks: what the journal owes, delivered behind a cursor.

Nothing is held in memory alone. A line of deliveries starts at the run's cursor, reads the events behind it, delivers
what each owes, and has every delivery recorded together with the new cursor. Killed anywhere, it begins at the cursor
again: the delivery that was under way is tried again, under the same id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextvars import Context, copy_context

import anyio.to_thread
from attrs import field, frozen

from actorflow.actors.host import Host
from actorflow.actors.pool import RunnerPool
from actorflow.core.events import Event, GenerationStarted, StageCompleted
from actorflow.hooks.command import CommandHook, HookOutcome, run_command_hook
from actorflow.journal.protocol import (
    Delivery,
    DeliveryStatus,
    Journal,
    Outcome,
    RecordDeliveries,
    Write,
)
from actorflow.processes import ProcessTrees
from actorflow.spec.model import HookSpec, WorkflowSpec


@frozen
class Debtor:
    """A run whose events owe deliveries."""

    run_id: str
    spec: WorkflowSpec
    journal: Journal
    keep: Callable[[Write, Callable[[Outcome], None]], None]  #: to the journal's actor
    inherited: Mapping[str, str] = field(factory=dict[str, str], repr=False)  #: by its hooks' commands


@frozen
class OwedHook:
    """One delivery that an event owes."""

    seq: int
    path: str
    hook: HookSpec
    event: StageCompleted
    generation: int

    def delivery_id(self, run_id: str) -> str:
        """Stable over tries and restarts: from run, event and hook alone."""
        return f"{run_id}/{self.seq}/{self.path}"


class DeliveryLine:
    """The deliveries of one run, in order, each with one try."""

    def __init__(
        self,
        debtor: Debtor,
        *,
        host: Host,
        pool: RunnerPool,
        trees: ProcessTrees,
        on_idle: Callable[[str], None],
    ) -> None:
        self._debtor = debtor
        self._host = host
        self._pool = pool
        self._journal = debtor.journal
        self._trees = trees
        self._on_idle = on_idle
        self._is_at_work = False
        self._is_more_owed = False
        self._seq = 0
        self._generation = 0
        self.context: Context = copy_context()

    def look(self) -> None:
        """Deliver what is owed, now or after what is being delivered."""
        self._is_more_owed = True
        if not self._is_at_work:
            self._is_at_work = True
            self._pool.submit(self)

    async def perform(self) -> None:
        """Deliver until nothing more is owed."""
        while self._is_more_owed:
            self._is_more_owed = False
            for owed in await self._read():
                await self._deliver(owed)
        self._is_at_work = False
        self._on_idle(self._debtor.run_id)

    def crashed(self, error: Exception) -> None:
        """What is owed stays in the journal; the next look begins at the cursor."""
        del error
        self._is_at_work = False
        self._seq = 0
        self._on_idle(self._debtor.run_id)

    async def _read(self) -> list[OwedHook]:
        if self._journal.is_durable:
            return await anyio.to_thread.run_sync(self._read_owed)
        return self._read_owed()

    def _read_owed(self) -> list[OwedHook]:
        """What is owed behind the cursor, less what was recorded before a crash in the middle of an event's list."""
        run_id = self._debtor.run_id
        cursor = self._journal.find(run_id).cursor
        settled = {delivery.delivery_id for delivery in self._journal.deliveries(run_id)}
        owed = list(self._owed(list(self._journal.events(run_id, self._seq))))
        return [each for each in owed if each.seq > cursor and each.delivery_id(run_id) not in settled]

    def _owed(self, events: list[tuple[int, Event]]) -> Iterator[OwedHook]:
        for seq, event in events:
            self._seq = seq
            if isinstance(event, GenerationStarted):
                self._generation = event.generation
            elif isinstance(event, StageCompleted):
                for index, hook in enumerate(self._debtor.spec.hooks.of("on_stage_complete")):
                    yield OwedHook(seq, f"on_stage_complete[{index}]", hook, event, self._generation)

    async def _deliver(self, owed: OwedHook) -> None:
        spec, run_id = self._debtor.spec, self._debtor.run_id
        delivery_id = owed.delivery_id(run_id)
        env = {
            "WORKFLOW_NAME": spec.name,
            "WORKFLOW_STAGE": owed.event.stage,
            "WORKFLOW_ERROR": "",
            "ACTORFLOW_RUN_ID": run_id,
            "ACTORFLOW_GENERATION": str(owed.generation),
            "ACTORFLOW_EVENT": "on_stage_complete",
            "ACTORFLOW_STATUS": owed.event.status,
            "ACTORFLOW_DELIVERY_ID": delivery_id,
        }
        job = CommandHook(owed.hook, env, spec.folder, delivery_id, self._debtor.inherited)
        try:
            outcome = await run_command_hook(job, self._trees)
        except Exception as error:  # noqa: BLE001 - whatever it was, it must not be met again at every look
            outcome = HookOutcome("failed", {"summary": f"the hook could not be run: {error!r}"})
        status: DeliveryStatus = "delivered" if outcome.status == "ok" else "failed"
        await self._record(Delivery(delivery_id, owed.path, owed.seq, status, outcome.record))

    async def _record(self, delivery: Delivery) -> None:
        """The cursor moves past an event with the last of its hooks."""
        count = len(self._debtor.spec.hooks.of("on_stage_complete"))
        is_last = delivery.hook == f"on_stage_complete[{count - 1}]"
        cursor = delivery.seq if is_last else delivery.seq - 1
        gate = self._host.gate()
        errors: list[Exception] = []

        def kept(outcome: Outcome) -> None:
            if isinstance(outcome, Exception):
                errors.append(outcome)
            gate.open()

        self._debtor.keep(RecordDeliveries(self._debtor.run_id, [delivery], cursor), kept)
        await gate.wait()
        if errors:
            raise errors[0]
