"""A journal in memory: the rules of every other, and nothing kept when the process ends."""

from __future__ import annotations

import os
import secrets
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from threading import Lock
from typing import Any

from attrs import evolve

from actorflow.core.breaker import CLOSED, Breaker
from actorflow.core.events import Event
from actorflow.errors import StoreDamagedError, StoreFailed
from actorflow.journal.admission import choose
from actorflow.journal.blobs import no_blob
from actorflow.journal.codec import decode_events, decode_record
from actorflow.journal.memory_store import Batch, MemoryStore
from actorflow.journal.output_log import MemoryOutputLog, OutputLog
from actorflow.journal.plain import encode
from actorflow.journal.protocol import (
    CachedDefinition,
    Checkpoint,
    DeadLetter,
    Delivery,
    Outcome,
    PendingDelivery,
    Request,
    RequestKind,
    RunRow,
    Write,
)
from actorflow.journal.shortcuts import decode_checkpoint, decode_definition


class MemoryJournal:
    """A `Journal` whose one owner is the object itself; any thread may use it.

    Args:
        clock: the wall clock, in epoch seconds.
        store: what it keeps already.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time, store: MemoryStore | None = None) -> None:
        self._clock = clock
        self._lock = Lock()
        self._outputs = MemoryOutputLog()
        self._kept = MemoryStore(clock) if store is None else store
        self._request_numbers = count(1)
        self._cookie = f"{secrets.token_hex(16)}/"
        self._is_closed = False

    @property
    def is_durable(self) -> bool:
        """Never: `commit` does not block."""
        return False

    @property
    def cookie(self) -> str:
        """Begins the cookie of every process that is started for this journal; see `Journal.cookie`."""
        return self._cookie

    @property
    def outputs(self) -> OutputLog:
        """See `Journal.outputs`; the last lines of each run."""
        return self._outputs

    @property
    def documents(self) -> None:
        """Nobody finds files here."""
        return

    def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        """Keep the writes, and say for each what stood in its way, or what the answer is."""
        with self._lock:
            self._refuse_if_closed()
            return [self._kept.admit(write) for write in writes]

    def claim(
        self,
        run_id: str,
        *,
        take_over: bool = False,  # noqa: ARG002 - nobody else can own it
        end_survivors: Callable[[str], None] | None = None,  # noqa: ARG002 - nor have left anything behind
    ) -> RunRow:
        """Own a run that was released; see `Journal.claim`."""
        with self._lock:
            self._refuse_if_closed()
            run = self._kept.find(run_id)
            if not run.is_owned:
                run.is_owned = True
                asked = (bare.id for bare, _ in self._kept.inbox.values() if bare.run_id == run_id)
                run.last_request = max(asked, default=0)
            return run.row()

    def post(self, run_id: str, kind: RequestKind, body: Mapping[str, Any]) -> int:
        """Ask something of a run; see `Journal.post`. A `TypeError` says that the body is not JSON."""
        payload = encode(body)
        with self._lock:
            self._refuse_if_closed()
            self._kept.find(run_id)
            number = next(self._request_numbers)
            bare = Request(number, run_id, kind, {}, self._clock(), os.getpid())
            self._kept.inbox[number] = bare, payload
            return number

    def requests(self) -> list[Request]:
        """See `Journal.requests`."""
        with self._lock:
            self._refuse_if_closed()
            runs, kept = self._kept.runs, self._kept.inbox.values()
            owned = [each for each in kept if self._kept.is_owned(each[0].run_id)]
            return [
                evolve(bare, body=decode_record(body), is_older=bare.id <= runs[bare.run_id].last_request)
                for bare, body in owned
            ]

    def is_asked(self, request: int) -> bool:
        """See `Journal.is_asked`."""
        self._refuse_if_closed()
        return request in self._kept.inbox

    def dead_letters(self) -> list[DeadLetter]:
        """See `Journal.dead_letters`."""
        with self._lock:
            self._refuse_if_closed()
            return sorted(self._kept.letters.values(), key=lambda letter: letter.at)

    def purge_dead_letters(self, ids: Sequence[str]) -> int:
        """See `Journal.purge_dead_letters`."""
        with self._lock:
            self._refuse_if_closed()
            for each in ids:
                self._kept.letter_bodies.pop(each, None)
            return sum(self._kept.letters.pop(each, None) is not None for each in ids)

    def dead_letter_body(self, letter_id: str) -> Mapping[str, Any] | None:
        """See `Journal.dead_letter_body`."""
        with self._lock:
            self._refuse_if_closed()
            body = self._kept.letter_bodies.get(letter_id)
        return None if body is None else decode_record(body)

    def breaker(self, key: str) -> Breaker:
        """See `Journal.breaker`."""
        self._refuse_if_closed()
        return self._kept.breakers.get(key, CLOSED)

    def save_snapshot(self, name: str, body: Mapping[str, Any]) -> None:
        """Keep a document; see `Journal.save_snapshot`. A `TypeError` says that it or its name is not JSON."""
        payload, _ = encode(body), encode(name)
        with self._lock:
            self._refuse_if_closed()
            self._kept.snapshots[name] = payload

    def snapshots(self) -> Mapping[str, Mapping[str, Any]]:
        """See `Journal.snapshots`."""
        with self._lock:
            self._refuse_if_closed()
            kept = sorted(self._kept.snapshots.items())
        return {name: decode_record(body) for name, body in kept}

    def delete(self, run_id: str) -> bool:
        """Remove a run and the snapshot of that name; see `Journal.delete`."""
        with self._lock:
            self._refuse_if_closed()
            was_there = self._kept.delete(run_id)
            self._outputs.remove(run_id)
            return was_there

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
            latest_first = reversed(self._kept.runs.values())
            return sorted((run.row() for run in latest_first), key=lambda row: -row.summary.started_at)

    def definition(self, digest: str) -> bytes:
        """See `Journal.definition`."""
        self._refuse_if_closed()
        body = self._kept.definitions.get(digest)
        if body is None:
            raise StoreDamagedError(f"the store has no definition {digest!r}")
        return body

    def events(self, run_id: str, after: int = 0) -> Iterator[tuple[int, Event]]:
        """See `Journal.events`; what is appended later is not seen."""
        with self._lock:
            self._refuse_if_closed()
            batches = self._kept.find(run_id).batches
            start = max(bisect_right(batches, after + 1, key=lambda batch: batch[0]) - 1, 0)
            seen = batches[start:]
        return _decoded(run_id, seen, after)

    def checkpoint(self, run_id: str) -> Checkpoint | None:
        """See `Journal.checkpoint`."""
        with self._lock:
            self._refuse_if_closed()
            kept = self._kept.find(run_id).checkpoint
        return None if kept is None else decode_checkpoint(*kept, no_blob)

    def cached_definition(self, key: str) -> CachedDefinition | None:
        """See `Journal.cached_definition`."""
        with self._lock:
            self._refuse_if_closed()
            kept = self._kept.checked.get(key)
            return (
                None if kept is None else decode_definition(kept[0], self._kept.definitions[kept[0]], kept[1])
            )

    def deliveries(self, run_id: str, after: int = 0) -> list[Delivery]:
        """See `Journal.deliveries`."""
        with self._lock:
            self._refuse_if_closed()
            recorded = list(self._kept.find(run_id).deliveries)
        return [evolve(bare, record=decode_record(record)) for bare, record in recorded if bare.seq > after]

    def pending(
        self, run_id: str, hook: str | None = None, *, after: int = 0, limit: int | None = None
    ) -> list[PendingDelivery]:
        """See `Journal.pending`."""
        with self._lock:
            self._refuse_if_closed()
            kept = list(self._kept.find(run_id).outbox.values())
        meant = [each for each in kept if each[0].seq > after and hook in (None, each[0].hook)]
        meant.sort(key=lambda each: each[0].seq)
        return [evolve(bare, body=decode_record(body)) for bare, body in meant[:limit]]

    def pending_counts(self) -> Mapping[str, int]:
        """See `Journal.pending_counts`."""
        with self._lock:
            self._refuse_if_closed()
            return {run.run_id: len(run.outbox) for run in self._kept.runs.values() if run.outbox}

    def close(self) -> None:
        """Forget everything; idempotent."""
        with self._lock:
            self._is_closed = True
            self._kept = MemoryStore(self._clock)

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise StoreFailed("the store in memory is closed")


def _decoded(run_id: str, batches: Sequence[Batch], after: int) -> Iterator[tuple[int, Event]]:
    for first_seq, payload, blobs in batches:
        events = decode_events(payload, run_id, first_seq, blobs.__getitem__)
        for seq, event in enumerate(events, first_seq):
            if seq > after:
                yield seq, event
