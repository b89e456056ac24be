"""A hook that keeps what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

import anyio

from actorflow.core.hook_context import HookContext
from actorflow.spec.model import NOT_FIRED_YET, HookEvent

if TYPE_CHECKING:
    from actorflow.runtime.runtime import Runtime

__all__ = ["FUNCTION_EVENTS", "HookRecorder"]

FUNCTION_EVENTS: Final[tuple[HookEvent, ...]] = tuple(
    event for event in get_args(HookEvent) if event not in NOT_FIRED_YET
)
"""All that a function of a program may be called for."""


class HookRecorder:
    """A function for events of the lifecycle that keeps all it is told.

    ```python
    recorder = HookRecorder()
    recorder.listen(rt, "task_retrying", "workflow_finished")
    await rt.run(spec)
    await recorder.wait_for("workflow_finished")
    assert [context.task["id"] for context in recorder.of("task_retrying")] == ["charge"]
    ```

    One recorder may listen to several runtimes, as a target of webhooks would. What is owed over a crash may be told
    twice, with the same `delivery_id`.
    """

    def __init__(self) -> None:
        #: all contexts, in the order in which they were told
        self.told: list[HookContext] = []
        self._waiting: list[anyio.Event] = []

    def listen(self, rt: Runtime, *events: HookEvent) -> None:
        """Be told of events in runs that a runtime starts from now on, as its function `recorder`.

        Args:
            rt: the runtime.
            events: which; none given: all that a function may be called for.

        Raises:
            BadInputError: there is no such event, or the runtime has another recorder for it.
        """
        for event in events or FUNCTION_EVENTS:
            rt.on(event, name="recorder")(self)

    async def __call__(self, context: HookContext) -> None:
        """Be told of one event."""
        self.told.append(context)
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            event.set()

    def of(self, event: HookEvent) -> list[HookContext]:
        """What was told of one kind of event, in order."""
        return [context for context in self.told if context.event == event]

    async def wait_for(self, event: HookEvent, count: int = 1) -> HookContext:
        """Wait until so many events of a kind have been told; has no timeout.

        Returns:
            The last of these.
        """
        while len(self.of(event)) < count:
            another = anyio.Event()
            self._waiting.append(another)
            await another.wait()
        return self.of(event)[count - 1]
