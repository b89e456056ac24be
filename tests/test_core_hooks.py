"""Blocking hooks: set-up before the first task, on_error and post_workflow after the outcome is decided."""

from __future__ import annotations

import pytest

from actorflow.core.commands import CancelHook, RunHook
from actorflow.core.events import (
    AttemptStarted,
    AttemptTimedOut,
    CancelRequested,
    Event,
    HookFinished,
    HookLost,
    HookStarted,
    HookStatus,
    PauseRequested,
    Resumed,
    RunEnding,
    RunFinished,
)
from actorflow.core.step import next_generation
from tests.scenarios import BROKEN, TIMEOUT, ends_of, happened, hook_lists, script_of, task, workflow
from tests.scripted import ScriptedRun

HOOKS = hook_lists(pre_workflow=2, on_error=2, post_workflow=2)
SET_UP = ["pre_workflow[0]", "pre_workflow[1]"]
ON_ERROR = ["on_error[0]", "on_error[1]"]
CLEAN_UP = ["post_workflow[0]", "post_workflow[1]"]


def marks_of(journal: list[Event]) -> list[str]:
    """The hooks and turning points of a run, in order."""
    marks = []
    for event in journal:
        match event:
            case HookStarted(event=name, index=index):
                marks.append(f"{name}[{index}]")
            case AttemptStarted(task=name):
                marks.append(name)
            case RunEnding(outcome=outcome):
                marks.append(f"ending {outcome}")
            case RunFinished(outcome=outcome):
                marks.append(f"finished {outcome}")
    return marks


def script_of_hooks(**statuses: HookStatus):
    """A script for hooks: `event_index=status`; the others are fine."""

    def status(hook: RunHook) -> HookStatus:
        return statuses.get(f"{hook.event}_{hook.index}", "ok")

    return status


def test_a_successful_run_sets_up_runs_and_cleans_up() -> None:
    run = ScriptedRun(workflow(task("a"), hooks=HOOKS)).finish()
    assert marks_of(run.journal) == [*SET_UP, "a", "ending success", *CLEAN_UP, "finished success"]


def test_a_failed_run_runs_on_error_before_post_workflow() -> None:
    run = ScriptedRun(workflow(task("a"), hooks=HOOKS), script_of({"a": [BROKEN]})).finish()
    assert marks_of(run.journal) == [*SET_UP, "a", "ending failed", *ON_ERROR, *CLEAN_UP, "finished failed"]


def test_hooks_run_one_after_the_other() -> None:
    run = ScriptedRun(workflow(hooks=HOOKS))
    assert marks_of(run.journal) == SET_UP[:1]
    run.happen(run.outcome(""))
    assert marks_of(run.journal) == SET_UP


@pytest.mark.parametrize("status", ["failed", "timed_out"])
def test_a_failed_set_up_hook_ends_its_list_and_fails_the_run_before_any_task(status: HookStatus) -> None:
    spec = workflow(task("a"), task("b", "a"), hooks=HOOKS)
    run = ScriptedRun(spec, hook=script_of_hooks(pre_workflow_0=status)).finish()
    assert marks_of(run.journal) == [*SET_UP[:1], "ending failed", *ON_ERROR, *CLEAN_UP, "finished failed"]
    assert ends_of(run) == "a skipped aborted, b skipped aborted"
    (ending,) = happened(run, RunEnding)
    assert ending.failure is not None
    assert (ending.task, ending.failure.type) == (None, "hook_failed")


@pytest.mark.parametrize(
    ("results", "outcome", "line"),
    [({}, "success", CLEAN_UP), ({"a": [BROKEN]}, "failed", [*ON_ERROR, *CLEAN_UP])],
)
def test_a_failed_hook_at_the_end_changes_no_outcome_and_ends_no_list(results, outcome, line) -> None:
    run = ScriptedRun(
        workflow(task("a"), hooks=HOOKS),
        script_of(results),
        script_of_hooks(on_error_0="failed", post_workflow_0="timed_out"),
    ).finish()
    assert marks_of(run.journal)[3:] == [f"ending {outcome}", *line, f"finished {outcome}"]


def test_a_cancel_during_set_up_ends_the_hook_and_cleans_up() -> None:
    run = ScriptedRun(workflow(task("a"), hooks=HOOKS))
    run.happen(CancelRequested(1000.0, "operator"))
    assert run.running == {"": CancelHook("pre_workflow", 0, "")}
    run.finish()
    assert marks_of(run.journal) == [*SET_UP[:1], "ending canceled", *CLEAN_UP, "finished canceled"]
    assert ends_of(run) == "a skipped canceled"


@pytest.mark.parametrize("status", ["ok", "failed"])
def test_a_set_up_hook_that_ends_by_itself_after_a_cancel_changes_nothing(status: HookStatus) -> None:
    run = ScriptedRun(workflow(task("a"), hooks=HOOKS))
    run.happen(CancelRequested(1000.0, "operator"))
    run.happen(HookFinished(1000.0, "pre_workflow", 0, status))
    assert run.state.ending is not None
    assert (run.state.ending.outcome, run.state.ending.failure) == ("canceled", None)


def test_a_cancel_after_the_outcome_is_decided_changes_nothing() -> None:
    run = ScriptedRun(workflow(task("a"), hooks=HOOKS))
    while run.state.phase != "ending":
        run.happen(*[run.outcome(name) for name in list(run.running)])
    run.happen(CancelRequested(1000.0, "operator"))
    assert isinstance(run.running[""], RunHook)
    run.finish()
    assert marks_of(run.journal)[3:] == ["ending success", *CLEAN_UP, "finished success"]


def test_hooks_run_once_a_generation() -> None:
    run = ScriptedRun(workflow(task("a"), hooks=HOOKS), script_of({"a": [BROKEN, 1]})).finish()
    first = len(run.journal)
    run.next_generation()
    again = marks_of(run.journal[first:])
    assert again == [*SET_UP, "a", "ending success", *CLEAN_UP, "finished success"]


def test_deliveries_have_stable_ids_new_for_each_generation() -> None:
    run = ScriptedRun(workflow(hooks=HOOKS))
    ids = [hook.context.delivery_id for hook in run.running.values() if isinstance(hook, RunHook)]
    run.crash()
    ids += [hook.context.delivery_id for hook in run.running.values() if isinstance(hook, RunHook)]
    run.happen(CancelRequested(1000.0, "operator"))
    run.finish()
    run.happen(next_generation(run.state, run.now))
    ids += [hook.context.delivery_id for hook in run.running.values() if isinstance(hook, RunHook)]
    assert ids == [f"r-1/{generation}/pre_workflow[0]" for generation in (1, 1, 2)]


def test_a_lost_hook_runs_again_in_every_phase() -> None:
    run = ScriptedRun(workflow(task("a"), hooks=HOOKS), script_of({"a": [BROKEN]}))
    crashes = 0
    while run.running:
        if "" in run.running:
            run.crash()
            crashes += 1
        run.happen(*[run.outcome(name) for name in list(run.running)])
    line = [*SET_UP, "a", "ending failed", *ON_ERROR, *CLEAN_UP, "finished failed"]
    assert crashes == len(happened(run, HookLost)) == 6
    expected = [mark for mark in line for _ in range(2 if "[" in mark else 1)]
    assert marks_of(run.journal) == expected


def test_no_hook_starts_while_the_run_is_pausing() -> None:
    run = ScriptedRun(workflow(task("a"), hooks=HOOKS))
    run.happen(PauseRequested(1000.0, "operator"))
    run.happen(run.outcome(""))
    assert not run.running
    run.happen(Resumed(1000.0))
    assert marks_of(run.journal) == SET_UP
    run.happen(PauseRequested(1000.0, "operator"), run.outcome(""))
    assert not run.running
    run.happen(Resumed(1000.0))
    assert "a" in run.running


def test_a_hook_lost_after_a_cancel_is_not_run_again() -> None:
    run = ScriptedRun(workflow(task("a"), hooks=HOOKS))
    run.happen(CancelRequested(1000.0, "operator"))
    run.crash()
    run.finish()
    assert marks_of(run.journal) == [*SET_UP[:1], "ending canceled", *CLEAN_UP, "finished canceled"]


def test_a_hook_is_told_the_run_the_stage_and_the_error() -> None:
    seen: list[RunHook] = []

    def look(hook: RunHook) -> HookStatus:
        seen.append(hook)
        return "ok"

    spec = workflow(task("a"), stages={"build": ["a"]}, hooks=hook_lists(pre_workflow=1, on_error=1))
    run = ScriptedRun(spec, lambda start: TIMEOUT, look).finish()
    assert len(happened(run, AttemptTimedOut)) == 1
    told = [(c.workflow, c.stage, c.error_text, c.status, c.event) for c in (hook.context for hook in seen)]
    assert told == [
        ("w", "", "", "running", "pre_workflow"),
        ("w", "build", "a: took over 1 s", "failed", "on_error"),
    ]
