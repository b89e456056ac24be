"""Hooks out of a seed: around runs, stages and tasks, with all that the core decides of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any, Final, cast

from attrs import evolve

from actorflow.core.hook_config import BLOCKING
from actorflow.spec.model import HookEvent, HookLists, HookSpec, TaskSpec, WorkflowSpec

OF_TASKS: Final = ("task_started", "task_finished")
AROUND: Final = ("pre_workflow", "on_error", "post_workflow", "on_stage_complete", *OF_TASKS)
NEVER_FAILS: Final = ("on_error", "post_workflow")
NEVER_WAITED_FOR: Final = ("task_retrying", "task_skipped", "workflow_finished", "dead_lettered")
SETS: Final[Sequence[dict[str, Any]]] = [
    *[{"set": {"n": 1}}] * 3,
    {"set": {"n": "{{ vars.n + 1 }}"}},
    {"set": {"m": "{{ tasks.t0.output }}"}},
]
OUTPUTS: Final[Sequence[dict[str, Any]]] = [
    {"set": {"n": "{{ output }}"}, "output": "{{ output + 1 }}"},
    {"set": {}, "output": 1},
]


def with_random_hooks(draw: Random, spec: WorkflowSpec) -> WorkflowSpec:
    """The workflow with a few hooks: of its own, of its tasks, by default."""
    return evolve(
        spec,
        tasks=tuple(_with_own(draw, task) for task in spec.tasks),
        hooks=_lists(draw, draw.sample(AROUND, draw.randint(1, 4)), draw.random() < 0.8),
        default_hooks=_lists(draw, draw.sample(AROUND, draw.randint(0, 2)), True),
    )


def with_async_hooks(spec: WorkflowSpec) -> WorkflowSpec:
    """The workflow with async hooks behind all that it has, which nothing waits for."""
    lists = dict(spec.default_hooks.lists)
    for event in cast("Sequence[HookEvent]", (*AROUND, *NEVER_WAITED_FOR)):
        more = (HookSpec(mode="async", when="output > 0"), HookSpec(mode="async", action="log"))
        lists[event] = (*lists.get(event, ()), *more)
    return evolve(spec, default_hooks=HookLists(lists=lists))


def _with_own(draw: Random, task: TaskSpec) -> TaskSpec:
    if draw.random() < 0.5:
        return task
    lists = _lists(draw, draw.sample(OF_TASKS, draw.randint(1, 2)), draw.random() < 0.7)
    return evolve(task, hooks=lists, notify=draw.choice([None, "done"]))


def _lists(draw: Random, events: Iterable[str], inherit: bool) -> HookLists:
    lists = {event: tuple(_hook(draw, event) for _ in range(draw.randint(1, 2))) for event in events}
    return HookLists(lists=cast("dict[HookEvent, tuple[HookSpec, ...]]", lists), inherit=inherit)


def _hook(draw: Random, event: str) -> HookSpec:
    is_blocking = event in BLOCKING and draw.random() < 0.8
    may_fail = is_blocking and event not in NEVER_FAILS
    whens = ["true", "false", "vars.n == 1"]
    if event in OF_TASKS:
        whens += ["task.status == 'success'", "task.attempt > 1"]
    if event == "task_finished":
        whens += ["output > 0"]
    action, params = "log", None
    if draw.random() < 0.3:
        action, params = "transform", draw.choice([*SETS, *(OUTPUTS if event == "task_finished" else ())])
    return HookSpec(
        action=action,
        params=params or {},
        mode="blocking" if is_blocking else "async",
        on_error=draw.choice(["continue", "disable", *(["fail"] * 2 if may_fail else [])]),
        disable_after=draw.randint(1, 2),
        when=draw.choice([None] * 6 + whens),
        enabled=draw.choice([None] * 6 + ["false", "tasks.t0.output == 1"]),
    )
