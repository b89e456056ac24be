"""The room of asyncio-only libraries, and the rates that live in it."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator

import anyio
import pytest
import sniffio

from actorflow.actors.host import current_host
from actorflow.actors.room import AsyncioRoom
from actorflow.hooks.rates import HookRates
from tests.hook_tries import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def room(anyio_backend: str) -> AsyncIterator[AsyncioRoom]:
    room = AsyncioRoom(current_host())
    yield room
    await room.aclose()


async def where(*_: object) -> tuple[str, str]:
    return sniffio.current_async_library(), threading.current_thread().name


def room_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "actorflow-asyncio"]


async def test_a_call_runs_upon_asyncio_wherever_the_caller_is(room: AsyncioRoom):
    assert (await room.call(where))[0] == "asyncio"


async def test_upon_asyncio_the_room_is_the_loop_itself_and_elsewhere_one_thread(room, anyio_backend):
    assert room_threads() == []
    places = {await room.call(where, number) for number in range(3)}
    is_apart = anyio_backend == "trio"
    assert len(places) == 1
    assert places.pop()[1] == ("actorflow-asyncio" if is_apart else threading.current_thread().name)
    assert len(room_threads()) == is_apart


async def test_callers_that_come_together_open_one_room(room, anyio_backend):
    async with anyio.create_task_group() as callers:
        for _ in range(5):
            callers.start_soon(room.call, where)
    assert len(room_threads()) == (anyio_backend == "trio")


async def test_a_call_returns_what_the_function_returns(room):
    async def add(first: int, second: int) -> int:
        return first + second

    assert await room.call(add, 1, 2) == 3


@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(3), ExceptionGroup("two", [OSError(), KeyError()])]
)
async def test_a_call_raises_what_the_function_raises(room, error):
    async def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await room.call(fail)
    assert caught.value is error
    assert (await room.call(where))[0] == "asyncio"


async def test_cancelling_a_call_cancels_it_in_the_room_and_waits_for_it(room):
    begun, ended = threading.Event(), threading.Event()

    async def hang() -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.02)
            ended.set()

    async with anyio.create_task_group() as callers:
        callers.start_soon(room.call, hang)
        await until(begun.is_set)
        callers.cancel_scope.cancel()
    assert ended.is_set()


async def test_a_call_that_ends_well_in_spite_of_its_cancellation_is_cancelled_still(room):
    begun = threading.Event()
    returned = []

    async def stubborn() -> int:
        begun.set()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.02)
        return 1

    async def call() -> None:
        returned.append(await room.call(stubborn))
        await anyio.lowlevel.checkpoint()
        returned.append("went on")

    async with anyio.create_task_group() as callers:
        callers.start_soon(call)
        await until(begun.is_set)
        callers.cancel_scope.cancel()
    assert "went on" not in returned


async def test_cancelling_one_call_leaves_the_others_alone(room):
    release = threading.Event()

    async def wait() -> str:
        await until(release.is_set)
        return "done"

    answers = []

    async def call() -> None:
        answers.append(await room.call(wait))

    async with anyio.create_task_group() as callers:
        callers.start_soon(call)
        with anyio.move_on_after(0.02):
            await room.call(anyio.sleep_forever)
        release.set()
    assert answers == ["done"]


async def test_closing_ends_the_thread_and_a_later_call_begins_another(room, anyio_backend):
    await room.call(where)
    await room.aclose()
    assert room_threads() == []
    assert (await room.call(where))[0] == "asyncio"


async def test_a_call_that_is_under_way_when_the_room_closes_ends_in_an_error(room, anyio_backend):
    if anyio_backend == "asyncio":  # the room is the loop itself, and is never closed
        return
    begun = threading.Event()
    told = []

    async def hang() -> None:
        begun.set()
        await anyio.sleep_forever()

    async def call() -> None:
        with pytest.raises(RuntimeError, match="the room was closed") as caught:
            await room.call(hang)
        told.append(caught.value)

    async with anyio.create_task_group() as callers:
        callers.start_soon(call)
        await until(begun.is_set)
        await room.aclose()
    assert len(told) == 1


async def test_closing_twice_and_closing_what_was_never_used_is_nothing(room):
    await room.aclose()
    await room.call(where)
    await room.aclose()
    await room.aclose()


async def test_the_room_is_closed_also_by_who_is_cancelled(room):
    await room.call(where)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await room.aclose()
    await room.aclose()
    assert room_threads() == []


async def test_turns_are_no_closer_to_each_other_than_the_rate_says(room):
    rates = HookRates(room)
    at = []
    for _ in range(6):
        await rates.turn("hook", 100)
        at.append(time.monotonic())
    assert at[5] - at[0] >= 0.045


async def test_a_rate_below_one_a_second_lets_the_first_through_at_once(room):
    rates = HookRates(room)
    with anyio.fail_after(5):
        await rates.turn("hook", 1 / 3_600)
    with anyio.move_on_after(0.02) as patience:
        await rates.turn("hook", 1 / 3_600)
    assert patience.cancelled_caught


async def test_each_hook_has_a_rate_of_its_own(room):
    rates = HookRates(room)
    with anyio.fail_after(5):
        for key in ("a", "b", "c"):
            await rates.turn(key, 1 / 3_600)
