"""`actorflow logs`: what the commands and scripts of a run have printed, and print."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, Protocol

from attrs import frozen

from actorflow.cli.found import Found, found_run, unknown_task
from actorflow.cli.printed import line_document, shown_line
from actorflow.cli.screen import Screen, as_line
from actorflow.cli.sensitive import sensitive_tasks
from actorflow.cli.settings import Settings
from actorflow.cli.signals import Interrupted
from actorflow.cli.statuses import Exit
from actorflow.cli.store.opening import named_run, reading
from actorflow.cli.terminal import cells, cut
from actorflow.journal import Journal
from actorflow.journal.output_log import OutputLine, Stream

__all__ = ["LogRequest", "show_logs"]

_LOOK_AGAIN_S: Final = 0.2
_LONGEST_NAME: Final = 24  #: columns
_MARKS: Final = {"stdout": "|", "stderr": "!"}


@frozen(kw_only=True)
class LogRequest:
    """Which lines are asked for."""

    run: str
    task: str | None = None  #: None: all
    stream: Stream | None = None  #: None: both
    tail: int | None = None  #: of those that are there, only the last so many; None: all
    follows: bool = False  #: go on until nobody is at the run any more


def show_logs(settings: Settings, request: LogRequest) -> int:
    """Print lines in the order in which they came.

    Raises:
        RunNotFoundError: there is no such run.
        TaskNotFoundError: it has no such task.
    """
    screen = settings.screen
    with reading(settings) as journal:
        found = found_run(journal, named_run(journal, request.run))
        if request.task is not None and request.task not in found.state.plan.index:
            raise unknown_task(found, request.task)
        lines = _Lines(journal, found.run_id, request)
        there = deque(lines.new(), maxlen=request.tail)
        if screen.is_json and not request.follows:
            screen.document([*map(line_document, there)])
            return Exit.SUCCESS
        writer = _documents(screen) if screen.is_json else _Rows(screen, found, request.task)
        writer(there)
        if request.follows:
            return _follow(screen, journal, lines, writer)
    if not there:
        screen.note(_nothing(found, request.task))
    return Exit.SUCCESS


class _Lines:
    """The lines of a run that are asked for, with how far they were read."""

    def __init__(self, journal: Journal, run_id: str, request: LogRequest) -> None:
        self.run_id = run_id
        self._journal = journal
        self._request = request
        self._position = 0

    def new(self) -> Iterator[OutputLine]:
        """Those that have come since the last time."""
        while True:
            lines, position = self._journal.outputs.read(self.run_id, self._position)
            if position == self._position:
                return
            self._position = position
            yield from filter(self._is_asked_for, lines)

    def _is_asked_for(self, line: OutputLine) -> bool:
        task, stream = self._request.task, self._request.stream
        return task in (None, line.task) and stream in (None, line.stream)


class _Writer(Protocol):
    def __call__(self, lines: Collection[OutputLine], /) -> None: ...


class _Rows:
    """Writes lines for people: the task, the attempt where it is not the first, a mark for the stream, and the text."""

    def __init__(self, screen: Screen, found: Found, task: str | None) -> None:
        self._screen = screen
        names: Sequence[str] = () if task is not None else [as_line(each) for each in found.state.plan.index]
        self._width = min(_LONGEST_NAME, max(map(cells, names), default=0))

    def __call__(self, lines: Collection[OutputLine], /) -> None:
        if lines:
            self._screen.result("\n".join(map(self._row, lines)))

    def _row(self, line: OutputLine) -> str:
        name = cut(as_line(line.task), self._width)
        label = f"{name}{' ' * (self._width - cells(name))} " if self._width else ""
        again = f"#{line.attempt} " if line.attempt > 1 else ""
        return f"{label}{again}{_MARKS[line.stream]} {shown_line(line)}".rstrip()


def _documents(screen: Screen) -> _Writer:
    """Writes each line as a JSON document."""

    def write(lines: Collection[OutputLine], /) -> None:
        for line in lines:
            screen.document_line(line_document(line))

    return write


def _follow(screen: Screen, journal: Journal, lines: _Lines, write: _Writer) -> int:
    """Go on with what comes, until nobody is at the run, or nobody reads."""
    try:
        while screen.has_reader:
            is_last = (
                journal.find(lines.run_id).owner_pid is None
            )  # asked before: what it printed is there then
            write([*lines.new()])
            if is_last:
                break
            time.sleep(_LOOK_AGAIN_S)
    except (Interrupted, KeyboardInterrupt):
        return Exit.STOPPED
    return Exit.SUCCESS


def _nothing(found: Found, task: str | None) -> str:
    hidden: Collection[Any] = sensitive_tasks(found.spec)
    if task in hidden:
        return f"the output of task {as_line(task or '')} is sensitive, and is not kept"
    where = "the run" if task is None else f"task {as_line(task)}"
    return f"{where} has printed nothing: lines of commands and scripts are kept, from when they run"
