"""The frontier of a run: which open tasks may start now, which wait for a time, which can't run any more.

The work per ended task is in proportion to the joins that it counts in, and that of a query to what it finds: however
many wait for a slot, only the first are looked at. Heap entries of tasks that have moved on stay until they come up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush

from attrs import define

from actorflow.core.events import SkipReason, StageStatus
from actorflow.core.plan import Plan
from actorflow.core.task_state import TaskState
from actorflow.core.transitions import ENDED

AT_ONCE = float("-inf")
"""The due time of a pending task: it may start whatever the time is."""


@define
class StageState:
    """What a run knows of one stage, in this generation."""

    open_count: int  #: tasks that have not ended
    unmet: int  #: stages before it that are not complete
    was_reached: bool = False  #: a task of it ran, or was skipped by its own `when`


class Frontier:
    """Counts of what holds each task, for one generation of a run."""

    def __init__(self, plan: Plan, tasks: Sequence[TaskState]) -> None:
        self._plan = plan
        self._tasks = tasks
        self.to_skip: dict[int, SkipReason] = {}
        self.stages_to_complete: dict[int, StageStatus] = {}
        self._timers: list[tuple[float, int]] = []  #: heap of due times to come
        is_open = [task.status not in ENDED for task in tasks]
        self.open_count = sum(is_open)
        self._unmet = [sum(is_open[i] for i in join.upstream) for join in plan.joins]
        self._gates = self._count_gates()
        #: heap of the pending tasks without gates, and of the waiting ones whose time was asked for
        self._ready = [(i, AT_ONCE) for i, gates in enumerate(self._gates) if is_open[i] and not gates]
        self._stages = [
            StageState(sum(is_open[i] for i in stage.tasks), len(stage.after)) for stage in plan.stages
        ]
        for number, stage in enumerate(plan.stages):
            if not stage.after and not self._stages[number].open_count:
                self._pass_stage(number)

    def startable(self, now: float, count: int) -> list[int]:
        """The first `count` tasks, in file order, that are ready or whose time has come."""
        ready, timers = self._ready, self._timers
        while timers and timers[0][0] <= now:
            due_at, index = heappop(timers)
            heappush(ready, (index, due_at))
        if len(ready) <= count:
            return self._all_startable(now)
        found: list[tuple[int, float]] = []
        early: list[tuple[int, float]] = []  #: due by a later time that was asked for
        while ready and len(found) < count:
            entry = heappop(ready)
            if self._is_current(*entry) and entry not in found[-1:]:
                (found if entry[1] <= now else early).append(entry)
        for entry in (*found, *early):
            heappush(ready, entry)
        return [index for index, _ in found]

    def _all_startable(self, now: float) -> list[int]:
        """The same where there are slots for all: a sorted list is a heap."""
        if self._ready:
            self._ready = sorted({entry for entry in self._ready if self._is_current(*entry)})
        return [index for index, due_at in self._ready if due_at <= now]

    def next_due_at(self) -> float | None:
        """When the first waiting task is due."""
        timers = self._timers
        while timers and not self._is_current(timers[0][1], timers[0][0]):
            heappop(timers)
        due = [due_at for i, due_at in self._ready if due_at != AT_ONCE and self._is_current(i, due_at)]
        return min(due, default=timers[0][0] if timers else None)

    def wait_until(self, index: int, due_at: float) -> None:
        """Hold a waiting task until a time."""
        self._tasks[index].due_at = due_at
        heappush(self._timers, (due_at, index))

    def reach(self, index: int) -> str | None:
        """Note that a task was reached; the name of its stage."""
        number = self._plan.stage_of[index]
        if number < 0:
            return None
        self._stages[number].was_reached = True
        return self._plan.stages[number].name

    def end(self, index: int, *, is_satisfied: bool) -> None:
        """A task has ended: open what waited for it, or bar it."""
        self.open_count -= 1
        self.to_skip.pop(index, None)
        number = self._plan.stage_of[index]
        if number >= 0:
            self._end_in_stage(number)
        for join in self._plan.downstream[index]:
            if not is_satisfied:
                self.bar(self._plan.joins[join].waiting, "upstream")
                continue
            self._unmet[join] -= 1
            if not self._unmet[join]:
                self._open_gates(self._plan.joins[join].waiting)

    def complete_stage(self, number: int, status: StageStatus) -> None:
        """A stage is complete: let the next ones begin, or bar them."""
        del self.stages_to_complete[number]
        if status == "success":
            self._pass_stage(number)
        else:
            self._bar_stages_after(number)

    def bar(self, indexes: Iterable[int], reason: SkipReason) -> None:
        """Say of tasks that can't start any more why they are to be skipped; the first reason holds."""
        for index in indexes:
            if self._tasks[index].status in ("pending", "waiting"):
                self.to_skip.setdefault(index, reason)

    def _count_gates(self) -> list[int]:
        gates = [0] * len(self._tasks)
        for number, join in enumerate(self._plan.joins):
            if self._unmet[number]:
                for task in join.waiting:
                    gates[task] += 1
        for stage in self._plan.stages:
            if stage.after:
                for task in stage.tasks:
                    gates[task] += 1
        return gates

    def _open_gates(self, indexes: Iterable[int]) -> None:
        for index in indexes:
            self._gates[index] -= 1
            if not self._gates[index] and self._tasks[index].status == "pending":
                heappush(self._ready, (index, AT_ONCE))

    def _is_current(self, index: int, due_at: float) -> bool:
        """Whether a heap entry still speaks of its task."""
        task = self._tasks[index]
        if task.status == "pending":
            return due_at == AT_ONCE
        return task.status == "waiting" and task.due_at == due_at

    def _end_in_stage(self, number: int) -> None:
        stage = self._stages[number]
        stage.open_count -= 1
        if stage.open_count:
            return
        if stage.was_reached:
            self.stages_to_complete[number] = self._status_of_stage(number)
        else:
            self._bar_stages_after(number)

    def _status_of_stage(self, number: int) -> StageStatus:
        ended = [self._tasks[i] for i in self._plan.stages[number].tasks]
        if any(task.status == "failed" and not task.is_tolerated for task in ended):
            return "failed"
        if any(task.status == "canceled" or task.reason in ("canceled", "aborted") for task in ended):
            return "canceled"
        return "failed" if any(task.reason == "upstream" for task in ended) else "success"

    def _pass_stage(self, number: int) -> None:
        """Let the stages after a complete one begin; one that has nothing left to do is passed at once."""
        passed = [number]
        for stage in passed:  # grows while it is read
            for later in self._plan.stages[stage].before:
                self._stages[later].unmet -= 1
                if self._stages[later].unmet:
                    continue
                self._open_gates(self._plan.stages[later].tasks)
                if not self._stages[later].open_count:
                    passed.append(later)

    def _bar_stages_after(self, number: int) -> None:
        """Bar the next stages; the end of their tasks bars those after them, but a stage without any has no end."""
        barred = [number]
        for stage in barred:  # grows while it is read
            for later in self._plan.stages[stage].before:
                if not self._stages[later].open_count and later not in barred:
                    barred.append(later)
                self.bar(self._plan.stages[later].tasks, "upstream")
