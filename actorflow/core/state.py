"""The state of a run: a fold over its events, and the commands that follow from it.

`RunState.apply(event)` changes the state; `RunState.commands(now)` says what is due, from state and `now` alone. A live
run and a recovered one take the same path through both. Nothing here has a clock, draws a random number, or does I/O.

The work per event is in proportion to what the event touches: unmet counts per join, reverse edges, a heap of ready
tasks, a heap of due times. The naive model in the tests computes the same from the whole history.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actorflow.core.breaker_book import BreakerBook
from actorflow.core.commands import Command
from actorflow.core.due import due_commands
from actorflow.core.events import (
    AttemptLost,
    DefinitionChanged,
    Event,
    Failure,
    HookLost,
    RunEnding,
    RunStarted,
    SignalReceived,
    SkipReason,
    StageStatus,
    TaskOutcome,
)
from actorflow.core.frontier import Frontier
from actorflow.core.hook_events import HOOK_EVENTS
from actorflow.core.hook_line import HookLine
from actorflow.core.plan import Plan
from actorflow.core.run_events import RUN_EVENTS
from actorflow.core.task_events import TASK_EVENTS
from actorflow.core.task_state import TaskState, known_of
from actorflow.core.transitions import RUN_TRANSITIONS, RunPhase, TaskStatus
from actorflow.errors import IllegalTransitionError

CORE_VERSION = 4
"""Recorded in RunStarted: which rules the events of a run were made by."""

_HAPPENS_UNOWNED: frozenset[type[Event]] = frozenset(
    {AttemptLost, HookLost, DefinitionChanged, SignalReceived}
)
"""What is recorded when a process takes a run up, or without taking it up: the time before it is nobody's."""


APPLIERS = {**RUN_EVENTS, **HOOK_EVENTS, **TASK_EVENTS}
"""Who changes the state for an event: a function for each."""


class RunState:
    """One run. Events go in by `apply`, in order; queries have no effect on what later calls return."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.phase: RunPhase = "new"
        self.started: RunStarted | None = None
        self.generation = 0
        self.generation_started_at = 0.0
        self.ending: RunEnding | None = None
        self.ended_at: float | None = None
        self.last_at = 0.0
        self.alive_at = 0.0  #: as `last_at`, but for what may happen to a run that nobody owns
        self.definition = ""  #: the hash under which the journal keeps it
        self.bindings: Mapping[str, str] = {}
        self.is_pausing = False
        self.had_errors = False
        self.hooks_ok_count = 0  #: blocking hooks, over all generations
        self.hooks_failed_count = 0
        self.hooks_skipped_count = 0
        self.is_canceled = False
        self.fatal: tuple[str | None, Failure] | None = None  #: the task and failure that fail the run
        self.tasks = [TaskState(task.id) for task in plan.tasks]
        self.hooks = HookLine("", ())  #: of the phase at hand
        self.task_lines: dict[int, HookLine] = {}  #: of tasks that prepare or finish
        self.stage_lines: dict[int, HookLine] = {}  #: of stages that are complete, and not left
        self.stage_statuses: dict[int, StageStatus] = {}  #: of those
        self.hooks_running_count = 0  #: of tasks and stages: each takes a slot
        self.hook_failures: dict[str, int] = {}  #: in a row, by path, of hooks that are disabled by them
        self.gone_targets: list[str] = []  #: that blocking hooks were told of; replaced, never changed
        self.frontier = Frontier(plan, self.tasks)
        self.stage = ""  #: the stage that was entered last
        self.known: dict[str, Any] = {}  #: what templates may read of ended tasks
        self.running: dict[int, None] = {}  #: in the order in which they started
        self.closing: SkipReason | None = None  #: why nothing new may start: what it was barred by last
        self.spares_handlers = (
            False  #: it is aborted by a task's failure: what follows ends and failures goes on
        )
        self.undecided: dict[int, Failure] = {}  #: failed attempts without a verdict
        self.to_fail: dict[int, Failure] = {}  #: what was lost too often
        self.to_bury: dict[int, None] = {}  #: fatal failures that are not dead letters yet
        self.breakers = BreakerBook(plan, self.tasks)
        self.retries_spent = 0  #: in this generation, of `limits.retry_budget`
        self.is_budget_noted = False
        self.deadline_at: float | None = None  #: of the whole run
        self.is_out_of_time = False
        self.signals: dict[str, list[Any]] = {}  #: payloads by name, oldest first
        self.signal_ids: dict[str, None] = {}

    def apply(self, event: Event) -> None:
        """Fold one event into the state.

        Raises:
            IllegalTransitionError: the event does not fit; the state is as it was.
        """
        kind = type(event)
        if (self.phase, kind) not in RUN_TRANSITIONS:
            raise IllegalTransitionError("the run", self.phase, kind.__name__)
        APPLIERS[kind](self, event)
        self.last_at = event.at
        if kind not in _HAPPENS_UNOWNED:
            self.alive_at = event.at

    @property
    def run_id(self) -> str:
        """The id of the run, known from its first event on."""
        assert self.started is not None
        return self.started.run_id

    @property
    def run_started_at(self) -> float:
        """When the run's first generation began."""
        assert self.started is not None
        return self.started.at

    @property
    def progress(self) -> float:
        """Ended tasks over tasks; 1.0 where there are none."""
        return 1.0 - self.frontier.open_count / len(self.tasks) if self.tasks else 1.0

    def task(self, task_id: str) -> TaskState:
        """The state of one task."""
        return self.tasks[self.plan.index[task_id]]

    def commands(self, now: float) -> list[Command]:
        """All that is due at `now` and whose event is not applied yet, in the order in which it is to be done."""
        return due_commands(self, now)

    def next_due_at(self) -> float | None:
        """When time alone changes something: a waiting task is due, or the run's deadline has come."""
        times = [self.deadline_at] if self.is_timed else []
        if self.phase == "tasks" and not self.is_pausing:
            if self.plan.has_deadlines:
                times.append(self.frontier.next_deadline_at())
            if self.free_slots and (not self.closing or self.spares_handlers):
                times.append(self.frontier.next_due_at())
        known = [at for at in times if at is not None]
        return min(known) if known else None

    @property
    def is_timed(self) -> bool:
        """Whether the run's deadline can still end it."""
        if self.deadline_at is None:
            return False
        has_work = self.phase == "setup" or (self.phase == "tasks" and self.frontier.open_count > 0)
        is_counting = has_work and not self.is_pausing
        return is_counting and not self.is_out_of_time and not self.is_canceled

    @property
    def budget_left(self) -> int | None:
        """Retries that the run may still spend in this generation; None: no bound."""
        budget = self.plan.spec.limits.retry_budget
        return None if budget is None else max(0, budget - self.retries_spent)

    @property
    def free_slots(self) -> int:
        """How many more attempts may run."""
        return self.plan.spec.limits.max_parallel - len(self.running) - self.hooks_running_count

    def is_barred(self, index: int) -> bool:
        """Whether a task may not start, or go on, because the run is canceled or aborted."""
        return self.closing is not None and not (self.spares_handlers and index in self.plan.handlers)

    def running_lines(self) -> list[HookLine]:
        """The lines whose head is running: of the phase, of stages, of tasks."""
        lines = (self.hooks, *self.stage_lines.values(), *self.task_lines.values())
        return [line for line in lines if line.is_running]

    # What the functions of `task_events` and `run_events` share

    def conclude(self, index: int, outcome: TaskOutcome, at: float) -> None:
        """The outcome of a task is known: its end, unless it has hooks on it that are waited for."""
        task = self.tasks[index]
        if self.plan.hooks.blocks_tasks and task.outcome is None:
            places = self.plan.hooks.blocking("task_finished", task.id)
            if places:
                task.status, task.outcome, task.vars = "finishing", outcome, None
                self._let_go(index, at)
                self.task_lines[index] = HookLine(task.id, (("task_finished", place) for place in places))
                return
        self.end(index, outcome, at)

    def end(self, index: int, status: TaskStatus, at: float) -> None:
        """A task has come to its end."""
        task = self.tasks[index]
        task.status = status
        task.ended_at = at
        if self.task_lines:
            task.outcome = None
            self.task_lines.pop(index, None)
        self._let_go(index, at)
        if self.plan.is_read[index]:
            self.known[task.id] = known_of(task)
        self.frontier.end(index)
        if status == "failed" and task.effect == "fatal" and not self.is_canceled:
            self.to_bury[index] = None

    def _let_go(self, index: int, at: float) -> None:
        """A task makes no attempt any more: its slot is free, and so is a probe that it was allowed."""
        self.running.pop(index, None)
        if self.frontier.to_skip:
            self.frontier.to_skip.pop(index, None)
        if self.plan.has_breakers:
            self.breakers.drop(self.run_id, index, at)

    def wait_until(self, index: int, due_at: float) -> None:
        """Hold a task until a time, unless it may not go on at all."""
        self.frontier.wait_until(index, due_at)
        if self.closing is not None and self.is_barred(index):
            self.frontier.bar((index,), self.closing)

    def reach(self, index: int) -> None:
        """Note that a task was entered, and its stage with it."""
        self.stage = self.frontier.reach(index) or self.stage

    def close(self, reason: SkipReason, *, spares_handlers: bool) -> None:
        """Let nothing new start: what is pending or waits is skipped, what runs will be canceled.

        Tasks that follow a failure or any end of another go on, if they are spared: a cancel after an abort bars them
        as well.
        """
        if self.closing is not None and not self.spares_handlers:
            return
        self.closing = reason
        self.spares_handlers = spares_handlers
        open_ = (i for i in range(len(self.tasks)) if i not in self.to_fail and self.is_barred(i))
        self.frontier.bar(open_, reason)
