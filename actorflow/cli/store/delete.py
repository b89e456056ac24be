"""`actorflow delete`: one run leaves the store."""

from __future__ import annotations

from actorflow.cli.found import status_of_row
from actorflow.cli.screen import as_line
from actorflow.cli.settings import Settings
from actorflow.cli.statuses import Exit
from actorflow.cli.store.opening import reading, store_url
from actorflow.errors import RunNotFoundError
from actorflow.runtime.persistence import StatePersistence


def delete(settings: Settings, run: str, *, force: bool) -> int:
    """Remove a run, whether it has ended or not.

    Args:
        settings: of the command.
        run: its id, or the only beginning of one; `last` is none: said twice, it would mean two runs.
        force: do not look whether its hooks are owed anything, nor whether it can be read.

    Raises:
        RunNotFoundError: there is none, or several ids begin so.
        RunOwnedElsewhereError: a live process has it.
        DeliveriesOwedError: its hooks are owed something, and `force` is not given.
        StoreDamagedError: it is not what was written, and `force` is not given.
        SurvivorsError: what was left running for it cannot be ended.
    """
    with reading(settings) as journal:
        row = journal.find(run)
    settings.early.note_only()  # a removal that has begun is not cut off
    with StatePersistence(store_url(settings)) as states:
        if not states.delete(row.run_id, force=force):
            raise RunNotFoundError(row.run_id)  # somebody else was faster
    status = status_of_row(row)
    if settings.screen.is_json:
        settings.screen.document({"deleted": row.run_id, "status": status})
    else:
        settings.screen.result(as_line(f"deleted {row.run_id} ({status})"))
    return Exit.SUCCESS
