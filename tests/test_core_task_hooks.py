"""Blocking hooks around tasks and stages: what waits for them, and what becomes of it when they fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actorflow.core.commands import CancelHook, RunHook, StartAttempt
from actorflow.core.events import (
    AttemptStarted,
    CancelRequested,
    Failure,
    HookFinished,
    HookLost,
    HookStarted,
    HookStatus,
    PauseRequested,
    Resumed,
    RunEnding,
    TaskFailed,
    TaskFinished,
)
from actorflow.spec.model import HookSpec
from tests.scenarios import BROKEN, ends_of, happened, hooks_on, script_of, task, workflow
from tests.scripted import Breakers, ScriptedRun

PLAIN = HookSpec(command="true")
STRICT = HookSpec(command="true", on_error="fail")
PREPARED = hooks_on(task_started=[STRICT, PLAIN])
FINISHED = hooks_on(task_finished=[STRICT, PLAIN])
STAGES = {"s0": ["a"], "s1": ["b"]}


def kinds_of(run: ScriptedRun) -> dict[str, type]:
    """What is running, by name."""
    return {name: type(each) for name, each in run.running.items()}


def failing(*, at: int = 0) -> Callable[[RunHook], HookStatus]:
    """A script in which the hook of that number in its list fails."""
    return lambda hook: "failed" if hook.index == at else "ok"


def test_a_task_prepares_before_its_first_attempt_and_never_again() -> None:
    spec = workflow(task("a", attempts=2), hooks=PREPARED)
    run = ScriptedRun(spec, script_of({"a": [BROKEN, 1]}))
    assert kinds_of(run) == {"a": RunHook}
    run.happen(run.outcome("a"))
    assert not happened(run, AttemptStarted)
    run.happen(run.outcome("a"))
    assert kinds_of(run) == {"a": StartAttempt}
    run.finish()
    assert (len(happened(run, HookStarted)), len(happened(run, AttemptStarted))) == (2, 2)


def test_what_waits_for_a_task_starts_when_its_last_hook_is_done() -> None:
    run = ScriptedRun(workflow(task("a", hooks=FINISHED), task("b", "a")))
    run.happen(run.outcome("a"))
    assert (run.state.task("a").status, kinds_of(run)) == ("finishing", {"a": RunHook})
    run.happen(run.outcome("a"))
    assert kinds_of(run) == {"a": RunHook}
    run.happen(run.outcome("a"))
    assert kinds_of(run) == {"b": StartAttempt}


def test_a_start_that_a_hook_refuses_fails_the_task_without_an_attempt() -> None:
    run = ScriptedRun(workflow(task("a"), hooks=PREPARED), hook=failing()).finish()
    assert ends_of(run) == "a failed"
    assert not happened(run, AttemptStarted)
    (failed,) = happened(run, TaskFailed)
    assert (failed.failure.type, failed.effect) == ("hook_failed", "fatal")
    assert failed.failure.message == "hook task_started[0] failed"


def test_a_hook_that_may_fail_leaves_the_task_as_it_is() -> None:
    spec = workflow(task("a", hooks=PREPARED), task("b", hooks=FINISHED))
    run = ScriptedRun(spec, hook=failing(at=1)).finish()
    assert (ends_of(run), run.state.hooks_failed_count) == ("a success, b success", 2)


def test_a_success_that_a_hook_refuses_is_a_failure_told_once() -> None:
    spec = workflow(task("a", strategy="finish", hooks=FINISHED), task("b", "a"))
    run = ScriptedRun(spec, lambda start: 1, failing()).finish()
    assert ends_of(run) == "a failed, b skipped upstream"
    assert (len(happened(run, TaskFailed)), happened(run, TaskFinished)) == (1, [])
    assert len(happened(run, HookStarted)) == 1
    assert run.state.task("a").output is None


@pytest.mark.parametrize("status", ["failed", "timed_out"])
def test_a_hook_that_fails_behind_a_failure_changes_nothing(status: HookStatus) -> None:
    spec = workflow(task("a", hooks=FINISHED))
    run = ScriptedRun(spec, lambda start: BROKEN, lambda hook: status).finish()
    (failed,) = happened(run, TaskFailed)
    (finished,) = happened(run, TaskFinished)
    assert (failed.failure, finished.status) == (BROKEN, "failed")


def test_a_stage_is_left_when_its_hooks_are_done() -> None:
    hooks = hooks_on(on_stage_complete=[STRICT, PLAIN])
    run = ScriptedRun(workflow(task("a"), task("b"), stages=STAGES, hooks=hooks))
    run.happen(run.outcome("a"))
    assert kinds_of(run) == {"stage s0": RunHook}
    run.happen(run.outcome("stage s0"))
    assert kinds_of(run) == {"stage s0": RunHook}
    run.happen(run.outcome("stage s0"))
    assert kinds_of(run) == {"b": StartAttempt}


def test_a_hook_that_fails_its_stage_ends_the_run() -> None:
    hooks = hooks_on(on_stage_complete=[STRICT])
    spec = workflow(task("a"), task("b"), task("c"), stages=STAGES, hooks=hooks)
    run = ScriptedRun(spec, hook=failing())
    run.happen(run.outcome("a"))
    run.happen(run.outcome("stage s0"))
    run.finish()
    assert ends_of(run) == "a success, b skipped upstream, c canceled"
    (ending,) = happened(run, RunEnding)
    assert ending.failure is not None
    assert (ending.outcome, ending.task, ending.failure.type) == ("failed", None, "hook_failed")


def test_a_stage_hook_that_cannot_be_rendered_ends_the_run_before_anything_else_starts() -> None:
    broken = HookSpec(action="log", params={"message": "{{ tasks.b.output }}"}, on_error="fail")
    spec = workflow(
        task("a"),
        task("b"),
        task("c", "a"),
        stages=STAGES,
        hooks=hooks_on(on_stage_complete=[broken], task_started=[PLAIN]),
    )
    run = ScriptedRun(spec)
    run.happen(run.outcome("a"))  # its hook
    run.happen(run.outcome("a"))
    run.finish()
    assert ends_of(run) == "a success, b skipped upstream, c skipped aborted"


def test_hooks_of_tasks_take_slots_as_attempts_do() -> None:
    spec = workflow(*(task(name, hooks=FINISHED) for name in "abcd"), max_parallel=2)
    run = ScriptedRun(spec)
    most = 0
    while run.running:
        most = max(most, len(run.running))
        run.happen(run.outcome(next(iter(run.running))))
    assert (most, ends_of(run)) == (2, "a success, b success, c success, d success")


def test_a_cancel_ends_what_prepares_and_lets_go_on_what_finishes() -> None:
    run = ScriptedRun(workflow(task("a", hooks=FINISHED), task("b", "a"), task("c", hooks=PREPARED)))
    run.happen(run.outcome("a"))
    run.happen(CancelRequested(run.now, ""))
    assert run.running["c"] == CancelHook("task_started", 0, "c")
    assert isinstance(run.running["a"], RunHook)
    run.finish()
    assert ends_of(run) == "a success, b skipped canceled, c skipped canceled"
    assert run.state.hooks_ok_count == 2


def test_a_waiting_task_that_is_canceled_has_the_hooks_of_its_end() -> None:
    breakers = Breakers()
    run = ScriptedRun(
        workflow(task("a", attempts=2, hooks=FINISHED)), lambda start: BROKEN, breakers=breakers
    )
    run.happen(run.outcome("a"))
    assert run.state.task("a").status == "waiting"
    run.happen(CancelRequested(run.now, ""))
    assert kinds_of(run) == {"a": RunHook}
    run.finish()
    assert [each.status for each in happened(run, TaskFinished)] == ["canceled"]


def test_a_pause_starts_no_hook_of_a_task_or_stage() -> None:
    hooks = hooks_on(task_started=[PLAIN], task_finished=[PLAIN], on_stage_complete=[PLAIN])
    run = ScriptedRun(workflow(task("a"), stages={"s": ["a"]}, hooks=hooks))
    for _ in ("to start", "an attempt", "to finish"):
        run.happen(PauseRequested(run.now, ""), run.outcome("a"))
        assert not run.running
        run.happen(Resumed(run.now))
    assert kinds_of(run) == {"stage s": RunHook}


def test_a_lost_hook_of_a_task_runs_again_and_what_was_done_does_not() -> None:
    spec = workflow(task("a", hooks=hooks_on(task_started=[PLAIN, PLAIN], task_finished=[PLAIN, PLAIN])))
    run = ScriptedRun(spec)
    while run.running:
        if isinstance(run.running["a"], RunHook):
            run.crash()
        run.happen(run.outcome("a"))
    ended = [(each.event, each.index) for each in happened(run, HookFinished)]
    assert ended == [(event, n) for event in ("task_started", "task_finished") for n in (0, 1)]
    assert len(happened(run, HookLost)) == 4


def test_each_generation_has_its_hooks_again_for_what_runs_again() -> None:
    spec = workflow(task("a"), task("b", "a"), hooks=hooks_on(task_started=[PLAIN], task_finished=[PLAIN]))
    run = ScriptedRun(spec, script_of({"b": [BROKEN, 1]})).finish()
    first = len(happened(run, HookStarted))
    run.next_generation()
    again = [(each.event, each.subject) for each in happened(run, HookStarted)[first:]]
    assert again == [("task_started", "b"), ("task_finished", "b")]


def test_delivery_ids_have_the_generation_the_subject_and_the_path() -> None:
    ids: list[str] = []

    def look(hook: RunHook) -> HookStatus:
        ids.append(hook.context.delivery_id)
        return "ok"

    hooks = hooks_on(task_started=[PLAIN], on_stage_complete=[PLAIN])
    own = hooks_on(task_finished=[PLAIN])
    ScriptedRun(workflow(task("a", hooks=own), stages={"s": ["a"]}, hooks=hooks), hook=look).finish()
    assert ids == [
        "r-1/1/a/task_started[0]",
        "r-1/1/a/tasks.a.task_finished[0]",
        "r-1/1/s/on_stage_complete[0]",
    ]


TRANSFORM = HookSpec(
    action="transform", params={"set": {"was": "{{ output }}"}, "output": "{{ output * 2 }}"}, on_error="fail"
)


@pytest.mark.parametrize(
    ("output", "ends"), [(2, "a success, b success"), (None, "a failed, b skipped upstream")]
)
def test_a_transform_makes_the_output_that_others_read_or_fails_as_a_hook_does(
    output: Any, ends: str
) -> None:
    spec = workflow(
        task("a", hooks=hooks_on(task_finished=[TRANSFORM])),
        task("b", "a", with_={"n": "{{ tasks.a.output }}"}),
    )
    run = ScriptedRun(spec, lambda start: output).finish()
    assert (ends_of(run), happened(run, HookStarted)) == (ends, [])
    if output is not None:
        assert run.starts[-1].input == {"n": 4}
        assert [each.record for each in happened(run, HookFinished)] == [{"vars": {"was": 2}, "output": 4}]


def test_what_a_transform_makes_of_a_failure_is_no_output() -> None:
    given = HookSpec(action="transform", params={"set": {}, "output": 1})
    run = ScriptedRun(
        workflow(task("a", hooks=hooks_on(task_finished=[given]))), lambda start: BROKEN
    ).finish()
    assert run.state.task("a").output is None


def test_what_a_transform_sets_is_seen_in_its_own_list_alone() -> None:
    seen: list[Any] = []

    def look(hook: RunHook) -> HookStatus:
        seen.append((hook.event, dict(hook.context.vars)))
        return "ok"

    sets = HookSpec(action="transform", params={"set": {"n": 1}})
    hooks = hooks_on(on_error=[sets, PLAIN], post_workflow=[PLAIN])
    ScriptedRun(workflow(task("a"), hooks=hooks), lambda start: BROKEN, look).finish()
    assert seen == [("on_error", {"n": 1}), ("post_workflow", {})]


@pytest.mark.parametrize(
    ("hook", "reason"),
    [
        (HookSpec(command="true", when="task.status == 'failed'"), "when is false"),
        (HookSpec(command="true", enabled="false"), "not enabled"),
    ],
)
def test_a_hook_that_is_not_wanted_is_passed_over_with_the_reason(hook: HookSpec, reason: str) -> None:
    run = ScriptedRun(workflow(task("a", hooks=hooks_on(task_finished=[hook])))).finish()
    (passed,) = happened(run, HookFinished)
    assert (passed.status, passed.record, run.state.hooks_skipped_count) == ("skipped", {"reason": reason}, 1)


def test_a_hook_is_disabled_by_failures_in_a_row_whichever_task_it_acts_for() -> None:
    statuses = iter(["failed", "ok", "failed", "failed"])
    hook = HookSpec(command="true", on_error="disable", disable_after=2)
    spec = workflow(*(task(name) for name in "abcdef"), hooks=hooks_on(task_finished=[hook]), max_parallel=1)
    run = ScriptedRun(spec, hook=lambda hook: next(statuses)).finish()
    found = [each.status for each in happened(run, HookFinished)]
    assert found == ["failed", "ok", "failed", "failed", "skipped", "skipped"]


def test_a_task_that_was_lost_too_often_has_the_hooks_of_its_end() -> None:
    run = ScriptedRun(workflow(task("a", max_losses=0, hooks=FINISHED)))
    run.crash()
    assert kinds_of(run) == {"a": RunHook}
    run.finish()
    (failed,) = happened(run, TaskFailed)
    assert failed.failure == Failure("lost", "cut off by a crash 1 times")
