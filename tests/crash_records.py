"""What a killed process has left: its store, read from a copy, and the ledger of its bodies."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from attrs import field, frozen
from crash_workflows import RUN_ID

from actorflow.core.breaker import Breaker
from actorflow.core.events import (
    AttemptStarted,
    AttemptSucceeded,
    BreakerAllowed,
    Event,
    GenerationStarted,
    HookFinished,
    HookLost,
    HookStarted,
    RunEnding,
    RunFinished,
    StageCompleted,
    TaskFinished,
)
from actorflow.journal import DeadLetter, Delivery, open_journal
from actorflow.journal.protocol import Journal, PendingDelivery, RunRow
from actorflow.spec import WorkflowSpec
from actorflow.spec.definition import from_json
from actorflow.spec.model import HookEvent, HookSpec

Body = tuple[str, int, int]
"""One start of a body: idempotency key, attempt, loss; of a hook: delivery id, 0, 0."""


@frozen
class Recorded:
    """What a store holds of the run."""

    spec: WorkflowSpec
    run_id: str = RUN_ID
    events: list[tuple[int, Event]] = field(factory=list)
    cursor: int = 0
    deliveries: list[Delivery] = field(factory=list)
    pending: list[PendingDelivery] = field(factory=list)
    letters: list[DeadLetter] = field(factory=list)
    breakers: dict[str, Breaker] = field(factory=dict)  #: by key

    @property
    def with_generations(self) -> Iterator[tuple[int, int, Event]]:
        """Generation, number and event of each."""
        generation = 0
        for seq, event in self.events:
            if isinstance(event, GenerationStarted):
                generation = event.generation
            yield generation, seq, event

    @property
    def attempts(self) -> Counter[Body]:
        """The bodies that attempts may have started."""
        return Counter(
            (self._key(event.task, generation), event.attempt, event.loss)
            for generation, _, event in self.with_generations
            if isinstance(event, AttemptStarted)
        )

    @property
    def successes(self) -> list[Body]:
        """The bodies whose success is recorded."""
        losses: dict[str, int] = {}
        found: list[Body] = []
        for generation, _, event in self.with_generations:
            if isinstance(event, AttemptStarted):
                losses[event.task] = event.loss
            elif isinstance(event, AttemptSucceeded):
                found.append((self._key(event.task, generation), event.attempt, losses[event.task]))
        return found

    @property
    def hook_starts(self) -> Counter[Body]:
        """How often each blocking hook may have started."""
        return Counter(
            self.hook_body(event, generation)
            for generation, _, event in self.with_generations
            if isinstance(event, HookStarted)
        )

    @property
    def owed(self) -> list[str]:
        """The ids of all deliveries that the events owe: each event of the lifecycle, to each of its hooks that nobody waits for."""
        return [
            f"{self.run_id}/{seq}/{path}"
            for seq, event in self.events
            for name in _lifecycle_of(event)
            for path, hook in self.listed(name, getattr(event, "task", ""))
            if hook.mode == "async"
        ]

    def listed(self, event: HookEvent, task: str = "") -> list[tuple[str, HookSpec]]:
        """The hooks of an event with their paths: a task's own, then those of the workflow."""
        own = next((each.hooks.of(event) for each in self.spec.tasks if each.id == task), ())
        return [
            *((f"tasks.{task}.{event}[{index}]", hook) for index, hook in enumerate(own)),
            *((f"{event}[{index}]", hook) for index, hook in enumerate(self.spec.hooks.of(event))),
        ]

    def hook_body(self, event: HookStarted | HookFinished | HookLost, generation: int) -> Body:
        """The body of a blocking hook."""
        path, _ = self.listed(event.event, event.subject)[event.index]
        return "/".join(filter(None, (self.run_id, str(generation), event.subject, path))), 0, 0

    def _key(self, task: str, generation: int) -> str:
        return f"{self.run_id}/{task}/{generation}"

    def of(self, kind: type[Event]) -> list[Event]:
        """The events of one class."""
        return [event for _, event in self.events if isinstance(event, kind)]


def _lifecycle_of(event: Event) -> tuple[HookEvent, ...]:
    """What an event is to hooks, of a workflow in which every task that starts has a blocking hook at its end."""
    match event:
        case GenerationStarted():
            return ("pre_workflow",)
        case TaskFinished():
            return ("task_finished",)
        case StageCompleted():
            return ("on_stage_complete",)
        case RunEnding():
            return ("on_error", "post_workflow") if event.outcome == "failed" else ("post_workflow",)
        case RunFinished():
            return ("workflow_finished",)
        case _:
            return ()


def recorded(folder: Path) -> Recorded:
    """Read the run of a dead process from a copy of its store, so that the next one finds that as it was left."""
    return next(
        (run for run in all_recorded(folder) if run.run_id == RUN_ID), Recorded(WorkflowSpec(name="none"))
    )


def all_recorded(folder: Path) -> list[Recorded]:
    """The same of all runs, those too that hooks of the run have started."""
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for name in ("state.db", "state.db-wal", "state.db.mark"):
        if (folder / name).exists():
            shutil.copy(folder / name, copy)
    is_json = (folder / "state").exists()
    if is_json:
        shutil.copytree(folder / "state", copy / "state")
    journal = open_journal(f"json:{copy}/state" if is_json else f"sqlite:///{copy}/state.db")
    try:
        return [_recorded(journal, row) for row in journal.runs()]
    finally:
        journal.close()


def _recorded(journal: Journal, row: RunRow) -> Recorded:
    events = list(journal.events(row.run_id))
    keys = dict.fromkeys(event.key for _, event in events if isinstance(event, BreakerAllowed))
    return Recorded(
        from_json(journal.definition(row.definition)),
        row.run_id,
        events,
        row.cursor,
        journal.deliveries(row.run_id),
        journal.pending(row.run_id),
        [letter for letter in journal.dead_letters() if letter.run_id == row.run_id],
        {key: journal.breaker(key) for key in keys},
    )


@frozen
class Ledger:
    """What the bodies have written."""

    starts: Counter[Body]
    ends: Counter[Body]


def ledger(folder: Path) -> Ledger:
    """Read the ledger."""
    starts, ends = Counter[Body](), Counter[Body]()
    path = folder / "ledger"
    for line in path.read_text().splitlines() if path.exists() else ():
        what, key, attempt, loss = line.split(" ")
        (starts if what == "start" else ends)[key, int(attempt), int(loss)] += 1
    return Ledger(starts, ends)
