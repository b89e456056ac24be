"""Scripts as agents: a text of the workflow's, or a file beside it, run by the interpreter of its language."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from anyio import to_thread
from attrs import frozen

from actorflow.agents.call import AgentCall, Performer, Recorded
from actorflow.agents.failure import AgentFailed
from actorflow.agents.process_attempt import ProcessAttempts, private_folder, working_folder
from actorflow.agents.process_output import READ_IN_PLACE
from actorflow.processes import NOT_FOUND, Trees
from actorflow.spec.model import Language, ScriptRunner

__all__ = ["script_performer"]


@frozen
class _Interpreter:
    program: str  #: looked up in the PATH that the script will have; an absolute path is taken as it is
    suffix: str  #: of a script's temporary file


_INTERPRETERS: Final[Mapping[Language, _Interpreter]] = {
    # The Python that runs this: it is always there, and has the packages that the workflow's own agents import.
    "python": _Interpreter(sys.executable or "python3", ".py"),
    "bash": _Interpreter("bash", ".sh"),
    "javascript": _Interpreter("node", ".js"),
    "ruby": _Interpreter("ruby", ".rb"),
    "perl": _Interpreter("perl", ".pl"),
}


def script_performer(
    runner: ScriptRunner, *, folder: str, env: Mapping[str, str], trees: Trees, grace: float = 5.0
) -> Performer:
    """Make an attempt of running a script; `ProcessAttempts` says what it gets, and `outcome` what its output is.

    A `text` is written, as it is, to a file of mode 0600 in a private folder that is removed when the attempt is over,
    however it ends. A `file` is run where it lies; it need not be executable. A `python` script is run by the Python
    that runs this, any other by the first `bash`, `node`, `ruby` or `perl` in its PATH. `args` come behind the script
    and are never looked into by the interpreter.

    Args:
        runner: the script; `AgentCall.argv` comes before its `args`.
        folder: the workflow's; `file` and `cwd` are relative to it, and scripts without a `cwd` run there.
        env: what the process inherits; each attempt gets it as it is then.
        trees: keeps the processes.
        grace: seconds from TERM to KILL.

    An attempt raises `AgentFailed` as a command's does; `not_found` as well where the interpreter or the file is
    missing, and `not_started` where the file is none that can be read.
    """
    cwd = working_folder(folder, runner.cwd)
    attempts = ProcessAttempts(cwd=cwd, inherited=env, trees=trees, grace=grace)
    interpreter = _INTERPRETERS[runner.language]
    text = None if runner.text is None else runner.text.encode()

    async def perform(call: AgentCall) -> Recorded:
        program = _found(runner.language, interpreter.program, attempts.variable(call, "PATH"), cwd)
        with private_folder() as private:
            if text is None:
                script = Path(folder, runner.file or "")
                _check_file(script)
            else:
                script = private / f"script{interpreter.suffix}"
                await _write(script, text)
            args = runner.args if call.argv is None else call.argv
            return await attempts.run(call, (program, str(script), *args), private)

    return perform


def _found(language: Language, program: str, path: str | None, cwd: str) -> str:
    """The interpreter's full path, looked up as the system would for a process that runs in `cwd`."""
    folders = (os.defpath if path is None else path).split(os.pathsep)
    found = shutil.which(program, path=os.pathsep.join(os.path.join(cwd, each) for each in folders))  # noqa: PTH118
    if found is None:
        where = "is missing" if os.path.isabs(program) else "is not in the PATH"  # noqa: PTH117
        problem = f"{program!r}, which runs {language} scripts, {where}; install it, or extend PATH in the task's env"
        raise AgentFailed("not_found", problem, {"exit_status": NOT_FOUND})
    return found


def _check_file(path: Path) -> None:
    """Refuse what an interpreter would stumble over in words of its own, or wait for."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise AgentFailed("not_found", f"the script {str(path)!r} is missing") from None
    except OSError as error:
        raise AgentFailed(
            "not_started", f"the script {str(path)!r} cannot be read: {error.strerror}"
        ) from None
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise AgentFailed("not_started", f"the script {str(path)!r} is {what}")
    if not os.access(path, os.R_OK):
        raise AgentFailed("not_started", f"the script {str(path)!r} may not be read")


async def _write(path: Path, text: bytes) -> None:
    if len(text) > READ_IN_PLACE:
        await to_thread.run_sync(_write_in_place, path, text)
    else:
        _write_in_place(path, text)


def _write_in_place(path: Path, text: bytes) -> None:
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(text)
