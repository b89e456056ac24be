"""Which tasks another generation of a run opens again."""

from __future__ import annotations

from collections.abc import Sequence

from actorflow.core.plan import Plan
from actorflow.core.task_state import TaskState, reopen


def reopen_tasks(plan: Plan, tasks: Sequence[TaskState], only: Sequence[str] = ()) -> list[int]:
    """Make tasks pending again, and return their numbers.

    Args:
        plan: of the run.
        tasks: by number; those that are opened again are changed.
        only: ids of the tasks that an operator wants tried again, with what was skipped below them, and what was ended
            or never begun because the run was ended. None given: all that did not succeed, what was skipped because of
            it, and `when` skips below any of these.
    """
    again = _below({plan.index[task] for task in only}, plan, tasks) if only else _not_done(plan, tasks)
    first = {index: tasks[index].reached_by for index in again}
    for index in again:
        reopen(tasks[index])
        source = first[index]
        tasks[index].reached_by = source if source not in again else None
    return sorted(again)


def _not_done(plan: Plan, tasks: Sequence[TaskState]) -> set[int]:
    again: set[int] = set()
    for index in plan.order:
        task = tasks[index]
        was_for_itself = task.status == "success" or task.reason == "when"
        is_below = task.reason == "when" and not again.isdisjoint(plan.before(index))
        if not was_for_itself or is_below:
            again.add(index)
    return again


def _below(wanted: set[int], plan: Plan, tasks: Sequence[TaskState]) -> set[int]:
    """The wanted tasks, what the end of the run cut off, and what was skipped below any of these, stages included."""
    again = {index for index, task in enumerate(tasks) if index in wanted or _was_cut_off(task)}
    stages = {plan.stage_of[index] for index in again}
    left = [index for index in plan.order if tasks[index].status == "skipped" and index not in again]
    is_growing = True
    while is_growing:  # the order knows edges; what a stage holds back may come before it there
        passed: list[int] = []
        for index in left:
            if again.isdisjoint(plan.before(index)) and not _is_stage_below(plan, index, stages):
                passed.append(index)
            else:
                again.add(index)
                stages.add(plan.stage_of[index])
        is_growing = len(passed) < len(left)
        left = passed
    return again


def _was_cut_off(task: TaskState) -> bool:
    return task.status == "canceled" or task.reason in ("aborted", "canceled")


def _is_stage_below(plan: Plan, index: int, stages: set[int]) -> bool:
    number = plan.stage_of[index]
    return number >= 0 and any(earlier in stages for earlier in plan.stages[number].after)
