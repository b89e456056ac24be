"""Hooks: an action on a lifecycle event, and lists of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from actorflow.spec.model.recovery import BreakerSpec, RetrySpec
from actorflow.spec.model.runners import no_entries
from actorflow.spec.model.words import HookErrors, HookEvent, HookMode


@frozen(kw_only=True)
class BatchSpec:
    """Deliveries that an action takes together."""

    max: int = 50
    window: float = 0.2  #: seconds that the first of them waits for more


@frozen(kw_only=True)
class HookSpec:
    """An action on a lifecycle event."""

    action: str = "command"  #: a `HookAction`, or the name of one that the program has
    command: str | tuple[str, ...] = ""  #: of a `command`: a shell's text, or an argv
    env: Mapping[str, Any] = field(factory=no_entries)  #: of a `command`; templates
    cwd: str | None = None  #: of a `command`
    max_output: int = 65_536  #: of a `command`: bytes of each stream that are kept
    params: Mapping[str, Any] = field(factory=no_entries)  #: of every other action; templates
    name: str = ""  #: need not be its own; the hook's path tells it from all others
    description: str = ""
    timeout: float = 300.0  #: seconds per try
    mode: HookMode = "blocking"
    on_error: HookErrors = "continue"
    disable_after: int = 5  #: failures in a row, with `on_error: disable`
    when: str | None = None
    enabled: str | None = None  #: an expression; None: it is
    environments: tuple[str, ...] = ()  #: values of ACTORFLOW_ENV; empty: any
    retry: RetrySpec = RetrySpec()
    rate_limit: float | None = None  #: tries per second and process
    batch: BatchSpec | None = None
    breaker: BreakerSpec | None = None
    ordered: bool = True
    max_age: float = 86_400.0  #: seconds after which a delivery is given up


@frozen(kw_only=True)
class HookLists:
    """The hooks of a workflow or task by event, each list in the order in which it runs."""

    lists: Mapping[HookEvent, tuple[HookSpec, ...]] = field(factory=dict["HookEvent", "tuple[HookSpec, ...]"])
    inherit: bool = True  #: whether the lists of what is around it come after these

    def of(self, event: HookEvent) -> tuple[HookSpec, ...]:
        """The list of one event."""
        return self.lists.get(event, ())

    @property
    def dispatched(self) -> tuple[str, ...]:
        """What is named by each `dispatch_task`: a task of the file, or an agent."""
        hooks = (hook for found in self.lists.values() for hook in found)
        return tuple(
            str(hook.params["task_id"])
            for hook in hooks
            if hook.action == "dispatch_task" and "task_id" in hook.params
        )
