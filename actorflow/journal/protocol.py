"""What a journal is: the words in which the runtime speaks to any store.

A journal is synchronous and knows no event loop. `commit` is called by one thread at a time (the JournalActor's);
everything that reads may be called from any thread. One `commit` is one transaction and, in a durable store, one flush:
when it returns, all of its writes are kept, or the store has failed for good.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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


Write: TypeAlias = CreateRun | Append | RecordDeliveries | Release


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

    def deliveries(self, run_id: str) -> list[Delivery]:
        """The recorded deliveries of a run, oldest first."""
        ...

    def close(self) -> None:
        """Give up ownership and close; idempotent."""
        ...
