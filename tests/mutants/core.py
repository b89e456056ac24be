"""Ways to break the core, or the shell around it: the order of tasks, crashes, pauses, and how a run ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from attrs import evolve

from actorflow.core import recovery, run_events
from actorflow.core import state as core_state
from actorflow.core.commands import Decide, StartAttempt
from actorflow.core.events import (
    AttemptLost,
    AttemptStarted,
    AttemptSucceeded,
    CancelRequested,
    Event,
    FallbackChosen,
    PauseRequested,
    Resumed,
    RunEnding,
    SkipReason,
    TaskFailed,
    TaskSkipped,
)
from actorflow.core.frontier import Frontier
from actorflow.core.hook_line import HookLine
from actorflow.core.plan import Plan
from actorflow.core.state import RunState
from actorflow.core.task_state import TaskState, reopen
from tests.machine import Driver
from tests.mutants.mutant import Mutant
from tests.mutants.scenes import ANY, two_runs
from tests.mutants.switches import also, edges_otherwise, replaced, replaced_applier
from tests.scenarios import hook_lists, task


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
        run, before = driver.run, list(driver.run.events)
        unsaved, driver.unsaved = driver.unsaved, []
        run.events.extend(event for event in unsaved if not isinstance(event, AttemptSucceeded))
        driver.perform_held()
        run.events = before
        run.append(driver.owner, unsaved)

    with replaced(Driver, "commit", commit_starts):
        yield


@contextmanager
def attempt_started_twice_after_resume() -> Iterator[None]:
    """After a crash the shell does again what the journal says was started, and does not say that it was lost."""
    begin = Driver.begin

    def go_on(driver: Driver) -> None:
        if not driver.run.events:
            begin(driver)
            return
        running = {driver.state.tasks[index].id for index in driver.state.running}
        last = {start.task: start for start in driver.run.performed if isinstance(start, StartAttempt)}
        for start in [last[name] for name in sorted(running & last.keys())]:
            driver.perform(start)

    with replaced(Driver, "begin", go_on):
        yield


@contextmanager
def restart_of_a_success() -> Iterator[None]:
    """Another generation opens everything again."""

    def reopen_all(plan: Plan, tasks: Sequence[TaskState], only: Sequence[str] = ()) -> list[int]:
        for each in tasks:
            reopen(each)
        return list(range(len(tasks)))

    with replaced(run_events, "reopen_tasks", reopen_all):
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
    skip = core_state.APPLIERS[TaskSkipped]

    def skip_alone(state: RunState, event: TaskSkipped) -> None:
        skip(state, evolve(event, reason="when"))

    with replaced_applier(TaskSkipped, skip_alone):
        yield


@contextmanager
def fallback_without_attempts() -> Iterator[None]:
    """A fallback agent gets what its predecessor left of its attempts."""
    choose = core_state.APPLIERS[FallbackChosen]

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
            state.hooks = HookLine("", (("on_error", i) for i in state.plan.hooks.blocking("on_error")))

    with also(RunEnding, forget):
        yield


@contextmanager
def abort_starves_handlers() -> Iterator[None]:
    """An abort ends what was there to clean up after it, too."""
    close = RunState.close

    def close_to_all(state: RunState, reason: SkipReason, *, spares_handlers: bool) -> None:
        close(state, reason, spares_handlers=False)

    with replaced(RunState, "close", close_to_all):
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
    lose = core_state.APPLIERS[AttemptLost]

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
        for index, each in enumerate(state.tasks):
            if each.status == "waiting" and each.agent is None:
                state.frontier.wait_until(index, event.at)

    with also(Resumed, wake):
        yield


@contextmanager
def fallback_value_first() -> Iterator[None]:
    """The fallback value is used at the first failure."""
    decide = recovery.decide

    def decide_early(failed: Decide) -> recovery.Verdict:
        if failed.spec.on_error.has_fallback_value:
            return recovery.UseValue(failed.fallback_value)
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
            state.wait_until(index, event.at)

    with also(AttemptLost, forgive):
        yield


@contextmanager
def pause_takes_hold_late() -> Iterator[None]:
    """A run that is to pause starts one task more."""
    pause, start = core_state.APPLIERS[PauseRequested], core_state.APPLIERS[AttemptStarted]
    asked: dict[int, PauseRequested] = {}

    def note(state: RunState, event: PauseRequested) -> None:
        asked[id(state)] = event

    def start_and_pause(state: RunState, event: AttemptStarted) -> None:
        start(state, event)
        if id(state) in asked:
            pause(state, asked.pop(id(state)))

    with replaced_applier(PauseRequested, note), replaced_applier(AttemptStarted, start_and_pause):
        yield


@contextmanager
def one_slot_too_many() -> Iterator[None]:
    """There is one slot more than max_parallel says."""
    free_slots = RunState.free_slots

    with replaced(RunState, "free_slots", property(lambda state: free_slots.fget(state) + 1)):
        yield


TWO_IN_TURN: Final = two_runs(task("a"), task("b"), task("c", "b"), max_parallel=1)
"""The first that fails aborts the rest."""

RETRIES: Final = two_runs(task("a", attempts=3, fallbacks=("second",)))

WITH_VALUE: Final = two_runs(task("a", attempts=2, value=1))
ON_FAILURE: Final = two_runs(task("a"), task("b", on_failure_of=("a",)), task("c", "b"))
CLEANED_UP: Final = two_runs(task("a"), hooks=hook_lists(on_error=1, post_workflow=2))
ONCE: Final = two_runs(task("a", idempotent=False))
ASLEEP: Final = two_runs(task("a", sleep=5.0))

CORE: Final = {
    "commit after effect": Mutant(commit_after_effect, {"performed only after commit"}, ANY),
    "dependant before commit": Mutant(
        dependant_before_commit, {"dependants only after the commit of outcomes"}, ANY
    ),
    "attempt started twice after resume": Mutant(attempt_started_twice_after_resume, {"performed once"}, ANY),
    "restart of a success": Mutant(restart_of_a_success, {"a success never starts again"}, ANY),
    "lost counted as attempt": Mutant(
        lost_counted_as_attempt,
        {"every agent has its attempts", "delays are within bounds", "exhausted retries are told once"},
        RETRIES,
    ),
    "skip not passed on": Mutant(
        skip_not_passed_on,
        {
            "nothing starts before its edges are satisfied",
            "what waits for a failure is skipped",
            "a run ends when all its tasks have",
        },
        ANY,
    ),
    "fallback without attempts": Mutant(
        fallback_without_attempts,
        {"every agent has its attempts", "exhausted retries are told once", "attempts are within limits"},
        RETRIES,
    ),
    "start after cancel": Mutant(start_after_cancel, {"nothing starts after a cancel"}, ANY),
    "wrong retry count": Mutant(wrong_retry_count, {"attempts are within limits"}, ANY),
    "post_workflow missing": Mutant(
        post_workflow_missing, {"post_workflow runs as often as it must"}, CLEANED_UP
    ),
    "abort starves handlers": Mutant(
        abort_starves_handlers, {"tasks are skipped for a reason", "tasks are canceled for a reason"}, ANY
    ),
    "abort spares everybody": Mutant(abort_spares_everybody, {"nothing starts after an abort"}, TWO_IN_TURN),
    "unreached task bars its dependants": Mutant(
        unreached_bars, {"tasks are skipped for a reason"}, ON_FAILURE
    ),
    "handled failure satisfies an edge": Mutant(
        handled_failure_satisfies, {"nothing starts before its edges are satisfied"}, ANY
    ),
    "success satisfies an edge on failure": Mutant(
        success_is_a_failure,
        {"nothing starts before its edges are satisfied", "what waits for a failure is skipped"},
        ON_FAILURE,
    ),
    "target starts without a transition": Mutant(
        target_starts_by_itself,
        {"nothing starts before its edges are satisfied", "tasks are skipped for a reason"},
        ANY,
    ),
    "pause counted as loss": Mutant(pause_counted_as_loss, {"a task may be lost five times"}, ANY),
    "sleep forgotten after a crash": Mutant(
        sleep_forgotten_after_crash, {"nothing starts before it is due"}, ASLEEP
    ),
    "pause that starts one more task": Mutant(
        pause_takes_hold_late, {"nothing starts while pausing"}, TWO_IN_TURN
    ),
    "one slot too many": Mutant(
        one_slot_too_many, {"at most max_parallel run", "hooks take slots as attempts do"}, TWO_IN_TURN
    ),
    "fallback value first": Mutant(
        fallback_value_first, {"every agent has its attempts", "every fallback is tried"}, WITH_VALUE
    ),
    "handled failure fails the run": Mutant(
        handled_failure_fails_the_run, {"the outcome is that of the tasks"}, ANY
    ),
    "not idempotent, run again": Mutant(idempotent_or_not, {"what is not idempotent runs once"}, ONCE),
}
