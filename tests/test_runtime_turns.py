"""Turns on a run: one caller at a time, in order, and none is lost to a caller who goes away."""

from __future__ import annotations

import anyio
import pytest

from actorflow.actors.host import current_host
from actorflow.runtime.turns import Turns

pytestmark = pytest.mark.anyio


async def test_callers_have_their_turns_one_at_a_time_in_the_order_in_which_they_come():
    turns = Turns(current_host())
    told: list[str] = []

    async def have(number: int) -> None:
        async with turns.of("run"):
            told.append(f"{number} begins")
            await anyio.lowlevel.checkpoint()
            told.append(f"{number} ends")

    async with anyio.create_task_group() as tasks:
        async with turns.of("run"):
            for number in range(3):
                tasks.start_soon(have, number)
                await anyio.wait_all_tasks_blocked()
            assert told == []
        await turns.over("run")
        assert len(told) == 6
    assert told == [f"{number} {what}" for number in range(3) for what in ("begins", "ends")]


async def test_turns_on_other_runs_are_not_waited_for():
    turns = Turns(current_host())
    with anyio.fail_after(5):
        async with turns.of("one"), turns.of("another"):
            await turns.over("a third")
        await turns.all_over()


async def test_nobody_waits_behind_a_caller_who_went_away():
    turns = Turns(current_host())
    gone = anyio.CancelScope()

    async def go_away() -> None:
        with gone:
            async with turns.of("run"):
                raise AssertionError("it has no turn")

    async with anyio.create_task_group() as tasks:
        async with turns.of("run"):
            tasks.start_soon(go_away)
            await anyio.wait_all_tasks_blocked()
            gone.cancel()
            await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(5):
            async with turns.of("run"):
                pass


async def test_a_turn_that_comes_together_with_its_callers_end_is_the_next_ones():
    turns = Turns(current_host())
    gone = anyio.CancelScope()

    async def come_and_go() -> None:
        with gone:
            async with turns.of("run"):
                await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        async with turns.of("run"):
            tasks.start_soon(come_and_go)
            await anyio.wait_all_tasks_blocked()
        gone.cancel()
        with anyio.fail_after(5):
            await turns.all_over()
            async with turns.of("run"):
                pass


async def test_a_caller_who_is_cancelled_already_has_a_turn_that_nobody_is_before():
    turns = Turns(current_host())
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with turns.of("run"):
            pass
        assert not scope.cancelled_caught
