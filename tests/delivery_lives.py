"""A run whose signals are owed to hooks, and processes that take its deliveries up one after the other.

Everything is real but what delivers, which follows a script, and the runtime, of which only the parts around hooks are
there. A life can end after any of its commits, as a killed process does.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from attrs import evolve

from actorflow import load_dict
from actorflow.actors.alarm import Alarm
from actorflow.actors.host import current_host
from actorflow.actors.pool import RunnerPool
from actorflow.core.delivery import TryResult
from actorflow.core.events import Event, GenerationStarted, RunStarted, SignalReceived
from actorflow.core.hook_context import HookContext
from actorflow.core.plan import Plan, plan_of
from actorflow.core.state import CORE_VERSION
from actorflow.hooks.actor import HookActor
from actorflow.hooks.debtor import Debtor
from actorflow.hooks.deliveries import RunDeliveries
from actorflow.hooks.switches import HookSwitches, RunSwitches
from actorflow.journal.protocol import (
    Append,
    CreateRun,
    Delivery,
    Journal,
    Outcome,
    PendingDelivery,
    RecordDeliveries,
    RunSummary,
    Write,
)
from actorflow.runtime.clock import RunClock
from actorflow.spec.model import HookLists, HookSpec, RetrySpec

RUN = "r-1"
BEGINNING = 2
"""Events before the first signal."""

FAILED = TryResult(status="failed", error="no")
PATIENT = RetrySpec(max_attempts=3, delay=0.0, jitter="none")

LONGEST_S = 30.0
"""A life that is longer hangs."""

Answer = Callable[[HookContext], TryResult]


def hook(**more: Any) -> HookSpec:
    """An async hook that is told the number of its signal."""
    facts: dict[str, Any] = {
        "action": "page",
        "mode": "async",
        "params": {"n": "{{ signal.payload }}"},
        "timeout": 5.0,
    }
    return HookSpec(**{**facts, **more})


def plan_with(*hooks: HookSpec) -> Plan:
    """A workflow that owes each signal to these hooks."""
    spec = load_dict({"name": "w", "tasks": {"t": {"agent": "a"}}}, trust="own")
    return plan_of(evolve(spec, hooks=HookLists(lists={"signal_received": hooks})))


def path(index: int = 0) -> str:
    return f"signal_received[{index}]"


def delivery_id(number: int, index: int = 0) -> str:
    """Of the delivery of a signal, counted from 1."""
    return f"{RUN}/{BEGINNING + number}/{path(index)}"


def ok(_: HookContext) -> TryResult:
    return TryResult()


def no(_: HookContext) -> TryResult:
    return FAILED


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what others bring about; what is waited for is asked again and again, as another process would."""
    while not is_so():  # noqa: ASYNC110 - rows of a store have no events
        await anyio.sleep(0.001)


class Pager:
    """Makes tries by a script, and remembers them.

    Args:
        answer: what a try comes to.
        is_batchable: whether it takes several deliveries at once.
        commits_batches: whether these are one to a target.
        takes_s: how long a call takes, by the first of its deliveries.
        gate: what it waits for, for those that `is_stuck` names.
    """

    def __init__(
        self,
        answer: Answer = ok,
        *,
        is_batchable: bool = False,
        commits_batches: bool = False,
        takes_s: Callable[[HookContext], float] = lambda _: 0.0,
        is_stuck: Callable[[HookContext], bool] = lambda _: False,
    ) -> None:
        self._answer = answer
        self._is_batchable = is_batchable or commits_batches
        self._commits_batches = commits_batches
        self._takes_s = takes_s
        self._is_stuck = is_stuck
        self.gone: set[str] = set()
        self.batches: list[list[HookContext]] = []
        self.times: list[float] = []
        self.at_work_count = 0
        self.most_at_work = 0

    def is_batchable(self, spec: HookSpec) -> bool:
        return self._is_batchable

    def commits_batches(self, spec: HookSpec) -> bool:
        return self._commits_batches

    def recall_gone(self, targets: Collection[str]) -> None:
        self.gone.update(targets)

    async def deliver(self, batch: Sequence[HookContext]) -> Sequence[TryResult]:
        self.batches.append(list(batch))
        self.times.append(anyio.current_time())
        self.at_work_count += 1
        self.most_at_work = max(self.most_at_work, self.at_work_count)
        try:
            if any(map(self._is_stuck, batch)):
                await anyio.sleep_forever()
            await anyio.sleep(self._takes_s(batch[0]))
        finally:
            self.at_work_count -= 1
        return [self._answer(context) for context in batch]

    @property
    def told(self) -> list[HookContext]:
        """All tries, in order."""
        return [context for batch in self.batches for context in batch]

    def numbers(self, index: int = 0) -> list[tuple[int, int]]:
        """Signal and number of each try of a hook."""
        return [(context.params["n"], context.number) for context in self.told if context.path == path(index)]


class Life:
    """A process that has the run, with its deliveries."""

    def __init__(
        self,
        run: Run,
        actor: HookActor,
        debtor: Debtor,
        killed: anyio.Event,
        records: Sequence[RecordDeliveries],
    ) -> None:
        self._killed = killed
        self.run = run
        self.records = records  #: all that was recorded of its deliveries
        self.actor = actor
        self.debtor = debtor

    @property
    def deliveries(self) -> RunDeliveries:
        return self.actor.follow(self.debtor)

    def signal(self, count: int, *, told: bool = True) -> None:
        """So many more signals, in one batch."""
        first_seq, events = self.run.signal(count)
        if told:
            self.deliveries.note(first_seq, events)

    async def drain(self) -> None:
        await self.actor.drain(self.debtor)

    async def until_killed(self, scene: Callable[[], Awaitable[None]]) -> None:
        """Play a scene to its end, or to that of the life."""
        async with anyio.create_task_group() as group:

            async def play() -> None:
                await scene()
                group.cancel_scope.cancel()

            group.start_soon(play)
            await self._killed.wait()
            group.cancel_scope.cancel()


class Run:
    """A run in a journal, with the tries that were made for it."""

    def __init__(self, journal: Journal, *hooks: HookSpec, flags: dict[str, Any] | None = None) -> None:
        self.journal = journal
        self.plan = plan_with(*hooks)
        self._seq = BEGINNING
        self.at = time.time()  #: of what happens
        beginning = [
            RunStarted(self.at, RUN, "w", "d", {"a": [1]}, {}, {}, flags or {}, CORE_VERSION),
            GenerationStarted(self.at, 1, "start"),
        ]
        create = CreateRun(RUN, "w", "d", b"{}", RunSummary("running", 1, self.at, None))
        self._commit(create, Append(RUN, 1, beginning))
        self.beginning: Sequence[Event] = beginning

    def signal(self, count: int) -> tuple[int, Sequence[Event]]:
        """Append signals; their first number, and the events."""
        first_seq, first = self._seq + 1, self._seq - BEGINNING + 1
        events = [SignalReceived(self.at, "s", n, f"id-{n}") for n in range(first, first + count)]
        self._commit(Append(RUN, first_seq, events))
        self._seq += count
        return first_seq, events

    @asynccontextmanager
    async def life(
        self,
        pager: Pager,
        *,
        is_new: bool = False,
        is_own: bool = True,
        commits: int | None = None,
        is_last_kept: bool = True,
        is_busy: Callable[[], bool] = lambda: False,
        switches: RunSwitches = HookSwitches().for_run(None),  # noqa: B008 - frozen
        longest_s: float = LONGEST_S,
    ) -> AsyncGenerator[Life]:
        """A process that has the run, until the block ends.

        Args:
            pager: makes its tries.
            is_new: whether it has created the run.
            is_own: whether it has begun its generation.
            commits: after so many it writes nothing any more, as one that was killed; None: it is not killed.
            is_last_kept: whether the commit that it dies in is kept, and only nobody was told.
            is_busy: whether attempts wait for a runner.
            switches: of its environment.
            longest_s: what it may take.
        """
        host = current_host()
        async with anyio.create_task_group() as group:
            alarm, pool = Alarm(host), RunnerPool(host, group)
            actor = HookActor(host, pool, alarm, is_busy)
            keeper = Keeper(self.journal, alarm, commits, is_last_kept=is_last_kept)
            group.start_soon(alarm.run)
            group.start_soon(actor.run)
            debtor = Debtor(
                run_id=RUN,
                plan=self.plan,
                journal=self.journal,
                keep=keeper.keep,
                executor=pager,
                switches=switches,
                now=RunClock(host).now,
                is_new=is_new,
                is_own=is_own,
            )
            life = Life(self, actor, debtor, keeper.killed, keeper.records)
            if is_new:
                life.deliveries.note(1, self.beginning)
            try:
                with anyio.fail_after(longest_s):
                    yield life
            finally:
                pool.stop()
                group.cancel_scope.cancel()

    @property
    def settled(self) -> dict[str, Delivery]:
        """By their ids; the last word of each counts."""
        return {one.delivery_id: one for one in self.journal.deliveries(RUN)}

    def statuses(self, index: int = 0) -> list[str]:
        """How the deliveries of a hook have ended, by the order of their events."""
        found = sorted(self.settled.values(), key=lambda one: one.seq)
        return [one.status for one in found if one.hook == path(index)]

    @property
    def rows(self) -> list[PendingDelivery]:
        return self.journal.pending(RUN)

    @property
    def cursor(self) -> int:
        return self.journal.find(RUN).cursor

    def _commit(self, *writes: Write) -> None:
        assert self.journal.commit(writes) == [None] * len(writes)


class Keeper:
    """Commits what was told in one turn together, and dies when it is told to."""

    def __init__(self, journal: Journal, alarm: Alarm, commits: int | None, *, is_last_kept: bool) -> None:
        self._journal = journal
        self._alarm = alarm
        self._left = commits
        self._is_last_kept = is_last_kept
        self.killed = anyio.Event()
        self.records: list[RecordDeliveries] = []
        self._told: list[tuple[Write, Callable[[Outcome], None]]] = []

    def keep(self, write: Write, reply: Callable[[Outcome], None]) -> None:
        self._told.append((write, reply))
        if len(self._told) == 1:
            self._alarm.after(0.0, self._commit)

    def _commit(self) -> None:
        told, self._told = self._told, []
        if self._left == 0:
            if self._is_last_kept:
                self._journal.commit([write for write, _ in told])
            self._left = -1
            self.killed.set()
        if self._left == -1:
            return
        if self._left is not None:
            self._left -= 1
        (record,) = (write for write, _ in told if isinstance(write, RecordDeliveries))
        self.records.append(record)
        outcomes = self._journal.commit([write for write, _ in told])
        for (_, reply), outcome in zip(told, outcomes, strict=True):
            reply(outcome)
