"""What templates come to: `task.input` as the agent got it, times, and values that no journal could keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from actorflow.core.events import Failure
from actorflow.core.json_values import LARGEST, checked_json
from actorflow.core.plan import plan_of
from actorflow.core.task_state import TaskState
from actorflow.errors import ExpressionError
from actorflow.spec import load_dict
from tests.scenarios import BROKEN, ends_of, script_of
from tests.scripted import ScriptedRun

TWICE = {"max_attempts": 2, "delay": "8s", "jitter": "none"}


def begun(
    tasks: Mapping[str, Mapping[str, Any]],
    results: Mapping[str, Sequence[object]] | None = None,
    **more: Any,
) -> ScriptedRun:
    """A run that has begun, of tasks with an agent of their own name each."""
    whole = {name: {"agent": name, **fields} for name, fields in tasks.items()}
    return ScriptedRun(
        load_dict({"name": "w", "tasks": whole, **more}, trust="own"), script_of(results or {})
    )


def a_list_of_lists(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


KEPT = [None, True, -(2**63), 2**64 - 1, 1.5, "ü", {"a": [1, {"b": "x"}]}, a_list_of_lists(100)]
NOT_KEPT = [
    ({"n": [0, 2**64]}, "$.n[1]: an integer of more than 64 bits"),
    (-(2**63) - 1, "$: an integer of more than 64 bits"),
    ([float("inf")], "$[0]: a number that is not finite"),
    ([float("nan")], "$[0]: a number that is not finite"),
    ({"a": "\ud800"}, "$.a: a lone surrogate"),
    ({"\ud800": 1}, "$: a lone surrogate"),
    (a_list_of_lists(101), "more than 100 levels"),
    (["x" * 1024] * (LARGEST // 1024), "more than 64 MiB"),
]


@pytest.mark.parametrize("value", KEPT)
def test_a_value_that_comes_back_from_a_journal_as_it_went_is_taken(value: Any) -> None:
    assert checked_json(value) is value


@pytest.mark.parametrize(("value", "problem"), NOT_KEPT, ids=[problem for _, problem in NOT_KEPT])
def test_a_value_that_no_journal_could_keep_is_named_with_its_place(value: Any, problem: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        checked_json(value)
    assert problem in str(refused.value)


def test_outputs_of_a_task_that_no_journal_could_keep_fail_its_attempt() -> None:
    run = begun({"a": {"outputs": {"n": "{{ output * 10 }}"}}}, {"a": [2**63]}).finish()
    failure = run.state.task("a").failure
    assert failure is not None
    assert (failure.type, "outputs: $.n: an integer" in failure.message) == ("expression", True)


def test_outputs_of_a_run_that_no_journal_could_keep_fail_the_run() -> None:
    run = begun({"a": {}}, {"a": [2**63]}, outputs={"n": "{{ tasks.a.output * 10 }}"}).finish()
    ending = run.state.ending
    assert ending is not None
    assert ending.failure is not None
    assert (ending.outcome, ending.outputs, ending.failure.type) == ("failed", {}, "expression")


def test_a_fallback_value_that_no_journal_could_keep_fails_the_task() -> None:
    tasks = {"a": {"on_error": {"fallback_value": "{{ 9223372036854775807 * 10 }}"}}}
    failure = begun(tasks, {"a": [BROKEN]}).finish().state.task("a").failure
    assert failure is not None
    assert failure.type == "expression"
    assert failure.message.startswith("no luck; and its fallback_value cannot be rendered: $: an integer")


def test_an_input_that_reads_its_own_task_does_not_hold_itself() -> None:
    outputs = {"seen": "{{ task.input }}"}
    run = begun({"a": {"with": {"e": "{{ task }}"}, "outputs": outputs}}).finish()
    assert "input" not in run.starts[0].input["e"]
    assert "input" not in run.state.task("a").output["seen"]["e"]


def test_the_input_that_outputs_read_is_the_one_that_the_last_attempt_got() -> None:
    fields = {"with": {"at": "{{ now() }}"}, "outputs": {"at": "{{ task.input.at }}"}, "retry": TWICE}
    run = begun({"a": fields}, {"a": [BROKEN, 1]})
    run.now = 1003.0
    run.happen(run.outcome("a"))
    run.now = run.state.next_due_at() or 0.0
    run.happen()
    run.now += 5.0
    run.happen(run.outcome("a"))
    assert [start.input["at"] for start in run.starts] == [1000.0, 1011.0]
    assert run.state.task("a").output == {"at": 1011.0}


def test_the_input_that_a_fallback_value_reads_has_the_error_that_led_to_the_task() -> None:
    tasks = {
        "a": {"on_error": {"next": "b"}},
        "b": {"with": {"why": "{{ error.message }}"}, "on_error": {"fallback_value": "{{ task.input.why }}"}},
    }
    run = begun(tasks, {"a": [BROKEN], "b": [Failure("Other", "its own")]}).finish()
    assert run.state.task("b").output == "no luck"


def test_the_input_that_a_transition_hands_on_is_the_one_that_its_task_got() -> None:
    tasks = {
        "a": {
            "with": {"at": "{{ now() }}"},
            "on_success": {"next": "b", "with": {"then": "{{ task.input.at }}", "now": "{{ now() }}"}},
        },
        "b": {"outputs": {"then": "{{ task.input.then }}", "now": "{{ task.input.now }}"}},
    }
    run = begun(tasks)
    for _ in tasks:
        run.now += 2.0
        run.happen(*[run.outcome(name) for name in list(run.running)])
    assert run.starts[1].input == run.state.task("b").output == {"then": 1000.0, "now": 1002.0}


def test_the_duration_that_outputs_read_ends_with_the_attempt() -> None:
    run = begun({"a": {"outputs": {"ms": "{{ task.duration_ms }}"}}, "b": {}})
    run.now = 1002.5
    run.happen(run.outcome("a"))
    assert run.state.task("a").output == {"ms": 2500}


def test_only_agents_that_a_task_may_be_given_to_ask_for_secrets() -> None:
    agents = {
        name: {"command": ["true"], "env": {"K": f"${{KEY_{name.upper()}}}"}} for name in ("a", "b", "c")
    }
    tasks = {"t": {"agent": "a", "on_error": {"fallback_agent": ["b"]}}}
    spec = load_dict({"name": "w", "agents": agents, "tasks": tasks}, trust="own")
    assert [secret.name for secret in plan_of(spec).secret_names] == ["KEY_A", "KEY_B"]


def test_the_last_attempt_of_a_task_started_when_its_first_did_unless_there_were_more() -> None:
    assert TaskState("a").attempt_started_at is None
    assert TaskState("a", started_at=1.0).attempt_started_at == 1.0
    assert TaskState("a", started_at=1.0, restarted_at=2.0).attempt_started_at == 2.0


def test_what_a_later_generation_reads_is_of_its_own_attempts() -> None:
    fields = {"with": {"at": "{{ now() }}"}, "outputs": {"at": "{{ task.input.at }}"}, "retry": TWICE}
    run = begun({"a": fields}, {"a": [BROKEN, BROKEN, 1]}).finish()
    assert ends_of(run) == "a failed"
    run.now = 2000.0
    run.next_generation()
    assert run.state.task("a").output == {"at": 2000.0}
