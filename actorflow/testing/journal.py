"""A journal on which things go wrong, where and how a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, cast

from attrs import field, frozen
from attrs.validators import ge, in_

from actorflow.errors import StoreFailed
from actorflow.journal.output_log import OutputLog
from actorflow.journal.protocol import Documents, Journal, Outcome, RequestKind, RunRow, Write
from actorflow.testing.crashes import CrashPoint, Moment

__all__ = ["CommitFault", "FaultKind", "FaultyJournal"]

FaultKind: TypeAlias = Literal["busy", "full", "error_before", "error_after"]
"""What goes wrong with a commit.

- `busy`: others keep the store, and it takes `seconds` until they let it go.
- `full`: the disk is; nothing of the commit is kept, and the store has failed.
- `error_before`: the write fails; nothing is kept, and the store has failed.
- `error_after`: the flush fails; all of it is kept, who asked is told that the store has failed.
"""

_SAID: Final[Mapping[str, str]] = MappingProxyType(
    {"full": "database or disk is full", "error_before": "disk I/O error", "error_after": "disk I/O error"}
)


@frozen
class CommitFault:
    """What goes wrong with one commit of a process."""

    commit: int = field(validator=ge(1))  #: of this process, from 1
    kind: FaultKind = field(validator=in_(("busy", "full", "error_before", "error_after")))
    seconds: float = 0.0  #: of `busy`


def _unwatched(writes: Sequence[Write], outcomes: Sequence[Outcome]) -> None:
    """Nobody looks."""


class FaultyJournal:
    """Stands before a real journal, of which it has all that it does not change.

    Args:
        journal: the real one.
        crash: where its process dies.
        faults: what goes wrong before that.
        die: told that the process dies now.
        watch: told of each commit that is kept, and what became of its writes.
        before_claim: told when this process asks for a run.
        has_asked: told when it has asked something of a run, or taken one.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        crash: CrashPoint | None = None,
        faults: Iterable[CommitFault] = (),
        die: Callable[[], None] = lambda: None,
        watch: Callable[[Sequence[Write], Sequence[Outcome]], None] = _unwatched,
        before_claim: Callable[[], None] = lambda: None,
        has_asked: Callable[[], None] = lambda: None,
    ) -> None:
        self._journal = journal
        self._crash = crash
        self._faults = {fault.commit: fault for fault in faults}
        self._die = die
        self._watch = watch
        self._before_claim = before_claim
        self._has_asked = has_asked
        self._failure = ""
        self._busy_s = 0.0
        self.commit_count = 0

    @property
    def as_journal(self) -> Journal:
        """The same, in the words of types."""
        return cast("Journal", self)

    def __getattr__(self, name: str) -> Any:
        self._refuse_if_failed()
        return getattr(self._journal, name)

    @property
    def cookie(self) -> str:
        """See `Journal.cookie`."""
        return self._journal.cookie

    @property
    def has_failed(self) -> bool:
        """Whether every call fails."""
        return bool(self._failure)

    @property
    def is_durable(self) -> bool:
        """See `Journal.is_durable`."""
        return self._journal.is_durable

    @property
    def outputs(self) -> OutputLog:
        """See `Journal.outputs`."""
        return self._journal.outputs

    @property
    def documents(self) -> Documents | None:
        """See `Journal.documents`."""
        return self._journal.documents

    def take_delay_s(self) -> float:
        """How long others have kept the store since this was asked last."""
        busy_s, self._busy_s = self._busy_s, 0.0
        return busy_s

    def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        """See `Journal.commit`."""
        self._refuse_if_failed()
        self.commit_count += 1
        number = self.commit_count
        fault = self._faults.get(number)
        self._die_at(number, "before")
        if fault is not None and fault.kind == "busy":
            self._busy_s += fault.seconds
        elif fault is not None and fault.kind != "error_after":
            raise self._fail(_SAID[fault.kind])
        outcomes = self._journal.commit(writes)
        self._watch(writes, outcomes)
        self._die_at(number, "after")
        if fault is not None and fault.kind == "error_after":
            raise self._fail(_SAID[fault.kind])
        return outcomes

    def claim(
        self, run_id: str, *, take_over: bool = False, end_survivors: Callable[[str], None] | None = None
    ) -> RunRow:
        """See `Journal.claim`; no process of a simulated world outlives its own."""
        del end_survivors
        self._refuse_if_failed()
        self._before_claim()
        row = self._journal.claim(run_id, take_over=take_over)
        self._has_asked()
        return row

    def post(self, run_id: str, kind: RequestKind, body: Mapping[str, Any]) -> int:
        """See `Journal.post`."""
        self._refuse_if_failed()
        number = self._journal.post(run_id, kind, body)
        self._has_asked()
        return number

    def close(self) -> None:
        """See `Journal.close`."""
        if self._failure:
            self.abandon(self._failure)
        else:
            self._journal.close()

    def abandon(self, reason: str) -> None:
        """Be the journal of a process that has ended: every call fails, its lock is free, what it owned is nobody's."""
        self._failure = self._failure or reason
        abandon = getattr(self._journal, "abandon", self._journal.close)
        abandon()

    def _fail(self, reason: str) -> StoreFailed:
        self._failure = reason
        return StoreFailed(f"the store failed: {reason}")

    def _die_at(self, number: int, moment: Moment) -> None:
        if self._crash == CrashPoint(number, moment):
            self._die()
            self._refuse_if_failed()

    def _refuse_if_failed(self) -> None:
        if self._failure:
            raise StoreFailed(f"the store failed: {self._failure}")
