"""What a journal in memory keeps, and the rules by which it takes writes in.

Events are held as the JSON that a durable store would write. That costs half a microsecond each, refuses what is not
JSON here as there, shares nothing with the writer, and leaves nothing for the garbage collector to walk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TypeAlias, assert_never

from attrs import define, evolve, field

from actorflow.core import breaker as rules
from actorflow.core.breaker import CLOSED, Breaker, BreakerAnswer
from actorflow.errors import (
    ActorflowError,
    RunExistsError,
    RunNotFoundError,
    RunOwnedElsewhereError,
    WorkflowRunningError,
)
from actorflow.journal.admission import (
    check_checkpoint,
    check_deliveries,
    check_names,
    check_release,
    nearest,
    not_owned,
    payload_of,
    run_of_probe,
)
from actorflow.journal.codec import encode_record
from actorflow.journal.plain import encode
from actorflow.journal.protocol import (
    CHECKED_KEPT,
    Answered,
    Append,
    AskBreaker,
    ChangeDefinition,
    CreateRun,
    DeadLetter,
    Delivery,
    DropDeadLetters,
    KeepDeadLetter,
    KeepDefinition,
    Outcome,
    PendingDelivery,
    RecordDeliveries,
    Release,
    Request,
    RunRow,
    RunSummary,
    SaveCheckpoint,
    TellBreaker,
    Write,
)
from actorflow.journal.shortcuts import encode_checkpoint, encode_warnings

Batch: TypeAlias = tuple[int, bytes, dict[str, bytes]]
"""The number of its first event, its JSON, and the large values of it."""


@define
class MemoryRun:
    """All that is kept of one run."""

    run_id: str
    workflow: str
    definition: str
    summary: RunSummary
    last_seq: int = 0
    cursor: int = 0
    is_owned: bool = True
    last_request: int = 0  #: that there was when it was claimed
    batches: list[Batch] = field(factory=list[Batch])
    deliveries: list[tuple[Delivery, bytes]] = field(factory=list[tuple[Delivery, bytes]])
    #: pending ones by id, each without its body, and that
    outbox: dict[str, tuple[PendingDelivery, bytes]] = field(factory=dict[str, tuple[PendingDelivery, bytes]])
    checkpoint: tuple[int, int, bytes] | None = None

    def row(self) -> RunRow:
        """What the outside sees."""
        owner = os.getpid() if self.is_owned else None
        facts = (self.run_id, self.workflow, self.definition, self.summary, owner, self.cursor)
        return RunRow(*facts, self.last_seq)


class MemoryStore:
    """All that is kept; whoever uses it sees to it that it is one thread at a time.

    Args:
        clock: the wall clock, in epoch seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.runs: dict[str, MemoryRun] = {}
        self.definitions: dict[str, bytes] = {}
        self.checked: dict[str, tuple[str, bytes]] = {}  #: digest and warnings by key, the latest last
        self.breakers: dict[str, Breaker] = {}
        self.letters: dict[str, DeadLetter] = {}  #: by id, in the order in which they were kept
        self.letter_bodies: dict[str, bytes] = {}  #: by id, of those that have one
        self.inbox: dict[int, tuple[Request, bytes]] = {}  #: each without its body, and that
        self.snapshots: dict[str, bytes] = {}

    def find(self, run_id: str) -> MemoryRun:
        """A run that must be there.

        Raises:
            RunNotFoundError: it is not; the error names the nearest ids.
        """
        run = self.runs.get(run_id)
        if run is None:
            raise RunNotFoundError(run_id, nearest=nearest(run_id, list(self.runs)))
        return run

    def is_owned(self, run_id: str) -> bool:
        """Whether a run is there and ours."""
        run = self.runs.get(run_id)
        return run is not None and run.is_owned

    def admit(self, write: Write) -> Outcome:
        """Take a write in, whole, and answer what it asks, or say why it cannot be."""
        try:
            match write:
                case Append():
                    self._append(write)
                case CreateRun():
                    self._create(write)
                case RecordDeliveries():
                    self._record(write)
                case Release():
                    self._release(write)
                case SaveCheckpoint():
                    self._save_checkpoint(write)
                case KeepDefinition():
                    self._keep_definition(write)
                case AskBreaker():
                    return self._ask(write)
                case TellBreaker():
                    return self._tell(write)
                case ChangeDefinition():
                    self._change_definition(write)
                case KeepDeadLetter():
                    self._keep_letter(write)
                case DropDeadLetters():
                    self._drop_letters_of(write)
                case Answered():
                    self._drop_requests(write.requests)
                case _:
                    assert_never(write)
        except (ActorflowError, TypeError, ValueError) as refusal:
            return refusal
        return None

    def delete(self, run_id: str) -> bool:
        """Remove a run and the snapshot of that name; whether there was any.

        Raises:
            RunOwnedElsewhereError: the run is ours.
        """
        if self.is_owned(run_id):
            raise RunOwnedElsewhereError(run_id, pid=os.getpid())
        run = self.runs.pop(run_id, None)
        if run is not None:
            self._drop_if_unnamed(run.definition)
            self._drop_letters(lambda letter: letter.run_id == run_id)
            self._drop_requests([bare.id for bare, _ in self.inbox.values() if bare.run_id == run_id])
        return self.snapshots.pop(run_id, None) is not None or run is not None

    def _append(self, write: Append) -> None:
        run = self._owned(write.run_id)
        payload, blobs = payload_of(write, run.last_seq)
        if write.events:
            run.batches.append((write.first_seq, payload, blobs))
            run.last_seq += len(write.events)
        if write.summary is not None:
            run.summary = write.summary

    def _create(self, write: CreateRun) -> None:
        check_names(write)
        if write.is_alone:
            self._refuse_company(write.workflow)
        if write.run_id in self.runs:
            raise RunExistsError(write.run_id)
        self.definitions.setdefault(write.definition, write.body)
        self.runs[write.run_id] = MemoryRun(write.run_id, write.workflow, write.definition, write.summary)

    def _refuse_company(self, workflow: str) -> None:
        for run in self.runs.values():
            if run.is_owned and run.workflow == workflow:
                raise WorkflowRunningError(workflow, run.run_id, os.getpid())

    def _record(self, write: RecordDeliveries) -> None:
        run = self._owned(write.run_id)
        check_deliveries(write, run.last_seq)
        settled = [(evolve(one, record={}), encode_record(one.record)) for one in write.deliveries]
        pending = [(evolve(one, body={}), encode_record(one.body)) for one in write.pending]
        encode([(one.delivery_id, one.hook) for one, _ in settled])
        encode([(one.delivery_id, one.hook) for one, _ in pending])
        run.deliveries += settled
        for one, _ in settled:
            run.outbox.pop(one.delivery_id, None)
        for bare, body in pending:
            run.outbox[bare.delivery_id] = (bare, body)
        run.cursor = max(run.cursor, write.cursor)

    def _release(self, write: Release) -> None:
        run = self._owned(write.run_id)
        check_release(write, run.last_seq)
        run.is_owned = False

    def _save_checkpoint(self, write: SaveCheckpoint) -> None:
        run = self._owned(write.run_id)
        check_checkpoint(write, run.last_seq)
        payload, _ = encode_checkpoint(write, keeps_blobs=False)
        run.checkpoint = (write.seq, write.core_version, payload)

    def _keep_definition(self, write: KeepDefinition) -> None:
        warnings = encode_warnings(write)
        self.definitions.setdefault(write.digest, write.body)
        self.checked.pop(write.key, None)
        self.checked[write.key] = (write.digest, warnings)
        if len(self.checked) > CHECKED_KEPT:
            digest, _ = self.checked.pop(next(iter(self.checked)))
            self._drop_if_unnamed(digest)

    def _drop_if_unnamed(self, digest: str) -> None:
        named = {other for other, _ in self.checked.values()}
        if digest not in named.union(run.definition for run in self.runs.values()):
            del self.definitions[digest]

    def _change_definition(self, write: ChangeDefinition) -> None:
        run = self._owned(write.run_id)
        encode(write.definition)
        before, run.definition, run.checkpoint = run.definition, write.definition, None
        self.definitions.setdefault(write.definition, write.body)
        self._drop_if_unnamed(before)

    def _ask(self, asked: AskBreaker) -> BreakerAnswer:
        question = asked.question
        before = self.breakers.get(question.key, CLOSED)
        is_held = before.probe is not None and self.is_owned(run_of_probe(before.probe))
        after, answer = rules.ask(before, question, asked.at, is_probe_held=is_held)
        self.breakers[question.key] = after
        return answer

    def _tell(self, told: TellBreaker) -> BreakerAnswer:
        key = told.report.key
        before = self.breakers.get(key, CLOSED)
        self.breakers[key], answer = rules.report(before, told.report, told.at)
        return answer

    def _keep_letter(self, write: KeepDeadLetter) -> None:
        letter = write.letter
        self._owned(letter.run_id)
        encode((letter.id, letter.task, letter.reason))
        body = None if write.body is None else encode_record(write.body)
        self.letters.pop(letter.id, None)
        self.letter_bodies.pop(letter.id, None)
        self.letters[letter.id] = letter
        if body is not None:
            self.letter_bodies[letter.id] = body

    def _drop_letters_of(self, write: DropDeadLetters) -> None:
        self._owned(write.run_id)
        meant = {("task", task) for task in write.tasks} | {("delivery", each) for each in write.ids}
        self._drop_letters(
            lambda letter: (
                letter.run_id == write.run_id
                and (letter.kind, letter.task if letter.kind == "task" else letter.id) in meant
            )
        )

    def _drop_letters(self, is_meant: Callable[[DeadLetter], bool]) -> None:
        for letter in [each for each in self.letters.values() if is_meant(each)]:
            del self.letters[letter.id]
            self.letter_bodies.pop(letter.id, None)

    def _drop_requests(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.inbox.pop(number, None)

    def _owned(self, run_id: str) -> MemoryRun:
        run = self.runs.get(run_id)
        if run is None or not run.is_owned:
            raise not_owned(run_id)
        return run
