"""Commands as agents: a shell's text or an argv, one process per attempt."""

from __future__ import annotations

from collections.abc import Mapping

from actorflow.agents.call import AgentCall, Performer, Recorded
from actorflow.agents.process_attempt import ProcessAttempts, private_folder, working_folder
from actorflow.processes import Trees
from actorflow.spec.model import CommandRunner

__all__ = ["command_performer"]


def command_performer(
    runner: CommandRunner, *, folder: str, env: Mapping[str, str], trees: Trees, grace: float = 5.0
) -> Performer:
    """Make an attempt of running a command; `ProcessAttempts` says what it gets, and `outcome` what its output is.

    A cancelled attempt ends its process and all that this started, see `ProcessTrees.run`.

    Args:
        runner: the command; `AgentCall.argv` comes before it.
        folder: the workflow's; the command runs there, or in `runner.cwd` from there on.
        env: what the process inherits; each attempt gets it as it is then.
        trees: keeps the processes.
        grace: seconds from TERM to KILL.

    An attempt raises `AgentFailed`: `exit_status`, `signal`, `not_found` (status 127), `not_started`, `environment` or
    `output`.
    """
    cwd = working_folder(folder, runner.cwd)
    attempts = ProcessAttempts(cwd=cwd, inherited=env, trees=trees, grace=grace)

    async def perform(call: AgentCall) -> Recorded:
        with private_folder() as private:
            return await attempts.run(call, runner.command if call.argv is None else call.argv, private)

    return perform
