"""The clock of a run."""

from __future__ import annotations

import time

from actorflow.actors.host import Host


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
