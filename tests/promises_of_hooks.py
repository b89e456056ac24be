"""What a run promises about the hooks that it waits for, read from its history alone, as `promises` is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from actorflow.core.events import (
    AttemptStarted,
    Event,
    GenerationStarted,
    HookFinished,
    HookLost,
    HookStarted,
    RunEnding,
    StageCompleted,
    TaskFinished,
)
from actorflow.spec.model import WorkflowSpec
from tests.naive_hooks import FAILURES, hook_of, is_refusal, places
from tests.promises import SUCCESSES, OrderPromises, expect

Subject = tuple[str, str]
"""An event, and the task or stage that it is about."""

TOLD_ONCE = ("task_started", "task_finished", "on_stage_complete", "on_error", "workflow_finished")


class HookPromises:
    """Which hooks run, when, and what waits for them; `order` has read as far as the event before."""

    def __init__(self, spec: WorkflowSpec, order: OrderPromises) -> None:
        self.spec, self.order = spec, order
        self.failures = Counter[str]()  #: in a row, by path
        self.begin_generation()

    def begin_generation(self) -> None:
        self.done: dict[Subject, list[int]] = {}
        self.running: dict[Subject, int] = {}
        self.refused: set[Subject] = set()
        self.completed: list[str] = []  #: stages

    def check(self, event: Event) -> None:
        match event:
            case GenerationStarted():
                self.begin_generation()
            case HookStarted():
                self.check_start(event)
            case HookFinished():
                self.check_end(event)
            case HookLost(event=name, index=index, subject=subject):
                is_running = self.running.pop((name, subject), None) == index
                expect("a hook ends once", is_running, event)
            case AttemptStarted(task=task):
                self.check_attempt(event, task)
            case TaskFinished(task=task):
                self.check_finished(event, task)
            case StageCompleted(stage=stage):
                self.completed.append(stage)
            case RunEnding():
                lines = [("on_stage_complete", stage) for stage in self.completed]
                is_left = all(map(self.is_over, lines)) and not self.running
                expect("a run ends when its hooks have", is_left, (event, self.running))
            case _:
                pass

    def check_start(self, event: HookStarted) -> None:
        subject = (event.event, event.subject)
        self.check_turn(event)
        path, hook = hook_of(self.spec, event)
        is_disabled = hook.on_error == "disable" and self.failures[path] >= hook.disable_after
        expect("a hook that fails too often is disabled", not is_disabled, event)
        self.running[subject] = event.index
        self.check_slots(event, len(self.order.running))
        if event.event == "task_started":
            self.check_stages_before(event, event.subject)

    def check_end(self, event: HookFinished) -> None:
        subject = (event.event, event.subject)
        if self.running.pop(subject, None) != event.index:
            is_passed = event.status in ("skipped", "failed") or "vars" in event.record
            expect("a hook ends once", is_passed, event)
            self.check_turn(event)
        self.done.setdefault(subject, []).append(event.index)
        path, _ = hook_of(self.spec, event)
        if event.status in FAILURES:
            self.failures[path] += 1
        elif event.status == "ok":
            self.failures[path] = 0
        if is_refusal(self.spec, event):
            self.refused.add(subject)

    def check_turn(self, event: HookStarted | HookFinished) -> None:
        """Each hook of a list runs once a generation, when those before it have ended."""
        subject = (event.event, event.subject)
        expect("hooks run one after the other", subject not in self.running, event)
        left = self.left(subject)
        expect("hooks run once a generation, in order", left[:1] == [event.index], (event, left))

    def left(self, subject: Subject) -> list[int]:
        done = self.done.get(subject, [])
        if subject in self.refused:
            return []
        return [index for _, index in places(self.spec, *subject) if index not in done]

    def is_over(self, subject: Subject) -> bool:
        return not self.left(subject) and subject not in self.running

    def check_attempt(self, event: AttemptStarted, task: str) -> None:
        subject = ("task_started", task)
        expect("no attempt before its hooks are done", self.is_over(subject), event)
        expect("no attempt of what a hook refuses", subject not in self.refused, event)
        self.check_slots(event, len(self.order.running) + 1)
        self.check_stages_before(event, task)

    def check_slots(self, event: Event, attempts: int) -> None:
        hooks = [subject for _, subject in self.running if subject]
        is_within = attempts + len(hooks) <= self.spec.limits.max_parallel
        expect("hooks take slots as attempts do", is_within, (event, hooks))

    def check_stages_before(self, event: Event, task: str) -> None:
        stage = self.order.stage_of.get(task)
        for name in stage.after if stage is not None else ():
            subject = ("on_stage_complete", name)
            is_left = name not in self.completed or (self.is_over(subject) and subject not in self.refused)
            expect("a stage is left when its hooks are done", is_left, event)

    def check_finished(self, event: TaskFinished, task: str) -> None:
        subject = ("task_finished", task)
        expect("a task ends when its hooks have", self.is_over(subject), event)
        is_success = isinstance(self.order.outcomes.get(task), SUCCESSES)
        is_true = (event.status == "success") == is_success
        expect("a task ends as its last attempt did", is_true, event)
        expect("what a hook refuses has failed", not (is_success and subject in self.refused), event)


def check_told(told: Sequence[tuple[int, str, str]]) -> None:
    """Hold what was told of a run, by generation, event and subject, to being told once."""
    counts = Counter(each for each in told if each[1] in TOLD_ONCE)
    twice = [each for each, count in counts.items() if count > 1]
    expect("what happens is told once", not twice, twice)


def check_ends_are_told(told: Sequence[tuple[int, str, str]], generation: int, tasks: Sequence[str]) -> None:
    """Hold it to tell of the ends of these tasks in that generation."""
    untold = [task for task in tasks if (generation, "task_finished", task) not in told]
    expect("every end is told", not untold, untold)
