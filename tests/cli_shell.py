"""Command lines as processes of their own, in a folder of their own, at one store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import actorflow
from actorflow.survivors import COOKIE_VARIABLE

ROOT = str(Path(actorflow.__file__).parents[1])
PATIENCE_S = 30.0

# a task that has begun says so, and ends when it is allowed to, or after half a minute
WAITS = "touch began; i=0; until test -e go || test $i -gt 600; do i=$((i+1)); sleep 0.05; done"


class Shell:
    """Runs command lines in a folder, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": ROOT,
            "HOME": str(folder),
            "XDG_STATE_HOME": str(folder / "state"),
            "ACTORFLOW_STORE": str(folder / "runs.db"),
        }
        self.started: list[subprocess.Popen[str]] = []

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text, encoding="utf-8")
        return name

    def start(self, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "actorflow", *words],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "actorflow", *words]
        return subprocess.run(
            argv, cwd=self.folder, env=self.env, input=stdin, capture_output=True, text=True, check=False
        )

    def sh(self, command: str) -> subprocess.CompletedProcess[bytes]:
        """Run a shell line in which $A is the program."""
        env = {**self.env, "A": f"{sys.executable} -m actorflow"}
        argv = ["/bin/sh", "-c", command]
        return subprocess.run(argv, cwd=self.folder, env=env, capture_output=True, check=False)

    def wait_for(self, name: str) -> None:
        wait_until((self.folder / name).exists)

    def show(self, run: str) -> Any:
        return json.loads(self.run("show", run, "--json").stdout)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def survivors(shell: Shell) -> list[int]:
    """The ids of processes that commands of this shell's runs have left behind."""
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environ = (entry / "environ").read_bytes()
        except OSError:
            continue
        if f"{COOKIE_VARIABLE}=".encode() in environ and f"HOME={shell.folder}\0".encode() in environ:
            found.append(int(entry.name))
    return found


@contextmanager
def no_process_left_of(shell: Shell) -> Generator[Shell]:
    """See that a shell leaves no process behind."""
    yield shell
    for process in shell.started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    for pid in survivors(shell):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
