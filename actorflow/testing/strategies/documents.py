"""Whole definitions: as the plain data of a file, and loaded."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from hypothesis import strategies as st

from actorflow.spec import WorkflowSpec, load_dict
from actorflow.testing.strategies.drawing import SCARCE, Drawing, Json, names
from actorflow.testing.strategies.features import FEATURES, checked_features
from actorflow.testing.strategies.hooks import hooks_of_run, hooks_of_task
from actorflow.testing.strategies.inputs import draw_declarations
from actorflow.testing.strategies.tasks import Place, draw_retry, draw_task

__all__ = ["definitions", "documents"]

_AGENTS: Final = ("main", "second", "third")


def documents(
    max_tasks: int = 6,
    *,
    agents: Sequence[str] = _AGENTS,
    features: Collection[str] = FEATURES,
    hooks: bool = True,
) -> st.SearchStrategy[dict[str, Any]]:
    """Draw definitions as plain data: what `load_dict` takes, and what a file would hold.

    Each loads without a problem or a warning, is a definition that is data (no commands, no files, no environment), and
    runs once its agents are bound. One with `webhooks` names hosts, so it loads with `may_reach=True`.

    Args:
        max_tasks: the most tasks, at least 1; their ids are t0, t1, …, those before a task have lower numbers.
        agents: names for the agents of tasks and for their fallbacks, each once, at least one.
        features: what may appear beside tasks with agents: words of `Feature`.
        hooks: whether hooks may.

    Raises:
        ValueError: there is no such feature, no task, or no agent.
    """
    if max_tasks < 1:
        raise ValueError(f"max_tasks is {max_tasks}; a definition has at least one task")
    if not agents or len(set(agents)) < len(agents):
        raise ValueError(f"agents must be one name or more, each once, and not {list(agents)}")
    return _documents(max_tasks, tuple(agents), checked_features(features, hooks=hooks))


def definitions(
    max_tasks: int = 6,
    *,
    agents: Sequence[str] = _AGENTS,
    features: Collection[str] = FEATURES,
    hooks: bool = True,
) -> st.SearchStrategy[WorkflowSpec]:
    """Draw loaded definitions: those of `documents`, with the same arguments."""
    drawn = documents(max_tasks, agents=agents, features=features, hooks=hooks)
    return drawn.map(_loaded)


def _loaded(document: Json) -> WorkflowSpec:
    return load_dict(document, may_reach=True)


@st.composite
def _documents(
    draw: st.DrawFn, max_tasks: int, agents: tuple[str, ...], features: frozenset[Any]
) -> dict[str, Any]:
    at = Drawing(draw, features, agents, draw(st.sampled_from(SCARCE)))
    ids = names("t", draw(st.integers(1, max_tasks)))
    inputs = draw_declarations(draw) if at.has("inputs") else None
    declared = list(inputs or ())
    drawn = {
        name: draw_task(at, Place(name, ids[:place], ids[place + 1 :], declared))
        for place, name in enumerate(ids)
    }
    document: Json = {"name": "drawn", "tasks": _in_any_order(at, drawn)}
    parts: Json = {
        "inputs": inputs,
        "limits": _limits(at),
        "defaults": _defaults(at),
        "agents": _declared_agents(at),
        "hooks": hooks_of_run(at, ids),
        "outputs": _outputs(at, ids),
        "workflows": _stages(at, ids),
    }
    document.update(
        {key: part for key, part in parts.items() if part or (key == "inputs" and part is not None)}
    )
    return document


def _in_any_order(at: Drawing, tasks: Json) -> Json | list[Json]:
    """As a mapping or a list, in an order that says nothing about edges."""
    ordered = {name: tasks[name] for name in at.draw(st.permutations(list(tasks)))}
    if at.one(True, True, False):
        return ordered
    return [{"id": name, **task} for name, task in ordered.items()]


def _limits(at: Drawing) -> Json:
    limits: Json = {}
    if at.has("parallelism"):
        limits["max_parallel"] = at.one(1, 2, 3)
    if at.has("budgets"):
        limits["retry_budget"] = at.one(1, 0, 2)
    if at.has("deadlines"):
        limits["deadline"] = at.one("1m", 8, 2.5)
    return limits


def _defaults(at: Drawing) -> Json:
    defaults: Json = {}
    if at.has("defaults"):
        if at.has("timeouts"):
            defaults["timeout"] = "30s"
        if at.has("retries"):
            defaults["retry"] = draw_retry(at)
        if hooks := hooks_of_task(at, (), may_replace=True):
            defaults["hooks"] = {key: found for key, found in hooks.items() if key != "inherit"}
    return defaults


def _declared_agents(at: Drawing) -> Json:
    """All agents or none: who performs them, the caller says."""
    if not at.has("agents"):
        return {}
    return {name: _declared_agent(at) for name in at.agents}


def _declared_agent(at: Drawing) -> Json | None:
    known: list[Json] = [{"description": "does it"}, {"options": {"size": 1}}]
    if "timeouts" in at.features:
        known.append({"timeout": 10})
    if "soft_errors" in at.features:
        known.append({"soft_errors": True})
    return at.one(None, *known)


def _outputs(at: Drawing, ids: list[str]) -> Json:
    """Those of a run can always be rendered: what fails of a drawn run are its tasks and hooks."""
    if not at.has("outputs"):
        return {}
    return {task: f"{{{{ tasks.{task}.{at.one('status', 'output')} }}}}" for task in at.some(ids, 1, 2)}


def _stages(at: Drawing, ids: list[str]) -> Json:
    """Stages in the order of the tasks, as steps of the one workflow of the file; each task is in one."""
    if not at.has("stages"):
        return {}
    numbers = sorted(at.draw(st.lists(st.integers(0, 3), min_size=len(ids), max_size=len(ids))))
    is_list = at.one(True, False)
    steps: list[Json] = []
    for number in dict.fromkeys(numbers):
        members = [name for name, of in zip(ids, numbers, strict=True) if of == number]
        step: Json = {"stage": f"s{len(steps)}", "tasks": members}
        if at.one(False, False, True):
            step["mode"] = "sequential"
        if not is_list and steps:
            step["depends_on"] = at.some([str(before["stage"]) for before in steps], 0, 2)
        steps.append(step)
    return {"main": {"steps": steps}}
