"""Hooks performer without a run: each once, as a run would have it done, but for what only a run can do."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from attrs import frozen

from actorflow.actors.host import current_host
from actorflow.actors.room import AsyncioRoom
from actorflow.core.breaker import Allowed, BreakerAsk, BreakerReport
from actorflow.core.delivery import TryResult
from actorflow.core.hook_context import HookContext
from actorflow.core.plan import Plan
from actorflow.egress.guard import NOTHING_ALLOWED, Guard
from actorflow.hooks.actions.action import ActionSurroundings, DispatchRefused
from actorflow.hooks.executor import HookExecutor
from actorflow.hooks.rates import HookRates
from actorflow.hooks.registry import REGISTRY
from actorflow.http.client import HttpClient
from actorflow.metrics.registry import Metrics
from actorflow.processes import ProcessTrees
from actorflow.runtime.environment import inherited_environment, run_secrets

__all__ = ["performer"]


@asynccontextmanager
async def performer(
    plan: Plan, guard: Guard = NOTHING_ALLOWED
) -> AsyncGenerator[Callable[[HookContext], Awaitable[TryResult]]]:
    """What makes one try of a hook of this definition.

    Circuit breakers are closed, metrics go nowhere, and a run that a hook would start is not started.
    """
    host = current_host()
    room = AsyncioRoom(host)
    http = HttpClient(room)
    around = ActionSurroundings(
        host=host,
        trees=ProcessTrees(),
        folder=plan.spec.folder,
        inherited=inherited_environment(plan.spec),
        secrets=run_secrets(plan),
        metrics=Metrics(),
        dispatch=_start_nothing,
        functions={},
        http=http,
        guard=guard,
    )
    executor = HookExecutor(
        host=host,
        registry=REGISTRY,
        around=around,
        rates=HookRates(room),
        breakers=_Closed(),
        now=time.time,
    )

    async def perform(context: HookContext) -> TryResult:
        (result,) = await executor.deliver([context])
        return result

    try:
        yield perform
    finally:
        with anyio.CancelScope(shield=True):
            await http.aclose()
            await room.aclose()


async def _start_nothing(context: HookContext, target: str, given: Any) -> str:
    del context, given
    raise DispatchRefused(f"a test starts no run of {target}", is_depth=True)


@frozen
class _Closed:
    """Circuit breakers that let everybody through."""

    async def ask(self, question: BreakerAsk) -> Allowed:
        del question
        return Allowed(is_probe=False)

    def report(self, told: BreakerReport) -> None:
        del told
