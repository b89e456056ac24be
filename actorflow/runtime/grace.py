"""The grace of a pause: what runs may take to end by itself."""

from __future__ import annotations

from collections.abc import Callable

from actorflow.actors.alarm import Alarm, Appointment


class Grace:
    """Some seconds, of which less may be left than was asked for last, but never more.

    Args:
        alarm: the one of the runtime.
        tell_over: called when they have passed.
    """

    __slots__ = ("_alarm", "_end", "_tell_over")

    def __init__(self, alarm: Alarm, tell_over: Callable[[], None]) -> None:
        self._alarm = alarm
        self._tell_over = tell_over
        self._end: Appointment | None = None

    def give(self, seconds: float) -> None:
        """End in some seconds, unless less was asked for before."""
        end = self._alarm.after(seconds, self._tell_over)
        if self._end is not None and self._end.due <= end.due:
            end.cancel()
        else:
            self.forget()
            self._end = end

    def forget(self) -> None:
        """There is none any more."""
        if self._end is not None:
            self._end.cancel()
            self._end = None

    @property
    def is_over(self) -> bool:
        """Whether some was given, and it has passed."""
        return self._end is not None and self._end.is_canceled
