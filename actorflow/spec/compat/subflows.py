"""Subflows: a task that runs one becomes a composite of its tasks, or of another file.

The inputs of a subflow are known when it is used, so they are put into its texts there. One that lies in a repository or
behind a URL cannot be fetched: the task is given to the agent of that name.
"""

from __future__ import annotations

from attrs import evolve

from actorflow.spec.compat.places import Place
from actorflow.spec.compat.spellings import respelled
from actorflow.spec.compat.trees import laid_over, mark_of
from actorflow.spec.text.nodes import MapNode, Mark, Node

__all__ = ["with_subflow", "with_subflow_agents"]


def with_subflow(task: MapNode, place: Place) -> tuple[MapNode, Place]:
    """The task with the tasks of its subflow inside it, and the place of those: they see nothing of what is around."""
    name = task.get("subflow")
    if not isinstance(name, str):
        return task, place
    mark, subflow = mark_of(task, "subflow"), place.file.subflows.get(name, MapNode())
    rest = task.without(("subflow",))
    source, tasks = subflow.get("source"), subflow.get("tasks")
    if isinstance(source, MapNode) and source.get("type") == "file" and isinstance(source.get("path"), str):
        return laid_over(rest, {"type": "composite", "uses": source["path"]}, mark), place
    if not isinstance(tasks, MapNode):
        place.file.aside.note("subflow", mark, f"nothing fetches it: bind an agent under the name {name}")
        return laid_over(rest, {"agent": name}, mark), place
    if not _may_run(name, place, mark):
        return laid_over(rest, {"agent": name}, mark), place
    written = laid_over(rest.without(("inputs",)), {"type": "composite", "tasks": tasks}, mark)
    inner = evolve(place, siblings=frozenset(), around=frozenset(), running=(*place.running, name))
    return written, evolve(inner, values=_values(task, subflow, place))


def _may_run(name: str, place: Place, mark: Mark) -> bool:
    """Whether a subflow may be written out here; reported where it runs itself, or grows beyond all bounds."""
    if name in place.running:
        circle = " -> ".join([*place.running[place.running.index(name) :], name])
        hint = "use loop: to repeat a task"
        place.file.report.add("E132", mark, f"subflow: a circle, each runs the next: {circle}", hint)
        return False
    return place.file.growth.admits_subflow(place.levels, mark)


def _values(task: MapNode, subflow: MapNode, place: Place) -> dict[str, Node]:
    """What each input of the subflow is: given by the task, or its default."""
    declared, given = subflow.get("inputs"), task.get("inputs")
    values: dict[str, Node] = {}
    for name, spec in declared.items() if isinstance(declared, MapNode) else ():
        if isinstance(spec, MapNode) and "default" in spec:
            values[name] = spec["default"]
    for name, value in given.items() if isinstance(given, MapNode) else ():
        values[name] = respelled(
            value, mark_of(given, name) if isinstance(given, MapNode) else task.mark, place
        )
    return values


def with_subflow_agents(root: MapNode) -> MapNode:
    """The definition with the agents of its subflows among its own, which come first; `subflows` itself is done with."""
    subflows = root.get("subflows")
    if not isinstance(subflows, MapNode):
        return root
    agents = root.get("agents")
    whole = agents.without(()) if isinstance(agents, MapNode) else MapNode(subflows.mark)
    for subflow in subflows.values():
        own = subflow.get("agents") if isinstance(subflow, MapNode) else None
        for name in own if isinstance(own, MapNode) else ():
            if name not in whole and isinstance(own, MapNode):
                whole.take(own, name)
    rest = root.without(("subflows",))
    return rest.with_entry("agents", whole, mark_of(root, "agents")) if whole else rest
