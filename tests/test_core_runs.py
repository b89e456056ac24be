"""What can happen to a run as a whole: cancel, pause, crash, and another generation."""

from __future__ import annotations

import pytest

from actorflow.core.commands import CancelAttempt
from actorflow.core.events import (
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
    AttemptSucceeded,
    CancelRequested,
    PauseRequested,
    Resumed,
    RetryScheduled,
    RunEnding,
    TaskFailed,
)
from actorflow.core.state import RunState
from actorflow.core.step import next_generation, settle
from actorflow.errors import IllegalTransitionError
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

CANCEL = CancelRequested(1000.0, "operator")
PAUSE = PauseRequested(1000.0, "operator")


def outcomes_of(run: ScriptedRun) -> list[str]:
    return [event.outcome for event in happened(run, RunEnding)]


def starts_of(run: ScriptedRun) -> list[tuple[str, int, int]]:
    return [(start.task, start.attempt, start.loss) for start in run.starts]


def test_a_cancel_ends_what_runs_and_skips_what_does_not() -> None:
    run = ScriptedRun(workflow(task("a"), task("b", "a"), task("c"), max_parallel=1))
    run.happen(CANCEL)
    assert run.running == {"a": CancelAttempt("a", 1)}
    run.finish()
    assert ends_of(run) == "a canceled, b skipped canceled, c skipped canceled"
    assert outcomes_of(run) == ["canceled"]


def test_a_success_that_a_cancel_comes_too_late_for_counts() -> None:
    run = ScriptedRun(workflow(task("a"), task("b", "a")))
    run.happen(CANCEL)
    run.happen(AttemptSucceeded(1000.0, "a", 1, 1))
    assert ends_of(run) == "a success, b skipped canceled"
    assert outcomes_of(run) == ["canceled"]


def test_a_cancel_ends_what_waits_for_a_retry() -> None:
    run = ScriptedRun(workflow(task("a", attempts=2)), lambda start: BROKEN)
    run.happen(run.outcome("a"))
    run.happen(CANCEL)
    assert ends_of(run) == "a canceled"
    assert starts_of(run) == [("a", 1, 0)]


def test_a_failure_after_a_cancel_is_not_retried() -> None:
    run = ScriptedRun(workflow(task("a", attempts=9, fallbacks=["second"])))
    run.happen(CANCEL)
    run.happen(AttemptFailed(1000.0, "a", 1, BROKEN))
    assert ends_of(run) == "a failed"
    assert outcomes_of(run) == ["canceled"]


def test_a_cancel_of_a_run_that_is_aborting_makes_it_canceled() -> None:
    run = ScriptedRun(workflow(task("a"), task("b"), task("c"), max_parallel=2), lambda start: BROKEN)
    run.happen(run.outcome("a"))
    run.happen(CANCEL)
    run.finish()
    assert ends_of(run) == "a failed, b canceled, c skipped aborted"
    assert outcomes_of(run) == ["canceled"]


def test_a_cancel_while_pausing_ends_the_run() -> None:
    run = ScriptedRun(workflow(task("a"), task("b", "a")))
    run.happen(PAUSE)
    run.happen(CANCEL)
    run.finish()
    assert run.state.phase == "ended"
    assert outcomes_of(run) == ["canceled"]


def test_a_cancel_while_pausing_runs_post_workflow_without_a_resume() -> None:
    run = ScriptedRun(workflow(task("a"), hooks=hook_lists(post_workflow=1)))
    run.happen(PAUSE)
    run.happen(CANCEL)
    run.finish()
    assert run.state.phase == "ended"
    assert not any(isinstance(event, Resumed) for event in run.journal)


def test_a_cancel_that_a_crash_cut_off_goes_on() -> None:
    run = ScriptedRun(workflow(task("a"), task("b", "a")))
    run.happen(CANCEL)
    run.crash()
    assert ends_of(run) == "a canceled, b skipped canceled"
    assert outcomes_of(run) == ["canceled"]


def test_a_second_cancel_changes_nothing() -> None:
    run = ScriptedRun(workflow(task("a")))
    run.happen(CANCEL)
    before = snapshot(run.state)
    run.happen(CANCEL)
    assert snapshot(run.state) == before


def test_a_run_that_has_ended_can_not_be_canceled() -> None:
    run = ScriptedRun(workflow(task("a"))).finish()
    with pytest.raises(IllegalTransitionError):
        run.happen(CANCEL)


def test_a_pausing_run_starts_nothing_and_records_what_ends() -> None:
    run = ScriptedRun(
        workflow(task("a"), task("b", "a"), task("c", attempts=2)), script_of({"c": [BROKEN, 1]})
    )
    run.happen(PAUSE)
    run.happen(run.outcome("a"), run.outcome("c"))
    assert not run.running
    assert run.state.next_due_at() is None
    assert len(happened(run, RetryScheduled)) == 1
    run.happen(Resumed(1000.0))
    run.finish()
    assert ends_of(run) == "a success, b success, c success"


def test_a_pausing_run_with_nothing_left_to_do_ends() -> None:
    run = ScriptedRun(workflow(task("a")))
    run.happen(PAUSE)
    run.happen(run.outcome("a"))
    assert run.state.phase == "ended"


def test_a_failure_while_pausing_still_aborts() -> None:
    run = ScriptedRun(workflow(task("a"), task("b")), script_of({"a": [BROKEN]}))
    run.happen(PAUSE)
    run.happen(run.outcome("a"))
    run.finish()
    assert ends_of(run) == "a failed, b canceled"


def test_a_lost_attempt_runs_again_under_the_same_number() -> None:
    run = ScriptedRun(workflow(task("a", attempts=2)), script_of({"a": [BROKEN, 1]}))
    run.crash()
    run.crash()
    run.happen(run.outcome("a"))
    run.now = run.state.next_due_at() or 0.0
    run.happen()
    run.crash()
    run.finish()
    assert starts_of(run) == [("a", 1, 0), ("a", 1, 1), ("a", 1, 2), ("a", 2, 0), ("a", 2, 1)]
    assert ends_of(run) == "a success"


def test_a_lost_attempt_of_a_fallback_stays_with_the_fallback() -> None:
    run = ScriptedRun(workflow(task("a", fallbacks=["second"])), script_of({"a": [BROKEN, 1]}))
    run.happen(run.outcome("a"))
    run.crash()
    assert [(start.agent, start.attempt, start.loss) for start in run.starts] == [
        ("main", 1, 0),
        ("second", 2, 0),
        ("second", 2, 1),
    ]


def test_a_lost_attempt_waits_for_no_backoff() -> None:
    run = ScriptedRun(workflow(task("a")))
    run.crash()
    assert [event.at for event in happened(run, AttemptStarted)] == [1000.0, 1000.0]


def test_the_sixth_loss_of_a_task_fails_it() -> None:
    run = ScriptedRun(workflow(task("a", strategy="skip", attempts=9, fallbacks=["second"]), task("b", "a")))
    for _ in range(6):
        run.crash()
    (failed,) = happened(run, TaskFailed)
    assert (failed.failure.type, failed.effect) == ("lost", "tolerated")
    run.finish()
    assert ends_of(run) == "a failed, b success"
    assert starts_of(run) == [*(("a", 1, loss) for loss in range(6)), ("b", 1, 0)]


def test_losses_count_afresh_in_a_generation() -> None:
    run = ScriptedRun(workflow(task("a")))
    for _ in range(6):
        run.crash()
    assert ends_of(run) == "a failed"
    run.happen(next_generation(run.state, run.now))
    for _ in range(5):
        run.crash()
    run.finish()
    assert ends_of(run) == "a success"
    assert starts_of(run)[-1] == ("a", 2, 5)


def test_losses_of_all_attempts_of_a_task_count_together() -> None:
    run = ScriptedRun(workflow(task("a", attempts=2)), script_of({"a": [BROKEN, 1]}))
    for _ in range(3):
        run.crash()
    run.happen(run.outcome("a"))
    run.now = run.state.next_due_at() or 0.0
    run.happen()
    for _ in range(3):
        run.crash()
    assert ends_of(run) == "a failed"


def test_a_crash_before_a_wait_is_over_keeps_the_time_it_is_due() -> None:
    run = ScriptedRun(workflow(task("a", attempts=2)), script_of({"a": [BROKEN, 1]}))
    run.happen(run.outcome("a"))
    due_at = run.state.next_due_at()
    run.now += 0.25
    run.crash()
    assert run.state.next_due_at() == due_at == 1001.0
    run.now = 5000.0
    run.crash()
    assert starts_of(run)[-1] == ("a", 2, 0)


def test_a_failure_without_a_verdict_is_asked_about_again_after_a_crash() -> None:
    run = ScriptedRun(workflow(task("a", attempts=2)))
    run.journal.append(AttemptFailed(1000.0, "a", 1, BROKEN))
    run.crash()
    assert len(happened(run, RetryScheduled)) == 1
    assert not happened(run, AttemptLost)


def test_a_fold_of_the_journal_is_the_state_that_lived() -> None:
    run = ScriptedRun(
        workflow(task("a", attempts=2), task("b", "a"), task("c")),
        script_of({"a": [BROKEN, 1], "c": [TIMEOUT]}),
    )
    run.finish()
    run.next_generation()
    folded = RunState(run.state.plan)
    for event in run.journal:
        folded.apply(event)
    assert snapshot(folded) == snapshot(run.state)


def test_another_generation_opens_what_did_not_succeed_and_nothing_else() -> None:
    spec = workflow(
        task("ok"),
        task("bad", "ok", strategy="finish"),
        task("below", "bad"),
        task("tolerated", "ok", strategy="skip"),
        task("after", "tolerated"),
        task("ruled-out", "ok", when="false"),
        task("ruled-out-below", "tolerated", when="tasks.tolerated.output == 1"),
    )
    results = {"bad": [BROKEN, 1], "tolerated": [BROKEN, 1]}
    run = ScriptedRun(spec, script_of(results)).finish()
    assert ends_of(run) == (
        "ok success, bad failed, below skipped upstream, tolerated failed, after success, "
        "ruled-out skipped when, ruled-out-below skipped when"
    )
    first = len(run.starts)
    run.next_generation()
    assert sorted(start.task for start in run.starts[first:]) == [
        "bad",
        "below",
        "ruled-out-below",
        "tolerated",
    ]
    assert ends_of(run) == (
        "ok success, bad success, below success, tolerated success, after success, "
        "ruled-out skipped when, ruled-out-below success"
    )
    assert outcomes_of(run) == ["failed", "success"]


def test_another_generation_opens_what_was_canceled_and_aborted() -> None:
    spec = workflow(task("a"), task("b"), task("c"), max_parallel=2)
    run = ScriptedRun(spec, script_of({"a": [BROKEN, 1]}))
    run.happen(run.outcome("a"))
    run.finish()
    assert ends_of(run) == "a failed, b canceled, c skipped aborted"
    run.next_generation()
    assert ends_of(run) == "a success, b success, c success"


def test_a_canceled_run_may_go_on_as_another_generation() -> None:
    run = ScriptedRun(workflow(task("a"), task("b", "a")))
    run.happen(CANCEL)
    run.finish()
    run.next_generation()
    assert ends_of(run) == "a success, b success"
    assert outcomes_of(run) == ["canceled", "success"]


def test_attempt_numbers_go_on_and_limits_start_afresh_in_a_generation() -> None:
    run = ScriptedRun(workflow(task("a", attempts=2, fallbacks=["second"])), lambda start: BROKEN).finish()
    run.next_generation()
    assert [(start.agent, start.attempt) for start in run.starts] == [
        ("main", 1),
        ("main", 2),
        ("second", 3),
        ("second", 4),
        ("main", 5),
        ("main", 6),
        ("second", 7),
        ("second", 8),
    ]


def test_the_idempotency_key_is_one_for_a_generation_of_a_task() -> None:
    run = ScriptedRun(workflow(task("a", attempts=2, fallbacks=["second"])), lambda start: BROKEN)
    run.crash()
    run.finish()
    assert len(run.starts) == 5
    assert {start.idempotency_key for start in run.starts} == {"r-1/a/1"}
    run.next_generation()
    assert {start.idempotency_key for start in run.starts[5:]} == {"r-1/a/2"}


def test_a_generation_must_follow_the_one_before() -> None:
    run = ScriptedRun(workflow(task("a")))
    with pytest.raises(IllegalTransitionError):
        run.happen(next_generation(run.state, run.now))


def test_asking_for_commands_changes_nothing() -> None:
    run = ScriptedRun(workflow(task("a", attempts=2), task("b", "a")), lambda start: BROKEN)
    run.happen(run.outcome("a"))
    before = snapshot(run.state)
    assert run.state.commands(2000.0) == run.state.commands(2000.0) != []
    assert run.state.commands(1000.0) == []
    assert run.state.next_due_at() == 1001.0
    assert snapshot(run.state) == before


def test_a_settled_run_has_nothing_more_to_settle() -> None:
    run = ScriptedRun(workflow(task("a"), task("b")))
    step = settle(run.state, run.now, lambda failed: pytest.fail("nothing failed"))
    assert (step.events, step.actions) == ([], [])
