"""A run's state as plain values, and back: what a journal keeps so that a run need not be folded from its first event.

What a plan implies is left out, and so is every task that nothing has happened to. All the rest is copied as it is,
counts of the frontier included: a thawed state goes on exactly as the one that was frozen would have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, TypeAlias

from attrs import astuple, fields, frozen

from actorflow.core.breaker import BreakerReport
from actorflow.core.breaker_book import BreakerBook
from actorflow.core.events import Failure, RunEnding, RunStarted
from actorflow.core.frontier import AT_ONCE, StageState
from actorflow.core.hook_line import HookLine
from actorflow.core.plan import Plan
from actorflow.core.state import RunState
from actorflow.core.task_state import TaskState, known_of
from actorflow.core.transitions import ENDED

Row: TypeAlias = Sequence[Any]


@frozen
class Frozen:
    """A state as JSON values."""

    body: Mapping[str, Any]
    rows: Iterator[
        Row
    ]  #: what there may be much of; can be read once, in any thread, also after the state has moved on


RUN_FIELDS: Final = (
    "phase", "generation", "ended_at", "last_at", "is_pausing", "had_errors", "hooks_ok_count", "hooks_failed_count",
    "hooks_skipped_count", "is_canceled", "stage", "closing", "spares_handlers", "alive_at", "definition", "bindings",
    "retries_spent", "is_budget_noted", "deadline_at", "is_out_of_time", "hooks_running_count", "hook_failures",
    "generation_started_at", "gone_targets",
)  # fmt: skip
"""Fields of a RunState that are JSON as they stand; the others are told one by one below."""

FRONTIER_LISTS: Final = ("_unmet", "_was_reached", "_gates")
FRONTIER_HEAPS: Final = ("_ready", "_timers", "_deadlines")
FRONTIER_PAIRS: Final = ("to_skip", "stages_to_complete", "_sources_left")

_USUAL: Final = ("status", "attempt", "agent_attempts", "agent", "output", "started_at", "ended_at")
_TASK: Final = {each.name: each.default for each in fields(TaskState) if each.name != "id"}
_USUAL_WIDTH: Final = 1 + len(_USUAL)
_RARE: Final = tuple(name for name in _TASK if name not in _USUAL)
_FAILURE: Final = _USUAL_WIDTH + _RARE.index("failure")

_usual = attrgetter(*_USUAL)
_rare = attrgetter(*_RARE)
_USUAL_AT_FIRST: Final = tuple(_TASK[name] for name in _USUAL)
_RARE_AT_FIRST: Final = tuple(_TASK[name] for name in _RARE)

_FORM: Final = [*RUN_FIELDS, *FRONTIER_LISTS, *FRONTIER_HEAPS, *FRONTIER_PAIRS, *_USUAL, *_RARE]
"""Told in each checkpoint: one whose fields were others is of another version, whatever the versions say."""


def freeze(state: RunState) -> Frozen:
    """Copy a state; what ended tasks have come to is copied while `rows` is read, since it does not change any more."""
    frontier = vars(state.frontier)
    body = {
        "form": _FORM,
        "run": [getattr(state, name) for name in RUN_FIELDS],
        "fatal": None if state.fatal is None else (state.fatal[0], _flat_failure(state.fatal[1])),
        "hooks": _flat_line(state.hooks),
        "task_lines": [(index, _flat_line(line)) for index, line in state.task_lines.items()],
        "stage_lines": [
            (number, state.stage_statuses[number], _flat_line(line))
            for number, line in state.stage_lines.items()
        ],
        "running": list(state.running),
        "undecided": [(index, _flat_failure(failure)) for index, failure in state.undecided.items()],
        "to_fail": [(index, _flat_failure(failure)) for index, failure in state.to_fail.items()],
        "to_bury": list(state.to_bury),
        "signals": [(name, list(payloads)) for name, payloads in state.signals.items()],
        "signal_ids": list(state.signal_ids),
        "breakers": _flat_breakers(state.breakers),
        "open_count": state.frontier.open_count,
        "stages": [astuple(stage) for stage in frontier["_stages"]],
        "lists": [list(frontier[name]) for name in FRONTIER_LISTS],
        "heaps": [list(frontier[name]) for name in FRONTIER_HEAPS],
        "pairs": [list(frontier[name].items()) for name in FRONTIER_PAIRS],
    }
    may_change = state.plan.sources  # who is led to may be told so after its end
    ended: list[int] = []
    rows: list[Row] = [_flat(state.started), _flat(state.ending)]
    for index, task in enumerate(state.tasks):
        if task.status in ENDED and index not in may_change:
            ended.append(index)
        elif _usual(task) != _USUAL_AT_FIRST or _rare(task) != _RARE_AT_FIRST:
            rows.append(_row(index, task))
    return Frozen(body, _rows(rows, ended, state.tasks))


def thaw(plan: Plan, body: Mapping[str, Any], rows: Iterable[Row]) -> RunState | None:
    """The state that was frozen, or None if it was frozen by code of another version.

    Args:
        plan: of the very definition that the run began with.
        body: of a `Frozen` for this plan, after JSON.
        rows: likewise.
    """
    if body.get("form") != _FORM:
        return None
    state = RunState(plan)
    for name, value in zip(RUN_FIELDS, body["run"], strict=True):
        setattr(state, name, value)
    tasks = iter(rows)
    started, ending = next(tasks), next(tasks)
    state.started = RunStarted(*started) if started else None
    state.ending = RunEnding(*_with_failure(ending, _ENDING_FAILURE)) if ending else None
    if body["fatal"] is not None:
        state.fatal = (body["fatal"][0], Failure(*body["fatal"][1]))
    state.running = dict.fromkeys(body["running"])
    state.undecided = {index: Failure(*failure) for index, failure in body["undecided"]}
    state.to_fail = {index: Failure(*failure) for index, failure in body["to_fail"]}
    state.to_bury = dict.fromkeys(body["to_bury"])
    state.signals = {name: list(payloads) for name, payloads in body["signals"]}
    state.signal_ids = dict.fromkeys(body["signal_ids"])
    _thaw_breakers(state.breakers, plan, body["breakers"])
    _thaw_tasks(state.tasks, tasks)
    for task, is_read in zip(state.tasks, plan.is_read, strict=True):
        if is_read and task.status in ENDED:
            state.known[task.id] = known_of(task)
    state.hooks = _thaw_line(*body["hooks"])
    state.task_lines = {index: _thaw_line(*line) for index, line in body["task_lines"]}
    for number, status, line in body["stage_lines"]:
        state.stage_lines[number], state.stage_statuses[number] = _thaw_line(*line), status
    _thaw_frontier(state, body)
    return state


def _rows(rows: Sequence[Row], ended: Sequence[int], tasks: Sequence[TaskState]) -> Iterator[Row]:
    yield from rows
    for index in ended:
        yield _row(index, tasks[index])


def _row(index: int, task: TaskState) -> Row:
    """A task's number and fields; those that few tasks have are left out where there are none."""
    rare = _rare(task)
    if rare == _RARE_AT_FIRST:
        return (index, *_usual(task))
    row = [index, *_usual(task), *rare]
    if task.failure is not None:
        row[_FAILURE] = _flat_failure(task.failure)
    return row


def _flat(event: RunStarted | RunEnding | None) -> Row:
    if event is None:
        return ()
    values = [getattr(event, each.name) for each in fields(type(event))]
    return [_flat_failure(value) if isinstance(value, Failure) else value for value in values]


def _flat_failure(failure: Failure) -> Row:
    return (failure.type, failure.message, failure.detail)


_ENDING_FAILURE: Final = [each.name for each in fields(RunEnding)].index("failure")


def _with_failure(row: Row, place: int) -> Row:
    """The row with the failure made of what it was flattened to."""
    if len(row) <= place or row[place] is None:
        return row
    return [*row[:place], Failure(*row[place]), *row[place + 1 :]]


def _thaw_tasks(tasks: Sequence[TaskState], rows: Iterable[Row]) -> None:
    """Written out for the columns that every row has: there may be a hundred thousand."""
    for row in rows:
        index: int = row[0]
        task = tasks[index]
        _, task.status, task.attempt, task.agent_attempts, task.agent, task.output, *times = row[
            :_USUAL_WIDTH
        ]
        task.started_at, task.ended_at = times
        if len(row) > _USUAL_WIDTH:
            for name, value in zip(_RARE, _with_failure(row, _FAILURE)[_USUAL_WIDTH:], strict=True):
                setattr(task, name, value)


def _flat_breakers(book: BreakerBook) -> Mapping[str, Any]:
    """A report's spec is the task's, and so left out."""
    return {
        "allowed": list(book.allowed),
        "probes": list(book.probes),
        "refused": list(book.refused.items()),
        "to_fall_back": list(book.to_fall_back),
        "hopeless": list(book.hopeless),
        "untold": [
            (index, told.key, told.run_id, told.task, told.attempt, told.at, told.outcome)
            for index, told in book.untold.items()
        ],
    }


def _thaw_breakers(book: BreakerBook, plan: Plan, body: Mapping[str, Any]) -> None:
    book.allowed = dict.fromkeys(body["allowed"])
    book.probes = dict.fromkeys(body["probes"])
    book.refused = dict(body["refused"])
    book.to_fall_back = dict.fromkeys(body["to_fall_back"])
    book.hopeless = dict.fromkeys(body["hopeless"])
    for row in body["untold"]:
        index: int = row[0]
        spec = plan.tasks[index].on_error.breaker
        assert spec is not None
        book.untold[index] = BreakerReport(row[1], spec, *row[2:])


def _flat_line(line: HookLine) -> Row:
    failure = None if line.failure is None else _flat_failure(line.failure)
    kept = vars(line)
    return (line.subject, kept["_places"], kept["_position"], line.is_running, line.vars, failure)


def _thaw_line(  # noqa: PLR0917 - a row, as `_flat_line` made it
    subject: str,
    places: Sequence[Row],
    position: int,
    is_running: bool,
    values: Mapping[str, Any],
    failure: Row | None,
) -> HookLine:
    line = HookLine(subject, ((event, index) for event, index in places))
    vars(line).update(
        _position=position,
        is_running=is_running,
        vars=values,
        failure=None if failure is None else Failure(*failure),
    )
    return line


def _thaw_frontier(state: RunState, body: Mapping[str, Any]) -> None:
    """JSON has no infinity: `AT_ONCE` comes back as null."""
    frontier = vars(state.frontier)
    frontier["open_count"] = body["open_count"]
    frontier["_stages"] = [StageState(*stage) for stage in body["stages"]]
    frontier.update(zip(FRONTIER_LISTS, body["lists"], strict=True))
    for name, entries in zip(FRONTIER_HEAPS, body["heaps"], strict=True):
        frontier[name] = [tuple(AT_ONCE if part is None else part for part in entry) for entry in entries]
    for name, pairs in zip(FRONTIER_PAIRS, body["pairs"], strict=True):
        frontier[name] = dict(pairs)
