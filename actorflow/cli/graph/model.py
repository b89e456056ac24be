"""A workflow as nodes and edges, whatever they are drawn as."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final, Literal, TypeAlias

from attrs import frozen

from actorflow.spec.model import RouterSpec, TaskSpec, Transition, WaitSpec, WorkflowSpec
from actorflow.spec.order import topological

EdgeKind: TypeAlias = Literal["success", "failure", "always", "on_success", "on_error", "on_timeout", "route"]
"""Edges by `depends_on`, for each kind of end; transitions; and the routes of a router."""

WORDS: Final[Mapping[EdgeKind, str]] = {
    "success": "",
    "failure": "if it fails",
    "always": "in any case",
    "on_success": "on success",
    "on_error": "on error",
    "on_timeout": "on timeout",
    "route": "route",
}
"""What people are told of an edge; nothing of the usual one."""


@frozen(kw_only=True)
class Node:
    """A task."""

    id: str  #: with the ids of the containers around it before its own, each behind a dot
    type: str
    description: str = ""
    agents: tuple[str, ...] = ()  #: who is tried, in order; empty where nobody is needed
    when: str | None = None
    is_loop: bool = False
    stage: str | None = None
    parent: str | None = None  #: the id of the container that it is in
    layer: int = 0  #: among its siblings, from 0: one more than the highest of what comes before it
    status: str | None = None  #: in a run; None: it is a file's

    @property
    def name(self) -> str:
        """Its own id."""
        return self.id.rpartition(".")[2]

    @property
    def performer(self) -> str:
        """Who performs it, or what it is."""
        kind = [] if self.type == "basic" else [self.type]
        loop = ["in a loop"] if self.is_loop else []
        return ", ".join([*kind, *([", then ".join(self.agents)] if self.agents else []), *loop])


@frozen
class Edge:
    """What leads from a task to another one."""

    source: str
    target: str
    kind: EdgeKind
    key: str = ""  #: of a route: the value that leads there

    @property
    def caption(self) -> str:
        """What is said of it; nothing of the usual one."""
        return f"{WORDS[self.kind]} {self.key}".rstrip()


@frozen
class GraphStage:
    """A stage, and those that must be over before it begins."""

    name: str
    after: tuple[str, ...]


@frozen(kw_only=True)
class Graph:
    """A workflow's tasks, at all depths, and what leads from one to another."""

    name: str
    entry: str | None  #: which of its file's workflows it is
    nodes: tuple[Node, ...]  #: in the order of the file, each container before what is in it
    edges: tuple[Edge, ...]  #: by their sources, in the order of the nodes
    stages: tuple[GraphStage, ...] = ()

    @cached_property
    def _groups(self) -> Mapping[tuple[str | None, str | None], Sequence[Node]]:
        groups: dict[tuple[str | None, str | None], list[Node]] = {}
        for node in self.nodes:
            groups.setdefault((node.parent, node.stage), []).append(node)
        return groups

    def in_stage(self, stage: str | None) -> Sequence[Node]:
        """The tasks of a stage; for None, those that are in none, and in no container."""
        return self._groups.get((None, stage), ())

    def inside(self, container: Node) -> Sequence[Node]:
        """The tasks right inside a container; none of any other task."""
        return self._groups.get((container.id, None), ())


def graph_of(spec: WorkflowSpec, statuses: Mapping[str, str] | None = None) -> Graph:
    """The graph of one workflow.

    Args:
        spec: of one workflow: of several entries one has been chosen.
        statuses: of the tasks of a run; None: it is no run.
    """
    stages = {task: stage.name for stage in spec.stages for task in stage.tasks}
    nodes = tuple(_nodes(spec.tasks, "", _layers(spec.tasks, spec), stages, statuses))
    number = {node.id: i for i, node in enumerate(nodes)}
    edges = [edge for edge in _edges(spec.tasks, "") if edge.source in number and edge.target in number]
    return Graph(
        name=spec.name,
        entry=spec.entry,
        nodes=nodes,
        edges=tuple(sorted(edges, key=lambda edge: number[edge.source])),
        stages=tuple(GraphStage(stage.name, stage.after) for stage in spec.stages),
    )


def _nodes(
    tasks: Sequence[TaskSpec],
    prefix: str,
    layers: Sequence[int],
    stages: Mapping[str, str],
    statuses: Mapping[str, str] | None,
) -> Iterator[Node]:
    for task, layer in zip(tasks, layers, strict=True):
        own = f"{prefix}{task.id}"
        yield Node(
            id=own,
            type=task.type,
            description=task.description,
            agents=tuple(agent for agent in task.agents if agent),
            when=task.when,
            is_loop=task.loop is not None,
            stage=stages.get(own),
            parent=prefix[:-1] or None,
            layer=layer,
            status=None if statuses is None else statuses.get(own, "pending"),
        )
        yield from _nodes(task.children, f"{own}.", _layers(task.children, None), stages, statuses)


def _edges(tasks: Sequence[TaskSpec], prefix: str) -> Iterator[Edge]:
    for task in tasks:
        yield from _edges_of(task, prefix)
        yield from _edges(task.children, f"{prefix}{task.id}.")


def _edges_of(task: TaskSpec, prefix: str = "") -> Iterator[Edge]:
    """The edges that a task's own words make: to it, and from it."""
    own = f"{prefix}{task.id}"
    lists: tuple[tuple[EdgeKind, Sequence[str]], ...] = (
        ("success", task.depends_on),
        ("failure", task.on_failure_of),
        ("always", task.on_end_of),
    )
    for kind, sources in lists:
        yield from (Edge(f"{prefix}{source}", own, kind) for source in sources)
    container = task.container
    steps: tuple[tuple[EdgeKind, Transition | None], ...] = (
        ("on_success", task.on_success),
        ("on_error", task.on_error.next),
        ("on_timeout", container.on_timeout if isinstance(container, WaitSpec) else None),
    )
    yield from (Edge(own, f"{prefix}{step.next}", kind) for kind, step in steps if step is not None)
    if isinstance(container, RouterSpec):
        default = {} if container.default is None else {"default": container.default}
        routes = [*container.routes.items(), *default.items()]
        yield from (Edge(own, f"{prefix}{target}", "route", key) for key, target in routes)


def _layers(tasks: Sequence[TaskSpec], spec: WorkflowSpec | None) -> list[int]:
    """The layer of each of these siblings; those of the workflow itself, with `spec`, have its stages as well."""
    number = {task.id: i for i, task in enumerate(tasks)}
    before: list[list[int]] = [[] for _ in tasks]
    for edge in (edge for task in tasks for edge in _edges_of(task)):
        if edge.source in number and edge.target in number:
            before[number[edge.target]].append(number[edge.source])
    gates = _add_gates(before, number, spec)
    layers = [0] * len(before)
    for node in topological(before):
        # a gate lies as high as the highest task before it, so that what it holds lies one above that
        step = 0 if node in gates else 1
        layers[node] = max(
            (layers[other] + step for other in before[node]), default=-1 if node in gates else 0
        )
    return layers[: len(tasks)]


def _add_gates(
    before: list[list[int]], number: Mapping[str, int], spec: WorkflowSpec | None
) -> frozenset[int]:
    """Add a node for each stage between those before it and its own, and give their numbers.

    So a barrier costs tasks + tasks edges, and not tasks times tasks.
    """
    stages = () if spec is None else spec.stages
    gates = {stage.name: len(before) + i for i, stage in enumerate(stages)}
    members = {stage.name: [number[task] for task in stage.tasks if task in number] for stage in stages}
    before.extend([] for _ in stages)
    for stage in stages:
        for earlier in stage.after:
            before[gates[stage.name]] += [gates[earlier], *members[earlier]]
        for task in members[stage.name]:
            before[task].append(gates[stage.name])
    return frozenset(gates.values())
