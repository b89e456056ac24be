"""Dead letters: what failed for good is kept for an operator, who may have just that tried again."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow.core.events import (
    CancelRequested,
    DeadLettered,
    Event,
    Failure,
    GenerationStarted,
    RunEnding,
    TaskFailed,
)
from actorflow.core.step import next_generation
from actorflow.errors import IllegalTransitionError
from actorflow.spec.model import RetrySpec, Transition, WorkflowSpec
from tests.random_runs import random_workflow
from tests.scenarios import BROKEN, ends_of, happened, hook_lists, script_of, snapshot, task, workflow
from tests.scripted import ScriptedRun

BROKEN_ONCE = {"a": [BROKEN, 1]}


def letters_of(run: ScriptedRun) -> list[str]:
    return [event.letter for event in happened(run, DeadLettered)]


def ended(spec: WorkflowSpec, results: Any = BROKEN_ONCE) -> ScriptedRun:
    return ScriptedRun(spec, script_of(results)).finish()


def test_a_letter_has_all_that_is_to_know_of_a_fatal_failure() -> None:
    retry = RetrySpec(max_attempts=2, jitter="none")
    spec = workflow(task("a", with_={"n": "{{ task.attempt + 5 }}"}, retry=retry))
    [letter] = happened(ended(spec, {"a": [BROKEN]}), DeadLettered)
    assert letter == DeadLettered(1001.0, "a", "r-1/1/a", {"n": 7}, BROKEN, 2)


def test_a_letter_without_an_input_is_written_all_the_same() -> None:
    [letter] = happened(ended(workflow(task("a", with_={"n": "{{ input.missing }}"}))), DeadLettered)
    assert (letter.input, letter.attempts, letter.failure.type) == (None, 0, "expression")


@pytest.mark.parametrize(
    ("spec", "letters"),
    [
        (workflow(task("a")), ["r-1/1/a"]),
        (workflow(task("a", strategy="finish"), task("b")), ["r-1/1/a"]),
        (workflow(task("a", strategy="skip")), []),
        (workflow(task("a"), task("h", on_failure_of=("a",))), []),
        (workflow(task("a", value=1)), []),
        (workflow(task("a", fallbacks=["second"])), []),
    ],
    ids=["abort", "finish", "tolerated", "handled", "fallback value", "fallback"],
)
def test_only_fatal_failures_are_dead_letters(spec: WorkflowSpec, letters: list[str]) -> None:
    assert letters_of(ended(spec)) == letters


def test_what_is_lost_too_often_is_a_dead_letter() -> None:
    run = ScriptedRun(workflow(task("a", max_losses=1)))
    run.crash()
    run.crash()
    [letter] = happened(run, DeadLettered)
    assert (letter.failure.type, letter.attempts) == ("lost", 1)


def test_what_fails_while_its_run_is_canceled_is_none() -> None:
    run = ScriptedRun(workflow(task("a")), lambda start: BROKEN)
    run.running.clear()
    run.happen(CancelRequested(1000.0, ""))
    run.state.commands(1000.0)
    run.running["a"] = run.starts[0]
    run.finish()
    assert (ends_of(run), letters_of(run)) == ("a failed", [])


def test_a_letter_is_written_once() -> None:
    state = ended(workflow(task("a"), task("b", strategy="finish", on_end_of=("a",)))).state
    before = snapshot(state)
    for name in ("a", "b"):
        with pytest.raises(IllegalTransitionError):
            state.apply(DeadLettered(1000.0, name, f"r-1/1/{name}", None, BROKEN, 1))
    assert snapshot(state) == before


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**48))
def test_each_fatal_failure_has_one_letter_before_the_run_ends(seed: int) -> None:
    draw = Random(seed)
    run = ScriptedRun(random_workflow(draw), lambda start: BROKEN if draw.random() < 0.6 else 1).finish()
    fatal = [event.task for event in happened(run, TaskFailed) if event.effect == "fatal"]
    assert letters_of(run) == [f"r-1/1/{name}" for name in fatal]
    kinds = [type(event) for event in run.journal]
    assert DeadLettered not in kinds[kinds.index(RunEnding) :]


CHAINS = workflow(
    task("a", strategy="finish"),
    task("b", "a"),
    task("c", "b"),
    task("x", strategy="finish"),
    task("y", "x"),
    task("z"),
)


def test_a_retried_letter_opens_its_task_and_what_was_skipped_below_it() -> None:
    run = ended(CHAINS, {"a": [BROKEN, 1], "x": [BROKEN, 1]})
    assert letters_of(run) == ["r-1/1/a", "r-1/1/x"]
    run.next_generation("a")
    assert [start.task for start in run.starts] == ["a", "x", "z", "a", "b", "c"]
    assert ends_of(run) == "a success, b success, c success, x failed, y skipped upstream, z success"


def test_what_failed_and_is_not_tried_again_fails_the_run_again_without_another_letter() -> None:
    run = ended(CHAINS, {"a": [BROKEN, 1], "x": [BROKEN, 1]})
    run.next_generation("a")
    ending = happened(run, RunEnding)[-1]
    assert (ending.outcome, ending.task, ending.failure) == ("failed", "x", BROKEN)
    assert run.state.had_errors
    assert letters_of(run) == ["r-1/1/a", "r-1/1/x"]
    run.next_generation("x")
    assert (happened(run, RunEnding)[-1].outcome, run.state.had_errors) == ("success", False)


def test_a_letter_may_be_retried_again_and_again_and_has_an_id_for_each_generation() -> None:
    run = ended(workflow(task("a")), {"a": [BROKEN, BROKEN, 1]})
    run.next_generation("a")
    run.next_generation("a")
    assert letters_of(run) == ["r-1/1/a", "r-1/2/a"]
    assert [start.attempt for start in run.starts] == [1, 2, 3]
    assert [start.idempotency_key for start in run.starts] == ["r-1/a/1", "r-1/a/2", "r-1/a/3"]
    assert run.state.ending is not None
    assert run.state.ending.outcome == "success"


def test_what_the_end_of_the_run_cut_off_runs_as_well() -> None:
    spec = workflow(task("a"), task("b"), task("c", "b"))
    run = ScriptedRun(spec, script_of(BROKEN_ONCE))
    run.happen(run.outcome("a"))
    run.finish()
    assert ends_of(run) == "a failed, b canceled, c skipped aborted"
    run.next_generation("a")
    assert ends_of(run) == "a success, b success, c success"


def test_a_retried_letter_opens_the_stages_behind_its_own() -> None:
    stages = {"one": ["a", "d"], "two": ["b"], "three": ["c"]}
    tasks = [task("a", strategy="finish"), task("d"), task("b"), task("c")]
    run = ended(workflow(*tasks, stages=stages))
    assert ends_of(run) == "a failed, d success, b skipped upstream, c skipped upstream"
    run.next_generation("a")
    assert ends_of(run) == "a success, d success, b success, c success"


def test_a_stage_with_a_failure_that_is_left_bars_those_behind_it_again() -> None:
    stages = {"one": ["a", "x"], "two": ["b"]}
    tasks = [task("a", strategy="finish"), task("x", strategy="finish"), task("b")]
    run = ended(workflow(*tasks, stages=stages), {"a": [BROKEN, 1], "x": [BROKEN]})
    run.next_generation("a")
    assert ends_of(run) == "a success, x failed, b skipped upstream"


def test_a_failed_first_stage_that_is_left_bars_the_next() -> None:
    stages = {"one": ["x"], "two": ["b"], "three": ["c"]}
    tasks = [task("x", strategy="finish"), task("a", strategy="finish"), task("b"), task("c", "a")]
    run = ended(workflow(*tasks, stages=stages), {"a": [BROKEN, 1], "x": [BROKEN]})
    run.next_generation("a")
    assert ends_of(run) == "x failed, a success, b skipped upstream, c skipped upstream"


def test_a_failure_that_is_left_is_the_reason_rather_than_a_way_that_was_not_taken() -> None:
    spec = workflow(
        task("w", when="false"),
        task("x", strategy="finish"),
        task("a", strategy="finish"),
        task("s", on_failure_of=("w",)),
        task("t", "x", on_failure_of=("w",), on_end_of=("a",)),
    )
    run = ended(spec, {"a": [BROKEN, 1], "x": [BROKEN]})
    assert run.state.task("t").reason == "not_reached"  # which came first
    run.next_generation("a")
    assert run.state.task("t").reason == "upstream"


def test_a_set_up_that_fails_is_the_cause_of_a_retried_run_rather_than_a_failure_that_is_left() -> None:
    tasks = [task("x", strategy="finish"), task("a", strategy="finish")]
    hooks = iter(["ok", "failed"])
    run = ScriptedRun(
        workflow(*tasks, hooks=hook_lists(pre_workflow=1)), lambda start: BROKEN, lambda hook: next(hooks)
    ).finish()
    run.next_generation("a")
    ending = happened(run, RunEnding)[-1]
    assert (ending.task, ending.failure and ending.failure.type) == (None, "hook_failed")


def test_what_led_to_the_task_is_known_still() -> None:
    spec = workflow(
        task("a", on_success=Transition(next="b", with_={"got": "{{ output }}"})),
        task("b", strategy="finish"),
    )
    run = ended(spec, {"a": [5], "b": [BROKEN, 1]})
    assert [letter.input for letter in happened(run, DeadLettered)] == [{"got": 5}]
    run.next_generation("b")
    assert [start.input for start in run.starts if start.task == "b"] == [{"got": 5}] * 2


@pytest.mark.parametrize("name", ["nobody", "z"])
def test_neither_a_stranger_nor_a_success_is_tried_again(name: str) -> None:
    state = ended(CHAINS).state
    before = snapshot(state)
    with pytest.raises(IllegalTransitionError):
        state.apply(GenerationStarted(2000.0, 2, "retry", ("a", name)))
    assert snapshot(state) == before


def test_a_resume_tries_every_letter_again() -> None:
    run = ended(CHAINS, {"a": [BROKEN, 1], "x": [BROKEN, 1]})
    event = next_generation(run.state, run.now)
    assert (event.cause, event.tasks) == ("resume", ())
    run.next_generation()
    assert all(each.status == "success" for each in run.state.tasks)


def test_the_fold_of_a_retried_run_is_the_state_that_lived() -> None:
    run = ended(CHAINS, {"a": [BROKEN, 1], "x": [BROKEN, 1]})
    run.next_generation("a")
    folded = type(run.state)(run.state.plan)
    for event in run.journal:
        folded.apply(event)
    assert snapshot(folded) == snapshot(run.state)


def is_letter(event: Event) -> bool:
    return isinstance(event, DeadLettered)


def test_a_failure_that_aborts_is_buried_with_those_that_it_brought_down() -> None:
    run = ScriptedRun(workflow(task("a"), task("b")), lambda start: Failure("Broken", start.task)).finish()
    assert letters_of(run) == ["r-1/1/a", "r-1/1/b"]
    assert sum(map(is_letter, run.journal)) == 2
