"""Whole definitions: as the plain data of a file, and loaded."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, Final

from attrs import frozen
from hypothesis import strategies as st

from actorflow.spec import WorkflowSpec, load_dict
from actorflow.testing.strategies.drawing import Drawing, Json, names
from actorflow.testing.strategies.features import FEATURES, Feature, checked_features
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
    draw: st.DrawFn, max_tasks: int, agents: tuple[str, ...], features: frozenset[Feature]
) -> dict[str, Any]:
    at = Drawing.begin(draw, features, agents)
    inputs = draw_declarations(draw) if at.has("inputs") else None
    is_staged = at.has("stages")
    ids = names("t", at.one(*range(1, max_tasks + 1)))
    places = [
        Place(name, ids[:number], ids[number + 1 :], list(inputs or ())) for number, name in enumerate(ids)
    ]
    drawn = [at.part(partial(_placed, place=place, is_staged=is_staged)) for place in places]
    document: Json = {"name": "drawn", "tasks": _tasks(at, drawn)}
    parts: Json = {
        "limits": _limits(at),
        "defaults": _defaults(at),
        "agents": _declared_agents(at),
        "hooks": at.part(partial(hooks_of_run, tasks=ids)),
        "outputs": _outputs(at, ids),
        "workflows": _stages(at, drawn) if is_staged else {},
    }
    document.update({key: part for key, part in parts.items() if part})
    return document if inputs is None else document | {"inputs": inputs}


@frozen
class _Placed:
    """A task, and where it stands in the file."""

    id: str
    body: Json
    rank: int  #: in the order of the file, which says nothing about edges
    is_first: bool  #: of a stage


def _placed(at: Drawing, *, place: Place, is_staged: bool) -> _Placed:
    body = draw_task(at, place)
    return _Placed(place.id, body, at.one(0, 0, 0, 1, -1), is_staged and at.one(False, True))


def _tasks(at: Drawing, drawn: list[_Placed]) -> Json | list[Json]:
    """As a mapping or a list."""
    ordered = sorted(drawn, key=lambda each: each.rank)
    if at.one(True, True, False):
        return {each.id: each.body for each in ordered}
    return [{"id": each.id, **each.body} for each in ordered]


def _limits(at: Drawing) -> Json:
    limits: Json = {}
    if at.has("parallelism"):
        limits["max_parallel"] = at.one(1, 2, 3)
    if at.has("budgets"):
        limits["retry_budget"] = at.one(1, 0)
    if at.has("deadlines"):
        limits["deadline"] = at.one("1m", 8, 2.5)
    return limits


def _defaults(at: Drawing) -> Json:
    defaults: Json = {}
    if at.has("defaults"):
        if "timeouts" in at.features and at.one(True, False):
            defaults["timeout"] = "30s"
        if "retries" in at.features and at.one(True, False):
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


def _stages(at: Drawing, drawn: list[_Placed]) -> Json:
    """Stages in the order of edges, as steps of the one workflow of the file; each task is in one."""
    is_list = at.one(True, False)
    steps: list[Json] = []
    for each in drawn:
        if each.is_first or not steps:
            steps.append(_step(at, steps, is_list=is_list))
        steps[-1]["tasks"].append(each.id)
    return {"main": {"steps": steps}}


def _step(at: Drawing, before: list[Json], *, is_list: bool) -> Json:
    step: Json = {"stage": f"s{len(before)}", "tasks": []}
    if at.one(False, False, True):
        step["mode"] = "sequential"
    if before and not is_list:
        step["depends_on"] = at.some([str(each["stage"]) for each in before], 0, 2)
    return step
