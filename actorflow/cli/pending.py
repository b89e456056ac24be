"""What the hooks of a run are still owed, and what each delivery waits for; read without delivering anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve

from actorflow.cli.hooks.hiding import HookHiding, shown_record
from actorflow.cli.hooks.runs import PENDING, HookRun, event_of, hook_name, made
from actorflow.cli.layout import counted, local_time
from actorflow.core.hook_config import HookEntry
from actorflow.core.owed import NO_FUNCTIONS, functions_of, owed_by
from actorflow.core.state import RunState
from actorflow.hooks.opening import folded_to
from actorflow.journal.protocol import Journal, PendingDelivery, RunRow

__all__ = ["heads", "hook_entries", "pending_runs"]


def pending_runs(journal: Journal, row: RunRow, state: RunState) -> tuple[HookRun, ...]:
    """The deliveries of a run that are not settled, by the events that owe them; blocks.

    Args:
        journal: of the store.
        row: of the run.
        state: of the run, as it stands.
    """
    entries = hook_entries(state)
    rows = journal.pending(row.run_id)
    hiding = HookHiding(state.plan.spec)
    found = [_kept(each, entries.get(each.hook), hiding) for each in rows]
    found += _unseen(journal, row, state, {each.delivery_id for each in rows})
    return tuple(_in_line(found, entries))


def heads(pending: Sequence[HookRun]) -> tuple[tuple[HookRun, int], ...]:
    """The hooks that are owed something: the first delivery of each, which may hold up the others, and how many there are."""
    by_path: dict[str, list[HookRun]] = {}
    for each in pending:
        by_path.setdefault(each.path, []).append(each)
    return tuple((found[0], len(found)) for found in by_path.values())


def hook_entries(state: RunState) -> Mapping[str, HookEntry]:
    """The hooks of a run by path, functions of its program included."""
    entries = {entry.path: entry for entry in state.plan.hooks.entries}
    if state.started is not None:
        for found in functions_of(state.started.flags).values():
            entries |= {entry.path: entry for entry in found}
    return entries


def _kept(row: PendingDelivery, entry: HookEntry | None, hiding: HookHiding) -> HookRun:
    """A delivery with a row of its own: it was tried, or has others before it."""
    body, context = row.body, row.body["context"]
    count = int(body["counts"][0])
    task = "" if context["task"] is None else context["task"]["id"]
    record: dict[str, Any] = {"due_at": row.due_at, "tries": body["tries"]}
    if "reason" in body:
        record["reason"] = body["reason"]
    if "batch" in body:
        record["batch"] = body["batch"]
    if hiding.hides(entry, task):
        record = shown_record(record)
    record["summary"] = _waits_for(record, count)
    return HookRun(
        path=row.hook,
        name=row.hook if entry is None else hook_name(entry.spec),
        event=event_of(row.hook, entry),
        task=task,
        stage=context["stage"] if context["event"] == "on_stage_complete" else "",
        generation=context["generation"],
        at=context["at"],
        status=PENDING,
        tries=made(record, count, PENDING),
        record=record,
        delivery_id=row.delivery_id,
    )


def _waits_for(record: Mapping[str, Any], count: int) -> str:
    reason = record.get("reason", "")
    if reason:
        return f"held: {reason}"
    if not count:
        return "not tried yet"
    tries = record["tries"]
    error = tries[-1].get("error") or tries[-1]["status"] if tries else ""
    return f"next try at {local_time(record['due_at'])}; tried {counted(count, 'time')}, last: {error}"


def _unseen(journal: Journal, row: RunRow, state: RunState, known: set[str]) -> Iterator[HookRun]:
    """What events owe of which no hook has been told on record: those behind the cursor."""
    if row.cursor >= row.last_seq:
        return
    settled = {one.delivery_id for one in journal.deliveries(row.run_id, row.cursor)} | known
    at_cursor = folded_to(journal, row.run_id, state.plan, row.cursor)
    functions = NO_FUNCTIONS if state.started is None else functions_of(state.started.flags)
    for seq, event in journal.events(row.run_id, row.cursor):
        at_cursor.apply(event)
        for owed in owed_by(at_cursor, seq, event, functions):
            context = owed.context
            if context.delivery_id not in settled:
                yield HookRun(
                    path=context.path,
                    name=hook_name(context.spec),
                    event=context.event,
                    task="" if context.task is None else str(context.task["id"]),
                    stage=context.stage if context.event == "on_stage_complete" else "",
                    generation=context.generation,
                    at=context.at,
                    status=PENDING,
                    record={"summary": "not tried yet"},
                    delivery_id=context.delivery_id,
                )


def _in_line(found: Sequence[HookRun], entries: Mapping[str, HookEntry]) -> Iterator[HookRun]:
    """The same, where what is not the first of its line waits for that."""
    heads: dict[str, HookRun] = {}
    for each in found:
        head = heads.setdefault(each.path, each)
        entry = entries.get(each.path)
        if head is each or (entry is not None and not entry.spec.ordered):
            yield each
        else:
            summary = f"waits for {head.delivery_id}"
            yield evolve(each, record={**each.record, "summary": summary})
