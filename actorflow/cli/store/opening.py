"""Which store a command means, and how it is read."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import click
from platformdirs import user_state_path

from actorflow.cli.configured import configured
from actorflow.cli.settings import Settings
from actorflow.cli.statuses import Elsewhere, Exit
from actorflow.cli.store.urls import SQLITE, is_lasting, is_there, parse_store
from actorflow.core.events import RunStarted
from actorflow.errors import RunNotFoundError, StoreUnusableError
from actorflow.journal import Journal, MemoryJournal, RunRow, open_journal
from actorflow.runtime.dispatch import PARENT

LAST: Final = "last"
"""The word for a run's id that means the latest."""

VARIABLE: Final = "ACTORFLOW_STORE"


def store_url(settings: Settings) -> str:
    """The store's URL: `--store`, else ACTORFLOW_STORE, else `store` of actorflow.toml, else a file in the user's state folder.

    Raises:
        click.UsageError: `--store` is no store's URL.
        Elsewhere: the variable is none, or actorflow.toml is wrong.
        StoreUnusableError: there is no state folder.
    """
    option = settings.store_flag
    if option is not None:
        try:
            return parse_store(option)
        except ValueError as error:
            raise click.UsageError(f"--store: {error}", click.get_current_context()) from error
    variable = os.environ.get(VARIABLE, "")
    if not variable:
        return settings.configuration.store or SQLITE + _default_path()
    try:
        return parse_store(variable)
    except ValueError as error:
        raise Elsewhere(StoreUnusableError(f"{VARIABLE}: {error}"), Exit.CONFIG) from error


def store_option(settings: Settings) -> str | None:
    """What `--store` must say in a command that is typed next, so that it means the same store; None: nothing."""
    if settings.store_flag is not None or settings.is_plain or os.environ.get(VARIABLE):
        return settings.store_flag
    url = store_url(settings)
    try:
        usual = configured("").configuration.store or SQLITE + _default_path()
    except (Elsewhere, StoreUnusableError):
        return url  # what is wrong in this folder is no concern of the command that asks
    return None if usual == url else url


@contextmanager
def reading(settings: Settings) -> Generator[Journal]:
    """Open the store to read it; one that is not there is empty, and is not made."""
    url = store_url(settings)
    journal = open_journal(url) if not is_lasting(url) or is_there(url) else MemoryJournal()
    try:
        yield journal
    finally:
        journal.close()


def named_run(journal: Journal, word: str) -> RunRow:
    """The run of this id, or of the only one that begins so; for `last`, the one that somebody, and no hook, started last.

    Raises:
        RunNotFoundError: there is none, or several begin so.
    """
    if word != LAST:
        return journal.find(word)
    row = next((row for row in journal.runs() if parent_of_row(journal, row) is None), None)
    if row is None:
        raise no_last_run("there are no runs in this store")
    return row


def parent_of_row(journal: Journal, row: RunRow) -> Mapping[str, Any] | None:
    """Whose hook has started a run: `{run_id, task, delivery_id, depth}`; None where it was not a hook.

    Names of such runs have a slash, and few others do: only of these the first event is read.
    """
    if "/" not in row.workflow:
        return None
    event = next((event for _, event in journal.events(row.run_id)), None)
    return event.flags.get(PARENT) if isinstance(event, RunStarted) else None


def no_last_run(message: str) -> RunNotFoundError:
    """What to raise where `last` means none."""
    error = RunNotFoundError(LAST)
    error.args = (message,)
    return error


def _default_path() -> str:
    path = user_state_path("actorflow") / "runs.db"
    if not path.is_absolute():
        raise StoreUnusableError(f"there is no home folder to keep runs in; set {VARIABLE}, or give --store")
    return str(path)
