"""A state that was frozen, written as JSON, and thawed goes on as the one that never was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow.core import checkpoint
from actorflow.core.breaker_book import BreakerBook
from actorflow.core.checkpoint import Frozen, freeze, thaw
from actorflow.core.events import (
    BreakerClosed,
    CancelRequested,
    Event,
    Failure,
    PauseRequested,
    Resumed,
    SignalReceived,
)
from actorflow.core.frontier import Frontier
from actorflow.core.hook_line import HookLine
from actorflow.core.plan import Plan, plan_of
from actorflow.core.state import RunState
from actorflow.core.step import next_generation
from actorflow.spec.model import WorkflowSpec
from tests.random_runs import random_workflow
from tests.scenarios import hook_lists, snapshot, task, workflow
from tests.scripted import ScriptedRun

RESULTS: Sequence[Any] = [
    1,
    1,
    1,
    2,
    None,
    {"n": [1]},
    Failure("Broken", "ü"),
    Failure("timeout", "", {"s": 1}),
]
KINDS = ["end"] * 8 + ["end all", "wait", "wait", "crash", "pause", "resume", "resume", "cancel", "again"]
KINDS += ["retry", "signal", "closed"]


def drawn_history(spec: WorkflowSpec, choices: bytes) -> list[Event]:
    """What a run of many accidents leaves in its journal; each byte is one, or an outcome."""
    numbers = iter(choices * 2)
    run = ScriptedRun(
        spec,
        lambda start: RESULTS[next(numbers, 0) % len(RESULTS)],
        lambda hook: "failed" if next(numbers, 0) % 4 == 0 else "ok",
    )
    for byte in choices:
        let_happen(run, KINDS[byte % len(KINDS)], byte // len(KINDS))
    return run.journal


def let_happen(run: ScriptedRun, kind: str, number: int) -> None:
    state = run.state
    running = list(run.running)
    match kind:
        case "again" if state.phase == "ended":
            run.happen(next_generation(state, run.now))
        case "retry" if state.phase == "ended":
            letters = [task.id for task in state.tasks if task.effect == "fatal"]
            run.happen(next_generation(state, run.now, letters[:1]))
        case _ if state.phase == "ended":
            pass
        case "end" if running:
            run.happen(run.outcome(running[number % len(running)]))
        case "end all" if running:
            run.happen(*(run.outcome(name) for name in running))
        case "wait":
            run.now += [0.5, 1.0, 4.0, 60.0][number % 4]
            run.happen()
        case "crash":
            run.crash()
        case "pause":
            run.happen(PauseRequested(run.now, ""))
        case "resume":
            run.happen(Resumed(run.now))
        case "signal":
            run.happen(SignalReceived(run.now, f"go {number % 2}", {"n": number}, f"s-{len(run.journal)}"))
        case "closed" if state.phase == "tasks":
            run.happen(BreakerClosed(run.now, None, ["main", "second", "shared"][number % 3]))
        case "cancel" if number < 3:
            run.happen(CancelRequested(run.now, ""))
        case _:
            pass


def through_json(plan: Plan, frozen: Frozen) -> RunState:
    """Like what a journal does: JSON has no infinity, and writes none."""
    body, rows = json.loads(json.dumps([frozen.body, list(frozen.rows)]).replace("-Infinity", "null"))
    state = thaw(plan, body, rows)
    assert state is not None
    return state


def assert_equal(thawed: RunState, whole: RunState) -> None:
    assert snapshot(thawed) == snapshot(whole)
    for wait in (0.0, 1.5, 100.0):
        assert thawed.commands(whole.last_at + wait) == whole.commands(whole.last_at + wait)
    assert (thawed.next_due_at(), thawed.progress) == (whole.next_due_at(), whole.progress)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**48))
def test_a_state_thawed_at_any_event_equals_the_one_that_was_folded_to_the_end(seed: int) -> None:
    draw = Random(seed)
    spec = random_workflow(draw)
    plan, events = plan_of(spec), drawn_history(spec, draw.randbytes(30))
    whole, often = RunState(plan), RunState(plan)
    once: list[RunState] = []
    for event in events:
        for state in (whole, often, *once):
            state.apply(event)
        often = through_json(plan, freeze(often))
        assert_equal(often, whole)
        if len(once) < 8:
            once.append(through_json(plan, freeze(whole)))
    for state in once:
        assert_equal(state, whole)


def test_rows_that_are_read_later_are_those_of_the_moment() -> None:
    spec = workflow(*(task(f"t{n}", *([f"t{n - 1}"] if n else [])) for n in range(5)), task("x", attempts=2))
    run = ScriptedRun(spec, lambda start: Failure("Broken", "") if start.task == "x" else start.task)
    run.happen(run.outcome("t0"))
    at_once, later = through_json(run.state.plan, freeze(run.state)), freeze(run.state)
    run.finish()
    assert_equal(through_json(run.state.plan, later), at_once)


def test_tasks_that_nothing_has_happened_to_take_no_room() -> None:
    run = ScriptedRun(workflow(*(task(f"t{n}") for n in range(50)), max_parallel=2))
    run.happen(run.outcome("t0"))
    _, _, *rows = freeze(run.state).rows
    assert sorted(row[0] for row in rows) == [0, 1, 2]
    assert {len(row) for row in rows} == {8}


def test_all_that_a_state_holds_is_kept_or_follows_from_that() -> None:
    """Whoever gives a state another field must say here what becomes of it."""
    state = RunState(plan_of(workflow(task("a"), hooks=hook_lists(pre_workflow=1))))
    told = {
        "plan",
        "started",
        "ending",
        "fatal",
        "tasks",
        "hooks",
        "task_lines",
        "stage_lines",
        "stage_statuses",
        "frontier",
        "running",
        "undecided",
        "to_fail",
        "to_bury",
        "signals",
        "signal_ids",
        "breakers",
    }
    assert set(vars(state)) == {*checkpoint.RUN_FIELDS, *told, "known"}
    lists = (*checkpoint.FRONTIER_LISTS, *checkpoint.FRONTIER_HEAPS, *checkpoint.FRONTIER_PAIRS)
    assert set(vars(state.frontier)) == {*lists, "open_count", "_stages", "_plan", "_tasks"}
    book = {"allowed", "probes", "refused", "to_fall_back", "hopeless", "untold", "_plan", "_tasks"}
    assert set(vars(BreakerBook(state.plan, state.tasks))) == book
    assert set(vars(HookLine("", ()))) == {"subject", "_places", "_position", "is_running", "vars", "failure"}
    assert set(vars(Frontier(state.plan, state.tasks))) == set(vars(state.frontier))


@pytest.mark.parametrize("change", [None, ["phase"], 7])
def test_what_code_with_other_fields_has_frozen_is_not_thawed(change: object) -> None:
    run = ScriptedRun(workflow(task("a")))
    frozen = freeze(run.state)
    body, rows = json.loads(json.dumps([{**frozen.body, "form": change}, list(frozen.rows)], allow_nan=True))
    assert thaw(run.state.plan, body, rows) is None
    del body["form"]
    assert thaw(run.state.plan, body, rows) is None
