"""When a run's state is worth keeping in its journal, and how a run is read with the help of what was kept."""

from __future__ import annotations

from typing import Final

from attrs import define, frozen

from actorflow.core.checkpoint import freeze, thaw
from actorflow.core.plan import Plan, plan_of
from actorflow.core.state import CORE_VERSION, RunState
from actorflow.journal.protocol import Journal, RunRow, SaveCheckpoint
from actorflow.spec.definition import from_json

EVENTS_APART: Final = 10_000
"""A run on its way is kept this often, unless it has so many tasks that `TASKS_PER_EVENT` asks for less."""

TASKS_PER_EVENT: Final = 4
"""Keeping a run copies all tasks that anything has happened to: each event since the last time pays for at most so many,
so that a run of a hundred thousand tasks spends no more on each of them than a small one."""

EVENTS_WORTH_IT: Final = 200
"""A run that ends or pauses with fewer events behind its last checkpoint is not kept: they are folded sooner than a
checkpoint is read."""


@define
class CheckpointPace:
    """Says when a run is to be kept."""

    kept_seq: int  #: of the last event in its last checkpoint; 0: it has none

    def next_checkpoint(self, state: RunState, seq: int) -> SaveCheckpoint | None:
        """The checkpoint that goes with the batch which ends with event `seq`, if one is due; it counts as kept."""
        if seq - self.kept_seq < EVENTS_WORTH_IT:
            return None
        is_resting = state.phase == "ended" or state.is_pausing
        apart = max(EVENTS_APART, len(state.tasks) // TASKS_PER_EVENT)
        due_after = EVENTS_WORTH_IT if is_resting else apart
        if seq - self.kept_seq < due_after:
            return None
        self.kept_seq = seq
        frozen_state = freeze(state)
        return SaveCheckpoint(state.run_id, seq, CORE_VERSION, frozen_state.body, frozen_state.rows)


@frozen
class ReadRun:
    """A run as its journal has it."""

    state: RunState
    seq: int  #: of its last event
    checkpoint_seq: int  #: of the last event that was not folded anew; 0: all were


def read_run(journal: Journal, row: RunRow) -> ReadRun:
    """Fold a run from its last checkpoint, or from its first event where there is none that this code can read.

    Raises:
        StoreDamagedError: the run's definition or events are not what was written.
    """
    plan = plan_of(from_json(journal.definition(row.definition)))
    state, checkpoint_seq = _thawed(journal, row.run_id, plan) or (RunState(plan), 0)
    seq = checkpoint_seq
    for number, event in journal.events(row.run_id, checkpoint_seq):
        state.apply(event)
        seq = number
    return ReadRun(state, seq, checkpoint_seq)


def _thawed(journal: Journal, run_id: str, plan: Plan) -> tuple[RunState, int] | None:
    checkpoint = journal.checkpoint(run_id)
    if checkpoint is None or checkpoint.core_version != CORE_VERSION:
        return None
    state = thaw(plan, checkpoint.body, checkpoint.rows)
    return None if state is None else (state, checkpoint.seq)
