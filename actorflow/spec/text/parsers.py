"""The two YAML parsers behind one typed face: each gives events, one at a time.

The C parser (libyaml 0.1.7) is some ten times as fast and refuses some valid flow YAML, such as `{url: http://x}`; the
pure one reads YAML 1.2. Neither resolves scalars here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias, cast

from attrs import frozen
from ruamel.yaml import YAML, __version__
from ruamel.yaml.error import YAMLError

from actorflow.spec.text.nodes import Mark

__all__ = ["VERSION", "Event", "NextEvent", "SyntaxFault", "YAMLError", "c_events", "fault_of", "pure_events"]

VERSION: Final[str] = __version__
"""Of the package that both come with."""


class Event(Protocol):
    """What both parsers give; a field that an event's class lacks is never read."""

    start_mark: Any
    anchor: str | None
    ctag: object
    tag: object
    value: str
    implicit: Any
    version: tuple[int, int] | None
    flow_style: bool | None


NextEvent: TypeAlias = Callable[[], Event | None]


@frozen
class SyntaxFault:
    """A parser's verdict on text that is not YAML, in its own words, which no person is shown.

    `mark` is where it stopped, often far behind what is wrong; `opened` is where what it was reading began, or `mark`
    where it does not say.
    """

    problem: str
    context: str
    mark: Mark
    opened: Mark


def c_events(text: str) -> NextEvent:
    """Events from the C parser; None after the last.

    The text must be free of control characters: that parser's own complaint about them carries no line.
    """
    # Compiled and without stubs; there is no other way to its events that skips the YAML() object.
    parser = importlib.import_module("_ruamel_yaml").CParser
    return cast("NextEvent", parser(text).get_event)


def pure_events(text: str) -> NextEvent:
    """Events from the parser written in Python, by the rules of YAML 1.2; None after the last."""
    events = cast("Any", YAML(typ="safe", pure=True)).parse(text)
    return lambda: next(events, None)


def fault_of(error: YAMLError) -> SyntaxFault:
    """Read a parser's exception."""
    opened = _mark_of(getattr(error, "context_mark", None))
    mark = _mark_of(getattr(error, "problem_mark", None)) or opened or (1, 1)
    problem: Any = getattr(error, "problem", None)
    context: Any = getattr(error, "context", None)
    return SyntaxFault(str(problem or ""), str(context or ""), mark, opened or mark)


def _mark_of(mark: Any) -> Mark | None:
    return None if mark is None else (mark.line + 1, mark.column + 1)
