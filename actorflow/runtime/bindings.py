"""Who performs what: the agents that a workflow names, bound before the run exists."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from attrs import field, frozen

from actorflow.agents.binding import is_python, performer_for
from actorflow.agents.call import AgentCall, Performer
from actorflow.agents.python import AgentThreads
from actorflow.core.plan import plan_of
from actorflow.egress.guard import Guard
from actorflow.errors import BindError, SpecError, UnboundAgentsError
from actorflow.hooks.registry import HookRegistry
from actorflow.http.client import Requester
from actorflow.processes import Trees
from actorflow.runtime.environment import inherited_environment
from actorflow.runtime.task_actor import Performers
from actorflow.spec.entries import chosen
from actorflow.spec.model import HttpRunner, PythonRunner, Runner, WorkflowSpec
from actorflow.spec.unsupported import unsupported

Agent: TypeAlias = str | Callable[[AgentCall], Any]
"""A runner word (`echo`, `fail`, `sleep:1s`, `python:MODULE:FUNCTION`, `command:SHELL`), or a callable."""

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

IN_CODE = "code"
"""What a run records of an agent that was bound to a callable: nobody else can bind it again."""


BOUND_KEPT = 64
"""Definitions whose performers are remembered: a thousand runs of one definition are bound once."""


@frozen
class Bound:
    """What a definition was bound to."""

    spec: WorkflowSpec
    performers: Performers
    recorded: Mapping[str, str]


@frozen
class Binder:
    """Binds the agents of workflows to what this runtime was given."""

    agents: Mapping[str, Agent]
    trees: Trees
    threads: AgentThreads
    registry: HookRegistry
    http: Requester
    guard: Guard
    _bound: OrderedDict[int, Bound] = field(factory=OrderedDict[int, Bound])
    _chosen: OrderedDict[tuple[int, str], tuple[WorkflowSpec, WorkflowSpec]] = field(
        factory=OrderedDict[tuple[int, str], tuple[WorkflowSpec, WorkflowSpec]]
    )

    def chosen(self, spec: WorkflowSpec, workflow: str | None) -> WorkflowSpec:
        """The entry of a definition that is to run: the same object each time, so that it is bound once.

        Raises:
            BadInputError: there is no such entry, or a choice is left.
        """
        if not spec.entries or workflow is None:
            return chosen(spec, workflow)
        key = (id(spec), workflow)
        known = self._chosen.get(key)
        if known is None or known[0] is not spec:
            known = self._chosen[key] = (spec, chosen(spec, workflow))
            if len(self._chosen) > BOUND_KEPT:
                self._chosen.popitem(last=False)
        return known[1]

    def bind_new(self, spec: WorkflowSpec, recorded: Mapping[str, str] = _NOTHING) -> Bound:
        """Bind a definition for a new run; arguments and errors as for `bind`. Once, as long as it is remembered.

        Raises:
            SpecError: the definition says what a run of this version cannot do.
            BindError: a hook is of an action that this program has not registered.
        """
        bound = self._bound.get(id(spec))
        if bound is None or bound.spec is not spec:
            own = self.recorded(spec)
            self._check_hooks(spec, recorded)
            bound = self._bound[id(spec)] = Bound(spec, self.bind(spec, recorded), {**recorded, **own})
            if len(self._bound) > BOUND_KEPT:
                self._bound.popitem(last=False)
        return bound

    def may_block(self, spec: WorkflowSpec, recorded: Mapping[str, str]) -> bool:
        """Whether binding imports modules."""
        if id(spec) in self._bound and not recorded:
            return False
        declared = [agent.runner for agent in spec.agents.values()] + [task.runner for task in spec.tasks]
        words = [*self.agents.values(), *recorded.values()]
        is_path = any(isinstance(word, str) and word.startswith("python:") for word in words)
        return is_path or any(isinstance(runner, PythonRunner) for runner in declared)

    def bind(self, spec: WorkflowSpec, recorded: Mapping[str, str] | None = None) -> Performers:
        """Make the performers of a run. May import modules, and so block.

        An exact name that this runtime was given comes first, then one that the run has recorded, then the runner
        that the file declares, then `*`, given or recorded.

        Raises:
            UnboundAgentsError: with every name that has nothing to run it.
            BindError: something that was named can't be made an agent.
        """
        chosen = {name: self._choice(spec, name, recorded or {}) for name in spec.agent_names}
        unbound = tuple(name for name, runner in chosen.items() if runner is None or runner == IN_CODE)
        if unbound:
            raise UnboundAgentsError(unbound)
        env = inherited_environment(spec)
        inline = {task.id: task.runner for task in spec.tasks if task.runner}
        return Performers(
            named={name: self._make(spec, name, runner, env) for name, runner in chosen.items() if runner},
            inline={name: self._make(spec, name, runner, env) for name, runner in inline.items()},
            descriptions={name: agent.description for name, agent in spec.agents.items()},
            options={name: agent.options for name, agent in spec.agents.items()},
            soft_errors=frozenset(name for name, agent in spec.agents.items() if agent.soft_errors),
            as_declared=frozenset(
                name
                for name, runner in chosen.items()
                if name in spec.agents and runner is spec.agents[name].runner
            ),
            makes_requests=any(
                isinstance(runner, HttpRunner) for runner in (*chosen.values(), *inline.values())
            ),
            named_python=frozenset(name for name, runner in chosen.items() if runner and is_python(runner)),
            inline_python=frozenset(name for name, runner in inline.items() if is_python(runner)),
        )

    def unused(self, spec: WorkflowSpec) -> tuple[str, ...]:
        """Names that were bound and that the workflow does not use."""
        used = {*spec.agent_names, *spec.dispatch_agents, "*"}
        return tuple(name for name in self.agents if name not in used)

    def recorded(self, spec: WorkflowSpec) -> dict[str, str]:
        """What a run records of its bindings, so that it can be resumed without being told again.

        Raises:
            SpecError: the definition says what a run of this version cannot do.
        """
        refused = unsupported(spec)
        if refused:
            raise SpecError(refused)
        used = {*spec.agent_names, *spec.dispatch_agents, "*"}
        given = {name: agent for name, agent in self.agents.items() if name in used}
        return {name: agent if isinstance(agent, str) else IN_CODE for name, agent in given.items()}

    def _check_hooks(self, spec: WorkflowSpec, recorded: Mapping[str, str]) -> None:
        """See that the hooks of a new run can act at all."""
        config = plan_of(spec).hooks
        unknown = dict.fromkeys(
            entry.spec.action for entry in config.entries if self.registry.action(entry.spec.action) is None
        )
        unknown.pop("transform", None)
        if unknown:
            names = ", ".join(map(repr, unknown))
            raise BindError(
                f"this program has no hook action {names}: register it with hook_action, or Runtime(hooks=…)"
            )
        started = [
            name for name in spec.dispatch_agents if self._choice(spec, name, recorded) in (None, IN_CODE)
        ]
        if started:
            raise UnboundAgentsError(tuple(started))

    def _choice(self, spec: WorkflowSpec, name: str, recorded: Mapping[str, str]) -> Agent | Runner | None:
        if name in self.agents:
            return self.agents[name]
        if recorded.get(name) == IN_CODE:
            return self.agents.get("*")
        if name in recorded:
            return recorded[name]
        declared = spec.agents[name].runner if name in spec.agents else None
        return declared or self.agents.get("*") or recorded.get("*")

    def _make(
        self, spec: WorkflowSpec, name: str, runner: Agent | Runner, env: Mapping[str, str]
    ) -> Performer:
        try:
            return performer_for(
                runner,
                folder=spec.folder,
                env=env,
                trees=self.trees,
                threads=self.threads,
                http=self.http,
                guard=self.guard,
                trust=spec.trust,
            )
        except BindError as error:
            raise BindError(f"agent {name!r}: {error}") from error
