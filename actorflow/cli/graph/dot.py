"""A graph in DOT, the language of Graphviz."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from actorflow.cli.graph.labels import FILLS, label_lines, numbers, title
from actorflow.cli.graph.model import Edge, EdgeKind, Graph, Node
from actorflow.cli.screen import as_line

_STYLES: Final[dict[EdgeKind, str]] = {"success": "solid", "always": "bold"}
_OTHER_STYLE: Final = "dashed"


def dot(graph: Graph) -> str:
    """The graph as a digraph: nodes go by numbers, and every text is a quoted string."""
    number = numbers(graph)
    lines = [
        "digraph workflow {",
        f"  label={_quoted([title(graph)])};",
        "  compound=true;",
        '  node [shape=box, style="rounded,filled", fillcolor="#ffffff"];',
    ]
    for i, stage in enumerate(graph.stages):
        inside = [f"  {line}" for node in graph.in_stage(stage.name) for line in _boxes(graph, node, number)]
        lines += [f"  subgraph cluster_s{i} {{", f"    label={_quoted([stage.name])};", *inside, "  }"]
    for node in graph.in_stage(None):
        lines += _boxes(graph, node, number)
    lines += [_arrow(edge, number) for edge in graph.edges]
    lines += _barriers(graph, number)
    return "\n".join([*lines, "}"])


def _boxes(graph: Graph, node: Node, number: dict[str, int]) -> Iterator[str]:
    """The lines of a node, and of those inside it, in a cluster of their own."""
    fill = FILLS.get(node.status or "pending", FILLS["pending"])
    own = f'  n{number[node.id]} [label={_quoted(label_lines(node))}, fillcolor="{fill}"];'
    children = graph.inside(node)
    if not children:
        yield own
        return
    yield f"  subgraph cluster_c{number[node.id]} {{"
    yield f"    label={_quoted([f'in {node.name}'])};"
    yield f"  {own}"
    for child in children:
        yield from (f"  {line}" for line in _boxes(graph, child, number))
    yield "  }"


def _arrow(edge: Edge, number: dict[str, int]) -> str:
    words = f"label={_quoted([edge.caption])}, " if edge.caption else ""
    style = _STYLES.get(edge.kind, _OTHER_STYLE)
    return f"  n{number[edge.source]} -> n{number[edge.target]} [{words}style={style}];"


def _barriers(graph: Graph, number: dict[str, int]) -> Iterator[str]:
    """From a stage to the one behind it: a line between clusters must name a node in each."""
    index = {stage.name: i for i, stage in enumerate(graph.stages)}
    first = {stage.name: number[graph.in_stage(stage.name)[0].id] for stage in graph.stages}
    for stage in graph.stages:
        for earlier in stage.after:
            ends = f"ltail=cluster_s{index[earlier]}, lhead=cluster_s{index[stage.name]}"
            yield f"  n{first[earlier]} -> n{first[stage.name]} [{ends}, style=dotted];"


def _quoted(lines: Sequence[str]) -> str:
    """Lines as one string: Graphviz reads backslashes, and entities such as `&lt;`, in it."""
    texts = (as_line(line).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;") for line in lines)
    return '"' + "\\n".join(texts) + '"'
