"""Examining a SQLite store that can be opened: the file, SQLite's own checks, and what belongs to nothing.

Reads only. What runs themselves hold is examined by whoever can fold them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from actorflow.journal import schema
from actorflow.journal.care.findings import Finding, Level
from actorflow.journal.driver import Cursor, Database
from actorflow.journal.files import file_name
from actorflow.journal.mark import read_mark
from actorflow.journal.owners import is_alive, lock_path
from actorflow.journal.protocol import STALE_S
from actorflow.journal.remedy import DAMAGE_REMEDY
from actorflow.journal.store import StoreFile

__all__ = ["LEFTOVERS", "examine", "examine_file", "live_locks", "orphan_files"]

_ROOM: Final = 256 * 1024 * 1024
"""Bytes free, below which a store is about to fail."""

_LONG_WAL: Final = 64 * 1024 * 1024

_FAULTS_SHOWN: Final = 20

_NETWORKED: Final = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "glusterfs",
        "lustre",
        "ncpfs",
    }
)
"""Kinds of file systems, as /proc/self/mountinfo names them, on which locks and shared memory are not what SQLite needs."""

LEFTOVERS: Final = {
    "batches of no run": "batches WHERE run IS NOT NULL AND run NOT IN (SELECT id FROM runs)",
    "deliveries of no run": "deliveries WHERE run NOT IN (SELECT id FROM runs)",
    "pending deliveries of no run": "outbox WHERE run NOT IN (SELECT id FROM runs)",
    "checkpoints of no run": "checkpoints WHERE run NOT IN (SELECT id FROM runs)",
    "uses of blobs by no run": "blob_uses WHERE run NOT IN (SELECT id FROM runs)",
    "blobs that nothing uses": "blobs WHERE hash NOT IN (SELECT hash FROM blob_uses)",
    "requests to no run": "inbox WHERE run_id NOT IN (SELECT run_id FROM runs)",
    "dead letters of no run": "dead_letters WHERE run_id NOT IN (SELECT run_id FROM runs)",
    "bodies of dead letters that are gone": "letter_bodies WHERE letter_id NOT IN (SELECT letter_id FROM dead_letters)",
}
"""Rows that belong to nothing: what is before what it is used by."""


def examine_file(path: str) -> Iterator[Finding]:
    """What can be said of a store's file without opening it: whose it is, who may read it, and where it lies."""
    found = os.stat(path)  # noqa: PTH116 - follows links, as SQLite does
    if Path(path).is_symlink():
        yield Finding(
            "file", "ok", f"{path} is a link to {os.path.realpath(path)}, where its other files are"
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        remedy = f"chmod 600 {path}, unless that is meant"
        yield Finding(
            "file", "warning", f"others than its owner may read or write it (mode {mode:04o})", remedy
        )
    if found.st_uid != os.geteuid():
        yield Finding(
            "file", "warning", f"it belongs to user {found.st_uid}, and this is user {os.geteuid()}"
        )
    folder = os.path.dirname(os.path.realpath(path))  # noqa: PTH120
    if not os.access(folder, os.W_OK):
        yield Finding(
            "folder", "problem", f"{folder} cannot be written to", "SQLite needs files beside the store"
        )
    yield _file_system(folder)
    free = os.statvfs(folder)
    room = free.f_bavail * free.f_frsize
    level: Level = "ok" if room >= _ROOM else "warning"
    yield Finding("room", level, f"{room // 2**20:,} MiB are free, {_size(path) // 2**20:,} MiB are taken")


def examine(store: StoreFile, now: float) -> Iterator[Finding]:
    """What SQLite says of itself, whose runs are whose, and what is left over."""
    db = store.connect(is_writer=False)
    try:
        yield from _versions(db)
        yield from _checks(db, store.path)
        cursor = db.cursor()
        yield from _owners(cursor, store.path, now)
        yield from _left_over(cursor, store.path)
    finally:
        db.close(True)


def orphan_files(cursor: Cursor, path: str) -> list[str]:
    """Files beside a store that are of no owner and no run that it knows."""
    owners = {lock_path(path, owner) for (owner,) in cursor.execute("SELECT id FROM owners").fetchall()}
    runs = {file_name(run_id) for (run_id,) in cursor.execute("SELECT run_id FROM runs").fetchall()}
    folder, name = os.path.split(path)
    locks = [
        os.path.join(folder, each)  # noqa: PTH118
        for each in os.listdir(folder)  # noqa: PTH208
        if each.startswith(f"{name}.owner-") and each.endswith(".lock")
    ]
    idle = [each for each in locks if each not in owners and not _is_locked(path, each)]
    logs = Path(f"{path}.logs")
    unread = logs.iterdir() if logs.is_dir() else ()
    return sorted([*idle, *(str(each) for each in unread if each.name.removesuffix(".jsonl") not in runs)])


def live_locks(path: str) -> list[str]:
    """The lock files of the owners of a store that are alive."""
    folder, name = os.path.split(path)
    found = (each for each in os.listdir(folder) if each.startswith(f"{name}.owner-"))  # noqa: PTH208
    return [each for each in found if _is_locked(path, os.path.join(folder, each))]  # noqa: PTH118


def _is_locked(path: str, lock: str) -> bool:
    try:
        owner = int(lock.removeprefix(f"{path}.owner-").removesuffix(".lock"), 16)
    except ValueError:
        return False  # no file of ours
    return is_alive(path, owner)


def _versions(db: Database) -> Iterator[Finding]:
    version, written_by = schema.version_of(db), schema.written_by(db)
    yield Finding("schema", "ok", f"version {version}, made or upgraded by actorflow {written_by}")


def _checks(db: Database, path: str) -> Iterator[Finding]:
    rows = db.execute(f"PRAGMA integrity_check({_FAULTS_SHOWN})").fetchall()
    faults = [str(row[0]) for row in rows if row[0] != "ok"]
    for fault in faults:
        yield Finding("SQLite", "problem", fault, DAMAGE_REMEDY, is_damage=True)
    if not faults:
        yield Finding("SQLite", "ok", "its own check of all pages and indexes finds nothing")
    mode = db.pragma("journal_mode")
    if mode != "wal":
        yield Finding("SQLite", "problem", f"its journal mode is {mode}, not wal", "open it with any command")
    wal = _size_of(f"{path}-wal")
    if wal > _LONG_WAL:
        told = f"the log beside it has {wal // 2**20:,} MiB: somebody reads the store and does not stop"
        yield Finding("log", "warning", told)
    kept = int(db.execute("SELECT coalesce(max(id), 0) FROM batches").get)
    acknowledged = read_mark(f"{path}.mark")
    if acknowledged > kept:
        lost = f"{acknowledged - kept} commits are gone that had been acknowledged"
        yield Finding("commits", "problem", lost, DAMAGE_REMEDY, is_damage=True)
    else:
        yield Finding("commits", "ok", f"all {acknowledged:,} that were acknowledged are there")


def _owners(cursor: Cursor, path: str, now: float) -> Iterator[Finding]:
    rows = cursor.execute(
        """SELECT owners.id, pid, heartbeat_at, fenced, count(runs.id) FROM owners
LEFT JOIN runs ON runs.owner = owners.id GROUP BY owners.id ORDER BY owners.id"""
    ).fetchall()
    for owner, pid, heartbeat_at, fenced, count in rows:
        silent_s = max(now - heartbeat_at, 0.0)
        runs = f"{count} run{'' if count == 1 else 's'}"
        if fenced or not is_alive(path, owner):
            if count:
                told = f"process {pid} is gone, and {runs} of it can go on"
                yield Finding("processes", "warning", told, "`actorflow recover` goes on with them")
            continue
        if silent_s > STALE_S:
            told = f"process {pid} has {runs} and has given no sign of life for {silent_s:.0f} s"
            yield Finding("processes", "warning", told, "`resume --take-over` takes its runs")
        else:
            yield Finding("processes", "ok", f"process {pid} is at {runs}")


def _left_over(cursor: Cursor, path: str) -> Iterator[Finding]:
    remedy = "`actorflow doctor --repair` removes them"
    for what, rows in LEFTOVERS.items():
        count = int(cursor.execute(f"SELECT count(*) FROM {rows}").get)  # noqa: S608 - ours  # nosec B608
        if count:
            yield Finding("leftovers", "warning", f"{count:,} {what}", remedy, is_mendable=True)
    files = orphan_files(cursor, path)
    if files:
        names = ", ".join(os.path.basename(each) for each in files[:3])  # noqa: PTH119
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        yield Finding("leftovers", "warning", f"files of nothing: {names}{more}", remedy, is_mendable=True)


def _file_system(folder: str) -> Finding:
    kind = _kind_of(folder)
    if kind in _NETWORKED or kind.startswith("fuse."):
        remedy = "keep it on a disk of this machine"
        return Finding(
            "file system", "warning", f"{kind}: locks and shared memory may not hold there", remedy
        )
    return Finding("file system", "ok", kind or "of an unknown kind")


def _kind_of(folder: str) -> str:
    """The kind of the file system that a folder lies on, where the system tells."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    best = ("", "")
    for line in lines:
        before, _, after = line.partition(" - ")
        place = before.split(" ")[4].replace("\\040", " ")
        if (folder + "/").startswith(place.rstrip("/") + "/") and len(place) >= len(best[0]):
            best = (place, after.split(" ")[0])
    return best[1]


def _size(path: str) -> int:
    return sum(_size_of(each) for each in (path, f"{path}-wal"))


def _size_of(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return 0
