"""The circuit breaker by itself: threshold, window, cooldown, and one probe at a time."""

from __future__ import annotations

import pytest
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow.core.breaker import (
    CLOSED,
    Allowed,
    Breaker,
    BreakerAsk,
    BreakerReport,
    Counted,
    Outcome,
    Refused,
    ask,
    report,
)
from actorflow.spec.model import BreakerSpec

SPEC = BreakerSpec(threshold=2, window=10.0, cooldown=5.0)


def question(task: str = "a", run_id: str = "r-1", spec: BreakerSpec = SPEC) -> BreakerAsk:
    return BreakerAsk("main", spec, run_id, task)


def told(
    outcome: Outcome,
    at: float,
    attempt: int = 1,
    task: str = "a",
    run_id: str = "r-1",
    spec: BreakerSpec = SPEC,
) -> BreakerReport:
    return BreakerReport("main", spec, run_id, task, attempt, at, outcome)


def report_at_once(breaker: Breaker, outcome: BreakerReport) -> tuple[Breaker, Counted]:
    """Tell an outcome when it happens."""
    return report(breaker, outcome, outcome.at)


def after(*reports: BreakerReport, breaker: Breaker = CLOSED) -> Breaker:
    """The breaker that has been told all that, each when it happened."""
    for each in reports:
        breaker, _ = report_at_once(breaker, each)
    return breaker


OPEN = after(told("failure", 100.0, 1), told("failure", 101.0, 2))
"""Until 106."""
HALF_OPEN = ask(OPEN, question("probe"), 106.0, is_probe_held=True)[0]
"""`r-1/probe` has been let through."""


@pytest.mark.parametrize(
    ("failed_at", "is_open"),
    [
        ([100.0], False),
        ([100.0, 101.0], True),
        ([100.0, 109.9], True),
        ([100.0, 110.0], False),  # the first is out of the window
        ([100.0, 110.0, 119.0], True),
        ([100.0, 50.0], False),  # by clocks that far apart they are not within one window
        ([100.0, 99.5], True),
    ],
)
def test_as_many_failures_as_the_threshold_within_the_window_open_it(
    failed_at: list[float], is_open: bool
) -> None:
    breaker = after(*(told("failure", at, attempt) for attempt, at in enumerate(failed_at)))
    assert (breaker.until is not None) == is_open


@pytest.mark.parametrize("outcome", ["success", "released"])
def test_a_closed_one_counts_failures_alone(outcome: Outcome) -> None:
    failed_once = after(told("failure", 100.0))
    assert report_at_once(failed_once, told(outcome, 101.0, 2)) == (failed_once, Counted(None))


def test_a_closed_one_lets_everybody_through() -> None:
    assert ask(CLOSED, question(), 100.0, is_probe_held=True) == (CLOSED, Allowed(is_probe=False))


@pytest.mark.parametrize(("now", "until"), [(101.0, 106.0), (105.998, 106.0), (102.5, 106.0)])
def test_an_open_one_lets_nobody_through_until_its_cooldown_is_over(now: float, until: float) -> None:
    assert ask(OPEN, question("b"), now, is_probe_held=True) == (OPEN, Refused(until))


@pytest.mark.parametrize("now", [105.9995, 106.0, 107.0])
def test_who_comes_too_early_by_less_than_clocks_can_tell_has_waited(now: float) -> None:
    assert ask(OPEN, question("b"), now, is_probe_held=True)[1] == Allowed(is_probe=True)


def test_a_half_open_one_lets_one_probe_through_and_tells_others_that_it_is_under_way() -> None:
    breaker, first = ask(OPEN, question("b"), 106.0, is_probe_held=True)
    assert first == Allowed(is_probe=True)
    for who, now, until in [(question("c"), 106.0, 111.0), (question("b", "r-2"), 107.0, 112.0)]:
        assert ask(breaker, who, now, is_probe_held=True) == (breaker, Refused(until, is_probing=True))


def test_who_has_the_probe_has_it_still_when_it_asks_again() -> None:
    assert ask(HALF_OPEN, question("probe"), 200.0, is_probe_held=True) == (HALF_OPEN, Allowed(is_probe=True))


def test_the_probe_of_a_run_that_is_nobodys_is_free_again() -> None:
    breaker, answer = ask(HALF_OPEN, question("b"), 107.0, is_probe_held=False)
    assert (breaker.probe, answer) == ("r-1/b", Allowed(is_probe=True))


def test_a_probe_that_succeeds_closes_it_and_what_was_counted_is_forgotten() -> None:
    breaker, counted = report_at_once(HALF_OPEN, told("success", 107.0, task="probe"))
    assert (breaker.until, breaker.probe, breaker.failures, counted) == (None, None, (), Counted("closed"))


def test_a_probe_that_fails_opens_it_again() -> None:
    breaker, counted = report_at_once(HALF_OPEN, told("failure", 107.0, task="probe"))
    assert (breaker.until, breaker.probe, counted) == (112.0, None, Counted("opened", 112.0))


def test_a_probe_that_came_to_nothing_leaves_it_half_open_for_the_next() -> None:
    breaker, counted = report_at_once(HALF_OPEN, told("released", 107.0, task="probe"))
    assert (breaker, counted) == (OPEN, Counted(None))
    assert ask(breaker, question("b"), 107.0, is_probe_held=True)[1] == Allowed(is_probe=True)


def test_who_opened_it_gives_the_probe_back_that_it_had_no_use_for() -> None:
    """No attempt came of the probe, so that the task's last one is still that which opened the breaker."""
    probing, _ = ask(OPEN, question("a"), 106.0, is_probe_held=False)
    breaker, counted = report_at_once(probing, told("released", 107.0, attempt=2))
    assert (breaker, counted) == (OPEN, Counted(None))


@pytest.mark.parametrize("breaker", [OPEN, HALF_OPEN], ids=["open", "half-open"])
@pytest.mark.parametrize("outcome", ["success", "failure", "released"])
def test_what_began_before_it_opened_changes_nothing(breaker: Breaker, outcome: Outcome) -> None:
    assert report_at_once(breaker, told(outcome, 107.0, task="late")) == (breaker, Counted(None))


@pytest.mark.parametrize(
    ("before", "outcome"),
    [
        (CLOSED, told("failure", 100.0)),
        (after(told("failure", 100.0)), told("failure", 101.0, 2)),
        (HALF_OPEN, told("failure", 107.0, task="probe")),
        (HALF_OPEN, told("success", 107.0, task="probe")),
        (HALF_OPEN, told("released", 107.0, task="probe")),
    ],
    ids=["counted", "opened", "opened again", "closed", "given back"],
)
def test_who_reports_an_outcome_twice_is_given_the_same_answer_and_nothing_is_counted_twice(
    before: Breaker, outcome: BreakerReport
) -> None:
    breaker, counted = report_at_once(before, outcome)
    assert report_at_once(breaker, outcome) == (breaker, counted)


def test_a_clock_that_was_set_back_lets_nobody_wait_longer_than_a_cooldown() -> None:
    a_day_ago = 101.0 - 86_400.0
    breaker, answer = ask(OPEN, question(), a_day_ago, is_probe_held=True)
    assert answer == Refused(a_day_ago + 5.0)
    assert ask(breaker, question(), a_day_ago + 5.0, is_probe_held=True)[1] == Allowed(is_probe=True)


def test_runs_report_under_their_own_names() -> None:
    both = after(told("failure", 100.0, run_id="r-1"), told("failure", 100.0, run_id="r-2"))
    assert both.until == 105.0


@pytest.mark.parametrize(
    ("told_at", "counts"), [(100.0, True), (109.9, True), (110.0, False), (1000.0, False)]
)
def test_a_failure_that_is_told_a_window_after_it_happened_counts_nothing(
    told_at: float, counts: bool
) -> None:
    breaker, counted = report(CLOSED, told("failure", 100.0), told_at)
    assert (bool(breaker.failures), counted) == (counts, Counted(None))


def test_a_failure_told_late_takes_nothing_from_what_was_counted() -> None:
    """A run that was killed before it told its failure tells it when it goes on, a quarter of an hour later."""
    once = after(told("failure", 1000.0, run_id="r-2"))
    breaker, counted = report(once, told("failure", 100.0), 1001.0)
    assert (breaker, counted) == (once, Counted(None))
    assert report_at_once(breaker, told("failure", 1002.0, run_id="r-3"))[1] == Counted("opened", 1007.0)


def closed_by_a_probe() -> Breaker:
    """Opened by the second attempt of `r-1/a` at 101, and closed at 107."""
    return after(told("success", 107.0, task="probe"), breaker=HALF_OPEN)


@pytest.mark.parametrize(
    ("outcome", "counts"),
    [
        (told("failure", 101.0, 2), False),  # again, by who opened it and was killed before it heard
        (told("failure", 106.0, task="slow"), False),
        (told("failure", 107.0, task="slow"), False),
        (told("failure", 107.1, task="new"), True),
    ],
)
def test_what_failed_before_a_probe_succeeded_counts_nothing_afterwards(
    outcome: BreakerReport, counts: bool
) -> None:
    breaker, counted = report(closed_by_a_probe(), outcome, 108.0)
    assert (breaker.until, bool(breaker.failures), counted) == (None, counts, Counted(None))


def test_a_breaker_that_was_closed_by_a_clock_ahead_of_ours_opens_again() -> None:
    """A day ahead, say, before it was set: what fails now seems to have failed before."""
    day = 86_400.0
    failures = [told("failure", 108.0 - day, 1, "new"), told("failure", 108.0 - day, 2, "new")]
    assert after(*failures, breaker=closed_by_a_probe()).until == 113.0 - day


WIDE = evolve(SPEC, threshold=3, window=600.0, cooldown=600.0)
NARROW = evolve(WIDE, window=1.0, cooldown=1.0)
"""What another task of the same key asks for."""


def test_failures_are_kept_for_the_widest_window_and_counted_within_that_of_who_tells() -> None:
    first = [told("failure", 1000.0 + 10 * n, n, spec=WIDE) for n in range(2)]
    narrow = [told("failure", 1020.0, 3, spec=NARROW), told("failure", 1030.0, 4, spec=NARROW)]
    assert after(*first, *narrow).until is None
    assert after(*first, narrow[0], told("failure", 1025.0, 5, spec=WIDE)).until == 1625.0


def test_who_asks_with_a_shorter_cooldown_waits_for_that_of_who_opened_it() -> None:
    breaker = after(*(told("failure", 1000.0, n, spec=WIDE) for n in range(3)))
    assert ask(breaker, question("b", spec=NARROW), 1001.0, is_probe_held=True) == (breaker, Refused(1600.0))
    probing, _ = ask(breaker, question("p", spec=NARROW), 1600.0, is_probe_held=True)
    answer = ask(probing, question("b", spec=NARROW), 1601.0, is_probe_held=True)[1]
    assert answer == Refused(2201.0, is_probing=True)


@frozen
class Life:
    """What happens to a breaker: somebody asks, or an attempt that was let through ends so, after a while."""

    wait: float
    who: str
    ends: Outcome | None


lives = st.lists(
    st.builds(
        Life,
        wait=st.sampled_from([0.0, 0.5, 1.0, 3.0, 20.0, -4.0]),
        who=st.sampled_from(["a", "b", "c"]),
        ends=st.sampled_from([None, None, "success", "failure", "failure", "released"]),
    ),
    max_size=60,
)
specs = st.builds(
    BreakerSpec,
    threshold=st.integers(1, 3),
    window=st.sampled_from([2.0, 10.0]),
    cooldown=st.sampled_from([1.0, 5.0]),
)


@settings(max_examples=150, deadline=None)
@given(specs, lives)
def test_of_all_that_can_happen_to_one(spec: BreakerSpec, happenings: list[Life]) -> None:
    """One probe at a time; open only by enough failures; each answer the same when asked again at once."""
    breaker, now = CLOSED, 1000.0
    running: dict[str, bool] = {}  #: who was let through, and whether as a probe
    attempts: dict[str, int] = {}
    failed_at: list[float] = []  #: since it was closed last
    for each in happenings:
        now += each.wait
        if each.who not in running:
            asked, before = question(each.who, spec=spec), breaker
            breaker, answer = ask(breaker, asked, now, is_probe_held=True)
            assert ask(breaker, asked, now, is_probe_held=True) == (breaker, answer)
            match answer:
                case Allowed(is_probe):
                    assert is_probe == (breaker.until is not None)
                    assert not (is_probe and any(running.values()))
                    running[each.who] = is_probe
                case Refused(until, is_probing):
                    assert before.until is not None
                    assert now < until <= now + spec.cooldown
                    assert is_probing == (any(running.values()) and now >= before.until)
        elif each.ends is not None:
            is_probe = running.pop(each.who)
            attempts[each.who] = attempts.get(each.who, 0) + 1
            was_open = breaker.until is not None
            outcome = told(each.ends, now, attempts[each.who], each.who, spec=spec)
            breaker, counted = report_at_once(breaker, outcome)
            assert report_at_once(breaker, outcome) == (breaker, counted)
            if each.ends == "failure" and not was_open:
                failed_at = [at for at in (*failed_at, now) if abs(now - at) < spec.window]
            expect_change(counted, outcome, is_probe=is_probe, was_open=was_open, failed_at=failed_at)
            if counted.change is not None:
                failed_at.clear()


def expect_change(
    counted: Counted, outcome: BreakerReport, *, is_probe: bool, was_open: bool, failed_at: list[float]
) -> None:
    spec, change = outcome.spec, None
    if was_open and is_probe:
        change = {"success": "closed", "failure": "opened", "released": None}[outcome.outcome]
    elif not was_open and outcome.outcome == "failure":
        recent = [at for at in failed_at if abs(outcome.at - at) < spec.window]
        change = "opened" if len(recent) >= spec.threshold else None
    until = outcome.at + spec.cooldown if change == "opened" else None
    assert counted == Counted(change, until)  # type: ignore[arg-type]


@given(st.floats(0.1, 1e6), st.floats(-1e9, 1e9), st.lists(st.floats(0.0, 1e6), min_size=1, max_size=5))
def test_however_clocks_jump_a_wait_of_one_cooldown_is_enough(
    cooldown: float, opened_at: float, jumps: list[float]
) -> None:
    spec = evolve(SPEC, threshold=1, cooldown=cooldown)
    breaker = after(told("failure", opened_at, spec=spec))
    for jump in jumps:
        now = opened_at - jump
        breaker, answer = ask(breaker, question(spec=spec), now, is_probe_held=True)
        if isinstance(answer, Refused):
            breaker, answer = ask(breaker, question(spec=spec), answer.until, is_probe_held=True)
        assert answer == Allowed(is_probe=True)
