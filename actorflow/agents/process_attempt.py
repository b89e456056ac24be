"""One attempt as one child process: where it runs, what it gets, what becomes of it; for commands and scripts alike."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import field, frozen

from actorflow.agents.call import AgentCall, Recorded
from actorflow.agents.failure import AgentFailed
from actorflow.agents.process_lines import ProcessLines
from actorflow.agents.process_output import outcome
from actorflow.journal.output_log import NO_OUTPUT
from actorflow.processes import Command, ProcessNotStarted, ProcessRequest, Trees

__all__ = ["ProcessAttempts", "private_folder", "working_folder"]

LONGEST_INPUT: Final = 100_000  #: bytes of JSON; a longer input is not put into the environment
LONGEST_VARIABLE: Final = 131_072  #: bytes of `NAME=value` and its end, as Linux has it (MAX_ARG_STRLEN)


@frozen(kw_only=True)
class ProcessAttempts:
    """Runs the attempts of one agent, each as a process with a tree of its own.

    Its environment is `inherited`, above it the call's own, above that ACTORFLOW_RUN_ID, _TASK, _ATTEMPT, _LOSS,
    _IDEMPOTENCY_KEY, _INPUT (the input as JSON, unless that is over 100 kB) and _OUTPUT (an empty file of its own).
    Its stdin is empty.
    """

    cwd: str  #: where it runs, absolute
    #: by each attempt, as it is then
    inherited: Mapping[str, str] = field(repr=False)
    trees: Trees  #: keeps the processes
    grace: float = 5.0  #: seconds from TERM to KILL

    def variable(self, call: AgentCall, name: str) -> str | None:
        """A variable as the process will see it, unless it is one of ours."""
        return call.env.get(name, self.inherited.get(name))

    async def run(self, call: AgentCall, command: Command, folder: Path) -> Recorded:
        """Run the command to its end; cancelling ends the process and all that this started, see `ProcessTrees.run`.

        Args:
            call: the attempt.
            command: a shell's text, or an argv.
            folder: private, and there until the attempt is over: $ACTORFLOW_OUTPUT is made in it.

        Raises:
            AgentFailed: `not_started` or `environment` if it could not begin; what `outcome` raises if it could.
        """
        written = folder / "output"
        written.touch(mode=0o600, exist_ok=False)
        lines = ProcessLines(call)
        request = ProcessRequest(
            command=command,
            cwd=self.cwd,
            env={
                **self.inherited,
                **_checked(call.env),
                **_facts(call),
                "ACTORFLOW_OUTPUT": str(written),
            },
            cookie=f"{self.trees.cookie_prefix}{call.run_id}/{call.task}/{call.attempt}/{call.loss}",
            grace=self.grace,
            said=None if call.outputs is NO_OUTPUT else lines.take,
        )
        try:
            result = await self.trees.run(request)
        except ProcessNotStarted as error:
            raise AgentFailed("not_started", str(error)) from error
        finally:
            lines.end()
        return await outcome(result, written, call.hiding)


@contextmanager
def private_folder() -> Generator[Path]:
    """A folder that only this user can enter; it is removed afterwards with all that is in it."""
    folder = tempfile.mkdtemp(prefix="actorflow-")
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def working_folder(folder: str, cwd: str | None) -> str:
    """Where a runner's processes run: its `cwd`, from the workflow's folder on; without one, that folder."""
    return folder if cwd is None else os.path.join(folder, cwd)  # noqa: PTH118 - a Path would drop what was written


def _facts(call: AgentCall) -> dict[str, str]:
    facts = {
        "ACTORFLOW_RUN_ID": call.run_id,
        "ACTORFLOW_TASK": call.task,
        "ACTORFLOW_ATTEMPT": str(call.attempt),
        "ACTORFLOW_LOSS": str(call.loss),
        "ACTORFLOW_IDEMPOTENCY_KEY": call.idempotency_key,
    }
    text = json.dumps(call.input, ensure_ascii=False, separators=(",", ":"))
    if len(text.encode(errors="replace")) <= LONGEST_INPUT:
        facts["ACTORFLOW_INPUT"] = text
    return facts


def _checked(env: Mapping[str, str]) -> Mapping[str, str]:
    """The variables, if the system can pass them: it would refuse the whole command without saying which one."""
    for name, value in env.items():
        if not name or "=" in name or "\0" in name:
            raise AgentFailed("environment", f"{name!r} cannot be the name of an environment variable")
        if "\0" in value:
            raise AgentFailed("environment", f"the environment variable {name} holds a NUL")
        size = len(f"{name}={value}".encode(errors="replace")) + 1
        if size > LONGEST_VARIABLE:
            limit = f"more than the {LONGEST_VARIABLE:,} that a program can be given"
            raise AgentFailed(
                "environment", f"the environment variable {name} has {size:,} bytes, {limit}; use a file"
            )
    return env
