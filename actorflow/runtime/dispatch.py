"""Runs that hooks start: `dispatch_task` makes of a task, or of an agent, a run of its own.

Such a run is detached: linked to its parent, and nothing to its outcome. Its id follows from the delivery that asked for
it, so that a delivery which is tried again finds the run that it has started before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from hashlib import blake2b
from typing import Any, Final, TypeAlias

from attrs import evolve, field, frozen

from actorflow.actors.latch import Latch
from actorflow.core.events import RunStarted
from actorflow.core.hook_context import HookContext
from actorflow.core.state import RunState
from actorflow.hooks.actions.action import DispatchRefused
from actorflow.spec.checks.dispatches import dispatched_by
from actorflow.spec.model import HookLists, Limits, TaskSpec, WorkflowSpec


@frozen(eq=False)
class Parent:
    """A run whose hooks start runs."""

    state: Callable[[], RunState]  #: as it is then
    children: list[Latch]  #: set when those that they have started here have settled

    @property
    def started(self) -> RunStarted:
        """Its first event, which comes before all that its hooks are owed."""
        started = self.state().started
        assert started is not None
        return started


Dispatching: TypeAlias = Callable[[Parent, HookContext, str, Any], Awaitable[str]]
"""Starts a run for a hook; see `hooks.actions.action.Dispatch`."""

DEEPEST: Final = 3
"""Dispatched runs may dispatch runs, so many times over; the requirements say so."""

PARENT: Final = "parent"
"""Under this name a run's flags have who started it: `{run_id, task, delivery_id, depth}`."""

_KEPT: Final = 64
_ID_BYTES: Final = 8


@frozen
class DispatchedSpecs:
    """The definitions of dispatched runs: the same object for the same target, so that it is bound once."""

    _made: OrderedDict[tuple[int, str], tuple[WorkflowSpec, WorkflowSpec]] = field(
        factory=OrderedDict[tuple[int, str], tuple[WorkflowSpec, WorkflowSpec]]
    )

    def of(self, parent: WorkflowSpec, target: str) -> WorkflowSpec:
        """The definition of the run that a target of a parent's hook becomes."""
        key = (id(parent), target)
        known = self._made.get(key)
        if known is None or known[0] is not parent:
            known = self._made[key] = (parent, dispatched_spec(parent, target))
            if len(self._made) > _KEPT:
                self._made.popitem(last=False)
        return known[1]


def dispatched_spec(parent: WorkflowSpec, target: str) -> WorkflowSpec:
    """A workflow of one task: that of the parent's file with this id, or one for the agent of this name.

    Its own hooks act; those that the parent's file has for all tasks belong to the parent. Nothing leads to it and on
    from it.
    """
    task = next((task for task in parent.dispatched if task.id == target), None)
    task = task or TaskSpec(id=target, agent=target)
    alone = evolve(
        task,
        depends_on=(),
        on_failure_of=(),
        on_end_of=(),
        on_success=None,
        on_error=evolve(task.on_error, next=None),
    )
    whole = evolve(
        parent,
        name=f"{parent.name}/{target}",
        description=task.description,
        entry=None,
        entries=(),
        inputs=None,
        outputs={},
        limits=Limits(durability=parent.limits.durability, keep=parent.limits.keep),
        tasks=(alone,),
        stages=(),
        hooks=HookLists(),
        default_hooks=HookLists(),
    )
    return evolve(whole, dispatched=dispatched_by(whole))


def dispatched_id(target: str, delivery_id: str) -> str:
    """The id of the run that a delivery starts."""
    return f"{target}-{blake2b(delivery_id.encode(), digest_size=_ID_BYTES).hexdigest()}"


def parent_flag(started: RunStarted, context: HookContext) -> Mapping[str, Any]:
    """What the run of a delivery records of who started it.

    Raises:
        DispatchRefused: it would be one too many below each other.
    """
    depth = int(started.flags.get(PARENT, {}).get("depth", 0)) + 1
    if depth > DEEPEST:
        raise DispatchRefused(f"dispatched runs are {DEEPEST} deep already", is_depth=True)
    task = None if context.task is None else context.task["id"]
    return {"run_id": context.run_id, "task": task, "delivery_id": context.delivery_id, "depth": depth}


def is_detached(started: RunStarted | None) -> bool:
    """Whether a hook of another run has started it."""
    return started is not None and PARENT in started.flags
