"""The command action: a shell command or argv, with its output captured and its whole tree ended at the timeout."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from actorflow.core.events import HookStatus
from actorflow.processes import ProcessNotStarted, ProcessRequest, ProcessResult, ProcessTrees
from actorflow.spec.model import HookSpec


@frozen
class CommandHook:
    """A hook's command with all that it is run with."""

    hook: HookSpec
    env: Mapping[str, str]  #: above what is inherited
    folder: str  #: the workflow's; the hook's `cwd` is relative to it
    delivery_id: str
    #: of the environment of this process
    inherited: Mapping[str, str] = field(factory=dict[str, str], repr=False)


@frozen
class HookOutcome:
    """How it ended, and the facts for its record."""

    status: HookStatus
    record: Mapping[str, Any]


async def run_command_hook(job: CommandHook, trees: ProcessTrees) -> HookOutcome:
    """Run the command to its end, or to its timeout. Cancelling ends its tree, then goes on.

    The record has what it printed, the last `max_output` bytes of each stream, also of one that timed out.
    """
    hook = job.hook
    request = ProcessRequest(
        command=hook.command,
        cwd=job.folder if hook.cwd is None else os.path.join(job.folder, hook.cwd),  # noqa: PTH118 - said as written
        env={**job.inherited, **job.env},
        cookie=trees.cookie_prefix + job.delivery_id,
        max_output=hook.max_output,
        timeout=hook.timeout,
    )
    try:
        result = await trees.run(request)
    except ProcessNotStarted as error:
        return HookOutcome("failed", {"summary": str(error)})
    if result.is_timed_out:
        return HookOutcome("timed_out", {**_record(result), "summary": f"not done after {hook.timeout:g} s"})
    return _outcome(result)


def _outcome(result: ProcessResult) -> HookOutcome:
    record = _record(result)
    if result.exit_status == 0:
        return HookOutcome("ok", record)
    last = str(record["stderr"]).strip().rsplit("\n", 1)[-1]
    if result.signal is not None:
        how = f"killed by {_name_of(result.signal)}"
    else:
        how = f"exited with status {result.exit_status}"
    return HookOutcome("failed", {**record, "summary": f"{how}: {last}" if last else how})


def _record(result: ProcessResult) -> dict[str, Any]:
    return {
        "exit_status": result.exit_status,
        "stdout": result.stdout.decode(errors="replace"),
        "stderr": result.stderr.decode(errors="replace"),
        "truncated": result.stdout_truncated or result.stderr_truncated,
        "duration_s": round(result.duration_s, 6),
    }


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no names
        return f"signal {number}"
