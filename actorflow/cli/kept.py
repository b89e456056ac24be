"""The account of a run that another process may have, read from its journal."""

from __future__ import annotations

import os
from functools import partial

from actorflow.cli.account import STOPPED, Account, stop_cause
from actorflow.cli.found import Found, with_owner
from actorflow.cli.hooks.runs import failed_hooks, hook_runs
from actorflow.cli.last_output import last_lines
from actorflow.cli.sensitive import shown_result
from actorflow.journal import Journal
from actorflow.runtime.result import result_from

__all__ = ["account_as_kept"]


def account_as_kept(journal: Journal, found: Found) -> Account:
    """What there is to say of a run as it stands; blocks."""
    result = shown_result(found.spec, result_from(journal, found.row, found.state))
    events = partial(journal.events, found.run_id)
    has_failed = result.hooks.failed or result.hooks.dead_letters
    deliveries = journal.deliveries(found.run_id) if has_failed else ()
    hooks = hook_runs(found.state.plan, events(), deliveries) if has_failed else ()
    has_ended_badly = result.status == "failed"
    owner_pid = found.row.owner_pid
    return Account(
        found.spec,
        result,
        failed_hooks=failed_hooks(hooks, result.generation),
        printed=last_lines(result, partial(journal.outputs.read, found.run_id)) if has_ended_badly else (),
        letters=tuple(each for each in journal.dead_letters() if each.run_id == result.run_id)
        if has_ended_badly
        else (),
        cause=stop_cause(result.status, events()) if result.status in STOPPED else None,
        pid=None if owner_pid == os.getpid() else owner_pid,
        is_crashed=with_owner(result.status, found.row) == "crashed",
    )
