"""The agents of research.yaml. Each is called with an AgentCall; what it returns is its task's output, as JSON."""

from __future__ import annotations

import asyncio
from typing import Any

from actorflow import AgentCall


async def search(call: AgentCall) -> list[str]:
    """Find sources; the first attempt fails, as services do."""
    if call.attempt == 1:
        raise ConnectionError("the search engine hung up")
    await asyncio.sleep(0.1)
    return [f"{call.input['topic']} for beginners", f"a history of {call.input['topic']}"]


def read(call: AgentCall) -> dict[str, Any]:
    """Read a source. A plain function runs in a thread, so it may block."""
    title: str = call.input["title"]
    return {"title": title, "words": 100 * len(title)}


async def write(call: AgentCall) -> str:
    """Write with the large model, which is overloaded today."""
    raise TimeoutError("the large model is overloaded")


async def write_plainly(call: AgentCall) -> str:
    """Write with the small one. The key is the same on every attempt: hand it to whoever must not act twice."""
    words = sum(source["words"] for source in call.input["sources"])
    return f"{call.input['topic']}: {words} words read (key {call.idempotency_key})"
