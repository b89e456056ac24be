"""Signals: kept by name until somebody waits for them, and the same one received once."""

from __future__ import annotations

import pytest

from actorflow.core.checkpoint import freeze, thaw
from actorflow.core.events import CancelRequested, PauseRequested, SignalReceived
from actorflow.errors import IllegalTransitionError
from tests.scenarios import BROKEN, hook_lists, snapshot, task, workflow
from tests.scripted import ScriptedRun


def go(number: int, name: str = "go") -> SignalReceived:
    return SignalReceived(1000.0, name, {"n": number}, f"s-{number}")


def test_payloads_are_kept_by_name_oldest_first() -> None:
    run = ScriptedRun(workflow(task("a")))
    run.happen(go(1), go(2, "stop"), go(3))
    assert run.state.signals == {"go": [{"n": 1}, {"n": 3}], "stop": [{"n": 2}]}


@pytest.mark.parametrize("again", [go(1), SignalReceived(1001.0, "stop", None, "s-1")])
def test_the_same_signal_is_received_once(again: SignalReceived) -> None:
    run = ScriptedRun(workflow(task("a")))
    run.happen(go(1))
    before = snapshot(run.state)
    with pytest.raises(IllegalTransitionError):
        run.state.apply(again)
    assert snapshot(run.state) == before


def test_a_signal_changes_nothing_that_is_due() -> None:
    run = ScriptedRun(workflow(task("a", attempts=2), task("b", "a")), lambda start: BROKEN)
    run.happen(run.outcome("a"))
    before, due_at = run.state.commands(1001.0), run.state.next_due_at()
    run.state.apply(go(1))
    assert (run.state.commands(1001.0), run.state.next_due_at()) == (before, due_at)


def test_a_signal_comes_in_at_any_time_until_the_run_has_ended() -> None:
    run = ScriptedRun(workflow(task("a"), hooks=hook_lists(pre_workflow=1, post_workflow=1)))
    run.happen(go(1))
    run.happen(run.outcome(""))
    run.happen(PauseRequested(1000.0, ""), go(2), CancelRequested(1000.0, ""), go(3))
    while run.state.phase != "ending":
        run.happen(*[run.outcome(name) for name in list(run.running)])
    run.happen(go(4))
    run.finish()
    assert list(run.state.signal_ids) == ["s-1", "s-2", "s-3", "s-4"]
    with pytest.raises(IllegalTransitionError):
        run.state.apply(go(5))


def test_signals_outlive_crashes_generations_and_checkpoints() -> None:
    run = ScriptedRun(workflow(task("a")), lambda start: BROKEN)
    run.happen(go(1))
    run.crash()
    run.finish()
    run.next_generation()
    assert run.state.signals == {"go": [{"n": 1}]}
    frozen = freeze(run.state)
    thawed = thaw(run.state.plan, frozen.body, list(frozen.rows))
    assert thawed is not None
    assert (thawed.signals, thawed.signal_ids) == (run.state.signals, run.state.signal_ids)
