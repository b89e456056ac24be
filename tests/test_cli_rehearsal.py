"""Made-up histories: every event of the lifecycle can be told, whatever it happens to and however that ends."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from actorflow import loads
from actorflow.cli.rehearsal import rehearse
from actorflow.cli.script import Sample
from actorflow.core.events import TaskOutcome
from actorflow.core.hook_config import BLOCKING, OF_RUNS
from actorflow.core.plan import plan_of
from actorflow.spec.model import NOT_FIRED_YET, HookEvent, WorkflowSpec

_EVENTS = sorted({*get_args(HookEvent)} - NOT_FIRED_YET)
_RUN = OF_RUNS | {"signal_received"}


def workflow() -> WorkflowSpec:
    """Stages, a handler, a transition, retries, a fallback and a breaker, with a hook of each kind on every event."""

    def hooks(event: str) -> list[object]:
        about = "" if event in _RUN else " of {{ task.id }}"
        told = {"type": "log", "mode": "async", "params": {"message": f"{event}{about}"}}
        return [told, {"command": "true", "mode": "blocking"}] if event in BLOCKING else [told]

    retried = {"retry": {"max_attempts": 3}, "fallback_agent": ["y"], "circuit_breaker": {"threshold": 1}}
    definition = {
        "name": "w",
        "hooks": {event: hooks(event) for event in _EVENTS},
        "workflows": {
            "main": {
                "steps": [{"stage": "one", "tasks": ["a"]}, {"stage": "two", "tasks": ["b", "c", "rescue"]}]
            }
        },
        "tasks": {
            "a": {"agent": "x", "on_error": retried},
            "b": {"agent": "x", "depends_on": ["a"], "with": {"of": "{{ tasks.a.output.none }}"}},
            "c": {"agent": "x", "depends_on": ["b"], "when": "tasks.b.output.go"},
            "rescue": {"agent": "x", "depends_on": [{"task": "c", "on": "failure"}]},
        },
    }
    return loads(json.dumps(definition), trust="own")


@pytest.mark.parametrize("event", _EVENTS)
@pytest.mark.parametrize("task", ["a", "b", "rescue"])
@pytest.mark.parametrize("status", get_args(TaskOutcome))
def test_every_hook_of_an_event_is_shown_once_in_the_order_of_its_list(
    event: HookEvent, task: str, status: TaskOutcome
):
    plan = plan_of(workflow())
    fired = rehearse(plan, Sample(event=event, task=task, status=status, now=1_000.0)).fired
    listed = [entry.path for entry in plan.hooks.of(event)]
    expected = [] if event == "on_error" and status != "failed" else listed
    assert [each.entry.path for each in fired] == expected
    for each in fired:
        assert each.context is not None
        assert each.context.task is None or each.context.task["id"] == task


def test_a_task_that_follows_a_failure_is_told_of_it():
    fired = rehearse(plan_of(workflow()), Sample(event="task_started", task="rescue")).fired
    context = fired[0].context
    assert context is not None
    assert context.error is not None
    assert context.error["task"] == "c"


def test_only_what_the_definition_allows_is_called_possible():
    plan = plan_of(workflow())
    possible = {
        task: rehearse(plan, Sample(event="fallback_started", task=task)).is_possible for task in ("a", "b")
    }
    assert possible == {"a": True, "b": False}
