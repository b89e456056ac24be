"""Every call that a SQLite store makes to its disk fails in turn: nobody is told anything wrong, and nothing is lost.

`failing_disk` says what a fault is. A default run takes samples of the calls; all of them: `ACTORFLOW_FUZZ=1 pytest tests/test_store_io_faults.py`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import NoneType
from typing import Any

import anyio
import apsw
import pytest
from attrs import define, field
from disk import IN_MEMORY
from failing_disk import CALLS, FailingDisk, Fault, Plan, failing_disk
from found_stores import faults_of_going_on, found_in
from journal_cases import (
    beginning,
    contents,
    create,
    delivery,
    finished,
    given_up,
    ok,
    pending,
    save,
    step,
)

from actorflow import AgentCall, Runtime, load_dict
from actorflow.core.events import AttemptSucceeded, RunFinished
from actorflow.errors import ActorflowError, StoreFailed, StoreUnusableError
from actorflow.journal import Append, RecordDeliveries, Release
from actorflow.journal.sqlite import SqliteJournal
from actorflow.journal.store import StoreFile
from actorflow.runtime.ports import Ports
from tests.mutants.switches import replaced

STORE = "state.db"
BIG = "a value that is kept apart " * 3_000


# A history


@define
class Process:
    """Who writes a history: one journal after another."""

    path: str
    vfs: str
    journal: SqliteJournal | None = None

    def open(self) -> None:
        self.journal = SqliteJournal(self.path, vfs=self.vfs, clock=lambda: 1000.0)
        self.journal._wal._due_pages = 4

    def close(self) -> None:
        """However far it came."""
        if self.journal is not None:
            self.journal.close()

    @property
    def opened(self) -> SqliteJournal:
        assert self.journal is not None
        return self.journal


def commits(*writes: Any) -> Callable[[Process], None]:
    return lambda process: ok(process.opened, *writes)


def calls(name: str, *args: Any) -> Callable[[Process], None]:
    return lambda process: getattr(process.opened, name)(*args)


HISTORY: Sequence[Callable[[Process], None]] = (
    Process.open,
    commits(create("r"), Append("r", 1, beginning("r"))),
    commits(create("s"), Append("s", 1, beginning("s")), Append("r", 3, finished(1, BIG))),
    commits(RecordDeliveries("r", [delivery(1)], 2, [pending(2), pending(3)]), given_up("r", 4)),
    calls("maintain"),
    commits(Append("s", 3, step(1), flush=False)),
    commits(save("r", 3)),
    commits(Append("s", 5, [RunFinished(9.5, "success")]), Release("s")),
    lambda process: contents(process.opened) and None,
    calls("delete", "s"),
    Process.close,
    Process.open,
    calls("claim", "r"),
    calls("post", "r", "signal", {"name": "go"}),
    calls("requests"),
    commits(Append("r", 4, [*step(2), *finished(3, f"other {BIG}")])),
    calls("maintain"),
    calls("save_snapshot", "seen", {"n": 1}),
    Process.close,
)
"""Each step is one commit at most."""

POISONED: Sequence[Callable[[SqliteJournal], object]] = (
    lambda journal: journal.commit([Append("r", 3, step(1))]),
    lambda journal: journal.commit([]),
    lambda journal: journal.claim("r"),
    lambda journal: journal.post("r", "pause", {}),
    lambda journal: journal.requests(),
    lambda journal: journal.purge_dead_letters(["r/delivery-4"]),
    lambda journal: journal.save_snapshot("seen", {}),
    lambda journal: journal.delete("s"),
    lambda journal: journal.heartbeat(),
    lambda journal: journal.maintain(),
    lambda journal: journal.find("r"),
    lambda journal: journal.runs(),
    lambda journal: list(journal.events("r")),
    lambda journal: journal.checkpoint("r"),
    lambda journal: journal.deliveries("r"),
    lambda journal: journal.pending("r"),
    lambda journal: journal.dead_letters(),
    lambda journal: journal.snapshots(),
)
"""What may be asked of a journal that has failed; each of it is refused."""


@define
class Told:
    """What became of a history."""

    done: int = 0  #: steps that did what they say
    error: Exception | None = None  #: of the one behind them
    faults: list[str] = field(factory=list[str])  #: what was wrong with what followed


def live_through(disk: FailingDisk, path: str) -> Told:
    """The history, as far as it comes; then, of a journal that has failed, all that may be asked of it."""
    process, told = Process(path, disk.name), Told()
    for act in HISTORY:
        try:
            act(process)
        except Exception as error:
            told.error = error
            if act is not Process.open:
                told.faults += still_there(disk, process.opened)
            return told
        told.done += 1
    return told


def still_there(disk: FailingDisk, journal: SqliteJournal) -> list[str]:
    """What a journal that has failed does all the same, its end included."""
    changed, found = disk.changed, list[str]()
    for number, ask in enumerate(POISONED):
        try:
            ask(journal)
        except StoreFailed:
            continue
        except Exception as error:
            found.append(f"call {number} raises {error!r}")
        else:
            found.append(f"call {number} is answered")
    journal.close()
    return found if disk.changed == changed else [*found, "writes"]


@pytest.fixture(scope="module")
def history() -> tuple[Sequence[Any], Mapping[Fault, int]]:
    """What a store says after each step, and how many calls to a disk all of them take that each fault can befall."""
    with failing_disk() as disk, TemporaryDirectory(dir=IN_MEMORY) as folder:
        assert live_through(disk, f"{folder}/{STORE}") == Told(len(HISTORY))
        counted = dict(disk.counted)
    with failing_disk() as disk, TemporaryDirectory(dir=IN_MEMORY) as folder:
        process, states = Process(f"{folder}/{STORE}", disk.name), [found_in(f"{folder}/empty.db")]
        for act in HISTORY:
            act(process)
            states.append(found_in(process.path))
    return states, counted


@define
class Verdict:
    """What a fault has led to."""

    told: Told
    faults: list[str]  #: what is wrong with it


def judged(plan: Plan, states: Sequence[Any]) -> Verdict:
    """Live through the history with this fault, and see what is left for a fresh process."""
    with TemporaryDirectory(dir=IN_MEMORY) as folder, failing_disk() as disk:
        path = f"{folder}/{STORE}"
        disk.arm(plan)
        told = live_through(disk, path)
        disk.arm(None)
        faults = list(told.faults)
        if type(told.error) is not expected(told):
            faults.append(f"{told.error!r} is told")
        try:
            if found_in(path) not in states[told.done : told.done + 2]:
                faults.append(f"what is there is not what {told.done} steps have kept")
            faults += faults_of_going_on(path, disk.name) if plan.at % 3 == 0 else []
        except ActorflowError as error:
            faults.append(f"a fresh process is refused: {error}")
    return Verdict(told, faults)


def expected(told: Told) -> type[Exception | None]:
    """What a history ends with: the error of who opens a store, of who uses one, or none."""
    if told.done == len(HISTORY):
        return NoneType
    return StoreUnusableError if HISTORY[told.done] is Process.open else StoreFailed


EVERY = 1 if "ACTORFLOW_FUZZ" in os.environ else 11
"""The share of calls that fail is one in so many."""


def plans(fault: Fault, counted: int, *, is_lasting: bool) -> Iterator[Plan]:
    first = 1 + (3 * list(CALLS).index(fault) + is_lasting) % EVERY
    for at in range(first, counted + 1, EVERY):
        yield Plan(fault, at, is_lasting)


@pytest.mark.parametrize("is_lasting", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("fault", CALLS)
def test_whichever_call_fails_the_store_says_so_and_a_fresh_process_finds_what_was_acknowledged(
    fault: Fault, is_lasting: bool, history: tuple[Sequence[Any], Mapping[Fault, int]]
):
    states, counted = history
    verdicts = {plan: judged(plan, states) for plan in plans(fault, counted[fault], is_lasting=is_lasting)}
    assert {plan: verdict.faults for plan, verdict in verdicts.items() if verdict.faults} == {}
    ends = Counter(expected(verdict.told) for verdict in verdicts.values())
    assert ends[StoreFailed] > ends.total() // 2
    assert ends[StoreUnusableError] > ends.total() // 10


def commit_somehow(journal: SqliteJournal) -> None:
    with suppress(apsw.Error):
        journal._cursor.execute("COMMIT")


WRONG: Mapping[str, tuple[object, str, object]] = {
    "an error is swallowed": (SqliteJournal, "_commit", commit_somehow),
    "a failure is forgotten": (StoreFile, "fail", lambda _, reason: StoreFailed(str(reason))),
}
"""What a journal may do wrong: what of it is replaced by what."""


@pytest.mark.parametrize("what", WRONG)
def test_a_journal_that_goes_on_as_if_nothing_had_failed_is_found_out(
    what: str, history: tuple[Sequence[Any], Mapping[Fault, int]]
):
    states, counted = history
    with replaced(*WRONG[what]):
        assert any(judged(plan, states).faults for plan in plans("EIO", counted["EIO"], is_lasting=False))


# Under a run


WORKFLOW = load_dict(
    {
        "name": "w",
        "tasks": {
            "a": {"agent": "big"},
            "b": {"agent": "big", "depends_on": ["a"]},
            "c": {"agent": "big", "depends_on": ["a"]},
            "d": {"agent": "big", "depends_on": ["b", "c"]},
        },
    }
)


@define
class Bodies:
    """What agents have begun."""

    begun: list[str] = field(factory=list[str])

    async def big(self, call: AgentCall) -> str:
        self.begun.append(call.task)
        return f"{call.task} {BIG}"

    def runtime(self, path: Path, vfs: str | None = None) -> Runtime:
        ports = Ports(journal=lambda _: SqliteJournal(str(path), vfs=vfs))
        return Runtime(store=f"sqlite:///{path}", agents={"big": self.big}, ports=ports)


def succeeded_in(path: Path) -> set[str]:
    """The tasks whose success is recorded."""
    journal = SqliteJournal(str(path))
    try:
        events = [event for row in journal.runs() for _, event in journal.events(row.run_id)]
        return {event.task for event in events if isinstance(event, AttemptSucceeded)}
    finally:
        journal.close()


@pytest.mark.anyio
@pytest.mark.parametrize("fault", CALLS)
async def test_a_call_that_fails_under_a_run_ends_it_and_another_process_brings_it_to_its_end(fault: Fault):
    failed = 0
    for at in range(3, 200, 12):
        with TemporaryDirectory(dir=IN_MEMORY) as folder:
            path = Path(folder, STORE)
            failed += await is_failing(path, Plan(fault, at, is_lasting=at % 2 == 0))
            kept, bodies = succeeded_in(path), Bodies()
            async with bodies.runtime(path) as rt:
                is_there = any(row.run_id == "r" for row in await rt.list())
                result = await (rt.resume("r") if is_there else rt.run(WORKFLOW, run_id="r"))
            assert (result.status, result.tasks["d"].output) == ("success", f"d {BIG}"), at
            assert sorted(bodies.begun) == sorted({"a", "b", "c", "d"} - kept), at
    assert failed > 8


async def is_failing(path: Path, plan: Plan) -> bool:
    """Run the workflow; whether its store could not be opened, or has failed under it."""
    with failing_disk() as disk:
        disk.arm(plan)
        with anyio.fail_after(20):
            async with AsyncExitStack() as stack:
                try:
                    rt = await stack.enter_async_context(Bodies().runtime(path, disk.name))
                except StoreUnusableError:
                    return True
                try:
                    await rt.run(WORKFLOW, run_id="r")
                except StoreFailed:
                    return True
    return False
