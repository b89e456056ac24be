"""Outputs that say of themselves that they are errors."""

from __future__ import annotations

import pytest

from actorflow.agents.soft_errors import soft_failure


@pytest.mark.parametrize(
    "output",
    [
        None, "error", 5, [], {}, [{"error": "x"}], {"error": None}, {"error": ""}, {"error": "  "}, {"error": []},
        {"error": {}}, {"error": False}, {"success": True}, {"success": None}, {"success": 0}, {"success": "false"},
        {"result": {"error": "deeper"}}, {"errors": ["x"]},
    ],
)  # fmt: skip
def test_an_output_that_speaks_of_no_error_is_none(output):
    assert soft_failure(output) is None


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"error": "no such user"}, "the output is an error: no such user"),
        ({"error": " padded\n"}, "the output is an error: padded"),
        ({"error": True}, "the output is an error: true"),
        ({"error": 42}, "the output is an error: 42"),
        ({"error": ["a", {"b": "ü"}]}, 'the output is an error: ["a", {"b": "ü"}]'),
        ({"error": {"message": "overloaded", "code": 529}}, "the output is an error: overloaded (529)"),
        ({"error": {"message": "overloaded", "type": "busy"}}, "the output is an error: overloaded (busy)"),
        ({"error": {"message": "overloaded"}}, "the output is an error: overloaded"),
        ({"error": {"message": {"odd": 1}}}, 'the output is an error: {"message": {"odd": 1}}'),
        ({"error": {"code": 7}}, 'the output is an error: {"code": 7}'),
        ({"error": "x", "success": True}, "the output is an error: x"),
        ({"success": False}, "the output is an error: success is false"),
        ({"success": False, "error": None}, "the output is an error: success is false"),
        ({"success": False, "message": "try later"}, "the output is an error: success is false; try later"),
        ({"success": False, "reason": "full"}, "the output is an error: success is false; full"),
    ],
)
def test_a_failure_says_what_the_output_says(output, message):
    failure = soft_failure(output)

    assert failure is not None
    assert (failure.type, failure.message, failure.detail) == ("soft_error", message, {})


@pytest.mark.parametrize("error", ["x" * 100_000, ["x"] * 100_000, {"message": "x" * 100_000}])
def test_a_long_error_is_cut(error):
    failure = soft_failure({"error": error})

    assert failure is not None
    assert len(failure.message.encode()) <= 4096


def test_the_record_is_kept_and_an_output_that_is_not_shown_is_not_quoted():
    failure = soft_failure({"error": "the pin is 1234"}, {"exit_status": 0}, quotes=False)

    assert failure is not None
    assert (failure.message, failure.detail) == ("the output is an error", {"exit_status": 0})
