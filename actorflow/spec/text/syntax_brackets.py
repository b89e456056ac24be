"""What is wrong inside brackets and braces: one that is never closed, a comma that is missing, a value that is not there."""

from __future__ import annotations

import re

from actorflow.spec.text.nodes import Mark
from actorflow.spec.text.scene import Scene, closer_of, shown
from actorflow.spec.text.syntax_lines import after_value
from actorflow.spec.text.told import Told, anything, wrong

__all__ = ["colon_in_brackets", "in_brackets", "no_value"]


def in_brackets(scene: Scene) -> Told:
    """A list or mapping in brackets goes on where it should not."""
    opener, found = scene.at(scene.opened), scene.found
    if opener not in {"[", "{"}:
        return anything(scene)
    if found in {"]", "}"} or scene.is_at_end or scene.is_at_document_edge:
        return _unclosed(scene, scene.opened)
    is_far = scene.mark[0] > scene.opened[0]
    if is_far and scene.indent_of(scene.mark[0]) <= scene.indent_of(scene.opened[0]):
        return _unclosed(scene, scene.opened)
    if scene.follows_quote:
        return after_value(scene)
    return colon_in_brackets(scene) if found == ":" else _comma(scene, scene.mark)


def _unclosed(scene: Scene, opened: Mark) -> Told:
    opener = scene.at(opened)
    closer = closer_of(opener)
    if scene.found in {"]", "}"} and not scene.is_at_end:
        where = "" if opened[0] == scene.mark[0] else f" in line {opened[0]}"
        message = f"{scene.found} closes what {opener} opened{where}"
        return wrong(scene.mark, message, f"close it with {closer}")
    message = f"the {opener} that opens here is never closed"
    return wrong(opened, message, f"add the {closer}, or quote the value if it is text")


def colon_in_brackets(scene: Scene) -> Told:
    """A colon in brackets that should have been a comma, or is part of a text."""
    item = re.split(r"[,\[{]", scene.before)[-1]
    words = scene.before.split()
    if not words or scene.before[-1:].isspace():
        return _comma(scene, scene.mark)
    start = (scene.mark[0], len(scene.before) - len(words[-1]) + 1)
    if not re.search(r":\s", item):
        return _comma(scene, start)
    value = re.split(r":\s+", item, maxsplit=1)[1]
    if re.search(r"\s", value.strip()):
        return _comma(scene, start)
    return wrong(scene.mark, "a second colon in one value", "quote the value if the colon is part of it")


def _comma(scene: Scene, mark: Mark) -> Told:
    if re.match(r"-\s", scene.found_on):
        hint = "write [a, b], or remove the brackets"
        return wrong(scene.mark, "a list in brackets has no dashes", hint)
    message = f"a comma is missing before {shown(scene.line(mark[0])[mark[1] - 1 :])}"
    return wrong(mark, message, "put a comma between two entries, or quotes around a text")


def no_value(scene: Scene) -> Told:
    """A value was awaited, and something else came."""
    found, inner = scene.found, scene.innermost
    opener = scene.at(inner) if inner else ""
    if opener in {"[", "{"} and inner and (scene.is_at_end or scene.is_at_document_edge):
        return _unclosed(scene, inner)
    if found in {"]", "}"} and not scene.is_at_end:
        if opener in {"[", "{"} and inner and found != closer_of(opener):
            return _unclosed(scene, inner)
        return wrong(
            scene.mark, f"this {found} closes nothing", "remove it, or quote the value if it is text"
        )
    if found == ",":
        if opener in {"[", "{"}:
            return wrong(
                scene.mark, "there is nothing before this comma", "remove it, or write null before it"
            )
        return wrong(scene.mark, "a value cannot begin with a comma", "quote the value")
    if opener in {"[", "{"} and re.match(r"-\s", scene.found_on):
        return _comma(scene, scene.mark)
    return wrong(scene.mark, "a value is missing here", "write one, or null for nothing")
