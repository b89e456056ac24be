"""The frontier of a run: which open tasks may start now, which wait for a time, which can't run any more.

The work per ended task is in proportion to the joins that it counts in, and that of a query to what it finds: however
many wait for a slot, only the first are looked at. Heap entries of tasks that have moved on stay until they come up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush

from attrs import define

from actorflow.core.events import SkipReason, StageStatus
from actorflow.core.plan import On, Plan
from actorflow.core.task_state import TaskState
from actorflow.core.transitions import ENDED

AT_ONCE = float("-inf")
"""The due time of a pending task: it may start whatever the time is."""


@define
class StageState:
    """What a run knows of one stage, in this generation."""

    open_count: int  #: tasks that have not ended
    unmet: int  #: stages before it that are not over
    was_reached: bool = False  #: a task of it ran, or was skipped by its own `when`
    is_barred: bool = False  #: a stage before it did not end well
    is_over: bool = False  #: what comes after it was told


def why_barred(on: On, task: TaskState) -> SkipReason | None:
    """Why the end of a task rules out who waits for it; None where the edge is satisfied."""
    is_passed_over = task.reason in ("when", "not_reached")
    match on:
        case "always":
            return None
        case "success":
            is_satisfied = task.status == "success" or is_passed_over or task.effect == "tolerated"
            return None if is_satisfied else "upstream"
        case "failure":
            if task.status == "failed":
                return None
            return "not_reached" if task.status == "success" or is_passed_over else "upstream"


class Frontier:
    """Counts of what holds each task, for one generation of a run."""

    def __init__(self, plan: Plan, tasks: Sequence[TaskState]) -> None:
        self._plan = plan
        self._tasks = tasks
        self.to_skip: dict[int, SkipReason] = {}
        self.stages_to_complete: dict[int, StageStatus] = {}
        self._timers: list[tuple[float, int]] = []  #: heap of due times to come
        #: heap of the deadlines of tasks that wait, or have waited
        self._deadlines: list[tuple[float, int]] = []
        is_open = [task.status not in ENDED for task in tasks]
        self.open_count = sum(is_open)
        self._unmet = [sum(is_open[i] for i in join.upstream) for join in plan.joins]
        is_new = self.open_count == len(tasks)
        self._was_reached = [not is_new and self._had_reached(join.upstream) for join in plan.joins]
        self._sources_left = {
            target: sum(is_open[i] for i in found) for target, found in plan.sources.items()
        }
        self._find_reached()
        self._gates = self._count_gates()
        #: heap of the pending tasks without gates, and of the waiting ones whose time was asked for
        self._ready: list[tuple[int, float]] = []
        for index, gates in enumerate(self._gates):
            if is_open[index] and not gates:
                self._open(index)
        self._stages = [
            StageState(sum(is_open[i] for i in stage.tasks), len(stage.after)) for stage in plan.stages
        ]
        for number, stage in enumerate(plan.stages):
            if not stage.after and not self._stages[number].open_count:
                self._leave_stage(number, is_passed=self._status_of_stage(number) == "success")
        if not is_new:
            self._bar_what_closed_tasks_rule_out()

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
        times = [due_at for i, due_at in self._ready if due_at != AT_ONCE and self._is_current(i, due_at)]
        if timers:
            times.append(timers[0][0])
        return min(times) if times else None

    def wait_until(self, index: int, due_at: float) -> None:
        """Hold a waiting task until a time."""
        self._tasks[index].due_at = due_at
        heappush(self._timers, (due_at, index))
        self.note_deadline(index)

    def note_deadline(self, index: int) -> None:
        """A waiting task has a deadline, or another one than it had."""
        deadline_at = self._tasks[index].deadline_at
        if deadline_at is not None:
            heappush(self._deadlines, (deadline_at, index))

    def next_deadline_at(self) -> float | None:
        """When the first waiting task has no time left, whether there is a slot for it or not."""
        deadlines = self._deadlines
        while deadlines and not self._is_waiting(*deadlines[0]):
            heappop(deadlines)
        return deadlines[0][0] if deadlines else None

    def overdue(self, now: float) -> list[int]:
        """The waiting tasks that have no time left, the first to run out first."""
        if not self._deadlines or self._deadlines[0][0] > now:
            return []
        found = sorted({entry for entry in self._deadlines if entry[0] <= now and self._is_waiting(*entry)})
        return [index for _, index in found]

    def _is_waiting(self, deadline_at: float, index: int) -> bool:
        task = self._tasks[index]
        return task.status == "waiting" and task.deadline_at == deadline_at

    def reach(self, index: int) -> str | None:
        """Note that a task was reached; the name of its stage."""
        number = self._plan.stage_of[index]
        if number < 0:
            return None
        self._stages[number].was_reached = True
        return self._plan.stages[number].name

    def end(self, index: int) -> None:
        """A task has ended: open what waited for that, or bar it."""
        task = self._tasks[index]
        self.open_count -= 1
        self.to_skip.pop(index, None)
        number = self._plan.stage_of[index]
        if number >= 0:
            self._end_in_stage(number)
        for each in self._plan.downstream[index]:
            join = self._plan.joins[each]
            reason = why_barred(join.on, task)
            if reason is not None:
                self.bar(join.waiting, reason)
                continue
            if task.reason != "not_reached":
                self._was_reached[each] = True
            self._unmet[each] -= 1
            if not self._unmet[each]:
                self._open_gates(join.waiting)
        if index in self._plan.leads:
            self._follow_leads(index)

    def complete_stage(self, number: int) -> None:
        """It is told that a stage is complete; the next ones wait until it is left."""
        del self.stages_to_complete[number]

    def leave_stage(self, number: int, *, is_passed: bool) -> None:
        """Let the next stages begin, or bar them."""
        self._leave_stage(number, is_passed=is_passed)

    def bar(self, indexes: Iterable[int], reason: SkipReason) -> None:
        """Say of tasks that can't start any more why they are to be skipped; the first reason holds."""
        for index in indexes:
            if self._tasks[index].status in ("pending", "waiting"):
                self.to_skip.setdefault(index, reason)

    def _had_reached(self, upstream: Sequence[int]) -> bool:
        ended = (self._tasks[i] for i in upstream)
        return any(task.status in ENDED and task.reason != "not_reached" for task in ended)

    def _find_reached(self) -> None:
        """Take the transitions of tasks that ended in a generation before."""
        for index, leads in self._plan.leads.items():
            for lead in leads:
                target = self._tasks[lead.target]
                if self._is_taken(lead.on, index) and target.reached_by is None:
                    target.reached_by = index

    def _count_gates(self) -> list[int]:
        gates = [0] * len(self._tasks)
        for number, join in enumerate(self._plan.joins):
            if self._unmet[number]:
                for task in join.waiting:
                    gates[task] += 1
        for target in self._plan.sources:
            gates[target] += self._tasks[target].reached_by is None
        for stage in self._plan.stages:
            if stage.after:
                for task in stage.tasks:
                    gates[task] += 1
        return gates

    def _bar_what_closed_tasks_rule_out(self) -> None:
        """Where several ends of generations before rule a task out, a failure is the reason rather than a way not taken."""
        reasons: tuple[SkipReason, ...] = ("upstream", "not_reached")
        for reason in reasons:
            for join in self._plan.joins:
                ended = (self._tasks[i] for i in join.upstream if self._tasks[i].status in ENDED)
                if any(why_barred(join.on, task) == reason for task in ended):
                    self.bar(join.waiting, reason)
        for target, left in self._sources_left.items():
            if not left and self._tasks[target].reached_by is None:
                self.bar((target,), "not_reached")

    def _is_taken(self, on: On, source: int) -> bool:
        return self._tasks[source].status == ("success" if on == "success" else "failed")

    def _follow_leads(self, index: int) -> None:
        for lead in self._plan.leads[index]:
            target = self._tasks[lead.target]
            self._sources_left[lead.target] -= 1
            if target.reached_by is None and self._is_taken(lead.on, index):
                target.reached_by = index
                self._open_gates((lead.target,))
            elif target.reached_by is None and not self._sources_left[lead.target]:
                self.bar((lead.target,), "not_reached")

    def _open_gates(self, indexes: Iterable[int]) -> None:
        for index in indexes:
            self._gates[index] -= 1
            if not self._gates[index] and self._tasks[index].status == "pending":
                self._open(index)

    def _open(self, index: int) -> None:
        """Nothing holds the task any more; yet one that nothing led to does not run."""
        if self._plan.may_be_unreached and not self._is_reached(index):
            self.bar((index,), "not_reached")
        else:
            heappush(self._ready, (index, AT_ONCE))

    def _is_reached(self, index: int) -> bool:
        joins = self._plan.joins_of.get(index, ())
        if self._tasks[index].reached_by is not None or (not joins and index not in self._plan.sources):
            return True
        return any(self._was_reached[number] for number in joins)

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
        elif not stage.unmet:
            self._leave_stage(number, is_passed=self._is_passed_unentered(number))

    def _is_passed_unentered(self, number: int) -> bool:
        """Whether a stage without an entered task lets the next ones begin, once those before it are over."""
        return not self._stages[number].is_barred and self._status_of_stage(number) == "success"

    def _status_of_stage(self, number: int) -> StageStatus:
        ended = [self._tasks[i] for i in self._plan.stages[number].tasks]
        if any(task.status == "failed" and task.effect != "tolerated" for task in ended):
            return "failed"
        if any(task.status == "canceled" or task.reason in ("canceled", "aborted") for task in ended):
            return "canceled"
        return "failed" if any(task.reason == "upstream" for task in ended) else "success"

    def _leave_stage(self, number: int, *, is_passed: bool) -> None:
        """Let the next stages begin, or bar them but for their handlers.

        One that has nothing left to do is left as soon as all before it are over.
        """
        left = [(number, is_passed)]
        for stage, passed in left:  # grows while it is read
            if self._stages[stage].is_over:
                continue
            self._stages[stage].is_over = True
            for later in self._plan.stages[stage].before:
                state, tasks = self._stages[later], self._plan.stages[later].tasks
                if not passed and not state.is_barred:
                    state.is_barred = True
                    self.bar((task for task in tasks if task not in self._plan.handlers), "upstream")
                state.unmet -= 1
                if state.unmet:
                    continue
                self._open_gates(tasks)
                if not state.open_count:
                    left.append((later, self._is_passed_unentered(later)))
