"""Which agents a command hands to a runtime: those that its words bind, and those of actorflow.toml."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce

from actorflow.cli.settings import Settings
from actorflow.core.events import RunStarted
from actorflow.runtime.bindings import IN_CODE
from actorflow.spec.model import WorkflowSpec

__all__ = ["for_new_run", "for_runs"]


def for_new_run(settings: Settings, given: Mapping[str, str], spec: WorkflowSpec) -> dict[str, str]:
    """The agents of a run that begins: what is typed comes first, and of the others those that it has a use for."""
    used = {*spec.agent_names, *spec.dispatch_agents, "*"}
    others = settings.configuration.agents
    return {**{name: word for name, word in others.items() if name in used}, **given}


def for_runs(
    settings: Settings, given: Mapping[str, str], runs: Iterable[tuple[WorkflowSpec, RunStarted]]
) -> dict[str, str]:
    """The agents of runs that go on: what is typed, and of the others those that no run has a runner for.

    A run goes on as it began, so actorflow.toml only steps in for what was bound in code, or is new.
    """
    others = settings.configuration.agents
    if not others:
        return dict(given)
    bound = reduce(set[str].union, (_bound(spec, started.bindings) for spec, started in runs), set[str]())
    return {**{name: word for name, word in others.items() if name not in bound}, **given}


def _bound(spec: WorkflowSpec, recorded: Mapping[str, str]) -> set[str]:
    """The names that a run has a runner for: recorded as a word, or declared."""
    words = {name for name, word in recorded.items() if word != IN_CODE}
    if "*" in words:
        return {*words, *spec.agent_names, *spec.dispatch_agents}
    declared = {name for name, agent in spec.agents.items() if agent.runner is not None}
    return words | (declared - recorded.keys())
