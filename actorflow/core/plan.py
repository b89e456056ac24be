"""The plan of a workflow: its graph as indexes, its templates compiled; made once for a definition, shared by its runs.

Tasks are numbered in file order. Tasks that depend on the same set of tasks share one `Join`, a single counter: ten
layers of a hundred tasks, each on all of the layer above, are nine joins instead of 90,000 edges.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from actorflow.expression import Expression, Template, compile_template, condition
from actorflow.spec.model import CommandRunner, HookLists, Runner, TaskSpec, WorkflowSpec, shell_item

PLANS_KEPT = 64


@frozen
class Join:
    """Tasks that wait for the same tasks."""

    upstream: tuple[int, ...]
    waiting: tuple[int, ...]


@frozen
class Stage:
    """A stage as indexes; its tasks wait until every stage in `after` is complete."""

    name: str
    tasks: tuple[int, ...]
    after: tuple[int, ...]
    before: tuple[int, ...]  #: the stages that wait for this one


@frozen
class TaskTemplates:
    """What is rendered for a task; None where there is nothing to render."""

    when: Expression | None
    with_: Template | None
    notify: Template | None

    @property
    def parts(self) -> tuple[Expression | Template, ...]:
        """Those that are there."""
        return tuple(part for part in (self.when, self.with_, self.notify) if part is not None)


@frozen
class RunnerTemplates:
    """What is rendered for a runner, inline or an agent's."""

    env: Template
    argv: tuple[Template | str, ...] | None  #: the items of a list command; text is a shell's, and opaque

    @property
    def parts(self) -> tuple[Template, ...]:
        """Those that are there."""
        return (self.env, *(item for item in self.argv or () if not isinstance(item, str)))


@frozen(eq=False)
class Plan:
    """The indexed, compiled form of a definition."""

    spec: WorkflowSpec
    index: dict[str, int]  #: task id → number
    joins: tuple[Join, ...]
    downstream: tuple[tuple[int, ...], ...]  #: task → the joins that it counts in
    stages: tuple[Stage, ...]
    stage_of: tuple[int, ...]  #: task → its stage, -1 for none
    order: tuple[int, ...]  #: all tasks, each after those that it depends on
    templates: tuple[TaskTemplates | None, ...]  #: None for a task without any
    runners: tuple[
        RunnerTemplates | None, ...
    ]  #: of the tasks themselves; None where there is nothing to render
    agents_of: tuple[tuple[str, ...], ...]  #: task → who is tried, in order
    agents: Mapping[str, RunnerTemplates | None]  #: of the agents that the workflow declares
    outputs: Template
    notifies: bool  #: whether some task has an `on_complete.notify`
    is_read: tuple[bool, ...]  #: whether some template reads the task: only then is its end kept for them

    @property
    def tasks(self) -> tuple[TaskSpec, ...]:
        """The tasks in file order."""
        return self.spec.tasks

    @property
    def hooks(self) -> HookLists:
        """The workflow's hooks."""
        return self.spec.hooks


_plans: OrderedDict[int, Plan] = OrderedDict()


def plan_of(spec: WorkflowSpec) -> Plan:
    """The plan of a checked definition; the last `PLANS_KEPT` are remembered by the definition's identity."""
    plan = _plans.get(id(spec))
    if plan is None or plan.spec is not spec:
        plan = _plans[id(spec)] = _make_plan(spec)
        if len(_plans) > PLANS_KEPT:
            _plans.popitem(last=False)
    return plan


def _make_plan(spec: WorkflowSpec) -> Plan:
    index = {task.id: number for number, task in enumerate(spec.tasks)}
    joins = _joins(spec.tasks, index)
    downstream: list[list[int]] = [[] for _ in spec.tasks]
    for number, join in enumerate(joins):
        for upstream in join.upstream:
            downstream[upstream].append(number)
    stages = _stages(spec, index)
    stage_of = [-1] * len(spec.tasks)
    for number, stage in enumerate(stages):
        for task in stage.tasks:
            stage_of[task] = number
    templates = tuple(_task_templates(task) for task in spec.tasks)
    runners = tuple(_runner_templates(task.runner, task.env) for task in spec.tasks)
    agents = {name: _runner_templates(agent.runner, agent.env) for name, agent in spec.agents.items()}
    outputs = compile_template(dict(spec.outputs))
    return Plan(
        spec=spec,
        index=index,
        joins=joins,
        downstream=tuple(map(tuple, downstream)),
        stages=stages,
        stage_of=tuple(stage_of),
        order=_order(joins, downstream, len(spec.tasks)),
        templates=templates,
        runners=runners,
        agents_of=tuple(task.agents for task in spec.tasks),
        agents=agents,
        outputs=outputs,
        notifies=any(each is not None and each.notify is not None for each in templates),
        is_read=_is_read((outputs, *_parts(templates), *_parts((*runners, *agents.values()))), index),
    )


def _joins(tasks: Sequence[TaskSpec], index: dict[str, int]) -> tuple[Join, ...]:
    waiting: dict[tuple[str, ...], list[int]] = {}
    for number, task in enumerate(tasks):
        if task.depends_on:
            waiting.setdefault(task.depends_on, []).append(number)
    return tuple(
        Join(tuple(index[name] for name in upstream), tuple(tasks_)) for upstream, tasks_ in waiting.items()
    )


def _stages(spec: WorkflowSpec, index: dict[str, int]) -> tuple[Stage, ...]:
    number = {stage.name: i for i, stage in enumerate(spec.stages)}
    before: list[list[int]] = [[] for _ in spec.stages]
    for stage in spec.stages:
        for earlier in stage.after:
            before[number[earlier]].append(number[stage.name])
    return tuple(
        Stage(
            stage.name,
            tuple(index[task] for task in stage.tasks),
            tuple(number[name] for name in stage.after),
            tuple(before[i]),
        )
        for i, stage in enumerate(spec.stages)
    )


def _order(joins: Sequence[Join], downstream: Sequence[Sequence[int]], count: int) -> tuple[int, ...]:
    unmet = [len(join.upstream) for join in joins]
    waits = set[int]().union(*(join.waiting for join in joins)) if joins else set[int]()
    order = [task for task in range(count) if task not in waits]
    for task in order:  # grows while it is read
        for number in downstream[task]:
            unmet[number] -= 1
            if not unmet[number]:
                order.extend(joins[number].waiting)
    return tuple(order)


def _task_templates(task: TaskSpec) -> TaskTemplates | None:
    if task.when is None and task.with_ is None and task.notify is None:
        return None
    return TaskTemplates(
        when=None if task.when is None else condition(task.when),
        with_=None if task.with_ is None else compile_template(dict(task.with_)),
        notify=None if task.notify is None else compile_template(task.notify),
    )


def _runner_templates(runner: Runner | None, env: Mapping[str, Any]) -> RunnerTemplates | None:
    argv = None
    if isinstance(runner, CommandRunner) and not isinstance(runner.command, str):
        argv = _argv_templates(runner.command)
    if not env and argv is None:
        return None
    return RunnerTemplates(compile_template(dict(env)), argv)


def _argv_templates(argv: tuple[str, ...]) -> tuple[Template | str, ...]:
    opaque = shell_item(argv)
    return tuple(item if i == opaque else compile_template(item) for i, item in enumerate(argv))


def _parts(each: Sequence[TaskTemplates | RunnerTemplates | None]) -> Iterator[Expression | Template]:
    for templates in each:
        if templates is not None:
            yield from templates.parts


def _is_read(parts: Iterable[Expression | Template], index: Mapping[str, int]) -> tuple[bool, ...]:
    read = [False] * len(index)
    for part in parts:
        for path in part.paths:
            if path == ("tasks",):
                return (True,) * len(index)
            if path[0] == "tasks" and path[1] in index:
                read[index[path[1]]] = True
    return tuple(read)
