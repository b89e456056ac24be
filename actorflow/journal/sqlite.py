"""The journal in a SQLite file: what it has acknowledged outlives the process and, where disks honour flushes, the machine.

One connection writes, for one thread at a time; readers have their own (see `reading`). Every write transaction begins by
seeing that this owner was not fenced off, and ends in `_commit`: the one line where a crash before differs from a crash
after. What is written for no run of ours (a request, a snapshot, a removal) makes no owner of who writes it. What goes wrong in a transaction poisons the journal, because a row whose commit failed may be there all the same:
only a fresh process can tell.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from threading import RLock
from typing import Any, TypeVar

import apsw

from actorflow.core.breaker import Breaker
from actorflow.core.events import Event
from actorflow.errors import ActorflowError, RunOwnedElsewhereError, StoreFailed, StoreUnusableError
from actorflow.journal.care.examination import examine
from actorflow.journal.care.findings import Finding
from actorflow.journal.care.repair import Rebuilt, rebuild
from actorflow.journal.claims import cut_off, refuse_if_live, take
from actorflow.journal.inbox import Inbox, put_request
from actorflow.journal.letters import purge_letters
from actorflow.journal.migration import keep_copy
from actorflow.journal.output_log import FileOutputLog, OutputLog
from actorflow.journal.owners import OwnerLock, cookie_of, new_owner, register
from actorflow.journal.plain import encode, is_storable
from actorflow.journal.protocol import (
    CachedDefinition,
    Checkpoint,
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
from actorflow.journal.reading import StoreReader
from actorflow.journal.records import HeldRun, existing_run, find_run
from actorflow.journal.removal import remove_run
from actorflow.journal.snapshots import drop_snapshot, replace_snapshot
from actorflow.journal.store import PATIENCE_S, open_store, patiently
from actorflow.journal.transaction import Transaction, insert_no_events
from actorflow.journal.wal import WalKeeper

T = TypeVar("T")

#: a heartbeat is due every 10 s; it rides along with any commit once half of that has passed
_HEARTBEAT_S = 5.0


class SqliteJournal:
    """A `Journal` in a file, and an owner of runs for as long as it is open.

    Any thread may call anything; calls that write wait for each other. A journal must not be used across a fork.

    Args:
        path: of the database; it is made if it is not there, with its folders.
        vfs: the name of a SQLite VFS to go through.
        clock: the wall clock, in epoch seconds.

    Raises:
        StoreUnusableError: it cannot be opened or made.
        StoreDamagedError: it is not what was written to it.
    """

    def __init__(self, path: str, *, vfs: str | None = None, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = RLock()
        self._store, self._db = open_store(path, vfs, clock())
        self._cursor = self._db.cursor()
        self._wal = WalKeeper(self._db)
        self._reader = StoreReader(self._store, self._last_seq)
        self._outputs = FileOutputLog(f"{self._store.path}.logs")
        self._held: dict[str, HeldRun] = {}
        self._inbox = Inbox(self._cursor)
        self._owner = new_owner()
        self._office: OwnerLock | None = None  # taken with the first write: who only reads leaves no trace
        self._is_registered = False
        self._heartbeat_at = 0.0
        self._batch = 0  # the last that this transaction has written
        self._is_closed = False

    @property
    def is_durable(self) -> bool:
        """Always: `commit` writes to a disk."""
        return True

    @property
    def cookie(self) -> str:
        """Begins the cookie of every process that this owner starts; see `Journal.cookie`."""
        return cookie_of(self._store.path, self._owner)

    @property
    def outputs(self) -> OutputLog:
        """See `Journal.outputs`; a file for each run, in a folder beside the store."""
        return self._outputs

    @property
    def documents(self) -> None:
        """Nobody finds files here."""
        return

    def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        """Keep the writes, and say for each what stood in its way or what the answer is; see `Journal.commit`."""

        def keep(now: float) -> list[Outcome]:
            transaction = self._transaction(now)
            outcomes = [transaction.admit(write) for write in writes]
            self._batch = transaction.execute()
            return outcomes

        return self._guarded(lambda: self._transact(self._enter_office, keep, flush=is_flushed(writes)))

    def claim(
        self, run_id: str, *, take_over: bool = False, end_survivors: Callable[[str], None] | None = None
    ) -> RunRow:
        """Become the owner of a run; see `Journal.claim`."""
        path = self._store.path

        def fence_off(now: float) -> int | None:
            if run_id in self._held:
                return self._owner
            return cut_off(self._cursor, path, run_id, now, take_over=take_over)

        def take_on(_now: float) -> HeldRun | None:
            held = self._held.get(run_id) or take(self._cursor, path, run_id, self._owner, before)
            if held is not None:
                self._held[run_id] = held
                self._inbox.look_anew()
            return held

        held: HeldRun | None = None
        while held is None:
            before = self._write(fence_off)
            if before not in (None, self._owner) and end_survivors is not None:
                end_survivors(f"{cookie_of(path, before)}{run_id}/")
            held = self._write(take_on)
        return held.record.row(os.getpid())

    def post(self, run_id: str, kind: RequestKind, body: Mapping[str, Any]) -> int:
        """Ask something of a run; see `Journal.post`. A `TypeError` says that the body is not JSON."""
        payload = encode(body)

        def put(now: float) -> int:
            record = existing_run(self._cursor, run_id)
            self._inbox.look_anew()
            self._mark(now)
            return put_request(self._cursor, record.run_id, kind, payload, now)

        return self._write_unowned(put)

    def requests(self) -> list[Request]:
        """What is asked of our runs; see `Journal.requests`."""
        return self._guarded(self._look)

    def purge_dead_letters(self, ids: Sequence[str]) -> int:
        """Forget dead letters; see `Journal.purge_dead_letters`."""
        possible = [each for each in ids if is_storable(each)]

        def purge(now: float) -> int:
            count = purge_letters(self._cursor, possible)
            if count:
                self._mark(now)
            return count

        return self._write_unowned(purge)

    def save_snapshot(self, name: str, body: Mapping[str, Any]) -> None:
        """Keep a document; see `Journal.save_snapshot`. A `TypeError` says that it or its name is not JSON."""
        payload, _ = encode(body), encode(name)

        def save(now: float) -> None:
            replace_snapshot(self._cursor, name, payload)
            self._mark(now)

        self._write_unowned(save)

    def delete(self, run_id: str) -> bool:
        """Remove a run and the snapshot of that name; see `Journal.delete`."""

        def remove(now: float) -> bool:
            if run_id in self._held:
                raise RunOwnedElsewhereError(run_id, pid=os.getpid())
            record = find_run(self._cursor, run_id)
            if record is not None:
                refuse_if_live(self._cursor, self._store.path, record, now)
                self._mark(now)
                remove_run(self._cursor, self._store.path, record)
            has_dropped = is_storable(run_id) and drop_snapshot(self._cursor, run_id)
            if has_dropped and record is None:
                self._mark(now)
            return has_dropped or record is not None

        was_there = self._write_unowned(remove)
        self._outputs.remove(run_id)
        return was_there

    def examine(self) -> Iterator[Finding]:
        """Look at the file, and at what SQLite and the tables say of themselves; reads only."""
        yield from examine(self._store, self._clock())

    def repair(self, wanted: Rebuilt) -> list[str]:
        """Rebuild what is derived from events, once a copy of the store is kept; what was done, in words.

        Raises:
            StoreUnusableError: there is no room for the copy; nothing is changed.
        """
        copy = f"{self._store.path}.{time.strftime('%y%m%d-%H%M%S', time.localtime(self._clock()))}.bak"
        try:
            keep_copy(self._db, copy)
        except (apsw.Error, OSError) as error:
            raise StoreUnusableError(f"cannot keep a copy of the store as {copy}: {error}") from error

        def mend(now: float) -> list[str]:
            self._mark(now)
            return rebuild(self._cursor, self._store.path, wanted)

        return [f"a copy of the store as it was is {copy}", *self._write_unowned(mend)]

    def heartbeat(self) -> None:
        """Say that this owner is alive, if no commit has said so in the last 5 s."""
        self._store.refuse_if_failed()
        if self._is_registered and self._is_heartbeat_due(self._clock()):
            self._write(lambda _now: None)

    def maintain(self) -> None:
        """Empty the WAL into the database when it is long; see `Journal.maintain`.

        An error poisons the journal: after a flush that failed, no later one can be trusted.
        """
        self._store.refuse_if_failed()
        if self._wal.is_due:
            self._guarded(self._wal.tend)

    def find(self, prefix: str) -> RunRow:
        """See `Journal.find`."""
        return self._reader.find(prefix)

    def runs(self) -> list[RunRow]:
        """See `Journal.runs`."""
        return self._reader.runs()

    def definition(self, digest: str) -> bytes:
        """See `Journal.definition`."""
        return self._reader.definition(digest)

    def events(self, run_id: str, after: int = 0) -> Iterator[tuple[int, Event]]:
        """See `Journal.events`; what is appended meanwhile may be seen or not."""
        return self._reader.events(run_id, after)

    def checkpoint(self, run_id: str) -> Checkpoint | None:
        """See `Journal.checkpoint`."""
        return self._reader.checkpoint(run_id)

    def cached_definition(self, key: str) -> CachedDefinition | None:
        """See `Journal.cached_definition`."""
        return self._reader.cached_definition(key)

    def deliveries(self, run_id: str, after: int = 0) -> list[Delivery]:
        """See `Journal.deliveries`."""
        return self._reader.deliveries(run_id, after)

    def pending(
        self, run_id: str, hook: str | None = None, *, after: int = 0, limit: int | None = None
    ) -> list[PendingDelivery]:
        """See `Journal.pending`."""
        return self._reader.pending(run_id, hook, after, limit)

    def pending_counts(self) -> Mapping[str, int]:
        """See `Journal.pending_counts`."""
        return self._reader.pending_counts()

    def dead_letter_body(self, letter_id: str) -> Mapping[str, Any] | None:
        """See `Journal.dead_letter_body`."""
        return self._reader.dead_letter_body(letter_id)

    def is_asked(self, request: int) -> bool:
        """See `Journal.is_asked`."""
        return self._reader.is_asked(request)

    def dead_letters(self) -> list[DeadLetter]:
        """See `Journal.dead_letters`."""
        return self._reader.dead_letters()

    def breaker(self, key: str) -> Breaker:
        """See `Journal.breaker`."""
        return self._reader.breaker(key)

    def snapshots(self) -> Mapping[str, Mapping[str, Any]]:
        """See `Journal.snapshots`."""
        return self._reader.snapshots()

    def close(self) -> None:
        """Release what is owned and close; a store that has failed is only let go of.

        Raises nothing: an owner that could not retire is a dead one to everybody else, and that is safe.
        """
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            with suppress(StoreFailed):
                self._retire()
            if self._office is not None:
                self._office.abandon() if self._is_registered else self._office.remove()
            if not self._store.has_failed and self._store.is_same_file():
                # the last to leave empties the log and deletes it, by its name
                self._db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
            self._store.end()
            self._reader.close()
            self._let_go()

    def abandon(self) -> None:
        """Let go of the store as the end of the process would: what is owned stays so, for whoever finds it."""
        with self._lock:
            self._store.fail("its process is no more")
            self.close()

    def _commit(self) -> None:
        """The crash point: before it nothing of the transaction is kept, after it all of it is."""
        self._cursor.execute("COMMIT")

    def _guarded(self, action: Callable[[], T]) -> T:
        """Do something with the writing connection; what is not raised on purpose poisons the journal."""
        with self._lock:
            self._store.refuse_if_failed()
            try:
                return action()
            except ActorflowError:
                raise
            except Exception as error:
                raise self._store.fail(error) from error
            except BaseException:
                self._store.fail("a write was interrupted")
                raise
            finally:
                if self._store.has_failed:
                    # an open transaction would keep other processes out; its end writes nothing, it is undone in memory
                    self._let_go()

    def _let_go(self) -> None:
        """Close the writing connection; what is committed is in the log, even if the log cannot be emptied now."""
        with suppress(apsw.Error):
            self._db.close(True)

    def _write(self, body: Callable[[float], T]) -> T:
        """Do something as an owner, in one write transaction; it is told the time."""
        return self._guarded(lambda: self._transact(self._enter_office, body))

    def _write_unowned(self, body: Callable[[float], T]) -> T:
        """The same as whoever we are: it makes no owner of us."""
        return self._guarded(lambda: self._transact(self._stay_outside, body))

    def _transact(
        self, enter: Callable[[float], bool], body: Callable[[float], T], *, flush: bool = True
    ) -> T:
        now = self._clock()
        self._batch = 0
        flush = flush or self._is_heartbeat_due(now)  # a power cut takes no more along than was since
        self._wal.flush_at_commit(flush)
        self._begin()
        is_beat = enter(now)
        try:
            result = body(now)
        except ActorflowError:
            self._cursor.execute("ROLLBACK")
            raise
        self._commit()
        self._store.check_same_file()
        if flush:
            self._store.mark.raise_to(self._batch)
        if is_beat:
            self._is_registered = True
            self._heartbeat_at = now
        return result

    def _begin(self) -> None:
        try:
            patiently(lambda: self._cursor.execute("BEGIN IMMEDIATE"))
        except apsw.BusyError as error:
            raise self._store.fail(f"another process has kept it locked for {PATIENCE_S:.0f} s") from error

    def _enter_office(self, now: float) -> bool:
        """See, inside a transaction, that this owner may write; whether a heartbeat was written."""
        if self._office is None:
            self._office = OwnerLock(self._store.path, self._owner)
        if not self._is_registered:
            register(self._cursor, self._store.path, self._owner, now)
            return True
        self._refuse_if_fenced()
        is_due = self._is_heartbeat_due(now)
        if is_due:
            self._cursor.execute("UPDATE owners SET heartbeat_at = ? WHERE id = ?", (now, self._owner))
        return is_due

    def _stay_outside(self, _now: float) -> bool:
        """See, inside a transaction, that we may write, if we are an owner at all; no heartbeat is written."""
        if self._is_registered:
            self._refuse_if_fenced()
        return False

    def _refuse_if_fenced(self) -> None:
        if self._cursor.execute("SELECT fenced FROM owners WHERE id = ?", (self._owner,)).get != 0:
            raise self._store.fail_fenced()

    def _look(self) -> list[Request]:
        if not self._is_registered:
            return []  # and own nothing
        if self._inbox.is_outdated():
            patiently(self._refuse_if_fenced)
            self._inbox.read(self._owner)
        return self._inbox.of(self._held)

    def _transaction(self, now: float) -> Transaction:
        owner, store = self._owner, self._store.path
        return Transaction(self._db, self._cursor, self._held, self._inbox, owner=owner, store=store, at=now)

    def _mark(self, now: float) -> None:
        """Give a transaction without a batch one, for the mark to be raised to."""
        self._batch = insert_no_events(self._db, self._cursor, now)

    def _retire(self) -> None:
        """Release every run and remove the owner's row."""

        def leave(now: float) -> None:
            transaction = self._transaction(now)
            for run_id in list(self._held):
                transaction.admit(Release(run_id))
            self._batch = transaction.execute()
            self._cursor.execute("DELETE FROM owners WHERE id = ?", (self._owner,))

        if self._is_registered:
            self._write(leave)
            self._is_registered = False

    def _is_heartbeat_due(self, now: float) -> bool:
        """Also when the clock was set back."""
        return abs(now - self._heartbeat_at) >= _HEARTBEAT_S

    def _last_seq(self, run_id: str) -> int | None:
        """A number that a run of ours has reached for certain: while a commit is under way, nobody waits to hear more."""
        held = self._held.get(run_id)
        if held is None:
            return None
        if not self._lock.acquire(blocking=False):
            return 0
        try:
            return held.record.last_seq
        finally:
            self._lock.release()
