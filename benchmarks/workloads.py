"""The work that is measured: four shapes of no-op tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

from attrs import frozen

from actorflow import AgentCall, WorkflowSpec, load_dict

Name: TypeAlias = Literal["W1", "W2", "W3", "W4"]
NAMES: tuple[Name, ...] = get_args(Name)

LAYERS = 10
RUN_LENGTH = 3


@frozen
class Graph:
    """Tasks by number, with what has to be known to walk them; made before the clock starts."""

    names: tuple[str, ...]
    upstream: tuple[tuple[int, ...], ...]  #: task → those it waits for
    downstream: tuple[tuple[int, ...], ...]  #: task → those that wait for it


@frozen
class Workload:
    """Some work, for actorflow and for those it is compared with."""

    name: Name
    title: str
    spec: WorkflowSpec
    run_count: int  #: runs of `spec` that are started at once
    graph: Graph  #: the tasks of all runs as one graph
    commit_limit: int  #: transactions that all of it may take

    @property
    def task_count(self) -> int:
        """Tasks in all runs together."""
        return len(self.graph.names)


async def no_op(_: AgentCall) -> None:
    """The agent of every task."""


def workload(name: Name, count: int) -> Workload:
    """Make one of the four.

    Args:
        name: which.
        count: tasks of W1 to W3, in W3 rounded to whole layers; runs of W4.
    """
    match name:
        case "W1":
            return _one_run(name, f"{count:,} independent tasks", [()] * count, 4)
        case "W2":
            upstream = [(i - 1,) if i else () for i in range(count)]
            return _one_run(name, f"a chain of {count:,}", upstream, count + 5)
        case "W3":
            return _one_run(name, f"{LAYERS} layers of {count // LAYERS:,}", _layers(count // LAYERS), 25)
        case "W4":
            chain = [(i - 1,) if i else () for i in range(RUN_LENGTH)]
            all_chains = [tuple(run * RUN_LENGTH + i for i in each) for run in range(count) for each in chain]
            title = f"{count:,} runs of a chain of {RUN_LENGTH}, at once"
            return Workload(name, title, _spec(name, _graph(chain)), count, _graph(all_chains), 60)


def _one_run(name: Name, title: str, upstream: Sequence[tuple[int, ...]], commit_limit: int) -> Workload:
    graph = _graph(upstream)
    return Workload(name, title, _spec(name, graph), 1, graph, commit_limit)


def _layers(width: int) -> list[tuple[int, ...]]:
    first: list[tuple[int, ...]] = [()] * width
    later = [tuple(range((layer - 1) * width, layer * width)) for layer in range(1, LAYERS)]
    return first + [above for above in later for _ in range(width)]


def _graph(upstream: Sequence[tuple[int, ...]]) -> Graph:
    downstream: list[list[int]] = [[] for _ in upstream]
    for task, above in enumerate(upstream):
        for each in above:
            downstream[each].append(task)
    names = tuple(f"task-{i}" for i in range(len(upstream)))
    return Graph(names, tuple(upstream), tuple(map(tuple, downstream)))


def _spec(name: str, graph: Graph) -> WorkflowSpec:
    tasks = {
        task: {"agent": "no_op", "depends_on": [graph.names[i] for i in above]}
        for task, above in zip(graph.names, graph.upstream, strict=True)
    }
    return load_dict({"name": name.lower(), "limits": {"max_parallel": 1000}, "tasks": tasks})
