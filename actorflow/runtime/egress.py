"""Where the requests of a runtime may go: what its program lists, and what its environment does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from actorflow.egress.allowed import Allowed, parse_allowed
from actorflow.egress.guard import Guard

__all__ = ["ALLOW_HOSTS", "guard_of"]

ALLOW_HOSTS: Final = "ACTORFLOW_ALLOW_HOSTS"
"""The variable with more entries, with blanks or commas between them."""


def guard_of(entries: Iterable[str], environ: Mapping[str, str]) -> Guard:
    """A guard that lets through what a program lists, and what its environment does.

    Raises:
        ValueError: an entry cannot be read; the sentence says which, and where it stands.
    """
    if isinstance(entries, str):
        raise ValueError(f"allow_hosts is a list of entries, not a text: write [{entries!r}]")  # noqa: TRY004 - as bad entries
    listed = [_entry(text, "allow_hosts") for text in entries]
    listed += [
        _entry(text, ALLOW_HOSTS) for text in re.split(r"[,\s]+", environ.get(ALLOW_HOSTS, "")) if text
    ]
    return Guard(tuple(dict.fromkeys(listed)))


def _entry(text: str, where: str) -> Allowed:
    try:
        return parse_allowed(text)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
