"""Agents: keys that only the agent understands become its `options`."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from actorflow.spec.compat.aside import SetAside
from actorflow.spec.compat.trees import each, mark_of
from actorflow.spec.compat.words import AGENT_DEFAULTS, AGENT_OPTIONS
from actorflow.spec.text.nodes import MapNode, Node

__all__ = ["input_defaults", "with_agents", "with_options"]

_RUNNERS: Final = frozenset({"python", "command", "script", "http"})
_OF_A_COMMAND: Final = frozenset({"cwd"})


def with_agents(root: MapNode, aside: SetAside) -> MapNode:
    """The definition with each agent's options gathered; keys of the workflow that are for all agents go to each."""
    shared = [key for key in AGENT_DEFAULTS if key in root]
    agents = root.get("agents")
    if not isinstance(agents, MapNode) or not agents:
        return root
    runners = [agent for agent in agents.values() if isinstance(agent, MapNode) and _has_runner(agent)]
    lost = [key for key in shared if any(key not in runner for runner in runners)]
    aside.strip(root, lost, "an agent that says how it runs does not get it")
    root = each(root, "agents", lambda agent: _with_options(agent, root, shared))
    return root.without(shared) if shared else root


def _has_runner(agent: MapNode) -> bool:
    return not agent.keys().isdisjoint(_RUNNERS)


def _with_options(agent: MapNode, root: MapNode, shared: list[str]) -> MapNode:
    if _has_runner(agent):
        return with_options(agent, AGENT_OPTIONS - _OF_A_COMMAND)
    whole = agent
    missing = [key for key in shared if key not in agent]
    if missing:
        whole = agent.without(())
        for key in missing:
            whole.take(root, key)
    return with_options(whole, AGENT_OPTIONS)


def with_options(node: MapNode, keys: Container[str]) -> MapNode:
    """The agent or task with those keys moved into its `options`; options that are there already come first."""
    found = [key for key in node if key in keys]
    given = node.get("options")
    if not found or not isinstance(given, MapNode | None):
        return node
    options = given.without(()) if isinstance(given, MapNode) else MapNode(node.mark)
    for key in found:
        if key not in options:
            options.take(node, key)
    return node.without(found).with_entry("options", options, mark_of(node, "options"))


def input_defaults(root: MapNode) -> dict[str, dict[str, Node]]:
    """By agent: the values of its declared inputs, which texts of its tasks read as `${agent.x}`."""
    agents = root.get("agents")
    found: dict[str, dict[str, Node]] = {}
    for name, agent in agents.items() if isinstance(agents, MapNode) else ():
        inputs = agent.get("inputs") if isinstance(agent, MapNode) else None
        if isinstance(inputs, MapNode):
            found[name] = {
                key: spec["default"]
                for key, spec in inputs.items()
                if isinstance(spec, MapNode) and "default" in spec
            }
    return found
