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
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import trio
import trio.testing

from actorflow.errors import StoreFailed
from actorflow.hooks.registry import HookRegistry
from actorflow.journal.sqlite import SqliteJournal
from actorflow.runtime.bindings import Agent
from actorflow.testing.crashes import CrashPoint
from actorflow.testing.http import FakeHttp
from actorflow.testing.journal import CommitFault
from actorflow.testing.process import Process
from actorflow.testing.processes import FakeProcesses
from actorflow.testing.schedule import seeded_schedule

__all__ = ["EPOCH_S", "World"]

T = TypeVar("T")

EPOCH_S: Final = 1_800_000_000.0
"""What the wall clock of a world shows when it begins."""

_IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of our own is made there  # nosec B108


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
        self.commands = FakeProcesses() if commands is None else commands
        self.processes: list[Process] = []  #: all that ever were
        self.trace: list[str] = []  #: what has happened, one line each
        self._wall_ahead_s = 0.0
        self._folder = Path(tempfile.mkdtemp(prefix="actorflow-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None))
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
        with seeded_schedule(self.seed):
            return trio.run(story, self, clock=trio.testing.MockClock(autojump_threshold=0))

    @asynccontextmanager
    async def process(
        self,
        *,
        agents: Mapping[str, Agent] | None = None,
        hooks: HookRegistry | None = None,
        crash: CrashPoint | None = None,
        faults: Iterable[CommitFault] = (),
        grace_s: float = 10.0,
        drain_timeout_s: float = 10.0,
        allow_hosts: Iterable[str] = (),
    ) -> AsyncGenerator[Process]:
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
        with process.life:
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
            try:
                async with runtime:
                    yield process
            except StoreFailed:
                if not process.is_dead:
                    raise
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
        self.trace.append(f"{trio.current_time():.6f} {what}")

    def trace_hash(self) -> str:
        """The same for the same trace: what one seed repeats, in any process and on any machine."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()[:32]

    def close(self) -> None:
        """Remove the store."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@cache
def _new_store() -> tuple[tuple[str, bytes], ...]:
    """The files of a store that was just made: to make one anew takes four times as long as to copy it."""
    with tempfile.TemporaryDirectory() as folder:
        SqliteJournal(os.path.join(folder, "runs.db"), clock=lambda: EPOCH_S).close()  # noqa: PTH118
        return tuple((path.name, path.read_bytes()) for path in sorted(Path(folder).iterdir()) if path.is_file())
