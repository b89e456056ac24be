"""What the drawings of a graph have in common: the texts of their nodes, and the colours of statuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from actorflow.cli.graph.model import Graph, Node
from actorflow.cli.screen import as_line
from actorflow.cli.terminal import cut

FILLS: Final[Mapping[str, str]] = {
    "success": "#b7e4c7",
    "failed": "#ffb3b3",
    "running": "#a9d6ff",
    "waiting": "#ffe5a0",
    "skipped": "#e0e0e0",
    "canceled": "#d5c4e8",
    "pending": "#ffffff",
}
"""By status; it stands in the text as well."""

_LONGEST_TEXT: Final = 60  # characters of a description or a condition


def label_lines(node: Node) -> list[str]:
    """The lines of a node: its id and status, and what there is to say of it."""
    status = f" [{node.status}]" if node.status else ""
    when = f"when {node.when}" if node.when else ""
    texts = (f"{node.name}{status}", node.description, node.performer, when)
    return [cut(as_line(text), _LONGEST_TEXT) for text in texts if text]


def title(graph: Graph) -> str:
    """The workflow, and which one of its file it is."""
    return graph.name if graph.entry is None else f"{graph.name} ({graph.entry})"


def numbers(graph: Graph) -> dict[str, int]:
    """A number for each node, by its id."""
    return {node.id: i for i, node in enumerate(graph.nodes)}
