"""The command action: a shell command or argv, with its output captured and its whole tree ended at the timeout."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any

import anyio
from attrs import frozen

from actorflow.core.events import HookStatus
from actorflow.processes import ProcessNotStarted, ProcessRequest, ProcessResult, ProcessTrees
from actorflow.spec.model import HookSpec

OUTPUT_KEPT = 64 * 1024
"""Bytes of each stream that the record keeps, the last ones."""


@frozen
class CommandHook:
    """A hook's command with all that it is run with."""

    hook: HookSpec
    env: Mapping[str, str]  #: above the process's own
    folder: str
    delivery_id: str


@frozen
class HookOutcome:
    """How it ended, and the facts for its record."""

    status: HookStatus
    record: Mapping[str, Any]


async def run_command_hook(job: CommandHook, trees: ProcessTrees) -> HookOutcome:
    """Run the command to its end, or to its timeout. Cancelling ends its tree, then goes on."""
    request = ProcessRequest(
        command=job.hook.command,
        cwd=job.folder,
        env={**os.environ, **job.env},
        cookie=job.delivery_id,
        max_output=OUTPUT_KEPT,
    )
    with anyio.move_on_after(job.hook.timeout):
        try:
            return _outcome(await trees.run(request))
        except ProcessNotStarted as error:
            return HookOutcome("failed", {"summary": str(error)})
    return HookOutcome("timed_out", {"summary": f"not done after {job.hook.timeout:g} s"})


def _outcome(result: ProcessResult) -> HookOutcome:
    stderr = result.stderr.decode(errors="replace")
    record: dict[str, Any] = {
        "exit_status": result.exit_status,
        "stdout": result.stdout.decode(errors="replace"),
        "stderr": stderr,
        "truncated": result.stdout_truncated or result.stderr_truncated,
        "duration_s": round(result.duration_s, 6),
    }
    if result.exit_status == 0:
        return HookOutcome("ok", record)
    last = stderr.strip().rsplit("\n", 1)[-1]
    if result.signal is not None:
        how = f"killed by {_name_of(result.signal)}"
    else:
        how = f"exited with status {result.exit_status}"
    return HookOutcome("failed", {**record, "summary": f"{how}: {last}" if last else how})


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no names
        return f"signal {number}"
