"""The rules of order, each as a workflow, the results of its attempts, and how its tasks end."""

from __future__ import annotations

import pytest
from attrs import evolve

from actorflow.core.events import (
    AttemptCanceled,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    FallbackChosen,
    RunEnding,
    TaskFailed,
)
from tests.scenarios import (
    BROKEN,
    NOT_FOUND,
    TIMEOUT,
    Scenario,
    ends_of,
    happened,
    linear,
    run_of,
    task,
    workflow,
)
from tests.scripted import ScriptedRun

SCENARIOS = [
    Scenario(
        "success opens an edge",
        workflow(task("b", "a"), task("a")),
        {},
        "b success, a success",
    ),
    Scenario(
        "a task skipped by its own when opens an edge",
        workflow(task("a", when="false"), task("b", "a")),
        {},
        "a skipped when, b success",
    ),
    Scenario(
        "a when reads what is upstream",
        workflow(
            task("a"), task("b", "a", when="tasks.a.output == 1"), task("c", "a", when="tasks.a.output != 1")
        ),
        {"a": [1]},
        "a success, b success, c skipped when",
    ),
    Scenario(
        "a tolerated failure opens an edge and its output is null",
        workflow(task("a", strategy="skip"), task("b", "a", when="tasks.a.output == null")),
        {"a": [BROKEN]},
        "a failed, b success",
    ),
    Scenario(
        "a failure aborts the run by default",
        workflow(task("a"), task("b", "a"), task("c"), task("d"), max_parallel=2),
        {"a": [BROKEN]},
        "a failed, b skipped upstream, c success, d skipped aborted",
        "failed",
    ),
    Scenario(
        "with finish what does not depend on a failure goes on",
        workflow(task("a", strategy="finish"), task("b", "a"), task("c"), task("d", "c")),
        {"a": [BROKEN]},
        "a failed, b skipped upstream, c success, d success",
        "failed",
    ),
    Scenario(
        "one edge that can't be satisfied is enough to skip",
        workflow(task("a"), task("b", strategy="finish"), task("c", "a", "b"), task("d", "a")),
        {"b": [BROKEN]},
        "a success, b failed, c skipped upstream, d success",
        "failed",
    ),
    Scenario(
        "a skip is passed on to all that is below",
        workflow(task("a", strategy="finish"), *linear("bcde")[1:], task("b", "a"), task("f")),
        {"a": [BROKEN]},
        "a failed, c skipped upstream, d skipped upstream, e skipped upstream, b skipped upstream, f success",
        "failed",
    ),
    Scenario(
        "a skip by when is not passed on",
        workflow(task("a", when="false"), task("b", "a", when="false"), task("c", "b")),
        {},
        "a skipped when, b skipped when, c success",
    ),
    Scenario(
        "an upstream that a when ruled out still waits for the other edges",
        workflow(task("a", when="false"), task("b", strategy="finish"), task("c", "a", "b")),
        {"b": [BROKEN]},
        "a skipped when, b failed, c skipped upstream",
        "failed",
    ),
    Scenario(
        "a timeout is a failure",
        workflow(task("a"), task("b", "a")),
        {"a": [TIMEOUT]},
        "a failed, b skipped upstream",
        "failed",
    ),
    Scenario(
        "a when that can't be evaluated fails the task",
        workflow(task("a"), task("b", "a", when="tasks.a.output > 1"), task("c", "b")),
        {"a": ["text"]},
        "a success, b failed, c skipped upstream",
        "failed",
    ),
    Scenario(
        "a when that can't be evaluated is tolerated like any failure",
        workflow(task("a"), task("b", "a", when="tasks.a.output > 1", strategy="skip"), task("c", "b")),
        {"a": ["text"]},
        "a success, b failed, c success",
    ),
    Scenario(
        "a task that can't be rendered aborts the run before those after it start",
        workflow(task("a", with_={"x": "{{ input.missing }}"}), task("b"), task("c", "b")),
        {},
        "a failed, b skipped aborted, c skipped aborted",
        "failed",
    ),
    Scenario(
        "retries come first and may succeed",
        workflow(task("a", attempts=3), task("b", "a")),
        {"a": [BROKEN, TIMEOUT, 1]},
        "a success, b success",
    ),
    Scenario(
        "a fallback may succeed",
        workflow(task("a", attempts=2, fallbacks=["second"]), task("b", "a")),
        {"a": [BROKEN, BROKEN, BROKEN, 1]},
        "a success, b success",
    ),
    Scenario(
        "a failure after all attempts of all agents is final",
        workflow(task("a", attempts=2, fallbacks=["second"]), task("b", "a")),
        {"a": [BROKEN]},
        "a failed, b skipped upstream",
        "failed",
    ),
    Scenario(
        "a workflow without tasks succeeds",
        workflow(),
        {},
        "",
    ),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_tasks_end_by_the_rules_of_order(scenario: Scenario) -> None:
    run = run_of(scenario)
    assert ends_of(run) == scenario.ends
    assert run.state.phase == "ended"
    assert [event.outcome for event in happened(run, RunEnding)] == [scenario.outcome]


def test_tasks_start_in_file_order_as_far_as_max_parallel_allows() -> None:
    run = ScriptedRun(workflow(*(task(name) for name in "cabed"), max_parallel=2))
    assert [start.task for start in run.starts] == ["c", "a"]
    run.happen(run.outcome("a"))
    assert [start.task for start in run.starts] == ["c", "a", "b"]
    run.finish()
    assert [start.task for start in run.starts] == ["c", "a", "b", "e", "d"]


def test_a_task_that_waits_for_a_retry_takes_no_slot() -> None:
    run = run_of(
        Scenario("", workflow(task("a", attempts=2), task("b"), max_parallel=1), {"a": [BROKEN, 1]}, "")
    )
    assert [start.task for start in run.starts] == ["a", "b", "a"]


def test_an_abort_cancels_what_runs_and_starts_nothing() -> None:
    run = ScriptedRun(workflow(task("a"), task("b"), task("c"), max_parallel=2), lambda start: BROKEN)
    run.happen(run.outcome("a"))
    run.finish()
    assert ends_of(run) == "a failed, b canceled, c skipped aborted"
    assert [start.task for start in run.starts] == ["a", "b"]


@pytest.mark.parametrize(
    ("late", "end"),
    [
        (AttemptSucceeded(1000.0, "b", 1, "late"), "success"),
        (AttemptFailed(1000.0, "b", 1, BROKEN), "failed"),
    ],
)
def test_what_an_aborted_attempt_still_says_counts(late: AttemptSucceeded | AttemptFailed, end: str) -> None:
    spec = workflow(task("a"), task("b", attempts=9, fallbacks=["second"]))
    run = ScriptedRun(spec, lambda start: BROKEN)
    run.happen(run.outcome("a"))
    run.happen(late)
    assert ends_of(run) == f"a failed, b {end}"
    assert run.state.phase == "ended"


def test_an_abort_ends_what_waits_for_a_retry() -> None:
    run = ScriptedRun(workflow(task("a", attempts=2), task("b")), lambda start: BROKEN)
    run.happen(run.outcome("a"))
    run.happen(run.outcome("b"))
    assert ends_of(run) == "a canceled, b failed"
    assert not happened(run, AttemptCanceled)  # no body was running


def test_the_first_fatal_failure_is_the_cause() -> None:
    run = ScriptedRun(
        workflow(task("a", strategy="finish"), task("b", strategy="finish")), lambda start: BROKEN
    )
    run.happen(run.outcome("b"))
    run.finish()
    (ending,) = happened(run, RunEnding)
    assert (ending.task, ending.failure) == ("b", BROKEN)


def test_a_tolerated_failure_is_remembered_in_a_run_that_succeeds() -> None:
    run = run_of(Scenario("", workflow(task("a", strategy="skip")), {"a": [BROKEN]}, ""))
    assert run.state.had_errors
    (failed,) = happened(run, TaskFailed)
    assert failed.effect == "tolerated"


def test_what_can_not_be_rendered_makes_no_attempt() -> None:
    run = run_of(Scenario("", workflow(task("a", with_={"x": "{{ input.missing }}"}, attempts=5)), {}, ""))
    (failed,) = happened(run, TaskFailed)
    assert failed.failure.type == "expression"
    assert not happened(run, AttemptStarted)


def test_a_when_is_asked_once_for_all_attempts() -> None:
    spec = workflow(task("a", attempts=3, when="task.attempt == 1"))
    run = run_of(Scenario("", spec, {"a": [BROKEN, 1]}, ""))
    assert ends_of(run) == "a success"


def test_each_agent_has_its_own_attempts() -> None:
    spec = workflow(task("a", attempts=2, fallbacks=["second", "third"]))
    run = run_of(Scenario("", spec, {"a": [BROKEN]}, ""))
    assert [(start.agent, start.attempt) for start in run.starts] == [
        ("main", 1),
        ("main", 2),
        ("second", 3),
        ("second", 4),
        ("third", 5),
        ("third", 6),
    ]


def test_a_fallback_starts_at_once() -> None:
    run = run_of(Scenario("", workflow(task("a", fallbacks=["second"])), {"a": [BROKEN, 1]}, ""))
    assert len(happened(run, FallbackChosen)) == 1
    assert run.now == 1000.0


def test_a_program_that_does_not_exist_is_not_tried_again_but_its_fallback_is() -> None:
    spec = workflow(task("a", attempts=4, fallbacks=["second"]))
    run = run_of(Scenario("", spec, {"a": [NOT_FOUND]}, ""))
    assert [start.agent for start in run.starts] == ["main", "second"]


def test_outputs_that_can_not_be_rendered_fail_a_run_whose_tasks_all_succeeded() -> None:
    spec = evolve(workflow(task("a")), outputs={"x": "{{ tasks.a.output.missing }}"})
    run = run_of(Scenario("", spec, {"a": [{}]}, ""))
    (ending,) = happened(run, RunEnding)
    assert (ending.outcome, ending.task) == ("failed", None)
    assert ending.failure is not None
    assert ending.failure.type == "expression"
