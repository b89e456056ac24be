"""From an event to what its hooks are told: names for their templates, and the snapshot for their actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from actorflow.core.hook_config import HookEntry
from actorflow.core.hook_context import HIDDEN, HookContext
from actorflow.core.json_values import checked_json
from actorflow.core.rendering import error_of_run, input_of_task, run_context, task_context
from actorflow.core.task_state import error_of
from actorflow.core.texts import text_of
from actorflow.core.transitions import ENDED
from actorflow.errors import ExpressionError
from actorflow.spec.model import HookEvent

if TYPE_CHECKING:
    from actorflow.core.state import RunState

NOTHING: Final[Mapping[str, Any]] = {}


@frozen
class Occasion:
    """Something of the lifecycle that has happened, or is about to."""

    event: HookEvent
    at: float
    task: int | None = None  #: the number of the task that it is about; None: the run, or a stage
    status: str = ""  #: of the stage; else it is the task's, or the run's
    stage: str | None = None  #: None: the one that was entered last
    detail: Mapping[str, Any] = field(factory=dict[str, Any])


def names_of(state: RunState, occasion: Occasion) -> dict[str, Any]:
    """The names that templates of its hooks may read, but for `task.input` and `vars`."""
    index = occasion.task
    names: dict[str, Any]
    if index is None:
        names = {**run_context(state, occasion.at), "error": error_of_run(state)}
    else:
        task = state.tasks[index]
        names = task_context(state, index, occasion.at)
        has_failed = task.failure is not None and task.status != "success"
        names["error"] = error_of(task) if has_failed else names.get("error")
        names["output"] = task.output
        if not has_failed and task.status == "success":
            names["task"]["error"] = None  # of an attempt before, which does not count any more
    if occasion.event == "task_started" and index is not None and state.tasks[index].started_at is None:
        names["task"]["status"] = "pending"  # also where it has slept first, and for each hook of the list
    names["workflow"]["stage"] = stage_of(state, occasion)
    if occasion.event == "workflow_paused":
        names["workflow"]["status"] = "paused"
    if occasion.event == "signal_received":
        names["signal"] = occasion.detail
    return names


def stage_of(state: RunState, occasion: Occasion) -> str:
    """The stage that something is about, or the task's own; else the one that was entered last."""
    if occasion.stage is not None:
        return occasion.stage
    number = -1 if occasion.task is None else state.plan.stage_of[occasion.task]
    return state.stage if number < 0 else state.plan.stages[number].name


def is_wanted(entry: HookEntry, names: Mapping[str, Any]) -> str:
    """Why a hook is passed over by what its definition says; empty if it acts.

    Raises:
        ExpressionError: what it says cannot be computed.
    """
    if entry.enabled is not None and not entry.enabled.evaluate(names):
        return "not enabled"
    if entry.when is not None and not entry.when.evaluate(names):
        return "the task has not succeeded" if _is_notice(entry) else "when is false"
    return ""


def _is_notice(entry: HookEntry) -> bool:
    """Whether it is what a task's `on_complete` means, or a channel of that: nobody wrote its condition."""
    return "on_complete" in entry.path.split(".")[-2:]


def transformed(entry: HookEntry, names: Mapping[str, Any]) -> dict[str, Any]:
    """What a transform gives: `{vars}`, and `output` where it replaces the task's.

    Raises:
        ExpressionError: it cannot be computed, or is nothing that can be kept.
    """
    rendered: Mapping[str, Any] = checked_json(entry.params.render(names))
    result: dict[str, Any] = {"vars": rendered.get("set", {})}
    if "output" in rendered:
        result["output"] = rendered["output"]
    return result


def rendered_params(entry: HookEntry, names: Mapping[str, Any]) -> Any:
    """The params of a hook's action; those of a command are `{command, env}`.

    Raises:
        ExpressionError: a template in them cannot be rendered.
    """
    rendered = entry.params.render(names)
    if entry.spec.action != "command":
        return rendered
    command: Any = entry.spec.command
    if entry.argv is not None:
        command = [
            item if isinstance(item, str) else text_of(item.render(names), f"command[{place}]")
            for place, item in enumerate(entry.argv)
        ]
    return {
        "command": command,
        "env": {name: text_of(value, f"env.{name}") for name, value in rendered.items()},
    }


def with_input(
    state: RunState, entry: HookEntry, occasion: Occasion, names: dict[str, Any]
) -> dict[str, Any]:
    """The names with `task.input`, where a hook reads it: to make it again takes its time."""
    if occasion.task is None or not (("task", "input") in entry.reads or ("task",) in entry.reads):
        return names
    try:
        given = input_of_task(state, occasion.task, occasion.at)
    except ExpressionError:
        return names  # the task has failed for that: it is missing
    return {**names, "task": {**names["task"], "input": given}}


def snapshot(  # noqa: PLR0917 - all that a delivery is made of, in order
    state: RunState,
    entry: HookEntry,
    occasion: Occasion,
    delivery_id: str,
    names: Mapping[str, Any],
    params: Any,
) -> HookContext:
    """What the action is told."""
    task = None
    if occasion.task is not None:  # its input may be sensitive: who wants it names it
        task = {name: value for name, value in names["task"].items() if name != "input"}
    output = names.get("output")
    if occasion.task is not None and state.plan.tasks[occasion.task].sensitive and output is not None:
        output = HIDDEN
    is_over = occasion.task is not None and state.tasks[occasion.task].status in ENDED
    return HookContext(
        delivery_id=delivery_id,
        event=occasion.event,
        path=entry.path,
        spec=entry.spec,
        run_id=state.run_id,
        workflow=state.plan.spec.name,
        generation=state.generation,
        at=occasion.at,
        status=occasion.status or (task["status"] if task is not None else names["workflow"]["status"]),
        stage=names["workflow"]["stage"],
        task=task,
        output=output if is_over or occasion.event == "task_finished" else None,
        error=names["error"],
        input=shown_inputs(state),
        detail=occasion.detail,
        vars=names.get("vars", NOTHING),
        params=params,
    )


def shown_inputs(state: RunState) -> Mapping[str, Any]:
    """The run's inputs, without what is sensitive."""
    assert state.started is not None
    given = state.started.inputs
    hidden = state.plan.sensitive_inputs
    return {name: HIDDEN if name in hidden else value for name, value in given.items()} if hidden else given
