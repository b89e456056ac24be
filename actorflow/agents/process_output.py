"""What a finished process says: its output, the facts for the record, or how it failed."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from signal import Signals
from typing import Any, Final, NoReturn

from anyio import to_thread

from actorflow.agents.call import Recorded
from actorflow.agents.failure import AgentFailed
from actorflow.agents.output import LARGEST
from actorflow.processes import NOT_FOUND, ProcessResult
from actorflow.secrecy.hiding import Hiding

__all__ = ["READ_IN_PLACE", "outcome"]

STDERR_TAIL: Final = 4096  #: bytes
READ_IN_PLACE: Final = 262_144
"""Bytes of a file; reading and parsing, or writing, more of them would hold the loop for milliseconds."""


async def outcome(result: ProcessResult, written: Path, hiding: Hiding) -> Recorded:
    """The output of a process that ended well.

    It is what was written to the file, as JSON if it is JSON and else as stripped text; if nothing was, the object or
    array on the last line of stdout; else stdout, stripped, as a string. Bytes that are not UTF-8 are replaced. Where
    something is cut off, no part of a secret is left at the edge.

    Raises:
        AgentFailed: `exit_status`, `signal` or `not_found` (status 127) for one that did not end well; `output` for a
            file that is larger than 64 MiB or no regular file any more.
    """
    if result.exit_status != 0:
        _fail(result, hiding)
    return Recorded(await _output(result, written, hiding), _record(result, hiding))


async def _output(result: ProcessResult, path: Path, hiding: Hiding) -> Any:
    size = _size(path)
    if size > LARGEST:
        raise AgentFailed(
            "output", f"$ACTORFLOW_OUTPUT has {size:,} bytes, more than 64 MiB; write a file's name"
        )
    if size > READ_IN_PLACE:
        return await to_thread.run_sync(_written, path)
    if size:
        return _written(path)
    text = result.stdout.decode(errors="replace")
    return _printed((hiding.after_cut(text) if result.stdout_truncated else text).strip())


def _size(path: Path) -> int:
    """The bytes that the process wrote: none as well when it took the file away."""
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


def _record(result: ProcessResult, hiding: Hiding) -> dict[str, Any]:
    record: dict[str, Any] = {"exit_status": 0}
    if result.stderr:
        record["stderr"] = _tail(result, hiding)
    if result.stdout_truncated or result.stderr_truncated:
        record["truncated"] = True
    return record


def _fail(result: ProcessResult, hiding: Hiding) -> NoReturn:
    tail = _tail(result, hiding)
    # behind a carriage return stands what a terminal would show: a progress bar is written over
    last_line = tail.strip().rpartition("\n")[2].rpartition("\r")[2].strip()
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


def _tail(result: ProcessResult, hiding: Hiding) -> str:
    """The end of stderr, cut when the values are out of it: a part of one would not be known again."""
    text = result.stderr.decode(errors="replace")
    told = hiding.text(hiding.after_cut(text) if result.stderr_truncated else text)
    return told.encode()[-STDERR_TAIL:].decode(errors="replace")


def _signal_name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
