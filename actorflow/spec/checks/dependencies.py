"""What tasks say of each other: edges and transitions, cycles, and which tasks a run will have."""

from __future__ import annotations

from itertools import chain

from actorflow.spec.checks.apart import is_apart, why_apart
from actorflow.spec.checks.stages import MOST_NAMED, has_good_stages, staged
from actorflow.spec.model import TaskId, TaskSpec
from actorflow.spec.order import cycles, topological
from actorflow.spec.readers.draft import Draft, Graph, Jump, Level
from actorflow.spec.readers.edges import edge_index

__all__ = ["check_order", "tasks_of_run"]


def check_order(draft: Draft) -> None:
    """Check edges, transitions and the draft's stages, and give each level its graph, if it has an order."""
    _check_fellow_agents(draft)
    for level in draft.levels:
        _check_edges(draft, level)
        _check_jumps(draft, level)
        level.graph = _graph_of(level)
    if draft.stages:
        is_good = has_good_stages(draft)
        graph = draft.top.graph
        draft.top.graph = staged(draft, graph) if is_good and graph is not None else None


def _edges_of(task: TaskSpec) -> tuple[TaskId, ...]:
    """The tasks before a task, by edges of any kind."""
    if task.on_failure_of or task.on_end_of:
        return (*task.depends_on, *task.on_failure_of, *task.on_end_of)
    return task.depends_on


def _check_edges(draft: Draft, level: Level) -> None:
    tasks = level.tasks
    for name, task in tasks.items():
        for target in _edges_of(task):
            if target in tasks and target != name:
                continue
            block = level.blocks[name]
            index = edge_index(block, target)
            if target == name:
                block.fault("E131", "depends_on", f"{name!r} depends on itself", index=index)
            else:
                code, message, hint = _not_beside(draft, level, target)
                block.fault(code, "depends_on", message, hint, index=index)


def _check_jumps(draft: Draft, level: Level) -> None:
    for jump in level.jumps:
        if jump.target == jump.source:
            message = f"{jump.source!r} leads to itself"
            jump.block.fault("E131", jump.key, message, "use loop: to repeat a task")
        elif jump.target not in level.tasks:
            code, message, hint = _not_beside(draft, level, jump.target)
            jump.block.fault(code, jump.key, message, hint)


def _not_beside(draft: Draft, level: Level, target: TaskId) -> tuple[str, str, str]:
    """Why a task is not among those of a level: the code, the message and a hint; the level remembers that it is none."""
    found = level.level_of(target)
    if found is not None:
        hint = f"say it of {found[1]!r}, which stands beside it"
        return "E138", f"{target!r} is outside of the container {level.owner!r}", hint
    if is_apart(draft, target):
        return "E147", *why_apart(draft, target)
    level.missing.add(target)
    inside = next((each for each in draft.inner if each.around is level and target in each.tasks), None)
    if inside is not None:
        return (
            "E138",
            f"{target!r} is inside of the container {inside.owner!r}",
            f"name {inside.owner!r} instead",
        )
    return "E130", f"unknown task {target!r}", draft.report.nearest(target, level.tasks)


def _graph_of(level: Level) -> Graph | None:
    """The order by all edges and transitions; None, with the cycles reported, where there is none."""
    number = {name: index for index, name in enumerate(level.tasks)}
    before = [
        [number[other] for other in _edges_of(task) if other in number and other != task.id]
        for task in level.tasks.values()
    ]
    for jump in level.jumps:
        if jump.target in number and jump.target != jump.source:
            before[number[jump.target]].append(number[jump.source])
    order = topological(before)
    if len(order) == len(before):
        return Graph(number, before, order)
    jumps = {(jump.source, jump.target): jump for jump in level.jumps}
    names = list(level.tasks)
    for cycle in cycles(before):
        _report_cycle(level, [names[node] for node in cycle], jumps)
    return None


def _report_cycle(level: Level, cycle: list[TaskId], jumps: dict[tuple[TaskId, TaskId], Jump]) -> None:
    """Report a cycle at a transition that is part of it, or else at the edge that closes it."""
    shown = cycle if len(cycle) <= MOST_NAMED else [*cycle[: MOST_NAMED - 1], "…", cycle[-1]]
    path = " -> ".join([*shown, cycle[0]])
    steps = zip(cycle, [*cycle[1:], cycle[0]], strict=True)
    jump = next((jumps[step] for step in steps if step in jumps), None)
    if jump is not None:
        message = f"a cycle, from task to task and back: {path}"
        jump.block.fault("E132", jump.key, message, "use loop: to repeat a task, or a composite of them")
        return
    first = level.blocks[cycle[0]]
    index = edge_index(first, cycle[-1])
    first.fault("E132", "depends_on", f"a cycle, each task waits for the one before: {path}", index=index)


def _check_fellow_agents(draft: Draft) -> None:
    """Warn of an agent that is not declared while one of nearly the same name is: the caller may bind it, or not."""
    declared = draft.agents
    if not declared:
        return
    seen: set[str] = set()
    for level in draft.levels:
        for name, task in level.tasks.items():
            for key, agent in _named_agents(task):
                if agent in declared or agent in seen:
                    continue
                seen.add(agent)
                block = level.blocks[name]
                hint = draft.report.nearest(agent, declared)
                if hint:
                    message = f"{block.path}: the agent {agent!r} is not declared here"
                    draft.report.warn("W102", block.mark(key), message, hint)


def _named_agents(task: TaskSpec) -> list[tuple[str, str]]:
    own = [("agent", task.agent)] if task.agent is not None else []
    return own + [("on_error", fallback) for fallback in task.on_error.fallback_agents]


def tasks_of_run(draft: Draft) -> dict[TaskId, TaskSpec]:
    """The tasks that stages name, and what these wait for or lead to; all tasks where there are no stages."""
    if not draft.stages:
        return draft.tasks
    targets: dict[TaskId, list[TaskId]] = {}
    for jump in draft.top.jumps:
        targets.setdefault(jump.source, []).append(jump.target)
    wanted: set[TaskId] = set()
    pending = [task for stage in draft.stages for task in stage.tasks]
    while pending:
        name = pending.pop()
        if name in draft.tasks and name not in wanted:
            wanted.add(name)
            pending.extend(chain(_edges_of(draft.tasks[name]), targets.get(name, ())))
    return {name: task for name, task in draft.tasks.items() if name in wanted}
