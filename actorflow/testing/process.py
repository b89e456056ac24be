"""One process of a world: a runtime whose every way to the outside can be cut."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any, Final

import anyio

from actorflow.agents.call import AgentCall
from actorflow.errors import StoreFailed
from actorflow.hooks.registry import REGISTRY, HookRegistry
from actorflow.http.exchange import HttpAnswer, HttpFailed, HttpRequest
from actorflow.journal.protocol import Journal, Outcome, Write
from actorflow.journal.sqlite import SqliteJournal
from actorflow.processes import ProcessNotStarted, ProcessRequest, ProcessResult
from actorflow.runtime.bindings import Agent
from actorflow.runtime.ports import Ports
from actorflow.runtime.runtime import Runtime
from actorflow.testing.crashes import CURRENT, CrashPoint
from actorflow.testing.host import SimulatedHost
from actorflow.testing.journal import CommitFault, FaultyJournal
from actorflow.testing.news import News
from actorflow.testing.rates import VirtualRates

if TYPE_CHECKING:
    from actorflow.testing.world import World

__all__ = ["Process"]


_DELAYS_S: Final = (0.0, 0.0, 0.0, 0.0, 0.0001, 0.02)
_LOOKS: Final = (1, 2, 3, 8, 1000)


class Process:
    """A process, as its world sees it; `World.process` makes one.

    Args:
        world: that it is in.
        number: from 1.
    """

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.random: Random = Random(f"process {world.seed} {number}")  # noqa: S311 - to be repeated  # nosec B311
        self.news = News()
        self.life = anyio.CancelScope()
        self.is_dead = False  #: killed
        self.is_gone = False  #: nothing is left of it
        self._awake: anyio.Event | None = None  #: set when it is to go on; None: it does
        self._journal: FaultyJournal | None = None
        self._runtime: Runtime | None = None

    @property
    def runtime(self) -> Runtime:
        """What the process is there for."""
        assert self._runtime is not None
        return self._runtime

    @property
    def is_awake(self) -> bool:
        """Whether it is there, and does something."""
        return not (self.is_dead or self.is_gone) and self._awake is None and self._journal is not None

    @property
    def commit_count(self) -> int:
        """How many commits it has begun."""
        return 0 if self._journal is None else self._journal.commit_count

    def kill(self) -> None:
        """End it, as `kill -9` does: from now on nothing that it does reaches anybody."""
        if not self.is_dead:
            self.is_dead = True
            self.world.note(f"process {self.number} is killed")
            if self._journal is not None:
                self._journal.abandon("its process was killed")
            self.go_on()
            self.life.cancel()
            self.tell_others()

    def stop(self) -> None:
        """Keep it from writing and reading, as SIGSTOP does; it holds its lock, and says no more that it is alive."""
        if self.is_awake:
            self.world.note(f"process {self.number} is stopped")
            self._awake = anyio.Event()

    def go_on(self) -> None:
        """Let it go on after `stop`."""
        if self._awake is not None:
            self.world.note(f"process {self.number} goes on")
            awake, self._awake = self._awake, None
            awake.set()

    def beat(self) -> None:
        """Have it say that it is alive, as it does all the time."""
        if self.is_awake and self._journal is not None and not self._journal.has_failed:
            with suppress(StoreFailed):  # fenced: it will find out
                self._journal.heartbeat()

    def tell_others(self) -> None:
        """It has written something."""
        for other in self.world.others(self):
            other.news.tell()

    # What its host asks

    def wall(self) -> float:
        """The world's wall clock."""
        return self.world.wall()

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` keeps it."""
        return self._awake is not None

    async def may_go_on(self) -> None:
        """Wait while it is stopped."""
        while self._awake is not None:
            await self._awake.wait()

    def delay_s(self) -> float:
        """Often nothing, so that much happens at once; and as long as others have kept the store."""
        busy_s = 0.0 if self._journal is None else self._journal.take_delay_s()
        return busy_s + self.random.choice(_DELAYS_S)

    def looks(self) -> int:
        """Few or many, as the seed says."""
        return self.random.choice(_LOOKS)

    def runtime_with(
        self,
        *,
        store: str,
        agents: Mapping[str, Agent],
        hooks: HookRegistry | None,
        crash: CrashPoint | None,
        faults: Iterable[CommitFault],
        grace_s: float,
        drain_timeout_s: float,
        allow_hosts: Iterable[str],
    ) -> Runtime:
        """A runtime whose ports lead to the world."""

        def journal(_: str) -> Journal:
            real = SqliteJournal(store.removeprefix("sqlite:///"), clock=self.wall)
            self._journal = FaultyJournal(
                real,
                crash=crash,
                faults=faults,
                die=self.kill,
                watch=self._watch,
                before_claim=self._rouse_others,
                has_asked=self.tell_others,
            )
            return self._journal.as_journal

        ports = Ports(
            host=lambda: SimulatedHost(self),
            journal=journal,
            trees=lambda prefix: _Trees(self, prefix),
            http=lambda _: _Http(self),
            rates=lambda _: VirtualRates(),
        )
        self._runtime = Runtime(
            store=store,
            agents={name: self._inhabited(name, agent) for name, agent in agents.items()},
            grace_s=grace_s,
            drain_timeout_s=drain_timeout_s,
            hooks=REGISTRY if hooks is None else hooks,
            allow_hosts=allow_hosts,
            ports=ports,
        )
        return self._runtime

    def _inhabited(self, name: str, agent: Agent) -> Agent:
        """An agent whose bodies are in this process."""
        if isinstance(agent, str):
            return agent

        async def performed(call: AgentCall) -> Any:
            if self.is_dead:
                raise RuntimeError("its process was killed")
            CURRENT.set(self)
            body = self.world.note_body(self.number, name, call)
            error: BaseException | None = None
            output: Any = None
            try:
                output = agent(call)
                if inspect.isawaitable(output):
                    output = await output
            except BaseException as raised:
                error = raised
                raise
            finally:
                if not self.is_dead:
                    self.world.note_end(body, output, error)
            return output

        return performed

    def _watch(self, writes: Sequence[Write], outcomes: Sequence[Outcome]) -> None:
        self.world.note_commit(self.number, writes, outcomes)
        self.tell_others()

    def _rouse_others(self) -> None:
        """Others show that they are alive before anybody asks: their signs of life take no time."""
        for other in self.world.others(self):
            other.beat()


class _Http:
    """Requests of a process: they end with it."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def request(self, request: HttpRequest) -> HttpAnswer:
        if self._process.is_dead:
            raise HttpFailed("connect", "its process was killed", was_sent=False)
        await self._process.may_go_on()
        return await self._process.world.http.request(request)

    async def prepare(self) -> None:
        """Nothing to load."""

    async def aclose(self) -> None:
        """The world's targets stay."""


class _Trees:
    """Commands of a process: they end with it."""

    def __init__(self, process: Process, cookie_prefix: str) -> None:
        self._process = process
        self._commands = process.world.commands.under(cookie_prefix)
        self.cookie_prefix = cookie_prefix

    @property
    def live_count(self) -> int:
        return self._commands.live_count

    async def run(self, request: ProcessRequest) -> ProcessResult:
        if self._process.is_dead:
            raise ProcessNotStarted("its process was killed")
        await self._process.may_go_on()
        return await self._commands.run(request)

    def kill_all_nowait(self) -> None:
        self.kill_nowait(self.cookie_prefix)

    def kill_nowait(self, cookie_prefix: str) -> None:
        self._commands.kill_nowait(cookie_prefix)
