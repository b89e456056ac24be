"""What a task's processes have printed, as it is shown with the task."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from attrs import asdict, frozen

from actorflow.cli.screen import as_line
from actorflow.journal import Journal
from actorflow.journal.output_log import OutputLine, Stream, lines_of

__all__ = ["Printed", "attempt_output", "line_document", "output_document", "output_lines", "shown_line"]

LINES_SHOWN: Final = 40
"""Of each stream, the last."""

_STREAMS: Final[tuple[Stream, ...]] = ("stdout", "stderr")


@frozen
class Printed:
    """The end of one stream of an attempt."""

    stream: Stream
    lines: Sequence[OutputLine]
    count: int  #: of all its lines


def attempt_output(journal: Journal, run_id: str, task: str) -> Sequence[Printed]:
    """What the last attempt of a task that printed anything has printed; streams without lines are not in it."""
    ends: dict[Stream, deque[OutputLine]] = {stream: deque(maxlen=LINES_SHOWN) for stream in _STREAMS}
    counts: dict[Stream, int] = dict.fromkeys(_STREAMS, 0)
    attempt = (0, 0)
    for line in lines_of(partial(journal.outputs.read, run_id)):
        if line.task != task:
            continue
        if attempt != (line.attempt, line.loss):
            attempt = (line.attempt, line.loss)
            for stream in _STREAMS:
                ends[stream].clear()
                counts[stream] = 0
        ends[line.stream].append(line)
        counts[line.stream] += 1
    return [Printed(stream, tuple(end), counts[stream]) for stream, end in ends.items() if end]


def output_lines(printed: Sequence[Printed]) -> list[str]:
    """The streams below each other, each under its name."""
    lines: list[str] = []
    for each in printed:
        last = f", the last {len(each.lines)} of {each.count} lines" if len(each.lines) < each.count else ""
        lines += ["", f"{each.stream}{last}:", *(f"  {shown_line(line)}".rstrip() for line in each.lines)]
    return lines[1:]


def output_document(printed: Sequence[Printed]) -> Mapping[str, Any]:
    """The same for programs: `{stream: {"lines": […], "count": …}}`."""
    return {
        each.stream: {"lines": [*map(line_document, each.lines)], "count": each.count} for each in printed
    }


def line_document(line: OutputLine) -> dict[str, Any]:
    """A line for programs."""
    return asdict(line)


def shown_line(line: OutputLine) -> str:
    """The text of a line without control characters; tabs are blanks."""
    return as_line(line.text.replace("\t", "    "))
