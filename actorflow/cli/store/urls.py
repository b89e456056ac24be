"""How a store is written: as a URL, or as the name of a SQLite file."""

from __future__ import annotations

import os
import re
from typing import Final

__all__ = ["JSON", "MEMORY", "SQLITE", "is_lasting", "is_there", "parse_store"]

MEMORY: Final = "memory:"
SQLITE: Final = "sqlite:///"
JSON: Final = "json:"

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


def parse_store(text: str, folder: str = "") -> str:
    """The URL of a store; a text without a scheme is the name of a SQLite file.

    Args:
        text: as it is written.
        folder: where relative names start: absolute, or empty for the process's own.

    Raises:
        ValueError: it is no store's; says what is.
    """
    if text == MEMORY:
        return text
    for scheme in (SQLITE, JSON):
        if text.startswith(scheme) and text != scheme and "\0" not in text:
            return scheme + os.path.join(folder, text.removeprefix(scheme))  # noqa: PTH118 - an absolute one stays as it is
    if not text or _SCHEME.match(text):
        raise ValueError(
            f"{text!r} is no store; write sqlite:///FILE, the name of a file, json:FOLDER, or memory:"
        )
    return SQLITE + os.path.abspath(os.path.join(folder, os.path.expanduser(text)))  # noqa: PTH100, PTH111, PTH118 - no link is resolved here


def is_lasting(url: str) -> bool:
    """Whether a store is there for the next process."""
    return url != MEMORY


def is_there(url: str) -> bool:
    """Whether there is anything of a lasting store, if only the mark of one that was lost."""
    if url.startswith(JSON):
        return os.path.lexists(url.removeprefix(JSON))
    path = url.removeprefix(SQLITE)
    return os.path.lexists(path) or os.path.lexists(f"{path}.mark")
