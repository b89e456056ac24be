"""What a journal is: the words in which the runtime speaks to any store.

A journal is synchronous and knows no event loop. `commit` is called by one thread at a time (the JournalActor's);
everything that reads may be called from any thread. One `commit` is one transaction and, in a durable store, one flush:
when it returns, all of its writes are kept, or the store has failed for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from attrs import field, frozen

from actorflow.core.events import Event

RunStatus = Literal["running", "paused", "success", "failed", "canceled"]
DeliveryStatus = Literal["delivered", "failed"]


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


@frozen
class Append:
    """Events of one run, in order; `first_seq` counts from 1 without gaps."""

    run_id: str
    first_seq: int
    events: Sequence[Event]
    summary: RunSummary | None = None  #: where the events changed it


@frozen
class Delivery:
    """The one try of an async hook, as recorded."""

    delivery_id: str
    hook: str  #: path of the hook, such as `on_stage_complete[0]`
    seq: int  #: of the event that owed it
    status: DeliveryStatus
    record: Mapping[str, Any] = field(factory=dict[str, Any])


@frozen
class RecordDeliveries:
    """What became of owed deliveries; all that events up to `cursor` owe is settled with it."""

    run_id: str
    deliveries: Sequence[Delivery]
    cursor: int


@frozen
class Release:
    """The run is not ours any more: it is paused or has ended, and nothing of it is owed by us."""

    run_id: str
    after_seq: int | None = None  #: refused unless this is the number of the run's last event


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


@frozen
class KeepDefinition:
    """A definition that was found good: whoever meets its source again need not check it.

    Only the last `CHECKED_KEPT` keys are kept.
    """

    key: str  #: hash of all that the outcome of checking depends on
    digest: str  #: content hash of `body`
    body: bytes  #: the definition as canonical JSON
    warnings: Sequence[Mapping[str, Any]] = ()  #: what is to be told again, as JSON


Write: TypeAlias = CreateRun | Append | RecordDeliveries | Release | SaveCheckpoint | KeepDefinition

CHECKED_KEPT = 256
"""Keys of checked definitions that a journal remembers, the latest."""


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
    cursor: int  #: deliveries owed by events up to here are settled


class Journal(Protocol):
    """An append-only log of events per run, with owners.

    Every method raises `StoreFailed` once the store has failed, and `StoreDamagedError` for what is not as written.
    """

    @property
    def is_durable(self) -> bool:
        """Whether `commit` flushes, and so may block: then it is called in a thread."""
        ...

    def commit(self, writes: Sequence[Write]) -> list[Exception | None]:
        """Keep all writes in one transaction, and say for each what stood in its way.

        A write that cannot be (a run id that exists, a sequence number that does not follow, a run that another owner
        has) gets its exception and leaves the others alone. An I/O error raises `StoreFailed` and poisons the journal.
        """
        ...

    def claim(self, run_id: str) -> RunRow:
        """Become the owner of a run that nobody alive owns.

        Raises:
            RunNotFoundError: there is no such run.
            RunOwnedElsewhereError: a live process has it, or a stopped one that still holds its lock.
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

    def deliveries(self, run_id: str) -> list[Delivery]:
        """The recorded deliveries of a run, oldest first."""
        ...

    def close(self) -> None:
        """Give up ownership and close; idempotent."""
        ...
