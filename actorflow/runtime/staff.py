"""The actors that serve all runs of a runtime, and the tree in which they live.

```
Runtime
├── Alarm                    one task for all timeouts and retries
├── JournalActor (store)     the writing thread
├── JournalActor (memory)    runs with `durability: memory`
├── BreakerActor             one before each of these: circuit breakers of the runs there
├── HookActor                restarted when it crashes: what is owed lies in the journal
├── DocumentKeeper           of a store that has files for people: writes them behind the runs
├── Watchdog                 a thread that names who blocks the loop
├── RunnerPool               the turns of TaskActors and hooks
├── Rota                     one task for the turns of all WorkflowActors
└── WorkflowActor …          one per run, restarted from the journal; parent of its TaskSupervisor and TaskActors
```

Each is shielded from the host's cancellation, because a run that is left must still be paused in its journal; the
runtime ends them itself, from the bottom to the top.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVarTuple

import anyio
from anyio.abc import TaskGroup
from attrs import define, field, frozen

from actorflow.actors.alarm import Alarm
from actorflow.actors.host import Host
from actorflow.actors.pool import RunnerPool
from actorflow.actors.restarts import DEFAULT, Restarts
from actorflow.actors.room import AsyncioRoom
from actorflow.actors.rota import Rota
from actorflow.agents.python import AgentThreads
from actorflow.egress.guard import NOTHING_ALLOWED, Guard
from actorflow.hooks.actions.action import HookFunction
from actorflow.hooks.actor import HookActor
from actorflow.hooks.rates import Rates
from actorflow.hooks.registry import REGISTRY, HookRegistry
from actorflow.hooks.switches import HookSwitches
from actorflow.http.client import Requester
from actorflow.journal import Journal, MemoryJournal
from actorflow.metrics.registry import Metrics
from actorflow.processes import Trees
from actorflow.runtime.breaker_actor import BreakerActor
from actorflow.runtime.clock import RunClock
from actorflow.runtime.documents import DocumentKeeper
from actorflow.runtime.journal_actor import JournalActor
from actorflow.runtime.ports import REAL, Ports
from actorflow.runtime.watchdog import BLOCKED_S, TICK_S, Watchdog
from actorflow.spec.model import HookEvent

Args = TypeVarTuple("Args")

_NO_FUNCTIONS: Final[Mapping[tuple[HookEvent, str], HookFunction]] = {}

HEARTBEAT_S = 5.0
"""Between signs of life; others take an owner for stopped after 30 s without one."""


@frozen
class Ledger:
    """A journal and the actor that writes it."""

    journal: Journal
    actor: JournalActor
    breakers: BreakerActor
    clock: RunClock  #: that of its breakers
    documents: DocumentKeeper | None  #: where the store has any

    @classmethod
    def kept_by(cls, host: Host, journal: Journal, note_commit: Callable[[float], None]) -> Ledger:
        """A journal with the actors that stand before it."""
        actor = JournalActor(host, journal, note_commit)
        clock = RunClock(host)
        kept = journal.documents
        documents = None if kept is None else DocumentKeeper(host, kept)
        return cls(journal, actor, BreakerActor(actor, clock), clock, documents)


@define(eq=False)
class Staff:
    """All that runs share."""

    host: Host
    store: Ledger
    memory: Ledger
    alarm: Alarm
    rota: Rota
    pool: RunnerPool
    trees: Trees
    threads: AgentThreads
    hooks: HookActor
    task_group: TaskGroup
    watchdog: Watchdog
    room: AsyncioRoom
    http: Requester
    guard: Guard  #: where requests of hooks and agents may go
    rates: Rates
    registry: HookRegistry
    functions: Mapping[tuple[HookEvent, str], HookFunction]  #: the program's, for events
    switches: HookSwitches
    metrics: Metrics
    grace_s: float  #: what a Python body has to end in, after its timeout or cancel
    _open_count: int = 0  #: journals that are not closed yet
    _scopes: list[anyio.CancelScope] = field(factory=list[anyio.CancelScope])

    @classmethod
    def hire(
        cls,
        host: Host,
        journal: Journal,
        task_group: TaskGroup,
        *,
        ports: Ports = REAL,
        thread_count: int,
        grace_s: float = 10.0,
        registry: HookRegistry = REGISTRY,
        functions: Mapping[tuple[HookEvent, str], HookFunction] = _NO_FUNCTIONS,
        guard: Guard = NOTHING_ALLOWED,
    ) -> Staff:
        """Make all actors and start those that run on their own."""
        trees = ports.trees(journal.cookie)
        pool = RunnerPool(host, task_group)
        alarm, room, metrics = Alarm(host), AsyncioRoom(host), Metrics()
        store = Ledger.kept_by(host, journal, metrics.note_commit)
        memory = (
            Ledger.kept_by(host, MemoryJournal(clock=host.wall), _ignore) if journal.is_durable else store
        )
        hooks = HookActor(host, pool, alarm, lambda: pool.queued_count > 0)
        metrics.watch("actorflow_hook_backlog", lambda: hooks.backlog)
        threads = AgentThreads(thread_count, in_place=not host.has_threads)
        watchdog = Watchdog(host, lambda: pool.is_at_work, blocked_s=BLOCKED_S, tick_s=TICK_S)
        staff = cls(
            host=host,
            store=store,
            memory=memory,
            alarm=alarm,
            rota=Rota(host),
            pool=pool,
            trees=trees,
            threads=threads,
            hooks=hooks,
            task_group=task_group,
            watchdog=watchdog,
            room=room,
            http=ports.http(room),
            guard=guard,
            rates=ports.rates(room),
            registry=registry,
            functions=functions,
            switches=HookSwitches.from_environment(os.environ),
            metrics=metrics,
            grace_s=grace_s,
        )
        staff._start()
        return staff

    @property
    def is_held_up(self) -> bool:
        """Whether all is done and kept, and only a turn goes on that was told to end."""
        return not self._open_count and self.pool.is_at_work

    def spawn(self, run: Callable[[*Args], Awaitable[None]], *args: *Args) -> None:
        """Run a task that the host's cancellation does not reach; it has to end by itself."""
        self.task_group.start_soon(_shielded, anyio.CancelScope(shield=True), run, *args)

    def employ(self, run: Callable[[], Awaitable[None]]) -> None:
        """Run a task until `dismiss`, which the host's cancellation does not reach either."""
        scope = anyio.CancelScope(shield=True)
        self._scopes.append(scope)
        self.task_group.start_soon(_shielded, scope, run)

    def dismiss(self) -> None:
        """End all actors, journals last, so that what was told them is kept. Runs are over by now.

        Python functions that were left behind in threads stay there; an async one that goes on is waited for.
        """
        self.watchdog.stop()
        self.threads.abandon()
        self.pool.stop()
        for scope in self._scopes:
            scope.cancel()
        self.hooks.close()
        if self.store.documents is not None:
            self.store.documents.stop()
        self.memory.actor.stop()
        self.store.actor.stop()

    def _start(self) -> None:
        for ledger in {id(ledger): ledger for ledger in (self.store, self.memory)}.values():
            self._open_count += 1
            self.spawn(self._keep, ledger.actor)
        if self.store.documents is not None:
            self.spawn(self.store.documents.run)
        if self.host.has_threads:
            self.watchdog.start()
        for run in (self.alarm.run, self.rota.run, self._run_hooks):
            self.employ(run)
        if self.store.journal.is_durable and self.host.has_threads:  # else nobody else can see it
            self.employ(self._beat)

    async def _keep(self, actor: JournalActor) -> None:
        try:
            await actor.run()
        finally:
            self._open_count -= 1

    async def _run_hooks(self) -> None:
        await Restarts(DEFAULT, self.host).supervise(self.hooks.run, lambda _: None)

    async def _beat(self) -> None:
        while True:
            await anyio.sleep(HEARTBEAT_S)
            self.store.actor.beat()


def _ignore(seconds: float) -> None:
    """What is kept in memory is not committed anywhere."""


async def _shielded(scope: anyio.CancelScope, run: Callable[[*Args], Awaitable[None]], *args: *Args) -> None:
    with scope:
        await run(*args)
