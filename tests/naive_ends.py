"""Ends of tasks, for the naive model: which stand in a new generation, and what each means for those that wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from attrs import evolve

from actorflow.core.events import (
    AttemptCanceled,
    AttemptSucceeded,
    Event,
    FallbackValueUsed,
    GenerationStarted,
    HookFinished,
    TaskCanceled,
    TaskFailed,
    TaskFinished,
    TaskSkipped,
)
from actorflow.spec.model import TaskSpec, WorkflowSpec
from tests.naive_hooks import is_refusal, places

SUCCESSES = (AttemptSucceeded, FallbackValueUsed)
OUTCOMES = (*SUCCESSES, AttemptCanceled, TaskFailed, TaskCanceled)
Ends: TypeAlias = dict[str, tuple[int, Event]]
"""By task: where it ended, and what it came to."""


def ends_that_stand(spec: WorkflowSpec, events: list[tuple[int, Event]]) -> tuple[Ends, Ends]:
    """What ended each task, and where; and the outcomes of those that are not at their end, for their hooks.

    A new generation lets stand what succeeded, and what its own `when` ruled out; one for certain tasks lets stand all
    but these, what was cut off, and what was skipped below.
    """
    ends: Ends = {}
    outcomes: Ends = {}
    waited_for = {task.id for task in spec.tasks if places(spec, "task_finished", task.id)}
    before = {task.id: [need for need, _ in edges_to(task)] for task in spec.tasks}
    for task in spec.tasks:
        for to in (task.on_success, task.on_error.next):
            if to is not None:
                before[to.next].append(task.id)

    def stands(name: str) -> bool:
        end = ends[name][1]
        return isinstance(end, SUCCESSES) or (is_false_when(end) and all(map(stands, before[name])))

    def opened_again(wanted: Sequence[str]) -> set[str]:
        again = {name for name, (_, end) in ends.items() if name in wanted or is_cut_off(end)}
        while True:
            begun = {stage.name for stage in spec.stages if not again.isdisjoint(stage.tasks)}
            held = {n for stage in spec.stages if not begun.isdisjoint(stage.after) for n in stage.tasks}
            below = {name for name in ends if name in held or not again.isdisjoint(before[name])}
            skipped = {name for name in below - again if isinstance(ends[name][1], TaskSkipped)}
            if not skipped:
                return again
            again |= skipped

    for at, event in events:
        match event:
            case TaskFinished(task=task):
                ends[task] = (at, outcomes.pop(task)[1])
            case TaskSkipped(task=task):
                ends[task] = (at, event)
            case HookFinished(event="task_finished", status="ok", subject=task) if "output" in event.record:
                outcomes[task] = (outcomes[task][0], _with_output(outcomes[task][1], event))
            case GenerationStarted(tasks=wanted) if wanted:
                again = opened_again(wanted)
                ends = {name: end for name, end in ends.items() if name not in again}
            case GenerationStarted():
                ends = {name: end for name, end in ends.items() if stands(name)}
            case _ if isinstance(event, OUTCOMES):
                if event.task in waited_for and event.task not in outcomes:
                    outcomes[event.task] = (at, event)
                else:
                    outcomes.pop(event.task, None)  # a success that a hook turned down
                    ends[event.task] = (at, event)
            case _:
                pass
    return ends, outcomes


def _with_output(outcome: Event, transform: HookFinished) -> Event:
    """What others read of a task whose hook makes something else of its output; of a failure there is none."""
    if isinstance(outcome, AttemptSucceeded | FallbackValueUsed):
        return evolve(outcome, output=transform.record["output"])
    return outcome


def status_of(outcome: Event) -> str:
    """The word for an outcome."""
    if isinstance(outcome, SUCCESSES):
        return "success"
    return "failed" if isinstance(outcome, TaskFailed) else "canceled"


def edges_to(task: TaskSpec) -> list[tuple[str, str]]:
    """What a task waits for, and which kind of end it asks of each."""
    return [
        *((need, "success") for need in task.depends_on),
        *((need, "failure") for need in task.on_failure_of),
        *((need, "always") for need in task.on_end_of),
    ]


def why_barred(on: str, end: Event) -> str | None:
    """Why an end does not satisfy an edge; None where it does."""
    is_passed_over = is_false_when(end) or is_unreached(end)
    is_tolerated = isinstance(end, TaskFailed) and end.effect == "tolerated"
    match on:
        case "success" if not (isinstance(end, SUCCESSES) or is_passed_over or is_tolerated):
            return "upstream"
        case "failure" if not isinstance(end, TaskFailed):
            return "not_reached" if isinstance(end, SUCCESSES) or is_passed_over else "upstream"
        case _:
            return None


def is_taken(on: str, end: Event) -> bool:
    """Whether a transition is taken when its task ends so."""
    return isinstance(end, SUCCESSES) if on == "success" else isinstance(end, TaskFailed)


def is_cut_off(end: Event) -> bool:
    """Whether the end of the run, and not its own, was the end of a task."""
    is_closed = isinstance(end, TaskSkipped) and end.reason in ("aborted", "canceled")
    return is_closed or isinstance(end, AttemptCanceled | TaskCanceled)


def is_unreached(end: Event) -> bool:
    return isinstance(end, TaskSkipped) and end.reason == "not_reached"


def is_failed_set_up(spec: WorkflowSpec, event: Event) -> bool:
    return isinstance(event, HookFinished) and event.event == "pre_workflow" and is_refusal(spec, event)


def is_failed_stage(spec: WorkflowSpec, event: Event) -> bool:
    return isinstance(event, HookFinished) and event.event == "on_stage_complete" and is_refusal(spec, event)


def is_false_when(event: Event) -> bool:
    return isinstance(event, TaskSkipped) and event.reason == "when"
