"""Lines of a JSON store: objects, one each, sealed in a chain.

A line is `{"commit":7,"parts":1,"facts":[…],"sum":"…"}`. `commit` numbers the commits of the whole store without gaps;
`parts` says in how many files a commit has left a line; `"flushed":4`, behind it, that of the commits in front some were not
known to survive a power cut when the line was written, but all up to that number: a line without it says so of all in
front; `sum` is a BLAKE2b of 16 bytes over the sum of the line before (of
the file's name for the first) and all of the line in front of it. So no line can be changed, lost from the middle or moved
to another file unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
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
    flushed: int  #: the commits up to here would have survived a power cut when the line was written
    facts: list[list[Any]]
    sum: bytes
    end: int  #: where the next one begins in its file, in bytes


def first_sum(name: str) -> bytes:
    """What the first line of a file is chained to: the file's name."""
    return blake2b(name.encode(), digest_size=_SUM_BYTES).digest()


def write_line(
    previous: bytes, commit: int, parts: int, facts: Sequence[Fact], flushed: int | None = None
) -> tuple[bytes, bytes]:
    """A line with its end, and its sum.

    Args:
        previous: the sum of the line in front of it.
        commit: the number of its commit.
        parts: in how many files that leaves a line.
        facts: what it says.
        flushed: see `Line`; None: all commits in front.

    Raises:
        TypeError: a value is not JSON.
    """
    trust = {} if flushed in (None, commit - 1) else {"flushed": flushed}
    head = encode({"commit": commit, "parts": parts, **trust, "facts": facts})[:-1]
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


def flushed_behind(content: bytes) -> int:
    """Up to which commit all was flushed, as lines say that follow one which is not as written; 0: none says anything.

    They cannot be told whole, without the sum of the line in front. But what a power cut leaves of lines that were not
    flushed is torn or as it was written: no line comes by chance.

    Args:
        content: of a file, from the line on that is not as written.
    """
    highest = 0
    for text in content.split(b"\n")[1:-1]:
        with suppress(ValueError, LookupError, TypeError):
            highest = max(highest, _flushed(orjson.loads(text)))
    return highest


def _flushed(found: Mapping[str, Any]) -> int:
    return int(found.get("flushed", found["commit"] - 1))


def _line(text: bytes, previous: bytes, end: int) -> Line | None:
    head = text[:-_TAIL]
    seal = _sum(previous, head)
    if text[-_TAIL:] != b"".join((_BEFORE_SUM, seal.hex().encode(), _AFTER_SUM)):
        return None
    found = orjson.loads(head + b"}")
    return Line(found["commit"], found["parts"], _flushed(found), found["facts"], seal, end)


def _sum(previous: bytes, head: bytes) -> bytes:
    return blake2b(previous + head, digest_size=_SUM_BYTES).digest()
