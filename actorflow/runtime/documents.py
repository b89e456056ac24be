"""The states of runs as files for people, in stores that have such: written behind the runs, and never in their way."""

from __future__ import annotations

import logging
from typing import Final, Protocol

import anyio

from actorflow.actors.host import Host
from actorflow.actors.latch import Latch
from actorflow.core.state import RunState
from actorflow.journal.protocol import Documents
from actorflow.runtime.workflow_state import WorkflowState

APART_S: Final = 0.5
"""A run that goes on is written at most so often; one that comes to rest is written at once."""

WORK_SHARE: Final = 0.05
"""Of its time, at most, the keeper is at work: with very many tasks there is more time between two rounds."""

_logger = logging.getLogger("actorflow.runtime")


class Documented(Protocol):
    """A live run, as the keeper sees it."""

    run_id: str
    kept_seq: int  #: of its last event that is in the journal
    is_over: Latch

    @property
    def last_seq(self) -> int:
        """Of its last event that has happened."""
        ...

    @property
    def state(self) -> RunState:
        """As of that event."""
        ...

    async def wait_for_progress(self) -> None:
        """Wait until more is kept, or the run is over."""
        ...


class DocumentKeeper:
    """Writes the state of each run that is told of, some time after something of it was kept.

    Best effort: what cannot be written is told to the log, once, and the runs go on.

    Args:
        host: the loop.
        documents: where to.
    """

    def __init__(self, host: Host, documents: Documents) -> None:
        self._host = host
        self._documents = documents
        self._due: dict[str, Documented] = {}
        self._called = host.gate()
        self._hurried = host.gate()
        self._is_stopped = False
        self._has_failed = False

    def note(self, run: Documented) -> None:
        """More of a run is kept, or it has come to rest."""
        self._due[run.run_id] = run
        self._called.open()
        if run.is_over.is_set:
            self._hurried.open()

    def stop(self) -> None:
        """End `run` when all is written. Runs are over by now."""
        self._is_stopped = True
        self._called.open()
        self._hurried.open()

    async def run(self) -> None:
        """Write until stopped."""
        while self._due or not self._is_stopped:
            if not self._due:
                await self._called.wait()
            began = self._host.time()
            due, self._due = self._due, {}
            for run in due.values():
                await self._write(run)
            with anyio.move_on_after(max(APART_S, (self._host.time() - began) / WORK_SHARE)):
                if not self._is_stopped:
                    await self._hurried.wait()

    async def _write(self, run: Documented) -> None:
        """Write a run as it is now, once all that it says is in the journal."""
        seq, content = run.last_seq, f"{WorkflowState.of(run.state).to_json()}\n".encode()
        while run.kept_seq < seq:
            if run.is_over.is_set:
                return  # its store has failed: what was not kept has not happened
            await run.wait_for_progress()
        try:
            await self._host.in_thread(self._documents.keep, run.run_id, content)
        except OSError as error:
            if not self._has_failed:
                _logger.warning("the state of run %s could not be written for people: %s", run.run_id, error)
            self._has_failed = True
