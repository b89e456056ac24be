"""The last lines that the task printed by which a run has failed: mostly they say why."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from actorflow.journal.output_log import OutputLine, ReadOutput, lines_of
from actorflow.runtime.result import RunResult

__all__ = ["LastLines", "last_lines"]

_KEPT: Final = 5


class LastLines:
    """Picks the last lines of one attempt out of all that a run has printed.

    Args:
        result: of the run: it says by which attempt it has failed, if it was one.
    """

    def __init__(self, result: RunResult) -> None:
        error = result.error or {}
        self._attempt = (error.get("task"), error.get("attempt"))
        self._lines: deque[OutputLine] = deque(maxlen=_KEPT)

    @property
    def are_wanted(self) -> bool:
        """Whether there is an attempt to look for."""
        return None not in self._attempt

    @property
    def found(self) -> Sequence[OutputLine]:
        """The last ones so far."""
        return tuple(self._lines)

    def take(self, lines: Iterable[OutputLine]) -> None:
        """Look at the next lines of the run."""
        self._lines.extend(
            line for line in lines if (line.task, line.attempt) == self._attempt and line.text.strip()
        )


def last_lines(result: RunResult, read: ReadOutput) -> Sequence[OutputLine]:
    """Those of a run, read from a log of outputs; blocks."""
    last = LastLines(result)
    if last.are_wanted:
        last.take(lines_of(read))
    return last.found
