"""The JournalActor: every write of a runtime goes through it, grouped, to the one thread that writes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from time import perf_counter
from typing import Any, Generic, TypeVar, cast

import anyio
from attrs import frozen

from actorflow.actors.host import Gate, Host
from actorflow.actors.mailbox import Mailbox
from actorflow.errors import StoreFailed
from actorflow.journal import Journal
from actorflow.journal.protocol import Outcome, Write


@frozen(eq=False)
class _Entry:
    write: Write
    reply: Callable[[Outcome], None]


T = TypeVar("T")

_logger = logging.getLogger("actorflow.runtime")


class JournalActor:
    """Collects writes while a commit is under way, so that the next commit takes them all: group commit, no timer.

    The thread is there for a journal that flushes, upon a host that has threads.

    Its mailbox holds whatever its writers send; each run has one batch in flight, so it is bounded by their number.

    Args:
        host: the loop.
        journal: what it writes.
        note_commit: told the seconds that each commit took, on the writing thread.
    """

    def __init__(
        self, host: Host, journal: Journal, note_commit: Callable[[float], None] = lambda _: None
    ) -> None:
        self._note_commit = note_commit
        self._host = host
        self._journal = journal
        self._mailbox: Mailbox[_Entry | None] = Mailbox(host, float("inf"), "it is bounded by the runs")
        self._inbox: SimpleQueue[list[Write] | _Answer[Any] | None] = SimpleQueue()
        self._group: list[_Entry] = []  #: being committed
        self._delivered = host.gate()
        self._results: Sequence[Outcome] | Exception = []
        self._has_thread = journal.is_durable and host.has_threads
        self._is_stopped = False
        self.commit_count = 0

    def tell(self, write: Write, reply: Callable[[Outcome], None]) -> None:
        """Have a write committed; `reply` is called on the loop, with what became of it."""
        if self._is_stopped:
            reply(_closed())
        else:
            self._mailbox.tell(_Entry(write, reply))

    async def keep(self, write: Write) -> Exception | None:
        """Have a write committed and wait for it, whoever cancels; what stood in its way, or None."""
        gate = self._host.gate()
        outcomes: list[Outcome] = []

        def reply(outcome: Outcome) -> None:
            outcomes.append(outcome)
            gate.open()

        self.tell(write, reply)
        with anyio.CancelScope(shield=True):
            await gate.wait()
        return outcomes[0] if isinstance(outcomes[0], Exception) else None

    async def ask(self, question: Callable[[], T]) -> T:
        """Have the writing thread call `question`, behind what it has been given, and wait for the answer.

        Who is cancelled meanwhile gets the answer all the same: it may be that a run is now theirs.

        Raises:
            Exception: whatever `question` raises.
        """
        if self._is_stopped:
            raise _closed()
        return await self._ask(question)

    async def _ask(self, question: Callable[[], T]) -> T:
        if not self._journal.is_durable:
            return question()
        if not self._host.has_threads:
            return await self._host.in_thread(question)
        answer = _Answer(question, self._host.gate())
        self._inbox.put(answer)
        with anyio.CancelScope(shield=True):
            await answer.gate.wait()
        return answer.result()

    def beat(self) -> None:
        """Have the writing thread say that this owner is alive."""
        if not self._host.has_threads:
            self._beat()
        elif self._journal.is_durable:
            self._inbox.put(_Answer(self._beat, self._host.gate()))

    def stop(self) -> None:
        """End `run` after all that was told before; who comes later gets StoreFailed."""
        if not self._is_stopped:
            self._is_stopped = True
            self._mailbox.tell(None)

    async def run(self) -> None:
        """Commit groups until stopped, then close the journal."""
        thread = threading.Thread(target=self._write, name="actorflow-journal", daemon=True)
        if self._has_thread:
            thread.start()
        try:
            while await self._commit_group():
                pass
            await self._ask(self._journal.close)
        finally:
            self._inbox.put(None)
            self._mailbox.close()

    async def _commit_group(self) -> bool:
        told = await self._mailbox.drain()
        self._group = [entry for entry in told if entry is not None]
        if self._group:
            writes = [entry.write for entry in self._group]
            if self._has_thread:
                self._inbox.put(writes)
            elif self._journal.is_durable:
                self._results = await self._host.in_thread(self._attempt, writes)
                self._deliver()
                self._maintain()
            else:
                self._results = self._attempt(writes)
                self._deliver()
            await self._delivered.wait()
        return None not in told

    def _deliver(self) -> None:
        """Answer the writers of the group: straight from the thread's call, so that they need not wait for this actor."""
        results, group = self._results, self._group
        self._results, self._group = [], []  # or they are kept until the next commit
        self.commit_count += 1
        if isinstance(results, Exception):
            results = [results] * len(group)
        for entry, outcome in zip(group, results, strict=True):
            try:
                entry.reply(outcome)
            except Exception:  # a bug of ours: who is behind in the group must not wait for ever
                _logger.exception("the answer to %s could not be delivered", type(entry.write).__name__)
        self._delivered.open()

    def _write(self) -> None:
        """The writing thread: it alone touches the writing connection."""
        while (job := self._inbox.get()) is not None:
            if isinstance(job, _Answer):
                job.find()
                self._host.call_from_thread(job.gate.open)
                continue
            self._results = self._attempt(job)
            self._host.call_from_thread(self._deliver)
            self._maintain()

    def _attempt(self, writes: list[Write]) -> Sequence[Outcome] | Exception:
        began = perf_counter()
        try:
            outcomes = self._journal.commit(writes)
        except StoreFailed as error:
            return error
        except Exception as error:  # noqa: BLE001 - a bug of ours, but its callers must not wait for ever
            failed = StoreFailed(f"the journal could not commit: {error!r}")
            failed.__cause__ = error
            return failed
        self._note_commit(perf_counter() - began)
        return outcomes

    def _beat(self) -> None:
        try:
            self._journal.heartbeat()
        except StoreFailed:
            return  # the next commit says so to those who wait for it

    def _maintain(self) -> None:
        try:
            self._journal.maintain()
        except StoreFailed:
            return


def _closed() -> StoreFailed:
    return StoreFailed("the store is closed: its runtime has ended")


class _Answer(Generic[T]):
    """A question on its way to the writing thread and back."""

    def __init__(self, question: Callable[[], T], gate: Gate) -> None:
        self._question = question
        self._value: T | None = None
        self._error: Exception | None = None
        self.gate = gate

    def find(self) -> None:
        try:
            self._value = self._question()
        except Exception as error:  # noqa: BLE001 - it is for who asked
            self._error = error

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return cast("T", self._value)
