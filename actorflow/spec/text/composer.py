"""YAML text to nodes with positions: YAML 1.2, one document, nothing that can run and nothing that can swell.

A composer of our own over a parser's events. Aliases share what they name, so that nothing is ever expanded; what an
expansion would add is counted against a budget as each alias is met, and a bomb is refused at the first alias that
passes it. Nothing here recurses.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Final, Literal, NoReturn, final

from attrs import frozen
from ruamel.yaml import events as ruamel

from actorflow.spec.bounds import Bounds
from actorflow.spec.text.nodes import BROKEN, ListNode, MapNode, Mark, Node
from actorflow.spec.text.open_nodes import MERGE, Open, OpenList, OpenMap, OpenRoot
from actorflow.spec.text.parsers import (
    Event,
    NextEvent,
    SyntaxFault,
    YAMLError,
    c_events,
    fault_of,
    pure_events,
)
from actorflow.spec.text.report import Report
from actorflow.spec.text.scalars import NUMBERS_BEGIN, WORDS, AbsurdNumberError, number_of
from actorflow.spec.text.scene import shown
from actorflow.spec.text.source import only_text
from actorflow.spec.text.syntax_words import explain
from actorflow.spec.text.told import Told

__all__ = ["compose"]


def compose(text: str, report: Report, bounds: Bounds) -> Node:
    """Compose the one document of a text.

    Returns:
        The root; `BROKEN`, or parts that are, where `report` was told of problems.
    """
    readable, odd_lines = only_text(text, report)
    composer, fault = _read(readable, bounds)
    problems = composer.problems
    if fault is not None:
        explained = explain(fault, readable.split("\n"), composer.innermost)
        blamed = odd_lines | {problem.mark[0] for problem in problems if problem.code == "E118"}
        if not blamed & {explained.mark[0], fault.mark[0]}:
            problems.insert(0, explained)  # the one to be told if there are more than can be
    for problem in problems:
        report.add(problem.code, problem.mark, problem.message, problem.hint)
    return BROKEN if fault is not None or odd_lines else composer.root


def _read(text: str, bounds: Bounds) -> tuple[_Composer, SyntaxFault | None]:
    """Compose with the C parser; where it refuses a text that is not too long, the other parser's verdict counts."""
    fast = _Composer(bounds)
    fault = fast.run(c_events(text))
    if fault is None or len(text) > bounds.second_parse_chars:
        return fast, fault
    second = _Composer(bounds)
    try:
        return second, second.run(_limited(pure_events(text), bounds.second_parse_events))
    except Exception:  # noqa: BLE001 - that parser answers some escapes (`"\UFFFFFFFF"`) with errors of Python's own
        return fast, fault


class _TooLong(Exception):  # noqa: N818 - not an error: the way out of the loop
    """Raised to give up the second parse."""


def _limited(next_event: NextEvent, limit: int) -> NextEvent:
    left = iter(range(limit))

    def next_of_few() -> Event | None:
        if next(left, None) is None:
            raise _TooLong
        return next_event()

    return next_of_few


class _Stop(Exception):  # noqa: N818 - likewise
    """Raised to stop composing: going on would cost more than the file may, or tell nothing."""


@frozen
class _Anchored:
    """A complete node that has an anchor: how many nodes it stands for, and how deep they go."""

    node: Node
    size: int
    height: int


@final
class _Composer:
    def __init__(self, bounds: Bounds) -> None:
        self.problems: list[Told] = []
        self.node_count = 0  #: what is written out, and what aliases stand for
        self.added_count = 0  #: what aliases stand for
        self._bounds = bounds
        self._root = OpenRoot()
        self._stack: list[Open] = []
        self._top: OpenRoot | Open = self._root
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

    @property
    def root(self) -> Node:
        """What was composed."""
        return self._root.value

    @property
    def innermost(self) -> Mark | None:
        """Where the innermost mapping or list begins that has not ended."""
        return self._stack[-1].node.mark if self._stack else None

    def run(self, next_event: NextEvent) -> SyntaxFault | None:
        """Take all events; gives the parser's verdict where the text is not YAML."""
        steps = self._steps
        try:
            for event in islice(iter(next_event, None), self._bounds.nodes):
                steps[type(event)](event)
            self._expect_the_end(next_event())
        except _Stop:
            return None
        except YAMLError as error:
            return fault_of(error)
        return None

    def _expect_the_end(self, event: Event | None) -> None:
        if event is not None:
            what = f"the file has more than {self._bounds.nodes:,} keys and values"
            self._refuse("E128", self.innermost or _mark(event), what, "pass data in inputs, or in files")

    def _say(self, code: str, mark: Mark, message: str, hint: str = "") -> None:
        self.problems.append(Told(code, mark, message, hint))

    def _refuse(self, code: str, mark: Mark, message: str, hint: str = "") -> NoReturn:
        self._say(code, mark, message, hint)
        self._root.value = BROKEN
        raise _Stop

    def _begin_document(self, event: Event) -> None:
        mark = _mark(event)
        if self._has_document:
            message = "a second document begins here; a workflow file is one document"
            self._say("E114", mark, message, "put it into a file of its own")
            raise _Stop
        self._has_document = True
        if event.version is not None and tuple(event.version) != (1, 2):
            hint = "drop the %YAML line and quote words such as yes, no and on"
            self._say("E110", mark, "the file asks for another YAML than 1.2", hint)

    def _scalar(self, event: Event) -> None:
        """Two thirds of all events: what most scalars are, text without anchor or tag, takes few steps."""
        text = event.value
        value: Node = text
        start = event.start_mark
        mark = (start.line + 1, start.column + 1)
        if event.ctag is not None:
            self._refuse_tag(event, mark)
            value = BROKEN
        elif not event.implicit[0]:
            if not text.isascii():
                value = self._without_surrogates(text, mark)
        elif not text:
            value, mark = None, self._top.place_of_nothing(mark)
        elif text in WORDS:
            value = WORDS[text]
        elif text[0] in NUMBERS_BEGIN:
            value = self._number(text, mark)
        elif text == "<<" and self._top.awaits_key:
            value = MERGE
        self.node_count += 1
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(value, 1, 0)
        self._top.place(value, mark)

    def _refuse_tag(self, event: Event, mark: Mark) -> None:
        tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
        hint = "remove it, and quote the value if it is text"
        self._say("E113", mark, f"the tag {shown(tag)} is refused: no tags are read", hint)

    def _number(self, text: str, mark: Mark) -> Node:
        try:
            return number_of(text)
        except AbsurdNumberError:
            number = text if len(text) <= 40 else f"{text[:20]}… ({len(text)} characters)"
            self._say("E119", mark, f"the number {number} is too large to be kept", "quote it if it is text")
            return BROKEN

    def _without_surrogates(self, text: str, mark: Mark) -> Node:
        r"""Join pairs of escaped surrogates (`"\ud83d\ude00"`, as JSON writers make them); refuse a lone one."""
        try:
            text.encode()
        except UnicodeEncodeError:
            try:
                return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
            except UnicodeDecodeError:
                hint = "write the character itself, or both halves of its escape"
                self._say("E111", mark, "half of a surrogate pair stands alone in this text", hint)
                return BROKEN
        return text

    def _begin_mapping(self, event: Event) -> None:
        node = MapNode(_mark(event))
        self._begin(event, OpenMap(node, event.anchor, self.node_count, self._say))

    def _begin_list(self, event: Event) -> None:
        self._begin(event, OpenList(ListNode(_mark(event)), event.anchor, self.node_count))

    def _begin(self, event: Event, begun: Open) -> None:
        if event.ctag is not None:
            self._refuse_tag(event, begun.node.mark)
        if len(self._stack) >= self._bounds.depth:
            self._refuse_depth(begun.node.mark)
        if begun.anchor is not None:
            self._anchors[begun.anchor] = "open"
        self._stack.append(begun)
        self._top = begun
        self.node_count += 1

    def _refuse_depth(self, mark: Mark) -> NoReturn:
        limit = self._bounds.depth
        self._refuse("E115", mark, f"mappings and lists are nested more than {limit} deep", "make it flatter")

    def _end(self, _event: Event) -> None:
        stack = self._stack
        done = stack.pop()
        self._top = top = stack[-1] if stack else self._root
        node = done.close()
        if done.anchor is not None:
            self._anchors[done.anchor] = _Anchored(node, self.node_count - done.first, done.height)
        if top.height <= done.height:
            top.height = done.height + 1
        top.place(node, done.node.mark)

    def _alias(self, event: Event) -> None:
        mark, name = _mark(event), event.anchor or ""
        anchored = self._anchors.get(name)
        if anchored is None or anchored == "open":
            self._refuse_alias(name, mark, is_cycle=anchored is not None)
            return
        self.node_count += anchored.size
        self.added_count += anchored.size
        if self.added_count > self._bounds.added_nodes:
            limit = self._bounds.added_nodes
            message = f"aliases would add more than {limit} values to this file"
            self._refuse("E116", mark, message, "repeat less")
        if len(self._stack) + anchored.height > self._bounds.depth:
            self._refuse_depth(mark)
        self._top.height = max(self._top.height, anchored.height + 1)
        self._top.place(anchored.node, mark)

    def _refuse_alias(self, name: str, mark: Mark, *, is_cycle: bool) -> None:
        if is_cycle:
            message, hint = (
                f"the anchor {shown(name)} contains this alias: a cycle",
                "name something that has ended",
            )
        else:
            message = f"the alias {shown('*' + name)} names nothing: no {shown('&' + name)} stands before it"
            hint = "quote the value if it is text that begins with *"
        self._say("E116", mark, message, hint)
        self._top.place(BROKEN, mark)


def _pass_over(_event: Event) -> None:
    """Nothing to do at the edges of the stream and the document."""


def _mark(event: Event) -> Mark:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1)
