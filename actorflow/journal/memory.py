"""A journal in memory: the rules of every other, and nothing kept when the process ends.

Events are held as the JSON that a durable store would write. That costs half a microsecond each, refuses what is not
JSON here as there, shares nothing with the writer, and leaves nothing for the garbage collector to walk.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import TypeAlias, assert_never

from attrs import define, evolve, field

from actorflow.core.events import Event
from actorflow.errors import ActorflowError, RunExistsError, RunNotFoundError, StoreDamagedError, StoreFailed
from actorflow.journal.admission import (
    check_checkpoint,
    check_deliveries,
    check_names,
    check_release,
    choose,
    nearest,
    not_owned,
    payload_of,
)
from actorflow.journal.blobs import no_blob
from actorflow.journal.codec import decode_events, decode_record, encode_record
from actorflow.journal.protocol import (
    CHECKED_KEPT,
    Append,
    CachedDefinition,
    Checkpoint,
    CreateRun,
    Delivery,
    KeepDefinition,
    RecordDeliveries,
    Release,
    RunRow,
    RunSummary,
    SaveCheckpoint,
    Write,
)
from actorflow.journal.shortcuts import (
    decode_checkpoint,
    decode_definition,
    encode_checkpoint,
    encode_warnings,
)

_Batch: TypeAlias = tuple[int, bytes, dict[str, bytes]]
"""The number of its first event, its JSON, and the large values of it."""


class MemoryJournal:
    """A `Journal` whose one owner is the object itself; any thread may use it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._runs: dict[str, _Run] = {}
        self._definitions: dict[str, bytes] = {}
        self._checked: dict[str, tuple[str, bytes]] = {}  #: digest and warnings by key, the latest last
        self._is_closed = False

    @property
    def is_durable(self) -> bool:
        """Never: `commit` does not block."""
        return False

    def commit(self, writes: Sequence[Write]) -> list[Exception | None]:
        """Keep the writes, and say for each what stood in its way."""
        with self._lock:
            self._refuse_if_closed()
            return [self._admit(write) for write in writes]

    def claim(self, run_id: str) -> RunRow:
        """Own a run that was released; see `Journal.claim`."""
        with self._lock:
            self._refuse_if_closed()
            run = self._find(run_id)
            run.is_owned = True
            return run.row()

    def heartbeat(self) -> None:
        """Nobody else can see this store: nothing to say."""
        self._refuse_if_closed()

    def maintain(self) -> None:
        """Nothing to do."""
        self._refuse_if_closed()

    def find(self, prefix: str) -> RunRow:
        """See `Journal.find`."""
        return choose(prefix, self.runs())

    def runs(self) -> list[RunRow]:
        """See `Journal.runs`."""
        with self._lock:
            self._refuse_if_closed()
            latest_first = reversed(self._runs.values())
            return sorted((run.row() for run in latest_first), key=lambda row: -row.summary.started_at)

    def definition(self, digest: str) -> bytes:
        """See `Journal.definition`."""
        self._refuse_if_closed()
        body = self._definitions.get(digest)
        if body is None:
            raise StoreDamagedError(f"the store has no definition {digest!r}")
        return body

    def events(self, run_id: str, after: int = 0) -> Iterator[tuple[int, Event]]:
        """See `Journal.events`; what is appended later is not seen."""
        with self._lock:
            self._refuse_if_closed()
            batches = self._find(run_id).batches
            start = max(bisect_right(batches, after + 1, key=lambda batch: batch[0]) - 1, 0)
            seen = batches[start:]
        return _decoded(run_id, seen, after)

    def checkpoint(self, run_id: str) -> Checkpoint | None:
        """See `Journal.checkpoint`."""
        with self._lock:
            self._refuse_if_closed()
            kept = self._find(run_id).checkpoint
        return None if kept is None else decode_checkpoint(*kept, no_blob)

    def cached_definition(self, key: str) -> CachedDefinition | None:
        """See `Journal.cached_definition`."""
        with self._lock:
            self._refuse_if_closed()
            kept = self._checked.get(key)
            return None if kept is None else decode_definition(kept[0], self._definitions[kept[0]], kept[1])

    def deliveries(self, run_id: str) -> list[Delivery]:
        """See `Journal.deliveries`."""
        with self._lock:
            self._refuse_if_closed()
            recorded = list(self._find(run_id).deliveries)
        return [evolve(bare, record=decode_record(record)) for bare, record in recorded]

    def close(self) -> None:
        """Forget everything; idempotent."""
        with self._lock:
            self._is_closed = True
            self._runs.clear()
            self._definitions.clear()
            self._checked.clear()

    def _admit(self, write: Write) -> Exception | None:
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
                case _:
                    assert_never(write)
        except (ActorflowError, TypeError, ValueError) as refusal:
            return refusal
        return None

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
        if write.run_id in self._runs:
            raise RunExistsError(write.run_id)
        self._definitions.setdefault(write.definition, write.body)
        self._runs[write.run_id] = _Run(write.run_id, write.workflow, write.definition, write.summary)

    def _record(self, write: RecordDeliveries) -> None:
        run = self._owned(write.run_id)
        check_deliveries(write, run.last_seq)
        run.deliveries += [(evolve(one, record={}), encode_record(one.record)) for one in write.deliveries]
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
        self._definitions.setdefault(write.digest, write.body)
        self._checked.pop(write.key, None)
        self._checked[write.key] = (write.digest, warnings)
        if len(self._checked) > CHECKED_KEPT:
            digest, _ = self._checked.pop(next(iter(self._checked)))
            named = {other for other, _ in self._checked.values()}
            if digest not in named.union(run.definition for run in self._runs.values()):
                del self._definitions[digest]

    def _owned(self, run_id: str) -> _Run:
        run = self._runs.get(run_id)
        if run is None or not run.is_owned:
            raise not_owned(run_id)
        return run

    def _find(self, run_id: str) -> _Run:
        run = self._runs.get(run_id)
        if run is None:
            raise RunNotFoundError(run_id, nearest=nearest(run_id, list(self._runs)))
        return run

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise StoreFailed("the store in memory is closed")


@define
class _Run:
    """All that is kept of one run."""

    run_id: str
    workflow: str
    definition: str
    summary: RunSummary
    last_seq: int = 0
    cursor: int = 0
    is_owned: bool = True
    batches: list[_Batch] = field(factory=list[_Batch])
    deliveries: list[tuple[Delivery, bytes]] = field(factory=list[tuple[Delivery, bytes]])
    checkpoint: tuple[int, int, bytes] | None = None

    def row(self) -> RunRow:
        owner = os.getpid() if self.is_owned else None
        return RunRow(self.run_id, self.workflow, self.definition, self.summary, owner, self.cursor)


def _decoded(run_id: str, batches: Sequence[_Batch], after: int) -> Iterator[tuple[int, Event]]:
    for first_seq, payload, blobs in batches:
        events = decode_events(payload, run_id, first_seq, blobs.__getitem__)
        for seq, event in enumerate(events, first_seq):
            if seq > after:
                yield seq, event
