"""Which headers can be sent: E447 for those that would end where they must not, or that are the client's own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from actorflow.egress.refusals import EgressRefused

__all__ = ["check_headers"]

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, section 5.6.2."""

_NOT_IN_VALUES: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")

_NAMED: Final = {"\r": "a carriage return", "\n": "a line break", "\0": "a NUL"}

_OWN: Final = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""They say where a request goes and where it ends: the client writes them from the URL and the body that were judged."""


def check_headers(headers: Iterable[tuple[str, str]]) -> None:
    """Look at names and values, as rendered; values are never quoted, since they may hold secrets.

    Raises:
        EgressRefused: E447, for the first that cannot be sent.
    """
    for name, value in headers:
        problem = _problem(name, value)
        if problem:
            raise EgressRefused("E447", *problem)


def _problem(name: str, value: str) -> tuple[str, str] | None:
    if not _TOKEN.fullmatch(name):
        return f"{name[:100]!r} is no name of a header", "names are of letters, digits and hyphens"
    if name.lower() in _OWN:
        return (
            f"the header {name} is not for a request to set",
            "it follows from the URL and the body: leave it out",
        )
    found = _NOT_IN_VALUES.search(value)
    if found is None:
        return None
    what = _NAMED.get(found[0], f"the character {found[0]!r}")
    return (
        f"the value of the header {name} has {what} at position {found.start() + 1}",
        "a value is one line: take it out of what the template renders",
    )
