"""Ways to break what a store on a disk vouches for, as the process finds out that comes next."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import apsw
from attrs import evolve

from actorflow.journal import Answered, KeepDeadLetter, Outcome, RecordDeliveries, reading, sqlite
from actorflow.journal.json import line as json_line
from actorflow.journal.json import log as json_log
from actorflow.journal.json.line import Line
from actorflow.journal.mark import Mark
from actorflow.journal.owners import OwnerLock
from actorflow.journal.protocol import Write
from actorflow.journal.sqlite import SqliteJournal
from actorflow.journal.store import StoreFile
from actorflow.journal.transaction import Transaction
from actorflow.journal.wal import WalKeeper
from tests.mutants import journal_hunts as hunts
from tests.mutants.mutant import Mutant
from tests.mutants.switches import replaced

NO_WRITE: Final = Answered([])


class Whatever:
    """A checksum that is equal to any other."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


@contextmanager
def in_a_second_transaction(apart: Callable[[Write], tuple[Write, Write]]) -> Iterator[None]:
    """For a while, a part of each write is written after the rest."""
    commit = SqliteJournal.commit

    def commit_twice(journal: SqliteJournal, writes: Sequence[Write]) -> list[Outcome]:
        parts = [apart(write) for write in writes]
        outcomes = commit(journal, [first for first, _ in parts])
        commit(journal, [second for _, second in parts])
        return outcomes

    with replaced(SqliteJournal, "commit", commit_twice):
        yield


@contextmanager
def outbox_in_a_second_transaction() -> Iterator[None]:
    """What is settled and what is pending are written in two transactions."""

    def apart(write: Write) -> tuple[Write, Write]:
        if not isinstance(write, RecordDeliveries):
            return write, NO_WRITE
        return evolve(write, pending=()), evolve(write, deliveries=())

    with in_a_second_transaction(apart):
        yield


@contextmanager
def settled_without_its_cursor() -> Iterator[None]:
    """What is settled and the cursor behind it are written in two transactions."""

    def apart(write: Write) -> tuple[Write, Write]:
        if not isinstance(write, RecordDeliveries):
            return write, NO_WRITE
        return evolve(write, cursor=0), evolve(write, deliveries=(), pending=())

    with in_a_second_transaction(apart):
        yield


@contextmanager
def letter_in_a_second_transaction() -> Iterator[None]:
    """That a delivery was given up and its dead letter are written in two transactions."""

    def apart(write: Write) -> tuple[Write, Write]:
        return (NO_WRITE, write) if isinstance(write, KeepDeadLetter) else (write, NO_WRITE)

    with in_a_second_transaction(apart):
        yield


@contextmanager
def mark_not_written() -> Iterator[None]:
    """Nobody notes how far the store had come when something was acknowledged."""
    with replaced(Mark, "raise_to", lambda mark, batch: None):
        yield


@contextmanager
def chain_not_checked() -> Iterator[None]:
    """Events are read without a look at their checksums."""
    with replaced(reading, "seal_batch", lambda *facts: Whatever()):
        yield


@contextmanager
def chain_of_deliveries_not_checked() -> Iterator[None]:
    """Settled deliveries are read without a look at their checksums."""
    with replaced(reading, "seal_delivery", lambda *facts: Whatever()):
        yield


@contextmanager
def checkpoint_without_its_chain() -> Iterator[None]:
    """A checkpoint is believed, whatever history it is of."""
    with replaced(reading, "seal_checkpoint", lambda *facts: Whatever()):
        yield


@contextmanager
def large_values_in_memory() -> Iterator[None]:
    """Large outputs are kept by the process that has them, and not in the store."""
    with replaced(Transaction, "_keep_blobs", lambda transaction, run, blobs: None):
        yield


@contextmanager
def normal_for_full() -> Iterator[None]:
    """SQLite is told to flush at checkpoints of its log alone."""
    flush_at_commit = WalKeeper.flush_at_commit

    with replaced(WalKeeper, "flush_at_commit", lambda keeper, flush: flush_at_commit(keeper, False)):
        yield


@contextmanager
def flushed_if_all_ask() -> Iterator[None]:
    """A commit is flushed only where all of its writes ask for it."""
    with replaced(sqlite, "is_flushed", lambda writes: all(getattr(each, "flush", True) for each in writes)):
        yield


@contextmanager
def unflushed_vouched_for() -> Iterator[None]:
    """The mark is raised by commits that were not flushed."""
    commit = SqliteJournal._commit

    def commit_and_vouch(journal: SqliteJournal) -> None:
        commit(journal)
        journal._store.mark.raise_to(journal._batch)

    with replaced(SqliteJournal, "_commit", commit_and_vouch):
        yield


@contextmanager
def flush_error_swallowed() -> Iterator[None]:
    """A commit whose flush has failed is acknowledged."""
    commit = SqliteJournal._commit

    def commit_anyhow(journal: SqliteJournal) -> None:
        with suppress(apsw.IOError):
            commit(journal)

    with replaced(SqliteJournal, "_commit", commit_anyhow):
        yield


@contextmanager
def flush_tried_again() -> Iterator[None]:
    """A failed commit poisons nothing: the next one is tried as if it had not been."""
    fail = StoreFile.fail

    def fail_once(store: StoreFile, reason: object) -> Exception:
        error = fail(store, reason)
        store._failure = None
        return error

    def give_up(journal: SqliteJournal) -> None:
        with suppress(apsw.Error):
            journal._cursor.execute("ROLLBACK")

    guarded = SqliteJournal._guarded

    def guarded_once(journal: SqliteJournal, action: Callable[[], Any]) -> Any:
        give_up(journal)
        return guarded(journal, action)

    with replaced(StoreFile, "fail", fail_once), replaced(SqliteJournal, "_guarded", guarded_once):
        yield


@contextmanager
def json_flush_error_swallowed() -> Iterator[None]:
    """A commit to a folder of JSON whose flush has failed is acknowledged."""
    flush = json_log.flush

    def flush_anyhow(fd: int) -> None:
        with suppress(OSError):
            flush(fd)

    with replaced(json_log, "flush", flush_anyhow):
        yield


@contextmanager
def torn_line_believed() -> Iterator[None]:
    """Lines of a folder of JSON are read without a look at their checksums."""
    with replaced(json_line, "_sum", lambda previous, head: bytes(16)):
        yield


@contextmanager
def half_a_commit_believed() -> Iterator[None]:
    """A commit to a folder of JSON counts as soon as one of its lines is there."""
    read_lines = json_log.read_lines

    def read_as_whole(content: bytes, previous: bytes, start: int) -> tuple[list[Line], int | None]:
        lines, bad_at = read_lines(content, previous, start)
        return [evolve(line, parts=1) for line in lines], bad_at

    with replaced(json_log, "read_lines", read_as_whole):
        yield


@contextmanager
def removal_not_noticed() -> Iterator[None]:
    """A journal writes on into a file that nobody can find any more."""
    with replaced(StoreFile, "is_same_file", lambda store: True):
        yield


@contextmanager
def lock_inherited() -> Iterator[None]:
    """Children hold the lock of the owner that has started them."""
    lock = OwnerLock.__init__

    def lock_for_all(office: OwnerLock, store: str, owner: int) -> None:
        lock(office, store, owner)
        os.set_inheritable(office._fd, True)

    with replaced(OwnerLock, "__init__", lock_for_all):
        yield


JOURNAL: Final = {
    "outbox in a second transaction": Mutant(
        outbox_in_a_second_transaction, {hunts.WHOLE}, hunts.WHOLE_COMMITS
    ),
    "settled without its cursor": Mutant(settled_without_its_cursor, {hunts.WHOLE}, hunts.WHOLE_COMMITS),
    "dead letter in a second transaction": Mutant(
        letter_in_a_second_transaction, {hunts.WHOLE}, hunts.WHOLE_COMMITS
    ),
    "mark not written": Mutant(mark_not_written, {hunts.NOTHING_LOST}, hunts.LOST_TAIL),
    "chain not checked": Mutant(chain_not_checked, {hunts.AS_WRITTEN}, hunts.CHANGED_ROW),
    "chain of deliveries not checked": Mutant(
        chain_of_deliveries_not_checked, {hunts.AS_WRITTEN}, hunts.CHANGED_ROW
    ),
    "checkpoint believed without its chain": Mutant(
        checkpoint_without_its_chain, {hunts.CHECKPOINTS}, hunts.OTHER_CHECKPOINT
    ),
    "large outputs kept in memory": Mutant(large_values_in_memory, {hunts.OUTPUTS}, hunts.LARGE_OUTPUT),
    "NORMAL for FULL": Mutant(normal_for_full, {hunts.FLUSHED}, hunts.FLUSHES),
    "flushed if all writes ask for it": Mutant(flushed_if_all_ask, {hunts.FLUSHED}, hunts.FLUSHES),
    "mark raised by what was not flushed": Mutant(
        unflushed_vouched_for, {hunts.A_SUFFIX}, hunts.UNFLUSHED_TAIL
    ),
    "flush error swallowed": Mutant(flush_error_swallowed, {hunts.FAILED}, hunts.FAILED_FLUSH),
    "store used after a failure": Mutant(flush_tried_again, {hunts.FAILED}, hunts.FAILED_FLUSH),
    "flush error of json: swallowed": Mutant(
        json_flush_error_swallowed, {hunts.FAILED}, hunts.FAILED_FLUSH_OF_JSON
    ),
    "torn last line of json: believed": Mutant(torn_line_believed, {hunts.AS_WRITTEN}, hunts.TORN_LINE),
    "half a commit of json: believed": Mutant(half_a_commit_believed, {hunts.WHOLE}, hunts.HALF_A_COMMIT),
    "removed file written to": Mutant(removal_not_noticed, {hunts.FAILED}, hunts.REMOVED_FILE),
    "lock given to children": Mutant(lock_inherited, {hunts.DEAD}, hunts.CHILD),
}
