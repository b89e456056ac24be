"""Plain text that lines up: columns, times and lengths of time."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from actorflow.cli.screen import Screen, as_line
from actorflow.cli.terminal import cells, cut, terminal_of

_LONGEST_CELL: Final = 60
_LEAST_CELL: Final = 8  # columns that are left of a cell that must be cut
_LEAST_TEXT: Final = 20  # columns that the last cell of a row needs beside the others
_GAP: Final = "  "
_HANGING: Final = "    "


def show_table(screen: Screen, rows: Iterable[Sequence[str]], *, spare: Collection[int] = ()) -> None:
    """Write rows to stdout as `columns` has them; on a terminal no line is wider than that."""
    screen.result("\n".join(columns(rows, width=terminal_of(screen.out).width, spare=spare)))


def columns(
    rows: Iterable[Sequence[str]],
    *,
    indent: str = "",
    width: int | None = None,
    spare: Collection[int] = (),
) -> list[str]:
    """Rows as lines whose cells stand below each other; the last cell of a row may be as long as it likes.

    Args:
        rows: of one number of cells each.
        indent: in front of each line.
        width: what no line exceeds: the last cell is broken between words. None: lines may be of any length.
        spare: the columns that may be left out where there is no room, the least important first.
    """
    return [line for lines in row_lines(rows, indent=indent, width=width, spare=spare) for line in lines]


def row_lines(
    rows: Iterable[Sequence[str]],
    *,
    indent: str = "",
    width: int | None = None,
    spare: Collection[int] = (),
    mark: str = "…",
) -> list[list[str]]:
    """The same, for each row its lines; `mark` stands at the end of what is cut."""
    table = [[as_line(cell) for cell in row] for row in rows]
    if width is None:
        widths = _widths(table)
        return [[indent + _joined(row, widths)] for row in table]
    room = max(width - len(indent), _LEAST_CELL)
    table = _without_spare(table, room, spare)
    widths = _shrunk(_widths(table), room)
    return [[indent + line for line in _fitted(row, widths, room, mark)] for row in table]


def wrapped(text: str, width: int) -> list[str]:
    """A text in lines of at most so many columns, broken between words where that is possible; at least one line."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cells(joined) <= width:
            lines[-1] = joined
            continue
        lines = lines if lines[-1] else lines[:-1]
        while cells(word) > width:
            piece = cut(word, width, "") or word[0]
            lines.append(piece)
            word = word[len(piece) :]  # noqa: PLW2901 - what is left of it
        lines.append(word)
    return lines


def _widths(table: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column but the last one, which has none."""
    count = max(map(len, table), default=0)
    return [
        min(_LONGEST_CELL, max((cells(row[i]) for row in table if i < len(row) - 1), default=0))
        for i in range(count)
    ]


def _joined(row: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell + " " * (width - cells(cell)) for cell, width in zip(row, widths, strict=False))
    return _GAP.join(padded).rstrip()


def _without_spare(table: list[list[str]], room: int, spare: Collection[int]) -> list[list[str]]:
    """The table without as many of its spare columns as is needed for the last one to have room."""
    gone: set[int] = set()
    for column in spare:
        left = [[cell for i, cell in enumerate(row) if i not in gone] for row in table]
        last = max((cells(row[-1]) for row in left if row), default=0)
        if _taken(_widths(left)) + min(last, _LEAST_TEXT) <= room:
            return left
        gone.add(column)
    return [[cell for i, cell in enumerate(row) if i not in gone] for row in table]


def _taken(widths: Sequence[int]) -> int:
    """What the columns but the last take, with the gaps behind them."""
    return sum(width + len(_GAP) for width in widths[:-1])


def _shrunk(widths: Sequence[int], room: int) -> list[int]:
    """The widths, the widest narrower until the columns but the last are in the room, or none can be.

    The first column is the last to be: it has what is typed next, such as an id.
    """
    shrunk = [*widths]
    for columns_ in (range(1, len(shrunk) - 1), range(min(len(shrunk) - 1, 1))):
        while _taken(shrunk) > room and max((shrunk[i] for i in columns_), default=0) > _LEAST_CELL:
            shrunk[max(columns_, key=shrunk.__getitem__)] -= 1
    return shrunk


def _fitted(row: Sequence[str], widths: Sequence[int], room: int, mark: str) -> list[str]:
    """A row in lines: the last cell beside the others, or below them where it has too little room there."""
    *before, last = row or [""]
    head = [cut(cell, width, mark) for cell, width in zip(before, widths, strict=False)]
    beside = room - _taken(widths[: len(row)])
    if cells(last) <= beside or beside >= _LEAST_TEXT:
        first, *more = wrapped(last, max(beside, 1))
        lead = " " * (room - beside)
        return [_joined([*head, first], widths), *(f"{lead}{line}".rstrip() for line in more)]
    hanging = _HANGING if room > 2 * _LEAST_CELL else ""
    below = wrapped(last, room - len(hanging))
    return [
        *([cut(_joined(head, widths), room, mark)] if any(head) else []),
        *(f"{hanging}{line}" for line in below),
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
