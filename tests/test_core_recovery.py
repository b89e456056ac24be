"""What follows a failure: how often, by whom, and after how long."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from actorflow.core.commands import Decide
from actorflow.core.events import (
    BudgetExhausted,
    Event,
    Failure,
    FallbackChosen,
    FallbackValueUsed,
    RetriesExhausted,
    RetryScheduled,
    TaskFailed,
)
from actorflow.core.recovery import (
    GiveUp,
    TryAgain,
    TryNext,
    UseValue,
    Verdict,
    answer,
    decide,
    delay_before_retry,
    effect_of,
)
from actorflow.spec import load_dict
from actorflow.spec.model import RetrySpec
from tests.scenarios import BROKEN, NOT_FOUND, happened, script_of, task, workflow
from tests.scripted import ScriptedRun

RETRY = RetrySpec(max_attempts=3, delay=2.0, backoff="constant", jitter="none")


def failed(
    attempts: int = 1,
    agent: int = 0,
    failure: Failure = BROKEN,
    remaining_s: float | None = None,
    budget_left: int | None = None,
    is_budget_noted: bool = False,
    **more: Any,
) -> Decide:
    spec = task("a", retry=more.pop("retry", RETRY), **more)
    return Decide(
        "a",
        spec,
        "r-1",
        attempts,
        agent,
        attempts,
        failure,
        effect_of(spec, is_handled=False),
        fallback_value=spec.on_error.fallback_value,
        remaining_s=remaining_s,
        budget_left=budget_left,
        is_budget_noted=is_budget_noted,
    )


GOES_ON = Failure("did_not_stop", "a thread goes on")


@pytest.mark.parametrize(
    ("what", "verdict"),
    [
        (failed(1), TryAgain(2.0)),
        (failed(2, fallbacks=["second"]), TryAgain(2.0)),
        (failed(3, fallbacks=["second"]), TryNext("second")),
        (failed(1, agent=1, fallbacks=["second", "third"]), TryAgain(2.0)),
        (failed(3, agent=1, fallbacks=["second", "third"]), TryNext("third")),
        (failed(3, agent=2, fallbacks=["second", "third"]), GiveUp(BROKEN)),
        (failed(3, agent=1, fallbacks=["second"], value=7), UseValue(7)),
        (failed(3, fallbacks=["second"], value=7), TryNext("second")),
        (failed(3, strategy="skip"), GiveUp(BROKEN)),
        (failed(1, failure=NOT_FOUND), GiveUp(NOT_FOUND)),
        (failed(1, failure=NOT_FOUND, fallbacks=["second"]), TryNext("second")),
        (failed(1, retry=RetrySpec()), GiveUp(BROKEN)),
        # what did not stop is at work still: no retry, no fallback
        (failed(1, failure=GOES_ON, fallbacks=["second"]), GiveUp(GOES_ON)),
        (failed(1, failure=GOES_ON, fallbacks=["second"], value=7), UseValue(7)),
        # the budget
        (failed(1, budget_left=1), TryAgain(2.0)),
        (failed(1, budget_left=0), GiveUp(BROKEN)),
        (failed(1, budget_left=0, fallbacks=["second"]), TryNext("second")),
        # the deadline
        (failed(1, remaining_s=2.5), TryAgain(2.0)),
        (failed(1, remaining_s=2.0), GiveUp(BROKEN)),
        (failed(1, remaining_s=2.0, fallbacks=["second"]), TryNext("second")),
        (failed(1, remaining_s=0.0, fallbacks=["second"]), GiveUp(BROKEN)),
        (failed(1, remaining_s=-5.0, fallbacks=["second"], value=7), UseValue(7)),
    ],
)
def test_retries_come_first_then_fallbacks_then_the_value_then_the_end(
    what: Decide, verdict: Verdict
) -> None:
    assert decide(what) == verdict


@pytest.mark.parametrize(
    ("what", "events"),
    [
        (failed(1), [RetryScheduled(50.0, "a", 2, 52.0)]),
        (
            failed(3, fallbacks=["second"]),
            [RetriesExhausted(50.0, "a", "main", 3), FallbackChosen(50.0, "a", "second")],
        ),
        (failed(3), [RetriesExhausted(50.0, "a", "main", 3), TaskFailed(50.0, "a", "fatal", BROKEN)]),
        (
            failed(3, agent=1, fallbacks=["second"], value=7),
            [RetriesExhausted(50.0, "a", "second", 3), FallbackValueUsed(50.0, "a", 7)],
        ),
        (failed(1, retry=RetrySpec()), [TaskFailed(50.0, "a", "fatal", BROKEN)]),  # it had no retries
        (failed(1, retry=RetrySpec(), strategy="finish"), [TaskFailed(50.0, "a", "fatal", BROKEN)]),
        (failed(1, retry=RetrySpec(), strategy="skip"), [TaskFailed(50.0, "a", "tolerated", BROKEN)]),
        (failed(1, budget_left=0), [BudgetExhausted(50.0, "a"), TaskFailed(50.0, "a", "fatal", BROKEN)]),
        (failed(1, budget_left=0, is_budget_noted=True), [TaskFailed(50.0, "a", "fatal", BROKEN)]),
        (
            failed(1, budget_left=0, failure=NOT_FOUND),
            [TaskFailed(50.0, "a", "fatal", NOT_FOUND)],
        ),  # no retry was wanted
        (
            failed(3, budget_left=0),
            [RetriesExhausted(50.0, "a", "main", 3), TaskFailed(50.0, "a", "fatal", BROKEN)],
        ),  # nor here
        (failed(1, budget_left=0, remaining_s=0.0), [TaskFailed(50.0, "a", "fatal", BROKEN)]),  # nor here
    ],
)
def test_a_verdict_is_the_last_of_the_events_that_answer(what: Decide, events: list[Event]) -> None:
    assert list(answer(what, 50.0)) == events


def test_an_agent_of_one_attempt_has_no_retries_to_exhaust() -> None:
    run = ScriptedRun(workflow(task("a", fallbacks=["second"])), lambda start: BROKEN).finish()
    assert happened(run, RetriesExhausted) == []


def test_each_agent_exhausts_its_own_retries() -> None:
    run = ScriptedRun(workflow(task("a", attempts=2, fallbacks=["second"])), lambda start: BROKEN).finish()
    exhausted = [(event.agent, event.attempts) for event in happened(run, RetriesExhausted)]
    assert exhausted == [("main", 2), ("second", 2)]


@pytest.mark.parametrize("key", ["retry", "on_error"])
def test_three_retries_are_four_attempts(key: str) -> None:
    given_ = {"retry": 3} if key == "retry" else {"on_error": {"retry": 3}}
    spec = load_dict({"name": "w", "tasks": {"a": {"agent": "main", **given_}}})
    assert spec.tasks[0].retry.max_attempts == 4
    run = ScriptedRun(spec, lambda start: BROKEN).finish()
    assert [start.attempt for start in run.starts] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [("constant", [3, 3, 3, 3]), ("linear", [3, 6, 9, 10]), ("exponential", [3, 6, 10, 10])],
)
def test_delays_grow_by_their_backoff_up_to_max_delay(backoff: Any, delays: list[float]) -> None:
    retry = RetrySpec(delay=3.0, backoff=backoff, max_delay=10.0, jitter="none")
    assert [delay_before_retry(retry, failed, "k") for failed in (1, 2, 3, 4)] == delays


@pytest.mark.parametrize("factor", [1000.0, 1000, 1e308])
@pytest.mark.parametrize("jitter", ["none", "full", "equal"])
def test_no_delay_overflows(factor: float, jitter: Any) -> None:
    retry = RetrySpec(delay=0.5, factor=factor, max_delay=60.0, jitter=jitter)
    delays = [delay_before_retry(retry, failed, "k") for failed in range(1, 1001)]
    assert all(0.0 <= delay <= 60.0 for delay in delays)


def test_a_thousand_attempts_have_finite_due_times() -> None:
    retry = RetrySpec(max_attempts=1000, delay=1.0, factor=1e3, max_delay=3600.0, jitter="none")
    run = ScriptedRun(workflow(task("a", retry=retry)), lambda start: BROKEN).finish()
    scheduled = happened(run, RetryScheduled)
    assert len(scheduled) == 999
    assert scheduled[-1].due_at - scheduled[-1].at == pytest.approx(3600.0)


@given(
    st.builds(
        RetrySpec,
        delay=st.floats(0.001, 1e6),
        backoff=st.sampled_from(["constant", "linear", "exponential"]),
        factor=st.floats(1.0, 1e300),
        max_delay=st.floats(0.001, 1e6),
        jitter=st.sampled_from(["none", "equal", "full"]),
    ),
    st.integers(1, 10_000),
    st.text(max_size=20),
)
def test_a_delay_is_within_its_bounds_and_always_the_same(retry: RetrySpec, failed: int, key: str) -> None:
    delay = delay_before_retry(retry, failed, key)
    most = delay_before_retry(evolve(retry, jitter="none"), failed, key)
    least = {"none": most, "equal": most / 2, "full": 0.0}[retry.jitter]
    assert math.isfinite(delay)
    assert least <= delay <= most <= retry.max_delay
    assert delay_before_retry(retry, failed, key) == delay


def test_jitter_is_drawn_by_run_task_and_attempt() -> None:
    retry = RetrySpec(delay=8.0, backoff="constant", jitter="full")
    assert delay_before_retry(retry, 1, "r-1/a/1") == Random("r-1/a/1").uniform(0.0, 8.0) == JITTERED
    half = delay_before_retry(evolve(retry, jitter="equal"), 1, "r-1/a/1")
    assert half == Random("r-1/a/1").uniform(4.0, 8.0)
    run = ScriptedRun(workflow(task("a", retry=evolve(retry, max_attempts=2))), lambda start: BROKEN).finish()
    assert [event.due_at for event in happened(run, RetryScheduled)] == [1000.0 + JITTERED]


def test_each_attempt_draws_anew() -> None:
    retry = RetrySpec(max_attempts=9, delay=8.0, backoff="constant", jitter="full")
    run = ScriptedRun(workflow(task("a", retry=retry), task("b", retry=retry)), lambda start: BROKEN).finish()
    delays = [event.due_at - event.at for event in happened(run, RetryScheduled)]
    assert len(set(delays)) == len(delays) > 8


@given(
    st.builds(RetrySpec, jitter=st.sampled_from(["none", "equal", "full"]), max_delay=st.floats(0.001, 1e6)),
    st.floats(0.0, 1e9),
)
def test_what_the_other_side_asked_for_is_waited_at_least_and_max_delay_at_most(
    retry: RetrySpec, asked: float
) -> None:
    delay = delay_before_retry(retry, 1, "r-1/a/1", asked)
    assert min(asked, retry.max_delay) <= delay <= retry.max_delay
    assert delay in (asked, retry.max_delay, delay_before_retry(retry, 1, "r-1/a/1"))


@pytest.mark.parametrize(
    ("asked", "waited"),
    [(5, 5.0), (5.5, 5.5), (0.5, 2.0), (1e9, 60.0), (-3, 2.0), ("5", 2.0), (None, 2.0), (float("nan"), 2.0)],
)
def test_a_retry_waits_as_long_as_the_failure_says(asked: Any, waited: float) -> None:
    refused = Failure("http_status", "503", {"retry_after_s": asked})
    run = ScriptedRun(workflow(task("a", retry=RETRY)), script_of({"a": [refused, None]})).finish()
    assert [event.due_at - event.at for event in happened(run, RetryScheduled)] == [waited]


JITTERED = 1.6309691349491846
"""The same in every process, on every platform and version: what a resumed run relies on."""
