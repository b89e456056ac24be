"""What people are told of a run beyond its result: which hooks failed, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from actorflow.core.events import Event, GenerationStarted, HookFinished
from actorflow.journal import Delivery
from actorflow.runtime.result import RunResult
from actorflow.spec.model import HookSpec, WorkflowSpec


@frozen
class FailedHook:
    """A hook that did not do what it should."""

    path: str  #: such as `post_workflow[0]`
    name: str  #: its description, or else its command
    summary: str


@frozen
class Account:
    """A run, its definition, and the hooks that failed in its last generation."""

    spec: WorkflowSpec
    result: RunResult
    failed_hooks: tuple[FailedHook, ...] = ()


def failed_hooks(
    spec: WorkflowSpec, events: Iterable[tuple[int, Event]], deliveries: Sequence[Delivery]
) -> tuple[FailedHook, ...]:
    """The hooks that failed in the last generation: blocking ones as they ran, then async ones."""
    failed: list[FailedHook] = []
    first_seq = 0
    for seq, event in events:
        if isinstance(event, GenerationStarted):
            failed, first_seq = [], seq
        elif isinstance(event, HookFinished) and event.status != "ok":
            hook = spec.hooks.of(event.event)[event.index]
            summary = str(event.record.get("summary", event.status))
            failed.append(FailedHook(f"{event.event}[{event.index}]", hook_name(hook), summary))
    for delivery in deliveries:
        if delivery.status == "failed" and delivery.seq > first_seq:
            summary = str(delivery.record.get("summary", delivery.status))
            failed.append(FailedHook(delivery.hook, hook_name(_hook_of(spec, delivery)), summary))
    return tuple(failed)


def hook_name(hook: HookSpec) -> str:
    """What a hook is called among people."""
    command = hook.command if isinstance(hook.command, str) else " ".join(hook.command)
    return hook.description or command.strip().partition("\n")[0]


def _hook_of(spec: WorkflowSpec, delivery: Delivery) -> HookSpec:
    index = int(delivery.hook.rpartition("[")[2].removesuffix("]"))
    return spec.hooks.on_stage_complete[index]
