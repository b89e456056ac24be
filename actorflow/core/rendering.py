"""From templates to values: what an attempt, a hook or the end of a run is given.

A template that cannot be rendered fails its task (or its run), with the expression's own message: no attempt is made,
because the next one would see the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from actorflow.core.commands import AskBreaker, Record, StartAttempt
from actorflow.core.events import (
    AttemptFailed,
    AttemptSucceeded,
    DeadLettered,
    Effect,
    Failure,
    RunEnding,
    RunOutcome,
    SleepStarted,
    TaskFailed,
    TaskSkipped,
)
from actorflow.core.http_call import HttpCall, http_call
from actorflow.core.json_values import checked_json
from actorflow.core.plan import RunnerTemplates, TaskTemplates
from actorflow.core.recovery import effect_of
from actorflow.core.task_state import error_of
from actorflow.core.texts import Text, text_of
from actorflow.core.transitions import ENDED, SHOWN
from actorflow.errors import ExpressionError
from actorflow.expression import Template

if TYPE_CHECKING:
    from actorflow.core.state import RunState
    from actorflow.core.task_state import TaskState


@frozen
class Prepare:
    """A task is ready but for its blocking hooks on task_started."""

    index: int


def start_task(state: RunState, index: int, now: float) -> StartAttempt | AskBreaker | Record | Prepare:
    """The start of a task's next attempt, or what comes before it.

    That is the fact that it is skipped, sleeps first or cannot be rendered, its hooks, or the question to its breaker.
    """
    task = state.tasks[index]
    spec = state.plan.tasks[index]
    templates = state.plan.templates[index]
    given: Any = _inputs(state)
    agent = state.plan.agents_of[index][task.agent_index]
    is_inline = spec.runner is not None and task.agent_index == 0
    own, agents_own = state.plan.runners[index], None if is_inline else state.plan.agents.get(agent)
    env: Mapping[str, Text] = {}
    argv = http = None
    if templates is not None or own is not None or agents_own is not None or task.reached_by is not None:
        try:
            context = task_context(state, index, now)
            if task.status == "pending" and not _holds(templates, context):
                return Record(TaskSkipped(now, task.id, "when"))
            given = _given(state, index, now, context)
            context = _with_input(context, given)
            env = {**_env(agents_own, context), **_env(own, context)}
            performer = own if is_inline else agents_own
            argv = _argv(performer, context)
            http = _http(performer, context, is_quotable=not spec.sensitive)
        except ExpressionError as error:
            failure = Failure("expression", str(error))
            return Record(TaskFailed(now, task.id, effect_on_run(state, index), failure))
    if spec.sleep is not None and task.status == "pending":
        return Record(SleepStarted(now, task.id, now + spec.sleep))
    if (
        state.plan.hooks.blocks_tasks
        and not task.is_prepared
        and state.plan.hooks.blocking("task_started", task.id)
    ):
        return Prepare(index)
    if state.plan.has_breakers:
        question = state.breakers.question(state.run_id, index)
        if question is not None:
            return AskBreaker(task.id, question)
    timeout = spec.timeout
    if timeout is None and not is_inline and agent in state.plan.spec.agents:
        timeout = state.plan.spec.agents[agent].timeout
    deadline = None
    if spec.deadline is not None:
        left = spec.deadline if task.deadline_at is None else task.deadline_at - now
        if timeout is None or left < timeout:
            timeout, deadline = left, spec.deadline
    number = task.attempt if task.loss else task.attempt + 1
    key = f"{state.run_id}/{task.id}/{state.generation}"
    return StartAttempt(
        task.id, number, task.loss, agent, spec, is_inline, given, env, argv, timeout, key, deadline, http
    )


def dead_letter(state: RunState, index: int, now: float) -> DeadLettered:
    """What is kept of a task that failed for good, so that an operator can see what it was about."""
    task = state.tasks[index]
    assert task.failure is not None
    try:
        given = checked_json(input_of_task(state, index, now))
    except ExpressionError:
        given = None
    letter = f"{state.run_id}/{state.generation}/{task.id}"
    return DeadLettered(now, task.id, letter, given, task.failure, task.attempt)


def effect_on_run(state: RunState, index: int) -> Effect:
    """What it means for the run that nobody is left to try a task."""
    return effect_of(state.plan.tasks[index], is_handled=index in state.plan.is_handled)


def _holds(templates: TaskTemplates | None, context: Mapping[str, Any]) -> bool:
    return templates is None or templates.when is None or bool(templates.when.evaluate(context))


def _given(state: RunState, index: int, now: float, context: Mapping[str, Any] | None = None) -> Any:
    """What the agent gets: the rendered `with`, and over it that of the transition that led here; or the inputs.

    Args:
        state: the run.
        index: the task's number.
        now: when its attempt starts; what tasks before it got was rendered when theirs did.
        context: that of the task at this time, if it is there already.
    """
    given: Any = None
    for each in reversed(_inputs_needed(state, index)):
        at = now if each == index else _began_at(state, each, now)
        own = context if context is not None and each == index else task_context(state, each, at)
        given = _input_of(state, each, own, given, at)
    return given


def _began_at(state: RunState, index: int, now: float) -> float:
    """When the last attempt of a task started; now, if it never had one."""
    started_at = state.tasks[index].attempt_started_at
    return now if started_at is None else started_at


def _with_input(context: dict[str, Any], given: Any) -> dict[str, Any]:
    """The context with `task.input`; the input itself may hold the `task` without."""
    return {**context, "task": {**context["task"], "input": given}}


def _inputs_needed(state: RunState, index: int) -> list[int]:
    """A task and those before it whose input its own is made of: each leads to the one before by a `with` that reads it."""
    needed = [index]
    for target in needed:  # grows while it is read
        source = state.tasks[target].reached_by
        laid_over = None if source is None else _transition_with(state, source, target)
        if source is not None and laid_over is not None and _reads_input(laid_over):
            needed.append(source)
    return needed


def _reads_input(template: Template) -> bool:
    return any(path in {("task",), ("task", "input")} for path in (each[:2] for each in template.paths))


def _input_of(state: RunState, index: int, context: Mapping[str, Any], before: Any, now: float) -> Any:
    """The input of one task; `before` is that of the task whose transition led here, where the transition reads it."""
    templates = state.plan.templates[index]
    own: dict[str, Any] | None = None
    if templates is not None and templates.with_ is not None:
        own = templates.with_.render(context)
    source = state.tasks[index].reached_by
    laid_over = None if source is None else _transition_with(state, source, index)
    if source is not None and laid_over is not None:
        ended = _with_input(_ended_context(state, source, now), before)
        return {**(own or {}), **laid_over.render(ended)}
    return _inputs(state) if own is None else own


def _transition_with(state: RunState, source: int, target: int) -> Template | None:
    """The `with` of the transition that was taken."""
    on = "success" if state.tasks[source].status == "success" else "failure"
    leads = state.plan.leads[source]
    return next((lead.with_ for lead in leads if lead.target == target and lead.on == on), None)


def _env(templates: RunnerTemplates | None, context: Mapping[str, Any]) -> dict[str, Text]:
    if templates is None:
        return {}
    return {name: text_of(value, f"env.{name}") for name, value in templates.env.render(context).items()}


def _argv(templates: RunnerTemplates | None, context: Mapping[str, Any]) -> tuple[Text, ...] | None:
    if templates is None or templates.argv is None:
        return None
    return tuple(
        item if isinstance(item, str) else text_of(item.render(context), f"command[{i}]")
        for i, item in enumerate(templates.argv)
    )


def _http(
    templates: RunnerTemplates | None, context: Mapping[str, Any], *, is_quotable: bool
) -> HttpCall[Text] | None:
    if templates is None or templates.http is None:
        return None
    return http_call(templates.http, context, is_quotable=is_quotable)


def outcome(state: RunState, event: AttemptSucceeded) -> AttemptSucceeded | AttemptFailed:
    """What an attempt came to once the task's own `outputs` are made of what its agent returned."""
    if not state.plan.maps_outputs:
        return event
    templates = state.plan.templates[state.plan.index[event.task]]
    if templates is None or templates.outputs is None:
        return event
    context = _after_context(state, state.task(event.task), event.at, templates.outputs)
    try:
        output = templates.outputs.render({**context, "output": event.output})
        return evolve(event, output=checked_json(output))
    except ExpressionError as error:
        failure = Failure("expression", f"outputs: {error}")
        return AttemptFailed(event.at, event.task, event.attempt, failure)


def fallback_value(state: RunState, index: int, now: float) -> Any:
    """The rendered value that stands in for the output of a task that nobody could perform.

    Raises:
        ExpressionError: it cannot be rendered, or not be kept.
    """
    templates = state.plan.templates[index]
    assert templates is not None
    template = templates.fallback_value
    assert template is not None
    return checked_json(template.render(_after_context(state, state.tasks[index], now, template)))


def _inputs(state: RunState) -> Mapping[str, Any]:
    assert state.started is not None
    return state.started.inputs


def run_ending(state: RunState, outcome: RunOutcome, now: float) -> RunEnding:
    """The decided end of a run; outputs that cannot be rendered fail it."""
    task, failure = state.fatal if state.fatal is not None and outcome == "failed" else (None, None)
    if outcome != "success":
        return RunEnding(now, outcome, {}, failure, task)
    try:
        outputs = checked_json(state.plan.outputs.render(run_context(state, now)))
    except ExpressionError as error:
        return RunEnding(now, "failed", {}, Failure("expression", f"outputs: {error}"), None)
    return RunEnding(now, outcome, outputs, None, None)


def error_text(state: RunState) -> str:
    """Why the run failed, in one line that begins with the task; empty if it has not."""
    ending = state.ending
    if ending is None or ending.failure is None:
        return ""
    return f"{ending.task}: {ending.failure.message}" if ending.task else ending.failure.message


def error_of_run(state: RunState) -> Mapping[str, Any] | None:
    """Why the run failed, as templates see it; None if it has not, or not yet."""
    ending = state.ending
    if ending is None or ending.failure is None:
        return None
    attempt = state.task(ending.task).attempt if ending.task else None
    failure = ending.failure
    return {"type": failure.type, "message": failure.message, "attempt": attempt, "task": ending.task}


def input_of_task(state: RunState, index: int, now: float) -> Any:
    """What a task's last attempt was given; what its first one would be, now, if it has had none.

    Raises:
        ExpressionError: it cannot be rendered.
    """
    return _given(state, index, _began_at(state, index, now))


def run_context(state: RunState, now: float) -> dict[str, Any]:
    """The names that every expression may read."""
    spec = state.plan.spec
    assert state.started is not None
    return {
        "input": state.started.inputs,
        "env": state.started.env,
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


def task_context(state: RunState, index: int, now: float) -> dict[str, Any]:
    """The same, and `task`: the one at hand. `task.input` is its rendered `with`, once that is known.

    `error` is that of the failure which led here, by a transition or by an edge.
    """
    task = state.tasks[index]
    context = {**run_context(state, now), "task": _itself(task, now)}
    if index in state.plan.handlers:
        error = error_behind(state, index) if task.started_at is None else task.led_by
        if error is not None:
            context["error"] = error
    return context


def _after_context(state: RunState, task: TaskState, now: float, template: Template) -> dict[str, Any]:
    """What a template may read once a task has ended: the same, its output and its error.

    `task.input` is rendered as it was when the last attempt started.
    """
    index = state.plan.index[task.id]
    context = _ended_context(state, index, now)
    if not _reads_input(template):
        return context
    try:
        return _with_input(context, input_of_task(state, index, now))
    except ExpressionError:
        return context  # an input that cannot be rendered is missing, and no reason to fail here


def _ended_context(state: RunState, index: int, now: float) -> dict[str, Any]:
    """The same without `task.input`; `error` is the task's own failure, if it failed, before one that led to it."""
    task = state.tasks[index]
    context = task_context(state, index, now)
    context["output"] = task.output
    if task.status in {"deciding", "failed"}:
        context["error"] = error_of(task)
    return context


def _itself(task: TaskState, now: float) -> dict[str, Any]:
    failure = task.failure
    status = SHOWN.get(task.status, task.status)
    if task.status == "finishing" and task.outcome is not None:
        status = task.outcome
    is_begun = task.loss or status in ENDED or status == "running"
    return {
        "id": task.id,
        "type": "basic",
        "status": status,
        "attempt": task.attempt if is_begun else task.attempt + 1,
        "error": None if failure is None else {"type": failure.type, "message": failure.message},
        "duration_ms": _duration_ms(task, now),
    }


def _duration_ms(task: TaskState, now: float) -> int | None:
    if task.started_at is None:
        return None
    return round(((now if task.ended_at is None else task.ended_at) - task.started_at) * 1000)


def error_behind(state: RunState, index: int) -> Mapping[str, Any] | None:
    """The failure whose transition led to a task; else that of the first task that an `on: failure` edge comes from."""
    source = state.tasks[index].reached_by
    sources = () if source is None else (source,)
    failed = (state.tasks[i] for i in (*sources, *state.plan.failures_before(index)))
    return next((error_of(task) for task in failed if task.status == "failed"), None)
