"""A graph as Mermaid's flowchart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from actorflow.cli.graph.labels import FILLS, label_lines, numbers, title
from actorflow.cli.graph.model import EdgeKind, Graph, Node
from actorflow.cli.screen import as_line

_ARROWS: Final[dict[EdgeKind, str]] = {"success": "-->", "always": "==>"}
_OTHER_ARROW: Final = "-.->"
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9 _.,:/()-]")


def mermaid(graph: Graph) -> str:
    """The graph as a flowchart.

    Nodes go by numbers, and each character of a text that could be syntax is written as its number: no id, description
    or condition can be anything but text.
    """
    number = numbers(graph)
    lines = ["---", f"title: {_yaml_string(title(graph))}", "---", "flowchart TD"]
    for i, stage in enumerate(graph.stages):
        inside = (line for node in graph.in_stage(stage.name) for line in _boxes(graph, node, number))
        lines += [f'  subgraph s{i}["{_safe(stage.name)}"]', *(f"  {line}" for line in inside), "  end"]
    known = {stage.name: i for i, stage in enumerate(graph.stages)}
    for node in graph.in_stage(None):
        lines += _boxes(graph, node, number)
    for edge in graph.edges:
        words = f'|"{_safe(edge.caption)}"|' if edge.caption else ""
        arrow = _ARROWS.get(edge.kind, _OTHER_ARROW)
        lines.append(f"  n{number[edge.source]} {arrow}{words} n{number[edge.target]}")
    for i, stage in enumerate(graph.stages):
        lines += [f"  s{known[earlier]} --> s{i}" for earlier in stage.after]
    return "\n".join([*lines, *_classes(graph, number)])


def _boxes(graph: Graph, node: Node, number: dict[str, int]) -> Iterator[str]:
    """The lines of a node, and of those inside it, in a box of their own."""
    own = f'  n{number[node.id]}["{"<br/>".join(map(_safe, label_lines(node)))}"]'
    children = graph.inside(node)
    if not children:
        yield own
        return
    yield f'  subgraph c{number[node.id]}["in {_safe(node.name)}"]'
    yield f"  {own}"
    for child in children:
        yield from (f"  {line}" for line in _boxes(graph, child, number))
    yield "  end"


def _classes(graph: Graph, number: dict[str, int]) -> Iterator[str]:
    for status in sorted({node.status for node in graph.nodes if node.status}):
        fill = FILLS.get(status, FILLS["pending"])
        members = ",".join(f"n{number[node.id]}" for node in graph.nodes if node.status == status)
        yield f"  classDef {status} fill:{fill},stroke:#555,color:#000"
        yield f"  class {members} {status}"


def _yaml_string(text: str) -> str:
    """A text for the front matter: Mermaid changes what looks like a tag there before it reads the YAML."""
    return '"' + _UNSAFE.sub(lambda found: f"\\U{ord(found[0]):08x}", as_line(text)) + '"'


def _safe(text: str) -> str:
    return _UNSAFE.sub(lambda found: f"#{ord(found[0])};", as_line(text))
