"""What tasks and stages say of each other: dependencies, cycles, stages, and which tasks a run will have."""

from __future__ import annotations

from attrs import frozen

from actorflow.spec.draft import Draft
from actorflow.spec.model import TaskId, TaskSpec
from actorflow.spec.order import Before, cycles, not_upstream, topological

__all__ = ["Graph", "check_order", "tasks_of_run"]

_MOST_NAMED = 10


@frozen
class Graph:
    """The order of a definition without cycles: tasks by number in file order, then the barrier of each stage."""

    number: dict[TaskId, int]
    before: Before
    order: list[int]


def check_order(draft: Draft) -> Graph | None:
    """Check dependencies and stages; None where a cycle leaves no order to speak of."""
    _check_targets(draft)
    _check_fellow_agents(draft)
    number = {name: index for index, name in enumerate(draft.tasks)}
    before = [
        [number[d] for d in task.depends_on if d in number and d != task.id] for task in draft.tasks.values()
    ]
    has_good_stages = _has_good_stages(draft)
    order = topological(before)
    if len(order) < len(before):
        _report_cycles(draft, before)
        return None
    if not draft.stages:
        return Graph(number, before, order)
    if not has_good_stages:
        return None
    return _staged(draft, number, before)


def _check_targets(draft: Draft) -> None:
    tasks = draft.tasks
    for name, task in tasks.items():
        for target in task.depends_on:
            if target == name:
                block = draft.task_blocks[name]
                message = f"{name!r} depends on itself"
                block.fault("E131", "depends_on", message, index=block.index_of("depends_on", target))
            elif target not in tasks:
                block = draft.task_blocks[name]
                index = block.index_of("depends_on", target)
                block.fault(
                    "E130", "depends_on", f"unknown task {target!r}", _nearest(draft, target), index=index
                )


def _nearest(draft: Draft, name: str) -> str:
    return draft.report.nearest(name, draft.tasks)


def _check_fellow_agents(draft: Draft) -> None:
    """Warn of an agent that is not declared while one of nearly the same name is: the caller may bind it, or not."""
    declared = draft.agents
    if not declared:
        return
    seen: set[str] = set()
    for name, task in draft.tasks.items():
        for key, agent in _named_agents(task):
            if agent in declared or agent in seen:
                continue
            seen.add(agent)
            block = draft.task_blocks[name]
            hint = draft.report.nearest(agent, declared)
            if hint:
                mark = block.mark(key)
                draft.report.warn(
                    "W102", mark, f"tasks.{name}: the agent {agent!r} is not declared here", hint
                )


def _named_agents(task: TaskSpec) -> list[tuple[str, str]]:
    own = [("agent", task.agent)] if task.agent is not None else []
    return own + [("on_error", fallback) for fallback in task.on_error.fallback_agents]


def _report_cycles(draft: Draft, before: Before) -> None:
    names = list(draft.tasks)
    for cycle in cycles(before):
        first = draft.task_blocks[names[cycle[0]]]
        shown = [names[node] for node in cycle]
        if len(shown) > _MOST_NAMED:
            shown = [*shown[: _MOST_NAMED - 1], "…", shown[-1]]
        path = " -> ".join([*shown, names[cycle[0]]])
        index = first.index_of("depends_on", names[cycle[-1]])
        first.fault("E132", "depends_on", f"a cycle, each task waits for the one before: {path}", index=index)


def _has_good_stages(draft: Draft) -> bool:
    """Whether each stage has a name of its own, and tasks that exist and are in no other stage."""
    owner: dict[TaskId, str] = {}
    known: set[str] = set()
    is_good = True
    for stage, block in zip(draft.stages, draft.stage_blocks, strict=True):
        if stage.name in known:
            is_good = False
            block.fault("E133", "stage", f"the stage {stage.name!r} is there twice")
        known.add(stage.name)
        for item in block.names("tasks"):
            if item.text not in draft.tasks:
                is_good = False
                hint = _nearest(draft, item.text)
                block.fault("E130", "tasks", f"unknown task {item.text!r}", hint, index=item.index)
            elif item.text in owner:
                is_good = False
                where = "this stage" if owner[item.text] == stage.name else f"the stage {owner[item.text]!r}"
                block.fault("E133", "tasks", f"{item.text!r} is in {where} already", index=item.index)
            else:
                owner[item.text] = stage.name
    return is_good


def _staged(draft: Draft, number: dict[TaskId, int], before: list[list[int]]) -> Graph | None:
    """Add a barrier for each stage: it waits for the tasks of the stages before, the stage's tasks wait for it."""
    stages = _stage_order(draft)
    if stages is None or _depends_on_later_stage(draft, stages):
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


def _depends_on_later_stage(draft: Draft, before: Before) -> bool:
    """Whether a task depends on one whose stage comes later; each such dependency is reported."""
    stage_of = {task: index for index, stage in enumerate(draft.stages) for task in stage.tasks}
    crossing = [
        (task.id, target, stage_of[task.id], stage_of[target])
        for task in draft.tasks.values()
        if task.id in stage_of
        for target in task.depends_on
        if stage_of.get(target, stage_of[task.id]) != stage_of[task.id]
    ]
    pairs = {(theirs, own) for _, _, own, theirs in crossing}
    later = pairs - not_upstream(before, topological(before), pairs)
    for name, target, own, theirs in crossing:
        if (theirs, own) in later:
            block = draft.task_blocks[name]
            message = f"{name!r} of stage {draft.stages[own].name!r} cannot wait for {target!r}"
            why = f"{message} of the later stage {draft.stages[theirs].name!r}"
            block.fault("E135", "depends_on", why, index=block.index_of("depends_on", target))
    return bool(later)


def _report_barrier_cycles(draft: Draft, combined: Before, task_count: int) -> None:
    names = list(draft.tasks)
    for cycle in cycles(combined):
        barrier = next(node for node in cycle if node >= task_count)
        stage = draft.stages[barrier - task_count].name
        path = " -> ".join(names[node] for node in cycle if node < task_count)
        message = f"the tasks {path} lead from stage {stage!r} back to a stage before it"
        draft.stage_blocks[barrier - task_count].fault("E135", "tasks", message)


def tasks_of_run(draft: Draft) -> dict[TaskId, TaskSpec]:
    """The tasks that stages name and what these depend on, or all tasks where there are no stages."""
    if not draft.stages:
        return draft.tasks
    wanted: set[TaskId] = set()
    pending = [task for stage in draft.stages for task in stage.tasks]
    while pending:
        name = pending.pop()
        if name in draft.tasks and name not in wanted:
            wanted.add(name)
            pending.extend(draft.tasks[name].depends_on)
    dropped = [name for name in draft.tasks if name not in wanted]
    if dropped:
        shown = ", ".join(dropped[:_MOST_NAMED]) + (", …" if len(dropped) > _MOST_NAMED else "")
        mark = draft.task_blocks[dropped[0]].node.mark
        draft.report.warn(
            "W103", mark, f"no stage leads to these tasks, so they are not part of the run: {shown}"
        )
    return {name: task for name, task in draft.tasks.items() if name in wanted}
