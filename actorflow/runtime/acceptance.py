"""Moving a run to a changed definition: whether it may go there, and what is recorded of it.

The rule: only tasks that have not begun may be other ones. A run that has ended begins again with its next generation, so
there only tasks that succeeded must stay as they are. The proof is the history itself: told over under the new plan, it
must be legal, and must leave every task that has begun where it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from attrs import frozen

from actorflow.core.events import DefinitionChanged
from actorflow.core.hook_config import FUNCTION
from actorflow.core.plan import plan_of
from actorflow.core.state import RunState
from actorflow.core.task_state import TaskState
from actorflow.errors import ChangeRefusedError, IllegalTransitionError
from actorflow.journal.protocol import ChangeDefinition, Journal, RunRow
from actorflow.spec.definition import spec_definition
from actorflow.spec.model import WorkflowSpec

_MUST_STAY: Final = {
    "name": "the workflow's name",
    "entry": "the entry under workflows",
    "inputs": "the inputs",
    "env": "the variables under env",
    "hooks": "the workflow's hooks",
    "default_hooks": "the hooks under defaults",
    "stages": "the stages",
}
"""What the run has used already, and how it is called."""


@frozen
class Accepted:
    """A run that goes on by another definition."""

    state: RunState
    write: ChangeDefinition
    bindings: Mapping[str, str]

    def event(self, now: float) -> DefinitionChanged:
        """The fact to be recorded with `write`."""
        return DefinitionChanged(now, self.write.definition, self.bindings)


def accept_changes(
    journal: Journal, row: RunRow, state: RunState, spec: WorkflowSpec, bindings: Mapping[str, str]
) -> Accepted:
    """See that a run may go on by another definition.

    Args:
        journal: has the run's events.
        row: the run.
        state: as it stands.
        spec: the definition that it is to go on by.
        bindings: what agents are bound to that the run did not know before.

    Raises:
        ChangeRefusedError: with all that stands against it.
    """
    old = state.plan.spec
    problems = [
        f"{called} changed"
        for name, called in _MUST_STAY.items()
        if getattr(old, name) != getattr(spec, name)
    ]
    problems += _of_tasks(state, spec)
    problems += _of_deliveries(journal, row, spec)
    if problems:
        raise ChangeRefusedError(row.run_id, tuple(problems))
    told_over = _told_over(journal, row, state, spec)
    digest, body = spec_definition(spec)
    return Accepted(told_over, ChangeDefinition(row.run_id, digest, body), {**bindings, **state.bindings})


def _of_deliveries(journal: Journal, row: RunRow, spec: WorkflowSpec) -> Iterator[str]:
    """What is pending belongs to hooks of the old definition; functions of the program belong to neither."""
    known = {entry.path for entry in plan_of(spec).hooks.entries}
    pending = dict.fromkeys(each.hook for each in journal.pending(row.run_id))
    for path in pending:
        if path not in known and not path.startswith(f"{FUNCTION}."):
            yield f"the hook {path} is gone, and has deliveries pending; drain them first"


def _of_tasks(state: RunState, spec: WorkflowSpec) -> Iterator[str]:
    old, new = state.plan.spec, {task.id: task for task in spec.tasks}
    for task, known in zip(state.plan.tasks, state.tasks, strict=True):
        if not _has_begun(state, known):
            continue
        if task.id not in new:
            yield f"task {task.id!r} has begun, and is not there any more"
        elif new[task.id] != task:
            yield f"task {task.id!r} has begun, and changed"
        elif any(old.agents.get(name) != spec.agents.get(name) for name in task.agents):
            yield f"task {task.id!r} has begun, and an agent of it changed"


def _has_begun(state: RunState, task: TaskState) -> bool:
    if state.phase == "ended":
        return task.status == "success"
    return task.status != "pending"


def _told_over(journal: Journal, row: RunRow, state: RunState, spec: WorkflowSpec) -> RunState:
    told = RunState(plan_of(spec))
    try:
        for _, event in journal.events(row.run_id):
            told.apply(event)
    except IllegalTransitionError as error:
        problem = f"what has happened could not have happened by the new definition: {error}"
        raise ChangeRefusedError(row.run_id, (problem,)) from error
    moved = [
        task.id
        for task in state.tasks
        if _has_begun(state, task) and told.task(task.id).status != task.status
    ]
    if moved:
        raise ChangeRefusedError(
            row.run_id, tuple(f"task {task!r} would have come to another end" for task in moved)
        )
    return told
