"""The clock of a run."""

from __future__ import annotations

import time

from actorflow.actors.host import Host

#: clocks drift, and are asked one after the other: by less than this they do not differ
_SKEW_S = 0.1


class RunClock:
    """Epoch seconds that never go backwards within a run.

    Anchored to the wall clock when a process takes the run up, no earlier than the run's last event; from there on it
    follows the loop's clock, so that a wall clock that is set does not move a retry.
    """

    def __init__(self, host: Host, not_before: float = 0.0) -> None:
        self._time = host.time
        self._offset = max(time.time(), not_before) - host.time()

    def now(self) -> float:
        """The time of the run."""
        return self._time() + self._offset

    def ahead_s(self) -> float:
        """How far the run is ahead of the wall clock, or behind it if negative; 0 but for a clock that was set.

        A machine that slept is behind too: the loop's clock stands still meanwhile.
        """
        ahead = self.now() - time.time()
        return 0.0 if abs(ahead) < _SKEW_S else ahead
