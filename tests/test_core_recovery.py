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
from actorflow.core.events import FallbackChosen, RetryScheduled, TaskFailed
from actorflow.core.recovery import (
    Abort,
    Fallback,
    Finish,
    Retry,
    Skip,
    Verdict,
    answer,
    decide,
    delay_before_retry,
    effect_of,
)
from actorflow.spec import load_dict
from actorflow.spec.model import RetrySpec
from tests.scenarios import BROKEN, NOT_FOUND, happened, task, workflow
from tests.scripted import ScriptedRun

RETRY = RetrySpec(max_attempts=3, delay=2.0, backoff="constant", jitter="none")


def failed(attempts: int = 1, agent: int = 0, failure: Any = BROKEN, **more: Any) -> Decide:
    spec = task("a", retry=more.pop("retry", RETRY), **more)
    effect = effect_of(spec, is_handled=False)
    return Decide("a", spec, "r-1", attempts, agent, attempts, failure, effect)


@pytest.mark.parametrize(
    ("what", "verdict"),
    [
        (failed(1), Retry(2.0)),
        (failed(2, fallbacks=["second"]), Retry(2.0)),
        (failed(3, fallbacks=["second"]), Fallback("second")),
        (failed(1, agent=1, fallbacks=["second", "third"]), Retry(2.0)),
        (failed(3, agent=1, fallbacks=["second", "third"]), Fallback("third")),
        (failed(3, agent=2, fallbacks=["second", "third"]), Abort()),
        (failed(3, strategy="finish"), Finish()),
        (failed(3, strategy="skip"), Skip()),
        (failed(1, failure=NOT_FOUND), Abort()),
        (failed(1, failure=NOT_FOUND, fallbacks=["second"]), Fallback("second")),
        (failed(1, retry=RetrySpec()), Abort()),
    ],
)
def test_retries_come_first_then_fallbacks_then_the_strategy(what: Decide, verdict: Verdict) -> None:
    assert decide(what) == verdict


@pytest.mark.parametrize(
    ("what", "event"),
    [
        (failed(1), RetryScheduled(50.0, "a", 2, 52.0)),
        (failed(3, fallbacks=["second"]), FallbackChosen(50.0, "a", "second")),
        (failed(3), TaskFailed(50.0, "a", "fatal", BROKEN)),
        (failed(3, strategy="finish"), TaskFailed(50.0, "a", "fatal", BROKEN)),
        (failed(3, strategy="skip"), TaskFailed(50.0, "a", "tolerated", BROKEN)),
    ],
)
def test_a_verdict_is_answered_as_an_event(what: Decide, event: object) -> None:
    assert answer(what, 50.0) == event


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


JITTERED = 1.6309691349491846
"""The same in every process, on every platform and version: what a resumed run relies on."""
