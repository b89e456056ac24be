"""Ten ways to break the core or the shell around it, each a switch: a test that can't tell is not to be trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from attrs import evolve, frozen

from actorflow.core import recovery
from actorflow.core.commands import Decide
from actorflow.core.events import (
    AttemptLost,
    AttemptSucceeded,
    CancelRequested,
    Event,
    FallbackChosen,
    RunEnding,
    TaskSkipped,
)
from actorflow.core.hook_line import HookLine
from actorflow.core.state import RunState
from actorflow.core.task_state import reopen
from tests.test_core_machine import Driver


@frozen
class Mutant:
    """A switch that breaks something, and the promises any of which gives it away, by what happens first."""

    switch: Callable[[], AbstractContextManager[None]]
    broken: set[str]


@contextmanager
def commit_after_effect() -> Iterator[None]:
    """The shell acts first and commits later."""
    happen = Driver.happen

    def act_at_once(driver: Driver, *events: Event) -> None:
        happen(driver, *events)
        driver.perform_held()

    with replaced(Driver, "happen", act_at_once):
        yield


@contextmanager
def dependant_before_commit() -> Iterator[None]:
    """The shell commits what is to start, acts, and commits the outcomes that this waited for afterwards."""

    def commit_starts(driver: Driver) -> None:
        before, unsaved = driver.committed, driver.unsaved
        driver.committed = before + [event for event in unsaved if not isinstance(event, AttemptSucceeded)]
        driver.perform_held()
        driver.committed, driver.unsaved = before + unsaved, []

    with replaced(Driver, "commit", commit_starts):
        yield


@contextmanager
def attempt_started_twice_after_resume() -> Iterator[None]:
    """After a crash the shell does again what the journal says was started, and does not say that it was lost."""

    def crash(driver: Driver, *, is_kept: bool) -> None:
        if is_kept:
            driver.committed.extend(driver.unsaved)
        driver.unsaved, driver.held = [], []
        driver.state = RunState(driver.state.plan)
        for event in driver.committed:
            driver.state.apply(event)
        for body in list(driver.bodies.values()):
            driver.perform(body)

    with replaced(Driver, "crash", crash):
        yield


@contextmanager
def restart_of_a_success() -> Iterator[None]:
    """Another generation opens everything again."""
    reopen_tasks = RunState._reopen_tasks

    def reopen_all(state: RunState) -> None:
        for task in state.tasks:
            reopen(task)
            task.reason = "upstream"
        reopen_tasks(state)

    with replaced(RunState, "_reopen_tasks", reopen_all):
        yield


@contextmanager
def lost_counted_as_attempt() -> Iterator[None]:
    """A lost attempt uses up one of those that its agent has."""

    def count(state: RunState, event: AttemptLost) -> None:
        state.task(event.task).agent_attempts += 1

    with also(AttemptLost, count):
        yield


@contextmanager
def skip_not_passed_on() -> Iterator[None]:
    """What waits for a skipped task starts, whatever the task was skipped for."""
    skip = RunState._appliers[TaskSkipped]

    def skip_alone(state: RunState, event: TaskSkipped) -> None:
        skip(state, evolve(event, reason="when"))

    with replaced_applier(TaskSkipped, skip_alone):
        yield


@contextmanager
def fallback_without_attempts() -> Iterator[None]:
    """A fallback agent gets what its predecessor left of its attempts."""
    choose = RunState._appliers[FallbackChosen]

    def choose_alone(state: RunState, event: FallbackChosen) -> None:
        attempts = state.task(event.task).agent_attempts
        choose(state, event)
        state.task(event.task).agent_attempts = attempts

    with replaced_applier(FallbackChosen, choose_alone):
        yield


@contextmanager
def start_after_cancel() -> Iterator[None]:
    """A canceled run goes on, and ends as canceled."""

    def note(state: RunState, event: CancelRequested) -> None:
        state.is_canceled = True

    with replaced_applier(CancelRequested, note):
        yield


@contextmanager
def wrong_retry_count() -> Iterator[None]:
    """`max_attempts` counts the retries."""
    decide = recovery.decide

    def decide_late(failed: Decide) -> recovery.Verdict:
        retry = evolve(failed.spec.retry, max_attempts=failed.spec.retry.max_attempts + 1)
        return decide(evolve(failed, spec=evolve(failed.spec, retry=retry)))

    with replaced(recovery, "decide", decide_late):
        yield


@contextmanager
def post_workflow_missing() -> Iterator[None]:
    """A run that failed has no post_workflow hooks."""

    def forget(state: RunState, event: RunEnding) -> None:
        if event.outcome == "failed":
            state.hooks = HookLine(("on_error", i) for i in range(len(state.plan.hooks.on_error)))

    with also(RunEnding, forget):
        yield


MUTANTS = {
    "commit after effect": Mutant(commit_after_effect, {"performed only after commit"}),
    "dependant before commit": Mutant(
        dependant_before_commit, {"dependants only after the commit of outcomes"}
    ),
    "attempt started twice after resume": Mutant(attempt_started_twice_after_resume, {"performed once"}),
    "restart of a success": Mutant(restart_of_a_success, {"a success never starts again"}),
    "lost counted as attempt": Mutant(
        lost_counted_as_attempt, {"every agent has its attempts", "delays are within bounds"}
    ),
    "skip not passed on": Mutant(
        skip_not_passed_on,
        {"nothing starts before its edges are satisfied", "what waits for a failure is skipped"},
    ),
    "fallback without attempts": Mutant(fallback_without_attempts, {"every agent has its attempts"}),
    "start after cancel": Mutant(start_after_cancel, {"nothing starts after a cancel"}),
    "wrong retry count": Mutant(wrong_retry_count, {"attempts are within limits"}),
    "post_workflow missing": Mutant(post_workflow_missing, {"post_workflow runs as often as it must"}),
}


@contextmanager
def replaced(owner: object, name: str, value: object) -> Iterator[None]:
    """For a while, something else goes by this name."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def replaced_applier(kind: type[Event], applier: Callable[[RunState, Any], None]) -> Iterator[None]:
    """For a while, events of a kind are applied otherwise."""
    with replaced(RunState, "_appliers", {**RunState._appliers, kind: applier}):
        yield


@contextmanager
def also(kind: type[Event], effect: Callable[[RunState, Any], None]) -> Iterator[None]:
    """For a while, events of a kind do something more."""
    applier = RunState._appliers[kind]

    def apply(state: RunState, event: Event) -> None:
        applier(state, event)
        effect(state, event)

    with replaced_applier(kind, apply):
        yield
