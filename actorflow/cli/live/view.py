"""What a live view knows of a run: its state, folded once more, and what people want to find in it at a glance.

Each event and each line costs the same, whatever the number of tasks; a view is read as often as a screen is painted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import evolve, frozen

from actorflow.cli.happenings import STANDS_IN
from actorflow.cli.hooks.runs import hook_name
from actorflow.cli.layout import counted
from actorflow.cli.progress import failure_text
from actorflow.cli.screen import as_line
from actorflow.cli.sensitive import sensitive_tasks, shown_failure
from actorflow.core.events import (
    AttemptStarted,
    AttemptSucceeded,
    BreakerRefused,
    DefinitionChanged,
    Event,
    FallbackValueUsed,
    GenerationStarted,
    HookStarted,
    RetryScheduled,
    SleepStarted,
)
from actorflow.core.plan import plan_of
from actorflow.core.state import RunState
from actorflow.core.task_state import TaskState
from actorflow.core.transitions import ENDED, SHOWN
from actorflow.runtime.result import HookCounts, status_of
from actorflow.spec.model import TaskSpec, WorkflowSpec

if TYPE_CHECKING:
    from actorflow.journal.output_log import OutputLine

Wait: TypeAlias = RetryScheduled | SleepStarted | BreakerRefused
"""The event that says what a task waits for."""

RECENT: Final = 200
"""How many of the tasks that have ended are remembered in the order in which they did."""


@frozen
class Row:
    """A task as it stands."""

    task: TaskState
    spec: TaskSpec
    stage: str  #: that it is in; empty: in none
    place: int  #: from 0, in the order in which people read the tasks: by stage, then as in the file
    wait: Wait | None  #: of a task that waits
    output: str  #: the last line of the attempt that runs
    why: str  #: of one that has failed or waits for another attempt: why; of others, what is worth a remark

    @property
    def status(self) -> str:
        """As people see it."""
        return shown_status(self.task)


@frozen
class RunningHook:
    """A blocking hook that is under way."""

    path: str
    name: str
    at: float  #: when it began


class RunView:
    """A run, as a live view shows it; it must be given all of the run's events, from the first on."""

    def __init__(self, spec: WorkflowSpec) -> None:
        self.spec = spec
        self.state = RunState(plan_of(spec))
        self.version = 0  #: another one whenever there is something new to be seen
        self.owner = ""  #: what is said of the process that has it, such as `crashed`; empty: nothing
        self.deliveries: HookCounts | None = None  #: of all hooks, where somebody has counted
        self.recent: deque[int] = deque(maxlen=RECENT)  #: tasks that have ended other than by failing
        self._by_status: dict[str, dict[int, None]] = {"pending": dict.fromkeys(range(len(spec.tasks)))}
        self._status = ["pending"] * len(spec.tasks)
        self._waits: dict[str, Wait] = {}
        self._outputs: dict[str, OutputLine] = {}
        self._stand_ins: set[str] = set()
        self._hooks: dict[tuple[str, str], RunningHook] = {}
        self._sensitive = sensitive_tasks(spec)
        self._places, self.stages = _places(self.state)

    def apply(self, event: Event) -> None:
        """Take the next event."""
        # what tasks gave is not shown, and may be large
        self.state.apply(evolve(event, output=None) if isinstance(event, AttemptSucceeded) else event)
        self.version += 1
        match event:
            case GenerationStarted() | DefinitionChanged():
                self._begin_again()
            case AttemptStarted(task=task):
                self._waits.pop(task, None)
                self._stand_ins.discard(task)
            case RetryScheduled(task=task) | SleepStarted(task=task) | BreakerRefused(task=task):
                self._waits[task] = event
            case FallbackValueUsed(task=task):
                self._stand_ins.add(task)
            case HookStarted(subject=subject):
                entry = self.state.plan.hooks.entry_of(event)
                self._hooks[event.event, subject] = RunningHook(entry.path, hook_name(entry.spec), event.at)
            case _:
                pass
        self._touch(_subject(event))

    def note_output(self, lines: Iterable[OutputLine]) -> None:
        """Take what attempts have printed; the last line of each that is not blank counts."""
        for line in lines:
            if line.text.strip() and not line.is_note:
                self._outputs[line.task] = line
                self.version += 1

    def note_hooks(self, counts: HookCounts) -> None:
        """Take what has become of hooks so far."""
        if counts != self.deliveries:
            self.deliveries = counts
            self.version += 1

    def note_owner(self, text: str) -> None:
        """Take what is said of the process that has the run."""
        if text != self.owner:
            self.owner = text
            self.version += 1

    @property
    def status(self) -> str:
        """Of the run."""
        return self.owner or status_of(self.state)

    @property
    def goes_on(self) -> bool:
        """Whether somebody is at its tasks."""
        return self.status.partition(" ")[0] in ("running", "pausing")

    @property
    def counts(self) -> Mapping[str, int]:
        """How many tasks are in each status."""
        return {status: len(tasks) for status, tasks in self._by_status.items() if tasks}

    @property
    def ended_count(self) -> int:
        """How many tasks have ended."""
        return sum(len(tasks) for status, tasks in self._by_status.items() if status in ENDED)

    @property
    def hooks(self) -> HookCounts:
        """What has become of hooks so far; without a count of deliveries, of those that the run waits for."""
        if self.deliveries is not None:
            return self.deliveries
        state = self.state
        return HookCounts(state.hooks_ok_count, state.hooks_failed_count, 0, 0, state.hooks_skipped_count)

    @property
    def running_hooks(self) -> Sequence[RunningHook]:
        """The blocking hooks that are under way."""
        running = {(line.head[0], line.subject) for line in self.state.running_lines()}
        return [hook for key, hook in self._hooks.items() if key in running]

    def numbers(self, status: str) -> dict[int, None]:
        """The tasks in a status, by number, in the order in which they came to it."""
        return self._by_status.get(status, {})

    def row(self, number: int) -> Row:
        """A task by its number."""
        task, spec = self.state.tasks[number], self.state.plan.tasks[number]
        return Row(
            task=task,
            spec=spec,
            stage=self.stage_of(number),
            place=self._places[number],
            wait=self._waits.get(task.id) if task.status == "waiting" else None,
            output=self._output(task),
            why=self._why(task),
        )

    def stage_counts(self, name: str) -> tuple[int, int]:
        """How many tasks of a stage have ended, and how many it has."""
        numbers = self.stages[name]
        return sum(self._status[number] in ENDED for number in numbers), len(numbers)

    def _output(self, task: TaskState) -> str:
        line = self._outputs.get(task.id)
        is_its = line is not None and (line.attempt, line.loss) == (task.attempt, task.loss)
        return line.text if line is not None and is_its and task.status == "running" else ""

    def _why(self, task: TaskState) -> str:
        if task.status == "skipped":
            return task.reason or ""
        if task.status == "success":
            cut_off = f"was cut off {counted(task.losses, 'time')}, and ran again" if task.losses else ""
            return STANDS_IN if task.id in self._stand_ins else cut_off
        if task.failure is None:
            return ""
        failure = shown_failure(task.failure) if task.id in self._sensitive else task.failure
        said = failure_text(failure)
        return said if task.effect in (None, "fatal") else f"{said} ({task.effect})"

    def stage_of(self, number: int) -> str:
        """The name of the stage that a task is in; empty: it is in none."""
        stage = self.state.plan.stage_of[number]
        return "" if stage < 0 else self.state.plan.stages[stage].name

    def _touch(self, task: str) -> None:
        number = self.state.plan.index.get(task)
        if number is not None:
            self._file(number)

    def _file(self, number: int) -> None:
        """Put a task where its status belongs."""
        status, before = shown_status(self.state.tasks[number]), self._status[number]
        if status == before:
            return
        del self._by_status[before][number]
        self._by_status.setdefault(status, {})[number] = None
        self._status[number] = status
        if status in ENDED and status != "failed":
            self.recent.append(number)

    def _begin_again(self) -> None:
        """Many tasks may be open again, and none has ended since."""
        self.recent.clear()
        self._waits.clear()
        self._outputs.clear()
        for number in range(len(self._status)):
            self._file(number)
        self.recent.clear()


def _subject(event: Event) -> str:
    """The task that an event is about, if it is about one."""
    subject: str | None = getattr(event, "task", None) or getattr(event, "subject", "")
    return subject or ""


def shown_status(task: TaskState) -> str:
    """The status of a task as people see it."""
    return SHOWN.get(task.status, task.status)


def plain(text: str) -> str:
    """What somebody else has made up, as one line that a terminal takes as it is."""
    return as_line(text.expandtabs(4))


def _places(state: RunState) -> tuple[Sequence[int], Mapping[str, Sequence[int]]]:
    """Where each task is read, by number; and the tasks of each stage, in that order."""
    plan = state.plan
    in_file = {task.id: place for place, task in enumerate(plan.spec.tasks)}
    numbers = sorted(
        range(len(plan.tasks)), key=lambda number: (plan.stage_of[number], in_file[plan.tasks[number].id])
    )
    places = [0] * len(numbers)
    for place, number in enumerate(numbers):
        places[number] = place
    stages: dict[str, Sequence[int]] = {
        stage.name: [number for number in numbers if plan.stage_of[number] == index]
        for index, stage in enumerate(plan.stages)
    }
    return places, stages
