"""From templates to values: what an attempt, a hook or the end of a run is given.

A template that cannot be rendered fails its task (or its run), with the expression's own message: no attempt is made,
because the next one would see the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from actorflow.core.commands import Record, RunHook, StartAttempt
from actorflow.core.events import (
    BlockingHookEvent,
    Failure,
    RunEnding,
    RunOutcome,
    TaskFailed,
    TaskSkipped,
)
from actorflow.core.plan import RunnerTemplates
from actorflow.core.recovery import effect_of
from actorflow.errors import ExpressionError

if TYPE_CHECKING:
    from actorflow.core.state import RunState
    from actorflow.core.task_state import TaskState


def start_task(state: RunState, index: int, now: float) -> StartAttempt | Record:
    """The start of a task's next attempt; or the fact that its `when` is false, or that it cannot be rendered."""
    task = state.tasks[index]
    spec = state.plan.tasks[index]
    templates = state.plan.templates[index]
    given: Any = _inputs(state)
    agent = state.plan.agents_of[index][task.agent_index]
    is_inline = spec.runner is not None and task.agent_index == 0
    own, agents_own = state.plan.runners[index], None if is_inline else state.plan.agents.get(agent)
    env: Mapping[str, str] = {}
    argv = None
    if templates is not None or own is not None or agents_own is not None:
        try:
            context = task_context(state, task, now)
            if templates is not None:
                if templates.when is not None and not task.agent and not templates.when.evaluate(context):
                    return Record(TaskSkipped(now, task.id, "when"))
                if templates.with_ is not None:
                    given = templates.with_.render(context)
            context["task"]["input"] = given
            env = {**_env(agents_own, context), **_env(own, context)}
            argv = _argv(own if is_inline else agents_own, context)
        except ExpressionError as error:
            return Record(TaskFailed(now, task.id, effect_of(spec), Failure("expression", str(error))))
    timeout = spec.timeout
    if timeout is None and not is_inline and agent in state.plan.spec.agents:
        timeout = state.plan.spec.agents[agent].timeout
    number = task.attempt if task.loss else task.attempt + 1
    key = f"{state.run_id}/{task.id}/{state.generation}"
    return StartAttempt(task.id, number, task.loss, agent, spec, is_inline, given, env, argv, timeout, key)


def _env(templates: RunnerTemplates | None, context: Mapping[str, Any]) -> dict[str, str]:
    if templates is None:
        return {}
    return {name: _text(value, f"env.{name}") for name, value in templates.env.render(context).items()}


def _argv(templates: RunnerTemplates | None, context: Mapping[str, Any]) -> tuple[str, ...] | None:
    if templates is None or templates.argv is None:
        return None
    return tuple(
        item if isinstance(item, str) else _text(item.render(context), f"command[{i}]")
        for i, item in enumerate(templates.argv)
    )


def _inputs(state: RunState) -> Mapping[str, Any]:
    assert state.started is not None
    return state.started.inputs


def run_ending(state: RunState, outcome: RunOutcome, now: float) -> RunEnding:
    """The decided end of a run; outputs that cannot be rendered fail it."""
    task, failure = state.fatal if state.fatal is not None and outcome == "failed" else (None, None)
    if outcome != "success":
        return RunEnding(now, outcome, {}, failure, task)
    try:
        outputs = state.plan.outputs.render(run_context(state, now))
    except ExpressionError as error:
        return RunEnding(now, "failed", {}, Failure("expression", f"outputs: {error}"), None)
    return RunEnding(now, outcome, outputs, None, None)


def hook_command(state: RunState, event: BlockingHookEvent, index: int) -> RunHook:
    """The blocking hook at this place, with its environment."""
    path = f"{event}[{index}]"
    delivery_id = f"{state.run_id}/{state.generation}/{path}"
    hook = state.plan.hooks.of(event)[index]
    stage = "" if event == "pre_workflow" else state.stage
    return RunHook(event, index, hook, hook_env(state, event, stage, delivery_id), delivery_id)


def hook_env(state: RunState, event: str, stage: str, delivery_id: str) -> dict[str, str]:
    """What every hook's command finds in its environment; set but empty where there is nothing to say."""
    status = state.ending.outcome if state.ending is not None else "running"
    return {
        "WORKFLOW_NAME": state.plan.spec.name,
        "WORKFLOW_STAGE": stage,
        "WORKFLOW_ERROR": error_text(state),
        "ACTORFLOW_RUN_ID": state.run_id,
        "ACTORFLOW_GENERATION": str(state.generation),
        "ACTORFLOW_EVENT": event,
        "ACTORFLOW_STATUS": status,
        "ACTORFLOW_DELIVERY_ID": delivery_id,
    }


def error_text(state: RunState) -> str:
    """Why the run failed, in one line that begins with the task; empty if it has not."""
    ending = state.ending
    if ending is None or ending.failure is None:
        return ""
    return f"{ending.task}: {ending.failure.message}" if ending.task else ending.failure.message


def notification(state: RunState, task: TaskState, now: float) -> str | None:
    """The text of a task's `on_complete.notify`, after its success; what is wrong with it, if it cannot be rendered."""
    templates = state.plan.templates[state.plan.index[task.id]]
    if templates is None or templates.notify is None:
        return None
    try:
        return str(templates.notify.render({**task_context(state, task, now), "output": task.output}))
    except ExpressionError as error:
        return f"notify of task {task.id!r} cannot be rendered: {error}"


def run_context(state: RunState, now: float) -> dict[str, Any]:
    """The names that every expression may read."""
    spec = state.plan.spec
    return {
        "input": _inputs(state),
        "tasks": state.known,
        "now": now,
        "workflow": {
            "name": spec.name,
            "version": spec.version,
            "run_id": state.run_id,
            "status": state.ending.outcome if state.ending is not None else "running",
            "error": error_text(state) or None,
            "stage": state.stage,
        },
    }


def task_context(state: RunState, task: TaskState, now: float) -> dict[str, Any]:
    """The same, and `task`: the one at hand. `task.input` is its rendered `with`, once that is known."""
    failure = task.failure
    itself: dict[str, Any] = {
        "id": task.id,
        "type": "basic",
        "status": task.status,
        "attempt": task.attempt if task.loss or task.status == "success" else task.attempt + 1,
        "error": None if failure is None else {"type": failure.type, "message": failure.message},
    }
    return {**run_context(state, now), "task": itself}


def _text(value: Any, where: str) -> str:
    match value:
        case str():
            return value
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case _:
            raise ExpressionError(f"{where} is a {type(value).__name__}, not text")
