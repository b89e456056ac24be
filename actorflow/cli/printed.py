"""What a task's processes have printed, as it is shown with the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import asdict, frozen

from actorflow.cli.screen import as_line
from actorflow.journal import Journal
from actorflow.journal.output_log import OutputLine, Stream

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
    lines: list[OutputLine] = []
    position = -1
    found: Sequence[OutputLine] = ()
    behind = 0
    while position != behind:
        position = behind
        found, behind = journal.outputs.read(run_id, position)
        for line in found:
            if line.task != task:
                continue
            if lines and (line.attempt, line.loss) != (lines[-1].attempt, lines[-1].loss):
                lines.clear()
            lines.append(line)
    streams: list[Printed] = []
    for stream in _STREAMS:
        of_it = [line for line in lines if line.stream == stream]
        if of_it:
            streams.append(Printed(stream, of_it[-LINES_SHOWN:], len(of_it)))
    return streams


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
