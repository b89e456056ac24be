"""Plain text that lines up: columns, times and lengths of time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

from actorflow.cli.screen import as_line

_LONGEST_CELL = 60


def columns(rows: Iterable[Sequence[str]], *, indent: str = "") -> list[str]:
    """Rows as lines whose cells stand below each other; the last cell of a row may be as long as it likes."""
    cells = [[as_line(cell) for cell in row] for row in rows]
    count = max(map(len, cells), default=0)
    widths = [
        min(_LONGEST_CELL, max((len(row[i]) for row in cells if i < len(row) - 1), default=0))
        for i in range(count)
    ]
    return [
        (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))).rstrip()
        for row in cells
    ]


def counted(count: int, noun: str) -> str:
    """`1 task`, `2 tasks`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration(seconds: float | None) -> str:
    """A length of time for people, or a dash."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{max(seconds, 0.0):.2f} s"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def between(start: float | None, end: float | None) -> float | None:
    """Seconds from one time to another, if both are known."""
    return None if start is None or end is None else end - start


def local_time(at: float | None) -> str:
    """A time in epoch seconds as the clock on the wall shows it, or a dash."""
    if at is None:
        return "-"
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return f"{at:.0f}"


def as_json(value: Any, *, indent: int | None = None) -> str:
    """A value as it is shown to people."""
    return json.dumps(value, ensure_ascii=False, indent=indent)
