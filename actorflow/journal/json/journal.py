"""The journal in a folder of JSON lines: the rules of the one in memory, and each commit kept in files before it is told.

One process at a time writes: who owns a run has the lock of the folder, and gives it back with its last run. Everybody else
reads, follows what is written, and may leave requests in the inbox and snapshots of their own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Any, Final, TypeVar

from attrs import evolve

from actorflow.core.breaker import Breaker
from actorflow.core.events import Event
from actorflow.errors import ActorflowError, RunOwnedElsewhereError, StoreFailed, StoreUnusableError
from actorflow.journal.files import make_folder
from actorflow.journal.json.documents import JsonSnapshots, RunDocuments
from actorflow.journal.json.facts import FORMAT, STORE, Recorder
from actorflow.journal.json.inbox import JsonInbox
from actorflow.journal.json.lock import Holder, StoreLock
from actorflow.journal.json.names import INBOX, LOCK_FILE, LOGS, STATES
from actorflow.journal.json.view import JsonView
from actorflow.journal.memory import MemoryJournal
from actorflow.journal.output_log import FileOutputLog
from actorflow.journal.owners import cookie_of, new_owner
from actorflow.journal.plain import encode, is_storable
from actorflow.journal.protocol import (
    Answered,
    CachedDefinition,
    Checkpoint,
    CreateRun,
    DeadLetter,
    Delivery,
    Outcome,
    PendingDelivery,
    Release,
    Request,
    RequestKind,
    RunRow,
    Write,
    is_flushed,
)

T = TypeVar("T")

PATIENCE_S: Final = 1.0
"""How long another process may be at work in the folder before that is an error."""


class JsonJournal:
    """A `Journal` in a folder, and an owner of runs for as long as it is open.

    Any thread may call anything; calls wait for each other. A journal must not be used across a fork.

    Args:
        path: of the folder; it is made if it is not there.
        clock: the wall clock, in epoch seconds.
        patience_s: how long to wait for the lock of the folder.

    Raises:
        StoreUnusableError: it cannot be opened or made, or a later version has written it.
        StoreDamagedError: it is not what was written to it.
    """

    def __init__(
        self, path: str, *, clock: Callable[[], float] = time.time, patience_s: float = PATIENCE_S
    ) -> None:
        self._clock = clock
        self._patience_s = patience_s
        self._lock = RLock()
        self._root = root = Path(os.path.realpath(path))
        self._owner = new_owner()
        self._office = StoreLock(root / LOCK_FILE, self._owner)
        self._held: set[str] = set()  #: runs that are ours, or are about to be
        self._inbox = JsonInbox(root / INBOX)
        self._snapshots = JsonSnapshots(root / STATES)
        self._outputs = FileOutputLog(str(root / LOGS))
        self._failure: str | None = None
        try:
            make_folder(root)
            self._view = JsonView(root, clock, lambda: self._office.holder() is None)
        except OSError as error:
            raise StoreUnusableError(f"cannot open the store {root}: {error}") from error

    @property
    def is_durable(self) -> bool:
        """Always: `commit` writes to a disk."""
        return True

    @property
    def cookie(self) -> str:
        """Begins the cookie of every process that this owner starts; see `Journal.cookie`."""
        return cookie_of(str(self._root), self._owner)

    @property
    def outputs(self) -> FileOutputLog:
        """A file for each run."""
        return self._outputs

    @property
    def documents(self) -> RunDocuments:
        """Where the states of runs are written for people."""
        return RunDocuments(self._root)

    def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        """Keep the writes, and say for each what stood in its way or what the answer is; see `Journal.commit`.

        Raises:
            StoreBusyError: another process writes to the store.
        """
        answered = [number for write in writes if isinstance(write, Answered) for number in write.requests]
        with self._lock:
            if not self._office.is_held and all(isinstance(write, Answered) for write in writes):
                # who has asked takes it back, whoever writes
                self._asked(lambda _: self._inbox.drop(answered))
                return [None] * len(writes)
            with self._recording(flush=is_flushed(writes)) as recorder:
                outcomes = [recorder.admit(write) for write in writes]
                self._note_held(writes, outcomes)
            with suppress(OSError):  # they count as answered, there or not
                self._inbox.drop(answered)
            return outcomes

    def claim(
        self, run_id: str, *, take_over: bool = False, end_survivors: Callable[[str], None] | None = None
    ) -> RunRow:
        """Become the owner of a run; see `Journal.claim`.

        Raises:
            StoreBusyError: another process writes to the store; also one that is stopped: it cannot be fenced off.
        """
        with self._lock:
            before = self._take_office_for(run_id, take_over=take_over)
        try:
            if before not in (None, self._owner) and end_survivors is not None:
                end_survivors(f"{cookie_of(str(self._root), before)}{run_id}/")
            with self._recording() as recorder:
                row = self._memory.claim(run_id)
                if before != self._owner:
                    self._view.kept.store.runs[run_id].last_request = self._last_request(run_id)
                    self._view.kept.owners[run_id] = self._owner
                    recorder.note(run_id, ("owner", self._owner))
                return row
        except BaseException:
            with self._lock:
                if not self._view.kept.store.is_owned(run_id):
                    self._held.discard(run_id)
                self._leave_office()
            raise

    def post(self, run_id: str, kind: RequestKind, body: Mapping[str, Any]) -> int:
        """Ask something of a run; see `Journal.post`. A `TypeError` says that the body is not JSON."""
        payload = encode(body)

        def put(_: MemoryJournal) -> int:
            kept = self._view.kept
            kept.store.find(run_id)
            return self._inbox.put(run_id, kind, payload, self._clock(), kept.answered)

        return self._asked(put)

    def requests(self) -> list[Request]:
        """What is asked of our runs; see `Journal.requests`."""
        with self._lock:
            self._refuse_if_failed()
            if not self._held:
                return []
            self._refuse_if_lost()
            runs, answered = self._view.kept.store.runs, self._view.kept.answered
            return [
                evolve(each, is_older=each.id <= runs[each.run_id].last_request)
                for each in self._inbox.requests()
                if each.run_id in self._held and each.id not in answered
            ]

    def is_asked(self, request: int) -> bool:
        """See `Journal.is_asked`."""
        return self._asked(lambda _: self._inbox.has(request) and request not in self._view.kept.answered)

    def purge_dead_letters(self, ids: Sequence[str]) -> int:
        """Forget dead letters; see `Journal.purge_dead_letters`."""
        with self._recording() as recorder:
            known = [each for each in ids if each in self._view.kept.store.letters]
            if known:
                recorder.note(STORE, ("purged", known))
            return self._memory.purge_dead_letters(known)

    def save_snapshot(self, name: str, body: Mapping[str, Any]) -> None:
        """Keep a document; see `Journal.save_snapshot`. A `TypeError` says that it or its name is not JSON."""
        payload, _ = encode(body), encode(name)
        self._asked(lambda _: self._snapshots.save(name, payload))

    def snapshots(self) -> Mapping[str, Mapping[str, Any]]:
        """See `Journal.snapshots`."""
        return self._asked(lambda _: self._snapshots.all())

    def delete(self, run_id: str) -> bool:
        """Remove a run and the snapshot of that name; see `Journal.delete`.

        Raises:
            StoreBusyError: another process writes to the store.
        """
        if not is_storable(run_id):
            return False
        with self._lock:
            has_run = self._asked(lambda _: run_id in self._view.kept.store.runs)
            if not has_run:
                return self._asked(lambda _: self._snapshots.remove(run_id))
            self._refuse_if_live(run_id)
            with self._recording() as recorder:
                self._remove(run_id, recorder)
            with suppress(OSError):  # who writes next removes what is left
                self._view.folder.remove(run_id)
                self._inbox.drop(self._view.kept.answered)
            self._outputs.remove(run_id)
        return True

    def heartbeat(self) -> None:
        """Say that this owner is alive, if it has the store; a power cut takes no more along than was since."""
        with self._lock:
            self._refuse_if_failed()
            if self._office.is_held:
                with self._recording():
                    self._office.beat(self._clock())
                    self._view.folder.flush()

    def maintain(self) -> None:
        """Nothing to do."""
        self._refuse_if_failed()

    def find(self, prefix: str) -> RunRow:
        """See `Journal.find`."""
        return self._asked(lambda memory: self._with_owners([memory.find(prefix)])[0])

    def runs(self) -> list[RunRow]:
        """See `Journal.runs`."""
        return self._asked(lambda memory: self._with_owners(memory.runs()))

    def definition(self, digest: str) -> bytes:
        """See `Journal.definition`."""
        return self._asked(lambda memory: memory.definition(digest))

    def events(self, run_id: str, after: int = 0) -> Iterator[tuple[int, Event]]:
        """See `Journal.events`; what is appended later is not seen."""
        return self._asked(lambda memory: memory.events(run_id, after))

    def checkpoint(self, run_id: str) -> Checkpoint | None:
        """See `Journal.checkpoint`."""
        return self._asked(lambda memory: memory.checkpoint(run_id))

    def cached_definition(self, key: str) -> CachedDefinition | None:
        """See `Journal.cached_definition`."""
        return self._asked(lambda memory: memory.cached_definition(key))

    def deliveries(self, run_id: str, after: int = 0) -> list[Delivery]:
        """See `Journal.deliveries`."""
        return self._asked(lambda memory: memory.deliveries(run_id, after))

    def pending(
        self, run_id: str, hook: str | None = None, *, after: int = 0, limit: int | None = None
    ) -> list[PendingDelivery]:
        """See `Journal.pending`."""
        return self._asked(lambda memory: memory.pending(run_id, hook, after=after, limit=limit))

    def pending_counts(self) -> Mapping[str, int]:
        """See `Journal.pending_counts`."""
        return self._asked(lambda memory: memory.pending_counts())

    def dead_letters(self) -> list[DeadLetter]:
        """See `Journal.dead_letters`."""
        return self._asked(lambda memory: memory.dead_letters())

    def dead_letter_body(self, letter_id: str) -> Mapping[str, Any] | None:
        """See `Journal.dead_letter_body`."""
        return self._asked(lambda memory: memory.dead_letter_body(letter_id))

    def breaker(self, key: str) -> Breaker:
        """See `Journal.breaker`."""
        return self._asked(lambda memory: memory.breaker(key))

    def close(self) -> None:
        """Release what is owned and let go of the folder; a store that has failed is only let go of."""
        with self._lock:
            if self._failure is None:
                with suppress(StoreFailed):
                    if self._held:
                        self.commit([Release(each) for each in sorted(self._held)])
                self._failure = f"the store {self._root} is closed"
            self._held.clear()
            self._view.folder.close()
            self._office.give_back()

    @property
    def _memory(self) -> MemoryJournal:
        return self._view.memory

    def _asked(self, question: Callable[[MemoryJournal], T]) -> T:
        """Ask what is kept, as it is by now."""
        with self._lock:
            self._refuse_if_failed()
            try:
                if not self._office.is_held:
                    self._view.refresh()
                return question(self._memory)
            except OSError as error:
                raise StoreFailed(f"the store {self._root} cannot be read or written: {error}") from error

    @contextmanager
    def _recording(self, *, flush: bool = True) -> Generator[Recorder]:
        """Take writes in, and keep what comes of them in the files."""
        with self._lock:
            self._refuse_if_failed()
            try:
                self._enter_office()
                recorder = Recorder(self._view.kept, self._owner)
                yield recorder
                if recorder.parts:
                    self._append(recorder, is_flushed=flush)
                self._leave_office()
            except ActorflowError:
                self._leave_office()
                raise
            except BaseException as error:
                self._fail(error)
                if isinstance(error, Exception):
                    raise StoreFailed(self._failure) from error
                raise

    def _append(self, recorder: Recorder, *, is_flushed: bool) -> None:
        """The crash point: what is not in all of its files afterwards was never written."""
        self._refuse_if_lost()
        self._view.folder.append(recorder.parts, is_flushed=is_flushed)

    def _enter_office(self) -> None:
        """Have the store for ourselves, and know all that it says."""
        if self._office.is_held:
            return
        self._office.take(self._clock(), self._patience_s)
        view = self._view
        view.catch_up()
        view.folder.cut_tail()
        if not view.folder.commit:
            view.folder.append({STORE: [("store", FORMAT)]})
        self._inbox.drop(view.kept.answered)

    def _leave_office(self) -> None:
        """Let others have the store, unless we own anything."""
        if not self._held:
            self._office.give_back()

    def _note_held(self, writes: Sequence[Write], outcomes: Sequence[Outcome]) -> None:
        for write, outcome in zip(writes, outcomes, strict=True):
            if outcome is not None:
                continue
            match write:
                case CreateRun():
                    self._held.add(write.run_id)
                case Release():
                    self._held.discard(write.run_id)
                case _:
                    pass

    def _take_office_for(self, run_id: str, *, take_over: bool) -> int | None:
        """Have the store for ourselves to claim a run; the number of its owner, None: nobody."""
        self._asked(lambda _: self._view.kept.store.find(run_id))
        if not take_over:
            self._refuse_if_live(run_id)
        with self._recording():
            self._view.kept.store.find(run_id)  # it may have gone meanwhile
            self._held.add(run_id)
        return self._view.kept.owners.get(run_id)

    def _refuse_if_live(self, run_id: str) -> None:
        """See that no other process owns a run.

        Raises:
            RunOwnedElsewhereError: one does.
        """
        holder = self._office.holder()
        if holder is not None and holder.owner == self._view.kept.owners.get(run_id):
            age_s = holder.live.silent_s(self._clock())
            raise RunOwnedElsewhereError(run_id, pid=holder.live.pid, heartbeat_age_s=age_s)

    def _last_request(self, run_id: str) -> int:
        return max((each.id for each in self._inbox.requests() if each.run_id == run_id), default=0)

    def _remove(self, run_id: str, recorder: Recorder) -> None:
        kept = self._view.kept
        kept.store.delete(run_id)
        self._snapshots.remove(run_id)
        commits = self._view.folder.commits_of(run_id)
        asked = [each.id for each in self._inbox.requests() if each.run_id == run_id]
        recorder.note(STORE, ("removed", run_id, commits))
        if asked:
            recorder.note(STORE, ("answered", asked))
        kept.owners.pop(run_id, None)
        kept.answered.update(asked)

    def _with_owners(self, rows: Sequence[RunRow]) -> list[RunRow]:
        """Rows as they are known, with who else has them."""
        owners, holder = self._view.kept.owners, self._office.holder()
        return list(rows) if holder is None else [_owned(row, owners, holder) for row in rows]

    def _refuse_if_failed(self) -> None:
        if self._failure is not None:
            raise StoreFailed(self._failure)

    def _refuse_if_lost(self) -> None:
        """See that the folder is still ours: it may have been removed, or moved, under our hands."""
        if not self._office.is_same_file():
            self._fail("its folder was moved or removed")
            self._refuse_if_failed()

    def _fail(self, reason: object) -> None:
        self._failure = (
            f"the store {self._root} failed: {reason}; what was acknowledged is safe, and this process cannot use the "
            "store any more"
        )
        self._view.folder.close()
        self._office.give_back()


def _owned(row: RunRow, owners: Mapping[str, int], holder: Holder) -> RunRow:
    if owners.get(row.run_id) != holder.owner:
        return row
    return evolve(row, owner_pid=holder.live.pid, heartbeat_at=holder.live.heartbeat_at)
