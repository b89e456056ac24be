"""The lines of a task in a live view: what stands in each of its columns, and which columns a width has room for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Final

from attrs import evolve, frozen
from rich.cells import cell_len
from rich.text import Text

from actorflow.cli.happenings import happening
from actorflow.cli.layout import between, duration
from actorflow.cli.live.view import Row, RunningHook, Wait, plain
from actorflow.core.events import BreakerRefused

__all__ = ["STYLES", "Symbols", "TaskLine", "cut", "hook_line", "laid_out", "seconds_text", "task_line"]

STYLES: Final[Mapping[str, str]] = {
    "success": "green",
    "failed": "bold red",
    "running": "cyan",
    "waiting": "yellow",
    "paused": "yellow",
    "pausing": "yellow",
    "canceled": "magenta",
    "crashed": "bold red",
    "skipped": "dim",
    "pending": "dim",
}
"""The colour of a status; what it is stands there as a word, too."""

_LEAST_TEXT: Final = 16  # columns; a text with less goes below
_ROOM_FOR_AGENT: Final = 30  # columns that the text must have besides
_LONGEST_NAME: Final = 40


@frozen
class Symbols:
    """The characters that a view is drawn with."""

    marks: Mapping[str, str]  #: by status
    full: str
    empty: str
    more: str  #: in front of what is left out

    def of_run(self, status: str) -> str:
        """The mark of a run; whatever is said of it behind its status."""
        word = status.partition(" ")[0]
        return self.marks[_LIKE_TASKS.get(word, word)]

    @classmethod
    def for_terminal(cls, *, is_unicode: bool) -> Symbols:
        """Those that a terminal has."""
        marks = dict(zip(_STATUSES, "✓✗●◷⊘–·" if is_unicode else "+x>~!-.", strict=True))
        return cls(marks, "━", "─", "…") if is_unicode else cls(marks, "#", "-", "...")


_LIKE_TASKS: Final[Mapping[str, str]] = {"crashed": "failed", "paused": "waiting", "pausing": "waiting"}
_STATUSES: Final[Sequence[str]] = (
    "success",
    "failed",
    "running",
    "waiting",
    "canceled",
    "skipped",
    "pending",
)


@frozen(kw_only=True)
class TaskLine:
    """What stands in the columns of a line, made harmless."""

    status: str
    name: str
    attempt: str = ""  #: such as `2/3`; empty where there is nothing to count
    time: str = ""
    agent: str = ""
    text: str = ""  #: what it printed last, waits for, or failed by


def task_line(row: Row, now: float) -> TaskLine:
    """The columns of a task."""
    return TaskLine(
        status=row.status,
        name=plain(row.task.id),
        attempt=_attempt(row),
        time=_time(row, now),
        agent="" if row.spec.agent is None else plain(row.task.agent or ""),
        text=plain(_text(row, now).strip()),
    )


def hook_line(hook: RunningHook, now: float) -> TaskLine:
    """The columns of a blocking hook that runs."""
    return TaskLine(
        status="running",
        name=plain(f"hook {hook.path}"),
        time=seconds_text(now - hook.at),
        text=plain(hook.name),
    )


def seconds_text(seconds: float) -> str:
    """A time that goes on, in whole seconds: a view is painted once in a second, unless something happens."""
    return f"{max(int(seconds), 0)} s" if seconds < 120 else duration(seconds)


def laid_out(
    lines: Sequence[TaskLine], symbols: Symbols, width: int, spare: int
) -> Sequence[tuple[Text, ...]]:
    """Each line as text of at most `width` columns, their cells below each other; some with a second line for the text.

    Args:
        lines: of one view.
        symbols: to draw with.
        width: columns.
        spare: how many second lines there may be, where the texts have too little room beside the other columns.
    """
    widths = _fitting_widths(lines, width)
    room = width - _taken(widths)
    drawn: list[tuple[Text, ...]] = []
    for line in lines:
        head = _columns(line, widths, symbols)
        if not line.text or room >= _LEAST_TEXT or (spare <= 0 and room > 0):
            drawn.append((cut(_with_text(head, line, room), width),))
        elif spare > 0:
            spare -= 1
            drawn.append((cut(head, width), cut(Text(f"    {line.text}", _text_style(line)), width)))
        else:
            drawn.append((cut(head, width),))
    return drawn


_Widths = Mapping[str, int]

_COLUMNS: Final = ("name", "status", "attempt", "time", "agent")
_DROPPED_FIRST: Final = ("agent", "attempt", "status")
"""What is left out where the text has no room beside it; the status last, as the mark in front of it says it too."""


def _fitting_widths(lines: Sequence[TaskLine], width: int) -> _Widths:
    """The widths of the columns that are shown, in their order."""
    longest = {
        column: max((cell_len(_cell(line, column)) for line in lines), default=0) for column in _COLUMNS
    }
    longest["name"] = min(longest["name"], _LONGEST_NAME, max(width // 3, 8))
    shown = {column: size for column, size in longest.items() if size}
    has_texts = any(line.text for line in lines)
    for column in _DROPPED_FIRST:
        is_tight = width - _taken(shown) < (_ROOM_FOR_AGENT if has_texts and column == "agent" else 0)
        if is_tight:
            shown.pop(column, None)
    return shown


def _taken(widths: _Widths) -> int:
    """What the columns take with their indent, the mark, and two blanks behind each."""
    return 4 + sum(size + 2 for size in widths.values())


def _columns(line: TaskLine, widths: _Widths, symbols: Symbols) -> Text:
    style = STYLES.get(line.status, "")
    text = Text("  ").append(symbols.marks.get(line.status, " "), style).append(" ")
    for column, size in widths.items():
        cell = Text(_cell(line, column), _STYLE_OF.get(column, style))
        cell.truncate(size, overflow="ellipsis")
        blanks = " " * (size - cell.cell_len)
        text.append_text(Text(blanks).append_text(cell) if column == "time" else cell.append(blanks))
        text.append("  ")
    return text


_STYLE_OF: Final[Mapping[str, str]] = {"name": "", "attempt": "", "time": "", "agent": "dim"}


def _cell(line: TaskLine, column: str) -> str:
    value: str = getattr(line, column)
    return value


def _with_text(head: Text, line: TaskLine, room: int) -> Text:
    text = Text(line.text, _text_style(line))
    text.truncate(max(room, 0), overflow="ellipsis")
    return head.append_text(text)


def _text_style(line: TaskLine) -> str:
    return "red" if line.status == "failed" else "dim"


def cut(text: Text, width: int) -> Text:
    """A line in at most so many columns, with a mark at its end where some of it is missing."""
    text.rstrip()
    text.truncate(width, overflow="ellipsis")
    return text


def _attempt(row: Row) -> str:
    """Which attempt of how many it is; once several agents or generations had theirs, which of all."""
    number, most = row.task.attempt, row.spec.retry.max_attempts
    is_open = row.status in ("running", "waiting")
    if number == 0 or (number == 1 and (most == 1 or not is_open)):
        return ""
    is_alone = number == row.task.agent_attempts
    return f"{number}/{most}" if is_alone and most > 1 else f"#{number}"


def _time(row: Row, now: float) -> str:
    task = row.task
    if task.started_at is None:
        return ""
    if task.ended_at is not None:
        return duration(between(task.started_at, task.ended_at))
    began = task.attempt_started_at if row.status == "running" else task.started_at
    return seconds_text(now - (began or now))


def _text(row: Row, now: float) -> str:
    match row.status:
        case "running":
            return row.output or (f"after {row.why}" if row.why else "")
        case "waiting":
            waits = "" if row.wait is None else waiting_text(row.wait, row.task.due_at, now)
            return f"{waits}, after {row.why}" if waits and row.why else waits or row.why
        case "failed" | "skipped" | "success":
            return row.why
        case _:
            return ""


def waiting_text(wait: Wait, due_at: float, now: float) -> str:
    """What a task waits for, and how much longer, in the words in which the event itself is told."""
    until = max(due_at, now)
    if isinstance(wait, BreakerRefused):
        told = happening(evolve(wait, at=now, until=until), length=_left_text)
    else:
        told = happening(evolve(wait, at=now, due_at=until), length=_left_text)
    return "" if told is None else f"{told.word}: {told.text}"


def _left_text(seconds: float) -> str:
    """A time that is left, in whole seconds that have begun."""
    return seconds_text(ceil(seconds))
