"""Files and folders of a store: what they are called, how folders are made, and how they outlast a power cut."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final
from urllib.parse import quote

__all__ = ["file_name", "flush", "flush_folder", "make_folder"]

_LONGEST_NAME: Final = 150


def file_name(name: str) -> str:
    """What files of a run or a snapshot are called in front of their suffixes: its id, where that can be a name.

    Other characters are spelled out, and a hash is added where capitals or too many are in it: many file systems take
    capitals for small letters, and two runs must not share a file.
    """
    quoted = quote(name, safe="", errors="surrogatepass")
    if quoted.startswith("."):
        quoted = f"%2e{quoted[1:]}"
    if quoted == quoted.lower() and len(quoted) <= _LONGEST_NAME:
        return quoted
    hashed = blake2b(name.encode(errors="surrogatepass"), digest_size=6)
    return f"{quoted[:_LONGEST_NAME]}~{hashed.hexdigest()}"


def make_folder(folder: Path) -> None:
    """See that there is a folder, and make what is missing of it for us alone.

    Raises:
        OSError: it cannot be made, or is none.
    """
    if folder.is_dir():
        return
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        with suppress(FileExistsError):
            one.mkdir(mode=0o700)
        flush_folder(one.parent)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder; name one")


def flush(fd: int) -> None:
    """Have what was written survive a power cut."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:  # macOS has none, and its fsync stops at the disk's cache
        fcntl.fcntl(fd, getattr(fcntl, "F_FULLFSYNC"))  # noqa: B009 - Linux knows no such name


def flush_folder(folder: Path) -> None:
    """Keep the names in a folder through a crash of the machine."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
