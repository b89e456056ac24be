"""`actorflow hooks list`: every hook of a run that has acted or has to, in all of its generations."""

from __future__ import annotations

import re
from typing import Any

from actorflow.cli.found import found_run
from actorflow.cli.held import with_flags
from actorflow.cli.hooks.lines import hook_facts, pending_lines
from actorflow.cli.hooks.runs import HookRun, hook_runs
from actorflow.cli.layout import local_time, show_table
from actorflow.cli.pending import pending_runs
from actorflow.cli.report import command_line
from actorflow.cli.settings import Settings
from actorflow.cli.statuses import Exit
from actorflow.cli.store.opening import named_run, reading, store_option

_HEAD = ("EVENT", "ABOUT", "HOOK", "STATUS", "TRIES", "SENT TO", "SINCE", "WHY")
_SENT = _HEAD.index("SENT TO")
_SPARE = ("SINCE", "TRIES", "SENT TO", "EVENT")
_HINT = re.compile(r"; --allow-host .* would allow it$")
"""What stands once, below the table: the command that has the flag."""

_BATCH_SHOWN = 10  #: characters of a batch's id


def list_hooks(settings: Settings, run: str) -> int:
    """List the blocking hooks and the deliveries of a run, then what is not delivered yet and what that waits for."""
    with reading(settings) as journal:
        found = found_run(journal, named_run(journal, run))
        deliveries = journal.deliveries(found.run_id)
        settled = hook_runs(found.state.plan, journal.events(found.run_id), deliveries)
        pending = pending_runs(journal, found.row, found.state)
    again = {each.delivery_id for each in pending}  # an operator has it tried again
    listed = [*(each for each in settled if not each.delivery_id or each.delivery_id not in again), *pending]
    screen = settings.screen
    if screen.is_json:
        screen.document({"run_id": found.run_id, "hooks": [_document(each) for each in listed]})
        return Exit.SUCCESS
    if not listed:
        screen.note(f"no hook of run {found.run_id} has acted, and none has to")
        return Exit.SUCCESS
    rows = _without_empty([_HEAD, *map(_cells, listed)])
    show_table(screen, rows, spare=[rows[0].index(name) for name in _SPARE if name in rows[0]])
    if pending:
        screen.result("\n".join(["", *pending_lines(pending, indent="")]))
        drain = command_line("hooks drain", with_flags(found.run_id, pending), store_option(settings))
        if found.row.owner_pid is None:
            screen.note(f"to deliver what is owed: {drain}")
    return Exit.SUCCESS


def _cells(hook: HookRun) -> tuple[str, ...]:
    named = hook.path if hook.name == hook.path else f"{hook.path} ({hook.name})"
    return (
        hook.event,
        hook.task or hook.stage or "-",
        named,
        hook.how,
        str(hook.tries),
        _sent(hook),
        local_time(hook.at),
        _HINT.sub("", hook.why),
    )


def _sent(hook: HookRun) -> str:
    """Where its last request went, after the status that was answered, and with which others."""
    facts = {name: hook.sent(name) for name in ("http_status", "target", "batch")}
    batch = f"in {facts['batch'][:_BATCH_SHOWN]}" if facts["batch"] else ""
    return " ".join(str(fact) for fact in (facts["http_status"], facts["target"], batch) if fact)


def _without_empty(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The rows without the column of requests, where none was made."""
    if any(row[_SENT] for row in rows[1:]):
        return rows
    return [(*row[:_SENT], *row[_SENT + 1 :]) for row in rows]


def _document(hook: HookRun) -> dict[str, Any]:
    return {
        **hook_facts(hook),
        "due_at": hook.record.get("due_at"),
        "tried": list(hook.record.get("tries", ())),
    }
