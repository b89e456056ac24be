"""One child process with its whole tree under control, the same on asyncio and on trio.

A tree is a child that leads a session and a process group of its own, and all that it starts. A program can leave the
group (`setsid`), so each tree also carries a cookie in its environment, by which Linux finds those who left.

The rule that makes signals safe: the number of a process, which is also the number of its group, stays taken until its
parent reaps it. So a leader is reaped last, when nothing of ours will signal its group again. The child watchers of
asyncio reap at once, which is why neither its subprocesses nor those built upon them are used here: the child is
started with `subprocess.Popen`, its exit is seen through a descriptor that does not reap (pidfd, kqueue), and its pipes
are read when they are readable.
"""

from __future__ import annotations

import errno
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Final, Literal, Protocol, TypeAlias

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint_if_cancelled
from attrs import field, frozen

from actorflow.survivors import COOKIE_VARIABLE, Census, kill_carriers, signal_carrier, take_census

__all__ = [
    "NOT_FOUND",
    "ProcessNotStarted",
    "ProcessRequest",
    "ProcessResult",
    "ProcessTrees",
    "Trees",
]

Command: TypeAlias = str | Sequence[str]

NOT_EXECUTABLE: Final = 126  #: the statuses that shells give to a program that cannot be started
NOT_FOUND: Final = 127

_DRAIN_S: Final = 0.5  # after the exit of the child, for what a background process still holds open
_UNKILLABLE_S: Final = 5.0  # after KILL: a process of another user, or one that hangs in the kernel, is left
_CHUNK: Final = 65_536
_CHUNKS_PER_TURN: Final = 16  # then others get the loop, however fast the child prints
_NOT_FOUND_ERRORS: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
_NOT_EXECUTABLE_ERRORS: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.E2BIG, errno.ETXTBSY, errno.EISDIR}
)


OutputStream: TypeAlias = Literal["stdout", "stderr"]


class ProcessNotStarted(Exception):  # noqa: N818 - a fact, as shells have no status for it
    """Raised when nothing could even try to run: no working directory, a NUL in an argument, no process left."""


@frozen(kw_only=True)
class ProcessRequest:
    """What to run."""

    command: Command  #: a string is for `/bin/sh -c`; a sequence is an argv, without a shell
    cwd: str
    env: Mapping[str, str] = field(repr=False)  #: the whole environment, but for the cookie
    cookie: str  #: unique text without NUL, by which what the child started is known
    max_output: int = 1024 * 1024  #: bytes kept of each stream: the last ones
    grace: float = 5.0  #: seconds from TERM to KILL
    timeout: float | None = None  #: seconds until the tree is ended; None: never
    #: told of what is read of each stream, as it comes; must not raise
    said: Callable[[OutputStream, bytes], None] | None = field(default=None, repr=False)

    @property
    def argv(self) -> list[str]:
        """What is executed."""
        return ["/bin/sh", "-c", self.command] if isinstance(self.command, str) else list(self.command)


@frozen(kw_only=True)
class ProcessResult:
    """How a child ended, and what it printed.

    Both `exit_status` and `signal` are None when the host takes the status of its children away from us, by ignoring
    SIGCHLD or by reaping whatever it finds.
    """

    exit_status: int | None  #: None: killed by a signal
    signal: int | None
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)
    stdout_truncated: bool = False
    stderr_truncated: bool = False
    duration_s: float = 0.0
    is_timed_out: bool = False  #: ended by us at the request's timeout


class Trees(Protocol):
    """Who runs processes."""

    @property
    def cookie_prefix(self) -> str:
        """Begins the cookies of callers who want to find their trees after a crash."""
        ...

    @property
    def live_count(self) -> int:
        """Trees whose child has not been reaped."""
        ...

    async def run(self, request: ProcessRequest) -> ProcessResult:
        """Run a child to its end; see `ProcessTrees.run`."""
        ...

    def kill_all_nowait(self) -> None:
        """End all that runs at once."""
        ...

    def kill_nowait(self, cookie_prefix: str) -> None:
        """End at once what runs under cookies that begin so."""
        ...


class ProcessTrees:
    """The trees that run now; belongs to one event loop at a time, and its methods to the thread of that loop."""

    def __init__(self, cookie_prefix: str | None = None) -> None:
        #: Begins the cookies of callers who want to find their trees after a crash; random unless given.
        self.cookie_prefix = secrets.token_hex(8) + ":" if cookie_prefix is None else cookie_prefix
        self._live: dict[_Child, None] = {}
        self._unreaped: list[_Child] = []
        self._killed: list[str] = []  # prefixes of the kills since the last start began
        self._census = _SharedCensus()

    @property
    def live_count(self) -> int:
        """Trees whose child has not been reaped."""
        return len(self._live)

    async def run(self, request: ProcessRequest) -> ProcessResult:
        """Run a child to its end.

        It is given no descriptor of ours but its pipes, and nothing to read. However much it prints, it is never
        blocked, and at most about twice `max_output` per stream is held. What it leaves in the background is left
        alone; if that holds a pipe open, the pipe is read for half a second more and closed.

        Cancelling ends the whole tree first: TERM to the group, KILL after `grace` to the group and to all that carry
        the cookie. Only then does the cancellation go on. The request's own timeout ends the tree in the same way.

        Returns:
            How it ended. A program that is missing has exit status 127, one that cannot be executed 126, as in a
            shell, with the reason in `stderr`.

        Raises:
            ProcessNotStarted: the working directory is missing, an argument or variable cannot be passed, or the
                system has no process or memory left.
        """
        await checkpoint_if_cancelled()
        self._unreaped = [child for child in self._unreaped if not child.reap()]
        started_at = time.monotonic()
        try:
            child = self._start(request)
        except OSError as error:
            return _refused(request, error)
        try:
            with anyio.move_on_after(request.timeout) as patience:
                await self._attend(child, request.grace)
        finally:
            self._let_go(child)
        return child.result(time.monotonic() - started_at, is_timed_out=patience.cancelled_caught)

    def kill_all_nowait(self) -> None:
        """KILL every live tree at once, see `kill_nowait`."""
        self.kill_nowait("")

    def kill_nowait(self, cookie_prefix: str) -> None:
        """KILL the live trees whose cookie begins so, at once; for a signal's callback, or the signal handler itself.

        The `run` of each then returns, or goes on with its cancellation, as soon as nothing of the tree is alive: no
        grace period is waited for, not even one that has begun.
        """
        self._killed.append(cookie_prefix)
        children = [child for child in self._live if child.cookie.startswith(cookie_prefix)]
        for child in children:
            child.kill()
        if children:
            kill_carriers([child.cookie for child in children])

    def _start(self, request: ProcessRequest) -> _Child:
        # On the loop's own thread: Python holds its lock from vfork to exec, so that a worker thread would stop the
        # loop for as long, and add a moment in which a child runs that nobody knows.
        self._killed.clear()
        child = _Child(request)
        self._live[child] = None
        if child.cookie.startswith(tuple(self._killed)):  # by a signal handler, before the child was listed
            child.kill()
        return child

    async def _attend(self, child: _Child, grace: float) -> None:
        try:
            await child.read_until_exited()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._end(child, grace)
            raise
        if child.is_killed:  # what it was just starting then may have been missed
            with anyio.move_on_after(_UNKILLABLE_S, shield=True):
                await self._wait_gone(child, signal.SIGKILL)

    async def _end(self, child: _Child, grace: float) -> None:
        try:
            async with anyio.create_task_group() as readers:
                child.read_in(readers)  # one that cannot print may not be able to end either
                child.signal_group(signal.SIGTERM)
                child.signal_group(signal.SIGCONT)  # a stopped one cannot end before it goes on
                with anyio.move_on_after(grace) as patience:
                    await _wait_exited(child.pid)
                    await self._wait_gone(child, signal.SIGTERM)
                if patience.cancelled_caught:
                    with anyio.move_on_after(_UNKILLABLE_S):
                        await self._wait_gone(child, signal.SIGKILL)
                readers.cancel_scope.cancel()
        finally:  # also when asyncio's own Task.cancel, which no scope holds off, came in between
            child.signal_group(signal.SIGKILL)

    async def _wait_gone(self, child: _Child, number: signal.Signals) -> None:
        """Wait until nothing of the tree is alive, sending the signal on to those it has not reached."""
        told: set[int] = set()
        pause = 0.002
        while True:
            if child.is_killed and number != signal.SIGKILL:
                number, told = signal.SIGKILL, set()
            if number == signal.SIGKILL:
                child.signal_group(number)
            members, strays = (await self._census.taken()).of_tree(child.pid, child.cookie)
            if not members and not strays:
                return
            for pid in strays - told:
                signal_carrier(pid, child.cookie, number)
                signal_carrier(pid, child.cookie, signal.SIGCONT)
            told |= strays
            await anyio.sleep(pause)
            pause = min(pause * 2, 0.25)

    def _let_go(self, child: _Child) -> None:
        # Off the list before it is reaped: kill_all_nowait may come in between, and must not signal a free number.
        del self._live[child]
        child.close()
        if not child.reap():
            self._unreaped.append(child)


class _SharedCensus:
    """Looks at all processes, for all trees that wait for a look: a thousand that end together share each."""

    def __init__(self) -> None:
        self._lock: anyio.Lock | None = None
        self._begun_count = 0
        self._last_number = 0
        self._last = Census({}, {})

    async def taken(self) -> Census:
        """A census that was begun after the call."""
        if self._lock is None:  # not made earlier: it belongs to the loop
            self._lock = anyio.Lock()
        begun_before = self._begun_count
        async with self._lock:
            if self._last_number <= begun_before:
                self._begun_count = number = self._begun_count + 1
                self._last = await to_thread.run_sync(take_census)
                self._last_number = number
            return self._last


class _Child:
    """A started child, its two pipes, and its status once it is reaped."""

    def __init__(self, request: ProcessRequest) -> None:
        self._popen = _popen(request)
        self.pid = self._popen.pid  #: also the number of its group
        self.cookie = request.cookie
        assert self._popen.stdout is not None
        assert self._popen.stderr is not None
        self._stdout = _Tail(self._popen.stdout, request.max_output, _said_of(request, "stdout"))
        self._stderr = _Tail(self._popen.stderr, request.max_output, _said_of(request, "stderr"))
        self._status: int | None = None  # as in Popen.returncode
        self.is_killed = False  #: by `kill`: whatever it has started is to go too, and nobody waits

    async def read_until_exited(self) -> None:
        """Read both pipes until the child has exited and they have ended, or nobody closes them."""
        async with anyio.create_task_group() as readers:
            self.read_in(readers)
            await _wait_exited(self.pid)
            readers.cancel_scope.deadline = anyio.current_time() + _DRAIN_S

    def read_in(self, readers: TaskGroup) -> None:
        """Start reading both pipes to their end."""
        readers.start_soon(self._stdout.read_to_end)
        readers.start_soon(self._stderr.read_to_end)

    def signal_group(self, number: signal.Signals) -> None:
        """Signal all that is in the group; only while the child is not reaped."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """KILL all that is in the group."""
        self.is_killed = True
        self.signal_group(signal.SIGKILL)

    def close(self) -> None:
        """Close our ends of the pipes."""
        self._stdout.close()
        self._stderr.close()

    def reap(self) -> bool:
        """Take the status of a child that has exited; say whether it had."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # the host ignores SIGCHLD, or has reaped it: Popen would report success
            self._popen.returncode = 0  # so that it does not warn of a child that still runs
            return True
        if pid:
            self._status = self._popen.returncode = os.waitstatus_to_exitcode(status)
        return bool(pid)

    def result(self, duration_s: float, *, is_timed_out: bool) -> ProcessResult:
        """Describe the end of the child."""
        status = self._status
        return ProcessResult(
            exit_status=status if status is not None and status >= 0 else None,
            signal=-status if status is not None and status < 0 else None,
            stdout=self._stdout.content,
            stderr=self._stderr.content,
            stdout_truncated=self._stdout.is_truncated,
            stderr_truncated=self._stderr.is_truncated,
            duration_s=duration_s,
            is_timed_out=is_timed_out,
        )


def _said_of(request: ProcessRequest, stream: OutputStream) -> Callable[[bytes], None] | None:
    return None if request.said is None else partial(request.said, stream)


class _Tail:
    """The last bytes of a pipe, however many it brings; holds at most twice as many."""

    def __init__(self, pipe: IO[bytes], keep: int, said: Callable[[bytes], None] | None) -> None:
        self._pipe = pipe
        self._keep = keep
        self._said = said
        self._bytes = bytearray()
        self.is_truncated = False
        os.set_blocking(pipe.fileno(), False)

    @property
    def content(self) -> bytes:
        self._cut()
        return bytes(self._bytes)

    async def read_to_end(self) -> None:
        while not self.take_nowait():
            await anyio.wait_readable(self._pipe.fileno())

    def take_nowait(self) -> bool:
        """Take what is there, up to one turn's share; say whether the pipe has ended."""
        descriptor = self._pipe.fileno()
        for _ in range(_CHUNKS_PER_TURN):
            try:
                chunk = os.read(descriptor, _CHUNK)
            except BlockingIOError:
                return False
            if not chunk:
                return True
            self._bytes += chunk
            if self._said is not None:
                self._said(chunk)
            if len(self._bytes) > 2 * self._keep:
                self._cut()
        return False

    def close(self) -> None:
        self._pipe.close()

    def _cut(self) -> None:
        surplus = len(self._bytes) - self._keep
        if surplus > 0:
            self.is_truncated = True
            del self._bytes[:surplus]


def _popen(request: ProcessRequest) -> subprocess.Popen[bytes]:
    argv = request.argv
    if not argv:
        raise ProcessNotStarted("the command is empty")
    if not Path(request.cwd).is_dir():
        what = "is not a directory" if os.path.lexists(request.cwd) else "is missing"
        raise ProcessNotStarted(f"the working directory {request.cwd!r} {what}")
    if not os.access(request.cwd, os.X_OK):
        raise ProcessNotStarted(f"the working directory {request.cwd!r} may not be entered")
    try:
        return subprocess.Popen(  # noqa: S603 - to run what the user wrote is what this is for
            argv,
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=request.cwd,
            env={**request.env, COOKIE_VARIABLE: request.cookie},
            start_new_session=True,
        )
    except ValueError as error:  # a NUL, a lone surrogate, `=` in a variable's name
        raise ProcessNotStarted(f"{argv[0]!r} cannot be started: {error}") from error


def _refused(request: ProcessRequest, error: OSError) -> ProcessResult:
    """Say as a shell does that the program cannot be run, or raise when the program is not to blame."""
    program = request.argv[0]
    if error.errno in _NOT_FOUND_ERRORS:
        status, reason = NOT_FOUND, "not found"
        if os.path.exists(os.path.join(request.cwd, program)):  # noqa: PTH110, PTH118 - Path raises for long names
            reason = "not found: it is there, but the interpreter in its first line is not"
    elif error.errno in _NOT_EXECUTABLE_ERRORS:
        status, reason = NOT_EXECUTABLE, f"cannot be executed: {error.strerror}"
    else:
        raise ProcessNotStarted(f"{program!r} cannot be started: {error.strerror}") from error
    stderr = f"{program}: {reason}\n".encode(errors="replace")
    return ProcessResult(exit_status=status, signal=None, stdout=b"", stderr=stderr)


async def _wait_exited(pid: int) -> None:
    """Wait until a child of ours has exited, without reaping it."""
    if sys.platform != "linux":
        await _wait_exited_kqueue(pid)
        return
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except OSError:  # a kernel before 5.3, or a container's filter that does not know the call
        await _poll_exited(pid)
        return
    try:
        await anyio.wait_readable(descriptor)
    finally:
        os.close(descriptor)


async def _poll_exited(pid: int) -> None:
    pause = 0.001
    with suppress(ChildProcessError):
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:  # noqa: ASYNC222 - WNOHANG
            await anyio.sleep(pause)
            pause = min(pause * 2, 0.05)


async def _wait_exited_kqueue(pid: int) -> None:
    if sys.platform != "linux":  # the type checkers know this module's names for one platform only
        queue = select.kqueue()
        try:
            flags = select.KQ_EV_ADD | select.KQ_EV_ONESHOT
            exit_of = select.kevent(pid, select.KQ_FILTER_PROC, flags, select.KQ_NOTE_EXIT)
            with suppress(ProcessLookupError):  # it has exited already
                queue.control([exit_of], 0)
                await anyio.wait_readable(queue.fileno())
        finally:
            queue.close()
