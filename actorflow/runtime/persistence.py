"""States of runs, kept and found again by name: the small, synchronous way into a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Lock
from types import TracebackType
from typing import Any, Final, Self

from attrs import frozen

from actorflow.errors import BadInputError, DeliveriesOwedError, RunNotFoundError, StoreDamagedError
from actorflow.journal import RunRow, open_journal
from actorflow.journal.admission import nearest
from actorflow.journal.protocol import Release
from actorflow.runtime.checkpoints import read_run
from actorflow.runtime.ownership import claim
from actorflow.runtime.result import result_from
from actorflow.runtime.run_ids import checked_run_id
from actorflow.runtime.workflow_state import WorkflowState

__all__ = ["StatePersistence"]

_AMBIGUOUS_SHOWN: Final = 5


class StatePersistence:
    """Saves, loads, deletes and lists the states of runs.

    A run's journal is the truth of it: what `load` gives of a run that the store has comes from there, with the metadata
    that was saved. A state of another store's run is kept and given back as it is. Nothing here runs anything.

    ```python
    with StatePersistence("sqlite:///runs.db") as states:
        state = states.load("nightly-report")
        states.save(state.with_metadata({"ticket": 4711}))
    ```

    Every method blocks as long as the store takes; in an async program call it in a thread. Any thread may.

    Args:
        store: `sqlite:///relative.db`, `sqlite:////absolute.db` or `json:FOLDER`, which are made if they are not there, or
            `memory:`, which is this object's own and is gone with it.

    Raises:
        StoreUnusableError: it cannot be opened or made.
        StoreDamagedError: it is not what was written to it.
    """

    def __init__(self, store: str) -> None:
        self._journal = open_journal(store)
        self._deleting = Lock()  # what this object owns, all of its threads would

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the store; idempotent. What was saved is kept, and nothing may be asked any more."""
        self._journal.close()

    def save(self, state: WorkflowState) -> None:
        """Keep a state, in place of the one that was saved of the same run before; durable when it returns.

        Of a run that the store has, only the metadata counts.

        Raises:
            BadInputError: its run id is not possible, or its fields are not what a state has.
            TypeError: its metadata is not JSON.
        """
        document = state.to_document()
        WorkflowState.from_document(document)  # made by hand, it may be one that nobody could load again
        self._journal.save_snapshot(checked_run_id(state.run_id), document)

    def load(self, run: str) -> WorkflowState:
        """The state of a run as it stands.

        Args:
            run: a run's id; or a workflow's name, for its latest run; or the beginning of an id, if only one begins so.

        Raises:
            RunNotFoundError: there is none, or several ids begin so; the error names the nearest.
            StoreDamagedError: what is kept of it is not what was written.
        """
        saved = self._journal.snapshots()
        known = _chosen(run, _all_known(self._journal.runs(), saved))
        snapshot = saved.get(known.run_id)
        if known.row is None:
            return _read(known.run_id, saved[known.run_id])
        metadata = None if snapshot is None else _read(known.run_id, snapshot).metadata
        return WorkflowState.of(read_run(self._journal, known.row).state, metadata)

    def delete(self, run_id: str, *, force: bool = False) -> bool:
        """Remove a run from the store, with all that is only its own and what was saved of it.

        What a process that is gone has left running for it is ended first, which may take some seconds.

        Args:
            run_id: its whole id.
            force: do not look first whether its async hooks have had what they are owed, nor whether it can be read.

        Returns:
            Whether there was anything to remove.

        Raises:
            RunOwnedElsewhereError: a process is at work on it.
            DeliveriesOwedError: its hooks are owed something, and `force` is not given.
            StoreDamagedError: it is not what was written, and `force` is not given.
            SurvivorsError: what was left running for it cannot be ended.
        """
        with self._deleting:
            row = self._row_of(run_id)
            if row is not None and row.owner_pid is None:  # or else the journal refuses to delete it
                if not force:
                    self._refuse_if_owed(row)
                self._end_what_is_left(run_id)
            return self._journal.delete(run_id)

    def _row_of(self, run_id: str) -> RunRow | None:
        """The run with this whole id, without reading all that there are."""
        with suppress(RunNotFoundError):
            row = self._journal.find(run_id)
            return row if row.run_id == run_id else None  # the other only begins so
        return None

    def _end_what_is_left(self, run_id: str) -> None:
        """End processes of the run's last owner: without its row nobody could tell any more that they are."""
        with suppress(
            StoreDamagedError
        ):  # told of by now, or not asked for; they have ended before that is seen
            claim(self._journal, run_id)
            self._journal.commit([Release(run_id)])

    def _refuse_if_owed(self, row: RunRow) -> None:
        state = read_run(self._journal, row).state
        if result_from(self._journal, row, state).hooks.pending:
            raise DeliveriesOwedError(row.run_id)

    def list(self) -> Sequence[str]:
        """The ids of all runs and of all states that were saved, the latest started first."""
        known = _all_known(self._journal.runs(), self._journal.snapshots())
        return tuple(each.run_id for each in known)


@frozen
class _Known:
    """A run of the store, or a state that was carried into it."""

    run_id: str
    workflow: str
    started_at: float
    row: RunRow | None  #: None: the store has no such run


def _all_known(rows: Sequence[RunRow], saved: Mapping[str, Mapping[str, Any]]) -> Sequence[_Known]:
    """What can be loaded, the latest started first."""
    runs = [_Known(row.run_id, row.workflow, row.summary.started_at, row) for row in rows]
    own = {run.run_id for run in runs}
    carried = [
        _Known(name, body["workflow_name"], body["started_at"], None)
        for name, body in saved.items()
        if name not in own
    ]
    return sorted([*runs, *carried], key=lambda each: -each.started_at)


def _chosen(word: str, known: Sequence[_Known]) -> _Known:
    """What a word means: an id, a workflow's name, the beginning of an id; in this order."""
    exact = [each for each in known if each.run_id == word] or [
        each for each in known if each.workflow == word
    ]
    if exact:
        return exact[0]
    begun = [each for each in known if each.run_id.startswith(word)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        several = tuple(each.run_id for each in begun[:_AMBIGUOUS_SHOWN])
        raise RunNotFoundError(word, nearest=several, ambiguous=True)
    names = dict.fromkeys([*(each.run_id for each in known), *(each.workflow for each in known)])
    raise RunNotFoundError(word, nearest=nearest(word, list(names)))


def _read(name: str, body: Mapping[str, Any]) -> WorkflowState:
    try:
        return WorkflowState.from_document(body)
    except BadInputError as error:
        raise StoreDamagedError(f"the saved state {name!r} is not what was written: {error}") from error
