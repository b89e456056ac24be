"""The workflow that is killed with all kinds of hooks: waited for and not, that fail, give up, and start a run."""

from __future__ import annotations

import os
from typing import Any

from attrs import frozen
from crash_workflows import RUN_ID, append, deadly_hooks, hook

from actorflow.core.hook_context import HookContext
from actorflow.hooks import HookRegistry

REGISTRY = HookRegistry()
"""The actions of lives."""


@frozen
class NoParams:
    """Nothing."""


@REGISTRY.hook_action("hopeless", params=NoParams)
async def hopeless(context: HookContext, params: NoParams) -> None:
    """Never succeed; the ledger has the number of the try where it has the attempt of a task."""
    append(f"start {context.delivery_id} {context.number} 0\n")
    raise ConnectionError("nobody there")
