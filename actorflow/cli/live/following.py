"""A run of this process, followed in a live view until it is over and its hooks have had what they are owed."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import anyio

from actorflow.cli.execution import beside
from actorflow.cli.live.counting import rest_s
from actorflow.cli.live.display import REFRESH_S, LiveDisplay
from actorflow.cli.live.view import RunView
from actorflow.cli.screen import Screen
from actorflow.runtime.handle import RunHandle
from actorflow.spec.model import WorkflowSpec

__all__ = ["follow_live"]

T = TypeVar("T")


async def follow_live(
    screen: Screen, spec: WorkflowSpec, handle: RunHandle, conclude: Callable[[], Awaitable[T]]
) -> T:
    """Show a run while it goes on, then conclude, still showing it.

    Args:
        screen: that the view is shown on.
        spec: the run's definition.
        handle: of the run.
        conclude: called when the run is over.
    """
    view = RunView(spec)

    async def work() -> T:
        async for _, event in handle.events():
            view.apply(event)
            # what runs has its grace period yet; the state alone does not tell that from a run at rest
            view.note_owner("pausing" if view.state.is_pausing else "")
        view.note_owner("")
        return await conclude()

    with LiveDisplay(screen, view) as display:
        companions = [partial(_refresh, display), partial(_read_output, view, handle)]
        if view.state.plan.hooks.has_async:
            companions.append(partial(_count_hooks, view, handle))
        concluded = await beside(work, *companions)
        if view.deliveries is not None:
            view.note_hooks(await handle.hooks())
        return concluded


async def _refresh(display: LiveDisplay) -> None:
    while True:
        display.refresh(time.time())
        await anyio.sleep(REFRESH_S)


async def _read_output(view: RunView, handle: RunHandle) -> None:
    position = 0
    while True:
        if view.numbers("running"):
            lines, position = await handle.output(position)
            view.note_output(lines)
        await anyio.sleep(REFRESH_S)


async def _count_hooks(view: RunView, handle: RunHandle) -> None:
    while True:
        began = time.monotonic()
        view.note_hooks(await handle.hooks())
        await anyio.sleep(rest_s(time.monotonic() - began))
