"""Both YAML parsers over one text: what each reads, with positions and problems, and where they are known to differ."""

from __future__ import annotations

import re
from collections.abc import Callable

from actorflow.spec.bounds import Bounds
from actorflow.spec.text.composer import _Composer
from actorflow.spec.text.nodes import BROKEN, ListNode, MapNode, Node
from actorflow.spec.text.parsers import NextEvent, SyntaxFault, c_events, pure_events
from actorflow.spec.text.report import Report
from actorflow.spec.text.source import only_text


def by_parser(events: NextEvent, bounds: Bounds | None = None) -> tuple[_Composer, SyntaxFault | None]:
    composer = _Composer(bounds or Bounds())
    return composer, composer.run(events)


def shape(node: Node) -> object:
    """Values, types and positions, so that nothing that is read from a node can differ unseen."""
    if isinstance(node, MapNode):
        return (node.mark, [(k, node.key_marks[k], node.marks[k], shape(v)) for k, v in node.items()])
    if isinstance(node, ListNode):
        return (node.mark, node.marks, [shape(item) for item in node])
    return "broken" if node is BROKEN else repr(node)


def _tab(text: str, fault: SyntaxFault) -> bool:
    """A tab in or behind plain text, as in `a:<tab>b`: to YAML 1.2 it is space, and the pure parser stops at it."""
    return "\t" in text.split("\n")[fault.mark[0] - 1]


def _name(text: str, _fault: SyntaxFault) -> bool:
    """A sign such as `:` right behind an anchor or alias: to YAML 1.2 part of the name, to the C parser its end."""
    return re.search(r"[&*][\w-]+[:?%@`]", text) is not None


def _comment(_text: str, fault: SyntaxFault) -> bool:
    """A comment right behind `|` or `>`, as in `a: |# why`: to YAML 1.2 it needs a space before it."""
    return "block scalar" in (fault.context or "") and "found '#'" in fault.problem


_TEXT_DOCUMENT = re.compile(r"(?:\s|#.*|[!&]\S*|---(?=\s))*[|>]")
"""A block of text that is the whole document, and so no workflow: to the pure parser, `---` in a line of it is more text."""

KNOWN: tuple[Callable[[str, SyntaxFault], bool], ...] = (_tab, _name, _comment)
"""What the C parser accepts and the other refuses."""


def assert_both_agree(text: str) -> bool:
    """What the C parser accepts, both read alike, with the same problems; says whether it was accepted."""
    readable, _ = only_text(text, Report())
    fast, fault = by_parser(c_events(readable))
    if fault is not None:
        return False
    pure, pure_fault = by_parser(pure_events(readable))
    if pure_fault is not None:
        assert any(known(readable, pure_fault) for known in KNOWN), (readable, pure_fault)
        return True
    if _TEXT_DOCUMENT.match(readable):
        return True
    assert shape(fast.root) == shape(pure.root)
    assert fast.problems == pure.problems
    assert (fast.node_count, fast.added_count) == (pure.node_count, pure.added_count)
    return True
