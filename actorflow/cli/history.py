"""The attempts of one task, read off the events of its run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from actorflow.cli.layout import as_json, columns, duration
from actorflow.cli.progress import failure_text
from actorflow.cli.sensitive import shown_failure
from actorflow.core.events import (
    AttemptCanceled,
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
    AttemptSucceeded,
    AttemptTimedOut,
    Event,
    Failure,
)

Row = tuple[str, str, str, str, str, str]

_OUTCOMES = {
    AttemptSucceeded: "success",
    AttemptFailed: "failed",
    AttemptTimedOut: "timed out",
    AttemptCanceled: "canceled",
    AttemptLost: "lost",
}


_LONGEST_TEXT: Final = 200  # characters
_HEAD: Row = ("ATTEMPT", "LOSS", "AGENT", "OUTCOME", "TIME", "ERROR")


def attempt_lines(rows: Sequence[Row]) -> list[str]:
    """The rows as a table, if there are any."""
    return columns([_HEAD, *rows]) if rows else []


def attempt_rows(task: str, events: Iterable[tuple[int, Event]], *, is_sensitive: bool = False) -> list[Row]:
    """A row for each attempt, losses included: number, loss, agent, outcome, time, error."""
    rows: list[Row] = []
    started: AttemptStarted | None = None
    for _, event in events:
        if isinstance(event, AttemptStarted) and event.task == task:
            started = event
        elif (
            started is not None
            and isinstance(
                event, AttemptSucceeded | AttemptFailed | AttemptTimedOut | AttemptCanceled | AttemptLost
            )
            and event.task == task
        ):
            failure = event.failure if isinstance(event, AttemptFailed | AttemptTimedOut) else None
            if failure is not None and is_sensitive:
                failure = shown_failure(failure)
            # a loss is noticed on resume: how long the attempt had run nobody knows
            time = None if isinstance(event, AttemptLost) else event.at - started.at
            note = "of what it printed, only the last MiB is kept" if _is_truncated(event) else ""
            rows.append(_row(started, _OUTCOMES[type(event)], time, failure, note))
            started = None
    return rows if started is None else [*rows, _row(started, "-", None, None)]


def was_truncated(task: str, events: Iterable[tuple[int, Event]]) -> bool:
    """Whether only the end was kept of what the last attempt of a task printed."""
    ends = [event for _, event in events if isinstance(event, AttemptSucceeded) and event.task == task]
    return bool(ends) and _is_truncated(ends[-1])


def _is_truncated(event: Event) -> bool:
    return isinstance(event, AttemptSucceeded) and bool(event.record.get("truncated"))


def _cut(value: Any) -> Any:
    """A fact for a cell: of a text, such as the body of an answer, the beginning."""
    return f"{value[:_LONGEST_TEXT]}…" if isinstance(value, str) and len(value) > _LONGEST_TEXT else value


def _row(
    started: AttemptStarted, outcome: str, time: float | None, failure: Failure | None, note: str = ""
) -> Row:
    error = note if failure is None else failure_text(failure)
    if failure is not None and failure.detail:
        error += f"  {as_json({name: _cut(value) for name, value in failure.detail.items()})}"
    return (str(started.attempt), str(started.loss), started.agent, outcome, duration(time), error)
