"""`actorflow list` and `actorflow show`: what a store has, read without running anything."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from actorflow.cli.account import STOPPED, Account, stop_cause
from actorflow.cli.found import (
    Found,
    found_run,
    parent_of,
    status_of_row,
    status_text,
    unknown_task,
    with_owner,
)
from actorflow.cli.gantt import Chart, gantt_lines
from actorflow.cli.handed_on import handed_on
from actorflow.cli.happenings import (
    IN_ATTEMPTS,
    STANDS_IN,
    Happening,
    happenings,
    may_recover,
    tasks_by_fallback_value,
)
from actorflow.cli.history import attempt_lines, attempt_rows, exit_text, was_truncated
from actorflow.cli.hooks.lines import hook_document, hooks_lines
from actorflow.cli.hooks.runs import HookRun, hook_runs
from actorflow.cli.layout import as_json, between, columns, duration, local_time, show_table
from actorflow.cli.pending import pending_runs
from actorflow.cli.printed import attempt_output, output_document, output_lines
from actorflow.cli.report import (
    error_text,
    hook_counts,
    next_step,
    result_document,
    result_lines,
    task_document,
)
from actorflow.cli.screen import Screen, as_line, as_text
from actorflow.cli.sensitive import sensitive_tasks, shown_inputs, shown_result
from actorflow.cli.settings import Settings
from actorflow.cli.statuses import Exit
from actorflow.cli.store.opening import named_run, parent_of_row, reading, store_option
from actorflow.cli.terminal import Terminal, terminal_of
from actorflow.cli.timeline import Timeline, attempt_documents, timeline_of
from actorflow.core.events import Event
from actorflow.journal import Journal, RunRow
from actorflow.journal.protocol import DeadLetter
from actorflow.runtime.result import RunResult, TaskResult, result_from, result_of
from actorflow.spec.model import WorkflowSpec

_HAPPENINGS_SHOWN: Final = 20

_RUNS: Final = ("RUN", "WORKFLOW", "STATUS", "GENERATION", "STARTED")
_TASKS: Final = ("TASK", "STATUS", "ATTEMPTS", "TIME", "AGENT", "WHY")

# columns that a narrow terminal goes without, the least important first
_SPARE_OF_RUNS: Final = tuple(map(_RUNS.index, ("GENERATION", "STARTED", "WORKFLOW")))
_SPARE_OF_TASKS: Final = tuple(map(_TASKS.index, ("AGENT", "ATTEMPTS", "TIME")))
_SPARE_OF_HAPPENINGS: Final = (0,)  # their times


def list_runs(settings: Settings) -> int:
    """List all runs, the latest first."""
    with reading(settings) as journal:
        rows = journal.runs()
        parents = {row.run_id: parent_of_row(journal, row) for row in rows} if settings.screen.is_json else {}
    screen = settings.screen
    if screen.is_json:
        screen.document([_row_document(row, parents.get(row.run_id)) for row in rows])
    elif rows:
        show_table(screen, [_RUNS, *map(_row_cells, rows)], spare=_SPARE_OF_RUNS)
    else:
        screen.note("there are no runs in this store")
    return Exit.SUCCESS


def show_run(settings: Settings, run: str, *, shows_all: bool = False) -> int:
    """Show a run as it stands; with bars for all tasks and generations, if that is asked for."""
    with reading(settings) as journal:
        sight = _sight(journal, named_run(journal, run))
    screen, account = settings.screen, sight.account
    if screen.is_json:
        screen.document(_run_document(sight))
        return Exit.SUCCESS
    terminal = terminal_of(screen.out)
    tasks = _task_lines(account.result, sight.stand_ins, terminal.width)
    screen.told("\n".join([*_head_lines(sight), "", *tasks]))
    details = [
        *_bar_lines(sight, terminal, shows_all=shows_all),
        *_input_lines(sight.inputs),
        *result_lines(account.result),
        *_happening_lines(sight.told, terminal.width),
        *_letter_lines(account.letters),
        *_hook_lines(account.result, sight.hooks, sight.pending),
    ]
    if details:
        screen.told("\n".join(["", *details]))
    step = next_step(account, store_option(settings)) if sight.row.owner_pid is None else None
    if step is not None:
        screen.steps(step)
    return Exit.SUCCESS


@frozen(kw_only=True)
class _Sight:
    """A run as the store has it at one moment, without what is sensitive."""

    row: RunRow
    status: str
    account: Account
    inputs: Mapping[str, Any]
    hooks: Sequence[HookRun]  #: of the last generation
    pending: Sequence[HookRun]
    parent: (
        Mapping[str, Any] | None
    )  #: of whose hooks one has started it: `{run_id, task, delivery_id, depth}`
    told: Sequence[tuple[float, Happening]]  #: what happened on the way
    stand_ins: frozenset[str]  #: tasks that succeeded by their fallback value
    timeline: Timeline  #: of all generations


def _sight(journal: Journal, row: RunRow) -> _Sight:
    found = found_run(journal, row)
    spec = found.spec
    result = shown_result(spec, result_from(journal, row, found.state))
    status = with_owner(result.status, row)
    asked = "canceled" if found.state.is_canceled else status
    is_eventful = may_recover(spec)
    pending = pending_runs(journal, row, found.state) if result.hooks.pending else ()
    events = [*journal.events(row.run_id)]
    return _Sight(
        row=row,
        status=status,
        account=Account(
            spec,
            result,
            letters=tuple(each for each in journal.dead_letters() if each.run_id == row.run_id),
            pending=pending,
            cause=stop_cause(asked, events) if asked in STOPPED else None,
        ),
        inputs=shown_inputs(spec, found.started.inputs, handed=handed_on(journal, found.started)),
        hooks=_last_hooks(journal, found, events, result.generation),
        pending=pending,
        parent=parent_of(found.started),
        told=tuple(happenings(events)) if is_eventful else (),
        stand_ins=tasks_by_fallback_value(events),
        timeline=timeline_of(events),
    )


def _last_hooks(
    journal: Journal, found: Found, events: Iterable[tuple[int, Event]], generation: int
) -> Sequence[HookRun]:
    runs = hook_runs(found.state.plan, events, journal.deliveries(found.run_id))
    return [each for each in runs if each.generation == generation]


def _run_document(sight: _Sight) -> dict[str, Any]:
    account = sight.account
    return {
        **result_document(account.result, sight.status),
        "entry": account.spec.entry,
        "inputs": dict(sight.inputs),
        "attempts": attempt_documents(sight.timeline),
        "hook_runs": [*map(hook_document, (*sight.hooks, *sight.pending))],
        "dead_letters": [letter.id for letter in account.letters],
        "cause": account.cause,
        "parent": sight.parent,
    }


def show_task(settings: Settings, run: str, task: str) -> int:
    """Show a task with its whole output and all of its attempts.

    Raises:
        TaskNotFoundError: the run has none of that id.
    """
    with reading(settings) as journal:
        found = found_run(journal, named_run(journal, run))
        events = list(journal.events(found.run_id))
        printed = attempt_output(journal, found.run_id, task)
    spec = found.spec
    result = shown_result(spec, result_of(found.state, ())).tasks.get(task)
    if result is None:
        raise unknown_task(found, task)
    is_stand_in = task in tasks_by_fallback_value(events)
    if settings.screen.is_json:
        more = {
            "is_fallback_value": is_stand_in,
            "is_truncated": was_truncated(task, events),
            "printed": output_document(printed),
        }
        settings.screen.document({**task_document(result), **more})
        return Exit.SUCCESS
    _show_task(settings.screen, spec, task, result, exit_text(task, events), is_stand_in=is_stand_in)
    rows = attempt_rows(task, events, is_sensitive=task in sensitive_tasks(spec))
    told = [each for each in happenings(events) if each[1].task == task and each[1].word not in IN_ATTEMPTS]
    width = terminal_of(settings.screen.out).width
    for lines in (attempt_lines(rows, width), _happening_lines(told, width), output_lines(printed)):
        if lines:
            settings.screen.result("\n".join(["", *lines]))
    return Exit.SUCCESS


def _row_document(row: RunRow, parent: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "run_id": row.run_id,
        "workflow": row.workflow,
        "status": status_of_row(row),
        "generation": row.summary.generation,
        "started_at": row.summary.started_at,
        "ended_at": row.summary.ended_at,
        "pid": row.owner_pid,
        "parent": parent,
    }


def _row_cells(row: RunRow) -> tuple[str, ...]:
    status = status_text(status_of_row(row), row)
    started = local_time(row.summary.started_at)
    return (row.run_id, row.workflow, status, str(row.summary.generation), started)


def _head_lines(sight: _Sight) -> list[str]:
    account = sight.account
    result, entry = account.result, account.spec.entry
    seconds = between(result.started_at, result.ended_at)
    facts = {
        "run": result.run_id,
        "workflow": result.workflow if entry is None else f"{result.workflow} ({entry})",
        "status": status_text(sight.status, sight.row),
        "cause": account.cause or "",
        "started by": _starter(sight.parent),
        "generation": str(result.generation),
        "started": local_time(result.started_at),
        "ended": "-" if seconds is None else f"{local_time(result.ended_at)} (after {duration(seconds)})",
        "progress": f"{result.progress:.0%}",
        "file": account.spec.path or "-",
    }
    return columns((key, value) for key, value in facts.items() if value)


def _task_lines(result: RunResult, stand_ins: Collection[str], width: int | None) -> list[str]:
    if not result.tasks:
        return ["no tasks"]
    tasks = result.tasks.items()
    rows = [_task_cells(name, task, is_stand_in=name in stand_ins) for name, task in tasks]
    return columns([_TASKS, *rows], width=width, spare=_SPARE_OF_TASKS)


def _bar_lines(sight: _Sight, terminal: Terminal, *, shows_all: bool) -> list[str]:
    """The attempts as bars over time: those of the last generation, if not all are wanted."""
    result = sight.account.result
    is_alive = result.ended_at is None and sight.row.owner_pid is not None
    timeline = sight.timeline if shows_all else sight.timeline.of_generation(result.generation)
    chart = Chart(
        timeline=timeline,
        now=max(time.time(), timeline.last_at) if is_alive else timeline.last_at,
        is_alive=is_alive,
        waiting=frozenset(name for name, task in result.tasks.items() if task.status == "waiting"),
    )
    lines = gantt_lines(chart, terminal, shows_all=shows_all, indent="    ")
    return ["  attempts:", *lines] if lines else []


def _input_lines(inputs: Mapping[str, Any]) -> list[str]:
    lines = [as_line(f"    {name}: {as_json(value)}") for name, value in inputs.items()]
    return ["  inputs:", *lines] if lines else []


def _happening_lines(told: Sequence[tuple[float, Happening]], width: int | None) -> list[str]:
    """The last things that happened on the way, with their times."""
    hidden = len(told) - _HAPPENINGS_SHOWN
    notes = [f"    … {hidden} more before"] if hidden > 0 else []
    cells = [
        (local_time(at), each.task or "-", each.word, each.text) for at, each in told[-_HAPPENINGS_SHOWN:]
    ]
    lines = columns(cells, indent="    ", width=width, spare=_SPARE_OF_HAPPENINGS)
    return ["  on the way:", *notes, *lines] if told else []


def _letter_lines(letters: Sequence[DeadLetter]) -> list[str]:
    lines = [as_line(f"    {letter.id}") for letter in letters]
    return ["  dead letters:", *lines] if lines else []


def _hook_lines(result: RunResult, hooks: Sequence[HookRun], pending: Sequence[HookRun]) -> list[str]:
    if not hooks and not result.hooks.pending:
        return []
    return [hook_counts(result), *hooks_lines(hooks, pending, indent="    ")]


def _starter(parent: Mapping[str, Any] | None) -> str:
    if parent is None:
        return ""
    task = "" if parent["task"] is None else f", task {parent['task']}"
    return f"run {parent['run_id']}{task}"


def _task_cells(name: str, task: TaskResult, *, is_stand_in: bool) -> tuple[str, ...]:
    took = duration(between(task.started_at, task.ended_at))
    why = f"{task.error['type']}: {task.error['message']}" if task.error is not None else task.reason or ""
    agent = "-" if is_stand_in else task.agent or "-"
    return (name, task.status, str(task.attempts), took, agent, STANDS_IN if is_stand_in else why)


def _show_task(
    screen: Screen, spec: WorkflowSpec, name: str, task: TaskResult, exited: str, *, is_stand_in: bool
) -> None:
    reason = STANDS_IN if is_stand_in else task.reason
    described: Mapping[str, str] = {each.id: each.description for each in spec.tasks}
    facts = {
        "task": name,
        "description": described.get(name, ""),
        "status": f"{task.status} ({reason})" if reason else task.status,
        "agent": "-" if is_stand_in else task.agent or "-",
        "attempts": f"{task.attempts}, {task.losses} lost" if task.losses else str(task.attempts),
        "started": local_time(task.started_at),
        "ended": local_time(task.ended_at),
        "exit status": exited,
    }
    lines = columns((key, value) for key, value in facts.items() if value)
    if task.error is not None:
        lines.append(f"why: {error_text(task.error)}")
    screen.told("\n".join(lines))
    if task.output is not None:
        screen.result(f"output: {as_text(as_json(task.output, indent=2))}")
