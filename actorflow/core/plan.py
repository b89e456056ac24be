"""The plan of a workflow: its graph as indexes, its templates compiled; made once for a definition, shared by its runs.

Tasks are numbered in the order in which they start when all are ready: by priority, then as in the file. Tasks that
depend on the same set of tasks share one `Join`, a single counter: ten layers of a hundred tasks, each on all of the
layer above, are nine joins instead of 90,000 edges.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from attrs import frozen

from actorflow.core.hook_config import HookConfig, hook_config
from actorflow.core.http_call import HttpTemplates, http_templates
from actorflow.expression import Expression, SecretName, Template, compile_template, condition
from actorflow.spec.model import (
    CommandRunner,
    HttpRunner,
    Runner,
    ScriptRunner,
    TaskSpec,
    Transition,
    WorkflowSpec,
    shell_item,
)

PLANS_KEPT = 64


On: TypeAlias = Literal["success", "failure", "always"]
"""Which end of a task an edge from it asks for."""


@frozen
class Join:
    """Tasks that wait for the same tasks, and for the same kind of end of each."""

    upstream: tuple[int, ...]
    waiting: tuple[int, ...]
    on: On = "success"


@frozen
class Lead:
    """A transition, seen from the task that it starts at."""

    on: On
    target: int
    with_: Template | None  #: what is laid over the target's own `with`


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
    outputs: Template | None
    fallback_value: Template | None

    @property
    def parts(self) -> tuple[Expression | Template, ...]:
        """Those that are there."""
        each = (self.when, self.with_, self.outputs, self.fallback_value)
        return tuple(part for part in each if part is not None)


@frozen
class RunnerTemplates:
    """What is rendered for a runner, inline or an agent's."""

    env: Template
    argv: tuple[Template | str, ...] | None  #: of a list command or a script; text is a shell's, and opaque
    http: HttpTemplates | None = None

    @property
    def parts(self) -> Iterator[Expression | Template]:
        """Those that are there."""
        yield self.env
        yield from (item for item in self.argv or () if not isinstance(item, str))
        if self.http is not None:
            yield from self.http.parts


@frozen(eq=False)
class Plan:
    """The indexed, compiled form of a definition."""

    spec: WorkflowSpec
    tasks: tuple[TaskSpec, ...]  #: by number
    index: dict[str, int]  #: task id → number
    joins: tuple[Join, ...]
    downstream: tuple[tuple[int, ...], ...]  #: task → the joins that it counts in
    joins_of: Mapping[
        int, tuple[int, ...]
    ]  #: task → the joins that it waits for; without those that have none
    leads: Mapping[int, tuple[Lead, ...]]  #: task → the transitions from it; without those that have none
    sources: Mapping[
        int, tuple[int, ...]
    ]  #: task → where the transitions to it come from, as often as there are any
    is_handled: frozenset[
        int
    ]  #: tasks whose failure is somebody's business: a transition or an edge leads on from it
    handlers: frozenset[int]  #: tasks that may start although the run is aborted
    may_be_unreached: bool  #: whether a task can be skipped as `not_reached` at all
    stages: tuple[Stage, ...]
    stage_of: tuple[int, ...]  #: task → its stage, -1 for none
    order: tuple[int, ...]  #: all tasks, each after those that lead to it
    templates: tuple[TaskTemplates | None, ...]  #: None for a task without any
    runners: tuple[
        RunnerTemplates | None, ...
    ]  #: of the tasks themselves; None where there is nothing to render
    agents_of: tuple[tuple[str, ...], ...]  #: task → who is tried, in order
    #: of the agents that are declared, and that some task may be given to
    agents: Mapping[str, RunnerTemplates | None]
    outputs: Template
    hooks: HookConfig
    sensitive_inputs: frozenset[str]
    maps_outputs: bool  #: whether some task has `outputs` of its own
    has_deadlines: bool  #: whether some task has a deadline
    has_breakers: bool  #: whether some task has a circuit breaker
    secret_names: tuple[SecretName, ...]  #: what agents are given of the environment and of declared secrets
    is_read: tuple[bool, ...]  #: whether some template reads the task: only then is its end kept for them

    def before(self, index: int) -> Iterator[int]:
        """The tasks that a task waits for, or that may lead to it."""
        for number in self.joins_of.get(index, ()):
            yield from self.joins[number].upstream
        yield from self.sources.get(index, ())

    def failures_before(self, index: int) -> Iterator[int]:
        """The tasks whose failure a task waits for."""
        for number in self.joins_of.get(index, ()):
            if self.joins[number].on == "failure":
                yield from self.joins[number].upstream


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
    tasks = tuple(sorted(spec.tasks, key=lambda task: task.priority))
    index = {task.id: number for number, task in enumerate(tasks)}
    joins = _joins(tasks, index)
    leads = {number: found for number, task in enumerate(tasks) if (found := _leads(task, index))}
    sources = _grouped((lead.target, number) for number, found in leads.items() for lead in found)
    counts_in = _grouped((task, number) for number, join in enumerate(joins) for task in join.upstream)
    templates = tuple(_task_templates(task) for task in tasks)
    runners = tuple(_runner_templates(task.runner, task.env) for task in tasks)
    agents = {
        name: _runner_templates(spec.agents[name].runner, spec.agents[name].env)
        for name in spec.agent_names
        if name in spec.agents
    }
    performers = (*runners, *agents.values())
    outputs = compile_template(dict(spec.outputs))
    laid_over = [lead.with_ for found in leads.values() for lead in found if lead.with_ is not None]
    stages = _stages(spec, index)
    hooks = hook_config(spec)
    hook_parts = (part for entry in hooks.entries for part in entry.parts)
    return Plan(
        spec=spec,
        tasks=tasks,
        index=index,
        joins=joins,
        downstream=tuple(counts_in.get(number, ()) for number in range(len(tasks))),
        joins_of=_grouped((task, number) for number, join in enumerate(joins) for task in join.waiting),
        leads=leads,
        sources=sources,
        is_handled=frozenset(_handled(joins, leads)),
        handlers=frozenset(_handlers(joins, leads)),
        may_be_unreached=bool(sources) or any(join.on == "failure" for join in joins),
        stages=stages,
        stage_of=_stage_of(stages, len(tasks)),
        order=_order(joins, leads, len(tasks)),
        templates=templates,
        runners=runners,
        agents_of=tuple(task.agents for task in tasks),
        agents=agents,
        outputs=outputs,
        hooks=hooks,
        sensitive_inputs=frozenset(name for name, each in (spec.inputs or {}).items() if each.sensitive),
        maps_outputs=any(each is not None and each.outputs is not None for each in templates),
        has_deadlines=any(task.deadline is not None for task in tasks),
        has_breakers=any(task.on_error.breaker is not None for task in tasks),
        secret_names=_secret_names(performers),
        is_read=_is_read((outputs, *laid_over, *_parts(templates), *_parts(performers), *hook_parts), index),
    )


def _grouped(pairs: Iterable[tuple[int, int]]) -> dict[int, tuple[int, ...]]:
    """The second numbers by the first, each group in the order of the pairs."""
    groups: dict[int, list[int]] = {}
    for key, number in pairs:
        groups.setdefault(key, []).append(number)
    return {key: tuple(numbers) for key, numbers in groups.items()}


def _stage_of(stages: Sequence[Stage], count: int) -> tuple[int, ...]:
    stage_of = [-1] * count
    for number, stage in enumerate(stages):
        for task in stage.tasks:
            stage_of[task] = number
    return tuple(stage_of)


def _joins(tasks: Sequence[TaskSpec], index: dict[str, int]) -> tuple[Join, ...]:
    waiting: dict[tuple[On, tuple[str, ...]], list[int]] = {}
    for number, task in enumerate(tasks):
        if task.depends_on:
            waiting.setdefault(("success", task.depends_on), []).append(number)
        if task.on_failure_of:
            waiting.setdefault(("failure", task.on_failure_of), []).append(number)
        if task.on_end_of:
            waiting.setdefault(("always", task.on_end_of), []).append(number)
    return tuple(
        Join(tuple(index[name] for name in upstream), tuple(numbers), on)
        for (on, upstream), numbers in waiting.items()
    )


def _handlers(joins: Sequence[Join], leads: Mapping[int, Sequence[Lead]]) -> Iterator[int]:
    for join in joins:
        if join.on != "success":
            yield from join.waiting
    for found in leads.values():
        yield from (lead.target for lead in found if lead.on == "failure")


def _handled(joins: Sequence[Join], leads: Mapping[int, Sequence[Lead]]) -> Iterator[int]:
    for join in joins:
        if join.on == "failure":
            yield from join.upstream
    for source, found in leads.items():
        if any(lead.on == "failure" for lead in found):
            yield source


def _leads(task: TaskSpec, index: Mapping[str, int]) -> tuple[Lead, ...]:
    if task.on_success is None and task.on_error.next is None:
        return ()
    given: tuple[tuple[On, Transition | None], ...] = (
        ("success", task.on_success),
        ("failure", task.on_error.next),
    )
    return tuple(
        Lead(on, index[to.next], None if to.with_ is None else compile_template(dict(to.with_)))
        for on, to in given
        if to is not None
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


def _order(joins: Sequence[Join], leads: Mapping[int, Sequence[Lead]], count: int) -> tuple[int, ...]:
    """Topological, over edges and transitions; a join is passed once, however many tasks it joins."""
    unmet_of_join = [len(join.upstream) for join in joins]
    after: list[list[int]] = [[] for _ in range(count)]
    for number, join in enumerate(joins):
        for upstream in join.upstream:
            after[upstream].append(number)
    unmet = [0] * count
    for join in joins:
        for task in join.waiting:
            unmet[task] += 1
    for found in leads.values():
        for lead in found:
            unmet[lead.target] += 1
    order = [task for task in range(count) if not unmet[task]]
    for task in order:  # grows while it is read
        freed = [lead.target for lead in leads.get(task, ())]
        for number in after[task]:
            unmet_of_join[number] -= 1
            if not unmet_of_join[number]:
                freed.extend(joins[number].waiting)
        for target in freed:
            unmet[target] -= 1
            if not unmet[target]:
                order.append(target)
    return tuple(order)


def _task_templates(task: TaskSpec) -> TaskTemplates | None:
    has_fallback = task.on_error.has_fallback_value
    if not has_fallback and all(part is None for part in (task.when, task.with_, task.outputs)):
        return None
    return TaskTemplates(
        when=None if task.when is None else condition(task.when),
        with_=None if task.with_ is None else compile_template(dict(task.with_)),
        outputs=None if task.outputs is None else compile_template(dict(task.outputs)),
        fallback_value=compile_template(task.on_error.fallback_value) if has_fallback else None,
    )


def _runner_templates(runner: Runner | None, env: Mapping[str, Any]) -> RunnerTemplates | None:
    argv = None
    if isinstance(runner, CommandRunner) and not isinstance(runner.command, str):
        argv = _argv_templates(runner.command, shell_item(runner.command))
    if isinstance(runner, ScriptRunner) and runner.args:
        argv = _argv_templates(runner.args, None)
    http = http_templates(runner) if isinstance(runner, HttpRunner) else None
    if not env and argv is None and http is None:
        return None
    return RunnerTemplates(compile_template(dict(env), secrets=True), argv, http)


def _argv_templates(argv: tuple[str, ...], opaque: int | None) -> tuple[Template | str, ...]:
    return tuple(item if i == opaque else compile_template(item, secrets=True) for i, item in enumerate(argv))


def _parts(each: Sequence[TaskTemplates | RunnerTemplates | None]) -> Iterator[Expression | Template]:
    for templates in each:
        if templates is not None:
            yield from templates.parts


def _secret_names(each: Sequence[RunnerTemplates | None]) -> tuple[SecretName, ...]:
    names = (
        name
        for templates in each
        if templates is not None
        for part in templates.parts
        if isinstance(part, Template)
        for name in part.secret_names
    )
    return tuple(dict.fromkeys(names))


def _is_read(parts: Iterable[Expression | Template], index: Mapping[str, int]) -> tuple[bool, ...]:
    read = [False] * len(index)
    for part in parts:
        for path in part.paths:
            if path == ("tasks",):
                return (True,) * len(index)
            if path[0] == "tasks" and path[1] in index:
                read[index[path[1]]] = True
    return tuple(read)
