"""Lines of a JSON store: objects, one each, sealed in a chain.

A line is `{"commit":7,"parts":1,"facts":[…],"sum":"…"}`. `commit` numbers the commits of the whole store without gaps;
`parts` says in how many files a commit has left a line; `sum` is a BLAKE2b of 16 bytes over the sum of the line before (of
the file's name for the first) and all of the line in front of it. So no line can be changed, lost from the middle or moved
to another file unnoticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final, TypeAlias

import orjson
from attrs import frozen

from actorflow.journal.plain import encode

Fact: TypeAlias = tuple[Any, ...]
"""A word that says what it is (see `json_facts`), and its values: JSON, or bytes of JSON as an `orjson.Fragment`."""

_SUM_BYTES: Final = 16
_BEFORE_SUM: Final = b',"sum":"'
_AFTER_SUM: Final = b'"}'
_TAIL: Final = len(_BEFORE_SUM) + 2 * _SUM_BYTES + len(_AFTER_SUM)


@frozen
class Line:
    """A line that was read, and is as it was written."""

    commit: int
    parts: int
    facts: list[list[Any]]
    sum: bytes
    end: int  #: where the next one begins in its file, in bytes


def first_sum(name: str) -> bytes:
    """What the first line of a file is chained to: the file's name."""
    return blake2b(name.encode(), digest_size=_SUM_BYTES).digest()


def write_line(previous: bytes, commit: int, parts: int, facts: Sequence[Fact]) -> tuple[bytes, bytes]:
    """A line with its end, and its sum.

    Raises:
        TypeError: a value is not JSON.
    """
    head = encode({"commit": commit, "parts": parts, "facts": facts})[:-1]
    seal = _sum(previous, head)
    return b"".join((head, _BEFORE_SUM, seal.hex().encode(), _AFTER_SUM, b"\n")), seal


def read_lines(content: bytes, previous: bytes, start: int) -> tuple[list[Line], int | None]:
    """The lines of a part of a file, up to the first that is not as written, and where in the file that begins.

    Args:
        content: of the part; it begins with a line.
        previous: the sum of the line in front of it; `first_sum` where there is none.
        start: where the part begins in its file, in bytes.
    """
    lines: list[Line] = []
    at = 0
    while at < len(content):
        end = content.find(b"\n", at) + 1
        line = _line(content[at : end - 1], previous, start + end) if end else None
        if line is None:
            return lines, start + at
        lines.append(line)
        previous, at = line.sum, end
    return lines, None


def _line(text: bytes, previous: bytes, end: int) -> Line | None:
    head = text[:-_TAIL]
    seal = _sum(previous, head)
    if text[-_TAIL:] != b"".join((_BEFORE_SUM, seal.hex().encode(), _AFTER_SUM)):
        return None
    found = orjson.loads(head + b"}")
    return Line(found["commit"], found["parts"], found["facts"], seal, end)


def _sum(previous: bytes, head: bytes) -> bytes:
    return blake2b(previous + head, digest_size=_SUM_BYTES).digest()
