"""What tests of hooks in a Runtime share: definitions in short, and what a journal has of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from actorflow import load_dict
from actorflow.core.events import Event, HookFinished
from actorflow.hooks import HookRegistry
from actorflow.hooks.actions.custom import CustomFunction
from actorflow.journal import Journal, open_journal
from actorflow.journal.protocol import Delivery
from actorflow.runtime.handle import RunHandle
from actorflow.spec.action_contracts import ActionContract
from actorflow.spec.model import WorkflowSpec

AGENTS = {"echo": "echo", "fail": "fail"}

ECHO: dict[str, Any] = {"agent": "echo"}


def workflow(
    tasks: Mapping[str, Any] | None = None,
    hooks: Mapping[str, Any] | None = None,
    *,
    actions: Mapping[str, ActionContract] | None = None,
    folder: Path | None = None,
    **more: object,
) -> WorkflowSpec:
    """A definition with these tasks, one that succeeds if none are given, and these hooks of its own."""
    document = {"name": "w", "tasks": tasks or {"a": ECHO}, "hooks": hooks or {}, **more}
    return load_dict(document, trust="own", folder=folder, actions=actions)


@frozen
class Words:
    """The params of actions in tests."""

    say: str = ""


def registry_with(function: CustomFunction, name: str = "act", **more: Any) -> HookRegistry:
    """A registry with one action of the program's own, beside those that are built in."""
    registry = HookRegistry()
    registry.hook_action(name, params=Words, **more)(function)
    return registry


def sqlite(folder: Path) -> str:
    """The URL of a store in a folder."""
    return f"sqlite:///{folder / 'runs.db'}"


async def ends_of_hooks(handle: RunHandle) -> list[tuple[str, str, int, str]]:
    """Event, subject, place and status of each blocking hook that has ended, in order."""
    events = [event async for _, event in handle.events()]
    return [(e.event, e.subject, e.index, e.status) for e in finished_hooks(events)]


def finished_hooks(events: Sequence[Event]) -> list[HookFinished]:
    """The ends of blocking hooks."""
    return [event for event in events if isinstance(event, HookFinished)]


def kept(store: str, run_id: str) -> tuple[Sequence[Delivery], list[str]]:
    """What a store has of a run's deliveries: those that are settled, and the ids of those that wait in a row."""
    journal: Journal = open_journal(store)
    try:
        rows = journal.pending(run_id, limit=100_000)
        return journal.deliveries(run_id), [row.delivery_id for row in rows]
    finally:
        journal.close()
