"""The clock of a run."""

from __future__ import annotations

from actorflow.actors.host import Host

#: the wall clock drifts: by less than this two that were anchored to it do not differ
_SKEW_S = 0.1


class RunClock:
    """Epoch seconds that never go backwards within a run.

    Anchored to the wall clock when a process takes the run up, no earlier than the run's last event; from there on it
    follows the loop's clock, so that a wall clock that is set does not move a retry.
    """

    def __init__(self, host: Host, not_before: float = 0.0) -> None:
        self._time = host.time
        self._offset = max(host.wall(), not_before) - host.time()

    def now(self) -> float:
        """The time of the run."""
        return self._time() + self._offset

    def ahead_of(self, other: RunClock) -> float:
        """By how many seconds it is ahead of another clock upon the same loop, or behind it if negative.

        That is always the same; 0, but where the wall clock was set, or the machine slept, before one of them was anchored.
        """
        ahead = self._offset - other._offset
        return 0.0 if abs(ahead) < _SKEW_S else ahead
