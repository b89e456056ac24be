"""The rota: who is called takes a turn, in one task for all, and the loop's other tasks go on beside it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from time import perf_counter

import anyio
import pytest

from actorflow.actors.host import current_host
from actorflow.actors.rota import SLICE_S, Rota

pytestmark = pytest.mark.anyio


class Actor:
    """Does one thing in each of its turns."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.is_called = False
        self.turn = act


@asynccontextmanager
async def running_rota() -> AsyncGenerator[Rota]:
    rota = Rota(current_host())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(rota.run)
        yield rota
        tasks.cancel_scope.cancel()


async def test_actors_take_their_turns_in_the_order_in_which_they_were_called():
    taken: list[str] = []
    over = anyio.Event()
    async with running_rota() as rota:
        for name in "abc":
            rota.call(Actor(lambda name=name: taken.append(name)))
        rota.call(Actor(over.set))
        await over.wait()
    assert taken == ["a", "b", "c"]


async def test_an_actor_that_is_called_often_before_its_turn_takes_it_once():
    taken: list[int] = []
    over = anyio.Event()
    async with running_rota() as rota:
        actor = Actor(lambda: taken.append(1))
        rota.call(actor)
        rota.call(actor)
        rota.call(Actor(over.set))
        await over.wait()
    assert taken == [1]


async def test_an_actor_that_is_called_in_its_own_turn_takes_another_behind_those_that_wait():
    taken: list[str] = []
    over = anyio.Event()

    def act() -> None:
        taken.append("first")
        if len(taken) == 1:
            rota.call(actor)
        else:
            over.set()

    async with running_rota() as rota:
        actor = Actor(act)
        rota.call(actor)
        rota.call(Actor(lambda: taken.append("other")))
        await over.wait()
    assert taken == ["first", "other", "first"]


async def test_turns_without_end_let_other_tasks_of_the_loop_go_on():
    async with running_rota() as rota:
        actor = Actor(lambda: None)

        def act() -> None:
            until = perf_counter() + SLICE_S
            while perf_counter() < until:
                pass
            rota.call(actor)

        actor.turn = act
        rota.call(actor)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()


async def test_who_is_called_before_the_rota_runs_has_its_turn_when_it_does():
    over = anyio.Event()
    rota = Rota(current_host())
    rota.call(Actor(over.set))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(rota.run)
        await over.wait()
        tasks.cancel_scope.cancel()
