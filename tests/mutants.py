"""Ways to break the core or the shell around it, each a switch: a test that can't tell is not to be trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from attrs import evolve, frozen

from actorflow.core import frontier, recovery
from actorflow.core.commands import Decide
from actorflow.core.events import (
    AttemptLost,
    AttemptSucceeded,
    CancelRequested,
    Event,
    FallbackChosen,
    Resumed,
    RunEnding,
    SkipReason,
    TaskFailed,
    TaskSkipped,
)
from actorflow.core.frontier import Frontier
from actorflow.core.hook_line import HookLine
from actorflow.core.plan import On
from actorflow.core.state import RunState
from actorflow.core.task_state import TaskState, reopen
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
            state.hooks = HookLine(("on_error", i) for i in range(len(state.plan.hooks.of("on_error"))))

    with also(RunEnding, forget):
        yield


@contextmanager
def abort_starves_handlers() -> Iterator[None]:
    """An abort ends what was there to clean up after it, too."""
    close = RunState._close

    def close_to_all(state: RunState, reason: SkipReason, *, spares_handlers: bool) -> None:
        close(state, reason, spares_handlers=False)

    with replaced(RunState, "_close", close_to_all):
        yield


@contextmanager
def abort_spares_everybody() -> Iterator[None]:
    """An abort lets everything go on."""

    def is_barred(state: RunState, index: int) -> bool:
        return state.closing is not None and not state.spares_handlers

    with replaced(RunState, "is_barred", is_barred):
        yield


@contextmanager
def unreached_bars() -> Iterator[None]:
    """What depends on a task that nothing led to is skipped as if that had failed."""
    with edges_otherwise(lambda on, task: on == "success" and task.reason == "not_reached", "upstream"):
        yield


@contextmanager
def handled_failure_satisfies() -> Iterator[None]:
    """What depends on a task whose failure is handled starts."""
    with edges_otherwise(lambda on, task: task.effect == "handled", None):
        yield


@contextmanager
def success_is_a_failure() -> Iterator[None]:
    """An edge on failure is satisfied by a success."""
    with edges_otherwise(lambda on, task: on == "failure" and task.status == "success", None):
        yield


@contextmanager
def target_starts_by_itself() -> Iterator[None]:
    """A task that transitions lead to waits for none of them."""
    count_gates = Frontier._count_gates

    def without_sources(line: Frontier) -> list[int]:
        gates = count_gates(line)
        for target in line._plan.sources:
            gates[target] -= line._tasks[target].reached_by is None
        return gates

    with (
        replaced(Frontier, "_count_gates", without_sources),
        replaced(Frontier, "_is_reached", lambda line, index: True),
    ):
        yield


@contextmanager
def pause_counted_as_loss() -> Iterator[None]:
    """What a pause cuts off counts toward max_losses."""
    lose = RunState._appliers[AttemptLost]

    def lose_always(state: RunState, event: AttemptLost) -> None:
        was_pausing, state.is_pausing = state.is_pausing, False
        lose(state, event)
        state.is_pausing = was_pausing

    with replaced_applier(AttemptLost, lose_always):
        yield


@contextmanager
def sleep_forgotten_after_crash() -> Iterator[None]:
    """Who slept when the process died is woken by the next one."""

    def wake(state: RunState, event: Resumed) -> None:
        for index, task in enumerate(state.tasks):
            if task.status == "waiting" and task.agent is None:
                state.frontier.wait_until(index, event.at)

    with also(Resumed, wake):
        yield


@contextmanager
def fallback_value_first() -> Iterator[None]:
    """The fallback value is used at the first failure."""
    decide = recovery.decide

    def decide_early(failed: Decide) -> recovery.Verdict:
        if failed.spec.on_error.has_fallback_value:
            return recovery.Value(failed.fallback_value)
        return decide(failed)

    with replaced(recovery, "decide", decide_early):
        yield


@contextmanager
def handled_failure_fails_the_run() -> Iterator[None]:
    """A run fails although somebody handles the failure."""

    def fail(state: RunState, event: TaskFailed) -> None:
        if event.effect == "handled":
            state.fatal = state.fatal or (event.task, event.failure)

    with also(TaskFailed, fail):
        yield


@contextmanager
def idempotent_or_not() -> Iterator[None]:
    """What must not run twice is run again after a crash."""

    def forgive(state: RunState, event: AttemptLost) -> None:
        index = state.plan.index[event.task]
        if not state.plan.tasks[index].idempotent and state.to_fail.pop(index, None):
            state._wait_until(index, event.at)

    with also(AttemptLost, forgive):
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
    "abort starves handlers": Mutant(
        abort_starves_handlers, {"tasks are skipped for a reason", "tasks are canceled for a reason"}
    ),
    "abort spares everybody": Mutant(abort_spares_everybody, {"nothing starts after an abort"}),
    "unreached task bars its dependants": Mutant(unreached_bars, {"tasks are skipped for a reason"}),
    "handled failure satisfies an edge": Mutant(
        handled_failure_satisfies, {"nothing starts before its edges are satisfied"}
    ),
    "success satisfies an edge on failure": Mutant(
        success_is_a_failure,
        {"nothing starts before its edges are satisfied", "what waits for a failure is skipped"},
    ),
    "target starts without a transition": Mutant(
        target_starts_by_itself, {"nothing starts before its edges are satisfied"}
    ),
    "pause counted as loss": Mutant(pause_counted_as_loss, {"a task may be lost five times"}),
    "sleep forgotten after a crash": Mutant(sleep_forgotten_after_crash, {"nothing starts before it is due"}),
    "fallback value first": Mutant(
        fallback_value_first, {"every agent has its attempts", "every fallback is tried"}
    ),
    "handled failure fails the run": Mutant(
        handled_failure_fails_the_run, {"the outcome is that of the tasks"}
    ),
    "not idempotent, run again": Mutant(idempotent_or_not, {"what is not idempotent runs once"}),
}


@contextmanager
def edges_otherwise(applies: Callable[[On, TaskState], bool], reason: SkipReason | None) -> Iterator[None]:
    """For a while, some ends of tasks mean something else to who waits for them."""
    why_barred = frontier.why_barred

    def otherwise(on: On, task: TaskState) -> SkipReason | None:
        return reason if applies(on, task) else why_barred(on, task)

    with replaced(frontier, "why_barred", otherwise):
        yield


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
