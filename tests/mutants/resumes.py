"""Ways to break what a process does that takes a run up: what it has forgotten, and what it says of the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any, Final

from actorflow.core import checkpoint, step
from actorflow.core.checkpoint import freeze
from actorflow.core.events import Event, Resumed
from actorflow.core.hook_line import HookLine
from actorflow.core.plan import plan_of
from actorflow.core.state import RunState
from actorflow.core.task_state import TaskState
from tests.mutants.core import CLEANED_UP
from tests.mutants.mutant import Mutant, Seeds
from tests.mutants.recovery import TWICE_AS_MANY_RETRIES
from tests.mutants.scenes import two_runs
from tests.mutants.switches import also, replaced
from tests.promises import expect
from tests.random_runs import random_workflow
from tests.scenarios import snapshot, task
from tests.test_core_checkpoint import drawn_history, through_json


def forgotten(forget: Callable[[TaskState], None]) -> Callable[[RunState, Resumed], None]:
    """What who takes a run up does not know of its tasks."""

    def forget_all(state: RunState, event: Resumed) -> None:
        for each in state.tasks:
            forget(each)

    return forget_all


@contextmanager
def retries_in_memory() -> Iterator[None]:
    """How often an agent has tried is forgotten with the process."""
    with also(Resumed, forgotten(lambda each: setattr(each, "agent_attempts", 0))):
        yield


@contextmanager
def losses_in_memory() -> Iterator[None]:
    """How often a task was cut off is forgotten with the process."""
    with also(Resumed, forgotten(lambda each: setattr(each, "losses", 0))):
        yield


@contextmanager
def budget_in_memory() -> Iterator[None]:
    """What a run has spent of its budget is forgotten with the process."""

    def forget(state: RunState, event: Resumed) -> None:
        state.retries_spent = 0

    with also(Resumed, forget):
        yield


@contextmanager
def resumed_without_loss() -> Iterator[None]:
    """Who takes a run up goes on as if nothing had been cut off."""

    def nothing(state: RunState, now: float, tasks: object = (), hooks: object = ()) -> list[Event]:
        return []

    with replaced(step, "cut_off", nothing):
        yield


@contextmanager
def last_hooks_begun_again() -> Iterator[None]:
    """Who takes a run up at its end begins with the last hooks again."""

    def begin_again(state: RunState, event: Resumed) -> None:
        if state.phase == "ending":
            state.hooks = HookLine("", state.hooks._places)

    with also(Resumed, begin_again):
        yield


@contextmanager
def spent_left_out() -> Iterator[None]:
    """A checkpoint does not hold what was spent of the budget."""

    def freeze_less(state: RunState) -> checkpoint.Frozen:
        frozen = freeze(state)
        values: Sequence[Any] = frozen.body["run"]
        run = [
            0 if name == "retries_spent" else value
            for name, value in zip(checkpoint.RUN_FIELDS, values, strict=True)
        ]
        return checkpoint.Frozen({**frozen.body, "run": run}, frozen.rows)

    with replaced(checkpoint, "freeze", freeze_less):
        yield


@contextmanager
def signals_left_out() -> Iterator[None]:
    """A checkpoint does not hold which signals have come."""

    def freeze_less(state: RunState) -> checkpoint.Frozen:
        frozen = freeze(state)
        return checkpoint.Frozen({**frozen.body, "signal_ids": []}, frozen.rows)

    with replaced(checkpoint, "freeze", freeze_less):
        yield


def thawed_equals_folded(seed: int) -> None:
    """A history of many accidents, and a checkpoint at each of its events."""
    draw = Random(seed)
    plan = plan_of(random_workflow(draw))
    state = RunState(plan)
    for event in drawn_history(plan.spec, draw.randbytes(30)):
        state.apply(event)
        thawed = through_json(plan, checkpoint.freeze(state))
        expect("a checkpoint is what the fold is", snapshot(thawed) == snapshot(state), event)


RETRIED: Final = two_runs(task("a", attempts=3))
CUT_OFF: Final = two_runs(task("a", max_losses=1), task("b"))
FROZEN: Final = Seeds(thawed_equals_folded, 60)

RESUMES: Final = {
    "retry count in memory": Mutant(
        retries_in_memory,
        {"attempts are within limits", "every agent has its attempts", "delays are within bounds"},
        RETRIED,
    ),
    "losses in memory": Mutant(losses_in_memory, {"a task may be lost five times"}, CUT_OFF),
    "budget in memory": Mutant(budget_in_memory, {"the budget is never exceeded"}, TWICE_AS_MANY_RETRIES),
    "resumed without loss": Mutant(resumed_without_loss, {"every run ends"}, CUT_OFF),
    "last hooks run again by who resumes": Mutant(
        last_hooks_begun_again,
        {"post_workflow runs as often as it must", "hooks run once a generation, in order"},
        CLEANED_UP,
    ),
    "checkpoint without what was spent": Mutant(spent_left_out, {"a checkpoint is what the fold is"}, FROZEN),
    "checkpoint without the signals": Mutant(signals_left_out, {"a checkpoint is what the fold is"}, FROZEN),
}
