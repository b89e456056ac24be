"""What a task that others lead to is given, what it knows of the failure behind it, and what another generation reopens."""

from __future__ import annotations

import pytest

from actorflow.core.events import AttemptLost, CancelRequested
from actorflow.runtime.result import result_of
from tests.scenarios import BROKEN, TIMEOUT, ends_of, snapshot
from tests.test_core_features import TWICE, begun, failure_of, input_of, starts_of


def test_the_with_of_a_transition_is_laid_over_the_own_one_of_its_target() -> None:
    tasks = {
        "a": {"on_success": {"next": "t", "with": {"n": "{{ output + 1 }}", "from": "{{ task.id }}"}}},
        "t": {"with": {"n": 0, "kept": "{{ workflow.name }}"}},
    }
    run = begun(tasks, {"a": [1]}).finish()
    assert input_of(run, "t") == {"n": 2, "from": "a", "kept": "w"}


def test_without_a_transition_with_a_target_gets_its_own_or_the_inputs_of_the_run() -> None:
    tasks = {
        "a": {"on_success": {"next": "t"}},
        "b": {"on_success": {"next": "u"}},
        "t": {"with": {"n": 0}},
        "u": {},
    }
    run = begun(tasks).finish()
    assert (input_of(run, "t"), input_of(run, "u")) == ({"n": 0}, {})


def test_the_first_transition_that_is_taken_is_the_one_whose_with_counts() -> None:
    tasks = {name: {"on_success": {"next": "t", "with": {"by": name}}} for name in "ab"}
    run = begun({**tasks, "z": {}, "t": {"depends_on": ["z"]}})
    run.happen(run.outcome("b"))
    run.happen(run.outcome("a"))
    run.crash()
    run.finish()
    assert input_of(run, "t") == {"by": "b"}
    assert starts_of(run).count("t") == 1


def test_a_target_that_runs_again_in_another_generation_is_still_led_to_by_the_first() -> None:
    tasks = {name: {"on_success": {"next": "t", "with": {"by": name}}} for name in "ab"}
    run = begun({**tasks, "t": {}}, {"t": [BROKEN, 1]})
    run.happen(run.outcome("b"))
    run.happen(run.outcome("a"))
    run.finish().next_generation()
    assert [start.input for start in run.starts if start.task == "t"] == [{"by": "b"}, {"by": "b"}]


def test_each_end_of_a_task_leads_on_with_the_with_of_its_own_transition() -> None:
    tasks = {
        "a": {
            "on_success": {"next": "t", "with": {"how": "well"}},
            "on_error": {"next": "t", "with": {"how": "{{ error.message }}"}},
        },
        "t": {},
    }
    assert input_of(begun(tasks).finish(), "t") == {"how": "well"}
    assert input_of(begun(tasks, {"a": [BROKEN]}).finish(), "t") == {"how": "no luck"}


def test_a_handler_by_next_sees_the_error_in_all_its_templates() -> None:
    said = "{{ error.type }}, {{ error.message }}, {{ error.task }} #{{ error.attempt }}"
    tasks = {
        "a": {"retry": TWICE, "on_error": {"next": "h", "with": {"over": said}}},
        "h": {"when": "{{ error.attempt == 2 }}", "with": {"own": said}, "env": {"WHY": said}},
    }
    run = begun(tasks, {"a": [TIMEOUT, BROKEN]}).finish()
    assert input_of(run, "h") == dict.fromkeys(("own", "over"), "Broken, no luck, a #2")
    assert run.starts[-1].env == {"WHY": "Broken, no luck, a #2"}


def test_a_handler_by_edges_sees_the_error_of_the_first_that_failed() -> None:
    edges = [{"task": "c", "on": "always"}, "s", *({"task": name, "on": "failure"} for name in "ba")]
    tasks = {
        "a": {},
        "b": {},
        "c": {"on_error": {"strategy": "skip"}},
        "s": {"on_error": {"strategy": "skip"}},
        "h": {"depends_on": edges, "with": {"of": "{{ error.task }}"}},
    }
    run = begun(tasks, {name: [BROKEN] for name in "abcs"}).finish()
    assert input_of(run, "h") == {"of": "b"}


def test_a_handler_that_a_success_led_to_sees_the_error_behind_its_edge() -> None:
    tasks = {
        "a": {},
        "b": {"on_success": {"next": "h"}},
        "h": {"depends_on": [{"task": "a", "on": "failure"}], "with": {"of": "{{ error.task }}"}},
    }
    assert input_of(begun(tasks, {"a": [BROKEN]}).finish(), "h") == {"of": "a"}


def test_a_handler_that_failed_before_it_succeeded_still_sees_the_error_that_led_to_it() -> None:
    tasks = {
        "a": {"on_error": {"next": "h"}},
        "h": {
            "retry": TWICE,
            "with": {"of": "{{ error.task }}"},
            "outputs": {"of": "{{ error.task }}"},
            "on_success": {"next": "t", "with": {"of": "{{ error.task }}"}},
        },
        "t": {},
    }
    run = begun(tasks, {"a": [BROKEN], "h": [BROKEN, 1]}).finish()
    assert [start.input for start in run.starts if start.task == "h"] == [{"of": "a"}, {"of": "a"}]
    assert (run.state.task("h").output, input_of(run, "t")) == ({"of": "a"}, {"of": "a"})


def test_a_handler_that_fails_leads_on_with_an_error_of_its_own() -> None:
    tasks = {
        "a": {"on_error": {"next": "h"}},
        "h": {"on_error": {"next": "i", "with": {"of": "{{ error.task }}"}}},
        "i": {},
    }
    assert input_of(begun(tasks, {"a": [BROKEN], "h": [BROKEN]}).finish(), "i") == {"of": "h"}


@pytest.mark.parametrize("led_by", ["success", "failure"])
def test_a_task_that_is_there_for_either_end_knows_an_error_only_after_a_failure(led_by: str) -> None:
    tasks = {
        "a": {"on_success": {"next": "t"}, "on_error": {"next": "t"}},
        "t": {"with": {"why": "{{ error.message }}"}},
    }
    run = begun(tasks, {"a": [BROKEN if led_by == "failure" else 1]}).finish()
    assert ends_of(run) == ("a failed, t success" if led_by == "failure" else "a success, t failed")
    if led_by == "success":
        assert "error" in failure_of(run, "t").message


def test_a_transition_reads_the_input_of_the_task_that_it_starts_at_and_so_on() -> None:
    count = {"n": "{{ task.input.n + 1 }}"}
    tasks = {f"t{i}": {"on_success": {"next": f"t{i + 1}", "with": count}} for i in range(30)}
    run = begun({**tasks, "t0": {**tasks["t0"], "with": {"n": 0}}, "t30": {}}).finish()
    assert input_of(run, "t30") == {"n": 30}


def test_outputs_read_an_input_that_a_transition_gave() -> None:
    tasks = {
        "a": {"on_success": {"next": "t", "with": {"n": "{{ output }}"}}},
        "t": {"outputs": {"n": "{{ task.input.n }}"}},
    }
    assert begun(tasks, {"a": [4]}).finish().state.task("t").output == {"n": 4}


# env


def test_variables_that_were_recorded_are_read_everywhere() -> None:
    x = "{{ env.X }}"
    tasks = {
        "a": {
            "with": {"x": x},
            "env": {"Y": x},
            "when": "{{ env.X == 'x' }}",
            "outputs": {"x": x},
            "on_success": {"next": "b", "with": {"x": x}},
        },
        "b": {"on_error": {"fallback_value": x}},
    }
    run = begun(tasks, {"b": [BROKEN]}, env={"X": "x"}, outputs={"x": x}).finish()
    assert (input_of(run, "a"), run.starts[0].env, input_of(run, "b")) == ({"x": "x"}, {"Y": "x"}, {"x": "x"})
    assert (run.state.task("a").output, run.state.task("b").output) == ({"x": "x"}, "x")
    assert result_of(run.state, []).outputs == {"x": "x"}


# another generation


def test_another_generation_reopens_what_did_not_succeed_and_nothing_else() -> None:
    tasks = {
        "a": {"on_error": {"next": "h"}},  # fails, handled
        "h": {},
        "b": {"depends_on": ["a"]},  # skipped upstream
        "w": {"when": "{{ 1 > 2 }}"},
        "v": {"depends_on": ["b"], "when": "{{ 1 > 2 }}"},  # skipped upstream, then by its own when
        "c": {"on_success": {"next": "t"}, "on_error": {"next": "u"}},
        "t": {},
        "u": {},  # not reached
        "f": {"on_error": {"strategy": "finish"}},
    }
    run = begun(tasks, {"a": [BROKEN, 1], "f": [BROKEN, 1]}).finish()
    assert ends_of(run) == (
        "a failed, h success, b skipped upstream, w skipped when, v skipped upstream,"
        " c success, t success, u skipped not_reached, f failed"
    )
    first = len(run.starts)
    run.next_generation()
    assert starts_of(run)[first:] == ["a", "f", "b"]
    assert ends_of(run) == (
        "a success, h success, b success, w skipped when, v skipped when,"
        " c success, t success, u skipped not_reached, f success"
    )


def test_a_handler_that_succeeded_does_not_run_again_when_its_task_fails_again() -> None:
    tasks = {"a": {"on_error": {"next": "h"}}, "h": {}, "f": {"on_error": {"strategy": "finish"}}}
    run = begun(tasks, {"a": [BROKEN], "f": [BROKEN, 1]}).finish()
    run.next_generation()
    assert starts_of(run) == ["a", "f", "h", "a", "f"]
    assert (ends_of(run), run.state.ending and run.state.ending.outcome) == (
        "a failed, h success, f success",
        "success",
    )


def test_a_handler_that_failed_runs_again_only_if_its_task_fails_again() -> None:
    tasks = {"a": {"on_error": {"next": "h"}}, "h": {}}
    mended = begun(tasks, {"a": [BROKEN, 1], "h": [BROKEN]}).finish()
    mended.next_generation()
    assert ends_of(mended) == "a success, h skipped not_reached"
    again = begun(tasks, {"a": [BROKEN], "h": [BROKEN, 1]}).finish()
    again.next_generation()
    assert ends_of(again) == "a failed, h success"


def test_a_task_that_a_transition_of_a_success_led_to_runs_again_after_its_failure() -> None:
    run = begun(
        {"a": {"on_success": {"next": "t", "with": {"n": "{{ output }}"}}}, "t": {}},
        {"a": [3], "t": [BROKEN, 1]},
    )
    run.finish().next_generation()
    assert starts_of(run) == ["a", "t", "t"]
    assert input_of(run, "t") == {"n": 3}


def test_a_handler_that_succeeded_knows_in_another_generation_what_had_led_to_it() -> None:
    tasks = {
        "a": {"on_error": {"next": "h"}},
        "h": {"on_success": {"next": "t", "with": {"of": "{{ error.task }} #{{ error.attempt }}"}}},
        "t": {},
    }
    run = begun(tasks, {"a": [BROKEN, 1], "t": [BROKEN, 1]}).finish()
    run.next_generation()
    assert ends_of(run) == "a success, h success, t success"
    assert input_of(run, "t") == {"of": "a #1"}


def test_what_a_run_of_all_this_leaves_folds_to_the_state_that_lived() -> None:
    tasks = {
        "a": {
            "sleep": "1s",
            "retry": TWICE,
            "on_error": {"next": "h", "with": {"why": "{{ error.message }}"}},
        },
        "h": {"on_error": {"fallback_value": "{{ error.message }}"}},
        "u": {"on_success": {"next": "t"}, "on_error": {"strategy": "skip"}, "idempotent": False},
        "t": {},
        "z": {"depends_on": [{"task": "t", "on": "always"}, "h"], "priority": -1},
        "f": {"on_error": {"strategy": "finish"}},
    }
    run = begun(tasks, {name: [BROKEN] for name in "ahuf"}).finish()
    run.next_generation()
    lived = snapshot(run.state)
    folded = type(run.state)(run.state.plan)
    for event in run.journal:
        folded.apply(event)
    assert snapshot(folded) == lived


def test_a_handler_that_a_cancel_bars_after_an_abort_is_barred_by_the_cancel() -> None:
    run = begun({"x": {}, "h": {"depends_on": [{"task": "x", "on": "always"}]}, "a": {}}, {"a": [BROKEN]})
    run.happen(run.outcome("x"))
    run.happen(run.outcome("a"))
    assert run.state.closing == "aborted"
    run.state.apply(CancelRequested(1000.0, ""))
    run.state.apply(AttemptLost(1000.0, "h", 1, 0))
    assert run.state.frontier.to_skip == {run.state.plan.index["h"]: "canceled"}
