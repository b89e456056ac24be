"""What a definition may say and a run of this version cannot do yet.

Such a definition loads and validates: the format is one. A run of it is refused before it exists, so that nothing of it is
passed over in silence. What a run learns to do loses its row here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from attrs import evolve, fields

from actorflow.errors import Problem
from actorflow.expression import compile_template
from actorflow.spec.model import (
    HookEvent,
    HookLists,
    HookSpec,
    HttpRunner,
    TaskSpec,
    WorkflowSpec,
    shell_item,
)

__all__ = ["unsupported"]

_Found: TypeAlias = tuple[str, str]
"""A place, and what of it cannot be done."""


def unsupported(spec: WorkflowSpec) -> tuple[Problem, ...]:
    """Everything in a definition that a run of it could not do, each with code E190, in the order of the definition.

    Args:
        spec: a workflow that could run: one with several entries must have been `chosen`.
    """
    found = (
        *_of_agents(spec),
        *(row for task in spec.tasks for row in _of_task(task)),
        *_of_hooks("hooks", spec.hooks),
        *_of_hooks("defaults.hooks", spec.default_hooks),
    )
    file = spec.path or ""
    return tuple(Problem("E190", f"{place}: {what} cannot run yet", file=file) for place, what in found)


_TASK: Final[tuple[tuple[str, str, Callable[[TaskSpec], bool]], ...]] = (
    ("loop", "a task in a loop", lambda task: task.loop is not None),
    ("http", "an HTTP request", lambda task: isinstance(task.runner, HttpRunner)),
)
"""By key: what of a task cannot run, and how it is told that a task has it."""

_RUN_EVENTS: Final[dict[HookEvent, HookSpec]] = {
    "pre_workflow": HookSpec(on_error="fail"),
    "on_error": HookSpec(),
    "post_workflow": HookSpec(),
    "on_stage_complete": HookSpec(mode="async"),
}
"""The events that are told of, and what a command on each says where it says no more than it must."""


def _of_agents(spec: WorkflowSpec) -> Iterator[_Found]:
    for name in spec.agent_names:
        if name in spec.agents and isinstance(spec.agents[name].runner, HttpRunner):
            yield f"agents.{name}.http", "an HTTP request"


def _of_task(task: TaskSpec) -> Iterator[_Found]:
    place = f"tasks.{task.id}"
    if task.type != "basic":
        yield place, f"a task of type {task.type}"
        return
    for key, what, is_given in _TASK:
        if is_given(task):
            yield f"{place}.{key}", what
    yield from _of_hooks(f"{place}.hooks", task.hooks)


def _of_hooks(place: str, hooks: HookLists) -> Iterator[_Found]:
    for event, found in hooks.lists.items():
        for index, hook in enumerate(found):
            what = _of_hook(event, hook)
            if what:
                yield f"{place}.{event}[{index}]", what


def _of_hook(event: HookEvent, hook: HookSpec) -> str:
    """What of one hook cannot be done; empty where all of it can."""
    plain = _RUN_EVENTS.get(event)
    if plain is None:
        return f"a hook on {event}"
    if hook.action != "command":
        return f"a hook of type {hook.action}"
    wanted = evolve(
        plain,
        command=hook.command,
        env=hook.env,
        cwd=hook.cwd,
        max_output=hook.max_output,
        timeout=hook.timeout,
        name=hook.name,
        description=hook.description,
    )
    if hook != wanted:
        return f"a hook with {_first_difference(hook, wanted)}"
    if not isinstance(hook.command, str) and _has_templates(hook.command):
        return "a hook's command with templates"
    return "a hook with env" if hook.env else ""


def _first_difference(hook: HookSpec, wanted: HookSpec) -> str:
    names = (each.name for each in fields(HookSpec))
    name = next(name for name in names if getattr(hook, name) != getattr(wanted, name))
    return "circuit_breaker" if name == "breaker" else name


def _has_templates(argv: tuple[str, ...]) -> bool:
    opaque = shell_item(argv)
    texts = [text for index, text in enumerate(argv) if index != opaque]
    compiled = compile_template(texts, secrets=True)
    return not compiled.is_constant or bool(compiled.secret_names)
