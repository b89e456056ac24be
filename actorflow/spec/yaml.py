"""YAML text to nodes with positions: YAML 1.2, one document, nothing that can run and nothing that can swell.

A composer of our own over a parser's events. Aliases share what they name, so that nothing is ever expanded; what an
expansion would add is counted against a budget as each alias is met, and a bomb is refused at the first alias that
passes it. Nothing here recurses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, cast, final

from attrs import frozen
from ruamel.yaml import events as ruamel

from actorflow.spec.bounds import Bounds
from actorflow.spec.nodes import BROKEN, Broken, ListNode, MapNode, Mark, Node, kind_of
from actorflow.spec.parsers import Event, NextEvent, SyntaxFault, YAMLError, c_events, fault_of, pure_events
from actorflow.spec.report import Report
from actorflow.spec.scalars import NOT_ALWAYS_TEXT, AbsurdNumberError, resolve

__all__ = ["compose"]


def compose(text: str, report: Report, bounds: Bounds) -> Node:
    """Compose the one document of a text that holds no control characters.

    Returns:
        The root; `BROKEN`, or parts that are, where `report` was told of problems.
    """
    composer = _Composer(bounds)
    fault = composer.run(c_events(text))
    if fault is not None and len(text) <= bounds.second_parse_chars:
        second = _Composer(bounds)
        second_fault = _run_pure(second, text)
        if second_fault != _NO_VERDICT:
            composer, fault = second, second_fault
    for problem in composer.problems:
        report.add(problem.code, problem.mark, problem.message, problem.hint)
    if fault is not None:
        report.add("E110", fault.mark, f"this is not YAML: {fault.message}", _syntax_hint(fault, report))
        return BROKEN
    return composer.root


_NO_VERDICT: Final = SyntaxFault("", (0, 0))


def _run_pure(composer: _Composer, text: str) -> SyntaxFault | None:
    try:
        return composer.run(pure_events(text))
    except Exception:  # noqa: BLE001 - that parser answers some escapes (`"\UFFFFFFFF"`) with errors of Python's own
        return _NO_VERDICT


def _syntax_hint(fault: SyntaxFault, report: Report) -> str:
    line, column = report.line(fault.mark[0]), fault.mark[1]
    indent = line[: len(line) - len(line.lstrip())]
    if "\t" in indent:
        return "indent with spaces, not tabs"
    if "{{" in line:
        return 'quote a value that holds a template: "{{ … }}"'
    if "mapping values" in fault.message:
        return 'quote a value that holds ": "'
    if line[column - 1 : column] in {"@", "`", "%"}:
        return f"quote a value that begins with {line[column - 1]}"
    return ""


@frozen
class _Problem:
    code: str
    mark: Mark
    message: str
    hint: str


class _Refused(Exception):  # noqa: N818 - not an error: the way out of the loop
    """Raised to stop composing: going on would cost more than the file may."""


_MERGE: Final = Broken()
"""Stands for a plain `<<` where a key is awaited."""


@final
class _Open:
    """A mapping or list that has begun and not ended; for a mapping, `key` is the last key that was read."""

    __slots__ = ("anchor", "awaits_key", "broken", "first", "height", "key", "key_mark", "merges", "node")

    def __init__(self, node: MapNode | ListNode, anchor: str | None, first: int) -> None:
        self.node = node
        self.anchor = anchor
        self.first = first  # the number of this node: what comes between it and the last is its size
        self.height = 1  # levels, aliases followed
        self.awaits_key = type(node) is MapNode
        self.key: str | Broken = BROKEN
        self.key_mark: Mark = node.mark
        self.merges: list[MapNode] = []
        self.broken = False


@frozen
class _Anchored:
    """A complete node that has an anchor: how many nodes it stands for, and how deep they go."""

    node: Node
    size: int
    height: int


@final
class _Composer:
    def __init__(self, bounds: Bounds) -> None:
        self.problems: list[_Problem] = []
        self.root: Node = None
        self.node_count = 0  #: what is written out, and what aliases stand for
        self.added_count = 0  #: what aliases stand for
        self._bounds = bounds
        self._stack: list[_Open] = []
        self._anchors: dict[str, _Anchored | Literal["open"]] = {}
        self._has_document = False
        self._steps: Final[dict[type, Callable[[Event], None]]] = {
            ruamel.ScalarEvent: self._scalar,
            ruamel.MappingStartEvent: self._begin_mapping,
            ruamel.MappingEndEvent: self._end,
            ruamel.SequenceStartEvent: self._begin_list,
            ruamel.SequenceEndEvent: self._end,
            ruamel.AliasEvent: self._alias,
            ruamel.DocumentStartEvent: self._begin_document,
            ruamel.DocumentEndEvent: _pass_over,
            ruamel.StreamStartEvent: _pass_over,
            ruamel.StreamEndEvent: _pass_over,
        }

    def run(self, next_event: NextEvent) -> SyntaxFault | None:
        """Take all events; gives the parser's verdict where the text is not YAML."""
        steps = self._steps
        try:
            while (event := next_event()) is not None:
                steps[type(event)](event)
        except _Refused:
            self.root = BROKEN
        except YAMLError as error:
            return fault_of(error)
        return None

    def _say(self, code: str, mark: Mark, message: str, hint: str = "") -> None:
        self.problems.append(_Problem(code, mark, message, hint))

    def _begin_document(self, event: Event) -> None:
        mark = _mark(event)
        if self._has_document:
            self._say("E114", mark, "a second document begins here; a workflow file is one document")
            raise _Refused
        self._has_document = True
        if event.version is not None and tuple(event.version) != (1, 2):
            hint = "drop the %YAML line and quote words such as yes, no and on"
            self._say("E110", mark, "the file asks for another YAML than 1.2", hint)

    def _scalar(self, event: Event) -> None:
        """Two thirds of all events: what most scalars are, plain text without anchor or tag, takes few steps."""
        value: Node = event.value
        start = event.start_mark
        mark = (start.line + 1, start.column + 1)
        if event.implicit[0]:
            if not event.value or event.value[0] in NOT_ALWAYS_TEXT:
                value = self._resolved(event.value, mark)
            elif value == "<<" and self._stack and self._stack[-1].awaits_key:
                value = _MERGE
        elif not event.value.isascii():
            value = self._without_surrogates(event.value, mark)
        if event.ctag is not None:
            self._refuse_tag(event, mark)
            value = BROKEN
        self.node_count += 1
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(value, 1, 0)
        self._place(value, mark)

    def _refuse_tag(self, event: Event, mark: Mark) -> None:
        shown = str(event.tag).replace("tag:yaml.org,2002:", "!!")
        hint = "remove it, and quote the value if it is text"
        self._say("E113", mark, f"the tag {shown!r} is refused: no tags are read", hint)

    def _resolved(self, text: str, mark: Mark) -> Node:
        try:
            return resolve(text)
        except AbsurdNumberError:
            shown = text if len(text) <= 40 else f"{text[:20]}… ({len(text)} characters)"
            self._say("E119", mark, f"the number {shown} is too large to be kept", "quote it if it is text")
            return BROKEN

    def _without_surrogates(self, text: str, mark: Mark) -> Node:
        r"""Join pairs of escaped surrogates (`"\ud83d\ude00"`, as JSON writers make them); refuse a lone one."""
        try:
            text.encode()
        except UnicodeEncodeError:
            try:
                return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
            except UnicodeDecodeError:
                self._say("E111", mark, "half of a surrogate pair stands alone in this text")
                return BROKEN
        return text

    def _begin_mapping(self, event: Event) -> None:
        self._begin(event, MapNode(_mark(event)))

    def _begin_list(self, event: Event) -> None:
        self._begin(event, ListNode(_mark(event)))

    def _begin(self, event: Event, node: MapNode | ListNode) -> None:
        if event.ctag is not None:
            self._refuse_tag(event, node.mark)
        if len(self._stack) >= self._bounds.depth:
            self._refuse_depth(node.mark)
        if event.anchor is not None:
            self._anchors[event.anchor] = "open"
        self._stack.append(_Open(node, event.anchor, self.node_count))
        self.node_count += 1

    def _refuse_depth(self, mark: Mark) -> None:
        self._say("E115", mark, f"mappings and lists are nested more than {self._bounds.depth} deep")
        raise _Refused

    def _end(self, _event: Event) -> None:
        done = self._stack.pop()
        node: Node = done.node
        if done.merges and type(node) is MapNode:
            node = _merged(node, done.merges)
        if done.broken:
            node = BROKEN
        if done.anchor is not None:
            self._anchors[done.anchor] = _Anchored(node, self.node_count - done.first, done.height)
        self._deepen(done.height)
        self._place(node, done.node.mark)

    def _deepen(self, height: int) -> None:
        if self._stack and self._stack[-1].height <= height:
            self._stack[-1].height = height + 1

    def _alias(self, event: Event) -> None:
        mark, name = _mark(event), event.anchor or ""
        anchored = self._anchors.get(name)
        if anchored is None or anchored == "open":
            what = "is not defined before this alias" if anchored is None else "contains this alias: a cycle"
            self._say("E116", mark, f"the anchor {name!r} {what}")
            self._place(BROKEN, mark)
            return
        self.node_count += anchored.size
        self.added_count += anchored.size
        if self.added_count > self._bounds.added_nodes:
            limit = self._bounds.added_nodes
            self._say("E116", mark, f"aliases would add more than {limit} values to this file")
            raise _Refused
        if len(self._stack) + anchored.height > self._bounds.depth:
            self._refuse_depth(mark)
        self._deepen(anchored.height)
        self._place(anchored.node, mark)

    def _place(self, value: Node, mark: Mark) -> None:
        """Put a complete value where it belongs: into the innermost open mapping or list, or at the root."""
        if not self._stack:
            self.root = value
            return
        top = self._stack[-1]
        node = top.node
        if top.awaits_key:
            top.awaits_key = False
            top.key_mark = mark
            is_key = isinstance(value, str) or value is _MERGE
            top.key = cast("str | Broken", value) if is_key else self._refuse_key(top, value, mark)
        elif type(node) is MapNode:
            top.awaits_key = True
            key = top.key
            if value is None:
                mark = top.key_mark  # where nothing stands, parsers differ about where that is
            if type(key) is str and key not in node:
                node[key] = value
                node.key_marks[key] = top.key_mark
                node.marks[key] = mark
            else:
                self._put_odd(top, node, value, mark)
        else:
            node.append(value)
            node.marks.append(mark)

    def _put_odd(self, top: _Open, node: MapNode, value: Node, mark: Mark) -> None:
        key = top.key
        if isinstance(key, str):
            first = node.key_marks[key][0]
            self._say("E112", top.key_mark, f"the key {key!r} appears twice; the first is in line {first}")
        elif key is _MERGE:
            self._merge(top, value, mark)

    def _refuse_key(self, top: _Open, key: Node, mark: Mark) -> Broken:
        outer = top.node.mark
        if key is BROKEN:
            return BROKEN
        if isinstance(key, MapNode) and mark == (outer[0], outer[1] + 1):
            top.broken = True
            self._say("E118", outer, "'{{' begins a mapping in YAML", 'quote the whole value: "{{ … }}"')
            return BROKEN
        hint = "" if isinstance(key, MapNode | ListNode) else "quote it"
        self._say("E117", mark, f"a key must be text, not {kind_of(key)}", hint)
        return BROKEN

    def _merge(self, top: _Open, value: Node, mark: Mark) -> None:
        sources = list(value) if isinstance(value, ListNode) else [value]
        if top.merges:
            self._say("E112", top.key_mark, "the merge key '<<' appears twice; give it a list of mappings")
        for source in sources:
            if isinstance(source, MapNode):
                top.merges.append(source)
            elif source is not BROKEN:
                self._say("E117", mark, f"'<<' merges mappings, not {kind_of(source)}")


def _pass_over(_event: Event) -> None:
    """Nothing to do at the edges of the stream and the document."""


def _mark(event: Event) -> Mark:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1)


def _merged(node: MapNode, sources: list[MapNode]) -> MapNode:
    """Own entries come before merged ones, and earlier sources before later ones; merged entries stand first."""
    merged = MapNode(node.mark)
    for source in sources:
        for key in source:
            if key not in merged:
                merged.take(source, key)
    for key in node:
        merged.take(node, key)
    return merged
