"""What stages say of each other and of the tasks in them; a stage is a barrier between those before it and its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from actorflow.spec.checks.apart import is_apart, why_apart
from actorflow.spec.model import TaskId
from actorflow.spec.order import Before, cycles, not_upstream, topological
from actorflow.spec.readers.draft import Draft, Graph
from actorflow.spec.readers.edges import edge_index

__all__ = ["MOST_NAMED", "has_good_stages", "staged"]

MOST_NAMED: Final = 10
"""How many tasks of a path a message shows."""


def has_good_stages(draft: Draft) -> bool:
    """Whether each stage has a name of its own, and tasks that exist and are in no other stage; a stage has tasks."""
    owner: dict[TaskId, str] = {}
    known: set[str] = set()
    is_good = all(stage.tasks for stage in draft.stages)
    for stage, block in zip(draft.stages, draft.stage_blocks, strict=True):
        if stage.name in known:
            is_good = False
            block.fault("E133", "stage", f"the stage {stage.name!r} is there twice")
        known.add(stage.name)
        for item in block.names("tasks"):
            if is_apart(draft, item.text):
                is_good = False
                block.fault("E147", "tasks", *why_apart(draft, item.text), index=item.index)
            elif item.text not in draft.tasks:
                is_good = False
                draft.top.missing.add(item.text)
                hint = draft.report.nearest(item.text, draft.tasks)
                block.fault("E130", "tasks", f"unknown task {item.text!r}", hint, index=item.index)
            elif item.text in owner:
                is_good = False
                where = "this stage" if owner[item.text] == stage.name else f"the stage {owner[item.text]!r}"
                block.fault("E133", "tasks", f"{item.text!r} is in {where} already", index=item.index)
            else:
                owner[item.text] = stage.name
    return is_good


def staged(draft: Draft, graph: Graph) -> Graph | None:
    """Add a barrier for each stage: it waits for the tasks of the stages before, the stage's tasks wait for it.

    None, with the reason reported, where that leaves no order.
    """
    number, before = graph.number, graph.before
    stages = _stage_order(draft)
    if stages is None or _leads_back(draft, stages, graph):
        return None
    combined = [*(list(nodes) for nodes in before), *([] for _ in draft.stages)]
    for index, stage in enumerate(draft.stages):
        barrier = len(before) + index
        for task in stage.tasks:
            if task in number:
                combined[number[task]].append(barrier)
        for earlier in stages[index]:
            combined[barrier].append(len(before) + earlier)
            combined[barrier].extend(number[task] for task in draft.stages[earlier].tasks if task in number)
    order = topological(combined)
    if len(order) < len(combined):
        _report_barrier_cycles(draft, combined, len(before))
        return None
    return Graph(number, combined, order)


def _stage_order(draft: Draft) -> list[list[int]] | None:
    """For each stage, the numbers of those before it; None, with the reason reported, where they have no order."""
    number = {stage.name: index for index, stage in enumerate(draft.stages)}
    before: list[list[int]] = []
    is_good = True
    for stage, block in zip(draft.stages, draft.stage_blocks, strict=True):
        for name in stage.after:
            if name not in number or name == stage.name:
                is_good = False
                what = "a stage cannot come after itself" if name == stage.name else f"unknown stage {name!r}"
                hint = "" if name == stage.name else draft.report.nearest(name, number)
                block.fault("E135", "depends_on", what, hint, index=block.index_of("depends_on", name))
        before.append([number[name] for name in stage.after if name in number])
    if not is_good:
        return None
    for cycle in cycles(before):
        is_good = False
        path = " -> ".join(draft.stages[node].name for node in [*cycle, cycle[0]])
        draft.stage_blocks[cycle[0]].fault("E135", "depends_on", f"a cycle of stages: {path}")
    return before if is_good else None


def _leads_back(draft: Draft, before: Before, graph: Graph) -> bool:
    """Whether an edge or transition leads from a task to one of a stage that comes earlier; each is reported."""
    stage_of = {task: index for index, stage in enumerate(draft.stages) for task in stage.tasks}
    crossing = list(_crossing(graph, stage_of))
    pairs = {(stage_of[first], stage_of[then]) for first, then in crossing}
    later = pairs - not_upstream(before, topological(before), pairs)
    for first, then in crossing:
        if (stage_of[first], stage_of[then]) in later:
            own, theirs = (draft.stages[stage_of[task]].name for task in (then, first))
            _report_leading_back(draft, first, then, f"of stage {own!r}", f"of the later stage {theirs!r}")
    return bool(later)


def _crossing(graph: Graph, stage_of: dict[TaskId, int]) -> Iterator[tuple[TaskId, TaskId]]:
    """Pairs of tasks in different stages of which the first must have ended before the second starts."""
    names = list(graph.number)
    for then, nodes in zip(names, graph.before, strict=True):
        own = stage_of.get(then)
        for first in (names[node] for node in nodes) if own is not None else ():
            if stage_of.get(first, own) != own:
                yield first, then


def _report_leading_back(draft: Draft, first: TaskId, then: TaskId, own: str, theirs: str) -> None:
    jump = next((jump for jump in draft.top.jumps if (jump.source, jump.target) == (first, then)), None)
    if jump is not None:
        jump.block.fault("E135", jump.key, f"{first!r} {theirs} cannot lead back to {then!r} {own}")
        return
    block = draft.task_blocks[then]
    message = f"{then!r} {own} cannot wait for {first!r} {theirs}"
    block.fault("E135", "depends_on", message, index=edge_index(block, first))


def _report_barrier_cycles(draft: Draft, combined: Sequence[Sequence[int]], task_count: int) -> None:
    names = list(draft.tasks)
    for cycle in cycles(combined):
        barrier = next(node for node in cycle if node >= task_count)
        stage = draft.stages[barrier - task_count].name
        shown = [names[node] for node in cycle if node < task_count]
        path = " -> ".join([*shown[:MOST_NAMED], *(["…"] if len(shown) > MOST_NAMED else [])])
        message = f"the tasks {path} lead from stage {stage!r} back to a stage before it"
        draft.stage_blocks[barrier - task_count].fault("E135", "tasks", message)
