"""Subflows that would grow beyond all bounds are refused, and so is one that runs itself."""

from __future__ import annotations

from typing import Any

import pytest

from actorflow.core.plan import plan_of
from actorflow.errors import SpecError
from actorflow.spec import from_json, load_dict, loads, to_json

LAST = {"inputs": {"v": {}}, "tasks": {"a": {"agent": "x", "with": {"v": "${v}"}}}}


def chain(length: int, tasks: Any) -> dict[str, Any]:
    """Subflows of which each has what `tasks` makes for the name of the next."""
    subflows: dict[str, Any] = {
        f"s{i}": {"inputs": {"v": {}}, "tasks": tasks(f"s{i + 1}")} for i in range(length)
    }
    return {
        "subflows": subflows | {f"s{length}": LAST},
        "tasks": {"a": {"subflow": "s0", "inputs": {"v": "0123456789"}}},
    }


def once(value: Any) -> Any:
    return lambda following: {"a": {"subflow": following, "inputs": {"v": value}}}


def problems_of(definition: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(SpecError) as caught:
        load_dict(definition)
    return [(problem.code, problem.message) for problem in caught.value.problems]


def test_a_subflow_that_runs_itself_is_told_with_the_way_around():
    definition = {"subflows": {"s": {"tasks": {"a": {"subflow": "s"}}}}, "tasks": {"a": {"subflow": "s"}}}

    assert problems_of(definition) == [("E132", "subflow: a circle, each runs the next: s -> s")]


def test_a_circle_is_told_of_its_own_subflows_alone():
    steps = {"r": "s", "s": "t", "t": "s"}
    subflows = {name: {"tasks": {"a": {"subflow": following}}} for name, following in steps.items()}

    found = problems_of({"subflows": subflows, "tasks": {"a": {"subflow": "r"}}})

    assert found == [("E132", "subflow: a circle, each runs the next: s -> t -> s")]


def test_subflows_may_be_used_many_times_over_but_not_without_end():
    def twice(following: str) -> Any:
        return {name: {"subflow": following, "inputs": {"v": "${v}"}} for name in "ab"}

    load_dict(chain(6, twice))

    assert {code for code, _ in problems_of(chain(20, twice))} == {"E128"}


@pytest.mark.parametrize("value", ["${v}${v}", ["${v}", "${v}"], {"a": "${v}", "b": "${v}"}, "x ${v} ${v}"])
def test_what_doubles_in_each_subflow_is_refused_before_it_is_long(value: Any):
    load_dict(chain(3, once(value)))

    assert {code for code, _ in problems_of(chain(25, once(value)))} == {"E128"}


def test_subflows_lie_in_each_other_thirty_two_levels_deep():
    spec = load_dict(chain(31, once("${v}")))

    assert plan_of(spec) is not None
    assert from_json(to_json(spec)) == spec
    assert {code for code, _ in problems_of(chain(32, once("${v}")))} == {"E128"}
    assert {code for code, _ in problems_of(chain(5_000, once("${v}")))} == {"E128"}


def test_a_wait_is_a_document_of_one_task():
    assert loads("id: w\ntype: wait\nfor: 5s\n").tasks[0].type == "wait"


@pytest.mark.parametrize(
    "on_error", ["{max_attempts: 3, retry_delay_secs: 2}", "{retry: 2, retry_delay_secs: 2}"]
)
def test_a_delay_of_theirs_works_beside_either_number(on_error: str):
    task = loads(f"tasks: {{a: {{agent: x, on_error: {on_error}}}}}").tasks[0]

    assert (task.retry.max_attempts, task.retry.delay, task.retry.backoff) == (3, 2, "constant")
