"""What people are told of a run beyond its result: how each hook ended, and what it printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import evolve, field, frozen

from actorflow.core.events import (
    CancelRequested,
    Event,
    GenerationStarted,
    HookFinished,
    HookLost,
    HookStarted,
    PauseRequested,
    Resumed,
    StageCompleted,
)
from actorflow.journal import Delivery
from actorflow.journal.protocol import DeadLetter
from actorflow.runtime.result import RunResult
from actorflow.spec.model import HookSpec, WorkflowSpec


@frozen(kw_only=True)
class HookRun:
    """A hook that has begun."""

    path: str  #: such as `post_workflow[0]`
    name: str  #: its description, or else its command
    stage: str | None = None  #: that completed
    status: str  #: ok, failed, timed_out, canceled; `not_ended` while it runs, or after a crash
    record: Mapping[str, Any] = field(factory=dict[str, Any])  #: exit status, output, seconds

    @property
    def summary(self) -> str:
        """Why it did not do what it should."""
        return str(self.record.get("summary", self.status.replace("_", " ")))


@frozen
class Account:
    """A run, its definition, and what is told of its last generation beside the result."""

    spec: WorkflowSpec
    result: RunResult
    failed_hooks: tuple[HookRun, ...] = ()
    letters: tuple[DeadLetter, ...] = ()  #: failures of its last generation that wait for somebody
    cause: str | None = None  #: who or what canceled or paused it
    pid: int | None = None  #: of another process, which has the run yet

    @property
    def status(self) -> str:
        """That of the run; `pausing` where what runs of it has not ended yet."""
        is_held = self.result.status == "paused" and self.pid is not None
        return "pausing" if is_held else self.result.status


STOPPED: Final = frozenset({"canceled", "paused", "pausing"})
"""The statuses of a run that somebody or something has stopped."""


def stop_cause(status: str, events: Iterable[tuple[int, Event]]) -> str | None:
    """Why a run of this status was stopped, as whoever asked for it has said; None if nobody did."""
    cancel: str | None = None
    pause: str | None = None
    for _, event in events:
        match event:
            case GenerationStarted():
                cancel = pause = None
            case Resumed():
                pause = None
            case CancelRequested(cause=cause):
                cancel = cause
            case PauseRequested(cause=cause):
                pause = cause
            case _:
                pass
    return cancel if status == "canceled" else pause


def failed_hooks(
    spec: WorkflowSpec, events: Iterable[tuple[int, Event]], deliveries: Sequence[Delivery]
) -> tuple[HookRun, ...]:
    """The hooks that failed in the last generation."""
    hooks = hook_runs(spec, events, deliveries)
    return tuple(hook for hook in hooks if hook.status not in {"ok", "not_ended"})


def hook_runs(
    spec: WorkflowSpec, events: Iterable[tuple[int, Event]], deliveries: Sequence[Delivery]
) -> tuple[HookRun, ...]:
    """The hooks of the last generation in the order in which the journal has what called for them.

    One that a crash cut off is there once, as its last performance ended. The events of a run whose definition has no
    hooks are not read.
    """
    if not spec.hooks.lists:
        return ()
    owed: dict[int, list[Delivery]] = {}
    for delivery in deliveries:
        owed.setdefault(delivery.seq, []).append(delivery)
    runs: dict[str, HookRun] = {}
    for seq, event in events:
        match event:
            case GenerationStarted():
                runs.clear()
            case HookStarted(event=name, index=index) | HookLost(event=name, index=index):
                path = f"{name}[{index}]"
                runs[path] = HookRun(
                    path=path, name=hook_name(spec.hooks.of(name)[index]), status="not_ended"
                )
            case HookFinished(event=name, index=index, status=status, record=record):
                path = f"{name}[{index}]"
                runs[path] = evolve(runs[path], status=status, record=record)
            case StageCompleted(stage=stage):
                runs.update({each.delivery_id: _delivered(spec, each, stage) for each in owed.get(seq, ())})
            case _:
                pass
    return tuple(runs.values())


def hook_name(hook: HookSpec) -> str:
    """What a hook is called among people."""
    command = hook.command if isinstance(hook.command, str) else " ".join(hook.command)
    return hook.description or command.strip().partition("\n")[0]


def _delivered(spec: WorkflowSpec, delivery: Delivery, stage: str) -> HookRun:
    index = int(delivery.hook.rpartition("[")[2].removesuffix("]"))
    name = hook_name(spec.hooks.of("on_stage_complete")[index])
    status = "ok" if delivery.status == "delivered" else "failed"
    return HookRun(path=delivery.hook, name=name, stage=stage, status=status, record=delivery.record)
