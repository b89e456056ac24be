"""What people are told of a run beyond its result: what became of it, and of its hooks that failed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from attrs import frozen

from actorflow.cli.hooks.runs import HookRun
from actorflow.core.events import CancelRequested, Event, GenerationStarted, PauseRequested, Resumed
from actorflow.journal.output_log import OutputLine
from actorflow.journal.protocol import DeadLetter
from actorflow.runtime.result import RunResult
from actorflow.spec.model import WorkflowSpec


@frozen
class Account:
    """A run, its definition, and what is told of its last generation beside the result."""

    spec: WorkflowSpec
    result: RunResult
    failed_hooks: tuple[HookRun, ...] = ()
    pending: tuple[HookRun, ...] = ()  #: deliveries that are owed yet, as far as they are known
    dispatched: tuple[RunResult, ...] = ()  #: runs that its hooks have started, as they stand
    printed: Sequence[OutputLine] = ()  #: the last lines of the task that it has failed by
    letters: tuple[DeadLetter, ...] = ()  #: of its tasks and deliveries, which wait for somebody
    cause: str | None = None  #: who or what canceled or paused it
    pid: int | None = None  #: of another process, which has the run yet
    is_crashed: bool = False  #: it was running, and its process is gone

    @property
    def status(self) -> str:
        """That of the run; `pausing` where what runs of it has not ended yet, `crashed` where nobody is at it any more."""
        if self.is_crashed:
            return "crashed"
        is_held = self.result.status == "paused" and self.pid is not None
        return "pausing" if is_held else self.result.status


STOPPED: Final = frozenset({"canceled", "paused", "pausing"})
"""The statuses of a run that somebody or something has stopped."""


def stop_cause(status: str, events: Iterable[tuple[int, Event]]) -> str | None:
    """Why a run of this status was stopped, as whoever asked for it has said; None if nobody did."""
    cancel: str | None = None
    pause: str | None = None
    for _, event in events:
        match event:
            case GenerationStarted():
                cancel = pause = None
            case Resumed():
                pause = None
            case CancelRequested(cause=cause):
                cancel = cause
            case PauseRequested(cause=cause):
                pause = cause
            case _:
                pass
    return cancel if status == "canceled" else pause
