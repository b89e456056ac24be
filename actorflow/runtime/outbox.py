"""What a run has to say to the journal, and what it holds back until that is kept.

```
note, hold, add ──► send: one batch, in flight ──► landed: what was held with it may be done
```

One batch is in flight at a time: what is noted meanwhile makes the next one larger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from actorflow.core.commands import RunHook, StartAttempt
from actorflow.core.events import Event
from actorflow.core.state import RunState
from actorflow.core.step import Action
from actorflow.journal.projection import summary_after
from actorflow.journal.protocol import (
    Append,
    Outcome,
    Release,
    RunSummary,
    SaveCheckpoint,
    Write,
)
from actorflow.runtime.letters import letters


class Ledgered(Protocol):
    """Who brings writes to the journal."""

    @property
    def run_id(self) -> str:
        """The run's id."""
        ...

    def keep(self, write: Write, reply: Callable[[Outcome], None]) -> None:
        """To the JournalActor. Writes of one turn are in one commit."""
        ...

    @property
    def owes_hooks(self) -> bool:
        """Whether its events may owe deliveries to async hooks."""
        ...

    def next_checkpoint(self, state: RunState, seq: int) -> SaveCheckpoint | None:
        """What to keep of the state together with the batch that ends here, if that is due."""
        ...


class Outbox:
    """Events and actions on their way, for one run.

    Args:
        around: who brings writes to the journal.
        state: the run's, with all in it that was noted.
        seq: of the last event in the journal.
        reply: called with what became of each batch.
    """

    def __init__(self, around: Ledgered, state: RunState, seq: int, reply: Callable[[Outcome], None]) -> None:
        self._around = around
        self._state = state
        self._run_id = around.run_id
        self._reply = reply
        self._seq = seq  #: of the last event handed to the journal
        self._unsaved: list[Event] = []
        self._held: list[Action] = []  #: what is to be done once `_unsaved` is kept
        self._beside: tuple[Write, ...] = ()  #: what is to be kept together with `_unsaved`
        self._summary: RunSummary | None = None  #: where `_unsaved` changes it
        self._in_flight: Sequence[Event] = ()
        self._held_by_flight: Sequence[Action] = ()
        self.is_answer_owed = False  #: the journal's, to the batch in flight
        self.is_released = False  #: the run was given up together with its end

    @property
    def unsaved_count(self) -> int:
        """Events that are not on their way yet."""
        return len(self._unsaved)

    @property
    def is_in_flight(self) -> bool:
        """Whether a batch is on its way."""
        return bool(self._in_flight)

    @property
    def is_holding(self) -> bool:
        """Whether anything is to be done once what is unsaved is kept."""
        return bool(self._held)

    @property
    def has_unkept(self) -> bool:
        """Whether something has happened that is not in the journal yet."""
        return bool(self._unsaved or self._in_flight)

    @property
    def last_seq(self) -> int:
        """The number that the last event has in the journal, or will have."""
        return self._seq + len(self._unsaved)

    def note(self, event: Event) -> None:
        """An event has happened, and is in the state."""
        self._unsaved.append(event)
        self._summary = summary_after(self._state, event) or self._summary

    def note_step(self, events: Sequence[Event]) -> None:
        """A step of the core has happened; only its last event changes the row of the run."""
        if events:
            self._unsaved.extend(events[:-1])
            self.note(events[-1])

    def hold(self, actions: Iterable[Action]) -> None:
        """Hold actions until all that was noted is kept."""
        self._held.extend(actions)

    def add(self, write: Write) -> None:
        """Have something kept in the same commit as what was noted."""
        self._beside = (*self._beside, write)

    def send(self) -> None:
        """Hand the journal all that is unsaved, and what goes with it."""
        first = self._seq + 1
        self._seq += len(self._unsaved)
        self._in_flight, self._unsaved = self._unsaved, []
        self._held_by_flight, self._held = self._held, []
        summary, self._summary = self._summary, None
        if self._state.had_errors:
            self._beside = (*self._beside, *letters(self._run_id, self._in_flight, first))
        self.is_answer_owed = True
        self._around.keep(Append(self._run_id, first, self._in_flight, summary), self._reply)
        self._send_beside()
        checkpoint = self._around.next_checkpoint(self._state, self._seq)
        if checkpoint is not None:
            self._around.keep(checkpoint, _forget)
        if self._state.phase == "ended" and not self._around.owes_hooks:
            self._around.keep(Release(self._run_id, self._seq), self._note_release)

    def send_no_events(self) -> Sequence[Action]:
        """Hand the journal what was added, where nothing has happened; what is held is to be done: cancels, said again."""
        self._send_beside()
        held = self._held
        if held:
            self._held = []
        return held

    def landed(self) -> tuple[Sequence[Event], Sequence[Action], int]:
        """The batch in flight is kept: what it was, what may be done now, and the number of its last event."""
        kept, self._in_flight = self._in_flight, ()
        actions, self._held_by_flight = self._held_by_flight, ()
        return kept, actions, self._seq

    def drop_starts(self) -> None:
        """What is held will not begin; it is lost, as the journal has it or will have it."""
        self._held = [action for action in self._held if not isinstance(action, StartAttempt | RunHook)]
        self._held_by_flight = [
            action for action in self._held_by_flight if not isinstance(action, StartAttempt | RunHook)
        ]

    def _send_beside(self) -> None:
        if self._beside:
            beside, self._beside = self._beside, ()
            for write in beside:
                self._around.keep(write, _forget)

    def _note_release(self, outcome: Outcome) -> None:
        self.is_released = not isinstance(outcome, Exception)


def _forget(_: Outcome) -> None:
    """What is kept beside the events can be missed: a run without a checkpoint is folded from its start."""
