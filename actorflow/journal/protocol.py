"""What a journal is: the words in which the runtime speaks to any store.

A journal is synchronous and knows no event loop. `commit` is called by one thread at a time (the JournalActor's);
everything that reads may be called from any thread. One `commit` is one transaction and, in a durable store, one flush:
when it returns, all of its writes are kept, or the store has failed for good. A commit of writes that all have `flush` off
is kept without one: it outlives the process. A crash of the machine may take along such commits, the latest first: none
is lost from in front of another that is there, and none from in front of one that was flushed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from attrs import field, frozen

from actorflow.core.breaker import Breaker, BreakerAnswer, BreakerAsk, BreakerReport
from actorflow.core.events import Event
from actorflow.journal.output_log import OutputLog

RunStatus = Literal["running", "paused", "success", "failed", "canceled"]
DeliveryStatus = Literal["delivered", "failed", "dead_letter", "skipped"]
RequestKind = Literal["cancel", "pause", "resume", "signal"]


@frozen
class RunSummary:
    """The row of a run that `list` shows; a projection of its events that may trail them, never lead."""

    status: RunStatus
    generation: int
    started_at: float
    ended_at: float | None


@frozen
class CreateRun:
    """A new run, owned by this journal's runtime from its first moment."""

    run_id: str
    workflow: str
    definition: str  #: content hash of `body`
    body: bytes  #: the definition as canonical JSON; stored once for each hash
    summary: RunSummary
    is_alone: bool = False  #: refused with WorkflowRunningError while a live owner has a run of this workflow


@frozen
class Append:
    """Events of one run, in order; `first_seq` counts from 1 without gaps."""

    run_id: str
    first_seq: int
    events: Sequence[Event]
    summary: RunSummary | None = None  #: where the events changed it
    flush: bool = True


@frozen
class Delivery:
    """What became of a delivery to an async hook, as recorded when it was settled.

    One that became a dead letter and was tried again by an operator is there twice: the later one counts.
    """

    delivery_id: str
    hook: str  #: path of the hook, such as `on_stage_complete[0]`
    seq: int  #: of the event that owed it
    status: DeliveryStatus
    record: Mapping[str, Any] = field(factory=dict[str, Any])


@frozen
class PendingDelivery:
    """A delivery that is not settled and is kept with what its next try needs, so that the journal can be read past it."""

    delivery_id: str
    hook: str
    seq: int
    due_at: float  #: of its next try, in epoch seconds
    body: Mapping[str, Any] = field(factory=dict[str, Any])  #: JSON: what is delivered, and what was tried


@frozen
class DeadLetter:
    """What used up its tries, and waits for an operator."""

    id: str  #: stable, from run, generation and task
    kind: Literal["task", "delivery"]
    run_id: str
    task: str  #: of a delivery: the path of its hook
    reason: str  #: `type: message` of the failure
    at: float
    seq: int  #: of the event that says more


@frozen
class Request:
    """What somebody else wants of a run; see `Journal.post`."""

    id: int
    run_id: str
    kind: RequestKind
    body: Mapping[str, Any]  #: JSON
    at: float  #: by the wall clock of who asks
    pid: int  #: of who asks
    is_older: bool = False  #: than the claim by which its reader has the run


@frozen
class RecordDeliveries:
    """What became of owed deliveries; all that events up to `cursor` owe is settled or pending with it.

    A pending one replaces the row that it had; one that is settled has none any more.
    """

    run_id: str
    deliveries: Sequence[Delivery]
    cursor: int
    pending: Sequence[PendingDelivery] = ()
    flush: bool = True


@frozen
class Release:
    """The run is not ours any more: it is paused or has ended, and nothing of it is owed by us."""

    run_id: str
    after_seq: int | None = None  #: refused unless this is the number of the run's last event
    flush: bool = True


@frozen
class SaveCheckpoint:
    """The folded state of a run behind all that it has appended, in place of the one before.

    A shortcut, never the truth: whoever reads it may do without it.
    """

    run_id: str
    seq: int  #: of the last event that is in it, which must be the run's last
    core_version: int  #: of the rules that it was folded by
    body: Mapping[str, Any]
    rows: Iterable[
        Sequence[Any]
    ] = ()  #: what there is much of, as JSON; read once, by who commits; large values in
    #: them are kept apart
    flush: bool = True


@frozen
class KeepDefinition:
    """A definition that was found good: whoever meets its source again need not check it.

    Only the last `CHECKED_KEPT` keys are kept.
    """

    key: str  #: hash of all that the outcome of checking depends on
    digest: str  #: content hash of `body`
    body: bytes  #: the definition as canonical JSON
    warnings: Sequence[Mapping[str, Any]] = ()  #: what is to be told again, as JSON


@frozen
class ChangeDefinition:
    """From here on the run is one of another definition; its checkpoint, if it has one, holds for the old one only."""

    run_id: str
    definition: str  #: content hash of `body`
    body: bytes


@frozen
class KeepDeadLetter:
    """A task's failure that nobody handled, or a delivery that was given up, for `dead_letters`."""

    letter: DeadLetter
    body: Mapping[str, Any] | None = None  #: of a delivery: that of its `PendingDelivery`, to try it again


@frozen
class DropDeadLetters:
    """These tasks of a run, or these deliveries of it, are tried again: their dead letters are none any more."""

    run_id: str
    tasks: Sequence[str] = ()
    ids: Sequence[str] = ()  #: of dead letters of deliveries


@frozen
class AskBreaker:
    """A question to a circuit breaker of the store; a BreakerAnswer is its outcome. Who asks need not own anything."""

    question: BreakerAsk
    at: float  #: by a clock that all runs of a process share, as all times of a breaker are
    flush: bool = True


@frozen
class TellBreaker:
    """An outcome for a circuit breaker of the store; a `Counted` is its own. Who tells need not own anything."""

    report: BreakerReport
    at: float  #: when it is told, by the same clock
    flush: bool = True


@frozen
class Answered:
    """Requests that have been seen to, or are nobody's any more: their rows go."""

    requests: Sequence[int]


Write: TypeAlias = (
    CreateRun
    | Append
    | RecordDeliveries
    | Release
    | SaveCheckpoint
    | KeepDefinition
    | ChangeDefinition
    | KeepDeadLetter
    | DropDeadLetters
    | Answered
    | AskBreaker
    | TellBreaker
)

Unhurried: TypeAlias = Append | RecordDeliveries | Release | SaveCheckpoint | AskBreaker | TellBreaker
"""What a run writes all the time: each says whether its commit has to be flushed. All else always has to be."""

Outcome: TypeAlias = Exception | BreakerAnswer | None
"""What became of a write: what stood in its way, the answer of a breaker, or nothing more to say."""

STALE_S = 30.0
"""An owner that holds its lock and has said nothing for so long is stopped, or hangs: it may be taken over."""

CHECKED_KEPT = 256
"""Keys of checked definitions that a journal remembers, the latest."""


def is_flushed(writes: Sequence[Write]) -> bool:
    """Whether a commit of these writes has to be flushed: any of them has."""
    return any(not isinstance(write, Unhurried) or write.flush for write in writes)


@frozen
class Checkpoint:
    """The folded state of a run at a place in its journal; see `SaveCheckpoint`."""

    seq: int
    core_version: int
    body: Mapping[str, Any]
    rows: Iterable[Sequence[Any]]  #: can be read again


@frozen
class CachedDefinition:
    """A definition that was found good before; see `KeepDefinition`."""

    digest: str
    body: bytes
    warnings: Sequence[Mapping[str, Any]]


@frozen
class RunRow:
    """A run as `list` and `resume` find it."""

    run_id: str
    workflow: str
    definition: str
    summary: RunSummary
    owner_pid: int | None  #: of a live owner, this process included; None: nobody runs it
    cursor: int  #: deliveries owed by events up to here are settled, or pending with rows of their own
    last_seq: int = 0  #: of its last event
    heartbeat_at: float | None = field(default=None, eq=False)  #: last sign of life of a live owner


class Documents(Protocol):
    """Files in which people find how far runs have come; never the truth, and never read back."""

    def keep(self, run_id: str, content: bytes) -> None:
        """Write the state of a run in place of the one before; it may block.

        Raises:
            OSError: it cannot be written.
        """
        ...


class Journal(Protocol):
    """An append-only log of events per run, with owners.

    Every method raises `StoreFailed` once the store has failed, and `StoreDamagedError` for what is not as written.
    """

    @property
    def is_durable(self) -> bool:
        """Whether `commit` writes to a disk, and so may block: then it is called in a thread."""
        ...

    @property
    def cookie(self) -> str:
        """Begins the cookie of every process that this owner starts, and of no other's; ends in a slash.

        It is made from the store's path and the owner's number, so that a copy of the store knows nobody's processes.
        """
        ...

    @property
    def outputs(self) -> OutputLog:
        """What commands and scripts of its runs print; `delete` removes that of its run."""
        ...

    @property
    def documents(self) -> Documents | None:
        """Where whoever runs a run is to write its state as it goes; None: nobody wants it."""
        ...

    def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        """Keep all writes in one transaction, and say for each what stood in its way, or what the answer is.

        A write that cannot be (a run id that exists, a sequence number that does not follow, a run that another owner
        has) gets its exception and leaves the others alone. An I/O error raises `StoreFailed` and poisons the journal.
        """
        ...

    def claim(
        self, run_id: str, *, take_over: bool = False, end_survivors: Callable[[str], None] | None = None
    ) -> RunRow:
        """Become the owner of a run that nobody alive owns.

        An owner that is dead, or fenced off, may have left processes behind. `end_survivors` is called, outside of any
        transaction, with the beginning of their cookies (the owner's and the run's), after that owner cannot start any
        more and before the run is ours: killed in between, the next one who claims the run sees to them again.

        Args:
            run_id: the run's whole id.
            take_over: fence off an owner that holds its lock and has given no sign of life for `STALE_S` seconds. It
                loses all of its runs: its next write fails with FencedError.
            end_survivors: what to do about processes of the owner before. It may block; what it raises ends the claim.

        Raises:
            RunNotFoundError: there is no such run.
            RunOwnedElsewhereError: a live process has it, or a stopped one that still holds its lock.
        """
        ...

    def post(self, run_id: str, kind: RequestKind, body: Mapping[str, Any]) -> int:
        """Ask something of a run that any process may own; the number of the request. Owns nothing, now or later.

        Raises:
            RunNotFoundError: there is no such run.
        """
        ...

    def requests(self) -> list[Request]:
        """What is asked of the runs that this journal owns and is not answered yet, oldest first; the same until then.

        For the thread that writes, ten times a second: costs next to nothing while nobody else has written. What is
        damaged is passed over, and told once to the log `actorflow.journal`: the rest of the runs go on.

        Raises:
            FencedError: another process has taken over the runs of this one.
        """
        ...

    def is_asked(self, request: int) -> bool:
        """Whether a request is still there, unanswered."""
        ...

    def dead_letters(self) -> list[DeadLetter]:
        """All of the store, oldest first."""
        ...

    def dead_letter_body(self, letter_id: str) -> Mapping[str, Any] | None:
        """What was kept to try a delivery again, by the whole id of its dead letter; None where there is nothing."""
        ...

    def purge_dead_letters(self, ids: Sequence[str]) -> int:
        """Forget dead letters; how many there were. Their runs stay as they are. Owns nothing."""
        ...

    def breaker(self, key: str) -> Breaker:
        """What is kept of a circuit breaker; a closed one where nothing is."""
        ...

    def save_snapshot(self, name: str, body: Mapping[str, Any]) -> None:
        """Keep a JSON document under a name, in place of the one before. Owns nothing."""
        ...

    def snapshots(self) -> Mapping[str, Mapping[str, Any]]:
        """All of those documents by name."""
        ...

    def delete(self, run_id: str) -> bool:
        """Remove a run and all that is only its own, in one transaction, and the snapshot of that name; whether any was.

        What its hooks are owed goes with it, and so do requests to it: a journal does not know what is owed by which
        event, so who asks for this looks first.

        Args:
            run_id: the run's whole id, or a snapshot's name.

        Raises:
            RunOwnedElsewhereError: a live process has it; this journal too.
        """
        ...

    def heartbeat(self) -> None:
        """Say that this owner is alive; due at least every 10 s, and cheap."""
        ...

    def maintain(self) -> None:
        """Do what may wait until a commit has been acknowledged, such as a checkpoint of SQLite's log.

        Due after every commit or so, by the thread that commits; costs next to nothing when there is nothing to do.
        """
        ...

    def find(self, prefix: str) -> RunRow:
        """The run with this id, or the only one whose id begins so.

        Raises:
            RunNotFoundError: none or several; the error names the nearest ids.
        """
        ...

    def runs(self) -> list[RunRow]:
        """All runs, the latest started first."""
        ...

    def definition(self, digest: str) -> bytes:
        """The canonical JSON of a definition."""
        ...

    def events(self, run_id: str, after: int = 0) -> Iterator[tuple[int, Event]]:
        """The events of a run with their sequence numbers, from `after` + 1 on, checked against gap and damage."""
        ...

    def checkpoint(self, run_id: str) -> Checkpoint | None:
        """The last checkpoint of a run, if it is whole and the events in front of it are those that it was made of.

        `events(run_id, after=checkpoint.seq)` is what is to be folded onto it.

        Raises:
            RunNotFoundError: there is no such run. What is wrong with a checkpoint is no error: there is none then.
        """
        ...

    def cached_definition(self, key: str) -> CachedDefinition | None:
        """What was kept under a key, if it is there and whole."""
        ...

    def deliveries(self, run_id: str, after: int = 0) -> list[Delivery]:
        """The settled deliveries of a run that events behind number `after` owed, in the order in which they were settled."""
        ...

    def pending(
        self, run_id: str, hook: str | None = None, *, after: int = 0, limit: int | None = None
    ) -> list[PendingDelivery]:
        """The pending deliveries of a run by the number of the event that owes them, and in the order of its hooks.

        Args:
            run_id: the run's whole id.
            hook: only those of the hook with this path.
            after: only those that later events owe.
            limit: so many at most.
        """
        ...

    def pending_counts(self) -> Mapping[str, int]:
        """How many deliveries are pending, by run, of those that have any."""
        ...

    def close(self) -> None:
        """Give up ownership and close; idempotent."""
        ...
