"""The deliveries of one run: opened from its journal, and once more after a crash of our own."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Final

from actorflow.actors.host import Gate, Host
from actorflow.actors.restarts import RestartPolicy, Restarts
from actorflow.core.events import Event
from actorflow.core.state import RunState
from actorflow.errors import StoreFailed
from actorflow.hooks.debtor import Debtor
from actorflow.hooks.open_deliveries import Desk, OpenDeliveries, Owner
from actorflow.hooks.opening import Opened, open_deliveries
from actorflow.hooks.reading import Reading

__all__ = ["RunDeliveries"]

LOOK_S: Final = 0.005
"""After an event is kept, so long for more of them: a chain of tasks does not wake its deliveries at each step."""

PATIENCE: Final = RestartPolicy(intensity=2, period_s=3_600.0)
"""The third crash within an hour is the last: what is owed waits in the journal for another process."""

_logger = logging.getLogger("actorflow.hooks")


class RunDeliveries:
    """What the events of a run owe to async hooks, delivered beside the run.

    Nothing is held in memory alone: what is owed follows from the journal, and what was tried is kept there. All of it is
    called on the loop; nothing of it waits but `drain` and `end`.

    Args:
        debtor: the run.
        host: the loop.
        desk: of the runtime.
        on_ready: called when `work` has something to do.
    """

    def __init__(
        self, debtor: Debtor, host: Host, desk: Desk, on_ready: Callable[[RunDeliveries], None]
    ) -> None:
        self.debtor = debtor
        self.noted_at = float("-inf")  #: when events were noted last, by the loop's clock
        self.behind_since: float | None = (
            None  #: since when there are noted events that were not folded; likewise
        )
        self._host = host
        self._desk = desk
        self._on_ready = on_ready
        self._restarts = Restarts(PATIENCE, host)
        self._noted_seq = 0
        self._drains: list[float] = []  #: till when each of those waits who do, in epoch seconds
        self._is_look_due = False
        self._watchers: dict[Gate, float] = {}  #: who waits for the last thing that comes by a time
        self._open: OpenDeliveries | None = None  #: none before it is opened, and where it has stopped
        self._ending: OpenDeliveries | None = None  #: what has crashed or was stopped, until it is gone
        self._opening: Reading[Opened] | None = None
        self._is_stopped = False
        if debtor.is_new:
            self._begin(Opened(lambda: RunState(debtor.plan), 0, 0, frozenset(), {}, {}, {}))
        else:
            self._reopen()

    @property
    def unsettled_count(self) -> int:
        """Deliveries that are not settled, as far as is known here."""
        return 0 if self._open is None else self._open.unsettled_count

    @property
    def resident_count(self) -> int:
        """Those of them that are in memory."""
        return 0 if self._open is None else self._open.resident_count

    @property
    def is_draining(self) -> bool:
        """Whether somebody waits for it."""
        return bool(self._drains)

    @property
    def has_more(self) -> bool:
        """Whether `work` has something to do at once."""
        return self._open is not None and self._open.has_more

    def note(self, first_seq: int, events: Sequence[Event]) -> None:
        """These events of the run are kept, the first under this number."""
        self.noted_at = self._host.time()
        if self.behind_since is None:
            self.behind_since = self.noted_at
        self._noted_seq = max(self._noted_seq, first_seq + len(events) - 1)
        if self._open is not None:
            self._open.note(first_seq, events)
        if self.is_draining:
            self._wake()
        elif not self._is_look_due:
            self._is_look_due = True
            self._desk.alarm.after(LOOK_S, self._look)

    def work(self, is_over: Callable[[], bool]) -> None:
        """Do what there is to do until a slice is over, and a little at least."""
        try:
            self._work(is_over)
        except Exception as error:  # noqa: BLE001 - a bug of ours must not take other runs' deliveries with it
            self._crash(error)

    async def drain(self, deadline: float = math.inf) -> None:
        """Wait until nothing more can be delivered: what is owed is settled, held, given up for this process, or due too late.

        Cancelling leaves all as it is.

        Args:
            deadline: by the loop's clock: a try that is due later is not waited for.
        """
        by = self.debtor.now() + (deadline - self._host.time())
        self._drains.append(by)
        self._tell_of_drains()
        try:
            await self._look_for_last()
            self._wake()
            while not self._is_stopped and not self._is_idle(by):
                await self._wait_for_change(by)
        finally:
            self._drains.remove(by)
            self._tell_of_drains()

    async def _look_for_last(self) -> None:
        """Events may be kept of which nobody has told, where the run's actor crashed right behind its last commit."""
        journal, run_id = self.debtor.journal, self.debtor.run_id
        try:
            row = (
                await self._host.in_thread(journal.find, run_id)
                if journal.is_durable
                else journal.find(run_id)
            )
        except StoreFailed as error:
            self._lose(error)
            return
        self._noted_seq = max(self._noted_seq, row.last_seq)
        if self._open is not None:
            self._open.note_last(row.last_seq)

    async def end(self) -> None:
        """End all tries, and begin nothing any more; wait until nothing is under way.

        What is owed stays in the journal. The run may be released after that.
        """
        self._stop()
        self._wake()
        while self._ending is not None or self._opening is not None:
            await self._wait_for_change()

    def _work(self, is_over: Callable[[], bool]) -> None:
        if self._ending is not None and self._ending.is_gone:
            self._ending = None
        if self._open is not None:
            self._open.work(is_over)
            if self._open.has_folded_all:
                self.behind_since = None
        elif self._ending is None and self._opening is None and not self._is_stopped:
            self._reopen()
        for gate, by in self._watchers.items():
            if self._is_stopped or self._is_idle(by):
                gate.open()

    def _is_idle(self, by: float) -> bool:
        return self._open is not None and self._open.is_idle(by)

    def _reopen(self) -> None:
        debtor = self.debtor
        journal = debtor.journal

        def gone(_: Reading[Opened]) -> None:
            self._opening = None
            self._wake()

        self._opening = Reading(
            self._host,
            journal,
            lambda: open_deliveries(journal, debtor.run_id, debtor.plan),
            self._begin,
            crashed=self._crash,
            gone=gone,
        )
        self._desk.pool.submit(self._opening)

    def _begin(self, found: Opened) -> None:
        if not self._is_stopped:
            owner = Owner(self._wake, self._crash, self._lose)
            self._open = OpenDeliveries(self.debtor, found, self._noted_seq, self._desk, owner)
            self.debtor.executor.recall_gone(found.gone)
            self._tell_of_drains()
            self._wake()

    def _crash(self, error: Exception) -> None:
        """Begin again at the cursor, once nothing is under way any more: no delivery is tried twice at a time."""
        if isinstance(error, StoreFailed):
            self._lose(error)
            return
        run_id = self.debtor.run_id
        _logger.error("the deliveries of run %s crashed; this is a bug of actorflow", run_id, exc_info=error)
        self._close()
        try:
            self._restarts.note_crash(error)
        except Exception:  # noqa: BLE001 - the crash itself, once too often
            _logger.error("no more deliveries of run %s by this process; they stay pending", run_id)  # noqa: TRY400
            self._is_stopped = True
        self._wake()

    def _lose(self, _: Exception) -> None:
        """Nothing can be kept any more, of which others tell: what is owed is for another process."""
        self._stop()
        self._wake()

    def _stop(self) -> None:
        self._is_stopped = True
        self._close()
        if self._opening is not None and self._desk.pool.cancel(self._opening) != "at_work":
            self._opening = None

    def _close(self) -> None:
        if self._open is not None:
            self._ending, self._open = self._open, None
            self._ending.close()

    def _tell_of_drains(self) -> None:
        if self._open is not None:
            self._open.wait_for(max(self._drains, default=None))

    async def _wait_for_change(self, by: float = math.inf) -> None:
        gate = self._host.gate()
        self._watchers[gate] = by
        try:
            await gate.wait()
        finally:
            del self._watchers[gate]

    def _look(self) -> None:
        self._is_look_due = False
        self._wake()

    def _wake(self) -> None:
        self._on_ready(self)
