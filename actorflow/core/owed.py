"""What async hooks are owed: by which events, and what each delivery says. It follows from the journal alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from attrs import field, frozen

from actorflow.core.events import (
    AttemptCanceled,
    AttemptLost,
    AttemptStarted,
    AttemptSucceeded,
    AttemptTimedOut,
    BreakerClosed,
    BreakerOpened,
    BudgetExhausted,
    DeadLettered,
    Event,
    FallbackChosen,
    FallbackValueUsed,
    GenerationStarted,
    PauseRequested,
    Resumed,
    RetriesExhausted,
    RetryScheduled,
    RunEnding,
    RunFinished,
    SignalReceived,
    StageCompleted,
    TaskCanceled,
    TaskFailed,
    TaskFinished,
    TaskSkipped,
)
from actorflow.core.hook_config import Entries, HookEntry, function_entry
from actorflow.core.hook_context import HookContext
from actorflow.core.hook_rendering import (
    NOTHING,
    Occasion,
    is_wanted,
    names_of,
    rendered_params,
    snapshot,
    transformed,
    with_input,
)
from actorflow.core.lifecycle import LIFECYCLE
from actorflow.core.transitions import ENDED
from actorflow.errors import ExpressionError
from actorflow.spec.model import HookEvent

if TYPE_CHECKING:
    from actorflow.core.state import RunState

FLAG: Final = "hooks"
"""Under this name a run's flags have the functions that its program had for events: `[[event, name], …]`."""

Functions: TypeAlias = Mapping[HookEvent, Entries]
"""Those of a program, by event."""

NO_FUNCTIONS: Final[Functions] = {}


@frozen
class OwedDelivery:
    """One event for one async hook."""

    seq: int  #: of the event
    entry: HookEntry
    context: HookContext  #: with params, in which there may be places for secrets
    skip: str = ""  #: why it is passed over, by what the hook's definition says
    fault: str = ""  #: why it cannot be rendered
    record: Mapping[str, Any] = field(factory=dict[str, Any])  #: what a transform has set: it needs no action


def functions_of(flags: Mapping[str, Any]) -> Functions:
    """The entries of functions that a run's flags tell of."""
    found: dict[HookEvent, list[HookEntry]] = {}
    for event, name in flags.get(FLAG, ()):
        found.setdefault(event, []).append(function_entry(event, name))
    return {event: tuple(entries) for event, entries in found.items()}


def owes_hooks(state: RunState) -> bool:
    """Whether events of a run may owe anything."""
    return state.plan.hooks.has_async or (state.started is not None and FLAG in state.started.flags)


def owed_by(
    state: RunState, seq: int, event: Event, functions: Functions = NO_FUNCTIONS
) -> Iterator[OwedDelivery]:
    """What an event owes to async hooks, in the order of their lists.

    Args:
        state: with the event applied, and nothing behind it.
        seq: the number of the event.
        event: of the run.
        functions: of `functions_of`.
    """
    for occasion in occasions(state, event):
        entries = _entries(state, occasion, functions)
        if entries:
            yield from _deliveries(state, seq, occasion, entries)


def owed_paths(state: RunState, event: Event, functions: Functions = NO_FUNCTIONS) -> tuple[str, ...]:
    """The paths of the hooks that an event owes something, without what they are told; state as for `owed_by`."""
    return tuple(
        entry.path
        for occasion in occasions(state, event)
        for entry in _entries(state, occasion, functions)
        if not entry.is_blocking
    )


def occasions(state: RunState, event: Event) -> Iterator[Occasion]:
    """What of the lifecycle an event is, once it is applied."""
    kind = type(event)
    told = _TOLD.get(kind)
    if told is not None:
        yield from told(state, event)
        return
    name = LIFECYCLE.get(kind)
    if name is None:
        return
    task = getattr(event, "task", None)
    detail = _DETAIL[kind](event) if kind in _DETAIL else NOTHING
    yield Occasion(name, event.at, None if task is None else state.plan.index[task], detail=detail)


def _entries(state: RunState, occasion: Occasion, functions: Functions) -> Entries:
    task = "" if occasion.task is None else state.tasks[occasion.task].id
    entries = state.plan.hooks.of(occasion.event, task)
    if functions:
        entries += functions.get(occasion.event, ())
    return entries if any(not entry.is_blocking for entry in entries) else ()


def _deliveries(state: RunState, seq: int, occasion: Occasion, entries: Entries) -> Iterator[OwedDelivery]:
    names = names_of(state, occasion)
    set_before = None if occasion.task is None else state.tasks[occasion.task].vars
    known: dict[str, Any] = dict(set_before or NOTHING)
    for entry in entries:
        own = with_input(state, entry, occasion, names)
        if known:
            own = {**own, "vars": known}
        is_transform = entry.spec.action == "transform"
        if entry.is_blocking:
            if is_transform and set_before is None:
                known = _with_vars(known, entry, own)
            continue
        owed = _delivery(state, seq, occasion, entry, own)
        if is_transform:
            known = {**known, **owed.record.get("vars", NOTHING)}
        yield owed


def _with_vars(known: dict[str, Any], entry: HookEntry, names: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {**known, **transformed(entry, names)["vars"]} if not is_wanted(entry, names) else known
    except ExpressionError:
        return known  # it has failed: what reads it says so


def _delivery(
    state: RunState, seq: int, occasion: Occasion, entry: HookEntry, names: Mapping[str, Any]
) -> OwedDelivery:
    skip = fault = ""
    params: Any = None
    record: Mapping[str, Any] = NOTHING
    try:
        skip = is_wanted(entry, names)
        if not skip and entry.spec.action == "transform":
            record = {"vars": transformed(entry, names)["vars"]}
        elif not skip:
            params = rendered_params(entry, names)
    except ExpressionError as error:
        fault = str(error)
    delivery_id = f"{state.run_id}/{seq}/{entry.path}"
    context = snapshot(state, entry, occasion, delivery_id, names, params)
    return OwedDelivery(seq, entry, context, skip, fault, record)


# What is more than one thing, or depends on what was before


def _generation(_: RunState, event: GenerationStarted) -> Iterator[Occasion]:
    detail = {"cause": event.cause}
    yield Occasion("pre_workflow", event.at, detail=detail)
    yield Occasion("workflow_started", event.at, detail=detail)


def _attempt(state: RunState, event: AttemptStarted) -> Iterator[Occasion]:
    index = state.plan.index[event.task]
    if state.tasks[index].restarted_at is None:
        yield Occasion("task_started", event.at, index, detail={"agent": event.agent})


def _end(
    state: RunState,
    event: AttemptSucceeded | AttemptCanceled | FallbackValueUsed | TaskFailed | TaskCanceled | TaskFinished,
) -> Iterator[Occasion]:
    """An outcome is the end of a task unless it has hooks that are waited for: then what follows them is."""
    index = state.plan.index[event.task]
    if state.tasks[index].status in ENDED:
        yield Occasion("task_finished", event.at, index)


def _stage(_: RunState, event: StageCompleted) -> Iterator[Occasion]:
    yield Occasion("on_stage_complete", event.at, status=event.status, stage=event.stage)


def _ending(_: RunState, event: RunEnding) -> Iterator[Occasion]:
    if event.outcome == "failed":
        yield Occasion("on_error", event.at)
    yield Occasion("post_workflow", event.at)


def _finished(_: RunState, event: RunFinished) -> Iterator[Occasion]:
    yield Occasion("workflow_finished", event.at)


_TOLD: Final = cast(
    "Mapping[type[Event], Callable[[RunState, Event], Iterator[Occasion]]]",
    {
        GenerationStarted: _generation,
        AttemptStarted: _attempt,
        AttemptSucceeded: _end,
        AttemptCanceled: _end,
        FallbackValueUsed: _end,
        TaskFailed: _end,
        TaskCanceled: _end,
        TaskFinished: _end,
        StageCompleted: _stage,
        RunEnding: _ending,
        RunFinished: _finished,
    },
)


def _facts(*names: str) -> Callable[[Any], Mapping[str, Any]]:
    return lambda event: {name: getattr(event, name) for name in names}


_DETAIL: Final[Mapping[type[Event], Callable[[Any], Mapping[str, Any]]]] = {
    RetryScheduled: _facts("attempt", "due_at"),
    FallbackChosen: _facts("agent"),
    RetriesExhausted: _facts("agent", "attempts"),
    BreakerOpened: _facts("key", "until"),
    BreakerClosed: _facts("key"),
    BudgetExhausted: _facts("task"),
    DeadLettered: _facts("letter", "attempts"),
    AttemptLost: _facts("attempt", "loss"),
    AttemptTimedOut: _facts("attempt"),
    TaskSkipped: _facts("reason"),
    PauseRequested: _facts("cause"),
    Resumed: _facts(),
    SignalReceived: lambda event: {"name": event.name, "payload": event.payload, "id": event.signal_id},
}
