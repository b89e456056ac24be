"""What is due: the commands that follow from a run's state and the time, as one pure query."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from attrs import evolve

from actorflow.core.commands import (
    CancelAttempt,
    CancelHook,
    Command,
    Decide,
    Finish,
    Record,
    RunHook,
    TellBreaker,
)
from actorflow.core.due_hooks import facts_of_lines, hooks_of_stages, hooks_of_tasks, next_hook
from actorflow.core.events import (
    Event,
    Failure,
    FallbackChosen,
    RunDeadlinePassed,
    RunOutcome,
    StageCompleted,
    TaskCanceled,
    TaskDeadlinePassed,
    TaskFailed,
    TaskSkipped,
)
from actorflow.core.hook_events import new_line
from actorflow.core.recovery import FINAL, is_past_deadline
from actorflow.core.rendering import (
    Prepare,
    dead_letter,
    effect_on_run,
    fallback_value,
    run_ending,
    start_task,
)
from actorflow.errors import ExpressionError

if TYPE_CHECKING:
    from actorflow.core.state import RunState


def due_commands(state: RunState, now: float) -> list[Command]:
    """All commands due at `now`: verdicts first, then facts, then what ends or starts work."""
    if state.undecided:
        return _decisions(state, now)
    if state.deadline_at is not None and now >= state.deadline_at and state.is_timed:
        return [Record(RunDeadlinePassed(now))]
    match state.phase:
        case "tasks":
            return _task_commands(state, now)
        case "setup" | "ending":
            return _hook_commands(state, now)
        case "new" | "idle" | "ended":
            return []


def _decisions(state: RunState, now: float) -> list[Command]:
    """Where retries are counted, one at a time: two verdicts must not spend the same retry."""
    undecided = islice(state.undecided.items(), None if state.budget_left is None else 1)
    return [_decision(state, index, failure, now) for index, failure in undecided]


def _decision(state: RunState, index: int, failure: Failure, now: float) -> Command:
    task = state.tasks[index]
    spec = state.plan.tasks[index]
    effect = effect_on_run(state, index)
    if state.is_barred(index):
        return Record(TaskFailed(now, task.id, effect, failure))
    asked = Decide(
        task.id,
        spec,
        state.run_id,
        task.attempt,
        task.agent_index,
        task.agent_attempts,
        failure,
        effect,
        remaining_s=None if task.deadline_at is None else task.deadline_at - now,
        budget_left=state.budget_left,
        is_budget_noted=state.is_budget_noted,
    )
    is_last = task.agent_index + 1 == len(spec.agents) or failure.type in FINAL or is_past_deadline(asked)
    if not spec.on_error.has_fallback_value or not is_last:
        return asked
    try:
        return evolve(asked, fallback_value=fallback_value(state, index, now))
    except ExpressionError as error:
        return evolve(asked, fallback_fault=str(error))


def _task_commands(state: RunState, now: float) -> list[Command]:
    facts = _facts(state, now)
    if facts:
        return [Record(fact) for fact in facts]
    due: list[Command] = []
    if state.plan.has_breakers:
        due.extend(TellBreaker(report.task, report) for report in state.breakers.untold.values())
    if state.closing is not None:
        due.extend(
            CancelAttempt(state.tasks[i].id, state.tasks[i].attempt)
            for i in state.running
            if state.is_barred(i)
        )
    if state.stage_lines:
        between = hooks_of_stages(state, now)
        due.extend(between)
        if any(isinstance(each, Record) for each in between):
            return due  # it may close the run, or open the next stage: what comes after it is asked for again
    if state.task_lines:
        due.extend(hooks_of_tasks(state, now, state.free_slots - _hooks_in(due)))
    if not state.is_pausing and (state.closing is None or state.spares_handlers):
        due.extend(_starts(state, now, state.free_slots - (_hooks_in(due) if due else 0)))
    if due or state.frontier.open_count or state.stage_lines:
        return due
    return [Record(run_ending(state, _outcome(state), now))]


def _hooks_in(due: list[Command]) -> int:
    return sum(isinstance(each, RunHook) for each in due)


def _outcome(state: RunState) -> RunOutcome:
    if state.is_canceled:
        return "canceled"
    return "success" if state.fatal is None else "failed"


def _facts(state: RunState, now: float) -> list[Event]:
    """What follows from the state alone."""
    facts: list[Event] = []
    tasks, frontier = state.tasks, state.frontier
    for index, failure in state.to_fail.items():
        facts.append(TaskFailed(now, tasks[index].id, effect_on_run(state, index), failure))
    if state.to_bury:
        facts.extend(dead_letter(state, index, now) for index in state.to_bury)
    if state.plan.has_breakers:
        facts.extend(_fallbacks(state, now))
    for index, reason in frontier.to_skip.items():
        task = tasks[index]
        was_tried = task.status == "waiting" and task.agent is not None
        facts.append(TaskCanceled(now, task.id) if was_tried else TaskSkipped(now, task.id, reason))
    if state.plan.has_deadlines and not state.is_pausing:
        late = dict.fromkeys([*frontier.overdue(now), *state.breakers.hopeless])
        ending = {*frontier.to_skip, *state.to_fail}
        facts.extend(TaskDeadlinePassed(now, tasks[i].id) for i in late if i not in ending)
    if state.task_lines:
        facts.extend(facts_of_lines(state, now))
    for number, status in frontier.stages_to_complete.items():
        facts.append(StageCompleted(now, state.plan.stages[number].name, status))
    return facts


def _fallbacks(state: RunState, now: float) -> Iterator[FallbackChosen]:
    """The next agents' turns, where the breaker of the one at hand is open."""
    for index in state.breakers.to_fall_back:
        if index not in state.frontier.to_skip:
            place = state.tasks[index].agent_index + 1
            yield FallbackChosen(now, state.tasks[index].id, state.plan.agents_of[index][place])


def _starts(state: RunState, now: float, free: int) -> list[Command]:
    """Starts of ready tasks and of waiting ones that are due, in file order, as far as slots are free."""
    if free <= 0:
        return []
    starts: list[Command] = []
    startable = state.frontier.startable(now, free)
    for index in _with_breakers(state, startable, free) if state.plan.has_breakers else startable:
        start = start_task(state, index, now)
        if isinstance(start, Prepare):
            starts.append(next_hook(state, new_line(state, state.tasks[index].id), now))
            continue
        starts.append(start)
        if isinstance(start, Record) and isinstance(start.event, TaskFailed):
            break  # it may close the run: what comes after it is asked for again
    return starts


def _with_breakers(state: RunState, startable: list[int], free: int) -> list[int]:
    """Who is allowed comes first, so that no leave grows old; of those that wait for a breaker, one asks for all."""
    refused, allowed = state.breakers.refused, state.breakers.allowed
    asked: set[str] = set()
    chosen = list(allowed)
    for index in startable:
        if index in allowed or refused.get(index) in asked:
            continue
        if index in refused:
            asked.add(refused[index])
        chosen.append(index)
    return chosen[:free]


def _hook_commands(state: RunState, now: float) -> list[Command]:
    hooks = state.hooks
    if hooks.is_running:
        is_unwanted = state.phase == "setup" and state.closing is not None
        return [CancelHook(*hooks.head, "")] if is_unwanted else []
    if hooks.is_done:
        assert state.ending is not None
        return [Finish(state.ending.outcome)]
    return [] if state.is_pausing else [next_hook(state, hooks, now)]
