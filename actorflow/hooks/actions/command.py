"""The command action: a shell command or argv, with its output captured and its whole tree ended at the timeout."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from attrs import frozen

from actorflow.core.delivery import TryResult
from actorflow.core.hook_context import HookContext
from actorflow.hooks.actions.action import Action, ActionSurroundings
from actorflow.processes import ProcessNotStarted, ProcessRequest, ProcessResult
from actorflow.secrecy.hiding import Hiding

__all__ = ["CommandAction", "variables_of"]


@frozen
class CommandAction(Action):
    """Runs a program, which has acted once it was started: what it says by its status is no reason for a dead letter.

    The record has what it printed, the last `max_output` bytes of each stream, also of one that timed out. Cancelling
    ends its tree, then goes on.
    """

    is_batchable: ClassVar[bool] = False
    commits_batches: ClassVar[bool] = False
    bounds_itself: ClassVar[bool] = True

    async def deliver(self, batch: Sequence[HookContext], around: ActionSurroundings) -> Sequence[TryResult]:
        """Run the command of one delivery."""
        (context,) = batch
        spec, params = context.spec, context.params
        request = ProcessRequest(
            command=params["command"],
            cwd=around.folder if spec.cwd is None else os.path.join(around.folder, spec.cwd),  # noqa: PTH118 - said as written
            env={**around.inherited, **variables_of(context), **params["env"]},
            cookie=around.trees.cookie_prefix + context.delivery_id,
            max_output=spec.max_output,
            timeout=spec.timeout,
        )
        return [await _run(request, around)]


async def _run(request: ProcessRequest, around: ActionSurroundings) -> TryResult:
    """Run a command to its end, or to its timeout."""
    try:
        result = await around.trees.run(request)
    except ProcessNotStarted as error:
        return TryResult(status="failed", error=str(error))
    record = _record(result, around.secrets.hiding)
    if result.is_timed_out:
        patience = f"not done after {request.timeout:g} s"
        return TryResult(status="timed_out", error=patience, record=record, has_acted=True)
    if result.exit_status == 0:
        return TryResult(record=record)
    return TryResult(status="failed", error=_how_it_failed(result), record=record, has_acted=True)


def variables_of(context: HookContext) -> dict[str, str]:
    """What the command finds in its environment; set but empty where there is nothing to say."""
    values = {
        "WORKFLOW_NAME": context.workflow,
        "WORKFLOW_STAGE": "" if context.event == "pre_workflow" else context.stage,
        "WORKFLOW_ERROR": context.error_text,
        "ACTORFLOW_RUN_ID": context.run_id,
        "ACTORFLOW_GENERATION": str(context.generation),
        "ACTORFLOW_EVENT": context.event,
        "ACTORFLOW_STATUS": context.status,
        "ACTORFLOW_DELIVERY_ID": context.delivery_id,
    }
    if context.task is not None:
        values["ACTORFLOW_TASK"] = str(context.task["id"])
        values["ACTORFLOW_ATTEMPT"] = str(context.task["attempt"])
    return {name: value.replace("\0", _NUL) for name, value in values.items()}


_NUL: Final = "\N{SYMBOL FOR NULL}"  # a message may hold a NUL, a variable may not


def _how_it_failed(result: ProcessResult) -> str:
    # behind a carriage return stands what a terminal would show: a progress bar is written over
    last = _text(result.stderr).strip().rsplit("\n", 1)[-1].rsplit("\r", 1)[-1].strip()
    if result.signal is not None:
        how = f"killed by {_name_of(result.signal)}"
    else:
        how = f"exited with status {result.exit_status}"
    return f"{how}: {last}" if last else how


def _record(result: ProcessResult, hiding: Hiding) -> Mapping[str, Any]:
    """The facts; where a stream's beginning was cut off, without the rest of a secret that it may begin with."""
    stdout, stderr = _text(result.stdout), _text(result.stderr)
    return {
        "exit_status": result.exit_status,
        "stdout": hiding.after_cut(stdout) if result.stdout_truncated else stdout,
        "stderr": hiding.after_cut(stderr) if result.stderr_truncated else stderr,
        "truncated": result.stdout_truncated or result.stderr_truncated,
        "duration_s": round(result.duration_s, 6),
    }


def _text(output: bytes) -> str:
    return output.decode(errors="replace")


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no names
        return f"signal {number}"
