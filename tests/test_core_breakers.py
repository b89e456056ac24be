"""Circuit breakers in a run: who asks, what a refusal means, what is told, and that nothing is forgotten."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow.core.breaker import BreakerAsk, BreakerReport
from actorflow.core.checkpoint import freeze, thaw
from actorflow.core.commands import AskBreaker, StartAttempt, TellBreaker
from actorflow.core.events import (
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
    AttemptSucceeded,
    BreakerAllowed,
    BreakerClosed,
    BreakerCounted,
    BreakerOpened,
    BreakerRefused,
    CancelRequested,
    Event,
    Failure,
    FallbackChosen,
    PauseRequested,
    Resumed,
    RunEnding,
    RunStarted,
    SleepStarted,
    TaskDeadlinePassed,
    TaskSkipped,
)
from actorflow.core.plan import plan_of
from actorflow.core.recovery import answer
from actorflow.core.state import CORE_VERSION, RunState
from actorflow.core.step import next_generation, recovered, settle
from actorflow.errors import IllegalTransitionError
from actorflow.spec.model import BreakerSpec, CommandRunner, TaskSpec
from tests.random_runs import random_workflow
from tests.scenarios import BROKEN, TIMEOUT, ends_of, happened, script_of, snapshot, task, workflow
from tests.scripted import Breakers, ScriptedRun

BREAKER = BreakerSpec(threshold=1, window=60.0, cooldown=10.0)


class AskedRun:
    """A run whose breakers are asked and told by hand."""

    def __init__(self, *tasks: TaskSpec, **more: Any) -> None:
        self.state = RunState(plan_of(workflow(*tasks, **more)))
        self.journal: list[Event] = []
        self.happen(RunStarted(1000.0, "r-1", "w", "hash", {}, {}, {}, {}, CORE_VERSION))
        self.happen(next_generation(self.state, 1000.0))

    def happen(self, *events: Event) -> None:
        for event in events:
            self.state.apply(event)
        step = settle(self.state, events[-1].at, lambda failed: answer(failed, events[-1].at))
        self.journal.extend((*events, *step.events))

    def due(self, now: float = 1000.0) -> list[object]:
        """What is asked, told and started, in brief."""
        return [brief(command) for command in self.state.commands(now)]


def brief(command: object) -> object:
    match command:
        case AskBreaker(task, ask):
            return ("ask", task, ask.key)
        case TellBreaker(task, told):
            return ("tell", task, told.key, told.outcome)
        case StartAttempt(task=task):
            return ("start", task)
        case _:
            return command


def test_an_attempt_starts_once_its_breaker_was_asked() -> None:
    run = AskedRun(task("a", breaker=BREAKER), task("b"))
    assert run.due() == [("ask", "a", "main")]
    run.happen(BreakerAllowed(1000.0, "a", "main", is_probe=False))
    assert [event.task for event in run.journal if isinstance(event, AttemptStarted)] == ["b", "a"]


def test_an_attempt_without_leave_is_refused() -> None:
    state = AskedRun(task("a", breaker=BREAKER)).state
    before = snapshot(state)
    with pytest.raises(IllegalTransitionError):
        state.apply(AttemptStarted(1000.0, "a", 1, 0, "main"))
    assert snapshot(state) == before


def test_who_asks_and_who_tells_is_named() -> None:
    run = AskedRun(task("a", breaker=BREAKER))
    assert run.state.commands(1000.0) == [AskBreaker("a", BreakerAsk("main", BREAKER, "r-1", "a"))]
    run.happen(BreakerAllowed(1000.0, "a", "main", is_probe=False))
    run.happen(AttemptFailed(1001.0, "a", 1, BROKEN))
    report = BreakerReport("main", BREAKER, "r-1", "a", 1, 1001.0, "failure")
    assert run.state.commands(1002.0) == [TellBreaker("a", report)]


def test_when_and_sleep_come_before_the_breaker() -> None:
    run = AskedRun(task("a", breaker=BREAKER, when="false"), task("b", breaker=BREAKER, sleep=5.0))
    assert run.due() == []
    assert [type(event) for event in run.journal[2:]] == [TaskSkipped, SleepStarted]
    assert run.due(1005.0) == [("ask", "b", "main")]


@pytest.mark.parametrize(
    ("spec", "keys"),
    [
        (task("a", breaker=BREAKER, fallbacks=["second"]), ["main", "second"]),
        (task("a", breaker=BreakerSpec(key="bank"), fallbacks=["second"]), ["bank", "second"]),
    ],
)
def test_a_key_of_the_task_is_for_its_own_agent_and_a_fallback_has_one_of_its_name(
    spec: TaskSpec, keys: list[str]
) -> None:
    run = ScriptedRun(workflow(spec), lambda start: BROKEN).finish()
    assert [event.key for event in happened(run, BreakerAllowed)] == keys


def test_an_inline_runner_goes_by_the_name_of_its_task() -> None:
    spec = TaskSpec(
        id="a", runner=CommandRunner(command="true"), on_error=task("x", breaker=BREAKER).on_error
    )
    assert AskedRun(spec).due() == [("ask", "a", "w/a")]


def test_an_open_breaker_costs_no_attempt_and_the_next_agent_has_its_turn_at_once() -> None:
    breakers = Breakers()
    ScriptedRun(workflow(task("a", breaker=BREAKER)), lambda start: BROKEN, breakers=breakers).finish()
    spec = workflow(task("a", breaker=BREAKER, attempts=3, fallbacks=["second"]), retry_budget=0)
    run = ScriptedRun(spec, breakers=breakers, run_id="r-2").finish()
    assert [(start.attempt, start.agent) for start in run.starts] == [(1, "second")]
    assert [type(e) for e in run.journal[2:5]] == [BreakerRefused, FallbackChosen, BreakerAllowed]
    assert run.now == 1000.0


def test_without_another_agent_the_task_waits_for_the_breaker_to_be_half_open() -> None:
    run = ScriptedRun(
        workflow(task("a", breaker=BREAKER, attempts=2)), script_of({"a": [BROKEN, 1]})
    ).finish()
    assert [event.at for event in happened(run, BreakerOpened)] == [1000.0]
    assert [event.until for event in happened(run, BreakerRefused)] == [1010.0]
    assert [event.at for event in happened(run, AttemptStarted)] == [1000.0, 1010.0]
    assert [event.is_probe for event in happened(run, BreakerAllowed)] == [False, True]
    assert [event.at for event in happened(run, BreakerClosed)] == [1010.0]


def test_a_task_whose_breaker_is_open_until_its_deadline_has_no_hope_and_fails_at_once() -> None:
    spec = workflow(task("a", breaker=BREAKER, attempts=2, deadline=4.0), task("b", "a", strategy="finish"))
    run = ScriptedRun(spec, script_of({"a": [BROKEN, 1]})).finish()
    assert [event.at for event in happened(run, TaskDeadlinePassed)] == [1001.0]
    assert len(run.starts) == 1
    assert ends_of(run) == "a failed, b skipped upstream"
    message = "not done within its deadline of 4 s: its circuit breaker 'main' is open"
    assert run.state.task("a").failure == Failure("timeout", message)


@pytest.mark.parametrize(
    ("refusal", "is_hopeless"),
    [
        (BreakerRefused(1003.0, "a", "main", 1006.9), False),
        (BreakerRefused(1003.0, "a", "main", 1007.0), True),
        (BreakerRefused(1003.0, "a", "main", 1050.0, is_probing=True), False),
    ],
)
def test_a_deadline_that_begins_with_the_first_refusal_rules_out_what_comes_no_sooner(
    refusal: BreakerRefused, is_hopeless: bool
) -> None:
    """But for a probe that is under way: how long that takes, nobody knows."""
    run = AskedRun(task("a", breaker=BREAKER, deadline=4.0, value="none"))
    run.happen(refusal)
    assert run.state.task("a").output == ("none" if is_hopeless else None)
    if not is_hopeless:
        assert run.state.next_due_at() == min(refusal.until, 1007.0)


def test_what_was_hopeless_before_a_pause_is_asked_again_after_it() -> None:
    run = AskedRun(task("a", breaker=BREAKER, deadline=4.0))
    run.happen(PauseRequested(1000.0, ""))
    run.happen(BreakerRefused(1000.0, "a", "main", 1010.0))
    run.happen(Resumed(2000.0))
    assert run.state.task("a").deadline_at == 2004.0
    assert run.due(2000.0) == [("ask", "a", "main")]


def test_what_a_breaker_says_last_decides_whether_there_is_hope() -> None:
    run = AskedRun(*(task(name, breaker=BREAKER, deadline=4.0, strategy="finish") for name in "ab"))
    run.happen(BreakerRefused(1000.0, "a", "main", 1050.0), BreakerRefused(1000.0, "b", "main", 1050.0, True))
    assert not any(isinstance(event, TaskDeadlinePassed) for event in run.journal)
    run.happen(
        BreakerRefused(1001.0, "b", "main", 1050.0), BreakerAllowed(1001.0, "a", "main", is_probe=True)
    )
    assert [event.task for event in run.journal if isinstance(event, TaskDeadlinePassed)] == ["b"]
    assert [event.task for event in run.journal if isinstance(event, AttemptStarted)] == ["a"]


def waiting_together(*names: str) -> AskedRun:
    """Tasks that have been refused until 1010, each when it asked."""
    run = AskedRun(*(task(name, breaker=BREAKER) for name in names))
    run.happen(*(BreakerRefused(1000.0, name, "main", 1010.0) for name in names))
    return run


def test_of_those_that_wait_for_a_breaker_one_asks_and_a_refusal_is_for_all() -> None:
    run = waiting_together("a", "b", "c")
    assert run.due(1010.0) == [("ask", "a", "main")]
    run.happen(BreakerRefused(1010.0, "a", "main", 1020.0, is_probing=True))
    assert (run.due(1019.9), run.state.next_due_at()) == ([], 1020.0)
    assert run.due(1020.0) == [("ask", "a", "main")]


def test_while_one_probes_another_asks_for_those_that_are_left() -> None:
    run = waiting_together("a", "b", "c")
    run.happen(BreakerAllowed(1010.0, "a", "main", is_probe=True))
    assert run.due(1010.0) == [("ask", "b", "main")]


@pytest.mark.parametrize(
    "told", [BreakerAllowed(1010.0, "a", "main", is_probe=False), BreakerClosed(1010.0, None, "main")]
)
def test_all_ask_for_themselves_once_their_breaker_is_closed(told: Event) -> None:
    run = waiting_together("a", "b", "c")
    run.happen(told)
    left = [task.id for task in run.state.tasks if task.status == "waiting"]
    assert run.due(1010.0) == [("ask", name, "main") for name in left]
    assert len(left) >= 2


def test_who_is_let_through_starts_before_what_has_become_due_meanwhile() -> None:
    late = task("b", attempts=2)
    run = AskedRun(late, task("a", breaker=BREAKER), max_parallel=1)
    run.happen(AttemptFailed(1000.5, "b", 1, BROKEN))
    assert run.due(1000.5) == [("ask", "a", "main")]
    run.happen(BreakerAllowed(1002.0, "a", "main", is_probe=True))
    assert list(run.state.running) == [run.state.plan.index["a"]]
    assert not run.state.breakers.allowed


@pytest.mark.parametrize("teller", ["a", None])
def test_who_waits_for_a_breaker_asks_again_once_it_is_closed(teller: str | None) -> None:
    run = AskedRun(task("a", breaker=BREAKER, strategy="finish"), task("b", breaker=BREAKER))
    run.happen(
        BreakerAllowed(1000.0, "a", "main", is_probe=True), BreakerRefused(1000.0, "b", "main", 1500.0)
    )
    assert run.state.next_due_at() == 1500.0
    run.happen(AttemptSucceeded(1004.0, "a", 1, None))
    assert run.due(1004.0) == [("tell", "a", "main", "success")]
    run.happen(BreakerClosed(1004.0, teller, "main"))
    assert ("ask", "b", "main") in run.due(1004.0)


def test_a_breaker_that_another_key_belongs_to_wakes_nobody() -> None:
    run = AskedRun(task("a", breaker=BREAKER))
    run.happen(BreakerRefused(1000.0, "a", "main", 1500.0))
    run.happen(BreakerClosed(1001.0, None, "second"))
    assert (run.due(1001.0), run.state.next_due_at()) == ([], 1500.0)


def test_two_runs_share_a_breaker_and_one_of_them_is_the_probe() -> None:
    breakers = Breakers()
    spec = workflow(task("a", breaker=BREAKER, attempts=5))
    results = {"a": [BROKEN, 1]}
    first = ScriptedRun(spec, script_of(results), breakers=breakers)
    second = ScriptedRun(spec, breakers=breakers, run_id="r-2")
    first.happen(first.outcome("a"))  # opens it
    second.happen(second.outcome("a"))  # began before: changes nothing
    third = ScriptedRun(spec, breakers=breakers, run_id="r-3")
    assert [(run.state.phase, bool(run.running)) for run in (first, second, third)] == [
        ("tasks", False),
        ("ended", False),
        ("tasks", False),
    ]
    for run in (first, third):
        run.now = 1010.0
        run.happen()
    assert [list(run.running) for run in (first, third)] == [["a"], []]
    first.happen(first.outcome("a"))
    third.happen(BreakerClosed(1010.0, None, "main"))
    assert list(third.running) == ["a"]


@pytest.mark.parametrize(("failure", "told"), [(BROKEN, 1), (TIMEOUT, 1)])
def test_failures_and_timeouts_count(failure: object, told: int) -> None:
    run = ScriptedRun(workflow(task("a", breaker=BREAKER)), lambda start: failure).finish()
    assert len(happened(run, BreakerOpened)) == told


def test_a_success_that_was_no_probe_is_not_told() -> None:
    run = ScriptedRun(workflow(task("a", breaker=BREAKER))).finish()
    assert not happened(run, BreakerCounted)


def test_a_lost_attempt_counts_nothing_and_asks_again() -> None:
    run = ScriptedRun(workflow(task("a", breaker=BREAKER)))
    run.crash()
    assert [(start.attempt, start.loss) for start in run.starts] == [(1, 0), (1, 1)]
    assert len(happened(run, BreakerAllowed)) == 2
    assert run.breakers["main"].failures == ()


def test_leave_does_not_outlive_the_process_that_got_it() -> None:
    run = AskedRun(task("a", breaker=BREAKER))
    run.happen(PauseRequested(1000.0, ""))
    run.happen(BreakerAllowed(1000.0, "a", "main", is_probe=True))
    assert run.due() == []
    run.happen(Resumed(2000.0))
    assert run.due(2000.0) == [("ask", "a", "main")]


@pytest.mark.parametrize(
    "before",
    [
        [],
        [PauseRequested(1000.0, ""), Resumed(1000.0)],
        [AttemptLost(1000.0, "a", 1, 0)],
    ],
    ids=["running", "resumed", "lost"],
)
def test_a_probe_that_comes_to_nothing_is_given_back(before: list[Event]) -> None:
    run = AskedRun(task("a", breaker=BREAKER), task("b"))
    run.happen(BreakerAllowed(1000.0, "a", "main", is_probe=True))
    if not any(isinstance(event, AttemptLost) for event in before):
        before = [*before, AttemptLost(1000.0, "a", 1, 0)]
    run.happen(*before)
    run.happen(CancelRequested(1001.0, ""))
    assert ("tell", "a", "main", "released") in run.due(1001.0)


def test_leave_that_is_not_used_is_given_back() -> None:
    run = AskedRun(task("a", breaker=BREAKER))
    run.happen(PauseRequested(1000.0, ""), BreakerAllowed(1000.0, "a", "main", is_probe=True))
    run.happen(CancelRequested(1001.0, ""))
    assert run.state.task("a").status == "skipped"
    assert run.due(1001.0) == [("tell", "a", "main", "released")]
    run.happen(BreakerCounted(1001.0, "a", "main"))
    assert run.state.phase == "ended"


def test_a_probe_that_its_breaker_refuses_afterwards_is_nobodys() -> None:
    run = AskedRun(task("a", breaker=BREAKER))
    run.happen(
        PauseRequested(1000.0, ""), BreakerAllowed(1000.0, "a", "main", is_probe=True), Resumed(1000.0)
    )
    run.happen(BreakerRefused(1000.0, "a", "main", 1010.0))
    run.happen(CancelRequested(1001.0, ""))
    assert run.state.phase == "ended"


def test_a_run_does_not_end_while_an_outcome_is_untold() -> None:
    run = AskedRun(task("a", breaker=BREAKER))
    run.happen(BreakerAllowed(1000.0, "a", "main", is_probe=False))
    run.happen(AttemptFailed(1001.0, "a", 1, BROKEN))
    assert run.state.frontier.open_count == 0
    assert run.due(1002.0) == [("tell", "a", "main", "failure")]
    run.happen(*recovered(run.state, 1005.0))  # and not after a crash
    assert run.due(1005.0) == [("tell", "a", "main", "failure")]
    run.happen(BreakerOpened(1005.0, "a", "main", 1011.0))
    assert run.state.phase == "ended"


def test_a_run_that_only_tells_its_breakers_yet_has_met_its_deadline() -> None:
    run = AskedRun(task("a", breaker=BREAKER), deadline=5.0)
    run.happen(BreakerAllowed(1000.0, "a", "main", is_probe=True))
    run.happen(AttemptSucceeded(1004.0, "a", 1, None))
    assert (run.due(1006.0), run.state.next_due_at()) == ([("tell", "a", "main", "success")], None)
    run.happen(BreakerClosed(1006.0, "a", "main"))
    assert run.state.ending is not None
    assert run.state.ending.outcome == "success"


@pytest.mark.parametrize("event", [BreakerCounted(1000.0, "a", "main"), BreakerClosed(1000.0, "a", "main")])
def test_an_outcome_that_was_told_is_not_told_again(event: Event) -> None:
    state = AskedRun(task("a", breaker=BREAKER)).state
    with pytest.raises(IllegalTransitionError):
        state.apply(event)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**48))
def test_every_outcome_is_told_before_the_run_ends(seed: int) -> None:
    draw = Random(seed)
    spec = random_workflow(draw)
    run = ScriptedRun(spec, lambda start: BROKEN if draw.random() < 0.6 else 1).finish()
    guarded = {each.id for each in spec.tasks if each.on_error.breaker is not None}
    owed = 0
    for event in run.journal:
        if isinstance(event, AttemptFailed) and event.task in guarded:
            owed += 1
        if isinstance(event, BreakerCounted | BreakerOpened):
            owed -= 1
        assert not (isinstance(event, RunEnding) and owed)
    assert run.state.phase == "ended"
    assert all(each.probe is None for each in run.breakers.values())


def test_what_is_allowed_refused_and_untold_is_frozen_and_thawed() -> None:
    run = AskedRun(
        task("a", breaker=BREAKER, strategy="finish"), task("b", breaker=BREAKER), task("c", breaker=BREAKER)
    )
    run.happen(
        BreakerAllowed(1000.0, "a", "main", is_probe=True), BreakerRefused(1000.0, "b", "main", 1500.0)
    )
    run.happen(PauseRequested(1000.0, ""), BreakerAllowed(1000.0, "c", "main", is_probe=False))
    run.happen(AttemptFailed(1001.0, "a", 1, BROKEN))
    frozen = freeze(run.state)
    thawed = thaw(run.state.plan, frozen.body, list(frozen.rows))
    assert thawed is not None
    assert snapshot(thawed) == snapshot(run.state)
    assert thawed.commands(1600.0) == run.state.commands(1600.0)
