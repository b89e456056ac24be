"""Commands as agents: one process per attempt; what it gets, and what counts as its output."""

from __future__ import annotations

import json
import shutil
import stat
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from signal import Signals
from typing import Any, Final, NoReturn

from anyio import to_thread

from actorflow.agents.call import AgentCall, Performer, Recorded
from actorflow.agents.failure import AgentFailed
from actorflow.agents.output import LARGEST
from actorflow.processes import NOT_FOUND, ProcessNotStarted, ProcessRequest, ProcessResult, ProcessTrees
from actorflow.spec.model import CommandRunner

__all__ = ["command_performer"]

LONGEST_INPUT: Final = 100_000  #: bytes of JSON; a longer input is not put into the environment
LONGEST_VARIABLE: Final = 131_072  #: bytes of `NAME=value` and its end, as Linux has it (MAX_ARG_STRLEN)
STDERR_TAIL: Final = 4096  #: bytes
_READ_IN_PLACE: Final = (
    262_144  # bytes of a file; reading and parsing more would hold the loop for milliseconds
)

_OURS: Final = frozenset(
    {
        "ACTORFLOW_RUN_ID",
        "ACTORFLOW_TASK",
        "ACTORFLOW_ATTEMPT",
        "ACTORFLOW_LOSS",
        "ACTORFLOW_IDEMPOTENCY_KEY",
        "ACTORFLOW_INPUT",
        "ACTORFLOW_OUTPUT",
    }
)


def command_performer(
    runner: CommandRunner, *, folder: str, env: Mapping[str, str], trees: ProcessTrees, grace: float = 5.0
) -> Performer:
    """Make an attempt of running a command.

    Its environment is `env`, above it the call's own, above that ACTORFLOW_RUN_ID, _TASK, _ATTEMPT, _LOSS,
    _IDEMPOTENCY_KEY, _INPUT (the input as JSON, unless that is over 100 kB) and _OUTPUT (an empty file of its own).

    Its output is what it wrote to the file $ACTORFLOW_OUTPUT, as JSON if it is JSON and else as stripped text; if it
    wrote nothing there, the object or array on the last line of stdout; else stdout, stripped, as a string. Bytes that
    are not UTF-8 are replaced. It is returned as `Recorded`, with exit status, tail of stderr and truncation.

    A cancelled attempt ends its process and all that this started, see `ProcessTrees.run`.

    Args:
        runner: the command; `AgentCall.argv` comes before it.
        folder: where it runs.
        env: the environment of the process, as it is to be for all attempts.
        trees: keeps the processes.
        grace: seconds from TERM to KILL.

    An attempt raises `AgentFailed`: `exit_status`, `signal`, `not_found` (status 127), `not_started`, `environment` or
    `output`.
    """
    inherited = {name: value for name, value in env.items() if name not in _OURS}

    async def perform(call: AgentCall) -> Recorded:
        with _output_file() as path:
            request = ProcessRequest(
                command=runner.command if call.argv is None else call.argv,
                cwd=folder,
                env={**inherited, **_checked(call.env), **_facts(call), "ACTORFLOW_OUTPUT": str(path)},
                cookie=f"{trees.cookie_prefix}{call.run_id}/{call.task}/{call.attempt}/{call.loss}",
                grace=grace,
            )
            try:
                result = await trees.run(request)
            except ProcessNotStarted as error:
                raise AgentFailed("not_started", str(error)) from error
            if result.exit_status != 0:
                _fail(result)
            return Recorded(await _output(result, path), _record(result))

    return perform


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


@contextmanager
def _output_file() -> Generator[Path]:
    """An empty file that only this user can read, in a folder of its own that is removed afterwards."""
    folder = tempfile.mkdtemp(prefix="actorflow-")
    try:
        path = Path(folder, "output")
        path.touch(mode=0o600, exist_ok=False)
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _output(result: ProcessResult, path: Path) -> Any:
    size = _size(path)
    if size > LARGEST:
        raise AgentFailed(
            "output", f"$ACTORFLOW_OUTPUT has {size:,} bytes, more than 64 MiB; write a file's name"
        )
    if size > _READ_IN_PLACE:
        return await to_thread.run_sync(_written, path)
    if size:
        return _written(path)
    return _printed(result.stdout.decode(errors="replace").strip())


def _size(path: Path) -> int:
    """The bytes that the command wrote: none as well when it took the file away."""
    try:
        status = path.stat()
    except OSError:
        return 0
    if not stat.S_ISREG(status.st_mode):  # to read a FIFO might wait for ever
        raise AgentFailed("output", "$ACTORFLOW_OUTPUT is not a regular file any more")
    return status.st_size


def _written(path: Path) -> Any:
    text = path.read_bytes().decode(errors="replace").strip()
    try:
        return _json(text)
    except (ValueError, RecursionError):
        return text


def _printed(text: str) -> Any:
    last_line = text.rpartition("\n")[2]
    if last_line[:1] in ("{", "["):
        try:
            return _json(last_line)
        except (ValueError, RecursionError):
            pass
    return text


def _json(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _record(result: ProcessResult) -> dict[str, Any]:
    record: dict[str, Any] = {"exit_status": 0}
    if result.stderr:
        record["stderr"] = _tail(result.stderr)
    if result.stdout_truncated or result.stderr_truncated:
        record["truncated"] = True
    return record


def _fail(result: ProcessResult) -> NoReturn:
    tail = _tail(result.stderr)
    last_line = tail.strip().rpartition("\n")[2].strip()
    says = f": {last_line}" if last_line else ""
    if result.signal is not None:
        name = _signal_name(result.signal)
        raise AgentFailed("signal", f"killed by {name}{says}", {"signal": name, "stderr": tail})
    status = result.exit_status
    if status is None:
        problem = "its exit status was taken away: this process ignores SIGCHLD, or something in it reaps all children"
        raise AgentFailed("exit_status", problem, {"exit_status": None, "stderr": tail})
    kind = "not_found" if status == NOT_FOUND else "exit_status"
    raise AgentFailed(kind, f"exited with status {status}{says}", {"exit_status": status, "stderr": tail})


def _tail(data: bytes) -> str:
    return data[-STDERR_TAIL:].decode(errors="replace")


def _signal_name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
