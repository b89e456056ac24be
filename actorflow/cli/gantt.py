"""The attempts of a run as bars over its time: a line for each task, and an axis below them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from attrs import frozen

from actorflow.cli.terminal import Span, Terminal, cut
from actorflow.cli.timeline import Attempt, Timeline

Line = tuple[Span, ...]

ROWS_SHOWN: Final = 40

_WAITS: Final = "waits"
_RESTED: Final = "rested"


@frozen
class Marks:
    """What a chart is made of: no two bars may be told apart by colour alone."""

    bars: Mapping[str, str]  #: by what they stand for
    tick: str
    line: str
    more: str


_UNICODE: Final = Marks(
    {
        "success": "█",
        "failed": "×",
        "timed_out": "!",
        "canceled": "○",
        "lost": "~",
        "running": "▒",
        _WAITS: "·",
        _RESTED: "/",
    },
    tick="├",
    line="─",
    more="…",
)
_ASCII: Final = Marks(
    dict(zip(_UNICODE.bars, "#x!o~>./", strict=True)),
    tick="|",
    line="-",
    more="..",
)

_UNITS: Final = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))
_STEPS: Final[tuple[float, ...]] = (
    *(digit * size for size in (0.0001, 0.001, 0.01, 0.1, 1.0) for digit in (1, 2, 5)),
    *(10.0, 20.0, 30.0),
    *(60.0 * minutes for minutes in (1, 2, 5, 10, 20, 30)),
    *(3_600.0 * hours for hours in (1, 2, 6, 12)),
    *(86_400.0 * size * digit for size in (1, 10, 100, 1_000, 10_000) for digit in (1, 2, 5)),
)
"""Distances of ticks, in seconds."""

_DEFAULT_WIDTH: Final = 80
_GAP: Final = "  "
_LEAST_LABEL: Final = 8  # columns
_LEAST_BARS: Final = 10
_MOST_TICKS: Final = 10
_SHORTEST_TIME: Final = 0.001  # seconds that the axis has at least


@frozen(kw_only=True)
class Chart:
    """What is drawn, and how."""

    timeline: Timeline
    now: float  #: up to where a run that goes on is drawn, in epoch seconds
    is_alive: bool  #: whether somebody is at it: what has no end is cut off otherwise
    waiting: frozenset[str] = frozenset()  #: tasks that wait for another attempt


def gantt_lines(chart: Chart, terminal: Terminal, *, shows_all: bool = False, indent: str = "") -> list[str]:
    """The chart in lines that are no wider than the terminal; none where nothing was tried.

    Args:
        chart: what is drawn.
        terminal: 80 columns where it is none.
        shows_all: whether more than `ROWS_SHOWN` tasks have a line: otherwise those that did not succeed come first,
            then the longest.
        indent: in front of each line.
    """
    rows = _rows(chart.timeline.attempts)
    if not rows:
        return []
    marks = _UNICODE if terminal.is_unicode else _ASCII
    shown = rows if shows_all else _worth_showing(rows)
    width = (terminal.width or _DEFAULT_WIDTH) - len(indent)
    label = min(max(len(name) for name in shown), max(width // 4, _LEAST_LABEL))
    scale = _scale(chart, shown.values(), max(width - label - len(_GAP), _LEAST_BARS))
    drawn = {name: _cells(chart, name, attempts, scale) for name, attempts in shown.items()}
    lines: list[Line] = [
        ((cut(name, label, marks.more).ljust(label) + _GAP, ""), *_spans(cells, marks))
        for name, cells in drawn.items()
    ]
    lines.append(((" " * label + _GAP, ""), (axis(scale, marks), "faint")))
    if len(shown) < len(rows):
        lines.append(((f"{marks.more} {len(rows) - len(shown)} more; --all shows them", ""),))
    lines += [((text, "faint"),) for text in _filled(_legend(drawn.values(), scale, marks), width)]
    return [indent + terminal.painted(line) for line in lines]


def spread(spans: Sequence[tuple[float, float]], width: int) -> list[tuple[int, int]]:
    """Where bars begin and end, in cells: each has one at least, and none covers another.

    Args:
        spans: begin and end of each, as parts of the whole from 0 to 1; none begins before the one in front of it.
        width: cells; at least as many as there are bars.
    """
    starts: list[int] = []
    for start, _ in spans:
        starts.append(max(int(start * width), starts[-1] + 1 if starts else 0))
    latest = width
    for number in reversed(range(len(starts))):
        latest = starts[number] = min(starts[number], latest - 1)
    bounds = [*starts[1:], width]
    return [
        (start, max(start + 1, min(round(end * width), bound)))
        for start, (_, end), bound in zip(starts, spans, bounds, strict=False)
    ]


@frozen
class Scale:
    """Time in which the run did not rest, on so many cells."""

    start: float  #: epoch seconds
    seconds: float
    width: int  #: cells
    rests: tuple[tuple[float, float], ...]  #: those between start and end

    def part(self, at: float) -> float:
        """How much of the whole has passed at a time, from 0 to 1."""
        return min(max(_worked(self.start, at, self.rests) / self.seconds, 0.0), 1.0)


def axis(scale: Scale, marks: Marks) -> str:
    """The line below the bars: its ticks say how much time has passed, and a slash that the run rested."""
    cells = [marks.line] * scale.width
    for _, end in scale.rests:
        cells[min(int(scale.part(end) * scale.width), scale.width - 1)] = marks.bars[_RESTED]
    step = _step(scale)
    for number in range(int(scale.seconds / step) + 1):
        at, label = (
            int(number * step / scale.seconds * scale.width),
            f"{marks.tick}{_time(number * step, step)}",
        )
        if cells[at : at + len(label)] == [marks.line] * len(label):
            cells[at : at + len(label)] = label
    return "".join(cells)


def _rows(attempts: Iterable[Attempt]) -> dict[str, list[Attempt]]:
    """By task, in the order in which they began."""
    rows: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        rows.setdefault(attempt.task, []).append(attempt)
    return rows


def _worth_showing(rows: Mapping[str, list[Attempt]]) -> dict[str, list[Attempt]]:
    def rank(name: str) -> tuple[bool, float]:
        first, last = rows[name][0], rows[name][-1]
        return last.outcome == "success", first.started_at - (last.ended_at or float("inf"))

    chosen = set(sorted(rows, key=rank)[:ROWS_SHOWN])
    return {name: attempts for name, attempts in rows.items() if name in chosen}


def _scale(chart: Chart, rows: Iterable[Sequence[Attempt]], width: int) -> Scale:
    shown = [attempt for attempts in rows for attempt in attempts]
    start = min(each.started_at for each in shown)
    ends = [chart.now if each.ended_at is None else each.ended_at for each in shown]
    end = max([*ends, chart.now] if chart.is_alive else ends)
    rests = tuple(rest for rest in chart.timeline.rests if start <= rest[0] and rest[1] <= end)
    return Scale(start, max(_worked(start, end, rests), _SHORTEST_TIME), width, rests)


def _worked(start: float, at: float, rests: Iterable[tuple[float, float]]) -> float:
    """Seconds from `start` to `at` without the rests."""
    rested = sum((max(min(end, at) - max(begin, start), 0.0) for begin, end in rests), start=0.0)
    return at - start - rested


def _cells(chart: Chart, name: str, attempts: Sequence[Attempt], scale: Scale) -> list[str]:
    """What stands in each cell of a task's line; of more attempts than there are cells, the last ones."""
    last = attempts[-scale.width :]
    spans = [
        (scale.part(each.started_at), scale.part(chart.now if each.ended_at is None else each.ended_at))
        for each in last
    ]
    places = spread(spans, scale.width)
    cells = [""] * scale.width
    for (before, (_, end)), (after, (start, _)) in pairwise(zip(last, places, strict=True)):
        if before.generation == after.generation:
            cells[end:start] = [_WAITS] * (start - end)
    if name in chart.waiting:
        end = places[-1][1]
        cells[end:] = [_WAITS] * (scale.width - end)
    for attempt, (start, end) in zip(last, places, strict=True):
        cells[start:end] = [attempt.outcome or ("running" if chart.is_alive else "lost")] * (end - start)
    return cells


def _spans(cells: Sequence[str], marks: Marks) -> list[Span]:
    """The cells as text, those that follow each other and mean the same together."""
    spans: list[Span] = []
    for about in cells:
        mark = marks.bars[about] if about else " "
        if spans and spans[-1][1] == about:
            spans[-1] = (spans[-1][0] + mark, about)
        else:
            spans.append((mark, about))
    return spans


def _legend(rows: Iterable[Sequence[str]], scale: Scale, marks: Marks) -> list[str]:
    """What the marks mean, if there is anything but success."""
    found = {about for cells in rows for about in cells if about}
    if scale.rests:
        found.add(_RESTED)
    if found <= {"success"}:
        return []
    return [f"{mark} {about.replace('_', ' ')}" for about, mark in marks.bars.items() if about in found]


def _filled(pieces: Iterable[str], width: int) -> list[str]:
    """The pieces beside each other, in lines that are no wider than they may be."""
    lines: list[str] = []
    for piece in pieces:
        if lines and len(lines[-1]) + len(piece) + 2 <= width:
            lines[-1] += f"  {piece}"
        else:
            lines.append(piece)
    return lines


def _step(scale: Scale) -> float:
    """The shortest distance of ticks whose labels have room, and of which there are not too many."""
    for step in _STEPS:
        longest = len(_time(int(scale.seconds / step) * step, step))
        if step / scale.seconds * scale.width >= max(longest + 3, scale.width / _MOST_TICKS):
            return step
    return scale.seconds


def _time(seconds: float, step: float) -> str:
    """A time on the axis, in the unit of its ticks."""
    size, unit = next((row for row in _UNITS if step >= row[0]), _UNITS[-1])
    return f"{round(seconds / size, 4):g} {unit}"
