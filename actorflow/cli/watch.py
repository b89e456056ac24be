"""`actorflow watch`: a run as it goes on, in whatever process; it is only read, and goes on whether it is watched or not."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from attrs import frozen

from actorflow.cli.account import Account
from actorflow.cli.execution import tell
from actorflow.cli.found import Found, found_run, status_of_row, status_text
from actorflow.cli.handed_on import handed_on
from actorflow.cli.kept import account_as_kept
from actorflow.cli.live.counting import rest_s
from actorflow.cli.progress import Progress
from actorflow.cli.report import account_document, command_line
from actorflow.cli.screen import Screen
from actorflow.cli.settings import Settings
from actorflow.cli.signals import Interrupted
from actorflow.cli.statuses import STATUS_OF_RUN, Exit
from actorflow.cli.store.export import Shown
from actorflow.cli.store.opening import named_run, reading, store_option
from actorflow.core.events import Event
from actorflow.journal import Journal, RunRow
from actorflow.journal.output_log import OutputLine
from actorflow.runtime.result import HookCounts, result_from
from actorflow.runtime.runtime import read_state

if TYPE_CHECKING:
    from actorflow.cli.live.display import LiveDisplay

_LOOK_AGAIN_S: Final = 0.15


def watch(settings: Settings, run: str) -> int:
    """Tell what happens to a run until it is over and nobody is at it any more; the exit status is the run's.

    Raises:
        RunNotFoundError: there is none, or it was deleted meanwhile.
    """
    screen = settings.screen
    with reading(settings) as journal:
        found = found_run(journal, named_run(journal, run))
        watched = _Watched(journal, found)
        is_left = False
        try:
            with _watcher(screen, watched) as watcher:
                _watch(screen, watched, watcher)
        except (Interrupted, KeyboardInterrupt):
            is_left = True
        account = account_as_kept(journal, found_run(journal, journal.find(found.run_id)))
    if is_left and account.pid is not None:
        return _left(settings, account)
    if screen.is_json:
        screen.document_line(account_document(account))
        return _status(account)
    tell(settings, account)
    return _status(account)


@frozen
class _Look:
    """What is new of a run."""

    row: RunRow
    events: Sequence[tuple[int, Event]]

    @property
    def is_last(self) -> bool:
        """Whether nobody is at the run: it has ended, is paused, or has lost its process."""
        return self.row.owner_pid is None


class _Watched:
    """A run of a journal, with how far it was read."""

    def __init__(self, journal: Journal, found: Found) -> None:
        self.journal = journal
        self.found = found
        self._seq = 0
        self._position = 0

    def look(self) -> _Look:
        """Read what has happened since the last look."""
        # the row first: of a run that is over, all events are there then
        row = self.journal.find(self.found.run_id)
        events = list(self.journal.events(row.run_id, self._seq)) if row.last_seq > self._seq else []
        self._seq = events[-1][0] if events else self._seq
        return _Look(row, events)

    def output(self) -> Sequence[OutputLine]:
        """Read what its tasks have printed since the last time."""
        lines, self._position = self.journal.outputs.read(self.found.run_id, self._position)
        return lines

    def hooks(self, row: RunRow) -> HookCounts:
        """Count what has become of its hooks."""
        return result_from(self.journal, row, read_state(self.journal, row)[0]).hooks


class _Watcher(Protocol):
    """Who tells of a run."""

    def tell(self, look: _Look) -> None:
        """Tell what is new."""
        ...


def _watch(screen: Screen, watched: _Watched, watcher: _Watcher) -> None:
    while screen.has_reader:
        look = watched.look()
        watcher.tell(look)
        if look.is_last:
            return
        time.sleep(_LOOK_AGAIN_S)


@contextmanager
def _watcher(screen: Screen, watched: _Watched) -> Generator[_Watcher]:
    """Who tells of a run in the way that the screen wants it."""
    if not screen.is_live:
        yield _InDocuments(screen, watched) if screen.is_json else _InLines(screen, watched)
        return
    from actorflow.cli.live.display import LiveDisplay  # noqa: PLC0415 - nobody else needs rich
    from actorflow.cli.live.view import RunView  # noqa: PLC0415

    view = RunView(watched.found.spec)
    with LiveDisplay(screen, view) as display:
        yield _InView(display, watched)


class _InLines:
    """A line for each thing that happens, as `run` has them."""

    def __init__(self, screen: Screen, watched: _Watched) -> None:
        self._screen = screen
        self._progress = Progress(watched.found.spec)
        screen.note(f"run {watched.found.run_id}")

    def tell(self, look: _Look) -> None:
        """See `_Watcher.tell`."""
        for _, event in look.events:
            line = self._progress.line(event)
            if line is not None:
                self._screen.note(line)


class _InDocuments:
    """A JSON document in a line for each event, as `export` has them."""

    def __init__(self, screen: Screen, watched: _Watched) -> None:
        found = watched.found
        self._screen = screen
        self._shown = Shown(found.state.plan, found.started, handed_on(watched.journal, found.started))

    def tell(self, look: _Look) -> None:
        """See `_Watcher.tell`."""
        for seq, event in look.events:
            self._screen.document_line(self._shown.event(seq, event))


class _InView:
    """A live view."""

    def __init__(self, display: LiveDisplay, watched: _Watched) -> None:
        self._display = display
        self._view = display.view
        self._watched = watched
        self._count_at = 0.0

    def tell(self, look: _Look) -> None:
        """See `_Watcher.tell`."""
        view, row = self._view, look.row
        for _, event in look.events:
            view.apply(event)
        view.note_output(self._watched.output())
        view.note_owner(status_text(status_of_row(row), row))
        if view.state.plan.hooks.has_async and (look.is_last or time.monotonic() >= self._count_at):
            began = time.monotonic()
            view.note_hooks(self._watched.hooks(row))
            ended = time.monotonic()
            self._count_at = ended + rest_s(ended - began)
        self._display.refresh(time.time())


def _left(settings: Settings, account: Account) -> int:
    """Who watched has gone; the run has not."""
    screen, run_id = settings.screen, account.result.run_id
    if screen.is_json:
        screen.document_line(account_document(account))
    pause = command_line("pause", run_id, store_option(settings))
    screen.note(
        f"run {run_id} goes on in process {account.pid}, and is not watched any more; to stop it: {pause}"
    )
    return Exit.STOPPED


def _status(account: Account) -> int:
    return STATUS_OF_RUN.get(account.status, Exit.STOPPED)
