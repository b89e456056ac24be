"""The journal in a SQLite file: what it has acknowledged outlives the process and, where disks honour flushes, the machine.

One connection writes, for one thread at a time; readers have their own (see `reading`). Every write transaction begins by
seeing that this owner was not fenced off, and ends in `_commit`: the one line where a crash before differs from a crash
after. What goes wrong in a transaction poisons the journal, because a row whose commit failed may be there all the same:
only a fresh process can tell.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from threading import RLock
from typing import TypeVar

import apsw

from actorflow.core.events import Event
from actorflow.errors import ActorflowError, RunNotFoundError, RunOwnedElsewhereError, StoreFailed
from actorflow.journal.admission import nearest
from actorflow.journal.owners import OwnerLock, is_alive, register, sweep
from actorflow.journal.protocol import CachedDefinition, Checkpoint, Delivery, Release, RunRow, Write
from actorflow.journal.reading import StoreReader
from actorflow.journal.records import UPDATE_RUN, HeldRun, RunRecord, all_runs, find_run, find_tail
from actorflow.journal.store import PATIENCE_S, open_store, patiently
from actorflow.journal.transaction import Transaction
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
        self._held: dict[str, HeldRun] = {}
        self._office: OwnerLock | None = None  # taken with the first write: who only reads leaves no trace
        self._is_registered = False
        self._heartbeat_at = 0.0
        self._batch = 0  # the last that was written
        self._is_closed = False

    @property
    def is_durable(self) -> bool:
        """Always: `commit` flushes."""
        return True

    def commit(self, writes: Sequence[Write]) -> list[Exception | None]:
        """Keep the writes, and say for each what stood in its way; see `Journal.commit`."""

        def keep(owner: int, now: float) -> list[Exception | None]:
            transaction = Transaction(self._db, self._cursor, self._held, owner, now)
            outcomes = [transaction.admit(write) for write in writes]
            self._batch = transaction.execute()
            return outcomes

        return self._write(keep)

    def claim(self, run_id: str) -> RunRow:
        """Become the owner of a run; see `Journal.claim`."""

        def take(owner: int, now: float) -> HeldRun:
            held = self._held.get(run_id)
            if held is None:
                held = find_tail(self._cursor, self._claimable(run_id, now))
                held.record.owner = owner
                self._cursor.execute(UPDATE_RUN, (*held.record.columns(), held.record.key))
                sweep(self._cursor, self._store.path)
                self._held[run_id] = held
            return held

        return self._write(take).record.row(os.getpid())

    def heartbeat(self) -> None:
        """Say that this owner is alive, if no commit has said so in the last 5 s."""
        self._store.refuse_if_failed()
        if self._is_registered and self._is_heartbeat_due(self._clock()):
            self._write(lambda _owner, _now: None)

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

    def deliveries(self, run_id: str) -> list[Delivery]:
        """See `Journal.deliveries`."""
        return self._reader.deliveries(run_id)

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

    def _write(self, body: Callable[[int, float], T]) -> T:
        """Do something in one write transaction; it is told our number as an owner, and the time."""
        return self._guarded(lambda: self._transact(body))

    def _transact(self, body: Callable[[int, float], T]) -> T:
        now = self._clock()
        self._begin()
        owner, is_beat = self._enter_office(now)
        try:
            result = body(owner, now)
        except ActorflowError:
            self._cursor.execute("ROLLBACK")
            raise
        self._commit()
        self._store.check_same_file()
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

    def _enter_office(self, now: float) -> tuple[int, bool]:
        """See, inside a transaction, that this owner may write; its number, and whether a heartbeat was written."""
        if self._office is None:
            self._office = OwnerLock(self._store.path)
        owner = self._office.owner
        if not self._is_registered:
            register(self._cursor, self._store.path, owner, now)
            return owner, True
        if self._cursor.execute("SELECT fenced FROM owners WHERE id = ?", (owner,)).get != 0:
            raise self._store.fail("another process has taken over the runs of this one")
        is_due = self._is_heartbeat_due(now)
        if is_due:
            self._cursor.execute("UPDATE owners SET heartbeat_at = ? WHERE id = ?", (now, owner))
        return owner, is_due

    def _claimable(self, run_id: str, now: float) -> RunRecord:
        """The run, once it is known that nobody alive owns it; its dead owner is fenced off, should it not be dead."""
        cursor = self._cursor
        record = find_run(cursor, run_id)
        if record is None:
            known = [run.run_id for run in all_runs(cursor)]
            raise RunNotFoundError(run_id, nearest=nearest(run_id, known))
        if record.owner is not None:
            found = cursor.execute(
                "SELECT pid, heartbeat_at FROM owners WHERE id = ?", (record.owner,)
            ).fetchall()
            for pid, heartbeat_at in found:
                if is_alive(self._store.path, record.owner):
                    raise RunOwnedElsewhereError(
                        run_id, pid=pid, heartbeat_age_s=max(now - heartbeat_at, 0.0)
                    )
            cursor.execute("UPDATE owners SET fenced = 1 WHERE id = ?", (record.owner,))
        return record

    def _retire(self) -> None:
        """Release every run and remove the owner's row."""

        def leave(owner: int, now: float) -> None:
            transaction = Transaction(self._db, self._cursor, self._held, owner, now)
            for run_id in list(self._held):
                transaction.admit(Release(run_id))
            self._batch = transaction.execute()
            self._cursor.execute("DELETE FROM owners WHERE id = ?", (owner,))

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
