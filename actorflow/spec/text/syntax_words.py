"""What is wrong with text that is not YAML, in a person's words and at the place that a person must change.

Parsers stop where they can't go on, which is often far behind the slip, and speak of tokens. Each thing that they can
say is in a table here, with what explains it: a look at the text around the place. What no row knows gets a sentence
that is true of any.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from actorflow.spec.text.nodes import Mark
from actorflow.spec.text.open_nodes import TEMPLATE_HINT, TEMPLATE_MESSAGE
from actorflow.spec.text.parsers import SyntaxFault
from actorflow.spec.text.scene import Scene, shown
from actorflow.spec.text.syntax_brackets import colon_in_brackets, in_brackets, no_value
from actorflow.spec.text.syntax_lines import (
    after_value,
    colon,
    escape,
    in_block,
    key,
    list_behind_key,
    open_quote,
)
from actorflow.spec.text.told import Told, anything, wrong

__all__ = ["explain"]

_Explainer: TypeAlias = Callable[[Scene], Told]
_Row: TypeAlias = tuple[str, str, _Explainer]


def explain(fault: SyntaxFault, lines: list[str], innermost: Mark | None) -> Told:
    """Say what is wrong.

    Args:
        fault: what a parser said.
        lines: the whole text.
        innermost: where the innermost mapping or list begins that was being read, if there was one.
    """
    scene = Scene(lines, fault.mark, fault.opened, innermost)
    for look in (_conflict, _template):
        told = look(scene)
        if told is not None:
            return told
    return _explainer_of(fault)(scene)


def _explainer_of(fault: SyntaxFault) -> _Explainer:
    for problem, context, explainer in _ROWS:
        if re.match(problem, fault.problem) and re.search(context, fault.context):
            return explainer
    return anything


# Seen before any table: slips that every parser misunderstands.

_CONFLICT: Final = re.compile(r"(<<<<<<<|=======|>>>>>>>)( |$)")
_TEMPLATE: Final = re.compile(r"""(?:^\s*|^[^'"#]*(?:[:,-]\s+|[\[{]\s*))(?P<at>\{\{)""")


def _conflict(scene: Scene) -> Told | None:
    for line in (scene.opened[0], scene.mark[0]):
        if _CONFLICT.match(scene.line(line)):
            hint = "choose one of the two versions, and remove the marks"
            return wrong((line, 1), "a merge left its marks in this file", hint)
    return None


def _template(scene: Scene) -> Told | None:
    found = _TEMPLATE.match(scene.here)
    if found is None or found.start("at") >= scene.mark[1]:
        return None
    return Told("E118", (scene.mark[0], found.start("at") + 1), TEMPLATE_MESSAGE, TEMPLATE_HINT)


# What a value begins with.


def _question_mark(scene: Scene) -> Told:
    return wrong(scene.mark, "'? ' begins a key, and none can begin here", "quote the value if it is text")


def _first_character(scene: Scene) -> Told:
    found = scene.found
    if found == "\t" or "\t" in scene.here[: scene.indent_of(scene.mark[0])]:
        return _tab(scene)
    is_inside = scene.innermost is not None and scene.at(scene.innermost) in {"[", "{"}
    text = re.split(r"[,\]}]", scene.found_on)[0] if is_inside else scene.found_on
    hint = f'quote it: "{shown(text, plain=True)}"'
    return wrong(scene.mark, f"a value cannot begin with {found}", hint)


def _tab(scene: Scene) -> Told:
    start = scene.here.find("\t")
    if start < 0 or start > scene.indent_of(scene.mark[0]):
        return wrong(scene.mark, "a tab stands where YAML wants spaces", "replace it by a space")
    mark = (scene.mark[0], start + 1)
    return wrong(mark, "a tab indents this line, and YAML counts spaces only", "indent with spaces, not tabs")


def _name(scene: Scene) -> Told:
    sign = scene.at(scene.opened)
    if sign not in {"&", "*"}:
        return anything(scene)
    message = f"{sign} needs a name of letters, digits, _ and - right behind it"
    return wrong(scene.opened, message, f"quote the value if it is text that begins with {sign}")


def _text_block(scene: Scene) -> Told:
    sign = scene.at(scene.opened)
    if sign not in {"|", ">"}:
        return anything(scene)
    message = f"{shown(scene.found_on)} cannot stand behind {sign}, which announces a text in the lines below"
    hint = f"begin the text in the next line, or quote the value if it begins with {sign}"
    return wrong(scene.mark, message, hint)


def _text_block_indent(scene: Scene) -> Told:
    message = "the first, empty lines of this text are indented deeper than its first word"
    return wrong(scene.opened, message, "remove the spaces from the empty lines")


def _tag(scene: Scene) -> Told:
    hint = "quote the value if it is text that begins with !"
    return Told("E113", scene.opened, "a tag begins here: no tags are read", hint)


# Documents and directives.


def _directive(scene: Scene) -> Told:
    message = "a line that begins with % is for the YAML reader, and this one says nothing to it"
    return wrong((scene.opened[0], 1), message, "remove the line, or quote the text")


def _document(scene: Scene) -> Told:
    """Something stands behind the end of the document, or before its beginning."""
    percent = scene.first_line(lambda line: line.startswith("%"))
    if percent is not None and scene.first_line(lambda line: line.startswith("---")) is None:
        message = "a line that begins with % wants a line --- behind it"
        return wrong((percent, 1), message, "remove the line, or quote the text")
    if scene.before.strip():
        return after_value(scene)
    first = scene.first_line(_has_content)
    if first is not None and scene.indent_of(first) > scene.indent_of(scene.mark[0]):
        message = f"this line is indented less than line {first}, where the file begins"
        return wrong(scene.mark, message, "indent both alike")
    message = "the document ended above, and this stands behind it"
    return wrong(scene.mark, message, "a workflow file is one document")


def _has_content(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith(("#", "---", "%"))


_ROWS: Final[tuple[_Row, ...]] = (
    # What a message begins with, what its context holds, what explains it. The first row that fits counts.
    (r"found unexpected (end of stream|document)", "quoted scalar", open_quote),
    (r"found unknown escape|did not find expected hexdec|expected escape sequence|found invalid Unicode", "", escape),
    (r"(did not find )?expected ',' or '[]}]'", "", in_brackets),
    (r"did not find expected node content|expected the node content", "", no_value),
    (r"did not find expected (key|'-' indicator)|expected <block end>", "", in_block),
    (r"mapping values are not allowed", "", colon),
    (r"found unexpected ':'", "", colon_in_brackets),
    (r"could not find expected ':'", "", key),
    (r"(block )?sequence entries are not allowed", "", list_behind_key),
    (r"mapping keys are not allowed", "", _question_mark),
    (r"found character.* that cannot start any token", "", _first_character),
    (r"found a tab character", "", _tab),
    (r"(did not find )?expected alphabetic or numeric", "(alias|anchor)", _name),
    (r".*(comment or line break|comment or a line break|indentation indicator)", "block scalar", _text_block),
    (r"", "more indented follow up line", _text_block_indent),
    (r".*(tag handle|URI|'!'|'>')|.*octet|.*whitespace|expected ' '", "tag|node", _tag),
    (r"", "directive|TAG", _directive),
    (r".*(YAML|TAG) directive|duplicate tag handle|.*incompatible YAML", "", _directive),
    (r".*document start|found non-comment content", "", _document),
)  # fmt: skip
