"""The write-ahead log of one writing connection: emptied off the critical path, and kept at one size.

SQLite would checkpoint within the commit that crosses its limit, and make its caller wait. Here the writer asks once it has
acknowledged. A WAL that has been checkpointed to its end is written again from its beginning, so it keeps its size.
"""

from __future__ import annotations

import apsw

from actorflow.journal.driver import Database

#: what SQLite waits by itself for another process, before we look at the clock
BUSY_TIMEOUT_MS = 1_000

#: pages from which on a checkpoint is due: 2 MiB, some 200 commits of a chain
CHECKPOINT_PAGES = 500

#: where two processes write without a pause, no passive checkpoint comes to the end of the WAL: from here on one that
#: holds writers up, but waits for nobody longer than this
_OVERFULL_PAGES = 4 * CHECKPOINT_PAGES
_RESTART_PATIENCE_MS = 100

#: commits after which a connection is taken for a busy one, and its WAL grown to full size at once: a commit that
#: extends the file costs up to twice one that overwrites
_BUSY_COMMITS = 16
_FULL_BYTES = CHECKPOINT_PAGES * 4_200


class WalKeeper:
    """Knows how long the WAL is, from the connection's own commits, and what is due."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._pages = 0
        self._due_pages = CHECKPOINT_PAGES
        self._commit_count = 0
        self._is_grown = False
        self._flushes = True
        db.set_wal_hook(self._note)

    @property
    def is_due(self) -> bool:
        """Whether there is something to do."""
        if self._pages >= self._due_pages:
            return True
        return not self._is_grown and self._commit_count >= _BUSY_COMMITS

    def flush_at_commit(self, flushes: bool) -> None:
        """Say, outside of a transaction, whether commits flush the log; checkpoints flush it either way.

        A flush is of the whole log: of what anybody has committed without one, too.
        """
        if flushes is not self._flushes:
            self._db.pragma("synchronous", "FULL" if flushes else "NORMAL")
            self._flushes = flushes

    def tend(self) -> None:
        """Checkpoint, or grow the WAL to its size."""
        if self._pages >= self._due_pages:
            self._checkpoint()
        else:
            self._grow()

    def _note(self, _db: object, _name: str, pages: int) -> int:
        self._pages = pages
        self._commit_count += 1
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        is_overfull = self._pages >= _OVERFULL_PAGES
        mode = apsw.SQLITE_CHECKPOINT_RESTART if is_overfull else apsw.SQLITE_CHECKPOINT_PASSIVE
        self._is_grown = True
        self._db.set_busy_timeout(_RESTART_PATIENCE_MS)
        try:
            pages, done = self._db.wal_checkpoint(mode=mode)
        except apsw.BusyError:
            pages, done = self._pages, 0
        finally:
            self._db.set_busy_timeout(BUSY_TIMEOUT_MS)
        # a reader in the way: try again when there is more to gain, not at each commit
        self._due_pages = CHECKPOINT_PAGES if pages == done else pages + CHECKPOINT_PAGES // 4
        self._pages = 0

    def _grow(self) -> None:
        """Let a transaction that is rolled back spill over from a small cache: the file grows, the store does not."""
        self._is_grown = True
        self._db.pragma("cache_size", 10)
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("INSERT INTO definitions VALUES ('', zeroblob(?), x'')", (_FULL_BYTES,))
        self._db.execute("ROLLBACK")
        self._db.pragma("cache_size", -2_000)
