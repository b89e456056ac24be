"""The state of a run: a fold over its events, and the commands that follow from it.

`RunState.apply(event)` changes the state; `RunState.commands(now)` says what is due, from state and `now` alone. A live
run and a recovered one take the same path through both. Nothing here has a clock, draws a random number, or does I/O.

The work per event is in proportion to what the event touches: unmet counts per join, reverse edges, a heap of ready
tasks, a heap of due times. The naive model in the tests computes the same from the whole history.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from actorflow.core.breaker import Outcome as BreakerOutcome
from actorflow.core.breaker_book import BreakerBook
from actorflow.core.commands import Command
from actorflow.core.due import due_commands
from actorflow.core.events import (
    AttemptCanceled,
    AttemptEvent,
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
    AttemptSucceeded,
    AttemptTimedOut,
    BreakerAllowed,
    BreakerClosed,
    BreakerCounted,
    BreakerOpened,
    BreakerRefused,
    BudgetExhausted,
    CancelRequested,
    DeadLettered,
    DefinitionChanged,
    Event,
    Failure,
    FallbackChosen,
    FallbackValueUsed,
    GenerationStarted,
    HookFinished,
    HookLost,
    HookStarted,
    PauseRequested,
    Resumed,
    RetriesExhausted,
    RetryScheduled,
    RunDeadlinePassed,
    RunEnding,
    RunFinished,
    RunStarted,
    SignalReceived,
    SkipReason,
    SleepStarted,
    StageCompleted,
    TaskCanceled,
    TaskDeadlinePassed,
    TaskEvent,
    TaskFailed,
    TaskSkipped,
)
from actorflow.core.frontier import Frontier
from actorflow.core.hook_line import HookLine, HookPlace
from actorflow.core.plan import Plan
from actorflow.core.rendering import error_behind
from actorflow.core.reopening import reopen_tasks
from actorflow.core.task_state import TaskState, known_of
from actorflow.core.transitions import RUN_TRANSITIONS, TASK_TRANSITIONS, RunPhase, TaskStatus
from actorflow.errors import IllegalTransitionError

CORE_VERSION = 3
"""Recorded in RunStarted: which rules the events of a run were made by."""

_HAPPENS_UNOWNED: frozenset[type[Event]] = frozenset(
    {AttemptLost, HookLost, DefinitionChanged, SignalReceived}
)
"""What is recorded when a process takes a run up, or without taking it up: the time before it is nobody's."""


class RunState:
    """One run. Events go in by `apply`, in order; queries have no effect on what later calls return."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.phase: RunPhase = "new"
        self.started: RunStarted | None = None
        self.generation = 0
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
        self.stages_completed_count = 0  #: likewise over all generations
        self.is_canceled = False
        self.fatal: tuple[str | None, Failure] | None = None  #: the task and failure that fail the run
        self.tasks = [TaskState(task.id) for task in plan.tasks]
        self.hooks = HookLine(())
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
        self._appliers[kind](self, event)
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

    def _run_started(self, event: RunStarted) -> None:
        self.started = event
        self.definition, self.bindings = event.definition, event.bindings
        self.phase = "idle"

    def _generation_started(self, event: GenerationStarted) -> None:
        if event.generation != self.generation + 1:
            raise IllegalTransitionError("the run", f"in generation {self.generation}", "GenerationStarted")
        for name in event.tasks:
            found = self.plan.index.get(name)
            status = "unknown" if found is None else self.tasks[found].status
            if status in ("unknown", "success"):
                raise IllegalTransitionError(f"task {name!r}", status, "GenerationStarted")
        self.ending = self.ended_at = self.fatal = self.closing = None
        self.is_pausing = self.had_errors = self.is_canceled = self.spares_handlers = False
        if self.generation:
            self._reopen(event.tasks)
        self.generation = event.generation
        self.retries_spent = 0
        self.is_budget_noted = self.is_out_of_time = False
        deadline = self.plan.spec.limits.deadline
        self.deadline_at = None if deadline is None else event.at + deadline
        self.stage = ""
        self.phase = "setup"
        self.hooks = HookLine(("pre_workflow", i) for i in range(len(self.plan.hooks.of("pre_workflow"))))
        self._enter_tasks_when_set_up()

    def _attempt_started(self, event: AttemptStarted) -> None:
        index, task, status = self._next(event)
        if self.is_pausing or self.is_barred(index):
            raise IllegalTransitionError(
                "the run", "pausing" if self.is_pausing else "closing", "AttemptStarted"
            )
        number = task.attempt if task.loss else task.attempt + 1
        if event.attempt != number or event.loss != task.loss:
            raise IllegalTransitionError(f"task {task.id!r}", f"at attempt {task.attempt}", "AttemptStarted")
        if self.plan.has_breakers:
            self.breakers.start(index)
        if task.started_at is None:
            task.started_at = event.at
            if index in self.plan.handlers:
                task.led_by = error_behind(self, index)  # another generation may reopen what has failed
        else:
            task.restarted_at = event.at
        if not task.loss:
            task.agent_attempts += 1
        self._begin_deadline(index, event.at)
        task.status = status
        task.attempt = number
        task.agent = event.agent
        self.running[index] = None
        self._reach(index)

    def _attempt_succeeded(self, event: AttemptSucceeded) -> None:
        index, task, _ = self._next_running(event)
        task.output = event.output
        self._note_end(index, "success", event.at)
        self._end(index, "success", event.at)

    def _attempt_failed(self, event: AttemptFailed | AttemptTimedOut) -> None:
        index, task, status = self._next_running(event)
        task.status = status
        task.loss = 0
        task.failure = event.failure
        del self.running[index]
        self.undecided[index] = event.failure
        self._note_end(index, "failure", event.at)

    def _attempt_canceled(self, event: AttemptCanceled) -> None:
        index, _, _ = self._next_running(event)
        self._note_end(index, "released", event.at)
        self._end(index, "canceled", event.at)

    def _attempt_lost(self, event: AttemptLost) -> None:
        """A pause that cuts an attempt off is nobody's fault: it does not count toward `max_losses`."""
        index, task, status = self._next_running(event)
        spec = self.plan.tasks[index]
        task.status = status
        task.loss += 1
        task.losses += not self.is_pausing
        del self.running[index]
        if not spec.idempotent:
            self.to_fail[index] = Failure("lost", "cut off, and not to be run again: it is not idempotent")
        elif task.losses > spec.on_error.max_losses:
            self.to_fail[index] = Failure("lost", f"cut off by a crash {task.losses} times")
        else:
            self._wait_until(index, event.at)

    def _retry_scheduled(self, event: RetryScheduled) -> None:
        index, task, status = self._next(event)
        task.status = status
        self.retries_spent += 1
        del self.undecided[index]
        self._wait_until(index, event.due_at)

    def _fallback_chosen(self, event: FallbackChosen) -> None:
        index, task, status = self._next(event)
        if self.plan.tasks[index].agents[task.agent_index + 1 :][:1] != (event.agent,):
            raise IllegalTransitionError(
                f"task {task.id!r}", f"without {event.agent!r} next", "FallbackChosen"
            )
        if task.status == "waiting" and index not in self.breakers.to_fall_back:
            raise IllegalTransitionError(f"task {task.id!r}", "not refused", "FallbackChosen")
        task.status = status
        task.agent_index += 1
        task.agent_attempts = task.loss = 0
        self.undecided.pop(index, None)
        self.breakers.to_fall_back.pop(index, None)
        self._wait_until(index, event.at)

    def _used_up(self, event: RetriesExhausted | BudgetExhausted) -> None:
        self._next(event)
        if isinstance(event, BudgetExhausted):
            self.is_budget_noted = True

    def _breaker_allowed(self, event: BreakerAllowed) -> None:
        index, _, _ = self._next(event)
        self.breakers.allow(index, is_probe=event.is_probe)

    def _breaker_refused(self, event: BreakerRefused) -> None:
        index, task, status = self._next(event)
        task.status = status
        self._begin_deadline(index, event.at)
        self.breakers.refuse(index, event.key)
        until = event.at if index in self.breakers.to_fall_back else event.until
        self._wait_until(index, until if task.deadline_at is None else min(until, task.deadline_at))

    def _breaker_told(self, event: BreakerCounted | BreakerOpened) -> None:
        index = self.plan.index.get(event.task, -1)
        if index not in self.breakers.untold:
            raise IllegalTransitionError(f"task {event.task!r}", "not counted", type(event).__name__)
        del self.breakers.untold[index]

    def _breaker_closed(self, event: BreakerClosed) -> None:
        if event.task is not None:
            self._breaker_told(BreakerCounted(event.at, event.task, event.key))
        for index in self.breakers.waiting_for(event.key):
            self._wait_until(index, event.at)

    def _task_deadline_passed(self, event: TaskDeadlinePassed) -> None:
        index, task, status = self._next(event)
        if task.deadline_at is None or event.at < task.deadline_at:
            raise IllegalTransitionError(f"task {task.id!r}", "within its deadline", "TaskDeadlinePassed")
        task.status = status
        task.loss = 0
        self.breakers.drop(self.run_id, index, event.at)
        deadline = self.plan.tasks[index].deadline
        self.undecided[index] = Failure("timeout", f"not done within its deadline of {deadline:g} s")

    def _fallback_value_used(self, event: FallbackValueUsed) -> None:
        index, task, _ = self._next(event)
        del self.undecided[index]
        task.output = event.output
        self._end(index, "success", event.at)

    def _sleep_started(self, event: SleepStarted) -> None:
        index, task, status = self._next(event)
        task.status = status
        self._wait_until(index, event.due_at)

    def _task_failed(self, event: TaskFailed) -> None:
        index, task, _ = self._next(event)
        self.undecided.pop(index, None)
        self.to_fail.pop(index, None)
        task.failure = event.failure
        task.effect = event.effect
        self.had_errors = True
        self._reach(index)
        self._end(index, "failed", event.at)
        if event.effect == "fatal":
            if self.fatal is None:
                self.fatal = (task.id, event.failure)
            if self.plan.tasks[index].on_error.strategy == "abort":
                self._close("aborted", spares_handlers=True)
            if not self.is_canceled:
                self.to_bury[index] = None

    def _dead_lettered(self, event: DeadLettered) -> None:
        index, _, _ = self._next(event)
        if index not in self.to_bury:
            raise IllegalTransitionError(f"task {event.task!r}", "no dead letter to be", "DeadLettered")
        del self.to_bury[index]

    def _task_canceled(self, event: TaskCanceled) -> None:
        index, _, _ = self._next(event)
        self._end(index, "canceled", event.at)

    def _task_skipped(self, event: TaskSkipped) -> None:
        index, task, _ = self._next(event)
        task.reason = event.reason
        if event.reason == "when":
            self._reach(index)
        self._end(index, "skipped", event.at)

    def _stage_completed(self, event: StageCompleted) -> None:
        index = next((i for i, stage in enumerate(self.plan.stages) if stage.name == event.stage), -1)
        if index not in self.frontier.stages_to_complete:
            raise IllegalTransitionError(f"stage {event.stage!r}", "open", "StageCompleted")
        self.frontier.complete_stage(index, event.status)
        self.stages_completed_count += 1

    def _hook_started(self, event: HookStarted) -> None:
        if self.is_pausing or (self.phase == "setup" and self.closing):
            raise IllegalTransitionError("the run", "closing", "HookStarted")
        self.hooks.start(event.event, event.index)

    def _hook_finished(self, event: HookFinished) -> None:
        self.hooks.finish(event.event, event.index, event.status)
        if event.status == "ok":
            self.hooks_ok_count += 1
        else:
            self.hooks_failed_count += 1
        if self.phase == "setup":
            if event.status != "ok" and not self.closing:
                self.fatal = (None, _hook_failure(event))
                self._close("aborted", spares_handlers=False)
            self._enter_tasks_when_set_up()

    def _hook_lost(self, event: HookLost) -> None:
        self.hooks.lose(event.event, event.index)
        self._enter_tasks_when_set_up()

    def _pause_requested(self, _: PauseRequested) -> None:
        self.is_pausing = True

    def _resumed(self, event: Resumed) -> None:
        self.is_pausing = False
        self.breakers.allowed.clear()  # long ago: they are asked again
        self._prolong(max(0.0, event.at - self.alive_at))

    def _cancel_requested(self, _: CancelRequested) -> None:
        if self.phase == "ending":
            return  # the outcome is decided
        self.is_canceled = True
        self.is_pausing = False  # it is to end, not to wait
        self._close("canceled", spares_handlers=False)
        self._enter_tasks_when_set_up()

    def _signal_received(self, event: SignalReceived) -> None:
        if event.signal_id in self.signal_ids:
            raise IllegalTransitionError(
                "the run", f"told signal {event.signal_id!r} before", "SignalReceived"
            )
        self.signal_ids[event.signal_id] = None
        self.signals.setdefault(event.name, []).append(event.payload)

    def _definition_changed(self, event: DefinitionChanged) -> None:
        """The plan is that of the last definition from the first event on: whoever reads a run sees to that."""
        self.definition, self.bindings = event.definition, event.bindings

    def _run_deadline_passed(self, event: RunDeadlinePassed) -> None:
        if self.deadline_at is None or self.is_out_of_time or event.at < self.deadline_at:
            raise IllegalTransitionError("the run", "within its deadline", "RunDeadlinePassed")
        self.is_out_of_time = True
        if self.fatal is None:
            deadline = self.plan.spec.limits.deadline
            self.fatal = (
                None,
                Failure("timeout", f"the run was not done within its deadline of {deadline:g} s"),
            )
        self._close("aborted", spares_handlers=False)
        self._enter_tasks_when_set_up()

    def _run_ending(self, event: RunEnding) -> None:
        if self.frontier.open_count:
            raise IllegalTransitionError(
                "the run", f"at work on {self.frontier.open_count} tasks", "RunEnding"
            )
        self.ending = event
        self.phase = "ending"
        hooks = self.plan.hooks
        line: list[HookPlace] = []
        if event.outcome == "failed":
            line.extend(("on_error", i) for i in range(len(hooks.of("on_error"))))
        line.extend(("post_workflow", i) for i in range(len(hooks.of("post_workflow"))))
        self.hooks = HookLine(line)

    def _run_finished(self, event: RunFinished) -> None:
        if not self.hooks.is_done:
            raise IllegalTransitionError("the run", "before its last hook", "RunFinished")
        self.ended_at = event.at
        self.phase = "ended"

    def commands(self, now: float) -> list[Command]:
        """All that is due at `now` and whose event is not applied yet, in the order in which it is to be done."""
        return due_commands(self, now)

    def next_due_at(self) -> float | None:
        """When time alone changes something: a waiting task is due, or the run's deadline has come."""
        ends_at = self.deadline_at if self.is_timed else None
        if self.phase != "tasks" or self.is_pausing or not self.free_slots:
            return ends_at
        if self.closing and not self.spares_handlers:
            return ends_at
        due_at = self.frontier.next_due_at()
        return due_at if ends_at is None else ends_at if due_at is None else min(due_at, ends_at)

    @property
    def is_timed(self) -> bool:
        """Whether the run's deadline can still end it."""
        has_work = self.phase == "setup" or (self.phase == "tasks" and self.frontier.open_count > 0)
        is_counting = has_work and not self.is_pausing
        return (
            self.deadline_at is not None and is_counting and not self.is_out_of_time and not self.is_canceled
        )

    @property
    def budget_left(self) -> int | None:
        """Retries that the run may still spend in this generation; None: no bound."""
        budget = self.plan.spec.limits.retry_budget
        return None if budget is None else max(0, budget - self.retries_spent)

    @property
    def free_slots(self) -> int:
        """How many more attempts may run."""
        return self.plan.spec.limits.max_parallel - len(self.running)

    def is_barred(self, index: int) -> bool:
        """Whether a task may not start, or go on, because the run is canceled or aborted."""
        return self.closing is not None and not (self.spares_handlers and index in self.plan.handlers)

    def _next(self, event: TaskEvent) -> tuple[int, TaskState, TaskStatus]:
        """The task that an event is about, and its status once the event is applied."""
        index = self.plan.index.get(event.task, -1)
        if index < 0:
            raise IllegalTransitionError(f"task {event.task!r}", "unknown", type(event).__name__)
        task = self.tasks[index]
        status = TASK_TRANSITIONS.get((task.status, type(event)))
        if status is None:
            raise IllegalTransitionError(f"task {task.id!r}", task.status, type(event).__name__)
        return index, task, status

    def _next_running(self, event: AttemptEvent) -> tuple[int, TaskState, TaskStatus]:
        """The same for an event about the attempt at hand."""
        found = self._next(event)
        if event.attempt != found[1].attempt:
            at = f"at attempt {found[1].attempt}"
            raise IllegalTransitionError(f"task {event.task!r}", at, type(event).__name__)
        return found

    def _end(self, index: int, status: TaskStatus, at: float) -> None:
        task = self.tasks[index]
        task.status = status
        task.ended_at = at
        self.running.pop(index, None)
        if self.plan.has_breakers:
            self.breakers.drop(self.run_id, index, at)
        if self.plan.is_read[index]:
            self.known[task.id] = known_of(task)
        self.frontier.end(index)

    def _note_end(self, index: int, outcome: BreakerOutcome, at: float) -> None:
        if self.plan.has_breakers:
            self.breakers.note_end(self.run_id, index, outcome, at)

    def _wait_until(self, index: int, due_at: float) -> None:
        self.frontier.wait_until(index, due_at)
        if self.closing is not None and self.is_barred(index):
            self.frontier.bar((index,), self.closing)

    def _reach(self, index: int) -> None:
        self.stage = self.frontier.reach(index) or self.stage

    def _close(self, reason: SkipReason, *, spares_handlers: bool) -> None:
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

    def _enter_tasks_when_set_up(self) -> None:
        if self.phase == "setup" and not self.hooks.is_running and (self.hooks.is_done or self.closing):
            self.phase = "tasks"

    def _reopen(self, only: Sequence[str]) -> None:
        """Open tasks again for another generation; what failed and is left as it is fails that one too."""
        for index in reopen_tasks(self.plan, self.tasks, only):
            self.known.pop(self.tasks[index].id, None)
        self.to_fail.clear()
        self.to_bury.clear()
        self.breakers = BreakerBook(self.plan, self.tasks)
        left = [task for task in self.tasks if task.status == "failed"] if only else []
        self.had_errors = bool(left)
        for task in left:
            if task.effect == "fatal" and task.failure is not None and self.fatal is None:
                self.fatal = (task.id, task.failure)
        self.frontier = Frontier(self.plan, self.tasks)

    def _begin_deadline(self, index: int, at: float) -> None:
        task, deadline = self.tasks[index], self.plan.tasks[index].deadline
        if deadline is not None and task.deadline_at is None:
            task.deadline_at = at + deadline

    def _prolong(self, gap_s: float) -> None:
        """Deadlines do not count the time in which nobody owned the run."""
        if self.deadline_at is not None:
            self.deadline_at += gap_s
        if self.plan.has_deadlines:
            for task in self.tasks:
                if task.deadline_at is not None and task.ended_at is None:
                    task.deadline_at += gap_s

    _appliers: ClassVar[dict[type[Event], Callable[[RunState, Any], None]]] = {
        RunStarted: _run_started,
        GenerationStarted: _generation_started,
        AttemptStarted: _attempt_started,
        AttemptSucceeded: _attempt_succeeded,
        AttemptFailed: _attempt_failed,
        AttemptTimedOut: _attempt_failed,
        AttemptCanceled: _attempt_canceled,
        AttemptLost: _attempt_lost,
        RetryScheduled: _retry_scheduled,
        FallbackChosen: _fallback_chosen,
        FallbackValueUsed: _fallback_value_used,
        RetriesExhausted: _used_up,
        BudgetExhausted: _used_up,
        BreakerAllowed: _breaker_allowed,
        BreakerRefused: _breaker_refused,
        BreakerCounted: _breaker_told,
        BreakerOpened: _breaker_told,
        BreakerClosed: _breaker_closed,
        SleepStarted: _sleep_started,
        TaskDeadlinePassed: _task_deadline_passed,
        TaskFailed: _task_failed,
        DeadLettered: _dead_lettered,
        TaskCanceled: _task_canceled,
        TaskSkipped: _task_skipped,
        StageCompleted: _stage_completed,
        HookStarted: _hook_started,
        HookFinished: _hook_finished,
        HookLost: _hook_lost,
        PauseRequested: _pause_requested,
        Resumed: _resumed,
        CancelRequested: _cancel_requested,
        SignalReceived: _signal_received,
        DefinitionChanged: _definition_changed,
        RunDeadlinePassed: _run_deadline_passed,
        RunEnding: _run_ending,
        RunFinished: _run_finished,
    }


def _hook_failure(event: HookFinished) -> Failure:
    what = f"pre_workflow hook {event.index + 1} {event.status.replace('_', ' ')}"
    return Failure("hook_failed", f"{what}: {event.record.get('summary', '')}".rstrip(": "), event.record)
