"""What is wrong with a line: its quotes, its colons, its indentation, or what stands behind its value."""

from __future__ import annotations

import re
from typing import Final

from actorflow.spec.text.nodes import Mark
from actorflow.spec.text.scene import Scene, shown
from actorflow.spec.text.told import Told, anything, wrong

__all__ = ["after_value", "colon", "escape", "in_block", "key", "list_behind_key", "open_quote"]


def in_block(scene: Scene) -> Told:
    """A line, or the rest of one, does not go on with the mapping or list that it stands in."""
    if scene.before.strip():
        return after_value(scene)
    found, column = scene.found, scene.mark[1]
    if found in {"]", "}"}:
        return wrong(scene.mark, f"this {found} closes nothing", "remove it, or open it before")
    is_list = scene.at(scene.opened) == "-" and re.match(r"-(\s|$)", scene.on(scene.opened)) is not None
    is_item = re.match(r"-(\s|$)", scene.found_on) is not None
    line = scene.opened[0]
    if column == scene.opened[1] and is_item and not is_list:
        message = f"a list item stands among the keys of the mapping that begins in line {line}"
        return wrong(scene.mark, message, "indent it below the key that it belongs to, or remove the dash")
    if column == scene.opened[1] and is_list and not is_item:
        message = f"a key stands among the items of the list that begins in line {line}"
        return wrong(scene.mark, message, "begin it with a dash, or indent it as its mapping is indented")
    if found == ":":
        return wrong(scene.mark, "this colon has no key before it", "write the key before the colon")
    return _misindented(scene)


def _misindented(scene: Scene) -> Told:
    indent = len(scene.before)
    levels = scene.levels_above()
    if levels and levels[0].indent < indent:
        return _below_value(scene, levels[0].line)
    near = [level for level in levels if level.indent > indent][-1:]
    near += [level for level in levels if level.indent < indent][:1]
    hint = " or ".join(f"by {level.indent} as line {level.line} ({level.word})" for level in near)
    hint = f"indent it {hint}" if hint else "indent it as the lines that it belongs to"
    spaces = f"{indent} space{'' if indent == 1 else 's'}"
    message = f"the indentation of this line, {spaces}, fits no line above it"
    return wrong(scene.mark, message, hint)


def _below_value(scene: Scene, above: int) -> Told:
    """A line is indented deeper than the one above it, which leaves no room for that."""
    is_entry = _ENTRY.match(scene.line(above), 0, _MOST_LOOKED_AT) is not None
    indent = scene.levels_above()[0].indent if is_entry else scene.indent_of(above)
    message = f"this line is indented below line {above}, which has a value already"
    first = (scene.mark[0], scene.indent_of(scene.mark[0]) + 1)
    return wrong(first, message, f"indent it by {indent} as that line, or remove that value")


def after_value(scene: Scene) -> Told:
    """Something stands in a line behind a value that has ended."""
    last = scene.before.rstrip()[-1:]
    if last in {'"', "'"}:
        return _after_quote(scene, last)
    found = shown(scene.found_on)
    if scene.found == "&":
        return wrong(scene.mark, "a value has one anchor", "remove one of the two")
    if last in {"]", "}"}:
        message = f"{found} stands behind a {last} that ends the value"
        return wrong(scene.mark, message, "quote the whole value if it is text")
    message = f"{found} cannot stand here: the value before it has ended"
    return wrong(scene.mark, message, "quote the whole value if it is text")


def _after_quote(scene: Scene, quote: str) -> Told:
    inside = "''" if quote == "'" else '\\"'
    start = scene.quote_opened_above(quote)
    if start is not None:
        message = f"the quote {quote} that opens here is closed in line {scene.mark[0]} only, where other text follows"
        return wrong(start, message, f"end the text with {quote} in its own line")
    hint = f"quote the whole value; a {quote} that is part of it is written {inside}"
    message = f"{shown(scene.found_on)} stands behind the quote {quote} that ends the text"
    return wrong(scene.mark, message, hint)


def list_behind_key(scene: Scene) -> Told:
    """A dash, where no list can begin."""
    if scene.before.strip():
        hint = "write [a, b], or each - item in a line below"
        return wrong(scene.mark, "a list cannot begin in the line of its key", hint)
    above = scene.line_above(scene.mark[0])
    return _below_value(scene, above) if above is not None else anything(scene)


# Colons.

_ENTRY: Final = re.compile(r"""\s*(?:-\s+)*(?P<key>"[^"]*"|'[^']*'|[^\s#'"\[{][^#]*?)\s*:\s+(?=\S)""")
_ITEM: Final = re.compile(r"\s*-\s+\S")
_TIGHT: Final = re.compile(r"""\s*(?:-\s+)*[\w."'-]+:(?!//)(?=\S)""")
_LONGEST_KEY: Final = 1024
_MOST_LOOKED_AT: Final = 2_000  # the patterns above are slow over a long line of spaces


def colon(scene: Scene) -> Told:
    """A colon that begins a value where none can begin."""
    entry = _ENTRY.match(scene.here, 0, _MOST_LOOKED_AT)
    if entry is not None and entry.end() <= scene.mark[1] - 1:
        value = scene.here[entry.end() :].rstrip()
        quote = "'" if '"' in value else '"'
        is_easy = len(value) <= 60 and quote not in value
        hint = f"quote the value: {quote}{value}{quote}" if is_easy else "quote the value"
        return wrong(scene.mark, f"a second colon in the value of {shown(entry['key'])}", hint)
    if len(scene.before) > _LONGEST_KEY:
        return wrong((scene.mark[0], 1), f"a key has at most {_LONGEST_KEY} characters", "shorten it")
    above = scene.line_above(scene.mark[0])
    if above is None:
        hint = "quote the value if the colon is part of it"
        return wrong(scene.mark, "this colon has no key before it", hint)
    text = scene.line(above)
    if _ENTRY.match(text, 0, _MOST_LOOKED_AT) or _ITEM.match(text):
        return _below_value(scene, above)
    return _no_colon(scene, (above, scene.indent_of(above) + 1))


def _no_colon(scene: Scene, start: Mark) -> Told:
    """A line that should be a key with its value, or an item of a list."""
    rest = scene.on(start)
    line, column = start
    if len(rest) > _LONGEST_KEY:
        hint = "shorten it, or indent it deeper if it goes on with the text above"
        return wrong(start, f"a key has at most {_LONGEST_KEY} characters", hint)
    if found := _TIGHT.match(rest):
        mark = (line, column + found.end())
        return wrong(mark, f"a space is missing behind {shown(found[0])}", "write key: value")
    if re.match(r"-[^\s-]", rest):
        return wrong((line, column + 1), "a space is missing behind this dash", "write - item")
    if rest.startswith("*"):
        return wrong(start, "a key that is an alias needs a space before its colon", "write *name : value")
    message = f"{shown(rest)} is neither a key with its value nor an item of a list"
    hint = "write key: value, or indent it deeper if it goes on with the text above"
    return wrong(start, message, hint)


def key(scene: Scene) -> Told:
    """A text that would have to be a key, and has no colon."""
    return _no_colon(scene, scene.opened)


# Quotes.


def open_quote(scene: Scene) -> Told:
    """A quote that is open at the end of the text."""
    quote = scene.at(scene.opened)
    inside = "''" if quote == "'" else '\\"'
    hint = f"end the text with {quote}; a {quote} that is part of it is written {inside}"
    return wrong(scene.opened, f"the quote {quote} that opens here is never closed", hint)


def escape(scene: Scene) -> Told:
    """A backslash in double quotes that begins nothing."""
    line, column = scene.mark
    start = scene.here.rfind("\\", 0, column) + 1
    found = scene.here[start - 1 : start + 1] if start else "this"
    mark = (line, start) if start else scene.mark
    hint = "write \\\\ for a backslash, or put the text into single quotes, where a backslash is only itself"
    return wrong(mark, f"{found} is no complete escape, as double quotes need it", hint)
