"""The journal: an append-only log of events per run, in SQLite, in files of JSON lines or in memory, behind one protocol."""

from __future__ import annotations

from actorflow.errors import StoreUnusableError
from actorflow.journal.memory import MemoryJournal
from actorflow.journal.protocol import (
    Answered,
    Append,
    AskBreaker,
    CachedDefinition,
    ChangeDefinition,
    Checkpoint,
    CreateRun,
    DeadLetter,
    Delivery,
    DropDeadLetters,
    Journal,
    KeepDeadLetter,
    KeepDefinition,
    Outcome,
    PendingDelivery,
    RecordDeliveries,
    Release,
    Request,
    RunRow,
    RunSummary,
    SaveCheckpoint,
    TellBreaker,
    Write,
)

__all__ = [
    "Answered",
    "Append",
    "AskBreaker",
    "CachedDefinition",
    "ChangeDefinition",
    "Checkpoint",
    "CreateRun",
    "DeadLetter",
    "Delivery",
    "DropDeadLetters",
    "Journal",
    "KeepDeadLetter",
    "KeepDefinition",
    "MemoryJournal",
    "Outcome",
    "PendingDelivery",
    "RecordDeliveries",
    "Release",
    "Request",
    "RunRow",
    "RunSummary",
    "SaveCheckpoint",
    "TellBreaker",
    "Write",
    "open_journal",
]

_FORMS = "sqlite:///relative.db, sqlite:////absolute.db, json:FOLDER or memory:"
_JSON = "json:"


def open_journal(url: str) -> Journal:
    """Open a store, and make it if it is not there.

    Args:
        url: `sqlite:///relative.db`, `sqlite:////absolute.db` (as SQLAlchemy writes them; everything after the third
            slash is the path, as it stands), `json:FOLDER` or `memory:`.

    Raises:
        StoreUnusableError: an unknown kind of store, no permission, a folder for a file or the other way round, another
            program's database, or a store of a newer version.
        StoreDamagedError: the store is not what was written to it.
    """
    if url == "memory:":
        return MemoryJournal()
    if url.startswith(_JSON):
        return _open_json(url)
    scheme, slashes, path = url.partition(":///")
    if scheme != "sqlite" or not slashes:
        raise StoreUnusableError(f"store {url!r} is no store's URL; write {_FORMS}")
    if not path or "\0" in path or path == ":memory:":
        raise StoreUnusableError(f"store {url!r} names no file; write {_FORMS}")
    # apsw costs 10 ms to import, and a run in memory needs none of it
    from actorflow.journal.sqlite import SqliteJournal  # noqa: PLC0415

    return SqliteJournal(path)


def _open_json(url: str) -> Journal:
    path = url.removeprefix(_JSON)
    if not path or "\0" in path:
        raise StoreUnusableError(f"store {url!r} names no folder; write {_FORMS}")
    from actorflow.journal.json.journal import JsonJournal  # noqa: PLC0415 - a run in SQLite needs none of it

    return JsonJournal(path)
