"""From a path to text that the YAML parsers can be given."""

from __future__ import annotations

import os
import re
import stat
from itertools import islice
from typing import Final

from actorflow.spec.bounds import Bounds
from actorflow.spec.text.nodes import NOWHERE, Mark
from actorflow.spec.text.report import Report

__all__ = ["decode", "only_text", "read_file"]

_MOST_SHOWN: Final = 20
_FORBIDDEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]"
)


def read_file(path: str, report: Report, bounds: Bounds) -> bytes | None:
    """Read a workflow file; None, with the reason reported, where that is impossible or refused.

    Opened without waiting, so that a FIFO or a device is refused at once.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        report.add("E101", NOWHERE, "there is no such file")
        return None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        report.add("E102", NOWHERE, f"the file cannot be opened: {reason}")
        return None
    try:
        return _read_regular(fd, report, bounds)
    except OSError as error:
        report.add("E102", NOWHERE, f"the file cannot be read: {error.strerror}")
        return None
    finally:
        os.close(fd)


def _read_regular(fd: int, report: Report, bounds: Bounds) -> bytes | None:
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        report.add("E102", NOWHERE, f"a workflow file must be a regular file, not {_kind(mode)}")
        return None
    chunks: list[bytes] = []
    left = bounds.file_bytes + 1
    while left > 0 and (chunk := os.read(fd, min(left, 1 << 20))):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    if stat.S_ISFIFO(mode):
        return "a FIFO"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def decode(body: bytes, report: Report, bounds: Bounds) -> str | None:
    """Decode UTF-8 strictly; None, with the place reported, where it is something else or too much.

    Every line end becomes one line feed: positions stay, and the parsers need not agree about the other kinds.
    """
    if len(body) > bounds.file_bytes:
        report.add("E103", NOWHERE, f"the file is larger than {bounds.file_bytes} bytes")
        return None
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        report.add("E104", (1, 1), "the file is UTF-16", "save it as UTF-8")
        return None
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # `object` is the body without the mark at its beginning, and `start` counts in it.
        found = f"byte 0x{error.object[error.start]:02x}"
        mark = _end_of(error.object[: error.start].decode())
        report.add("E104", mark, f"the file is not UTF-8: {found}", "save it as UTF-8")
        return None
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def only_text(text: str, report: Report) -> tuple[str, set[int]]:
    """Take out the characters that YAML forbids or that readers disagree about; reports the first of them.

    Returns:
        The text with U+FFFD in their places, and the lines of those that were reported: empty if all is well.
    """
    found = list(islice(_FORBIDDEN.finditer(text), _MOST_SHOWN))
    if not found:
        return text, set()
    marks = [_end_of(text[: match.start()]) for match in found]
    for match, mark in zip(found, marks, strict=True):
        code = ord(match[0])
        message = f"the character U+{code:04X} may not stand in a file as it is"
        report.add("E111", mark, message, f'remove it, or write it as "\\u{code:04x}", in double quotes')
    return _FORBIDDEN.sub("\ufffd", text), {line for line, _ in marks}


def _end_of(lead: str) -> Mark:
    """The position right behind a text."""
    return (lead.count("\n") + 1, len(lead) - lead.rfind("\n"))
