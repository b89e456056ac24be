"""The `agents:` of a file, each by itself."""

from __future__ import annotations

from actorflow.spec.model import AgentSpec
from actorflow.spec.readers.block import Block
from actorflow.spec.readers.draft import Draft, Scope, read_data, read_id
from actorflow.spec.readers.runners import read_env, read_runner
from actorflow.spec.readers.words import AGENT

__all__ = ["read_agents", "read_options"]


def read_agents(draft: Draft, root: Block) -> None:
    """Read `agents:` into the draft."""
    agents = root.block("agents")
    if agents is None:
        return
    scope = Scope("agent", draft.top, secrets=True)
    for name, block in agents.children():
        if read_id(agents, name, name, "an agent"):
            block.allow(AGENT)
            draft.agents[name] = AgentSpec(
                name=name,
                description=block.text("description") or "",
                runner=read_runner(draft, block, scope),
                env=read_env(draft, block, scope),
                timeout=block.duration("timeout"),
                soft_errors=block.boolean("soft_errors") or False,
                options=read_options(draft, block),
            )


def read_options(draft: Draft, block: Block) -> dict[str, object]:
    """`options:`, which only the agent understands: nothing of ours is looked for in them."""
    options = block.block("options")
    return {} if options is None else {key: read_data(draft, options, key, None) for key in options.node}
