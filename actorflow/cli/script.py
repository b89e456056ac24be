"""A made-up history of a run, told event by event; no task runs, and nothing is kept.

The events are folded as those of any run are, and hooks are rendered by the core: what is noted is what a run would have
them do. Tasks before the one that it is about succeed, but where a failure leads to it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import evolve, field, frozen

from actorflow.core.commands import Command, Record, RunHook
from actorflow.core.due_hooks import next_hook
from actorflow.core.events import (
    AttemptCanceled,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    BreakerAllowed,
    CancelRequested,
    Event,
    Failure,
    GenerationStarted,
    HookFinished,
    HookStarted,
    RunEnding,
    RunFinished,
    RunStarted,
    SkipReason,
    StageCompleted,
    TaskFailed,
    TaskFinished,
    TaskOutcome,
    TaskSkipped,
)
from actorflow.core.hook_config import HookEntry
from actorflow.core.hook_context import HookContext
from actorflow.core.hook_events import new_line
from actorflow.core.hook_line import HookLine
from actorflow.core.hook_rendering import NOTHING
from actorflow.core.owed import occasions, owed_by
from actorflow.core.plan import Plan
from actorflow.core.rendering import effect_on_run, run_ending
from actorflow.core.state import CORE_VERSION, RunState
from actorflow.core.transitions import ENDED
from actorflow.errors import IllegalTransitionError
from actorflow.spec.model import HookEvent

__all__ = ["FAILURE", "Fired", "Sample", "Script"]

FAILURE: Final = Failure("SampleError", "a sample failure")
NO_HOOKS: Final = HookLine("", ())
PASSED_S: Final = 0.5  #: between one event and the next


@frozen(kw_only=True)
class Sample:
    """What is made up."""

    event: HookEvent
    run_id: str = "test-run"  #: its own for each trial: who receives a request twice may pass the second over
    task: str = ""  #: that it happens to; empty: the first
    status: TaskOutcome = "success"  #: how the task, its stage or the run ends
    inputs: Mapping[str, Any] = field(factory=dict[str, Any])
    outputs: Mapping[str, Any] = field(factory=dict[str, Any])  #: by task; of the others `{}`
    payload: Any = None  #: of a signal
    now: float = 0.0  #: when it all begins, in epoch seconds


@frozen
class Fired:
    """What the core makes of one hook."""

    entry: HookEntry
    context: HookContext | None  #: what its action is told; None: it is passed over, or needs no action
    skip: str = ""  #: why it is passed over
    fault: str = ""  #: why it cannot be rendered
    record: Mapping[str, Any] = field(factory=dict[str, Any])  #: what a transform has set


class Script:
    """Tells the events of a run, and notes what its hooks are to do on one of them."""

    def __init__(self, plan: Plan, sample: Sample) -> None:
        self.sample = sample
        self.state = RunState(plan)
        self.fired: list[Fired] = []
        self.is_possible = True
        self.now = sample.now
        self.target = plan.index.get(sample.task, plan.order[0] if plan.order else -1)
        self._plan = plan
        self._seq = 0
        self._fails = frozenset(_failing_before(plan, self.target))

    @property
    def task(self) -> str:
        """The id of the task that it is about."""
        return self._plan.tasks[self.target].id

    @property
    def breaker_key(self) -> str:
        """That of the circuit breaker before its agent, if it has one."""
        return self.state.breakers.key(self.target)

    # What happens

    def begin(self) -> None:
        """Set the run up."""
        env = {name: os.environ.get(name, "") for name in self._plan.spec.env}
        name = self._plan.spec.name
        self.tell(
            RunStarted(self.now, self.sample.run_id, name, "", self.sample.inputs, env, {}, {}, CORE_VERSION),
            GenerationStarted(self.now, 1, "start"),
        )
        self.walk(self.state.hooks)

    def tell(self, *events: Event) -> None:
        """Apply events, each somewhat later than the one before, and note what they owe."""
        for event in events:
            self._seq += 1
            self.now += PASSED_S
            timed = evolve(event, at=self.now)
            self.state.apply(timed)
            self._note_owed(timed)

    def tell_of(self, event: Event) -> None:
        """The same of an event that may be impossible for this definition: its hooks are shown all the same."""
        try:
            self.tell(event)
        except IllegalTransitionError:
            self.is_possible = False
            self._note_owed(event)

    def walk(self, line: HookLine) -> None:
        """Have the blocking hooks of a line pass, and note those that are looked for."""
        while not line.is_done:
            self._walk_head(line)

    def reach(self) -> None:
        """End all tasks that lead to the one that it is about."""
        before: set[int] = set()
        pending = [self.target]
        while pending:
            for index in self._plan.before(pending.pop()):
                if index not in before:
                    before.add(index)
                    pending.append(index)
        for index in self._plan.order:
            if index in before:
                self.perform(index)

    def perform(self, index: int) -> None:
        """Have a task run to its end, unless what happened before rules that out."""
        task = self._plan.tasks[index].id
        skipped = self._why_skipped(index)
        if skipped is not None:
            self.tell(TaskSkipped(self.now, task, skipped))
            return
        is_target = index == self.target
        self.start(index)
        self.end(index, self.sample.status if is_target else "failed" if index in self._fails else "success")

    def start(self, index: int) -> None:
        """A task's hooks on task_started, then its first attempt."""
        task = self._plan.tasks[index].id
        if self._plan.hooks.blocking("task_started", task):
            self._walk_head(new_line(self.state, task))  # by that the state has a line of its own
            self.walk(self.state.task_lines.get(index, NO_HOOKS))
        question = (
            self.state.breakers.question(self.sample.run_id, index) if self._plan.has_breakers else None
        )
        if question is not None:
            self.tell(BreakerAllowed(self.now, task, question.key, is_probe=False))
        self.tell(AttemptStarted(self.now, task, 1, 0, self._agent(index)))

    def fail(self, index: int) -> None:
        """Its first attempt fails."""
        self.tell(AttemptFailed(self.now, self._plan.tasks[index].id, 1, FAILURE))

    def end(self, index: int, status: TaskOutcome) -> None:
        """A task ends, and with it perhaps its stage."""
        task = self._plan.tasks[index].id
        match status:
            case "success":
                self.tell(AttemptSucceeded(self.now, task, 1, self.sample.outputs.get(task, {})))
            case "failed":
                self.fail(index)
                self.tell(TaskFailed(self.now, task, effect_on_run(self.state, index), FAILURE))
            case "canceled":
                self.tell(AttemptCanceled(self.now, task, 1))
        line = self.state.task_lines.get(index)
        if line is not None:
            self.walk(line)
            self.tell(TaskFinished(self.now, task, status))
        self._leave_stages()

    def end_tasks(self) -> None:
        """All of them."""
        for index in self._plan.order:
            if self.state.tasks[index].status not in ENDED:
                self.perform(index)
        self._leave_stages()

    def end_run(self) -> None:
        """Everything up to the end of the run."""
        if self.sample.status == "canceled":
            self.tell(CancelRequested(self.now, "a sample"))
        self.end_tasks()
        self.tell(self._ending())
        self.walk(self.state.hooks)
        self.tell(RunFinished(self.now, self.sample.status))

    # What is noted

    def _walk_head(self, line: HookLine) -> None:
        event, index = line.head
        is_stage = event == "on_stage_complete"
        task, stage = ("", line.subject) if is_stage else (line.subject, "")
        if not self._is_wanted(event, task, stage):
            self.tell(HookFinished(self.now, event, index, "skipped", {}, line.subject))
            return
        entry = self._plan.hooks.of(event, task)[index]
        command = next_hook(self.state, line, self.now)
        if isinstance(command, RunHook):
            self.fired.append(Fired(entry, command.context))
            self.tell(HookStarted(self.now, event, index, line.subject))
            self.tell(HookFinished(self.now, event, index, "ok", {}, line.subject))
        else:
            self._pass(entry, command)

    def _pass(self, entry: HookEntry, command: Command) -> None:
        """A hook that has no action to perform: it is passed over, computed by the core, or cannot be rendered."""
        assert isinstance(command, Record)
        assert isinstance(command.event, HookFinished)
        told = command.event
        skip = str(told.record.get("reason", "")) if told.status == "skipped" else ""
        fault = str(told.record.get("summary", "")) if told.status == "failed" else ""
        record = told.record if told.status == "ok" else NOTHING
        self.fired.append(Fired(entry, None, skip, fault, record))
        # a failure would end the list, whose other hooks are to be shown too
        self.tell(evolve(told, status="skipped") if fault else told)

    def _note_owed(self, event: Event) -> None:
        if not any(
            self._is_wanted_on(each.event, each.task, each.stage) for each in occasions(self.state, event)
        ):
            return
        for owed in owed_by(self.state, self._seq, event):
            if owed.entry.event == self.sample.event:
                context = None if owed.skip or owed.fault or owed.record else owed.context
                self.fired.append(Fired(owed.entry, context, owed.skip, owed.fault, owed.record))

    def _is_wanted_on(self, event: str, index: int | None, stage: str | None) -> bool:
        task = "" if index is None else self._plan.tasks[index].id
        return self._is_wanted(event, task, stage or "")

    def _is_wanted(self, event: str, task: str, stage: str) -> bool:
        """Whether it is the event that is looked for, of the task that it is about, or of that task's stage."""
        if event != self.sample.event:
            return False
        if event == "on_stage_complete":
            number = self._plan.stage_of[self.target]
            return number < 0 or self._plan.stages[number].name == stage
        return not task or task == self.task

    # Its own

    def _why_skipped(self, index: int) -> SkipReason | None:
        reason = self.state.frontier.to_skip.get(index)
        if reason is not None and index != self.target:
            return reason
        return (self.state.closing or "aborted") if self.state.is_barred(index) else None

    def _leave_stages(self) -> None:
        while self.state.frontier.stages_to_complete:
            number, status = next(iter(self.state.frontier.stages_to_complete.items()))
            self.tell(StageCompleted(self.now, self._plan.stages[number].name, status))
            line = self.state.stage_lines.get(number)
            if line is not None:
                self.walk(line)

    def _ending(self) -> RunEnding:
        status = self.sample.status
        ending = run_ending(self.state, status, self.now)
        if (
            status == "failed" and ending.failure is None
        ):  # somebody handles that failure, or there is no task
            task = self.task if self.target >= 0 else None
            return evolve(ending, failure=FAILURE, task=task)
        # what the run's outputs read may be nothing that was made up
        return ending if ending.outcome == status else RunEnding(self.now, status, {}, None, None)

    def _agent(self, index: int) -> str:
        return self._plan.agents_of[index][0]


def _failing_before(plan: Plan, target: int) -> Iterator[int]:
    """The tasks whose failure leads to one."""
    if target < 0:
        return
    yield from plan.failures_before(target)
    for source in plan.sources.get(target, ()):
        leads = plan.leads[source]
        if all(lead.on == "failure" for lead in leads if lead.target == target):
            yield source
