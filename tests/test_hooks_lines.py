"""The line of a hook: what is tried when, and what waits for what. Times are those of a clock that jumps."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import anyio
import pytest
import trio
import trio.testing

from actorflow.core.delivery import TryResult
from actorflow.core.hook_context import HookContext
from actorflow.hooks.actor import LATE_PAUSE_S, LATE_S, REST_S
from actorflow.hooks.line import BATCH_MAX, MOST_AT_ONCE
from actorflow.hooks.opening import WINDOW
from actorflow.journal import open_journal
from actorflow.spec.model import BatchSpec, HookSpec, RetrySpec
from tests.delivery_lives import FAILED, RUN, Life, Pager, Run, delivery_id, hook, no, path

STEADY = RetrySpec(max_attempts=3, delay=10.0, backoff="constant", jitter="none")
EXACTLY = 0.02
"""Seconds: deliveries are looked at some milliseconds after their events."""

Scene = Callable[[Life], Awaitable[None]]


def virtually(pager: Pager, scene: Scene, *hooks: HookSpec, **more: Any) -> Run:
    """Play a scene with a new run, on the clock that jumps; what is owed is delivered in the end."""
    run = Run(open_journal("memory:"), *hooks)

    async def main() -> None:
        async with run.life(pager, is_new=True, longest_s=math.inf, **more) as life:
            await scene(life)
            await life.drain()

    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(main, clock=clock)  # pyright: ignore[reportUnknownMemberType] - its stub is untyped
    return run


def signals(count: int) -> Scene:
    """So many at once."""

    async def scene(life: Life) -> None:
        life.signal(count)
        await anyio.sleep(1.0)

    return scene


def since_first(pager: Pager) -> list[float]:
    return [at - pager.times[0] for at in pager.times]


def fails_until(number: int, *signals: int) -> Callable[[HookContext], TryResult]:
    """These signals fail before so many tries; the others never do."""

    def answer(context: HookContext) -> TryResult:
        return FAILED if context.params["n"] in signals and context.number < number else TryResult()

    return answer


def test_what_waits_for_its_next_try_holds_up_those_behind_it() -> None:
    pager = Pager(fails_until(3, 1))
    run = virtually(pager, signals(3), hook(retry=STEADY))
    assert pager.numbers() == [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1)]
    assert since_first(pager) == pytest.approx([0.0, 10.0, 20.0, 20.0, 20.0], abs=EXACTLY)
    assert run.statuses() == ["delivered"] * 3


def test_the_line_is_free_when_its_head_is_given_up() -> None:
    pager = Pager(fails_until(9, 1))
    run = virtually(pager, signals(2), hook(retry=STEADY))
    assert pager.numbers() == [(1, 1), (1, 2), (1, 3), (2, 1)]
    assert run.statuses() == ["dead_letter", "delivered"]


def test_a_line_without_order_passes_by_what_waits() -> None:
    pager = Pager(fails_until(3, 1))
    virtually(pager, signals(3), hook(retry=STEADY, ordered=False))
    assert pager.numbers() == [(1, 1), (2, 1), (3, 1), (1, 2), (1, 3)]
    assert since_first(pager) == pytest.approx([0.0, 0.0, 0.0, 10.0, 20.0], abs=EXACTLY)


def test_a_line_in_order_makes_one_try_at_a_time_and_one_without_a_few() -> None:
    in_order, without = Pager(takes_s=lambda _: 1.0), Pager(takes_s=lambda _: 1.0)
    virtually(in_order, signals(5), hook())
    virtually(without, signals(40), hook(ordered=False))
    assert (in_order.most_at_work, without.most_at_work) == (1, MOST_AT_ONCE)
    assert since_first(in_order)[-1] == pytest.approx(4.0, abs=EXACTLY)
    assert since_first(without)[-1] == pytest.approx(2.0, abs=EXACTLY)


def test_who_waits_for_a_time_holds_no_runner_and_records_its_try() -> None:
    pager = Pager(fails_until(2, 1))

    async def scene(life: Life) -> None:
        life.signal(1)
        await anyio.sleep(5.0)
        assert pager.at_work_count == 0
        (row,) = life.run.rows
        assert [one["status"] for one in row.body["tries"]] == ["failed"]
        assert row.due_at == pytest.approx(life.run.at + 10.0, abs=0.5)

    virtually(pager, scene, hook(retry=STEADY))
    assert pager.numbers() == [(1, 1), (1, 2)]


def test_an_action_that_takes_many_gets_what_there_is() -> None:
    pager = Pager(is_batchable=True, takes_s=lambda _: 0.1)
    run = virtually(pager, signals(500), hook())
    assert pager.numbers() == [(n, 1) for n in range(1, 501)]
    assert max(len(batch) for batch in pager.batches) == BATCH_MAX
    assert run.statuses() == ["delivered"] * 500


def test_an_action_that_takes_one_gets_one_whatever_its_hook_says() -> None:
    pager = Pager()
    virtually(pager, signals(4), hook(batch=BatchSpec(max=3, window=0.0)))
    assert [len(batch) for batch in pager.batches] == [1, 1, 1, 1]


def test_the_first_of_a_batch_waits_for_more_and_a_full_one_goes_at_once() -> None:
    pager = Pager(is_batchable=True)

    async def scene(life: Life) -> None:
        life.signal(1)
        await anyio.sleep(2.0)
        life.signal(1)
        await anyio.sleep(20.0)
        life.signal(4)
        await anyio.sleep(20.0)

    virtually(pager, scene, hook(batch=BatchSpec(max=3, window=5.0)))
    assert [[context.params["n"] for context in batch] for batch in pager.batches] == [[1, 2], [3, 4, 5], [6]]
    assert since_first(pager) == pytest.approx([0.0, 17.0, 22.0], abs=EXACTLY)


def test_a_batch_does_not_wait_when_the_run_is_over() -> None:
    pager = Pager(is_batchable=True)

    async def scene(life: Life) -> None:
        life.signal(1)
        with anyio.fail_after(1.0):
            await life.drain()

    virtually(pager, scene, hook(batch=BatchSpec(max=3, window=60.0)))
    assert len(pager.batches) == 1


def test_each_of_a_batch_has_an_outcome_of_its_own() -> None:
    pager = Pager(fails_until(2, 2, 4), is_batchable=True)
    run = virtually(pager, signals(5), hook(retry=STEADY, batch=BatchSpec(max=5, window=1.0)))
    assert [[c.params["n"] for c in batch] for batch in pager.batches] == [[1, 2, 3, 4, 5], [2, 4]]
    assert run.statuses() == ["delivered"] * 5


def test_what_gets_too_old_while_it_waits_is_a_dead_letter() -> None:
    pager = Pager(no)
    patient = RetrySpec(max_attempts=100, delay=40.0, backoff="constant", jitter="none", max_delay=40.0)
    run = virtually(pager, signals(2), hook(retry=patient, max_age=100.0))
    assert since_first(pager) == pytest.approx([0.0, 40.0, 80.0], abs=EXACTLY)
    assert run.statuses() == ["dead_letter", "dead_letter"]
    assert run.settled[delivery_id(2)].record["reason"] == "older than 100 s"
    reasons = {letter.reason for letter in run.journal.dead_letters()}
    assert reasons == {"older than 100 s; last: no", "older than 100 s"}


def test_an_open_circuit_is_asked_again_at_its_time() -> None:
    asked: list[HookContext] = []

    def answer(context: HookContext) -> TryResult:
        asked.append(context)
        if len(asked) < 4:
            return TryResult(status="circuit_open", error="open", until=life_of[0].debtor.now() + 30.0)
        return TryResult()

    life_of: list[Life] = []

    async def scene(life: Life) -> None:
        life_of.append(life)
        life.signal(1)
        await anyio.sleep(1.0)

    pager = Pager(answer)
    run = virtually(pager, scene, hook())
    assert since_first(pager) == pytest.approx([0.0, 30.0, 60.0, 90.0], abs=EXACTLY)
    assert [one["status"] for one in run.settled[delivery_id(1)].record["tries"]] == ["circuit_open"] * 3 + [
        "ok"
    ]


def test_a_chain_of_events_wakes_its_deliveries_now_and_then() -> None:
    pager = Pager(is_batchable=True)

    async def scene(life: Life) -> None:
        for _ in range(100):
            life.signal(1)
            await anyio.sleep(0.0005)

    virtually(pager, scene, hook())
    assert len(pager.told) == 100
    assert len(pager.batches) <= 15


def test_deliveries_make_way_while_tasks_are_on_the_move_and_follow_once_they_rest() -> None:
    pager = Pager(is_batchable=True)
    busy = [True]

    async def scene(life: Life) -> None:
        life.signal(1)
        await anyio.sleep(LATE_S - 2 * REST_S)
        assert pager.told == []
        busy.clear()
        await anyio.sleep(REST_S)
        assert len(pager.told) == 1

    virtually(pager, scene, hook(), is_busy=lambda: bool(busy))


def test_deliveries_that_are_late_make_way_no_more() -> None:
    pager = Pager(is_batchable=True)

    async def scene(life: Life) -> None:
        for count in range(1, 6):
            life.signal(1)
            await anyio.sleep(LATE_S + REST_S)
            assert len(pager.told) == count

    virtually(pager, scene, hook(), is_busy=lambda: True)


def test_what_is_late_gets_a_part_of_the_loop_until_nothing_is_left() -> None:
    pager = Pager(is_batchable=True)

    async def scene(life: Life) -> None:
        life.signal(5_000)
        await anyio.sleep(LATE_S - REST_S)
        assert pager.told == []
        with anyio.fail_after(60.0):
            while len(pager.told) < 5_000:  # noqa: ASYNC110 - a clock that jumps has to be looked at
                await anyio.sleep(LATE_PAUSE_S)

    virtually(pager, scene, hook(), is_busy=lambda: True)
    gaps = [later - at for at, later in pairwise(sorted(set(pager.times)))]
    assert max(gaps) <= LATE_PAUSE_S + EXACTLY


def test_a_hook_that_is_slow_holds_up_no_other_however_much_it_has_to_do() -> None:
    pager = Pager(takes_s=lambda context: 0.05 if context.path == path(0) else 0.0)

    async def scene(life: Life) -> None:
        life.signal(1_000)
        await anyio.sleep(2.0)
        assert len(pager.numbers(1)) == 1_000
        assert len(pager.numbers(0)) <= 41

    run = virtually(pager, scene, hook(), hook())
    assert run.statuses(0) == run.statuses(1) == ["delivered"] * 1_000


def test_what_is_done_at_once_needs_no_rows_and_few_records() -> None:
    pager = Pager()
    lives: list[Life] = []
    residents: list[int] = []

    async def scene(life: Life) -> None:
        lives.append(life)
        life.signal(3_000)
        with anyio.fail_after(60.0):
            while len(pager.told) < 3_000:
                residents.append(life.deliveries.resident_count)
                await anyio.sleep(0.0005)

    virtually(pager, scene, hook())
    records = lives[0].records
    assert not any(record.pending for record in records)
    assert len(records) <= 30
    assert max(residents) <= WINDOW


def test_the_record_of_a_delivery_has_each_try_and_the_facts_of_the_last() -> None:
    def answer(context: HookContext) -> TryResult:
        facts = {"exit_status": context.number, "stdout": "x" * 1_000}
        return TryResult(status="failed", error=f"exit {context.number}", has_acted=True, record=facts)

    run = virtually(Pager(answer), signals(1), hook(retry=STEADY))
    settled = run.settled[delivery_id(1)]
    assert settled.status == "failed"
    record = settled.record
    assert (record["exit_status"], len(record["stdout"]), record["summary"]) == (3, 1_000, "exit 3")
    assert [(one["number"], one["error"]) for one in record["tries"]] == [(n, f"exit {n}") for n in (1, 2, 3)]
    assert {len(one["record"]["stdout"]) for one in record["tries"]} == {200}
    assert not run.journal.dead_letters()


def test_the_backlog_counts_what_is_not_settled() -> None:
    pager = Pager(fails_until(2, 1))

    async def scene(life: Life) -> None:
        life.signal(3)
        await anyio.sleep(1.0)
        assert life.actor.backlog == 3
        await life.drain()
        assert life.actor.backlog == 0
        await life.actor.forget(RUN)

    virtually(pager, scene, hook(retry=STEADY))
