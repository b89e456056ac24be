"""What a task may say beyond its edges: sleep, priority, outputs, fallback values, what is retried, what a loss means.

The clock jumps; a test that says how long something waited says it to the fraction of a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from attrs import evolve

from actorflow.core.events import (
    AttemptFailed,
    AttemptLost,
    CancelRequested,
    Failure,
    FallbackChosen,
    FallbackValueUsed,
    PauseRequested,
    Resumed,
    RetryScheduled,
    SleepStarted,
    TaskFailed,
    TaskSkipped,
)
from actorflow.runtime.result import result_of
from actorflow.spec import load_dict
from actorflow.spec.model import OnErrorSpec
from tests.scenarios import BROKEN, NOT_FOUND, TIMEOUT, ends_of, happened, script_of, task, workflow
from tests.scripted import ScriptedRun

TWICE = {"max_attempts": 2, "delay": "1s", "jitter": "none"}


def begun(
    tasks: Mapping[str, Mapping[str, Any]],
    results: Mapping[str, Sequence[object]] | None = None,
    env: Mapping[str, str] | None = None,
    **more: Any,
) -> ScriptedRun:
    """A run that has begun, of tasks with an agent of their own name each."""
    whole = {name: {"agent": name, **fields} for name, fields in tasks.items()}
    spec = load_dict({"name": "w", "tasks": whole, "env": list(env or {}), **more}, trust="own")
    return ScriptedRun(spec, script_of(results or {}), env=env or {})


def let_come_due(run: ScriptedRun) -> None:
    """Jump to when something waiting is due."""
    run.now = run.state.next_due_at() or 0.0
    run.happen()


def starts_of(run: ScriptedRun) -> list[str]:
    return [start.task for start in run.starts]


def input_of(run: ScriptedRun, name: str) -> Any:
    """What the last attempt of a task was given."""
    return next(start.input for start in reversed(run.starts) if start.task == name)


def failure_of(run: ScriptedRun, name: str) -> Failure:
    failure = run.state.task(name).failure
    assert failure is not None
    return failure


# sleep


def test_a_task_sleeps_exactly_as_long_as_it_says_once_its_edges_are_satisfied() -> None:
    run = begun({"a": {}, "b": {"depends_on": ["a"], "sleep": "2500ms"}})
    run.now = 1010.0
    run.happen(run.outcome("a"))
    assert happened(run, SleepStarted) == [SleepStarted(1010.0, "b", 1012.5)]
    run.now = 1012.4
    run.happen()
    assert starts_of(run) == ["a"]
    let_come_due(run)
    assert (run.now, starts_of(run)) == (1012.5, ["a", "b"])


def test_a_task_that_sleeps_takes_no_slot() -> None:
    run = begun({"a": {"sleep": "9s"}, "b": {}}, limits={"max_parallel": 1})
    assert starts_of(run) == ["b"]
    assert ends_of(run.finish()) == "a success, b success"


def test_when_is_evaluated_before_the_sleep_and_not_after_it() -> None:
    run = begun(
        {"a": {"sleep": "1h", "when": "{{ now() < 1001 }}"}, "b": {"sleep": "1h", "when": "{{ 1 > 2 }}"}}
    )
    assert happened(run, SleepStarted) == [SleepStarted(1000.0, "a", 4600.0)]
    assert happened(run, TaskSkipped) == [TaskSkipped(1000.0, "b", "when")]
    assert ends_of(run.finish()) == "a success, b skipped when"


def test_templates_that_can_not_be_rendered_fail_a_task_before_it_sleeps() -> None:
    run = begun({"a": {"sleep": "1h", "with": {"n": "{{ 1 / len(input) }}"}}})
    assert ends_of(run) == "a failed"
    assert not happened(run, SleepStarted)


def test_a_task_sleeps_once_however_often_it_is_tried() -> None:
    run = begun({"a": {"sleep": "5s", "retry": TWICE}}, {"a": [BROKEN, 1]}).finish()
    assert [event.due_at for event in happened(run, SleepStarted)] == [1005.0]
    assert [event.due_at for event in happened(run, RetryScheduled)] == [1006.0]
    assert run.now == 1006.0


def test_a_crash_in_the_middle_of_a_sleep_keeps_the_time_it_ends() -> None:
    run = begun({"a": {"sleep": "1m"}})
    run.now = 1059.0
    run.crash()
    assert run.state.next_due_at() == 1060.0
    run.now = 1061.0
    run.crash()
    assert starts_of(run) == ["a"]
    assert len(happened(run, SleepStarted)) == 1
    assert not happened(run, AttemptLost)


def test_a_crash_after_a_sleep_does_not_send_the_task_to_sleep_again() -> None:
    run = begun({"a": {"sleep": "1m"}})
    let_come_due(run)
    run.crash()
    assert [(start.attempt, start.loss) for start in run.starts] == [(1, 0), (1, 1)]
    assert len(happened(run, SleepStarted)) == 1


def test_a_task_that_is_canceled_in_its_sleep_is_skipped() -> None:
    run = begun({"a": {"sleep": "1m"}})
    run.happen(CancelRequested(1000.0, ""))
    assert ends_of(run) == "a skipped canceled"


def test_a_task_whose_run_is_aborted_in_its_sleep_is_skipped() -> None:
    run = begun({"a": {"sleep": "1m"}, "b": {}}, {"b": [BROKEN]}).finish()
    assert ends_of(run) == "a skipped aborted, b failed"
    assert run.now == 1000.0


def test_a_clean_up_task_sleeps_and_starts_although_the_run_is_aborted() -> None:
    tasks = {"a": {}, "z": {"sleep": "3s", "depends_on": [{"task": "a", "on": "always"}]}}
    run = begun(tasks, {"a": [BROKEN]}).finish()
    assert ends_of(run) == "a failed, z success"
    assert run.now == 1003.0


def test_a_pause_does_not_stop_the_clock_of_a_sleep() -> None:
    run = begun({"a": {"sleep": "1m"}, "b": {"sleep": "1h"}})
    run.happen(PauseRequested(1000.0, ""))
    assert run.state.next_due_at() is None
    run.now = 1070.0
    run.happen()
    assert not run.starts
    run.happen(Resumed(1070.0))
    assert starts_of(run) == ["a"]
    assert run.state.next_due_at() == 4600.0


def test_a_task_that_runs_again_in_another_generation_sleeps_again() -> None:
    run = begun({"a": {"sleep": "10s"}}, {"a": [BROKEN, 1]}).finish()
    run.next_generation()
    assert [event.due_at for event in happened(run, SleepStarted)] == [1010.0, 1020.0]
    assert ends_of(run) == "a success"


# priority

PRIORITIES = {"late": {"priority": 5}, "c": {}, "a": {}, "first": {"priority": -1}, "b": {}}


def test_ready_tasks_start_by_priority_and_in_file_order_where_it_is_the_same() -> None:
    run = begun(PRIORITIES, limits={"max_parallel": 1}).finish()
    assert starts_of(run) == ["first", "c", "a", "b", "late"]


def test_results_are_shown_in_file_order_whatever_the_priorities() -> None:
    run = begun(PRIORITIES).finish()
    assert list(result_of(run.state, []).tasks) == list(PRIORITIES)


def test_a_task_that_is_ready_does_not_wait_for_one_of_a_better_priority_that_is_not() -> None:
    tasks = {"a": {}, "b": {}, "urgent": {"priority": -9, "depends_on": ["a"]}}
    run = begun(tasks, limits={"max_parallel": 1}).finish()
    assert starts_of(run) == ["a", "urgent", "b"]


def test_a_retry_that_is_due_starts_by_its_priority_as_well() -> None:
    tasks = {"a": {"priority": 1, "retry": TWICE}, "b": {"priority": 2}, "c": {"priority": 0, "sleep": "1s"}}
    run = begun(tasks, {"a": [BROKEN, 1]}, limits={"max_parallel": 1})
    run.happen(run.outcome("a"))
    run.now = 1001.0
    run.happen(run.outcome("b"))
    run.finish()
    assert starts_of(run) == ["a", "b", "c", "a"]


# outputs of a task


def test_readers_see_what_outputs_make_of_what_the_agent_returned() -> None:
    tasks = {
        "a": {"outputs": {"sum": "{{ output.x + output.y }}", "by": "{{ task.id }} #{{ task.attempt }}"}},
        "b": {"depends_on": ["a"], "with": {"got": "{{ tasks.a.output }}"}},
    }
    run = begun(tasks, {"a": [{"x": 1, "y": 2}]}, outputs={"all": "{{ tasks.a.output.sum }}"}).finish()
    assert input_of(run, "b") == {"got": {"sum": 3, "by": "a #1"}}
    assert result_of(run.state, []).outputs == {"all": 3}


def test_outputs_that_can_not_be_rendered_fail_the_attempt_which_is_retried() -> None:
    tasks = {"a": {"retry": TWICE, "outputs": {"x": "{{ output.x }}"}}}
    run = begun(tasks, {"a": [{"y": 1}, {"x": 2}]}).finish()
    (failed,) = happened(run, AttemptFailed)
    assert failed.failure.type == "expression"
    assert failed.failure.message.startswith("outputs: ")
    assert (run.state.task("a").output, len(run.starts)) == ({"x": 2}, 2)


def test_outputs_that_can_never_be_rendered_fail_the_task_in_the_end() -> None:
    tasks = {"a": {"retry": TWICE, "outputs": {"x": "{{ output.x }}"}, "on_error": {"next": "h"}}, "h": {}}
    run = begun(tasks).finish()
    assert ends_of(run) == "a failed, h success"
    assert failure_of(run, "a").type == "expression"


def test_outputs_read_the_input_of_their_task_and_the_tasks_before() -> None:
    tasks = {
        "a": {},
        "b": {
            "depends_on": ["a"],
            "with": {"n": "{{ tasks.a.output + 1 }}"},
            "outputs": {"all": "{{ [tasks.a.output, task.input.n, output] }}"},
        },
    }
    run = begun(tasks, {"a": [1], "b": [3]}).finish()
    assert run.state.task("b").output == {"all": [1, 2, 3]}


def test_a_fallback_value_is_the_output_as_it_is_without_the_mapping() -> None:
    tasks = {"a": {"outputs": {"x": "{{ output.x }}"}, "on_error": {"fallback_value": "none"}}}
    assert begun(tasks, {"a": [BROKEN]}).finish().state.task("a").output == "none"


# fallback_value


def test_a_fallback_value_is_used_after_every_attempt_of_every_agent() -> None:
    tasks = {"a": {"retry": TWICE, "on_error": {"fallback_agent": "b", "fallback_value": {"total": 0}}}}
    run = begun(tasks, {"a": [BROKEN]}).finish()
    assert [start.agent for start in run.starts] == ["a", "a", "b", "b"]
    assert happened(run, FallbackValueUsed) == [FallbackValueUsed(1002.0, "a", {"total": 0})]
    assert not happened(run, TaskFailed)
    assert not run.state.had_errors


@pytest.mark.parametrize("value", [None, False, 0, "", []])
def test_a_fallback_value_may_be_any_value(value: object) -> None:
    run = begun({"a": {"on_error": {"fallback_value": value}}}, {"a": [BROKEN]}).finish()
    assert (ends_of(run), run.state.task("a").output) == ("a success", value)


def test_a_fallback_value_reads_the_failure_and_its_task_as_they_were() -> None:
    value = {
        "why": "{{ error.type }}: {{ error.message }}",
        "who": "{{ error.task }} #{{ error.attempt }}",
        "task": "{{ [task.id, task.attempt, task.status, task.error.message, task.input.try] }}",
    }
    tasks = {
        "a": {"retry": TWICE, "with": {"try": "{{ task.attempt }}"}, "on_error": {"fallback_value": value}}
    }
    run = begun(tasks, {"a": [TIMEOUT, BROKEN]}).finish()
    assert run.state.task("a").output == {
        "why": "Broken: no luck",
        "who": "a #2",
        "task": ["a", 2, "running", "no luck", 2],
    }


def test_a_fallback_value_that_can_not_be_rendered_fails_the_task() -> None:
    run = begun(
        {"a": {"on_error": {"fallback_value": "{{ 1 / len(input) }}", "next": "h"}}, "h": {}}, {"a": [BROKEN]}
    )
    run.finish()
    assert ends_of(run) == "a failed, h success"
    assert failure_of(run, "a").type == "expression"
    assert failure_of(run, "a").message.startswith("no luck; and its fallback_value cannot be rendered: ")


def test_no_fallback_value_is_used_once_the_run_is_canceled() -> None:
    run = begun({"a": {"on_error": {"fallback_value": 0}}})
    run.happen(CancelRequested(1000.0, ""))
    run.happen(AttemptFailed(1000.0, "a", 1, BROKEN))
    assert ends_of(run) == "a failed"


def test_a_crash_between_a_failure_and_its_fallback_value_changes_nothing() -> None:
    run = begun({"a": {"on_error": {"fallback_value": 7}}})
    run.journal.append(AttemptFailed(1000.0, "a", 1, BROKEN))
    run.crash()
    assert (ends_of(run), run.state.task("a").output) == ("a success", 7)


# what is retried

EXIT_3 = Failure("exit_status", "exit status 3", {"exit_status": 3})
HTTP_503 = Failure("http_status", "503 Service Unavailable", {"http_status": 503})


@pytest.mark.parametrize(
    ("rule", "failure", "is_retried"),
    [
        ({"retry_on": ["Broken"]}, BROKEN, True),
        ({"retry_on": ["Broken"]}, TIMEOUT, False),
        ({"retry_on": [3, 4]}, EXIT_3, True),
        ({"retry_on": [4]}, EXIT_3, False),
        ({"retry_on": ["exit_status"]}, EXIT_3, True),
        ({"retry_on": [503]}, HTTP_503, True),
        ({"retry_on": [429, "timeout"]}, HTTP_503, False),
        ({"no_retry_on": ["Broken"]}, BROKEN, False),
        ({"no_retry_on": ["Broken"]}, TIMEOUT, True),
        ({"no_retry_on": [3]}, EXIT_3, False),
        ({"no_retry_on": [503]}, HTTP_503, False),
        ({"retry_on": ["exit_status"], "no_retry_on": [3]}, EXIT_3, False),
        ({"retry_on": ["not_found"]}, NOT_FOUND, False),
    ],
)
def test_what_is_retried_goes_by_type_and_status(
    rule: dict[str, Any], failure: Failure, is_retried: bool
) -> None:
    run = begun({"a": {"retry": {**TWICE, **rule}, "on_error": {"fallback_agent": "b"}}}, {"a": [failure, 1]})
    run.happen(run.outcome("a"))
    verdict = RetryScheduled if is_retried else FallbackChosen
    assert [type(event) for event in run.journal if isinstance(event, RetryScheduled | FallbackChosen)] == [
        verdict
    ]


# losses


@pytest.mark.parametrize("most", [0, 1, 5])
def test_a_task_may_be_lost_max_losses_times_in_a_generation(most: int) -> None:
    run = ScriptedRun(workflow(evolve(task("a"), on_error=OnErrorSpec(max_losses=most))))
    for _ in range(most):
        run.crash()
    assert run.state.task("a").status == "running"
    run.crash()
    assert (ends_of(run), failure_of(run, "a").type) == ("a failed", "lost")
    assert [start.loss for start in run.starts] == list(range(most + 1))


def test_what_a_pause_cuts_off_runs_again_and_does_not_count() -> None:
    run = begun({"a": {"on_error": {"max_losses": 1}}})
    for _ in range(4):
        run.happen(PauseRequested(1000.0, ""))
        run.crash()
    assert (run.state.task("a").status, run.state.task("a").losses) == ("running", 0)
    assert [(start.attempt, start.loss) for start in run.starts] == [(1, loss) for loss in range(5)]
    run.crash()
    assert ends_of(run.finish()) == "a success"


@pytest.mark.parametrize("is_paused", [False, True])
def test_a_task_that_is_not_idempotent_does_not_run_again_once_it_was_cut_off(is_paused: bool) -> None:
    tasks = {
        "a": {"idempotent": False, "retry": TWICE, "on_error": {"next": "h", "fallback_agent": "b"}},
        "h": {},
    }
    run = begun(tasks)
    if is_paused:
        run.happen(PauseRequested(1000.0, ""))
    run.crash()
    assert ends_of(run.finish()) == "a failed, h success"
    assert failure_of(run, "a").type == "lost"
    assert starts_of(run) == ["a", "h"]


def test_a_task_that_is_not_idempotent_is_retried_after_a_failure_all_the_same() -> None:
    run = begun({"a": {"idempotent": False, "retry": TWICE}}, {"a": [BROKEN, 1]})
    run.happen(run.outcome("a"))
    run.crash()
    assert ends_of(run.finish()) == "a success"
