"""What a definition calls sensitive, kept off the screen: `***` in its place, in text and JSON alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from attrs import evolve

from actorflow.core.events import Failure
from actorflow.expression import Path, Sealed, compile_template
from actorflow.runtime.result import RunResult, TaskResult
from actorflow.spec.model import HookSpec, WorkflowSpec, every_task, shell_item
from actorflow.spec.sensitive import HIDDEN, sensitive_tasks

__all__ = [
    "HOOK_FAILED", "may_tell", "sensitive_tasks", "shown_failure", "shown_hook_message", "shown_inputs",
    "shown_outputs", "shown_params", "shown_result", "shown_task_input",
]  # fmt: skip


_NONE: Final[frozenset[str]] = frozenset()

HOOK_FAILED: Final = "hook_failed"
"""The type of a failure whose message and detail are what a blocking hook said."""


def shown_result(spec: WorkflowSpec, result: RunResult) -> RunResult:
    """The result with `***` for what sensitive tasks gave or said, and for outputs of the run that read what is sensitive.

    A task is sensitive, too, if one inside it is: its output has theirs in it.
    """
    tasks = sensitive_tasks(spec)
    inputs = _sensitive_inputs(spec)
    if not tasks and not inputs:
        return result
    shown = {
        name: _shown_task(task) if name in tasks else evolve(task, error=_shown_words(task.error))
        for name, task in result.tasks.items()
    }
    error = _shown_words(result.error)
    if error is not None and error["task"] in tasks:
        error = _shown_error(error)
    return evolve(result, tasks=shown, outputs=shown_outputs(spec, result.outputs), error=error)


def shown_outputs(spec: WorkflowSpec, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of a run with `***` for those that read what is sensitive."""
    tasks, inputs = sensitive_tasks(spec), _sensitive_inputs(spec)
    return {
        name: HIDDEN if _reads(spec.outputs.get(name), tasks, inputs) else value
        for name, value in outputs.items()
    }


def shown_inputs(
    spec: WorkflowSpec, inputs: Mapping[str, Any], *, handed: frozenset[str] = _NONE
) -> dict[str, Any]:
    """The inputs of a run with `***` for those that are sensitive, or that came so from its parent."""
    hidden = _sensitive_inputs(spec) | handed
    return {name: HIDDEN if name in hidden else value for name, value in inputs.items()}


def shown_task_input(spec: WorkflowSpec, task: str, value: Any, *, handed: frozenset[str] = _NONE) -> Any:
    """What a task was given, with `***` for what may come of sensitive inputs or tasks; for a sensitive task, for all of it."""
    tasks, inputs = sensitive_tasks(spec), _sensitive_inputs(spec) | handed
    if task in tasks:
        return HIDDEN
    if not isinstance(value, Mapping) or not (tasks or inputs):
        return cast("Any", value)
    given = cast("Mapping[str, Any]", value)
    layers = [*_layers(spec, task)]

    def is_hidden(name: str) -> bool:
        sources = [layer[name] for layer in layers if name in layer]
        if not sources:  # without a `with` of its own, it was given the run's inputs
            return name in inputs
        return any(_reads(source, tasks, inputs) for source in sources)

    return {name: HIDDEN if is_hidden(name) else each for name, each in given.items()}


def shown_params(
    spec: WorkflowSpec, hook: HookSpec, task: str, params: Any, *, handed: frozenset[str] = _NONE
) -> Any:
    """What a hook's action is given, with `***` for what may come of sensitive inputs or tasks, and places of secrets as text.

    Args:
        spec: the definition.
        hook: whose params they are.
        task: that the event is about; empty: the run.
        params: rendered.
        handed: inputs that came as sensitive ones from the run's parent.
    """
    tasks, inputs = sensitive_tasks(spec), _sensitive_inputs(spec) | handed
    if not (tasks or inputs) or not isinstance(params, Mapping):
        return _without_places(params)
    is_own = not task or task in tasks

    def shown(source: Any, value: Any) -> Any:
        if isinstance(source, Mapping) and isinstance(value, Mapping):
            sources, given = cast("Mapping[str, Any]", source), cast("Mapping[str, Any]", value)
            return {name: shown(sources.get(name), each) for name, each in given.items()}
        return HIDDEN if _tells(source, tasks, inputs, is_own=is_own) else _without_places(value)

    return shown(_sources(hook), params)


def may_tell(spec: WorkflowSpec, hook: HookSpec, task: str) -> bool:
    """Whether what a hook's action prints or says may show what is sensitive.

    Args:
        spec: the definition.
        hook: of it.
        task: that the event is about; empty: the run.
    """
    tasks, inputs = sensitive_tasks(spec), _sensitive_inputs(spec)
    if not (tasks or inputs):
        return False
    is_own = not task or task in tasks
    return _hears_of_failure(hook, tasks, task) or _tells(_sources(hook), tasks, inputs, is_own=is_own)


def _hears_of_failure(hook: HookSpec, tasks: frozenset[str], task: str) -> bool:
    """Whether a command may say why a sensitive task failed, which all commands are told in a variable."""
    if hook.action != "command":
        return False
    words = (hook.command,) if isinstance(hook.command, str) else hook.command
    return task in tasks or (not task and bool(tasks) and any("WORKFLOW_ERROR" in word for word in words))


def _sources(hook: HookSpec) -> Mapping[str, Any]:
    """What each param is rendered from; a text for a shell is no template."""
    if hook.action != "command":
        return hook.params
    if isinstance(hook.command, str):
        return {"env": dict(hook.env)}
    opaque = shell_item(hook.command)
    return {
        "command": [item for at, item in enumerate(hook.command) if at != opaque],
        "env": dict(hook.env),
    }


def _tells(source: Any, tasks: frozenset[str], inputs: frozenset[str], *, is_own: bool) -> bool:
    """Whether a param may show what is sensitive.

    What a task was given may come of any input, and what a transform has set of anything.

    Args:
        source: the param's template.
        tasks: that are sensitive.
        inputs: that are.
        is_own: whether the event is about such a task, or about the run.
    """
    for path in compile_template(source, secrets=True).paths:
        name, of = path[0], path[1] if len(path) > 1 else ""
        if name == "vars" or (name == "task" and of in ("", "input")):
            return True
        if is_own and (name in ("output", "error") or (name == "task" and of == "error")):
            return True
        if _is_sensitive(path, tasks, inputs):
            return True
    return False


def _without_places(value: Any) -> Any:
    """Rendered data whose places for secrets read as they are written in the file."""
    match value:
        case Sealed():
            return str(value)
        case Mapping():
            items = cast("Mapping[str, Any]", value).items()
            return {key: _without_places(item) for key, item in items}
        case list() | tuple():
            return [_without_places(item) for item in cast("list[Any]", value)]
        case _:
            return value


def _layers(spec: WorkflowSpec, task: str) -> Iterator[Mapping[str, Any]]:
    """Every `with` that a task's input may be rendered from: its own, and those of the transitions to it."""
    for each in every_task(spec.tasks):
        if each.id == task and each.with_ is not None:
            yield each.with_
        for transition in (each.on_success, each.on_error.next):
            if transition is not None and transition.next == task and transition.with_ is not None:
                yield transition.with_


def shown_failure(failure: Failure) -> Failure:
    """Why an attempt of a sensitive task failed: what it says of it may be what it printed."""
    return Failure(failure.type, HIDDEN)


def _shown_task(task: TaskResult) -> TaskResult:
    output = None if task.output is None else HIDDEN
    return evolve(task, output=output, error=None if task.error is None else _shown_error(task.error))


def _shown_error(error: Mapping[str, Any]) -> dict[str, Any]:
    return {**error, "message": HIDDEN}


def _shown_words(error: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Why a run or a task failed, where the words of a hook may be the reason."""
    if error is None or error["type"] != HOOK_FAILED:
        return error
    return {**error, "message": shown_hook_message(error["message"])}


def shown_hook_message(message: str) -> str:
    """Which hook has failed a run or a task, and how, without what it said: nobody knows any more what it was told."""
    named, colon, _ = message.partition(": ")
    return f"{named}: {HIDDEN}" if colon else message


def _sensitive_inputs(spec: WorkflowSpec) -> frozenset[str]:
    return frozenset(name for name, declared in (spec.inputs or {}).items() if declared.sensitive)


def _reads(template: Any, tasks: frozenset[str], inputs: frozenset[str]) -> bool:
    return any(_is_sensitive(path, tasks, inputs) for path in compile_template(template).paths)


def _is_sensitive(path: Path, tasks: frozenset[str], inputs: frozenset[str]) -> bool:
    names = {"tasks": tasks, "input": inputs}.get(path[0], frozenset[str]())
    if path[0] == "error":
        return bool(tasks)  # of whichever task led here
    return path[1] in names if len(path) > 1 else bool(names)
