"""Stages: each a barrier, passed when all its tasks have ended well."""

from __future__ import annotations

import pytest

from actorflow.core.events import StageCompleted
from actorflow.spec.model import StageSpec
from tests.scenarios import BROKEN, Scenario, ends_of, happened, run_of, script_of, task, workflow
from tests.scripted import ScriptedRun

SCENARIOS = [
    Scenario(
        "stages run in order",
        workflow(task("b"), task("a"), stages={"one": ["a"], "two": ["b"]}),
        {},
        "b success, a success",
    ),
    Scenario(
        "a failed stage bars the later ones",
        workflow(
            task("a", strategy="finish"),
            task("b"),
            task("c"),
            stages={"one": ["a"], "two": ["b"], "three": ["c"]},
        ),
        {"a": [BROKEN]},
        "a failed, b skipped upstream, c skipped upstream",
        "failed",
    ),
    Scenario(
        "the other tasks of a failed stage go on",
        workflow(task("a", strategy="finish"), task("b"), task("c", "b"), stages={"one": ["a", "b", "c"]}),
        {"a": [BROKEN]},
        "a failed, b success, c success",
        "failed",
    ),
    Scenario(
        "a stage with a tolerated failure is passed",
        workflow(task("a", strategy="skip"), task("b"), stages={"one": ["a"], "two": ["b"]}),
        {"a": [BROKEN]},
        "a failed, b success",
    ),
    Scenario(
        "a stage whose tasks were ruled out by their when is passed",
        workflow(task("a", when="false"), task("b"), stages={"one": ["a"], "two": ["b"]}),
        {},
        "a skipped when, b success",
    ),
    Scenario(
        "a stage with a task that was skipped upstream bars the later ones",
        workflow(
            task("x", strategy="finish"),
            task("a", "x"),
            task("b"),
            task("c"),
            stages={"one": ["a", "b"], "two": ["c"]},
        ),
        {"x": [BROKEN]},
        "x failed, a skipped upstream, b success, c skipped upstream",
        "failed",
    ),
    Scenario(
        "a stage that was not reached bars the later ones",
        workflow(
            task("x", strategy="finish"), task("a", "x"), task("b"), stages={"one": ["a"], "two": ["b"]}
        ),
        {"x": [BROKEN]},
        "x failed, a skipped upstream, b skipped upstream",
        "failed",
    ),
    Scenario(
        "a stage without tasks is passed",
        workflow(task("a"), task("b"), stages={"zero": [], "one": ["a"], "none": [], "two": ["b"]}),
        {},
        "a success, b success",
    ),
    Scenario(
        "a stage without tasks passes a bar on",
        workflow(
            task("a", strategy="finish"),
            task("b"),
            stages={"one": ["a"], "none": [], "nil": [], "two": ["b"]},
        ),
        {"a": [BROKEN]},
        "a failed, b skipped upstream",
        "failed",
    ),
    Scenario(
        "stages with dependencies wait for those alone",
        workflow(
            task("a", strategy="finish"),
            task("b"),
            task("c"),
            task("d"),
            stages=[
                StageSpec(name="one", tasks=("a",)),
                StageSpec(name="two", tasks=("b",)),
                StageSpec(name="three", tasks=("c",), after=("two",)),
                StageSpec(name="four", tasks=("d",), after=("one", "three")),
            ],
        ),
        {"a": [BROKEN]},
        "a failed, b success, c success, d skipped upstream",
        "failed",
    ),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_stages_are_barriers(scenario: Scenario) -> None:
    run = run_of(scenario)
    assert ends_of(run) == scenario.ends
    assert run.state.ending is not None
    assert run.state.ending.outcome == scenario.outcome


def test_nothing_of_a_later_stage_starts_before_the_stage_is_recorded_as_complete() -> None:
    spec = workflow(task("b"), task("a"), task("a2"), stages={"one": ["a", "a2"], "two": ["b"]})
    run = ScriptedRun(spec)
    assert [start.task for start in run.starts] == ["a", "a2"]
    run.happen(run.outcome("a"))
    assert not happened(run, StageCompleted)
    run.happen(run.outcome("a2"))
    assert happened(run, StageCompleted) == [StageCompleted(1000.0, "one", "success")]
    assert [start.task for start in run.starts] == ["a", "a2", "b"]


def test_a_stage_that_was_not_reached_is_not_recorded() -> None:
    run = run_of(SCENARIOS[6])
    assert not happened(run, StageCompleted)


@pytest.mark.parametrize(
    ("results", "status"),
    [({}, "success"), ({"a": [BROKEN]}, "failed"), ({"c": [BROKEN]}, "canceled")],
)
def test_a_stage_completes_with_the_status_of_its_tasks(
    results: dict[str, list[object]], status: str
) -> None:
    spec = workflow(
        task("c"), task("a", strategy="finish"), task("b"), max_parallel=2, stages={"one": ["a", "b"]}
    )
    run = ScriptedRun(spec, script_of(results)).finish()
    assert [event.status for event in happened(run, StageCompleted)] == [status]


def test_on_resume_stages_with_nothing_left_to_do_are_passed_and_not_recorded_again() -> None:
    spec = workflow(
        task("a"), task("b"), task("c"), task("d"), stages={"1": ["a"], "2": ["b"], "3": ["c"], "4": ["d"]}
    )
    run = ScriptedRun(spec, script_of({"c": [BROKEN, 1]})).finish()
    run.next_generation()
    assert ends_of(run) == "a success, b success, c success, d success"
    completed = [(event.stage, event.status) for event in happened(run, StageCompleted)]
    assert completed == [
        ("1", "success"),
        ("2", "success"),
        ("3", "failed"),
        ("3", "success"),
        ("4", "success"),
    ]
    assert [start.task for start in run.starts] == ["a", "b", "c", "c", "d"]


def test_on_resume_a_stage_that_is_done_passes_on_the_bar_of_one_before_it() -> None:
    spec = workflow(
        task("t", strategy="skip"),
        task("a", "t", when="tasks.t.output == 1", strategy="finish"),
        task("b"),
        task("c", strategy="finish"),
        stages={"1": ["a"], "2": ["b"], "3": ["c"]},
    )
    run = ScriptedRun(spec, script_of({"t": [BROKEN, 1], "a": [BROKEN], "c": [BROKEN]})).finish()
    assert ends_of(run) == "t failed, a skipped when, b success, c failed"
    run.next_generation()
    assert ends_of(run) == "t success, a failed, b success, c skipped upstream"


def test_the_stage_of_a_run_is_the_one_that_was_entered_last() -> None:
    run = ScriptedRun(workflow(task("a"), task("b"), stages={"one": ["a"], "two": ["b"]}))
    assert run.state.stage == "one"
    run.happen(run.outcome("a"))
    assert run.state.stage == "two"


def test_a_stage_that_is_barred_before_it_begins_lets_nothing_start_until_all_before_it_are_over() -> None:
    spec = workflow(
        task("a", strategy="finish"),
        task("b"),
        task("c"),
        task("h", on_end_of=("a",)),
        stages=[
            StageSpec(name="one", tasks=("a",)),
            StageSpec(name="two", tasks=("b",)),
            StageSpec(name="three", tasks=("c",), after=("one", "two")),
            StageSpec(name="four", tasks=("h",), after=("three",)),
        ],
    )
    run = ScriptedRun(spec, script_of({"a": [BROKEN]}))
    run.happen(run.outcome("a"))
    assert [start.task for start in run.starts] == ["a", "b"]
    run.happen(run.outcome("b"))
    assert [start.task for start in run.starts] == ["a", "b", "h"]
    assert ends_of(run.finish()) == "a failed, b success, c skipped upstream, h success"


def test_a_stage_that_was_not_reached_passes_on_that_one_before_it_failed() -> None:
    spec = workflow(
        task("a", strategy="finish"),
        task("x"),
        task("h", on_failure_of=("x",)),
        task("d"),
        stages={"one": ["a", "x"], "two": ["h"], "three": ["d"]},
    )
    run = ScriptedRun(spec, script_of({"a": [BROKEN]})).finish()
    assert ends_of(run) == "a failed, x success, h skipped not_reached, d skipped upstream"
