"""A process that dies while it owns a run, and leaves a child of that run behind."""

from __future__ import annotations

import os
import signal
import subprocess
from multiprocessing.connection import Connection
from pathlib import Path

from crash_lives import start

from actorflow.journal import open_journal
from actorflow.survivors import COOKIE_VARIABLE

_HANGS_ON = """trap 'echo > told; while ! [ -e go ]; do sleep 0.01; done; exit' TERM
echo $$
while :; do sleep 0.01; done"""


def leave_child(folder: Path, url: str, run_id: str) -> int:
    """Have another process take a run of nobody's, start a child, and be killed; the child's pid.

    Told to end, the child makes a file `told` in the folder, and waits until there is one `go` there.
    """
    process = start(_die, folder, url, run_id)
    pid: int = process.hear()
    assert process.report() is None
    return pid


def _die(channel: Connection, folder: Path, url: str, run_id: str) -> None:
    journal = open_journal(url)
    journal.claim(run_id)
    env = {**os.environ, COOKIE_VARIABLE: f"{journal.cookie}{run_id}/task/1/0"}
    child = subprocess.Popen(["/bin/sh", "-c", _HANGS_ON], cwd=folder, env=env, stdout=subprocess.PIPE)
    assert child.stdout is not None
    channel.send(int(child.stdout.readline()))
    os.kill(os.getpid(), signal.SIGKILL)
