"""Legal histories of runs: what a journal may hold of one, at any of its commits."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Final

from attrs import evolve, field, frozen
from hypothesis import strategies as st

from actorflow.core.events import Event, RunStarted
from actorflow.core.plan import plan_of
from actorflow.core.state import CORE_VERSION, RunState
from actorflow.runtime.inputs import checked_inputs
from actorflow.spec.definition import spec_definition, to_json
from actorflow.spec.model import WorkflowSpec
from actorflow.testing.strategies.drawing import pick, together
from actorflow.testing.strategies.driving import Driven
from actorflow.testing.strategies.inputs import inputs_for
from actorflow.testing.strategies.moves import can_go_on, finish, go_on, have_accident

__all__ = ["History", "histories"]

_BEGAN_AT = 1_700_000_000.0


def _shown(spec: WorkflowSpec) -> str:
    return f"<{json.dumps(json.loads(to_json(spec))['tasks'])}>"


@frozen(eq=False)
class History:
    """A run up to some commit: its definition, what has happened, and what that amounts to."""

    spec: WorkflowSpec = field(repr=_shown)
    run_id: str
    batches: tuple[tuple[Event, ...], ...]  #: as they were committed, each whole or not at all

    @property
    def events(self) -> tuple[Event, ...]:
        """All events in order; the number of an event in its journal is its place here, from 1."""
        return tuple(event for batch in self.batches for event in batch)

    @property
    def state(self) -> RunState:
        """What the events amount to, folded anew: whoever changes it changes nothing here."""
        return self.state_after(len(self.events))

    def state_after(self, count: int) -> RunState:
        """What the first `count` events amount to."""
        state = RunState(plan_of(self.spec))
        for event in self.events[:count]:
            state.apply(event)
        return state


def histories(
    definition: WorkflowSpec | st.SearchStrategy[WorkflowSpec],
    *,
    max_steps: int = 30,
    is_ended: bool = False,
    run_id: str = "run-1",
) -> st.SearchStrategy[History]:
    """Draw histories that a run of a definition could have.

    Made by the core itself: attempts and hooks end one way or another, breakers answer (which other runs share), time
    passes, and now and then the process dies, somebody pauses, resumes, cancels, signals, has tasks tried again, or moves
    the run to another definition. The simplest history is that of a run that has only begun.

    Args:
        definition: of the run, or a strategy for it, such as `definitions()`.
        max_steps: the most things that happen to it; if it is to end, what is left then goes well.
        is_ended: whether each run has come to its end, or to the end of a further generation; else the history may stop
            at any commit.
        run_id: of the run.
    """
    specs = st.just(definition) if isinstance(definition, WorkflowSpec) else definition
    return _histories(specs, max_steps, is_ended, run_id)


@st.composite
def _histories(
    draw: st.DrawFn,
    specs: st.SearchStrategy[WorkflowSpec],
    max_steps: int,
    is_ended: bool,
    run_id: str,
) -> History:
    spec = draw(specs)
    first = pick(draw, [spec] * 7 + [evolve(spec, version=f"before {spec.version}")])
    run = Driven(spec, run_id, _BEGAN_AT)
    run.happen(_started(run, first, draw(inputs_for(spec))))
    run.begin_generation()
    for _ in range(draw(st.integers(0, max_steps))):
        draw(together(partial(_step, run)))
    if is_ended or pick(draw, (False, True)):
        finish(run)
    is_changed = run.state.definition == spec_definition(spec)[0]
    return History(spec if is_changed else first, run_id, tuple(run.batches))


def _step(run: Driven, draw: st.DrawFn) -> None:
    if can_go_on(run) and not pick(draw, _SOMETIMES):
        go_on(run, draw)
    else:
        have_accident(run, draw)


_SOMETIMES: Final = (False,) * 3 + (True,)


def _started(run: Driven, spec: WorkflowSpec, inputs: dict[str, Any]) -> RunStarted:
    return RunStarted(
        run.now,
        run.run_id,
        spec.name,
        spec_definition(spec)[0],
        checked_inputs(spec, inputs),
        {},
        dict.fromkeys(spec.agent_names, "code"),
        {},
        CORE_VERSION,
    )
