"""What a run has come to: the JSON document, and the same for people."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from attrs import asdict

from actorflow.cli.account import Account
from actorflow.cli.layout import as_json, between, counted, duration
from actorflow.cli.screen import as_line
from actorflow.runtime.result import RunResult, TaskResult


def account_document(account: Account) -> dict[str, Any]:
    """The JSON of a run that was followed to where it is."""
    return result_document(account.result, account.status)


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
    """Who stopped it, why it failed, the outputs and the failed hooks of a run."""
    return cause_lines(account.cause) + result_lines(account.result) + _failed_hook_lines(account)


def cause_lines(cause: str | None) -> list[str]:
    """Who or what canceled or paused a run."""
    return [as_line(f"  cause: {cause}")] if cause else []


def result_lines(result: RunResult) -> list[str]:
    """Why, and the outputs of a run."""
    lines: list[str] = []
    if result.ended_at is None and result.tasks:
        ended = sum(task.ended_at is not None for task in result.tasks.values())
        lines.append(f"  {ended} of {counted(len(result.tasks), 'task')} ended")
    if result.error is not None:
        lines.append(f"  why: {error_text(result.error)}")
    elif result.had_errors:
        failed = [name for name, task in result.tasks.items() if task.status == "failed"]
        lines.append(as_line(f"  in spite of {counted(len(failed), 'failed task')}: {', '.join(failed)}"))
    if result.outputs:
        lines.append("  outputs:")
        lines += [as_line(f"    {name}: {as_json(value)}") for name, value in result.outputs.items()]
    return lines


def hook_counts(result: RunResult) -> str:
    """How many hooks and deliveries of a run, of all its generations, came to what."""
    hooks = result.hooks
    return f"  hooks: {hooks.delivered} done, {hooks.failed} failed, {hooks.pending} owed"


def _failed_hook_lines(account: Account) -> list[str]:
    hooks = account.result.hooks
    if not (hooks.failed or hooks.pending or hooks.dead_letters):
        return []
    failed = [f"    {hook.path} failed: {hook.summary} ({hook.name})" for hook in account.failed_hooks]
    return [hook_counts(account.result), *map(as_line, failed)]


def error_text(error: Mapping[str, Any]) -> str:
    """An error with the task and the attempt that it comes from, in one line."""
    where = "" if error["task"] is None else f"task {error['task']}, attempt {error['attempt']}: "
    return as_line(f"{where}{error['type']}: {error['message']}")


def next_step(account: Account, store_option: str | None) -> str | None:
    """What to type next, if there is anything to be done."""
    result = account.result
    words = {
        "paused": "to go on",
        "running": "to go on",
        "crashed": "to go on",
        "failed": "to run again what did not succeed",
        "canceled": "to run again what did not succeed",
    }
    purpose = words.get(result.status)
    if purpose is None and result.hooks.pending:
        purpose = "to deliver what is owed"
    if purpose is None:
        return None
    lines = [f"{purpose}: {command_line('resume', result.run_id, store_option)}"]
    task = result.error["task"] if result.error is not None else None
    letter = next((each for each in account.letters if each.task == task), None)
    if letter is not None and len(account.letters) > 1:
        purpose = f"to run again only {task} and what is below it"
        lines.append(f"{purpose}: {command_line('dead-letters retry', letter.id, store_option)}")
    if task is not None:
        lines.append(f"to see more: {command_line('show', f'{result.run_id} {task}', store_option)}")
    return "\n".join(lines)


def command_line(name: str, words: str, store_option: str | None) -> str:
    """A command as it can be typed, at the same store."""
    store = "" if store_option is None else f" --store {shlex.quote(as_line(store_option))}"
    return f"actorflow {name} {words}{store}"
