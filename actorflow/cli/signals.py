"""Signals: what the first and the second of them do, before a run, while it runs, and while it ends.

Only the command line handles signals; a runtime inside another program never does.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from actorflow.runtime.runtime import Runtime

HANDLED = (signal.SIGINT, signal.SIGTERM)

_PATIENCE_S = 1.0
"""A third signal ends the process at once, unless it comes this soon after the second: then it was meant as that."""


BODIES_END_S = 0.25
"""How long Python bodies that have been told to end may take to do so, before the process ends without them."""


class Interrupted(BaseException):
    """Raised where a signal arrives while there is no run yet, and so nothing to be kept."""


class EarlySignals:
    """Handles signals in the main thread as long as no event loop does."""

    def __init__(self) -> None:
        self._is_installed = False
        self._is_loop_near = False
        self._is_asked = False

    @property
    def is_installed(self) -> bool:
        """Whether signals are handled, because the process is ours."""
        return self._is_installed

    def install(self) -> None:
        """From here on a signal raises `Interrupted`."""
        self._is_installed = True
        for number in HANDLED:
            signal.signal(number, self._take)

    def note_only(self) -> None:
        """From here on a signal is only noted: inside a loop's own code nothing may be raised."""
        self._is_loop_near = True

    def raise_noted(self) -> None:
        """Raise `Interrupted` if a signal has come."""
        if self._is_asked:
            raise Interrupted

    def restore(self) -> None:
        """Give the signals back to Python: the run is over."""
        if self._is_installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        self._is_asked = True
        if not self._is_loop_near:
            raise Interrupted


def end_process(status: int) -> NoReturn:
    """End the process although something in it goes on that nobody can end from outside."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError, ValueError):
                stream.flush()
    os._exit(status)


class Interruption:
    """Stops the run of a runtime when it is told to.

    The first signal starts nothing new, gives what runs its grace period, and leaves the run paused. The second kills
    all process trees at once; the run is still paused in good order.
    """

    def __init__(self, runtime: Runtime, grace_s: float, say: Callable[[str], None]) -> None:
        from anyio import Event  # noqa: PLC0415 - not for `--help` and `version`

        self._runtime = runtime
        self.grace_s = grace_s  #: seconds that what runs gets from the first signal on
        self._say = say
        self._count = 0
        self._killed_at = 0.0
        self._has_run = False
        self._is_idle = False
        self._is_elsewhere = False
        self._asked = Event()
        self.cause = ""  #: the name of the first signal

    @property
    def is_asked(self) -> bool:
        """Whether a signal has come."""
        return self._count > 0

    async def watch(self, signals: AsyncIterator[signal.Signals], tasks: TaskGroup) -> None:
        """Take signals until cancelled."""
        async for number in signals:
            self._count += 1
            if self._count == 1:
                self._stop(number)
                tasks.start_soon(self._stop_draining)
            else:
                self._kill()
            if self._count == 2:
                tasks.start_soon(self._name_what_stays)

    def run_began(self) -> None:
        """The run exists: a signal that came before holds for it too."""
        self._has_run = True
        if self._count == 1:
            self._runtime.pause_all(self.cause, grace_s=self.grace_s)
        elif self._count:
            self._kill()

    def leave_to_caller(self) -> None:
        """The run may be another process's: what the first signal means for it, the caller sees to."""
        self._has_run = self._is_elsewhere = True
        if self._count > 1:
            self._kill()

    def stop(self) -> None:
        """Give what runs here its grace period, and leave it paused."""
        self._say(f"{self.cause}: stopping; what runs has {self.grace_s:g} s (once more: it is killed)")
        self._runtime.pause_all(self.cause, grace_s=self.grace_s)

    async def wait_asked(self) -> None:
        """Wait for the first signal."""
        await self._asked.wait()

    async def idle(self, seconds: float) -> None:
        """Let time pass while nothing is under way.

        Raises:
            Interrupted: a signal has come.
        """
        from anyio import move_on_after  # noqa: PLC0415 - not for `--help` and `version`

        self._is_idle = True
        with move_on_after(seconds):
            await self._asked.wait()
        self._is_idle = False
        if self.is_asked:
            raise Interrupted

    def _stop(self, number: signal.Signals) -> None:
        self.cause = number.name
        self._asked.set()
        if not self._is_idle and not self._is_elsewhere:
            self.stop()

    async def _stop_draining(self) -> None:
        """Let async hooks have the grace period too, and no more."""
        from anyio import sleep  # noqa: PLC0415 - not for `--help` and `version`

        await sleep(self.grace_s)
        self._runtime.stop_draining()

    async def _name_what_stays(self) -> None:
        """Say what is waited for, where the second signal was not enough."""
        from anyio import sleep  # noqa: PLC0415 - not for `--help` and `version`

        await sleep(_PATIENCE_S)
        self._say("what runs does not end, such as a Python agent (once more: it is left behind)")

    def _kill(self) -> None:
        now = time.monotonic()
        is_third = self._killed_at and now - self._killed_at > _PATIENCE_S
        self._runtime.pause_all(self.cause, grace_s=0.0)
        self._runtime.kill_all()
        if not self._has_run or is_third:
            # still starting up, in an import that never ends; or an agent that takes no cancellation holds us
            os._exit(2)
        self._killed_at = self._killed_at or now
