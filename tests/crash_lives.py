"""Lives of processes that run a workflow: each begins where the last one died, and ends with the run or with its own death.

Processes are forked by a server that has everything imported, so that a life costs milliseconds to begin.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from traceback import format_exc
from typing import Any, Literal

import anyio
import trio  # noqa: F401 - imported for the fork server: every second life runs on it
from attrs import asdict, evolve, frozen
from crash_hook_workflows import HOOKED_SPECS, REGISTRY
from crash_workflows import AGENTS, RUN_ID
from crash_workflows import SPECS as PLAIN_SPECS

from actorflow import RunNotFoundError, RunResult, Runtime, load
from actorflow.errors import FencedError
from actorflow.journal.json.journal import JsonJournal
from actorflow.journal.protocol import Append, Outcome, RecordDeliveries, Write
from actorflow.journal.sqlite import SqliteJournal
from actorflow.runtime import checkpoints
from actorflow.spec.model import Durability
from actorflow.survivors import COOKIE_VARIABLE

BACKENDS = ("asyncio", "trio")

SPECS = PLAIN_SPECS | HOOKED_SPECS

FENCED = "fenced"

PATIENCE_S = 30.0
"""How long a process may take for a life that should take a tenth of a second."""


@frozen
class Death:
    """Where a process kills itself: before or after a commit, given by its number or by what it keeps."""

    moment: Literal["before", "after"]
    commit: int = 0  #: from 1
    keeps: str = ""  #: the name of the class of an event or a write, or of what becomes of a delivery
    nth: int = 1  #: which of the commits that keep such a thing

    def arm(self, commits: Commits) -> None:
        """Make it happen."""
        deadly = self._is_deadly()

        def kill(moment: str) -> None:
            if moment == self.moment and deadly(commits):
                os.kill(os.getpid(), signal.SIGKILL)

        commits.watch(kill)

    def _is_deadly(self) -> Callable[[Commits], bool]:
        if self.commit:
            return lambda commits: commits.count == self.commit
        seen = 0

        def is_deadly(commits: Commits) -> bool:
            nonlocal seen
            seen += self.keeps in commits.kept
            return seen == self.nth and self.keeps in commits.kept

        return is_deadly


class Commits:
    """Counts the commits of this process, and lets others in before and after each: at the store's crash point."""

    def __init__(self) -> None:
        self.count = 0
        self.kept: list[str] = []  #: the class names of what the commit at hand keeps
        self._watchers: list[Callable[[str], None]] = []
        SqliteJournal.commit = self._noted(SqliteJournal.commit)  # type: ignore[method-assign]
        SqliteJournal._commit = self._passed(SqliteJournal._commit)  # type: ignore[method-assign]
        JsonJournal.commit = self._noted(JsonJournal.commit)  # type: ignore[method-assign]
        JsonJournal._append = self._passed(JsonJournal._append)  # type: ignore[method-assign]

    def watch(self, watcher: Callable[[str], None]) -> None:
        """Have `watcher` called with `before` and `after` at every commit."""
        self._watchers.append(watcher)

    def _noted(self, commit: Callable[[Any, Sequence[Write]], list[Outcome]]) -> Any:
        def noted(journal: Any, writes: Sequence[Write]) -> list[Outcome]:
            self.kept = [name for write in writes for name in _names(write)]
            try:
                return commit(journal, writes)
            finally:
                self.kept = []

        return noted

    def _passed(self, crash_point: Callable[..., None]) -> Any:
        def passed(*args: Any, **how: Any) -> None:
            self.count += 1
            self._tell("before")
            crash_point(*args, **how)
            self._tell("after")

        return passed

    def _tell(self, moment: str) -> None:
        for watcher in self._watchers:
            watcher(moment)


def _names(write: Write) -> list[str]:
    parts: Sequence[object] = ()
    match write:
        case Append():
            parts = write.events
        case RecordDeliveries():
            parts = (*write.deliveries, *write.pending)
        case _:
            pass
    return [type(each).__name__ for each in (write, *parts)]


@frozen
class Life:
    """What one process is to do: run the workflow to its last end, from wherever it stands."""

    folder: Path
    workflow: str  #: a name of `SPECS`
    backend: str = "asyncio"
    death: Death | None = None
    path: Path | None = None  #: load the workflow from this file
    generations: int = 1  #: ends that the run is to have
    take_over: bool = False  #: from a process that is stopped
    accept: str | None = None  #: go on by this workflow, also a name of `SPECS`
    events_apart: int | None = (
        None  #: how often the run's state is kept; None: as is usual, for runs far longer
    )
    is_json: bool = False  #: its store is a folder of JSON lines
    durability: Durability = "full"

    @property
    def store(self) -> str:
        """The URL of its store."""
        return f"json:{self.folder}/state" if self.is_json else f"sqlite:///{self.folder}/state.db"


@frozen
class Report:
    """What a process that was not killed has to tell."""

    facts: dict[str, Any]  #: of the result, without times and losses
    commit_count: int
    was_found: bool  #: whether the run was in the store before


def live(channel: Connection, life: Life) -> None:
    """The main function of a process.

    It says `up`, `running` once the run goes on, and at the end its Report, or FENCED where the run is another's by then.
    """
    os.environ.update(
        LEDGER=str(life.folder / "ledger"), FOLDER=str(life.folder), RUNNER_PID=str(os.getpid())
    )
    if life.events_apart is not None:
        checkpoints.EVENTS_APART = checkpoints.EVENTS_WORTH_IT = life.events_apart  # type: ignore[misc]
    commits = Commits()
    if life.death is not None:
        life.death.arm(commits)
    channel.send("up")
    try:
        facts, was_found = anyio.run(_live, channel, life, backend=life.backend)
    except FencedError:
        channel.send(FENCED)
    else:
        channel.send(Report(facts, commits.count, was_found))


async def _live(channel: Connection, life: Life) -> tuple[dict[str, Any], bool]:
    async with Runtime(store=life.store, agents=AGENTS, hooks=REGISTRY) as rt:
        was_found = True
        try:
            accept = None if life.accept is None else SPECS[life.accept]
            handle = await rt.start_resumed(RUN_ID, accept=accept, take_over=life.take_over)
        except RunNotFoundError:
            was_found = False
            spec = SPECS[life.workflow] if life.path is None else load(life.path)
            if life.durability != spec.limits.durability:
                spec = evolve(spec, limits=evolve(spec.limits, durability=life.durability))
            handle = await rt.start(spec, run_id=RUN_ID)
        channel.send("running")
        result = await handle.settled()
        while result.generation < life.generations:
            result = await (await rt.start_resumed(RUN_ID)).settled()
        return facts_of(result), was_found


def facts_of(result: RunResult) -> dict[str, Any]:
    """All of a result that a crash must not change."""
    facts = asdict(result)
    for each in (facts, *facts["tasks"].values()):
        for name in ("started_at", "ended_at", "losses"):
            each.pop(name, None)
    return facts


@frozen
class Process:
    """A process that was started, as its parent sees it."""

    process: BaseProcess
    channel: Connection

    @property
    def pid(self) -> int:
        """Its number."""
        assert self.process.pid is not None
        return self.process.pid

    def hear(self) -> Any:
        """Wait for what it says next.

        Raises:
            EOFError: it has ended without a word.
        """
        if not self.channel.poll(PATIENCE_S):
            self.process.kill()
            raise AssertionError(f"process {self.pid} said nothing for {PATIENCE_S:.0f} s")
        match self.channel.recv():
            case _Raised(traceback):
                raise AssertionError(traceback)
            case said:
                return said

    def report(self) -> Any:
        """The last thing that it says, or None if it was killed before."""
        said = None
        try:
            while True:
                said = self.hear()
        except EOFError:
            self.process.join(PATIENCE_S)
        status = self.process.exitcode
        self.process.close()
        self.channel.close()
        assert status in (0, -signal.SIGKILL), f"it ended with status {status}"
        return said if status == 0 else None

    def kill(self) -> None:
        """End it, as `kill -9` does."""
        self.process.kill()

    def stop(self) -> None:
        """Have it do nothing until `go_on`; it keeps its locks."""
        os.kill(self.pid, signal.SIGSTOP)
        wait_until(lambda: state_of(self.pid) == "T")

    def go_on(self) -> None:
        """Wake it up."""
        os.kill(self.pid, signal.SIGCONT)


def wait_until(is_so: Callable[[], object]) -> None:
    """Look again and again until something is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def state_of(pid: int) -> str:
    """The letter by which Linux calls the state of a process; empty where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(") ")[2][:1]


def children_in(folder: Path) -> list[int]:
    """The living processes that runs of lives in a folder have started, in whatever session they are."""
    told = os.fsencode(f"FOLDER={folder}")
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environ = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        is_child = told in environ and any(
            each.startswith(f"{COOKIE_VARIABLE}=".encode()) for each in environ
        )
        if is_child and state_of(int(entry.name)) != "Z":
            found.append(int(entry.name))
    return found


@frozen
class _Raised:
    traceback: str


def _main(channel: Connection, target: Callable[..., None], args: tuple[Any, ...]) -> None:
    try:
        target(channel, *args)
    except BaseException:
        channel.send(_Raised(format_exc()))
        raise


def start(target: Callable[..., None], *args: Any) -> Process:
    """Start a process that calls `target(channel, *args)`."""
    _warm_up()
    ours, theirs = _context.Pipe()
    process = _context.Process(target=_main, args=(theirs, target, args), daemon=True)
    process.start()
    theirs.close()
    return Process(process, ours)


def live_through(life: Life) -> Report | None:
    """Live a life to its end; None if it ended by the death that it was given."""
    report: Report | None = start(live, life).report()
    return report


def all_through(lives: Sequence[Life]) -> list[Report | None]:
    """The same for several at a time."""
    processes = [start(live, life) for life in lives]
    return [process.report() for process in processes]


_context = multiprocessing.get_context("forkserver")


def _warm_up() -> None:
    """See that the fork server runs, with what its processes need imported."""
    before = os.environ.get("PYTHONPATH")
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = here if before is None else f"{here}{os.pathsep}{before}"
    try:
        _context.set_forkserver_preload(["pytest", "crash_lives"])
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
