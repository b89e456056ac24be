"""The events of a run on their way to its hooks: folded a second time, off the path of its tasks.

Each delivery is rendered from exactly the state of its event, however late that is done. Events that come faster than
they are folded are forgotten, and read from the journal when their turn comes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Final

from actorflow.core.events import Event
from actorflow.core.owed import Functions, OwedDelivery, functions_of, owed_by
from actorflow.core.state import RunState
from actorflow.journal.protocol import Journal

__all__ = ["BACKLOG", "Intake", "read_on"]

BACKLOG: Final = 4_096
"""Events that are kept in memory; that many are also read from the journal at a time."""


class Intake:
    """What the events of a run owe, in their order.

    Args:
        fold: makes the state of the run behind event `seq`: not before an event is folded, as the run itself begins then.
        seq: number of the last event that is in it.
        noted_seq: number of the last event that is known to be in the journal.
    """

    def __init__(self, fold: Callable[[], RunState], seq: int, noted_seq: int) -> None:
        self._fold = fold
        self.seq = seq
        self._noted_seq = noted_seq
        self._backlog: deque[tuple[int, Event]] = deque()
        self._functions: Functions | None = None
        self.is_behind = noted_seq > seq  #: what comes next is to be read from the journal

    @cached_property
    def state(self) -> RunState:
        """The run behind event `seq`."""
        return self._fold()

    @property
    def has_more(self) -> bool:
        """Whether there are events to fold at once."""
        return bool(self._backlog)

    @property
    def is_done(self) -> bool:
        """Whether all events that are known of are folded."""
        return not self._backlog and not self.is_behind

    def note(self, first_seq: int, events: Sequence[Event]) -> None:
        """These events are in the journal, the first under this number. One that was noted before changes nothing."""
        expected = self._noted_seq + 1
        self._noted_seq = max(self._noted_seq, first_seq + len(events) - 1)
        if self.is_behind:
            return
        if first_seq > expected or len(self._backlog) + len(events) > BACKLOG:
            self._backlog.clear()
            self.is_behind = True
            return
        self._backlog.extend(islice(enumerate(events, first_seq), expected - first_seq, None))

    def note_last(self, seq: int) -> None:
        """Events up to this number are in the journal; of some, nobody may have told."""
        if seq > self._noted_seq:
            self._noted_seq = seq
            self.is_behind = True

    def take_read(self, events: Sequence[tuple[int, Event]]) -> None:
        """The next events as the journal has them.

        Raises:
            LookupError: there are none, although some were noted.
        """
        if not events:
            raise LookupError(f"events {self.seq + 1} to {self._noted_seq} are not in the journal")
        self._backlog.extend(events)
        self._noted_seq = max(self._noted_seq, events[-1][0])
        self.is_behind = events[-1][0] < self._noted_seq

    def fold(self, is_over: Callable[[], bool]) -> Iterator[OwedDelivery]:
        """Apply events, one at least, until there are none or a slice is over.

        What an event owes is said whole before the next is looked at.
        """
        while self._backlog:
            self.seq, event = self._backlog.popleft()
            self.state.apply(event)
            yield from owed_by(self.state, self.seq, event, self._known_functions())
            if is_over():
                return

    def _known_functions(self) -> Functions:
        if self._functions is None:
            started = self.state.started
            assert started is not None
            self._functions = functions_of(started.flags)
        return self._functions


def read_on(journal: Journal, run_id: str, seq: int) -> Sequence[tuple[int, Event]]:
    """The next events of a run from its journal; blocks."""
    return list(islice(journal.events(run_id, seq), BACKLOG))
