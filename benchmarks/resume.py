"""How soon a large run goes on after a crash: from its last checkpoint, and from its first event."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter

import anyio
import apsw
from attrs import define, field

from actorflow import AgentCall, Runtime
from actorflow.core.events import AttemptStarted, AttemptSucceeded, Event, RunStarted
from actorflow.core.plan import plan_of
from actorflow.core.state import CORE_VERSION, RunState
from actorflow.core.step import next_generation
from actorflow.journal import Append, CreateRun, Release, RunSummary
from actorflow.journal.driver import connect
from actorflow.journal.sqlite import SqliteJournal
from actorflow.runtime.checkpoints import CheckpointPace
from actorflow.spec.definition import spec_definition
from actorflow.spec.model import TaskSpec, WorkflowSpec

RUN_ID = "large"
_OPEN = 100
"""Tasks that are left to do."""

_BATCH = 1_000


@define
class Resumed:
    """Seconds from the call of `resume` to the first new attempt, by round."""

    from_checkpoint: list[float] = field(factory=list[float])
    from_start: list[float] = field(factory=list[float])

    @property
    def ratio(self) -> float:
        """How many times as long it takes without a checkpoint."""
        return median(self.from_start) / median(self.from_checkpoint)

    def __str__(self) -> str:
        seconds = (median(self.from_checkpoint), median(self.from_start))
        return "first new attempt: {:.3f} s from a checkpoint, {:.3f} s without; ".format(*seconds) + (
            f"{self.ratio:.1f} times as long"
        )


async def measure_resume(count: int, rounds: int, folder: Path) -> Resumed:
    """Resume a run with so many recorded tasks, with and without its checkpoint in turns."""
    found = Resumed()
    for number in range(rounds):
        path = folder / f"resume-{number}.db"
        _record(path, count)
        found.from_checkpoint.append(await _first_attempt_s(path))
        _forget_checkpoints(path)
        found.from_start.append(await _first_attempt_s(path))
    return found


def _record(path: Path, count: int) -> None:
    """A store with a run that was cut off after so many tasks, the last checkpoint as far back as it can be."""
    spec = WorkflowSpec(
        name="large", tasks=tuple(TaskSpec(id=f"task-{n}", agent="no_op") for n in range(count + _OPEN))
    )
    digest, body = spec_definition(spec)
    journal = SqliteJournal(str(path))
    state, pace, seq = RunState(plan_of(spec)), CheckpointPace(0), 0
    journal.commit([CreateRun(RUN_ID, spec.name, digest, body, RunSummary("running", 1, 1000.0, None))])
    events = _history(state, digest, count)
    while batch := list(islice(events, _BATCH)):
        first, seq = seq + 1, seq + len(batch)
        checkpoint = pace.next_checkpoint(state, seq)
        journal.commit([Append(RUN_ID, first, batch), *([] if checkpoint is None else [checkpoint])])
    journal.commit([Release(RUN_ID)])
    journal.close()


def _history(state: RunState, digest: str, count: int) -> Iterator[Event]:
    started = RunStarted(1000.0, RUN_ID, "large", digest, {}, {}, {"no_op": "code"}, {}, CORE_VERSION)
    yield _applied(state, started)
    yield _applied(state, next_generation(state, 1000.0))
    for number in range(count):
        at = 1000.0 + number / 1000
        yield _applied(state, AttemptStarted(at, f"task-{number}", 1, 0, "no_op"))
        yield _applied(state, AttemptSucceeded(at, f"task-{number}", 1, None))


def _applied(state: RunState, event: Event) -> Event:
    state.apply(event)
    return event


async def _first_attempt_s(path: Path) -> float:
    """Seconds until the first new attempt begins; the run is left where it was, but for a pause."""
    has_begun = anyio.Event()

    async def begin(_: AgentCall) -> None:
        has_begun.set()
        await anyio.sleep_forever()

    async with AsyncExitStack() as stack:
        store = f"sqlite:///{path}"
        runtime = await stack.enter_async_context(Runtime(store=store, agents={"no_op": begin}, grace_s=0.0))
        gc.collect()
        start = perf_counter()
        await runtime.start_resumed(RUN_ID)
        await has_begun.wait()
        return perf_counter() - start


def _forget_checkpoints(path: Path) -> None:
    db = connect(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=None)
    db.execute("DELETE FROM checkpoints")
    db.close()
