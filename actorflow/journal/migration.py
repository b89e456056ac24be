"""How a store of an earlier version becomes one of this: a copy is kept first, then all that is missing is added at once."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import apsw

from actorflow.errors import StoreUnusableError
from actorflow.journal import schema
from actorflow.journal.driver import Database
from actorflow.journal.files import flush_folder

__all__ = ["copy_path", "keep_copy", "migrate"]


def copy_path(path: str, version: int) -> str:
    """Where the copy of a store is kept that had a version of the schema."""
    return f"{path}.schema-{version}.bak"


def migrate(db: Database, path: str) -> None:
    """Bring a checked store up to date, by its writing connection, while nobody else opens it.

    A crash at any moment leaves the store as it was, or as it is to be; the copy is whole, or is not there.

    Raises:
        StoreUnusableError: there is no room for the copy, or its folder cannot be written to.
    """
    version = schema.version_of(db)
    target = copy_path(path, version)
    if not os.path.lexists(target):
        try:
            keep_copy(db, target)
        except (apsw.Error, OSError) as error:
            raise StoreUnusableError(
                f"cannot upgrade the store {path} from schema {version} to {schema.SCHEMA_VERSION}: a copy of it is to "
                f"be kept first as {target}, and that failed ({error}); make room for {_size(path):,} bytes there"
            ) from error
    db.execute("BEGIN IMMEDIATE")
    schema.upgrade(db)
    db.execute("COMMIT")


def keep_copy(db: Database, target: str) -> None:
    """Write all that is committed to a new file, for us alone; it has its name once it is whole and flushed.

    Raises:
        apsw.Error, OSError: it cannot be written; nothing is left of it.
    """
    unfinished = f"{target}.tmp"
    with suppress(FileNotFoundError):
        os.unlink(unfinished)  # noqa: PTH108 - of one who was killed here
    try:
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        db.execute("VACUUM INTO ?", (unfinished,))
        fd = os.open(unfinished, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(unfinished, target)  # noqa: PTH104
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished)  # noqa: PTH108
        raise
    flush_folder(Path(target).parent)


def _size(path: str) -> int:
    try:
        return sum(os.stat(each).st_size for each in (path, f"{path}-wal") if os.path.exists(each))  # noqa: PTH110, PTH116
    except OSError:
        return 0
