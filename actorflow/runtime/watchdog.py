"""The watchdog: a thread that names who blocks the event loop.

While turns are at work it asks the loop, every `TICK_S`, to say that it turns. A loop that has not answered for
`BLOCKED_S` is blocked, by whatever its thread does right now: that is read from the thread's stack. The asking is done
in real time, so it means the same under a virtual clock of the loop.
"""

from __future__ import annotations

import logging
import os
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from types import FrameType
from typing import Final

from attrs import define, field, frozen

from actorflow.actors.host import Host
from actorflow.runtime.task_actor import TaskActor

__all__ = ["BLOCKED_S", "TICK_S", "Blockage", "LoopGauge", "Watchdog", "blockage_of"]

BLOCKED_S: Final = 1.0
TICK_S: Final = 0.25

_PERFORM: Final = TaskActor.perform.__code__
_LOOPS: Final = frozenset({"asyncio.events", "asyncio.base_events", "trio._core._run"})
"""Modules whose frames lie below everything that a loop calls."""

_OURS: Final = f"{Path(__file__).parent.parent}{os.sep}"
_INSTALLED: Final = (
    "<frozen ",
    *(f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib", "purelib", "platlib")),
)

_logger = logging.getLogger("actorflow.runtime")


class Watchdog:
    """Warns once for each time that the loop is blocked; make and `start` it on the loop's thread.

    Args:
        host: the loop.
        is_busy: whether there is anybody to watch; asked on the watchdog's thread.
        blocked_s: seconds after which a loop that does not turn is blocked.
        tick_s: seconds between looks.
        clock: what the time is read from, in seconds.
    """

    def __init__(
        self,
        host: Host,
        is_busy: Callable[[], bool],
        *,
        blocked_s: float = BLOCKED_S,
        tick_s: float = TICK_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._is_busy = is_busy
        self._gauge = LoopGauge(blocked_s=blocked_s, tick_s=tick_s)
        self._tick_s = tick_s
        self._clock = clock
        self._loop_thread = threading.get_ident()
        self._is_stopped = threading.Event()
        self._is_answered = True

    def start(self) -> threading.Thread:
        """Watch from now on, in a thread that keeps no process alive."""
        thread = threading.Thread(target=self._watch, name="actorflow watchdog", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """Watch no more; the thread ends by itself."""
        self._is_stopped.set()

    def _watch(self) -> None:
        looked_at = self._clock()
        while not self._is_stopped.wait(self._tick_s):
            now = self._clock()
            blocked_s = self._gauge.note(now - looked_at, is_turning=self._is_answered)
            looked_at = now
            if blocked_s is not None:
                self._warn(blocked_s)
            if self._is_answered and self._is_busy() and not self._ask():
                return

    def _ask(self) -> bool:
        """Have the loop say that it turns; whether there still is a loop."""
        self._is_answered = False
        try:
            self._host.call_from_thread(self._answer)
        except RuntimeError:
            return False
        return True

    def _answer(self) -> None:
        self._is_answered = True

    def _warn(self, blocked_s: float) -> None:
        frames = sys._current_frames()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - there is no other way
        blockage = blockage_of(frames.get(self._loop_thread))
        if blockage is not None:
            _logger.warning("the event loop has been blocked for %.1f s by %s", blocked_s, blockage)


@define
class LoopGauge:
    """How long the loop has not turned, as far as the one who looks was awake to see it.

    Someone who looks much later than he meant to was stopped himself, by SIGSTOP or for want of a processor, and the
    loop with him: of such a time only two ticks count.
    """

    blocked_s: float
    tick_s: float
    _seen_s: float = field(default=0.0, init=False)
    _is_told: bool = field(default=False, init=False)

    def note(self, passed_s: float, *, is_turning: bool) -> float | None:
        """Take a look: for how many seconds the loop is blocked, if that is so and is said for the first time.

        Args:
            passed_s: since the look before.
            is_turning: whether the loop has turned since.
        """
        if is_turning:
            self._seen_s, self._is_told = 0.0, False
            return None
        self._seen_s += min(passed_s, 2 * self.tick_s)
        if self._is_told or self._seen_s < self.blocked_s:
            return None
        self._is_told = True
        return self._seen_s


@frozen
class Blockage:
    """Who blocks a loop."""

    place: str  #: `agents.py:12 in crunch`
    task: str | None = None  #: None where it is no agent's body itself that runs
    run_id: str = ""

    def __str__(self) -> str:
        if self.task is None:
            return f"{self.place}: run this in a thread, or await"
        return (
            f"task {self.task!r} of run {self.run_id!r} ({self.place}):"
            " use a plain function, which runs in a thread, or await"
        )


def blockage_of(innermost: FrameType | None) -> Blockage | None:
    """Read from the stack of a loop's thread who has it; None if that is the loop itself.

    The place is the innermost one in a file of the program's own. An agent that is an installed package has none: then
    it is where its body was called.
    """
    stack = list(_outwards(innermost))
    depth = next((index for index, frame in enumerate(stack) if frame.f_code is _PERFORM), None)
    if depth is None:
        own = filter(_is_own, takewhile(_is_called, stack))
        return next((Blockage(_told(frame)) for frame in own), None)
    actor: TaskActor = stack[depth].f_locals["self"]
    body = [frame for frame in stack[:depth] if not _is_below(frame, _OURS)]
    place = next(filter(_is_own, body), body[-1] if body else stack[0])
    return Blockage(_told(place), actor.task, actor.run_id)


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_called(frame: FrameType) -> bool:
    """Whether a frame is of something that a loop has called, and not of the loop."""
    return frame.f_globals.get("__name__") not in _LOOPS


def _is_own(frame: FrameType) -> bool:
    return not _is_below(frame, _OURS, *_INSTALLED)


def _is_below(frame: FrameType, *beginnings: str) -> bool:
    return frame.f_code.co_filename.startswith(beginnings)


def _told(frame: FrameType) -> str:
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} in {frame.f_code.co_name}"
