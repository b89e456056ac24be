"""Ways to break what is said of hooks that a run waits for, the core's side of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from attrs import evolve

from actorflow.core import hook_events, owed, run_events
from actorflow.core.events import (
    AttemptSucceeded,
    Event,
    Failure,
    GenerationStarted,
    HookFinished,
    HookLost,
    RetryScheduled,
    StageCompleted,
    TaskFailed,
    TaskFinished,
)
from actorflow.core.frontier import Frontier
from actorflow.core.hook_config import HookEntry
from actorflow.core.hook_line import HookLine
from actorflow.core.hook_rendering import Occasion
from actorflow.core.state import APPLIERS, RunState
from actorflow.spec.model import HookSpec
from tests.machine import Driver
from tests.mutants.mutant import Mutant
from tests.mutants.scenes import first_ended, two_runs
from tests.mutants.switches import also, replaced, replaced_applier
from tests.scenarios import hooks_on, task


@contextmanager
def finishing_opens_dependants() -> Iterator[None]:
    """What waits for a task starts with its outcome, while its hooks run."""
    conclude, end = RunState.conclude, Frontier.end
    opened: set[tuple[int, int]] = set()

    def conclude_early(state: RunState, index: int, outcome, at: float) -> None:
        conclude(state, index, outcome, at)
        each = state.tasks[index]
        if each.status == "finishing" and (id(state.frontier), index) not in opened:
            each.status = outcome
            end(state.frontier, index)
            opened.add((id(state.frontier), index))
            state.frontier.open_count += 1
            each.status = "finishing"

    def end_once(frontier: Frontier, index: int) -> None:
        if (id(frontier), index) in opened:
            frontier.open_count -= 1
        else:
            end(frontier, index)

    with replaced(RunState, "conclude", conclude_early), replaced(Frontier, "end", end_once):
        yield


@contextmanager
def no_end_hooks() -> Iterator[None]:
    """A task is at its end with its outcome: its hooks do not run."""
    with replaced(RunState, "conclude", RunState.end):
        yield


@contextmanager
def output_lost_after_a_crash() -> Iterator[None]:
    """What a transform makes of an output is set where it is computed, and not by the event."""
    take_values, happen = hook_events._take_values, Driver.happen

    def forget(state: RunState, line: HookLine, event: HookFinished) -> None:
        record = {name: value for name, value in event.record.items() if name != "output"}
        take_values(state, line, evolve(event, record=record))

    def remember(driver: Driver, *events: Event) -> None:
        before = len(driver.unsaved)
        happen(driver, *events)
        for event in driver.unsaved[before:]:
            if isinstance(event, HookFinished) and "output" in event.record:
                driver.state.task(event.subject).output = event.record["output"]

    with replaced(hook_events, "_take_values", forget), replaced(Driver, "happen", remember):
        yield


@contextmanager
def hook_run_twice_after_resume() -> Iterator[None]:
    """After a crash the shell runs again what the journal says was started, and does not say that it was lost."""
    begin = Driver.begin

    def go_on(driver: Driver) -> None:
        if not driver.run.events:
            begin(driver)
            return
        for line in driver.state.running_lines():
            for each in [e for e in driver.run.performed if e not in driver.held]:
                place = (getattr(each, "event", ""), getattr(each, "index", -1))
                if place == line.head and getattr(each, "subject", None) == line.subject:
                    driver.perform(each)
                    break

    with replaced(Driver, "begin", go_on):
        yield


@contextmanager
def lost_hook_is_over() -> Iterator[None]:
    """A hook that a crash cut off is not run again."""

    def give_up(state: RunState, event: HookLost) -> None:
        line = hook_events._line(state, event)
        line._position += 1

    with also(HookLost, give_up):
        yield


@contextmanager
def refusals_ignored() -> Iterator[None]:
    """`on_error: fail` is taken for `continue`."""
    finish = HookLine.finish

    def go_on(line: HookLine, event, index: int, failure: Failure | None = None) -> None:
        finish(line, event, index)

    with replaced(HookLine, "finish", go_on):
        yield


@contextmanager
def refusals_end_no_line() -> Iterator[None]:
    """A hook that fails what it is about lets the rest of its line run."""
    finish = HookLine.finish

    def go_on(line: HookLine, event, index: int, failure: Failure | None = None) -> None:
        finish(line, event, index)
        line.failure = line.failure or failure

    with replaced(HookLine, "finish", go_on):
        yield


@contextmanager
def never_disabled() -> Iterator[None]:
    """A hook that fails too often goes on."""

    def forget(state: RunState, entry: HookEntry, event: HookFinished) -> None:
        state.hook_failures.clear()

    with replaced(hook_events, "_count", forget):
        yield


@contextmanager
def slots_not_counted() -> Iterator[None]:
    """Hooks of tasks run beside as many attempts as may run."""

    def free_slots(state: RunState) -> int:
        return state.plan.spec.limits.max_parallel - len(state.running)

    with replaced(RunState, "free_slots", property(free_slots)):
        yield


@contextmanager
def end_told_twice() -> Iterator[None]:
    """The end of a task is told with its outcome, and again behind its hooks."""

    def always(state: RunState, event: TaskFailed | AttemptSucceeded | TaskFinished) -> Iterator[Occasion]:
        yield Occasion("task_finished", event.at, state.plan.index[event.task])

    with replaced(owed, "_TOLD", {**owed._TOLD, TaskFailed: always, AttemptSucceeded: always}):
        yield


@contextmanager
def end_told_with_the_outcome_only() -> Iterator[None]:
    """The end of a task that has hooks is never told."""
    told = {kind: tell for kind, tell in owed._TOLD.items() if kind is not TaskFinished}
    with replaced(owed, "_TOLD", told):
        yield


@contextmanager
def stage_left_early() -> Iterator[None]:
    """The next stage begins when one is complete, while its hooks run."""
    leave, end = hook_events.leave_finished_stage, APPLIERS[StageCompleted]

    def leave_at_once(state: RunState, number: int) -> None:
        status = state.stage_statuses[number]
        state.frontier.leave_stage(number, is_passed=status == "success")
        leave(state, number)

    with replaced(run_events, "leave_finished_stage", leave_at_once), replaced_applier(StageCompleted, end):
        yield


@contextmanager
def start_hooks_for_a_retry() -> Iterator[None]:
    """Each attempt has the hooks on the start of its task."""

    def again(state: RunState, event: RetryScheduled) -> None:
        state.task(event.task).is_prepared = False

    with also(RetryScheduled, again):
        yield


@contextmanager
def hooks_of_a_generation_before() -> Iterator[None]:
    """Hooks on the start of a task that ran in one generation are not run in the next."""
    begin = APPLIERS[GenerationStarted]

    def remember(state: RunState, event: GenerationStarted) -> None:
        prepared = [each for each in state.tasks if each.is_prepared]
        begin(state, event)
        for each in prepared:
            each.is_prepared = True

    with replaced_applier(GenerationStarted, remember):
        yield


@contextmanager
def turned_down_and_told_again() -> Iterator[None]:
    """A success that a hook turned down runs its hooks again, as a failure."""

    def forget(state: RunState, event: TaskFailed) -> None:
        index = state.plan.index[event.task]
        if state.tasks[index].outcome == "success":
            state.tasks[index].outcome = None
        fail(state, event)

    fail = APPLIERS[TaskFailed]
    with replaced_applier(TaskFailed, forget):
        yield


STRICT = HookSpec(command="true", on_error="fail")
AROUND_TASKS: Final = two_runs(
    task("a", attempts=2),
    task("b", "a"),
    hooks=hooks_on(task_started=[STRICT, STRICT], task_finished=[STRICT, STRICT]),
    max_parallel=2,
)
SIDE_BY_SIDE: Final = two_runs(
    *(task(name, strategy="finish") for name in "abc"),
    hooks=hooks_on(task_finished=[HookSpec(command="true")]),
    max_parallel=1,
)
AROUND_STAGES: Final = two_runs(
    task("a"),
    task("b"),
    stages={"s0": ["a"], "s1": ["b"]},
    hooks=hooks_on(on_stage_complete=[STRICT, STRICT]),
)
FRAGILE: Final = two_runs(
    *(task(name, strategy="finish") for name in "abc"),
    hooks=hooks_on(task_started=[HookSpec(command="true", on_error="disable", disable_after=1)]),
    max_parallel=1,
)
MAKES_ANOTHER_OUTPUT = HookSpec(action="transform", params={"set": {}, "output": "{{ output + 1 }}"})
TRANSFORMED: Final = two_runs(
    task("a"),
    opening=first_ended("succeeds"),
    hooks=hooks_on(task_finished=[MAKES_ANOTHER_OUTPUT, HookSpec(command="true")]),
)
TURNED_DOWN: Final = two_runs(
    task("a"),
    task("b", "a"),
    opening=first_ended("succeeds"),
    hooks=hooks_on(task_finished=[STRICT, STRICT]),
)

HOOKS: Final = {
    "finishing task opens its dependants": Mutant(
        finishing_opens_dependants, {"nothing starts before its edges are satisfied"}, AROUND_TASKS
    ),
    "no hooks on the end of a task": Mutant(
        no_end_hooks,
        {
            "nothing starts before its edges are satisfied",
            "a run ends when all its tasks have",
            "a fatal failure has one dead letter",
        },
        AROUND_TASKS,
    ),
    "output of a transform lost after a crash": Mutant(
        output_lost_after_a_crash, {"fold equals live"}, TRANSFORMED
    ),
    "hook run twice after resume": Mutant(hook_run_twice_after_resume, {"performed once"}, AROUND_TASKS),
    "lost hook is over": Mutant(
        lost_hook_is_over,
        {"hooks run once a generation, in order", "no attempt before its hooks are done"},
        AROUND_TASKS,
    ),
    "refusals ignored": Mutant(
        refusals_ignored,
        {"hooks run once a generation, in order", "no attempt of what a hook refuses"},
        AROUND_TASKS,
    ),
    "refusals end no line": Mutant(
        refusals_end_no_line, {"hooks run once a generation, in order"}, AROUND_TASKS
    ),
    "failing hook never disabled": Mutant(
        never_disabled, {"a hook that fails too often is disabled"}, FRAGILE
    ),
    "hooks take no slots": Mutant(slots_not_counted, {"hooks take slots as attempts do"}, SIDE_BY_SIDE),
    "end of a task told twice": Mutant(end_told_twice, {"what happens is told once"}, SIDE_BY_SIDE),
    "end of a task never told": Mutant(end_told_with_the_outcome_only, {"every end is told"}, SIDE_BY_SIDE),
    "stage left before its hooks end": Mutant(
        stage_left_early, {"a stage is left when its hooks are done"}, AROUND_STAGES
    ),
    "start hooks run again for a retry": Mutant(
        start_hooks_for_a_retry, {"hooks run once a generation, in order"}, AROUND_TASKS
    ),
    "start hooks of a generation before count": Mutant(
        hooks_of_a_generation_before, {"no attempt before its hooks are done"}, AROUND_TASKS
    ),
    "turned down, and hooks run again": Mutant(
        turned_down_and_told_again,
        {"hooks run once a generation, in order", "a task ends when its hooks have"},
        TURNED_DOWN,
    ),
}
