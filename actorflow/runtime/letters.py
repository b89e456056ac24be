"""Dead letters of tasks: what the journal keeps beside the events that tell of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from actorflow.core.events import DeadLettered, Event
from actorflow.errors import DeadLetterNotFoundError
from actorflow.journal.protocol import DeadLetter, KeepDeadLetter


def letters(run_id: str, events: Sequence[Event], first_seq: int) -> Iterator[KeepDeadLetter]:
    """The rows for the dead letters among a batch of events, whose first has the number `first_seq`."""
    for seq, event in enumerate(events, first_seq):
        if isinstance(event, DeadLettered):
            reason = f"{event.failure.type}: {event.failure.message}"
            yield KeepDeadLetter(DeadLetter(event.letter, "task", run_id, event.task, reason, event.at, seq))


def chosen_letter(letters: Sequence[DeadLetter], letter_id: str) -> DeadLetter:
    """The dead letter of this id, or the only one whose id begins so.

    Raises:
        DeadLetterNotFoundError: none or several; it names the nearest.
    """
    found = [letter for letter in letters if letter.id.startswith(letter_id)]
    exact = [letter for letter in found if letter.id == letter_id]
    if exact or len(found) == 1:
        return (exact or found)[0]
    near = [letter.id for letter in found] or get_close_matches(
        letter_id, [each.id for each in letters][:1000]
    )
    raise DeadLetterNotFoundError(letter_id, nearest=tuple(near[:5]))
