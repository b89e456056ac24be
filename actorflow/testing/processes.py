"""Commands that end as a script says, and no process.

```python
commands = FakeProcesses()
commands.on("deploy", Exits(1, stderr=b"no route to host"), Exits(stdout=b"deployed", after_s=30.0))
...
assert [request.command for request in commands.ran] == ["./deploy.sh", "./deploy.sh"]
```

A command is looked at as far as its text goes: nobody looks for its program, or for the folder that it is to run in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from signal import SIGKILL, SIGTERM
from typing import TypeAlias

import anyio
from anyio.lowlevel import checkpoint_if_cancelled
from attrs import define, field, frozen

from actorflow.processes import ProcessNotStarted, ProcessRequest, ProcessResult
from actorflow.testing.turns import Turns

__all__ = ["CommandEnd", "CommandEndOf", "Exits", "FakeProcesses", "NotStarted"]


@frozen
class Exits:
    """The child starts, prints, and ends after so many seconds, unless it is told to end before."""

    status: int = 0
    signal: int | None = None  #: killed by it, instead of a status
    stdout: bytes = b""  #: printed at once
    stderr: bytes = b""
    after_s: float = 0.0  #: `math.inf`: never by itself
    ignores_term: bool = False  #: goes on when it is told to end, until it is killed or done


@frozen
class NotStarted:
    """Nothing could even try to run: `ProcessNotStarted`. A program that is missing is `Exits(127)`."""

    why: str


CommandEnd: TypeAlias = Exits | NotStarted
"""What becomes of a command."""

CommandEndOf: TypeAlias = CommandEnd | Callable[[ProcessRequest], CommandEnd]
"""What becomes of a command, or a function that says so; it should go by the request alone."""


class FakeProcesses:
    """Stands where ProcessTrees stands; a command that nothing was said about exits with status 0 at once.

    Of a timeout and of cancelling, what `ProcessTrees.run` says holds: the child is told to end, killed after the grace
    period if it ignores that, and only then does the cancellation go on. Nothing outlives the process that ran it.

    Args:
        cookie_prefix: begins the cookies of its trees.
        usual: for commands that nothing was said about.
    """

    def __init__(self, cookie_prefix: str = "fake:", *, usual: CommandEndOf = Exits()) -> None:
        self.cookie_prefix = cookie_prefix
        self._script = _Script(usual)
        self._live: dict[_Child, None] = {}

    def under(self, cookie_prefix: str) -> FakeProcesses:
        """The processes of another runner, which go by the same script, are noted in the same `ran`, and live apart."""
        other = FakeProcesses(cookie_prefix)
        other._script = self._script
        return other

    def on(self, word: str, *ends: CommandEndOf) -> None:
        """Say what becomes of commands with a word in them, from now on.

        An attempt of a task gets the end by its number, as with `ScriptedAgent`: the first attempt the first, and so on,
        a lost one the same again. Tries of a hook get theirs in turn, for each delivery by itself. The last end is for all
        that come behind. Of several words that a command has, the longest counts.

        Args:
            word: any part of a shell's text, or of an argv with blanks between its arguments.
            ends: one or more.

        Raises:
            ValueError: there is no end.
        """
        self._script.ends[word] = Turns(ends)

    @property
    def ran(self) -> list[ProcessRequest]:
        """What was started, in order."""
        return self._script.ran

    @property
    def live_count(self) -> int:
        """Children that have not ended."""
        return len(self._live)

    async def run(self, request: ProcessRequest) -> ProcessResult:
        """Run a command to its end; see `ProcessTrees.run`."""
        await checkpoint_if_cancelled()
        _refuse_unpassable(request)
        end = self._script.end_of(request)
        if isinstance(end, NotStarted):
            raise ProcessNotStarted(end.why)
        self.ran.append(request)
        child = _Child(request, end, began_at=anyio.current_time())
        self._live[child] = None
        try:
            return await child.run()
        finally:
            del self._live[child]

    def kill_all_nowait(self) -> None:
        """End all at once."""
        self.kill_nowait("")

    def kill_nowait(self, cookie_prefix: str) -> None:
        """End those whose cookie begins so at once, without a grace period."""
        for child in self._live:
            if child.request.cookie.startswith(cookie_prefix):
                child.is_killed.set()


@define
class _Script:
    """What was said of commands, and which came."""

    usual: CommandEndOf
    ends: dict[str, Turns[CommandEndOf]] = field(factory=dict[str, Turns[CommandEndOf]])
    ran: list[ProcessRequest] = field(factory=list[ProcessRequest])

    def end_of(self, request: ProcessRequest) -> CommandEnd:
        command = request.command if isinstance(request.command, str) else " ".join(request.command)
        fitting = [word for word in self.ends if word in command]
        end = _turn(self.ends[max(fitting, key=len)], request) if fitting else self.usual
        return end if isinstance(end, Exits | NotStarted) else end(request)


def _turn(ends: Turns[CommandEndOf], request: ProcessRequest) -> CommandEndOf:
    """By what the environment of an attempt says; a hook's says whose delivery it is, and not which try."""
    if "ACTORFLOW_LOSS" in request.env:
        return ends.numbered(int(request.env["ACTORFLOW_ATTEMPT"]) - 1)
    return ends.next_for(request.env.get("ACTORFLOW_DELIVERY_ID", request.cookie))


@define(eq=False)
class _Child:
    """A child that runs."""

    request: ProcessRequest
    end: Exits
    began_at: float
    is_killed: anyio.Event = field(factory=anyio.Event)
    is_timed_out: bool = False
    signal: int | None = None  #: by which we ended it

    async def run(self) -> ProcessResult:
        self._print()
        timeout_s = math.inf if self.request.timeout is None else self.request.timeout
        try:
            await self._last(min(self.end.after_s, timeout_s))
        except anyio.get_cancelled_exc_class():
            await self._be_ended()
            raise
        self.is_timed_out = timeout_s < self.end.after_s and not self.is_killed.is_set()
        if self.is_timed_out:
            await self._be_ended()
        return self._result()

    def _print(self) -> None:
        said = self.request.said
        if said is not None and self.end.stdout:
            said("stdout", self.end.stdout)
        if said is not None and self.end.stderr:
            said("stderr", self.end.stderr)

    async def _last(self, seconds: float) -> None:
        """Go on for so long, or until it is killed."""
        with anyio.move_on_after(seconds):
            await self.is_killed.wait()
        if self.is_killed.is_set():
            self.signal = SIGKILL

    async def _be_ended(self) -> None:
        """Be told to end, and killed after the grace period."""
        if not self.end.ignores_term:
            self.signal = SIGTERM
            return
        left_s = self.end.after_s - (anyio.current_time() - self.began_at)
        with anyio.CancelScope(shield=True):
            await self._last(min(left_s, self.request.grace))
        if self.request.grace < left_s:
            self.signal = SIGKILL

    def _result(self) -> ProcessResult:
        signal = self.end.signal if self.signal is None else self.signal
        most = self.request.max_output
        return ProcessResult(
            exit_status=self.end.status if signal is None else None,
            signal=signal,
            stdout=_tail(self.end.stdout, most),
            stderr=_tail(self.end.stderr, most),
            stdout_truncated=len(self.end.stdout) > most,
            stderr_truncated=len(self.end.stderr) > most,
            duration_s=anyio.current_time() - self.began_at,
            is_timed_out=self.is_timed_out,
        )


def _tail(output: bytes, most: int) -> bytes:
    return output[max(len(output) - most, 0) :]


def _refuse_unpassable(request: ProcessRequest) -> None:
    """Raise ProcessNotStarted for what no system can pass to a program."""
    argv = request.argv
    if not argv:
        raise ProcessNotStarted("the command is empty")
    problem = ""
    if any("\0" in text for text in (*argv, *request.env, *request.env.values())):
        problem = "embedded null byte"
    elif any("=" in name for name in request.env):
        problem = "illegal environment variable name"
    if problem:
        raise ProcessNotStarted(f"{argv[0]!r} cannot be started: {problem}")
