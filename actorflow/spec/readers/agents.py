"""The `agents:` of a file, each by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from actorflow.spec.model import AgentSpec
from actorflow.spec.readers.block import Block
from actorflow.spec.readers.draft import Draft, Scope, read_data, read_id
from actorflow.spec.readers.runners import read_env, read_runner
from actorflow.spec.readers.words import AGENT
from actorflow.spec.text.nodes import NOWHERE, ListNode, MapNode, Mark, Node

__all__ = ["read_agents", "read_options"]

# `${{ … }}` is another tool's, and so are names that the file does not declare
_SECRET: Final = re.compile(
    r"\$\{(?P<variable>[A-Z_][A-Z0-9_]*)\}|(?<!\$)\{\{\s*secrets\.(?P<name>[A-Za-z_][\w-]*)\s*\}\}"
)


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
    """`options:`, which only the agent understands: nothing of ours is looked for in them but secrets of the file.

    They would reach the agent as they are written.
    """
    options = block.block("options")
    if options is None:
        return {}
    for text, mark, path in _texts(options.node, options.node.mark, options.path):
        _refuse_secrets(draft, text, mark, path)
    return {key: read_data(draft, options, key, None) for key in options.node}


def _texts(node: Node, mark: Mark, path: str) -> Iterator[tuple[str, Mark, str]]:
    if isinstance(node, str):
        if "${" in node or "{{" in node:
            yield node, mark, path
    elif isinstance(node, MapNode):
        for key, value in node.items():
            yield from _texts(value, node.marks.get(key, NOWHERE), f"{path}.{key}")
    elif isinstance(node, ListNode):
        for index, (item, at) in enumerate(zip(node, node.marks, strict=True)):
            yield from _texts(item, at, f"{path}[{index}]")


def _refuse_secrets(draft: Draft, text: str, mark: Mark, path: str) -> None:
    for found in _SECRET.finditer(text):
        is_declared = (found["variable"] or found["name"]) in draft.secrets
        if is_declared or (found["name"] and found[0] == text):
            at = draft.report.within(mark, text, found.start() + 1)
            message = f"{path}: options are given as they are written, so {found[0]} would be no secret there"
            draft.report.add(
                "E305", at, message, f"pass it in env: of the agent or task: {{NAME: {found[0]!r}}}"
            )
