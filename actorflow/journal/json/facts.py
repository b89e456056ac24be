"""What of a write goes into the files of a JSON store, as facts, and how facts become a store in memory again.

A run's file has all that is only the run's, its definition included: it is whole by itself, and gone with the run. What
runs share (breakers, checked definitions, what was purged and removed) is in the file of the store. There is told what came
of a write, where that depended on what was there: an answer is not worked out again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import orjson
from attrs import astuple, define, field

from actorflow.core.breaker import CLOSED, Breaker
from actorflow.journal.json.line import Fact
from actorflow.journal.memory_store import MemoryRun, MemoryStore
from actorflow.journal.protocol import (
    CHECKED_KEPT,
    Answered,
    Append,
    AskBreaker,
    ChangeDefinition,
    CreateRun,
    DeadLetter,
    Delivery,
    DropDeadLetters,
    KeepDeadLetter,
    KeepDefinition,
    Outcome,
    PendingDelivery,
    RecordDeliveries,
    Release,
    RunSummary,
    SaveCheckpoint,
    TellBreaker,
    Write,
)

FORMAT: Final = 1
"""The version of what is in the files; it stands in the first line of the store's own."""

STORE: Final = ""
"""Stands for the file of the store, where a run's id stands for that of the run."""

Parts: TypeAlias = dict[str, list[Fact]]
"""The facts of a commit by the file that they go to."""


@define
class KeptStore:
    """A store in memory as the files tell it, and what these say besides."""

    store: MemoryStore
    owners: dict[str, int] = field(
        factory=dict[str, int]
    )  #: of runs that were not given up, by the runs' ids
    answered: set[int] = field(factory=set[int])  #: requests whose files may be there all the same


class Recorder:
    """Admits writes to a store in memory, and gathers the facts of what was admitted.

    Args:
        kept: what takes them in.
        owner: the number of who owns the runs that are made here.
    """

    def __init__(self, kept: KeptStore, owner: int) -> None:
        self._kept = kept
        self._owner = owner
        self.parts: Parts = {}

    def admit(self, write: Write) -> Outcome:
        """Take a write in; see `MemoryStore.admit`."""
        store, before = self._kept.store, _before(self._kept.store, write)
        outcome = store.admit(write)
        if not isinstance(outcome, Exception):
            for name, fact in _facts(store, write, before, self._owner):
                self.note(name, fact)
            self._take_note(write)
        return outcome

    def note(self, name: str, fact: Fact) -> None:
        """Have a fact kept in a run's file, or in that of the store."""
        self.parts.setdefault(name, []).append(fact)

    def _take_note(self, write: Write) -> None:
        """What is kept beside the store in memory follows from some writes, as it does from their facts."""
        match write:
            case CreateRun():
                self._kept.owners[write.run_id] = self._owner
            case Release():
                self._kept.owners.pop(write.run_id, None)
            case Answered():
                self._kept.answered.update(write.requests)
            case _:
                pass


def replay(kept: KeptStore, name: str, facts: Iterable[Sequence[Any]]) -> None:
    """Add what a line says; every line of the commits in front of it was added before.

    Args:
        kept: what it is added to.
        name: the run of whose file the line is, or `STORE`.
        facts: of the line.

    Raises:
        LookupError, TypeError, ValueError: these are no such facts.
    """
    for word, *values in facts:
        if name == STORE:
            _OF_STORE[word](kept, *values)
        elif word in _OF_RUN:
            _OF_RUN[word](kept.store.runs[name], *values)
        else:
            _OF_RUN_IN_STORE[word](kept, name, *values)


def forget_unnamed(store: MemoryStore) -> None:
    """Drop the definitions that no run and no check is of."""
    named = {digest for digest, _ in store.checked.values()} | {run.definition for run in store.runs.values()}
    for digest in store.definitions.keys() - named:
        del store.definitions[digest]


def _before(store: MemoryStore, write: Write) -> Any:
    """What has to be known of how things were to tell what a write has changed."""
    match write:
        case AskBreaker():
            return store.breakers.get(write.question.key, CLOSED)
        case TellBreaker():
            return store.breakers.get(write.report.key, CLOSED)
        case DropDeadLetters():
            return list(store.letters)
        case _:
            return None


def _facts(store: MemoryStore, write: Write, before: Any, owner: int) -> Iterator[tuple[str, Fact]]:
    """Which file is told what of a write that was admitted."""
    match write:
        case Append():
            yield from _append_facts(store.runs[write.run_id], write)
        case CreateRun():
            body, summary = write.body.decode(), astuple(write.summary)
            about = (write.workflow, write.definition, body, summary, owner, len(store.runs))
            yield write.run_id, ("run", write.run_id, *about)
        case RecordDeliveries():
            settled = [astuple(one, recurse=False) for one in write.deliveries]
            pending = [astuple(one, recurse=False) for one in write.pending]
            yield write.run_id, ("deliveries", settled, pending, write.cursor)
        case Release():
            yield write.run_id, ("owner", None)
        case SaveCheckpoint():
            seq, version, payload = store.runs[write.run_id].checkpoint or (0, 0, b"")
            rows = [orjson.Fragment(line) for line in payload.split(b"\n")]
            yield write.run_id, ("checkpoint", seq, version, rows)
        case ChangeDefinition():
            yield write.run_id, ("changed", write.definition, write.body.decode())
        case KeepDefinition():
            digest, warnings = store.checked[write.key]
            body = store.definitions[digest].decode()
            yield STORE, ("checked", write.key, digest, body, orjson.Fragment(warnings))
        case KeepDeadLetter():
            yield write.letter.run_id, ("letter", astuple(write.letter), write.body)
        case DropDeadLetters():
            yield write.run_id, ("dropped", [each for each in before if each not in store.letters])
        case Answered():
            yield STORE, ("answered", list(write.requests))
        case AskBreaker() | TellBreaker():
            key = write.question.key if isinstance(write, AskBreaker) else write.report.key
            after = store.breakers[key]
            if after != before:
                yield STORE, ("breaker", key, astuple(after, recurse=False))


def _append_facts(run: MemoryRun, write: Append) -> Iterator[tuple[str, Fact]]:
    if write.events:
        first_seq, payload, blobs = run.batches[-1]
        apart = {name: orjson.Fragment(body) for name, body in blobs.items()}
        yield write.run_id, ("events", first_seq, len(write.events), orjson.Fragment(payload), apart)
    if write.summary is not None:
        yield write.run_id, ("summary", *astuple(write.summary))


def _take_events(run: MemoryRun, first: int, count: int, rows: Any, apart: Mapping[str, Any]) -> None:
    if first != run.last_seq + 1 or len(rows) != count:
        raise ValueError(f"events of run {run.run_id!r} go on at {first}, and not at {run.last_seq + 1}")
    blobs = {name: orjson.dumps(body) for name, body in apart.items()}
    run.batches.append((first, orjson.dumps(rows), blobs))
    run.last_seq += count


def _take_summary(run: MemoryRun, *values: Any) -> None:
    run.summary = RunSummary(*values)


def _take_deliveries(run: MemoryRun, settled: Any, pending: Any, cursor: int) -> None:
    for *about, record in settled:
        one = Delivery(*about)
        run.deliveries.append((one, orjson.dumps(record)))
        run.outbox.pop(one.delivery_id, None)
    for *about, body in pending:
        due = PendingDelivery(*about)
        run.outbox[due.delivery_id] = (due, orjson.dumps(body))
    run.cursor = max(run.cursor, cursor)


def _take_checkpoint(run: MemoryRun, seq: int, version: int, rows: list[Any]) -> None:
    run.checkpoint = (seq, version, b"\n".join(orjson.dumps(row) for row in rows))


def _take_run(kept: KeptStore, run_id: str, _same: str, workflow: str, digest: str, *rest: Any) -> None:
    body, summary, owner, _order = rest
    kept.store.definitions[digest] = body.encode()
    kept.store.runs[run_id] = MemoryRun(run_id, workflow, digest, RunSummary(*summary), is_owned=False)
    kept.owners[run_id] = owner


def _take_owner(kept: KeptStore, run_id: str, owner: int | None) -> None:
    if owner is None:
        kept.owners.pop(run_id, None)
    else:
        kept.owners[run_id] = owner


def _take_change(kept: KeptStore, run_id: str, digest: str, body: str) -> None:
    run = kept.store.runs[run_id]
    run.definition, run.checkpoint = digest, None
    kept.store.definitions[digest] = body.encode()


def _take_letter(kept: KeptStore, _run_id: str, about: list[Any], body: Any) -> None:
    letter = DeadLetter(*about)
    _forget_letters(kept.store, [letter.id])
    kept.store.letters[letter.id] = letter
    if body is not None:
        kept.store.letter_bodies[letter.id] = orjson.dumps(body)


def _take_dropped(kept: KeptStore, _run_id: str, ids: Iterable[str]) -> None:
    _forget_letters(kept.store, ids)


def _forget_letters(store: MemoryStore, ids: Iterable[str]) -> None:
    for each in ids:
        store.letters.pop(each, None)
        store.letter_bodies.pop(each, None)


def _take_checked(kept: KeptStore, key: str, digest: str, body: str, warnings: Any) -> None:
    store = kept.store
    store.definitions[digest] = body.encode()
    store.checked.pop(key, None)
    store.checked[key] = (digest, orjson.dumps(warnings))
    if len(store.checked) > CHECKED_KEPT:
        store.checked.pop(next(iter(store.checked)))


def _take_breaker(kept: KeptStore, key: str, values: list[Any]) -> None:
    failures, *rest = values
    kept.store.breakers[key] = Breaker(tuple((at, attempt) for at, attempt in failures), *rest)


def _take_version(_kept: KeptStore, _version: int) -> None:
    """Looked at before anything else is read."""


def _take_purge(kept: KeptStore, ids: Iterable[str]) -> None:
    _forget_letters(kept.store, ids)


def _take_answers(kept: KeptStore, numbers: Iterable[int]) -> None:
    kept.answered.update(numbers)


def _take_removal(kept: KeptStore, run_id: str, _commits: Any) -> None:
    """A run that was deleted; what shared its file goes with it."""
    store = kept.store
    store.runs.pop(run_id, None)
    kept.owners.pop(run_id, None)
    _forget_letters(store, [letter.id for letter in store.letters.values() if letter.run_id == run_id])


_OF_RUN: Final[Mapping[str, Callable[..., None]]] = {
    "events": _take_events,
    "summary": _take_summary,
    "deliveries": _take_deliveries,
    "checkpoint": _take_checkpoint,
}

_OF_RUN_IN_STORE: Final[Mapping[str, Callable[..., None]]] = {
    "run": _take_run,
    "owner": _take_owner,
    "changed": _take_change,
    "letter": _take_letter,
    "dropped": _take_dropped,
}

_OF_STORE: Final[Mapping[str, Callable[..., None]]] = {
    "store": _take_version,
    "checked": _take_checked,
    "purged": _take_purge,
    "answered": _take_answers,
    "breaker": _take_breaker,
    "removed": _take_removal,
}
