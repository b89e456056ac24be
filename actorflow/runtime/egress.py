"""Where the requests of a runtime may go: what its program lists, and what its environment does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, cast

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
    listed = [_entry(text, "allow_hosts") for text in _texts(entries)]
    listed += [
        _entry(text, ALLOW_HOSTS) for text in re.split(r"[,\s]+", environ.get(ALLOW_HOSTS, "")) if text
    ]
    return Guard(tuple(dict.fromkeys(listed)))


def _texts(entries: object) -> Iterable[str]:
    """What a program gives, if it is a list of texts."""
    if isinstance(entries, str):
        raise ValueError(f"allow_hosts is a list of entries, not a text: write [{entries!r}]")  # noqa: TRY004 - as bad entries
    if not isinstance(entries, Iterable):
        raise ValueError(f'allow_hosts is a list of entries, not {entries!r}: write ["https://HOST"]')  # noqa: TRY004
    given = list(cast("Iterable[object]", entries))
    for entry in given:
        if not isinstance(entry, str):
            raise ValueError(  # noqa: TRY004 - as bad entries
                f"allow_hosts: an entry is a text such as 'https://api.example.com', not {entry!r}"
            )
    return cast("list[str]", given)


def _entry(text: str, where: str) -> Allowed:
    try:
        return parse_allowed(text)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
