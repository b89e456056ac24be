"""What a run knows of the circuit breakers of its tasks: who may start, who waits, and what they have not been told yet.

The breakers themselves are the store's (see `breaker`); their answers come into the run as events.
"""

from __future__ import annotations

from collections.abc import Sequence

from actorflow.core.breaker import BreakerAsk, BreakerReport, Outcome
from actorflow.core.plan import Plan
from actorflow.core.task_state import TaskState
from actorflow.errors import IllegalTransitionError


class BreakerBook:
    """By task number; only tasks with a breaker are ever in it."""

    def __init__(self, plan: Plan, tasks: Sequence[TaskState]) -> None:
        self._plan = plan
        self._tasks = tasks
        self.allowed: dict[int, None] = {}  #: may start
        self.probes: dict[int, None] = {}  #: have the probe of their breaker, until they give it back
        self.refused: dict[int, str] = {}  #: waiting, for the breaker of this key
        self.to_fall_back: dict[int, None] = {}  #: refused, and the next agent's turn
        self.hopeless: dict[int, None] = {}  #: refused until after their deadline
        self.untold: dict[int, BreakerReport] = {}  #: outcomes that are not counted yet

    def question(self, run_id: str, index: int) -> BreakerAsk | None:
        """What is to be asked before the task's next attempt; None where nothing is in its way."""
        spec = self._plan.tasks[index].on_error.breaker
        if spec is None or index in self.allowed:
            return None
        return BreakerAsk(self.key(index), spec, run_id, self._tasks[index].id)

    def key(self, index: int) -> str:
        """The key of the breaker before the agent at hand.

        A key that the task gives is for its own agent; a fallback has the one of its name, so that an open breaker does
        not close the way out as well. An inline runner has no name but its task's.
        """
        spec, place = self._plan.tasks[index], self._tasks[index].agent_index
        breaker = spec.on_error.breaker
        if place == 0 and breaker is not None and breaker.key is not None:
            return breaker.key
        if place == 0 and spec.runner is not None:
            return f"{self._plan.spec.name}/{spec.id}"
        return self._plan.agents_of[index][place]

    def allow(self, index: int, *, is_probe: bool) -> None:
        """The task may start."""
        self.allowed[index] = None
        self.refused.pop(index, None)
        self.hopeless.pop(index, None)
        self.probes.pop(index, None)
        if is_probe:
            self.probes[index] = None

    def refuse(self, index: int, key: str) -> None:
        """The task may not start: the next agent is asked for, or it waits."""
        self.allowed.pop(index, None)
        self.probes.pop(index, None)
        if self._tasks[index].agent_index + 1 < len(self._plan.agents_of[index]):
            self.to_fall_back[index] = None
        else:
            self.refused[index] = key

    def start(self, index: int) -> None:
        """The task starts.

        Raises:
            IllegalTransitionError: it has a breaker, which was not asked.
        """
        task = self._plan.tasks[index]
        if task.on_error.breaker is not None and index not in self.allowed:
            raise IllegalTransitionError(f"task {task.id!r}", "not allowed by its breaker", "AttemptStarted")
        self.allowed.pop(index, None)

    def note_end(self, run_id: str, index: int, outcome: Outcome, at: float) -> None:
        """An attempt has ended: a failure is to be told, and whatever became of a probe."""
        spec = self._plan.tasks[index].on_error.breaker
        is_probe = index in self.probes
        self.probes.pop(index, None)
        if spec is not None and (is_probe or outcome == "failure"):
            task = self._tasks[index]
            self.untold[index] = BreakerReport(
                self.key(index), spec, run_id, task.id, task.attempt, at, outcome
            )

    def drop(self, run_id: str, index: int, at: float) -> None:
        """The task makes no attempt any more: others may have the probe that it was allowed, or that was cut off."""
        self.refused.pop(index, None)
        self.to_fall_back.pop(index, None)
        self.hopeless.pop(index, None)
        self.allowed.pop(index, None)
        if index in self.probes:
            self.note_end(run_id, index, "released", at)

    def waiting_for(self, key: str) -> list[int]:
        """The tasks that wait for a breaker; one of them asks for all."""
        return [index for index, waited in self.refused.items() if waited == key]

    def set_free(self, key: str) -> list[int]:
        """The breaker is closed: who waited for it asks for itself again."""
        waiting = self.waiting_for(key)
        for index in waiting:
            del self.refused[index]
            self.hopeless.pop(index, None)
        return waiting
