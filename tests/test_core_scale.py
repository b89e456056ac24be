"""The core at size: nothing recursive, nothing quadratic."""

from __future__ import annotations

from time import process_time

import pytest

from actorflow.core.events import AttemptFailed, TaskFailed
from tests.scenarios import BROKEN, happened, linear, script_of, task, workflow
from tests.scripted import ScriptedRun


def test_a_chain_of_50_000_tasks_is_skipped_opened_again_and_run_to_its_end() -> None:
    chain = linear(f"t{i}" for i in range(50_000))
    run = ScriptedRun(workflow(*reversed(chain)), script_of({"t0": [BROKEN, 1]})).finish()
    assert [task.status for task in run.state.tasks] == ["skipped"] * 49_999 + ["failed"]
    run.next_generation()
    assert all(task.status == "success" for task in run.state.tasks)


def test_2_000_tasks_may_fail_at_once() -> None:
    names = [f"t{i}" for i in range(2_000)]
    tasks = [task(name, strategy="finish", attempts=2) for name in names]
    run = ScriptedRun(
        workflow(*tasks, task("join", *names), max_parallel=2_000), script_of({n: [BROKEN] for n in names})
    )
    run.finish()
    assert len(happened(run, AttemptFailed)) == 4_000
    assert len(happened(run, TaskFailed)) == 2_000
    assert run.state.task("join").reason == "upstream"


def test_the_first_of_2_000_failures_aborts_the_others() -> None:
    names = [f"t{i}" for i in range(2_000)]
    run = ScriptedRun(
        workflow(*map(task, names), max_parallel=2_000), script_of({n: [BROKEN] for n in names})
    )
    run.happen(run.outcome("t7"))
    run.finish()
    statuses = [task.status for task in run.state.tasks]
    assert (statuses.count("failed"), statuses.count("canceled")) == (1, 1_999)


@pytest.mark.parametrize("results", [{}, {f"t{i}": [BROKEN, 1] for i in range(6_000)}], ids=["ready", "due"])
def test_the_time_per_task_does_not_grow_with_the_tasks_that_wait_for_a_slot(
    results: dict[str, list[object]],
) -> None:
    def time_per_task(count: int) -> float:
        run = ScriptedRun(
            workflow(*(task(f"t{i}", attempts=2) for i in range(count)), max_parallel=10), script_of(results)
        )
        began = process_time()
        while run.state.phase != "ended":
            if run.running:
                run.happen(run.outcome(next(iter(run.running))))  # one at a time
            else:
                run.now = run.state.next_due_at() or 0.0
                run.happen()
        return (process_time() - began) / count

    time_per_task(100)
    assert time_per_task(6_000) < 5 * time_per_task(500)


def test_a_dead_letter_at_the_head_of_20_000_tasks_is_tried_again() -> None:
    chain = linear(f"t{i}" for i in range(20_000))
    head = task("t0", strategy="finish")
    run = ScriptedRun(workflow(*reversed(chain[1:]), head), script_of({"t0": [BROKEN, 1]})).finish()
    assert [each.status for each in run.state.tasks] == ["skipped"] * 19_999 + ["failed"]
    run.next_generation("t0")
    assert all(each.status == "success" for each in run.state.tasks)


def test_2_000_failures_in_one_step_are_decided_one_by_one_where_retries_are_counted() -> None:
    names = [f"t{i}" for i in range(2_000)]
    tasks = [task(name, strategy="finish", attempts=2) for name in names]
    run = ScriptedRun(
        workflow(*tasks, max_parallel=2_000, retry_budget=700), script_of({n: [BROKEN] for n in names})
    )
    run.finish()
    assert len(happened(run, AttemptFailed)) == 2_700
