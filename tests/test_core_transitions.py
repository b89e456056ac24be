"""The transition tables are the check: what does not fit is refused, and leaves no trace."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow.core import state as core_state
from actorflow.core.events import (
    AttemptCanceled,
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
    AttemptSucceeded,
    AttemptTimedOut,
    BlockingHookEvent,
    BreakerAllowed,
    BreakerClosed,
    BreakerCounted,
    BreakerOpened,
    BreakerRefused,
    BudgetExhausted,
    CancelRequested,
    DeadLettered,
    DefinitionChanged,
    Event,
    FallbackChosen,
    FallbackValueUsed,
    GenerationStarted,
    HookFinished,
    HookLost,
    HookStarted,
    PauseRequested,
    Resumed,
    RetriesExhausted,
    RetryScheduled,
    RunDeadlinePassed,
    RunEnding,
    RunFinished,
    RunStarted,
    SignalReceived,
    SleepStarted,
    StageCompleted,
    TaskCanceled,
    TaskDeadlinePassed,
    TaskFailed,
    TaskFinished,
    TaskSkipped,
)
from actorflow.core.plan import plan_of
from actorflow.core.state import RunState
from actorflow.core.transitions import ENDED, RUN_TRANSITIONS, TASK_TRANSITIONS, RunPhase, TaskStatus
from actorflow.errors import IllegalTransitionError
from actorflow.spec.model import WorkflowSpec
from tests.scenarios import BROKEN, hook_lists, script_of, snapshot, task, workflow, workflows
from tests.scripted import ScriptedRun
from tests.test_core_naive import ComparedRun, accidents, histories

AT = st.floats(1000.0, 1100.0)
TASK = st.sampled_from([*(f"t{i}" for i in range(5)), "nobody"])
NUMBER = st.integers(0, 4)
HOOK = st.sampled_from(get_args(BlockingHookEvent))
SUBJECT = st.sampled_from(["", "t0", "t1", "t2", "s0", "nothing"])
RECORD = st.sampled_from([{}, {"vars": {"n": 1}}, {"vars": {}, "output": 1}])
OUTCOME = st.sampled_from(["success", "failed", "canceled"])
FAILURE = st.just(BROKEN)
KEY = st.sampled_from(["main", "second", "shared"])

ANY_EVENT = st.one_of(
    st.builds(RunStarted, AT, st.just("r-2"), *[st.just("")] * 2, *[st.just({})] * 4, st.just(1)),
    st.builds(GenerationStarted, AT, NUMBER, st.just("resume")),
    st.builds(GenerationStarted, AT, NUMBER, st.just("retry"), st.tuples(TASK)),
    st.builds(AttemptStarted, AT, TASK, NUMBER, NUMBER, st.sampled_from(["main", "second"])),
    st.builds(AttemptSucceeded, AT, TASK, NUMBER, NUMBER),
    st.builds(AttemptFailed, AT, TASK, NUMBER, FAILURE),
    st.builds(AttemptTimedOut, AT, TASK, NUMBER, FAILURE),
    st.builds(AttemptCanceled, AT, TASK, NUMBER),
    st.builds(AttemptLost, AT, TASK, NUMBER, NUMBER),
    st.builds(RetryScheduled, AT, TASK, NUMBER, AT),
    st.builds(FallbackChosen, AT, TASK, st.sampled_from(["main", "second", "third", "nobody"])),
    st.builds(FallbackValueUsed, AT, TASK, NUMBER),
    st.builds(RetriesExhausted, AT, TASK, st.just("main"), NUMBER),
    st.builds(BudgetExhausted, AT, TASK),
    st.builds(BreakerAllowed, AT, TASK, KEY, st.booleans()),
    st.builds(BreakerRefused, AT, TASK, KEY, AT),
    st.builds(BreakerCounted, AT, TASK, KEY),
    st.builds(BreakerOpened, AT, TASK, KEY, AT),
    st.builds(BreakerClosed, AT, st.none() | TASK, KEY),
    st.builds(SleepStarted, AT, TASK, AT),
    st.builds(TaskDeadlinePassed, AT, TASK),
    st.builds(TaskFailed, AT, TASK, st.sampled_from(["tolerated", "fatal"]), FAILURE),
    st.builds(DeadLettered, AT, TASK, st.just("r-1/1/t0"), st.none(), FAILURE, NUMBER),
    st.builds(TaskCanceled, AT, TASK),
    st.builds(TaskSkipped, AT, TASK, st.sampled_from(["when", "upstream", "aborted", "canceled"])),
    st.builds(
        StageCompleted, AT, st.sampled_from(["s0", "s1", "nothing"]), st.sampled_from(["success", "failed"])
    ),
    st.builds(TaskFinished, AT, TASK, st.sampled_from(["success", "failed", "canceled"])),
    st.builds(HookStarted, AT, HOOK, NUMBER, SUBJECT),
    st.builds(HookFinished, AT, HOOK, NUMBER, st.sampled_from(["ok", "failed"]), RECORD, SUBJECT),
    st.builds(HookLost, AT, HOOK, NUMBER, SUBJECT),
    st.builds(PauseRequested, AT, st.just("")),
    st.builds(Resumed, AT),
    st.builds(CancelRequested, AT, st.just("")),
    st.builds(SignalReceived, AT, st.just("go"), NUMBER, st.sampled_from(["s-1", "s-2"])),
    st.builds(DefinitionChanged, AT, st.just("hash"), st.just({})),
    st.builds(RunDeadlinePassed, AT),
    st.builds(RunEnding, AT, OUTCOME, st.just({}), st.none(), st.none()),
    st.builds(RunFinished, AT, OUTCOME),
)


@settings(max_examples=60, deadline=None)
@given(
    workflows(max_tasks=4, is_guarded=True, is_hooked=True),
    histories,
    st.lists(ANY_EVENT, min_size=5, max_size=15),
)
def test_an_event_that_does_not_fit_is_refused_and_changes_nothing(
    spec: WorkflowSpec, history: bytes, events: list[Event]
) -> None:
    lived = ComparedRun(spec)
    for kind, number in accidents(history[:24]):
        lived.let_happen(kind, number)
    for event in events:
        state = folded(spec, lived.state.journal)
        before = snapshot(state)
        try:
            state.apply(event)
        except IllegalTransitionError:
            assert snapshot(state) == before


@settings(max_examples=60, deadline=None)
@given(workflows(max_tasks=4, is_guarded=True, is_hooked=True), st.lists(ANY_EVENT, min_size=5, max_size=40))
def test_nonsense_is_refused_in_order_too(spec: WorkflowSpec, events: list[Event]) -> None:
    state = folded(spec, ScriptedRun(spec).journal)
    for event in events:
        before = snapshot(state)
        try:
            state.apply(event)
        except IllegalTransitionError:
            assert snapshot(state) == before


def folded(spec: WorkflowSpec, journal: list[Event]) -> RunState:
    state = RunState(plan_of(spec))
    for event in journal:
        state.apply(event)
    return state


def test_every_event_is_in_the_table_of_the_run() -> None:
    assert {kind for _, kind in RUN_TRANSITIONS} == set(get_args(Event))
    assert {kind for _, kind in TASK_TRANSITIONS} < set(get_args(Event))
    assert set(core_state.APPLIERS) == set(get_args(Event))


def test_every_status_can_be_left_or_is_an_end() -> None:
    left = {status for (status, _), to in TASK_TRANSITIONS.items() if to != status}
    assert left | ENDED == set(get_args(TaskStatus))
    assert not left & ENDED
    assert {phase for phase, _ in RUN_TRANSITIONS} == set(get_args(RunPhase))


SPEC = workflow(task("a", attempts=2), task("b", "a"), hooks=hook_lists(post_workflow=1))


@pytest.mark.parametrize(
    ("events", "last"),
    [
        ([], AttemptStarted(1.0, "a", 1, 0, "main")),  # it runs already
        ([], AttemptStarted(1.0, "b", 2, 0, "main")),  # its first attempt is 1
        ([], AttemptStarted(1.0, "nobody", 1, 0, "main")),
        ([], AttemptSucceeded(1.0, "a", 2, None)),  # attempt 1 is running
        ([], AttemptFailed(1.0, "b", 1, BROKEN)),  # it does not run
        ([], RetryScheduled(1.0, "a", 2, 2.0)),  # nothing failed
        ([], TaskCanceled(1.0, "a")),  # only what waits
        ([], TaskSkipped(1.0, "a", "upstream")),
        ([], StageCompleted(1.0, "one", "success")),
        ([], RunEnding(1.0, "success", {}, None, None)),  # tasks are open
        ([], RunFinished(1.0, "success")),
        ([], HookStarted(1.0, "post_workflow", 0)),
        ([], GenerationStarted(1.0, 2, "resume")),
        ([], RunStarted(1.0, "r-1", "w", "", {}, {}, {}, {}, 1)),
        ([AttemptSucceeded(1.0, "a", 1, None)], AttemptSucceeded(1.0, "a", 1, None)),
        (
            [AttemptFailed(1.0, "a", 1, BROKEN)],
            FallbackChosen(1.0, "a", "second"),
        ),  # there is no second agent
        ([AttemptFailed(1.0, "a", 1, BROKEN)], AttemptStarted(1.0, "a", 2, 0, "main")),  # there is no verdict
        ([AttemptLost(1.0, "a", 1, 0)], AttemptStarted(1.0, "a", 2, 0, "main")),  # attempt 1 runs again
        ([AttemptLost(1.0, "a", 1, 0)], AttemptStarted(1.0, "a", 1, 0, "main")),  # as loss 1
        ([PauseRequested(1.0, ""), AttemptLost(1.0, "a", 1, 0)], AttemptStarted(1.0, "a", 1, 1, "main")),
        ([CancelRequested(1.0, ""), AttemptLost(1.0, "a", 1, 0)], AttemptStarted(1.0, "a", 1, 1, "main")),
    ],
)
def test_what_can_not_happen_is_refused(events: list[Event], last: Event) -> None:
    state = folded(SPEC, [*ScriptedRun(SPEC).journal, *events])
    before = snapshot(state)
    with pytest.raises(IllegalTransitionError):
        state.apply(last)
    assert snapshot(state) == before


def test_an_ended_run_takes_nothing_but_another_generation() -> None:
    run = ScriptedRun(SPEC, script_of({"a": [BROKEN]})).finish()
    for event in (
        Resumed(1.0),
        PauseRequested(1.0, ""),
        RunFinished(1.0, "failed"),
        GenerationStarted(1.0, 1, "start"),
    ):
        with pytest.raises(IllegalTransitionError):
            run.state.apply(event)
    run.state.apply(GenerationStarted(1.0, 2, "resume"))
