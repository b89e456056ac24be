"""What of a run is flushed at once, and what may wait for a flush that comes anyway: `durability: normal`.

Whatever somebody was told of is flushed: that the run was made, its result, its rest at a pause, and that a request or a
signal has come. So a crash of the machine takes back what the run has done since, and nothing that anybody else relies on.
"""

from __future__ import annotations

from typing import Final

from attrs import evolve

from actorflow.core.events import (
    CancelRequested,
    GenerationStarted,
    PauseRequested,
    Resumed,
    RunFinished,
    SignalReceived,
)
from actorflow.journal.protocol import Append, RecordDeliveries, SaveCheckpoint, Write
from actorflow.spec.model import WorkflowSpec

_TOLD: Final = (
    CancelRequested,
    GenerationStarted,
    PauseRequested,
    Resumed,
    RunFinished,
    SignalReceived,
)
"""Events that somebody asked for, or is told of, outside of the run."""


def is_patient(spec: WorkflowSpec) -> bool:
    """Whether writes of a workflow's runs need not be flushed one by one."""
    return spec.limits.durability in {"normal", "lazy"}


def patient(write: Write) -> Write:
    """A write of a run that is patient, as it is to be kept: flushed only where somebody is told of it."""
    match write:
        case Append(events=events) if not any(isinstance(event, _TOLD) for event in events):
            return evolve(write, flush=False)
        case RecordDeliveries() | SaveCheckpoint():
            return evolve(write, flush=False)
        case _:
            return write
