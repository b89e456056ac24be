"""The performers behind the words `echo`, `fail` and `sleep:DURATION`: for trying a workflow out."""

from __future__ import annotations

from typing import Any, NoReturn

import anyio

from actorflow.agents.call import AgentCall, Performer
from actorflow.agents.failure import AgentFailed

__all__ = ["echo", "fail", "sleep"]


async def echo(call: AgentCall) -> dict[str, Any]:
    """Succeed with the input and the description."""
    return {"input": call.input, "description": call.description}


async def fail(_call: AgentCall) -> NoReturn:
    """Fail, with type `fail`."""
    raise AgentFailed("fail", "told to fail")


def sleep(seconds: float) -> Performer:
    """Make a performer that succeeds with null after so many seconds."""

    async def perform(_call: AgentCall) -> None:
        await anyio.sleep(seconds)

    return perform
