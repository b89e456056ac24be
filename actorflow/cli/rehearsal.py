"""The hooks of an event as they would act: how each event comes about, told with made-up data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from attrs import frozen

from actorflow.cli.script import FAILURE, Fired, Sample, Script
from actorflow.core.events import (
    AttemptLost,
    AttemptTimedOut,
    BreakerClosed,
    BreakerOpened,
    BudgetExhausted,
    DeadLettered,
    Event,
    Failure,
    FallbackChosen,
    PauseRequested,
    Resumed,
    RetriesExhausted,
    RetryScheduled,
    SignalReceived,
    TaskSkipped,
)
from actorflow.core.plan import Plan
from actorflow.spec.model import HookEvent

__all__ = ["Rehearsal", "rehearse"]


@frozen
class Rehearsal:
    """The hooks of an event in the order of their list."""

    fired: tuple[Fired, ...]
    is_possible: bool  #: whether the event can happen to the task as it is defined


def rehearse(plan: Plan, sample: Sample) -> Rehearsal:
    """Tell a run's history up to the sample's event.

    The task of the sample must be one of the plan's; a plan for an event of a task must have one.
    """
    script = Script(plan, sample)
    script.begin()
    if sample.event not in ("pre_workflow", "workflow_started"):
        _SCENES[sample.event](script)
    fired = sorted(script.fired, key=lambda each: each.entry.index)
    return Rehearsal(tuple(fired), script.is_possible)


# What happens before an event, and that itself


def _started(script: Script) -> None:
    script.reach()
    script.start(script.target)


def _finished(script: Script) -> None:
    _started(script)
    script.end(script.target, script.sample.status)


def _skipped(script: Script) -> None:
    script.reach()
    script.tell_of(TaskSkipped(script.now, script.task, "when"))


def _cut_off(script: Script) -> None:
    _started(script)
    script.tell(AttemptLost(script.now, script.task, 1, 0))


def _timed_out(script: Script) -> None:
    _started(script)
    script.tell(AttemptTimedOut(script.now, script.task, 1, Failure("timeout", "a sample timeout")))


def _after_failure(event_of: Callable[[Script], Event]) -> Callable[[Script], None]:
    def scene(script: Script) -> None:
        _started(script)
        script.fail(script.target)
        script.tell_of(event_of(script))

    return scene


def _breaker_closed(script: Script) -> None:
    _finished(script)
    script.tell_of(BreakerClosed(script.now, script.task, script.breaker_key))


def _buried(script: Script) -> None:
    _started(script)
    script.end(script.target, "failed")
    letter = f"{script.sample.run_id}/1/{script.task}"
    script.tell_of(DeadLettered(script.now, script.task, letter, script.sample.inputs, FAILURE, 1))


def _paused(script: Script) -> None:
    script.tell(PauseRequested(script.now, "a sample"))


def _resumed(script: Script) -> None:
    _paused(script)
    script.tell(Resumed(script.now))


def _signaled(script: Script) -> None:
    script.tell(SignalReceived(script.now, "sample", script.sample.payload, "sample"))


def _next_agent(script: Script) -> str:
    agents = script.state.plan.agents_of[script.target]
    return agents[1] if len(agents) > 1 else "another_agent"


_SCENES: Final[Mapping[HookEvent, Callable[[Script], None]]] = {
    "workflow_paused": _paused,
    "workflow_resumed": _resumed,
    "signal_received": _signaled,
    "task_started": _started,
    "task_finished": _finished,
    "task_skipped": _skipped,
    "task_lost": _cut_off,
    "task_timed_out": _timed_out,
    "task_retrying": _after_failure(lambda s: RetryScheduled(s.now, s.task, 2, s.now + 1.0)),
    "fallback_started": _after_failure(lambda s: FallbackChosen(s.now, s.task, _next_agent(s))),
    "retries_exhausted": _after_failure(
        lambda s: RetriesExhausted(s.now, s.task, s.state.plan.agents_of[s.target][0], 1)
    ),
    "budget_exhausted": _after_failure(lambda s: BudgetExhausted(s.now, s.task)),
    "breaker_opened": _after_failure(lambda s: BreakerOpened(s.now, s.task, s.breaker_key, s.now + 30.0)),
    "breaker_closed": _breaker_closed,
    "dead_lettered": _buried,
    "on_stage_complete": Script.end_tasks,
    "on_error": Script.end_run,
    "post_workflow": Script.end_run,
    "workflow_finished": Script.end_run,
}
"""How each event comes about; those that begin a run need no more than that."""
