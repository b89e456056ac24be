"""Which store a command means, and how it is read."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import click
from platformdirs import user_state_path

from actorflow.cli.settings import Settings
from actorflow.cli.statuses import Elsewhere, Exit
from actorflow.core.events import RunStarted
from actorflow.errors import RunNotFoundError, StoreUnusableError
from actorflow.journal import Journal, MemoryJournal, RunRow, open_journal
from actorflow.runtime.dispatch import PARENT

LAST: Final = "last"
"""The word for a run's id that means the latest."""

VARIABLE: Final = "ACTORFLOW_STORE"

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_SQLITE: Final = "sqlite:///"


def store_url(settings: Settings) -> str:
    """The store's URL: from `--store`, else from ACTORFLOW_STORE, else one file in the user's state folder.

    A text without a scheme is the name of a SQLite file.

    Raises:
        click.UsageError: `--store` is no store's URL.
        Elsewhere: the variable is none: the configuration is wrong.
        StoreUnusableError: there is no state folder.
    """
    option = settings.store_option
    if option is not None:
        try:
            return _url(option)
        except ValueError as error:
            raise click.UsageError(f"--store: {error}", click.get_current_context()) from error
    variable = os.environ.get(VARIABLE, "")
    if not variable:
        return _SQLITE + _default_path()
    try:
        return _url(variable)
    except ValueError as error:
        raise Elsewhere(StoreUnusableError(f"{VARIABLE}: {error}"), Exit.CONFIG) from error


@contextmanager
def reading(settings: Settings) -> Generator[Journal]:
    """Open the store to read it; one that is not there is empty, and is not made."""
    url = store_url(settings)
    journal = MemoryJournal() if _is_absent(url) else open_journal(url)
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


def is_lasting(url: str) -> bool:
    """Whether a store is there for the next process."""
    return url != "memory:"


def _url(text: str) -> str:
    if text == "memory:" or (text.startswith(_SQLITE) and text != _SQLITE and "\0" not in text):
        return text
    if not text or _SCHEME.match(text):
        raise ValueError(f"{text!r} is no store; write sqlite:///FILE, the name of a file, or memory:")
    return _SQLITE + os.path.abspath(os.path.expanduser(text))  # noqa: PTH100, PTH111 - no link is resolved here


def _default_path() -> str:
    path = user_state_path("actorflow") / "runs.db"
    if not path.is_absolute():
        raise StoreUnusableError(f"there is no home folder to keep runs in; set {VARIABLE}, or give --store")
    return str(path)


def _is_absent(url: str) -> bool:
    """Whether nothing is there, not even the mark of a store that was lost."""
    path = url.removeprefix(_SQLITE)
    return is_lasting(url) and not os.path.lexists(path) and not os.path.lexists(f"{path}.mark")
