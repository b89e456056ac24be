"""What the tests of the journal share: events, a small history, and how to read a store whole."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actorflow.core.breaker import BreakerAsk, BreakerReport
from actorflow.core.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    Event,
    Failure,
    GenerationStarted,
    RunFinished,
    RunStarted,
)
from actorflow.journal import (
    Append,
    AskBreaker,
    CreateRun,
    DeadLetter,
    Delivery,
    Journal,
    KeepDeadLetter,
    PendingDelivery,
    RecordDeliveries,
    Release,
    RunSummary,
    SaveCheckpoint,
    TellBreaker,
)
from actorflow.spec.model import BreakerSpec

STORES = ("memory", "sqlite", "json")
"""The kinds of store; what holds for each is tested with all."""

RUNNING = RunSummary("running", 1, 1000.0, None)
ENDED = RunSummary("success", 1, 1000.0, 2000.5)
BODY = b'{"name":"deploy"}'


def store_url(kind: str, folder: Path, name: str = "state") -> str:
    """The URL of a store of a kind, in a folder."""
    urls = {"memory": "memory:", "sqlite": f"sqlite:///{folder}/{name}.db", "json": f"json:{folder}/{name}"}
    return urls[kind]


def create(run_id: str, summary: RunSummary = RUNNING) -> CreateRun:
    return CreateRun(run_id, "deploy", "d1", BODY, summary)


def beginning(run_id: str) -> list[Event]:
    return [
        RunStarted(1.5, run_id, "deploy", "d1", {"a": [1, None]}, {}, {}, {}, 1),
        GenerationStarted(1.5, 1, "start"),
    ]


def step(number: int, output: object = None) -> list[Event]:
    return [
        AttemptSucceeded(2.5, f"task-{number}", 1, output or {"n": number}),
        AttemptStarted(2.5, f"task-{number + 1}", 1, 0, "a"),
    ]


def failed_step(number: int) -> list[Event]:
    return [AttemptFailed(3.5, f"task-{number}", 1, Failure("ValueError", "näh", {"exit": 3}))]


def delivery(number: int, seq: int = 1) -> Delivery:
    return Delivery(f"delivery-{number}", "on_stage_complete[0]", seq, "delivered", {"exit": number})


def pending(number: int, seq: int = 1, hook: str = "on_stage_complete[0]", tries: int = 1) -> PendingDelivery:
    return PendingDelivery(f"delivery-{number}", hook, seq, 7.5, {"n": number, "tries": tries})


def delivery_letter(run_id: str, number: int, at: float = 5.0) -> DeadLetter:
    return DeadLetter(
        f"{run_id}/delivery-{number}", "delivery", run_id, "on_stage_complete[0]", "OSError: näh", at, 2
    )


def given_up(run_id: str, number: int, at: float = 5.0) -> KeepDeadLetter:
    return KeepDeadLetter(delivery_letter(run_id, number, at), {"n": number})


def write_history(journal: Journal) -> None:
    """Two runs, one of which has a large output, has ended and was released; twelve commits."""
    ok(journal, create("run-a"), Append("run-a", 1, beginning("run-a")))
    ok(journal, create("run-b"), Append("run-b", 1, beginning("run-b")))
    for number in range(6):
        seq = 3 + 2 * number
        ok(journal, Append("run-a", seq, step(number)), Append("run-b", seq, step(number, large())))
    ok(journal, RecordDeliveries("run-b", [delivery(1), delivery(2, 3)], 3))
    ok(
        journal,
        RecordDeliveries("run-a", [], 5, [pending(1, 2), pending(2, 3), pending(3, 3, "task_failed[1]")]),
    )
    ok(
        journal,
        RecordDeliveries("run-a", [delivery(2, 3)], 5, [pending(1, 2, tries=2)]),
        given_up("run-a", 2),
    )
    ok(journal, Append("run-b", 15, [RunFinished(9.5, "success")], ENDED), Release("run-b"))


def large(number: int = 0) -> list[int]:
    """An output that is kept apart."""
    return [number, *range(10_000, 25_000)]


def finished(number: int, output: object) -> list[Event]:
    return [AttemptSucceeded(2.5, f"task-{number}", 1, output)]


def save(run_id: str, seq: int, rows: Sequence[Sequence[Any]] = ((1, "a"), (2, None))) -> SaveCheckpoint:
    return SaveCheckpoint(run_id, seq, 1, {"phase": "tasks"}, rows)


def letter(run_id: str, task: str, at: float = 5.0, generation: int = 1) -> DeadLetter:
    return DeadLetter(f"{run_id}/{generation}/{task}", "task", run_id, task, "ValueError: näh", at, 7)


#: two failures within a minute open it for half a minute
BREAKER = BreakerSpec(threshold=2, window=60.0, cooldown=30.0)


def ask(run_id: str, task: str = "t", key: str = "bank", at: float = 1000.0) -> AskBreaker:
    return AskBreaker(BreakerAsk(key, BREAKER, run_id, task), at)


def told(
    run_id: str,
    attempt: int,
    at: float,
    outcome: Any = "failure",
    task: str = "t",
    key: str = "bank",
    late_s: float = 0.0,
) -> TellBreaker:
    return TellBreaker(BreakerReport(key, BREAKER, run_id, task, attempt, at, outcome), at + late_s)


def ok(journal: Journal, *writes: Any) -> None:
    assert journal.commit(writes) == [None] * len(writes)


def contents(journal: Journal) -> list[Any]:
    """All that a store says, but for who owns what."""
    found: list[Any] = []
    for row in journal.runs():
        exact = journal.find(row.run_id)
        assert exact.run_id == row.run_id
        found.append((row.run_id, row.workflow, row.definition, row.summary, row.cursor, row.last_seq))
        found.append(list(journal.events(row.run_id)))
        found.append(journal.deliveries(row.run_id))
        found.append([journal.pending(row.run_id), journal.pending(row.run_id, "on_stage_complete[0]")])
        found.append(journal.definition(row.definition))
    letters = journal.dead_letters()
    found.append([letters, [journal.dead_letter_body(each.id) for each in letters], journal.pending_counts()])
    return found


def spawn(script: str, *args: object) -> subprocess.Popen[str]:
    """Another Python with the journal's modules at hand; it talks over its stdin and stdout."""
    head = "import sys, os\nfrom journal_cases import *\nfrom actorflow.journal.sqlite import SqliteJournal\n"
    here = Path(__file__).parent
    return subprocess.Popen(
        [sys.executable, "-c", head + script, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        env={"PYTHONPATH": f"{here}:{here.parent}", "PATH": "/usr/bin:/bin"},
    )
