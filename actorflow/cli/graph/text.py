"""A graph as text: a line for each task, in the order in which they can start, and behind it what it waits for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from attrs import frozen

from actorflow.cli.graph.labels import title
from actorflow.cli.graph.model import Edge, Graph, GraphStage, Node
from actorflow.cli.layout import counted, row_lines, wrapped
from actorflow.cli.screen import as_line
from actorflow.cli.terminal import Terminal, cut

_MOST_NAMED: Final = 10  # tasks that a line names
_LONGEST_CONDITION: Final = 60  # characters

Row = tuple[str, str, str, str]

_HEAD: Final[Row] = ("TASK", "STATUS", "AGENT", "AFTER")


@frozen
class Marks:
    """What the drawing is made of."""

    alone: str
    first: str
    middle: str
    last: str
    down: str
    arrow: str
    more: str

    def bracket(self, index: int, count: int) -> str:
        """The mark of one of several tasks that may run side by side."""
        if count == 1:
            return self.alone
        return self.first if index == 0 else self.last if index == count - 1 else self.middle


_UNICODE: Final = Marks("─", "┌", "├", "└", "│", "←", "…")
_ASCII: Final = Marks("-", "/", "|", "\\", "|", "<-", "...")


def text(graph: Graph, terminal: Terminal) -> str:
    """The graph in lines that are no wider than the terminal; of any length where it is none.

    Tasks of one bracket may run side by side; those below them come later. What is in a container is indented below it.
    """
    size = _wrapped(_size(graph), terminal)
    if not graph.nodes:
        return "\n".join(size)
    marks = _UNICODE if terminal.is_unicode else _ASCII
    groups = [(heading, [*_drawn(graph, nodes, "", marks)]) for heading, nodes in _groups(graph)]
    before = _before(graph)
    rows = [_HEAD, *(_row(lead, node, before, marks) for _, placed in groups for lead, node in placed)]
    has_statuses = any(node.status for node in graph.nodes)
    drawn = iter(_fitted(rows, terminal, marks, has_statuses=has_statuses))
    lines = [*size, "", *next(drawn)]
    for heading, placed in groups:
        lines += _wrapped(heading, terminal) if heading else []
        for lead, node in placed:
            first, *more = next(drawn)
            lines += [_tinted(first, lead, node, terminal), *more]
    return "\n".join(lines)


def _groups(graph: Graph) -> Iterator[tuple[str, Sequence[Node]]]:
    """The tasks of each stage, then those of none, each with what stands above them."""
    for stage in graph.stages:
        yield _heading(stage), graph.in_stage(stage.name)
    others = graph.in_stage(None)
    if others:
        yield "in no stage" if graph.stages else "", others


def _fitted(rows: Sequence[Row], terminal: Terminal, marks: Marks, *, has_statuses: bool) -> list[list[str]]:
    """The lines of each row, without the column of statuses where there are none."""
    columns = [i for i, name in enumerate(_HEAD) if has_statuses or name != "STATUS"]
    spare = [columns.index(_HEAD.index("AGENT"))]
    shown = [[row[i] for i in columns] for row in rows]
    return row_lines(shown, width=terminal.width, spare=spare, mark=marks.more)


def _tinted(line: str, lead: str, node: Node, terminal: Terminal) -> str:
    """A line whose task has the colour of its status, where there are colours."""
    start, end = len(lead), len(lead) + len(node.name)
    return terminal.painted([(line[:start], ""), (line[start:end], node.status or ""), (line[end:], "")])


def _size(graph: Graph) -> str:
    counts = {"task": len(graph.nodes), "edge": len(graph.edges), "stage": len(graph.stages)}
    facts = [counted(count, noun) for noun, count in counts.items() if count]
    return as_line(f"{title(graph)}: {', '.join(facts) or 'no tasks'}")


def _heading(stage: GraphStage) -> str:
    after = f", after {', '.join(stage.after)}" if stage.after else ""
    return as_line(f"stage {stage.name}{after}")


def _wrapped(line: str, terminal: Terminal) -> list[str]:
    return [line] if terminal.width is None else wrapped(line, terminal.width)


def _drawn(graph: Graph, nodes: Sequence[Node], lead: str, marks: Marks) -> Iterator[tuple[str, Node]]:
    """The tasks by their layers, each with what stands before its name."""
    for _, found in groupby(sorted(nodes, key=lambda node: node.layer), key=lambda node: node.layer):
        layer = [*found]
        for index, node in enumerate(layer):
            yield f"{lead}{marks.bracket(index, len(layer))} ", node
            is_open = len(layer) > 1 and index < len(layer) - 1
            below = f"{lead}{marks.down if is_open else ' '} "
            yield from _drawn(graph, graph.inside(node), below, marks)


def _before(graph: Graph) -> Mapping[str, Sequence[Edge]]:
    """The edges to each task."""
    before: dict[str, list[Edge]] = {}
    for edge in graph.edges:
        before.setdefault(edge.target, []).append(edge)
    return before


def _row(lead: str, node: Node, before: Mapping[str, Sequence[Edge]], marks: Marks) -> Row:
    edges = before.get(node.id, ())
    named = ", ".join(map(_source, edges[:_MOST_NAMED]))
    more = f", {marks.more} {len(edges) - _MOST_NAMED} more" if len(edges) > _MOST_NAMED else ""
    after = [f"{marks.arrow} {named}{more}"] if edges else []
    when = [f"when {cut(as_line(node.when), _LONGEST_CONDITION, marks.more)}"] if node.when else []
    return (f"{lead}{node.name}", node.status or "", node.performer or "-", "; ".join([*after, *when]))


def _source(edge: Edge) -> str:
    name = edge.source.rpartition(".")[2]
    return f"{name} ({edge.caption})" if edge.caption else name
