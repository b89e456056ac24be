"""How a run changes hands: from an owner that is dead, or is taken for it, to another.

Two transactions, so that something may be done in between: the first sees to it that the owner before cannot start anything
more, the second takes the run if it is still that owner's. Killed in between, a run is as dead an owner's as before, and
whoever claims it next begins again.
"""

from __future__ import annotations

from actorflow.errors import RunOwnedElsewhereError
from actorflow.journal.driver import Cursor
from actorflow.journal.inbox import last_request
from actorflow.journal.owners import LiveOwner, fence, find_live, sweep
from actorflow.journal.protocol import STALE_S
from actorflow.journal.records import UPDATE_RUN, HeldRun, RunRecord, existing_run, find_tail


def cut_off(cursor: Cursor, store: str, run_id: str, now: float, *, take_over: bool) -> int | None:
    """Fence the owner of a run off, inside a transaction, if it is dead or may be taken over; who it was, None: nobody.

    An owner whose lock is free is fenced too: its lock file may have been removed under its hands.

    Raises:
        RunNotFoundError: there is no such run.
        RunOwnedElsewhereError: the owner is alive.
    """
    record = existing_run(cursor, run_id)
    if record.owner is None:
        return None
    live = find_live(cursor, store, record.owner)
    if live is not None and not (take_over and live.silent_s(now) >= STALE_S):
        raise elsewhere(run_id, live, now)
    fence(cursor, record.owner)
    return record.owner


def take(cursor: Cursor, store: str, run_id: str, owner: int, before: int | None) -> HeldRun | None:
    """Make a run an owner's, inside a transaction; None: its owner is another one by now than the one `before`.

    Raises:
        RunNotFoundError: the run was deleted meanwhile.
        StoreDamagedError: the end of the run is missing.
    """
    record = existing_run(cursor, run_id)
    if record.owner not in (None, before):
        return None
    held = find_tail(cursor, record)
    held.last_request = last_request(cursor, record.run_id)
    held.record.owner = owner
    cursor.execute(UPDATE_RUN, (*held.record.columns(), held.record.key))
    sweep(cursor, store)
    return held


def refuse_if_live(cursor: Cursor, store: str, record: RunRecord, now: float) -> None:
    """See that nobody alive owns a run.

    Raises:
        RunOwnedElsewhereError: somebody does.
    """
    live = None if record.owner is None else find_live(cursor, store, record.owner)
    if live is not None:
        raise elsewhere(record.run_id, live, now)


def elsewhere(run_id: str, live: LiveOwner, now: float) -> RunOwnedElsewhereError:
    """What is told who wants a run of somebody alive."""
    return RunOwnedElsewhereError(run_id, pid=live.pid, heartbeat_age_s=live.silent_s(now))
