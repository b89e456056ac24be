"""What a run may use: retries out of one budget, and time until a deadline, counted while somebody owns the run."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow.core.commands import CancelAttempt
from actorflow.core.events import (
    AttemptStarted,
    AttemptSucceeded,
    BudgetExhausted,
    CancelRequested,
    DefinitionChanged,
    Event,
    Failure,
    FallbackChosen,
    GenerationStarted,
    PauseRequested,
    Resumed,
    RetryScheduled,
    RunDeadlinePassed,
    RunEnding,
    SignalReceived,
    TaskDeadlinePassed,
)
from actorflow.core.step import next_generation, recovered
from actorflow.errors import IllegalTransitionError
from actorflow.spec.model import RetrySpec, TaskSpec, WorkflowSpec
from tests.random_runs import random_workflow
from tests.scenarios import (
    BROKEN,
    TIMEOUT,
    ends_of,
    happened,
    hook_lists,
    script_of,
    snapshot,
    task,
    workflow,
)
from tests.scripted import ScriptedRun


def failing(spec: WorkflowSpec) -> ScriptedRun:
    return ScriptedRun(spec, lambda start: BROKEN).finish()


def many(count: int, **more: Any) -> list[TaskSpec]:
    return [task(f"t{i}", strategy="finish", attempts=3, **more) for i in range(count)]


@pytest.mark.parametrize("budget", [0, 1, 2, 7, 100])
def test_many_failures_in_one_step_spend_no_more_than_the_budget(budget: int) -> None:
    run = failing(workflow(*many(8), retry_budget=budget))
    assert len(happened(run, RetryScheduled)) == min(budget, 16)
    assert len(run.starts) == 8 + min(budget, 16)


def test_that_the_budget_is_empty_is_noted_once() -> None:
    run = failing(workflow(*many(3), retry_budget=1))
    assert [event.task for event in happened(run, BudgetExhausted)] == ["t1"]


def test_a_budget_that_was_just_enough_is_not_exhausted() -> None:
    run = ScriptedRun(workflow(task("a", attempts=2), retry_budget=1), script_of({"a": [BROKEN, 1]}))
    assert happened(run.finish(), BudgetExhausted) == []


def test_without_a_budget_fallbacks_get_one_attempt_each() -> None:
    run = failing(workflow(*many(1, fallbacks=["second", "third"]), retry_budget=1))
    assert [start.agent for start in run.starts] == ["main", "main", "second", "third"]


def test_what_crashes_cut_off_takes_nothing_from_the_budget() -> None:
    run = ScriptedRun(workflow(task("a", attempts=2), retry_budget=1), script_of({"a": [BROKEN, 1]}))
    for _ in range(4):
        run.crash()
    run.finish()
    assert (ends_of(run), len(happened(run, BudgetExhausted))) == ("a success", 0)


def test_what_was_spent_is_spent_after_a_crash() -> None:
    run = ScriptedRun(workflow(task("a", attempts=4), retry_budget=1), lambda start: BROKEN)
    run.happen(run.outcome("a"))
    run.crash()
    run.finish()
    assert len(happened(run, RetryScheduled)) == 1


def test_each_generation_has_the_whole_budget() -> None:
    run = failing(workflow(task("a", attempts=9), retry_budget=2))
    run.next_generation()
    assert (len(run.starts), len(happened(run, BudgetExhausted))) == (6, 2)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**48))
def test_no_history_overspends_the_budget_or_starts_an_attempt_past_its_deadline(seed: int) -> None:
    draw = Random(seed)
    spec = random_workflow(draw)
    run = lived(spec, draw)
    spent, deadlines, tasks = 0, dict[str, float](), {each.id: each for each in spec.tasks}
    alive_at = 0.0
    for event in run.journal:
        match event:
            case GenerationStarted():
                spent = 0
                deadlines.clear()
            case RetryScheduled():
                spent += 1
                assert spec.limits.retry_budget is None or spent <= spec.limits.retry_budget
            case AttemptStarted(at=at, task=name) if (deadline := tasks[name].deadline) is not None:
                assert at < deadlines.setdefault(name, at + deadline)
            case Resumed(at=at):
                deadlines = {name: until + at - alive_at for name, until in deadlines.items()}
            case _:
                pass
        if "Lost" not in type(event).__name__:
            alive_at = event.at


def lived(spec: WorkflowSpec, draw: Random) -> ScriptedRun:
    """A run of many failures, waits and crashes."""
    run = ScriptedRun(spec, lambda start: BROKEN if draw.random() < 0.7 else 1)
    for byte in draw.randbytes(50):
        running = list(run.running)
        match byte % 8:
            case 0 if run.state.phase != "ended":
                run.now += byte / 16
                run.crash()
            case 1:
                run.now += byte / 64
                run.happen()
            case 2 if run.state.phase == "ended":
                run.happen(next_generation(run.state, run.now))
            case _ if running:
                run.happen(run.outcome(running[byte // 8 % len(running)]))
            case _ if (due_at := run.state.next_due_at()) is not None:
                run.now = max(run.now, due_at)
                run.happen()
            case _:
                pass
    return run


def test_an_attempt_has_what_is_left_of_the_deadline() -> None:
    run = ScriptedRun(workflow(task("a", attempts=3, deadline=10.0, timeout=8.0)), script_of({"a": [BROKEN]}))
    run.now += 4.0
    run.happen(run.outcome("a"))
    run.finish()
    assert [(start.timeout, start.deadline) for start in run.starts] == [
        (8.0, None),
        (5.0, 10.0),
        (4.0, 10.0),
    ]


def test_an_attempt_that_times_out_at_the_deadline_is_the_last() -> None:
    run = ScriptedRun(
        workflow(task("a", attempts=3, fallbacks=["second"], deadline=10.0)), script_of({"a": [TIMEOUT]})
    )
    run.now += 10.0
    run.finish()
    assert (ends_of(run), len(run.starts)) == ("a failed", 1)


def test_a_retry_that_would_come_too_late_is_not_waited_for() -> None:
    run = failing(workflow(task("a", attempts=3, fallbacks=["second"], deadline=0.5)))
    assert [(start.agent, start.timeout) for start in run.starts] == [("main", 0.5), ("second", 0.5)]
    assert run.now == 1000.0


def without_a_slot(**more: Any) -> ScriptedRun:
    """`a` waits for its retry until 1001, and has until 1005; `b` has the only slot."""
    spec = workflow(task("a", attempts=2, deadline=5.0, **more), task("b"), max_parallel=1)
    run = ScriptedRun(spec, script_of({"a": [BROKEN]}))
    run.happen(run.outcome("a"))
    assert list(run.running) == ["b"]
    return run


def test_a_deadline_that_comes_while_no_slot_is_free_is_noticed_when_it_comes() -> None:
    run = without_a_slot(strategy="finish")
    assert run.state.next_due_at() == 1005.0
    run.now = 1005.0
    run.happen()
    assert [event.at for event in happened(run, TaskDeadlinePassed)] == [1005.0]
    assert list(run.running) == ["b"]
    run.finish()
    assert [start.task for start in run.starts] == ["a", "b"]
    assert ends_of(run) == "a failed, b success"


def test_what_a_fatal_deadline_aborts_is_canceled_when_it_comes() -> None:
    run = without_a_slot()
    run.now = 1005.0
    run.happen()
    assert run.running["b"] == CancelAttempt("b", 1)


def test_a_deadline_that_comes_while_the_run_pauses_waits_for_its_end() -> None:
    run = without_a_slot()
    run.happen(PauseRequested(1000.0, ""))
    run.now = 1005.0
    run.happen()
    assert (happened(run, TaskDeadlinePassed), run.state.next_due_at()) == ([], None)


def test_what_is_lost_for_good_after_its_deadline_fails_once() -> None:
    """Its body went on after its deadline, and then its process died."""
    run = ScriptedRun(workflow(task("a", deadline=5.0, idempotent=False), task("b", strategy="finish")))
    run.now = 1010.0
    run.happen(run.outcome("b"))
    run.crash()
    failure = run.state.task("a").failure
    assert failure is not None
    assert (failure.type, happened(run, TaskDeadlinePassed)) == ("lost", [])


def test_what_is_over_at_its_deadline_takes_its_fallback_value() -> None:
    run = without_a_slot(value=7)
    run.now += 7.0
    run.finish()
    assert (run.state.task("a").status, run.state.task("a").output) == ("success", 7)


def test_a_deadline_that_has_not_passed_cannot_have() -> None:
    run = ScriptedRun(workflow(task("a", attempts=2, deadline=5.0), deadline=9.0), script_of({"a": [BROKEN]}))
    run.happen(run.outcome("a"))
    before = snapshot(run.state)
    for event in (TaskDeadlinePassed(1004.0, "a"), RunDeadlinePassed(1008.0)):
        with pytest.raises(IllegalTransitionError):
            run.state.apply(event)
        assert snapshot(run.state) == before


@pytest.mark.parametrize(
    ("beside", "gap"),
    [
        ([], 100.0),
        ([DefinitionChanged(1102.0, "other", {})], 100.0),  # by the process that takes it up
        ([SignalReceived(1050.0, "go", None, "s-1")], 100.0),  # by one that only passes by
        ([PauseRequested(1003.0, "")], 99.0),
    ],
    ids=["crash", "another definition", "a signal", "a pause"],
)
def test_time_without_an_owner_does_not_count(beside: list[Event], gap: float) -> None:
    spec = workflow(task("a", attempts=2, deadline=10.0), deadline=20.0)
    run = ScriptedRun(spec, script_of({"a": [BROKEN]}))
    run.now = 1002.0
    run.happen(run.outcome("a"))
    for event in beside:
        run.state.apply(event)
    run.now = 1102.0
    for event in recovered(run.state, run.now):
        run.state.apply(event)
    assert (run.state.deadline_at, run.state.task("a").deadline_at) == (1020.0 + gap, 1010.0 + gap)


def test_time_with_an_owner_counts_over_a_crash() -> None:
    run = ScriptedRun(workflow(task("a"), deadline=20.0))
    run.now = 1015.0
    run.happen(SignalReceived(1015.0, "go", None, "s-1"), CancelRequested(1015.0, ""))
    assert run.state.deadline_at == 1020.0


def test_a_run_fails_at_its_deadline_and_cancels_what_runs() -> None:
    spec = workflow(
        task("a"),
        task("h", on_failure_of=("a",)),
        task("b", "a"),
        deadline=5.0,
        hooks=hook_lists(post_workflow=1, on_error=1),
    )
    run = ScriptedRun(spec)
    assert run.state.next_due_at() == 1005.0
    run.now = 1005.0
    run.happen()
    run.finish()
    assert ends_of(run) == "a canceled, h skipped aborted, b skipped aborted"
    [ending] = happened(run, RunEnding)
    assert ending.outcome == "failed"
    assert ending.failure == Failure("timeout", "the run was not done within its deadline of 5 s")
    assert (run.state.phase, run.state.hooks_ok_count) == ("ended", 2)


def test_a_run_may_be_over_at_its_deadline_while_it_is_set_up() -> None:
    run = ScriptedRun(workflow(task("a"), deadline=5.0, hooks=hook_lists(pre_workflow=2)))
    run.now = 1006.0
    run.happen()
    run.finish()
    assert (ends_of(run), run.state.ending and run.state.ending.outcome) == ("a skipped aborted", "failed")


def test_a_failure_before_the_deadline_is_the_cause() -> None:
    run = ScriptedRun(
        workflow(task("a", strategy="finish"), task("b"), deadline=5.0), script_of({"a": [BROKEN]})
    )
    run.happen(run.outcome("a"))
    run.now = 1005.0
    run.happen()
    run.finish()
    assert len(happened(run, RunDeadlinePassed)) == 1
    assert run.state.ending is not None
    assert (run.state.ending.failure, run.state.ending.task) == (BROKEN, "a")


@pytest.mark.parametrize("event", [PauseRequested(1001.0, ""), CancelRequested(1001.0, "")])
def test_a_run_that_is_to_pause_or_to_end_has_no_deadline_to_meet(event: Event) -> None:
    run = ScriptedRun(workflow(task("a"), deadline=5.0))
    run.happen(event)
    assert run.state.next_due_at() is None
    run.now = 1100.0
    run.happen()
    assert happened(run, RunDeadlinePassed) == []


def test_a_run_whose_tasks_have_ended_has_met_its_deadline() -> None:
    run = ScriptedRun(workflow(task("a"), deadline=5.0, hooks=hook_lists(post_workflow=1)))
    run.happen(AttemptSucceeded(1004.0, "a", 1, None))
    run.running.pop("a")
    run.now = 1100.0
    run.finish()
    assert run.state.ending is not None
    assert (run.state.ending.outcome, happened(run, RunDeadlinePassed)) == ("success", [])


def test_each_generation_has_the_whole_deadline() -> None:
    run = ScriptedRun(workflow(task("a", deadline=3.0), deadline=5.0))
    run.now = 1005.0
    run.happen()
    run.finish()
    run.now = 5000.0
    run.happen(next_generation(run.state, run.now))
    assert (run.state.deadline_at, run.state.task("a").deadline_at) == (5005.0, 5003.0)
    assert run.finish().state.task("a").status == "success"


def test_delays_are_those_of_the_seed_in_any_order_of_events() -> None:
    retry = RetrySpec(max_attempts=4, delay=8.0, jitter="equal", max_delay=20.0)
    spec = workflow(task("a", retry=retry, fallbacks=["second"]), task("b", retry=retry, strategy="finish"))
    run = failing(spec)
    attempts = Counter[str]()
    for event in run.journal:
        if isinstance(event, FallbackChosen):
            attempts[event.task] = 0
        if isinstance(event, RetryScheduled):
            attempts[event.task] += 1
            full = min(8.0 * 2 ** (attempts[event.task] - 1), 20.0)
            drawn = Random(f"r-1/{event.task}/{event.attempt - 1}").uniform(full / 2, full)
            assert event.due_at == event.at + drawn
    assert sum(attempts.values()) == 6
