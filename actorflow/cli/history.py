"""The attempts of one task as a table, read off the events of its run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from actorflow.cli.layout import as_json, columns, duration
from actorflow.cli.progress import failure_text
from actorflow.cli.sensitive import shown_failure
from actorflow.cli.timeline import OUTCOMES, Begun, begun
from actorflow.core.events import AttemptFailed, AttemptLost, AttemptSucceeded, AttemptTimedOut, Event

Row = tuple[str, str, str, str, str, str]

_LONGEST_TEXT: Final = 200  # characters
_HEAD: Row = ("ATTEMPT", "LOSS", "AGENT", "OUTCOME", "TIME", "ERROR")
_SPARE: Final = tuple(map(_HEAD.index, ("LOSS", "TIME", "AGENT")))


def attempt_lines(rows: Sequence[Row], width: int | None = None) -> list[str]:
    """The rows as a table, if there are any; no line is wider than `width`."""
    return columns([_HEAD, *rows], width=width, spare=_SPARE) if rows else []


def attempt_rows(task: str, events: Iterable[tuple[int, Event]], *, is_sensitive: bool = False) -> list[Row]:
    """A row for each attempt, losses included: number, loss, agent, outcome, time, error."""
    return [
        _row(each, is_sensitive=is_sensitive)
        for each in begun(event for _, event in events)
        if each.start.task == task
    ]


def was_truncated(task: str, events: Iterable[tuple[int, Event]]) -> bool:
    """Whether only the end was kept of what the last attempt of a task printed."""
    ends = [event for _, event in events if isinstance(event, AttemptSucceeded) and event.task == task]
    return bool(ends) and _is_truncated(ends[-1])


def exit_text(task: str, events: Iterable[tuple[int, Event]]) -> str:
    """How the process of the last attempt of a task ended: its exit status, or its signal; empty: it had none."""
    facts: Mapping[str, Any] = {}
    for _, event in events:
        if isinstance(event, AttemptSucceeded) and event.task == task:
            facts = event.record
        elif isinstance(event, AttemptFailed | AttemptTimedOut) and event.task == task:
            facts = event.failure.detail
    found = facts.get("exit_status"), facts.get("signal")
    return next((str(each) for each in found if each is not None), "")


def _is_truncated(event: Event | None) -> bool:
    return isinstance(event, AttemptSucceeded) and bool(event.record.get("truncated"))


def _row(each: Begun, *, is_sensitive: bool) -> Row:
    start, end = each.start, each.end
    outcome = "-" if end is None else OUTCOMES[type(end)].replace("_", " ")
    # a loss is noticed on resume: how long the attempt had run nobody knows
    time = None if end is None or isinstance(end, AttemptLost) else end.at - start.at
    error = _error(end, is_sensitive=is_sensitive)
    return (str(start.attempt), str(start.loss), start.agent, outcome, duration(time), error)


def _error(end: Event | None, *, is_sensitive: bool) -> str:
    if not isinstance(end, AttemptFailed | AttemptTimedOut):
        return "of what it printed, only the last MiB is kept" if _is_truncated(end) else ""
    failure = shown_failure(end.failure) if is_sensitive else end.failure
    text = failure_text(failure)
    more = {name: _cut(value) for name, value in failure.detail.items() if not _is_said(name, value, text)}
    return f"{text}  {as_json(more)}" if more else text


def _is_said(name: str, value: Any, text: str) -> bool:
    """Whether a fact stands in the sentence already: how the process ended, and all that it had to say about that."""
    return name in {"exit_status", "signal"} or (name == "stderr" and str(value).strip() in text)


def _cut(value: Any) -> Any:
    """A fact for a cell: of a text, such as the body of an answer, the beginning."""
    return f"{value[:_LONGEST_TEXT]}…" if isinstance(value, str) and len(value) > _LONGEST_TEXT else value
