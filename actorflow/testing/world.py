"""A world in which processes live, die and come back while time is virtual: one loop, one seed, one store.

```python
async def story(world: World) -> RunResult:
    async with world.process(agents={"bank": bank}, crash=crash_at(3, "after")) as process:
        await process.runtime.run(spec, run_id="r-1")  # the process dies in here
    async with world.process(agents={"bank": bank}) as process:
        return await process.runtime.resume("r-1")

with World(seed=7) as world:
    result = world.run(story)
```

What is real: the whole runtime, the actors, hook delivery, and the store, a SQLite file behind a `FaultyJournal`. What is
not: time, threads, the network, and processes. A killed process is one that is cut off: whatever it still does reaches
nobody, and its lock is free.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, TypeVar, cast

import trio
from attrs import define, frozen

from actorflow.agents.call import AgentCall
from actorflow.errors import StoreFailed
from actorflow.hooks.registry import HookRegistry
from actorflow.journal.protocol import Outcome, Write
from actorflow.journal.sqlite import SqliteJournal
from actorflow.runtime.bindings import Agent
from actorflow.runtime.runtime import Runtime
from actorflow.testing.clock import EPOCH_S, run_virtually
from actorflow.testing.crashes import CrashPoint
from actorflow.testing.http import FakeHttp
from actorflow.testing.journal import CommitFault
from actorflow.testing.process import Process
from actorflow.testing.processes import FakeProcesses

__all__ = ["Body", "Commit", "World"]

T = TypeVar("T")

_IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of our own is made there  # nosec B108


@frozen(eq=False)
class Commit:
    """A commit that is durable, whether or not anybody was told."""

    at: float  #: seconds since the world began
    process: int  #: from 1
    writes: Sequence[Write]
    outcomes: Sequence[Outcome]  #: of each write: an exception for one that was refused

    def __str__(self) -> str:
        told = ", ".join(map(_told, self.writes, self.outcomes))
        return f"process {self.process} commits {told}"


@define(eq=False)
class Body:
    """A call of an agent, in a process that was alive when it began."""

    process: int  #: from 1
    agent: str  #: its name
    call: AgentCall
    began_at: float  #: seconds since the world began
    ended_at: float | None = None  #: None: it never ended, or its process was dead by then
    output: Any = None  #: what it returned
    error: BaseException | None = None  #: what it raised; a cancellation too

    def __str__(self) -> str:
        call = self.call
        return (
            f"process {self.process}: {call.run_id}/{call.task} #{call.attempt}.{call.loss} by {self.agent}"
        )


Happening: TypeAlias = tuple[float, str, Commit | Body | None]
"""When, what (`commit`, `begins`, `ends`, or words of its own), and of which commit or body."""


class World:
    """All that outlives a process: the store, the clocks, and the other side of requests and commands.

    To be used as a context, which removes the store at its end.

    Args:
        seed: of all that is left to chance: the order of tasks, how long calls take.
        http: the targets of all requests; each answers 200 if not given.
        commands: what becomes of commands and scripts; each exits with status 0 if not given.
    """

    def __init__(
        self, *, seed: object = 0, http: FakeHttp | None = None, commands: FakeProcesses | None = None
    ) -> None:
        self.seed = seed
        self.random = Random(f"world {seed}")  # noqa: S311 - to be repeated  # nosec B311
        self.http = FakeHttp() if http is None else http
        self.http.now = self.wall
        self.commands = FakeProcesses() if commands is None else commands
        self.processes: list[Process] = []  #: all that ever were
        self.commits: list[Commit] = []  #: what is durable, in order
        self.bodies: list[Body] = []  #: in the order of their beginning
        self.happenings: list[Happening] = []  #: all of it, in order
        self._wall_ahead_s = 0.0
        self._folder = Path(
            tempfile.mkdtemp(prefix="actorflow-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None)
        )
        for name, content in _new_store():
            (self._folder / name).write_bytes(content)

    @property
    def store(self) -> Path:
        """The SQLite file."""
        return self._folder / "runs.db"

    @property
    def now(self) -> float:
        """Seconds since the world began; the loop's clock."""
        return trio.current_time()

    def wall(self) -> float:
        """What the wall clock shows, in epoch seconds."""
        return EPOCH_S + trio.current_time() + self._wall_ahead_s

    def set_wall(self, seconds: float) -> None:
        """Set the wall clock forward, or back if negative; the loop's goes on as it did."""
        self._wall_ahead_s += seconds
        self.note(f"the wall clock is set by {seconds:g} s")

    def run(self, story: Callable[[World], Awaitable[T]]) -> T:
        """Have an async function happen in this world, in virtual time; once for each world.

        Time goes on when nothing else can, and then at once to what is due next.
        """
        return run_virtually(story, self, seed=self.seed)

    def process(
        self,
        *,
        agents: Mapping[str, Agent] | None = None,
        hooks: HookRegistry | None = None,
        crash: CrashPoint | None = None,
        faults: Iterable[CommitFault] = (),
        grace_s: float = 10.0,
        drain_timeout_s: float = 10.0,
        allow_hosts: Iterable[str] = (),
    ) -> AbstractAsyncContextManager[Process, bool]:
        """A process with a runtime upon the store, until the block is left; where it dies, the block ends there.

        Args:
            agents: as for `Runtime`.
            hooks: as for `Runtime`.
            crash: where it dies.
            faults: what goes wrong with its commits before that.
            grace_s: as for `Runtime`.
            drain_timeout_s: as for `Runtime`.
            allow_hosts: as for `Runtime`.
        """
        process = Process(self, len(self.processes) + 1)
        self.processes.append(process)
        runtime = process.runtime_with(
            store=f"sqlite:///{self.store}",
            agents=agents or {},
            hooks=hooks,
            crash=crash,
            faults=faults,
            grace_s=grace_s,
            drain_timeout_s=drain_timeout_s,
            allow_hosts=allow_hosts,
        )
        return cast("AbstractAsyncContextManager[Process, bool]", self._living(process, runtime))

    @asynccontextmanager
    async def _living(self, process: Process, runtime: Runtime) -> AsyncGenerator[Process]:
        with process.life:
            try:
                async with runtime:
                    yield process
            except StoreFailed:
                if not process.is_dead:
                    raise
            finally:
                process.is_gone = True
        self.note(f"process {process.number} is gone")

    @contextmanager
    def journal(self) -> Generator[SqliteJournal]:
        """The store as a process of its own sees it, to look at what is kept; at any time."""
        journal = SqliteJournal(str(self.store), clock=lambda: EPOCH_S)
        try:
            yield journal
        finally:
            journal.close()

    def others(self, process: Process) -> list[Process]:
        """The processes beside this one that are alive, and not stopped."""
        return [each for each in self.processes if each is not process and each.is_awake]

    def note(self, what: str) -> None:
        """Add a line to the trace, with the time."""
        self.happenings.append((trio.current_time(), what, None))

    def note_commit(self, process: int, writes: Sequence[Write], outcomes: Sequence[Outcome]) -> None:
        """A commit of a process is durable."""
        commit = Commit(trio.current_time(), process, writes, outcomes)
        self.commits.append(commit)
        self.happenings.append((commit.at, "commit", commit))

    def note_body(self, process: int, agent: str, call: AgentCall) -> Body:
        """An agent is called in a process."""
        body = Body(process, agent, call, trio.current_time())
        self.bodies.append(body)
        self.happenings.append((body.began_at, "begins", body))
        return body

    def note_end(self, body: Body, output: Any, error: BaseException | None) -> None:
        """It has returned, or raised."""
        body.ended_at, body.output, body.error = trio.current_time(), output, error
        self.happenings.append((body.ended_at, "ends", body))

    def trace(self) -> list[str]:
        """What has happened, a line each: the time, and what."""
        return [_line(*happening) for happening in self.happenings]

    def trace_hash(self) -> str:
        """The same for the same trace: what one seed repeats, in any process and on any machine."""
        return hashlib.sha256("\n".join(self.trace()).encode()).hexdigest()[:32]

    def close(self) -> None:
        """Remove the store."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _line(at: float, what: str, about: Commit | Body | None) -> str:
    match about:
        case None:
            said = what
        case Commit():
            said = str(about)
        case Body(error=BaseException() as error) if what == "ends":
            said = f"{about} ends: {type(error).__name__}"
        case Body():
            said = f"{about} {what}"
    return f"{at:.6f} {said}"


def _told(write: Write, outcome: Outcome) -> str:
    """A write: what it is, of which run, with which events, and whether it was refused."""
    run_id = getattr(write, "run_id", "")
    events = " ".join(str(event) for event in getattr(write, "events", ()))
    refused = f"refused: {type(outcome).__name__}" if isinstance(outcome, Exception) else ""
    return " ".join(part for part in (type(write).__name__, run_id, events, refused) if part)


@cache
def _new_store() -> tuple[tuple[str, bytes], ...]:
    """The files of a store that was just made: to make one anew takes four times as long as to copy it."""
    with tempfile.TemporaryDirectory() as folder:
        SqliteJournal(os.path.join(folder, "runs.db"), clock=lambda: EPOCH_S).close()  # noqa: PTH118
        return tuple(
            (path.name, path.read_bytes()) for path in sorted(Path(folder).iterdir()) if path.is_file()
        )
