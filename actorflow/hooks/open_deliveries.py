"""The deliveries of a run while all goes well: from its events over the lines of its hooks into the journal.

One that meets a bug is thrown away whole, with all that it has in memory: the next is opened from the journal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from attrs import frozen

from actorflow.actors.alarm import Alarm, Appointment
from actorflow.actors.host import Host
from actorflow.actors.pool import RunnerPool
from actorflow.core.events import Event
from actorflow.core.hook_rendering import shown_inputs
from actorflow.core.owed import OwedDelivery
from actorflow.hooks.debtor import Debtor
from actorflow.hooks.errand import Errand
from actorflow.hooks.intake import Intake, read_on
from actorflow.hooks.line import HookLine, Tried
from actorflow.hooks.opening import Opened, specs_of
from actorflow.hooks.outgoing import Outgoing
from actorflow.hooks.parcel import Parcel, opened
from actorflow.hooks.reading import Reading
from actorflow.journal.protocol import PendingDelivery
from actorflow.spec.model import HookSpec

__all__ = ["Desk", "OpenDeliveries", "Owner"]

ROWS_AT_A_TIME: Final = 64
"""Pending deliveries of a hook that are read back together."""

RECORD_S: Final = 0.05
"""So long what has come of deliveries waits for more of it: their commits are not to hold up those of tasks.

What is lost with the process within that time is tried again by the next one, under the same ids.
"""

_Turn: TypeAlias = Errand | Reading[Any]

_GONE: Final = "the definition has no such hook any more"


@frozen(eq=False)
class Desk:
    """What all deliveries of a runtime share."""

    host: Host
    pool: RunnerPool
    alarm: Alarm


@frozen(eq=False)
class Owner:
    """Who is told what becomes of open deliveries."""

    wake: Callable[[], None]  #: there is something to do, or nothing is under way any more
    crash: Callable[[Exception], None]  #: a bug was met
    lose: Callable[[Exception], None]  #: nothing can be kept any more


class OpenDeliveries:
    """Folds events, has what they owe tried, and has what comes of it recorded; in slices, when it is asked to.

    Args:
        debtor: the run.
        found: its deliveries, as the journal has them.
        noted_seq: number of the last event that is known to be in the journal.
        desk: of the runtime.
        owner: is told.
    """

    def __init__(self, debtor: Debtor, found: Opened, noted_seq: int, desk: Desk, owner: Owner) -> None:
        self.debtor = debtor
        self._waited_for_till: float | None = None
        self._desk = desk
        self._owner = owner
        self._known = found.known
        self._known_to = found.last_seq
        self._failures = dict(found.failures)
        self._intake = Intake(found.fold, found.cursor, max(noted_seq, found.last_seq))
        self._inputs: Mapping[str, Any] | None = None
        self.outgoing = Outgoing(
            debtor, found.cursor, inputs=self._shown_inputs, on_kept=self._note_kept, on_lost=owner.lose
        )
        self._lines: dict[str, HookLine] = {}
        self._touched: dict[HookLine, None] = {}
        self._starved: dict[HookLine, None] = {}  #: to be looked at when what is being recorded is kept
        self._looks: dict[HookLine, Appointment] = {}
        self._turns: set[_Turn] = set()
        self._sendable: deque[tuple[HookLine, Sequence[Parcel]]] = deque()
        self._is_fold_put_off = False
        self._is_reading_events = False
        self._is_record_awaited = False
        self._is_record_due = False
        self._is_closed = False
        self._load(found)

    @property
    def has_more(self) -> bool:
        """Whether there is something to do at once."""
        if self._sendable:
            return True
        if self.outgoing.is_full:
            return False
        return bool(self._touched) or (self._intake.has_more and not self._is_fold_put_off)

    @property
    def has_folded_all(self) -> bool:
        """Whether what is owed by the events that are known of is known too."""
        return self._intake.is_done

    @property
    def is_draining(self) -> bool:
        """Whether somebody waits for it."""
        return self._waited_for_till is not None

    @property
    def is_all_there(self) -> bool:
        """Whether somebody waits, and all that is owed is known: who waits for company waits in vain."""
        return self.is_draining and self._intake.is_done

    def wait_for(self, till: float | None) -> None:
        """Somebody waits for what can be delivered by a time in epoch seconds; None: nobody does any more."""
        if till is not None and not self.is_draining:
            self._look_at_all()
        self._waited_for_till = till

    def is_idle(self, by: float) -> bool:
        """Whether nothing can be delivered by a time: all that is owed is settled and kept, held, or due later."""
        return self._is_still(by) and self.outgoing.is_kept

    @property
    def is_gone(self) -> bool:
        """Whether nothing is under way: no try, no reading, no record."""
        return not self._turns and not self.outgoing.is_recording

    @property
    def unsettled_count(self) -> int:
        """Deliveries that are not settled, as far as events are folded."""
        return sum(line.unsettled_count for line in self._lines.values())

    @property
    def resident_count(self) -> int:
        """Those of them that are in memory."""
        return sum(line.resident_count for line in self._lines.values())

    def note(self, first_seq: int, events: Sequence[Event]) -> None:
        """These events are in the journal."""
        self._intake.note(first_seq, events)

    def note_last(self, seq: int) -> None:
        """Events up to this number are in the journal."""
        self._intake.note_last(seq)

    def work(self, is_over: Callable[[], bool]) -> None:
        """Do what there is to do until a slice is over, and a little at least."""
        while self._sendable:
            self.send(*self._sendable.popleft())
        self._pump(is_over)
        self._fold(is_over)
        if self._intake.is_behind and not self._intake.has_more and not self._is_reading_events:
            self._read_events()
        self._record()

    def close(self) -> None:
        """End all tries, and begin nothing any more; `is_gone` says when they have ended, and what came of others is kept."""
        self._is_closed = True
        self.outgoing.save()
        for look in self._looks.values():
            look.cancel()
        for turn in list(self._turns):
            if self._desk.pool.cancel(turn) != "at_work":
                self._turns.discard(turn)

    # What lines ask for

    def send(self, line: HookLine, batch: Sequence[Parcel]) -> None:
        """Make a try of each."""
        if not self._is_closed:
            errand = Errand(
                line,
                batch,
                self.debtor,
                host=self._desk.host,
                take=self._take,
                crashed=self._crash,
                gone=self._forget,
            )
            self._submit(errand)

    def send_soon(self, line: HookLine, batch: Sequence[Parcel]) -> None:
        """Make a try of each in the next slice: answers of the journal come where no task is, and none can be begun."""
        self._sendable.append((line, batch))
        self._owner.wake()

    def read_back(self, line: HookLine, after: int) -> None:
        """Read the next rows of a line."""
        journal, run_id = self.debtor.journal, self.debtor.run_id
        spilled_count, was_kept = line.spilled_count, self.outgoing.is_kept

        def read() -> Sequence[PendingDelivery]:
            return journal.pending(run_id, line.path, after=after, limit=ROWS_AT_A_TIME)

        def take(rows: Sequence[PendingDelivery]) -> None:
            if not self._is_closed:
                line.take_rows(self._opened(rows, line.spec), spilled_count, was_kept=was_kept)

        host = self._desk.host
        self._submit(Reading(host, journal, read, take, crashed=self._crash, gone=self._forget))

    def look_at(self, line: HookLine, at: float) -> None:
        """Pump a line at a time."""
        known = self._looks.pop(line, None)
        if known is not None:
            known.cancel()
        delay_s = max(0.0, at - self.debtor.now())
        self._looks[line] = self._desk.alarm.after(delay_s, lambda: self.look_at_once(line))

    def look_at_once(self, line: HookLine) -> None:
        """Pump a line in the next slice."""
        if not self._is_closed:
            self._touched[line] = None
            self._owner.wake()

    def look_when_kept(self, line: HookLine) -> None:
        """Pump a line when there is more in the journal."""
        if self.outgoing.is_kept:
            self.look_at_once(line)
        else:
            self._starved[line] = None

    # Its own

    def _is_still(self, by: float) -> bool:
        is_quiet = not self._touched and not self._turns and self._intake.is_done
        return is_quiet and all(line.is_quiet(by) for line in self._lines.values())

    def _load(self, found: Opened) -> None:
        specs: Mapping[str, HookSpec] = specs_of(self._intake.state) if found.row_counts else {}
        for path, count in found.row_counts.items():
            rows, spec = found.rows[path], specs.get(path)
            refusal = "" if spec is not None else _GONE
            line = self._made(path, spec or HookSpec(), spilled_count=count - len(rows), refusal=refusal)
            line.load(self._opened(rows, line.spec))
            self._touched[line] = None

    def _made(self, path: str, spec: HookSpec, *, spilled_count: int = 0, refusal: str = "") -> HookLine:
        failures = self._failures.pop(path, 0)
        line = HookLine(path, spec, self, spilled_count=spilled_count, failures=failures, refusal=refusal)
        self._lines[path] = line
        return line

    def _opened(self, rows: Sequence[PendingDelivery], spec: HookSpec) -> Sequence[Parcel]:
        return [opened(row, self.debtor.run_id, spec, self._shown_inputs()) for row in rows]

    def _shown_inputs(self) -> Mapping[str, Any]:
        """The same for all events of a run, and one mapping for all."""
        if self._inputs is None:
            self._inputs = shown_inputs(self._intake.state)
        return self._inputs

    def _pump(self, is_over: Callable[[], bool]) -> None:
        while self._touched and not self.outgoing.is_full:
            line = next(iter(self._touched))
            del self._touched[line]
            line.pump()
            if is_over():
                return

    def _look_at_all(self) -> None:
        """Pump all lines: some may have waited for company."""
        for line in self._lines.values():
            self.look_at_once(line)

    def _fold(self, is_over: Callable[[], bool]) -> None:
        has_more = self._intake.has_more
        self._is_fold_put_off = has_more and self._has_prompt_line()
        if not has_more or self.outgoing.is_full or self._is_fold_put_off:
            return
        for owed in self._intake.fold(is_over):
            if self._intake.seq > self._known_to or owed.context.delivery_id not in self._known:
                self._admit(owed)
        if self.is_all_there:
            self._look_at_all()

    def _has_prompt_line(self) -> bool:
        """Whether a line has enough to do, and will have less in a moment: it says so, or is asked again."""
        now = self.debtor.now()
        for line in self._lines.values():
            until = line.is_prompt_until(now)
            if until is not None:
                self.look_at(line, until)
                return True
        return False

    def _admit(self, owed: OwedDelivery) -> None:
        line = self._lines.get(owed.entry.path)
        if line is None:
            line = self._made(owed.entry.path, owed.entry.spec)
        line.admit(owed)
        self._touched[line] = None

    def _read_events(self) -> None:
        journal, run_id, seq = self.debtor.journal, self.debtor.run_id, self._intake.seq

        def take(events: Sequence[tuple[int, Event]]) -> None:
            self._is_reading_events = False
            self._intake.take_read(events)
            self._owner.wake()

        self._is_reading_events = True
        read = Reading(
            self._desk.host,
            journal,
            lambda: read_on(journal, run_id, seq),
            take,
            crashed=self._crash,
            gone=self._forget,
        )
        self._submit(read)

    def _record(self) -> None:
        """Record what there is if it is time to; if not, say when it will be."""
        is_last = self._waited_for_till is not None and self._is_still(self._waited_for_till)
        if is_last or self._is_record_due or self._starved or self.outgoing.is_worth_it:
            self._is_record_due = False
            self.outgoing.flush(self._intake.seq, is_last=is_last)
        elif not self._is_record_awaited:
            self._is_record_awaited = True
            self._desk.alarm.after(RECORD_S, self._note_record_due)

    def _note_record_due(self) -> None:
        self._is_record_awaited = False
        self._is_record_due = True
        self._owner.wake()

    def _take(self, line: HookLine, tried: Tried, may_go_on: bool) -> Sequence[Parcel]:
        """Take what came of an errand; the batch with which it goes on, without a way over all the others."""
        if self._is_closed:
            return ()
        line.took(tried)
        batch = line.next_batch() if may_go_on and not self.outgoing.is_full else ()
        if not batch:
            self.look_at_once(line)
        return batch

    def _note_kept(self) -> None:
        self._touched.update(self._starved)
        self._starved.clear()
        self._owner.wake()

    def _submit(self, turn: _Turn) -> None:
        self._turns.add(turn)
        self._desk.pool.submit(turn)

    def _forget(self, turn: _Turn) -> None:
        self._turns.discard(turn)
        self._owner.wake()

    def _crash(self, error: Exception) -> None:
        if not self._is_closed:
            self._owner.crash(error)
