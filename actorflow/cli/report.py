"""What a run has come to: the JSON document, and the same for people."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import asdict

from actorflow.cli.account import Account
from actorflow.cli.held import with_flags
from actorflow.cli.hooks.lines import pending_lines
from actorflow.cli.layout import as_json, between, counted, duration
from actorflow.cli.screen import as_line
from actorflow.runtime.result import HookCounts, RunResult, TaskResult


def account_document(account: Account) -> dict[str, Any]:
    """The JSON of a run that was followed to where it is."""
    document = result_document(account.result, account.status)
    if account.dispatched:
        document["dispatched"] = [
            {"run_id": each.run_id, "status": each.status} for each in account.dispatched
        ]
    return document


def result_document(result: RunResult, status: str | None = None) -> dict[str, Any]:
    """The JSON of a run that exists; `status` where more is known than the run's own events say."""
    document = asdict(result, recurse=False)
    document["status"] = status or result.status
    document["outputs"] = dict(result.outputs)
    document["error"] = None if result.error is None else dict(result.error)
    document["tasks"] = {name: task_document(task) for name, task in result.tasks.items()}
    document["hooks"] = asdict(result.hooks)
    return document


def task_document(task: TaskResult) -> dict[str, Any]:
    """The JSON of a task."""
    document = asdict(task, recurse=False)
    document["error"] = None if task.error is None else dict(task.error)
    return document


def account_text(account: Account) -> str:
    """How a run ended, and why; its outputs and its hooks, where there is something to say."""
    result = account.result
    seconds = between(result.started_at, result.ended_at)
    took = "" if seconds is None else f"  {duration(seconds)}"
    return "\n".join([f"{account.status}  {result.run_id}{took}", *detail_lines(account)])


def detail_lines(account: Account) -> list[str]:
    """Who stopped it, why it failed, and its outputs; what came of runs that hooks have started, and of the hooks."""
    return [
        *cause_lines(account.cause),
        *(["  its process is gone, and has not ended it"] if account.is_crashed else []),
        *_why_lines(account.result),
        *_printed_lines(account),
        *_output_lines(account.result),
        *_dispatched_lines(account.dispatched),
        *_failed_hook_lines(account),
    ]


def cause_lines(cause: str | None) -> list[str]:
    """Who or what canceled or paused a run."""
    return [as_line(f"  cause: {cause}")] if cause else []


def result_lines(result: RunResult) -> list[str]:
    """Why, and the outputs of a run."""
    return [*_why_lines(result), *_output_lines(result)]


def _why_lines(result: RunResult) -> list[str]:
    """How far it came, why it failed, and what else has."""
    lines: list[str] = []
    if result.ended_at is None and result.tasks:
        ended = sum(task.ended_at is not None for task in result.tasks.values())
        lines.append(f"  {ended} of {counted(len(result.tasks), 'task')} ended")
    if result.error is not None:
        lines.append(f"  why: {error_text(result.error)}")
    elif result.had_errors:
        failed = [name for name, task in result.tasks.items() if task.status == "failed"]
        lines.append(as_line(f"  in spite of {counted(len(failed), 'failed task')}: {', '.join(failed)}"))
    return lines


def _printed_lines(account: Account) -> list[str]:
    """The end of what the task printed by which the run has failed, where the reason does not say as much; and who else failed."""
    result = account.result
    if result.error is None:
        return []
    told = str(result.error["message"])
    texts = [line.text.expandtabs() for line in account.printed]
    is_said = all(text.strip() in told for text in texts)
    printed = (
        [] if is_said else ["  it printed last:", *(as_line(f"    {text[:_LONGEST_LINE]}") for text in texts)]
    )
    others = [
        as_line(f"  task {name} failed, too: {task.error['type']}: {task.error['message']}")
        for name, task in result.tasks.items()
        if task.status == "failed" and task.error is not None and name != result.error["task"]
    ]
    hidden = len(others) - _OTHERS_SHOWN
    more = [f"  … {counted(hidden, 'more failed task')}"] if hidden > 0 else []
    return [*printed, *others[:_OTHERS_SHOWN], *more]


def _output_lines(result: RunResult) -> list[str]:
    lines = [as_line(f"    {name}: {as_json(value)}") for name, value in result.outputs.items()]
    return ["  outputs:", *lines] if lines else []


def hook_counts(result: RunResult) -> str:
    """How many hooks and deliveries of a run, of all its generations, came to what."""
    return f"  {counts_text(result.hooks)}"


def counts_text(hooks: HookCounts) -> str:
    """The same of counts, without an indent."""
    more = {"given up": hooks.dead_letters, "skipped": hooks.skipped}
    said = [f"{hooks.delivered} done", f"{hooks.failed} failed", f"{hooks.pending} owed"]
    return f"hooks: {', '.join([*said, *(f'{count} {word}' for word, count in more.items() if count)])}"


def has_hooks_amiss(account: Account) -> bool:
    """Whether a hook of the last generation has failed, or a delivery of any is given up or still owed."""
    hooks = account.result.hooks
    return bool(account.failed_hooks or hooks.dead_letters or hooks.pending)


def _dispatched_lines(runs: Sequence[RunResult]) -> list[str]:
    """How many ended how, and those that did not succeed."""
    if not runs:
        return []
    counts = Counter(run.status for run in runs)
    told = ", ".join(f"{count} {status}" for status, count in counts.items())
    lines = [
        as_line(f"    run {run.run_id} {run.status}{_why(run)}") for run in runs if run.status != "success"
    ]
    return [
        f"  started by hooks: {counted(len(runs), 'run')}: {told}",
        *_last_ones(lines, "    ", "more run"),
    ]


def _why(run: RunResult) -> str:
    return "" if run.error is None else f": {error_text(run.error)}"


def _last_ones(lines: list[str], indent: str, noun: str) -> list[str]:
    """The last so many lines, behind how many there are before."""
    hidden = len(lines) - _FAILURES_SHOWN
    return [f"{indent}… {counted(hidden, noun)} before", *lines[hidden:]] if hidden > 0 else lines


def _failed_hook_lines(account: Account) -> list[str]:
    hooks = account.result.hooks
    if not (hooks.failed or hooks.pending or hooks.dead_letters):
        return []
    failed = [
        as_line(f"  hook {hook.place} {hook.how}: {hook.why} ({hook.name})") for hook in account.failed_hooks
    ]
    owed = pending_lines(account.pending, indent="  hook ")
    return [*_last_ones(failed, "  ", "more failed hook"), *owed, hook_counts(account.result)]


def error_text(error: Mapping[str, Any]) -> str:
    """An error with the task and the attempt that it comes from, in one line."""
    attempt = f", attempt {error['attempt']}" if error["attempt"] else ""
    where = "" if error["task"] is None else f"task {error['task']}{attempt}: "
    return as_line(f"{where}{error['type']}: {error['message']}")


def next_step(account: Account, store_option: str | None) -> str | None:
    """What to type next, if there is anything to be done."""
    result = account.result
    lines: list[str] = []
    purpose = _PURPOSES.get(result.status)
    if purpose is not None:
        lines += [f"{purpose}: {command_line('resume', result.run_id, store_option)}"]
        lines += _steps_for_task(account, store_option)
    if result.hooks.pending:
        drain = command_line("hooks drain", with_flags(result.run_id, account.pending), store_option)
        lines.append(f"to deliver what is owed: {drain}")
    if result.hooks.dead_letters:
        listed = command_line("hooks list", result.run_id, store_option)
        lines.append(f"to see what was given up: {listed}")
    return "\n".join(lines) or None


def _steps_for_task(account: Account, store_option: str | None) -> list[str]:
    """What to do about the one task that a run failed by."""
    error = account.result.error
    task = None if error is None else error["task"]
    if task is None:
        return []
    letters = [each for each in account.letters if each.kind == "task"]
    letter = next((each for each in letters if each.task == task), None)
    show = f"to see more: {command_line('show', f'{account.result.run_id} {task}', store_option)}"
    if letter is None or len(letters) < 2:
        return [show]
    retry = command_line("dead-letters retry", letter.id, store_option)
    return [f"to run again only {task} and what is below it: {retry}", show]


_PURPOSES: Final = {
    "paused": "to go on",
    "running": "to go on",
    "crashed": "to go on",
    "failed": "to run again what did not succeed",
    "canceled": "to run again what did not succeed",
}

_OTHERS_SHOWN: Final = 5  #: failed tasks beside the one that the run failed by
_LONGEST_LINE: Final = 500  #: characters
_FAILURES_SHOWN: Final = 20  #: hooks, the last ones


def command_line(name: str, words: str, store_option: str | None) -> str:
    """A command as it can be typed, at the same store."""
    store = "" if store_option is None else f" --store {shlex.quote(as_line(store_option))}"
    return f"actorflow {name} {words}{store}"
