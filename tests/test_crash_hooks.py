"""A process is killed while a hook runs, or between an event and the delivery that it owes."""

from __future__ import annotations

from itertools import product

import pytest
from crash_checks import check_crashed, check_ended, ledger
from crash_lives import BACKENDS, Death, Life, live_through
from crash_workflows import RUN_ID

from actorflow.core.events import HookLost, StageCompleted


def _in_turn(first, second):
    """All pairs, with the back ends alternating along either of the two."""
    places = product(enumerate(first), enumerate(second))
    return [(one, other, BACKENDS[(i + j) % 2]) for (i, one), (j, other) in places]


BLOCKING = ["pre_workflow", "on_error", "post_workflow"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    reports = {}
    for workflow in ("deadly-hooks", "deadly-deliveries"):
        folder = tmp_path_factory.mktemp(workflow)
        reports[workflow] = live_through(Life(folder, workflow)).facts
        check_ended(folder)
    return reports


@pytest.mark.parametrize(("event", "index", "backend"), _in_turn(BLOCKING, range(3)))
def test_a_hook_that_dies_with_its_runner_runs_again_and_those_before_it_do_not(
    event, index, backend, undisturbed, tmp_path
):
    (tmp_path / f"kill-{event}--{index}").touch()
    assert live_through(Life(tmp_path, "deadly-hooks", backend)) is None
    left = check_crashed(tmp_path)
    report = live_through(Life(tmp_path, "deadly-hooks", backend))
    assert report.facts == undisturbed["deadly-hooks"]
    run = check_ended(tmp_path, left)
    assert [(lost.event, lost.index) for lost in run.of(HookLost)] == [(event, index)]
    starts = ledger(tmp_path).starts
    for each in BLOCKING:
        for i in range(3):
            assert starts[f"{RUN_ID}/1/{each}[{i}]", 0, 0] == (2 if (each, i) == (event, index) else 1)


@pytest.mark.parametrize(("stage", "index", "backend"), _in_turn(["first", "second"], range(2)))
def test_a_delivery_that_dies_with_its_runner_is_tried_again_under_the_same_id_and_counted_once(
    stage, index, backend, undisturbed, tmp_path
):
    (tmp_path / f"kill-on_stage_complete-{stage}-{index}").touch()
    assert live_through(Life(tmp_path, "deadly-deliveries", backend)) is None
    left = check_crashed(tmp_path)
    report = live_through(Life(tmp_path, "deadly-deliveries", backend))
    assert report.facts == undisturbed["deadly-deliveries"]
    assert report.facts["hooks"] == {
        "delivered": 4,
        "failed": 0,
        "pending": 0,
        "dead_letters": 0,
        "skipped": 0,
    }
    run = check_ended(tmp_path, left)
    starts = ledger(tmp_path).starts
    for event_seq, event in run.events:
        if isinstance(event, StageCompleted):
            for i in range(2):
                body = (f"{RUN_ID}/{event_seq}/on_stage_complete[{i}]", 0, 0)
                # another may have been under way as well, or its end on the way into the journal
                assert starts[body] in ((2,) if (event.stage, i) == (stage, index) else (1, 2))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("nth", [1, 2])
def test_a_kill_between_the_end_of_a_stage_and_its_deliveries_loses_none(nth, backend, undisturbed, tmp_path):
    life = Life(tmp_path, "deadly-deliveries", backend, Death("after", keeps="StageCompleted", nth=nth))
    assert live_through(life) is None
    left = check_crashed(tmp_path)
    owed = left[0].owed[2 * nth - 2 :]
    assert len(owed) == 2
    assert not [body for body in left[1].starts if body[0] in owed]
    assert (
        live_through(Life(tmp_path, "deadly-deliveries", backend)).facts == undisturbed["deadly-deliveries"]
    )
    check_ended(tmp_path, left)
    starts = ledger(tmp_path).starts
    assert [starts[delivery, 0, 0] for delivery in owed] == [1, 1]


@pytest.mark.parametrize(("moment", "backend"), list(product(["before", "after"], BACKENDS)))
def test_a_delivery_is_repeated_only_until_it_is_recorded(moment, backend, undisturbed, tmp_path):
    death = Death(moment, keeps="Delivery")
    assert live_through(Life(tmp_path, "deadly-deliveries", backend, death)) is None
    left = check_crashed(tmp_path)
    assert (
        live_through(Life(tmp_path, "deadly-deliveries", backend)).facts == undisturbed["deadly-deliveries"]
    )
    run = check_ended(tmp_path, left)
    starts = {delivery: ledger(tmp_path).starts[delivery, 0, 0] for delivery in run.owed}
    recorded = {delivery.delivery_id for delivery in left[0].deliveries}
    assert bool(recorded) == (moment == "after")
    assert all(starts[delivery] == 1 for delivery in recorded)
    assert set(starts.values()) <= {1, 2}
    assert moment == "after" or 2 in starts.values()
