"""What the journal says of deliveries that are not settled, for who asks without delivering anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from actorflow.core.owed import Functions, functions_of, owed_paths
from actorflow.core.plan import Plan
from actorflow.core.state import RunState
from actorflow.hooks.opening import folded_to
from actorflow.journal.protocol import Journal, PendingDelivery, RunRow

__all__ = ["pending_documents", "unsettled_count"]


def unsettled_count(journal: Journal, row: RunRow, plan: Plan) -> int:
    """How many deliveries of a run are not settled: those with rows, and those that events behind its cursor owe.

    Reads the run from its last checkpoint, or whole, unless its cursor is at its end; blocks.
    """
    row_count = journal.pending_counts().get(row.run_id, 0)
    if row.cursor >= row.last_seq:
        return row_count
    row_count -= len(journal.pending(row.run_id, after=row.cursor))
    settled = {one.delivery_id for one in journal.deliveries(row.run_id, row.cursor)}
    return row_count + _owed_count(journal, row, folded_to(journal, row.run_id, plan, row.cursor), settled)


def pending_documents(rows: Iterable[PendingDelivery]) -> Sequence[Mapping[str, Any]]:
    """Pending deliveries as JSON for people and programs: what was tried, when the next try is due, why one is held."""
    return [
        {
            "delivery_id": row.delivery_id,
            "hook": row.hook,
            "seq": row.seq,
            "event": row.body["context"]["event"],
            "due_at": row.due_at,
            "try_count": row.body["counts"][0],
            "tries": row.body["tries"],
            "reason": row.body.get("reason", ""),
        }
        for row in rows
    ]


def _owed_count(journal: Journal, row: RunRow, state: RunState, settled: set[str]) -> int:
    """What events behind the cursor owe, less what is settled."""
    functions: Functions | None = None
    count = 0
    for seq, event in journal.events(row.run_id, row.cursor):
        state.apply(event)
        if functions is None:
            assert state.started is not None
            functions = functions_of(state.started.flags)
        paths = owed_paths(state, event, functions)
        count += sum(f"{row.run_id}/{seq}/{path}" not in settled for path in paths)
    return count
