"""A page that is followed from its top to its end: its files are made, its commands typed, and what they print compared.

    python -m tests.page_sessions docs/tutorial.md

puts what the commands print now in the place of what the page shows, where they differ in more than times and ids.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import (
    AbstractContextManager,
    chdir,
    contextmanager,
    redirect_stderr,
    redirect_stdout,
    suppress,
)
from pathlib import Path
from types import TracebackType

from attrs import frozen

from actorflow.cli import main
from tests.page_blocks import ROOT, Block, blocks_of

_PORT = "8080"  # the one that pages use; a free one stands in for it
_PATIENCE_S = 40.0
_FOR_THE_SHELL = re.compile(r"[|&;<>$`*]")
_PROGRAMS = {"actorflow": "-m actorflow", "python3": "", "sqlite3": "-m apsw"}


@frozen
class Typed:
    """A command of a page, and what the page shows below it."""

    command: str
    shown: str
    start: int  #: where what is shown begins in the page, in characters


def typed_in(block: Block) -> Iterator[Typed]:
    """The commands of a console block; a line that ends in a backslash goes on."""
    for found in re.finditer(
        r"^\$ ((?:[^\n]*\\\n)*[^\n]*)\n((?:(?!\$ )[^\n]*\n)*)", block.text, re.MULTILINE
    ):
        command = found[1].replace("\\\n", " ")
        yield Typed(re.split(r"\s+# ", command)[0], found[2], block.start + found.start(2))


class Session(AbstractContextManager["Session"]):
    """A folder with nothing in it but the examples, and an environment to type commands in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._port = _free_port()
        self._left_running: list[subprocess.Popen[bytes]] = []
        programs = folder.parent / "programs"
        _make_programs(programs)
        self._env = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),
            "XDG_STATE_HOME": str(folder.parent / "state"),
            "XDG_CONFIG_HOME": str(folder.parent / "config"),
            "LANG": "C.UTF-8",
        }

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        for process in self._left_running:
            process.kill()
            process.wait()

    def write(self, name: str, text: str) -> None:
        """Make a file of the page."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(_PORT, str(self._port)), encoding="utf-8")

    def type(self, command: str) -> str:
        """Carry a command out, and give what it prints, both streams as they come."""
        command = command.replace(_PORT, str(self._port))
        words = shlex.split(command)
        if words[0] == "export":
            self._env.update(dict(word.split("=", 1) for word in words[1:]))
            return ""
        if words[-1] == "&":
            self._leave_running(command)
            return ""
        is_plain = words[0] == "actorflow" and not _FOR_THE_SHELL.search(command)
        printed = self._call(words[1:]) if is_plain else self._shell(command)
        return printed.replace(str(self.folder), "/home/me").replace(str(self._port), _PORT)

    def _call(self, words: list[str]) -> str:
        printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
        with chdir(self.folder), _environment(self._env), redirect_stdout(printed), redirect_stderr(printed):
            main(words)
        return printed.buffer.getvalue().decode()  # type: ignore[attr-defined]

    def _shell(self, command: str) -> str:
        with (self.folder.parent / "printed").open("w+b") as printed:
            shell = subprocess.Popen(
                ["/bin/sh", "-c", command],
                cwd=self.folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                shell.wait(_PATIENCE_S)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(shell.pid, signal.SIGKILL)
            printed.seek(0)
            return printed.read().decode()

    def _leave_running(self, command: str) -> None:
        """Start a server, and wait until it listens."""
        argv = ["/bin/sh", "-c", f"exec {command.rstrip('& ')}"]
        process = subprocess.Popen(
            argv, cwd=self.folder, env=self._env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._left_running.append(process)
        deadline = time.monotonic() + _PATIENCE_S
        while not _listens(self._port):
            assert time.monotonic() < deadline, f"nobody listens: {command}"
            time.sleep(0.02)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _make_programs(folder: Path) -> None:
    """The programs of a reader who has installed actorflow."""
    folder.mkdir()
    for name, words in _PROGRAMS.items():
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n', encoding="utf-8")
        program.chmod(0o755)


@contextmanager
def _environment(variables: dict[str, str]) -> Generator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def follow(page: Path, folder: Path) -> Iterator[tuple[Typed, str]]:
    """Do what the page says, in a folder: its commands, each with what it prints."""
    home = folder / "home"
    shutil.copytree(ROOT / "examples", home / "examples")
    with Session(home) as session:
        for block in blocks_of(page):
            if block.file is not None:
                session.write(block.file, block.text)
            elif block.language == "console":
                for typed in typed_in(block):
                    yield typed, session.type(typed.command)


def timeless(text: str) -> list[str]:
    """Lines without what differs from run to run: times, ids, the length of bars, and the width of columns.

    They are sorted: tasks side by side may end in any order, and so may their lines.
    """
    for pattern, word in _CHANGING:
        text = re.sub(pattern, word, text)
    return sorted(" ".join(line.split()) for line in text.splitlines() if line.strip())


_CHANGING = (
    (r"-\d{6}-\d{6}-[a-z0-9]{8}", "-ID"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?", "DATE"),
    (r"\b\d\d:\d\d:\d\d(\.\d+)?", "TIME"),
    (r"\b\d{10}\.\d+", "TIME"),
    (r"\bat once\b", "in TIME"),
    (r"├0 s.*", "AXIS"),
    (r"([█×·~])\1+", r"\1"),
    (r"\b\d[\d.]* ?(ms|s)\b", "TIME"),
    (r"\bprocess \d+", "process N"),
)


def _rewrite(page: Path) -> None:
    text = before = page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        outcomes = list(follow(page, Path(folder)))
    for typed, printed in reversed(outcomes):
        if "Traceback (most" in printed:
            sys.exit(f"{page}: {typed.command}\n{printed}")
        if timeless(typed.shown) != timeless(printed):
            ending = "" if not printed or printed.endswith("\n") else "\n"
            text = text[: typed.start] + printed + ending + text[typed.start + len(typed.shown) :]
    if page.read_text(encoding="utf-8") != before:
        sys.exit(f"{page} was changed meanwhile; nothing is written")
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        _rewrite(Path(name).resolve())
