"""The text around the place where a parser stopped."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from attrs import frozen

from actorflow.spec.text.nodes import Mark

__all__ = ["Level", "Scene", "closer_of", "shown"]

_MOST_LINES_ABOVE: Final = 500
_LONGEST_SHOWN: Final = 40
_CLOSERS: Final = {"[": "]", "{": "}"}
_ITEM: Final = re.compile(r"( *)((?:- +)*)(?=\S)")


@frozen
class Level:
    """A line that others may stand beside: its indentation, its number, and its first word to name it."""

    indent: int
    line: int
    word: str


@frozen
class Scene:
    """A text, and the places that matter in it: lines and columns from 1."""

    lines: list[str]
    mark: Mark  #: where a parser stopped
    opened: Mark  #: where what it was reading began
    innermost: Mark | None  #: where the innermost mapping or list begins that has not ended

    def line(self, number: int) -> str:
        """A line, or nothing where there is none."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def on(self, mark: Mark) -> str:
        """What stands from a place to the end of its line."""
        return self.line(mark[0])[mark[1] - 1 :]

    def at(self, mark: Mark) -> str:
        """The character at a place, or nothing."""
        return self.on(mark)[:1]

    @property
    def here(self) -> str:
        """The line in which the parser stopped."""
        return self.line(self.mark[0])

    @property
    def before(self) -> str:
        """What stands before the place in its line."""
        return self.here[: self.mark[1] - 1]

    @property
    def found_on(self) -> str:
        """What stands from the place to the end of its line."""
        return self.on(self.mark)

    @property
    def found(self) -> str:
        """The character at the place, or nothing."""
        return self.at(self.mark)

    @property
    def is_at_end(self) -> bool:
        """Whether nothing follows in the whole text."""
        return not self.found_on.strip() and not any(line.strip() for line in self.lines[self.mark[0] :])

    @property
    def is_at_document_edge(self) -> bool:
        """Whether a line of `---` or `...` stands here."""
        return self.mark[1] == 1 and re.match(r"(---|\.\.\.)(\s|$)", self.here) is not None

    @property
    def follows_quote(self) -> bool:
        """Whether what stands here touches a quote before it."""
        return self.before[-1:] in {'"', "'"}

    def indent_of(self, number: int) -> int:
        """How many spaces and tabs a line begins with."""
        line = self.line(number)
        return len(line) - len(line.lstrip(" \t"))

    def line_above(self, number: int) -> int | None:
        """The next line above that is neither empty nor a comment."""
        for above in range(number - 1, max(0, number - _MOST_LINES_ABOVE), -1):
            text = self.line(above).strip()
            if text and not text.startswith("#"):
                return above
        return None

    def first_line(self, fits: Callable[[str], bool]) -> int | None:
        """The first line of the text that fits."""
        return next((number for number, line in enumerate(self.lines, 1) if fits(line)), None)

    def levels_above(self) -> list[Level]:
        """Where the lines above begin that still could be followed, the nearest first, each less indented."""
        levels: list[Level] = []
        above = self.line_above(self.mark[0])
        while above is not None:
            for level in self._levels_of(above):
                if not levels or level.indent < levels[-1].indent:
                    levels.append(level)
            above = self.line_above(above) if levels[-1].indent else None
        return levels

    def _levels_of(self, number: int) -> list[Level]:
        """A line's own beginning, and before it the dashes that it stands behind."""
        line = self.line(number)
        found = _ITEM.match(line)
        starts = (
            [found.end(), *(m.start() for m in reversed(list(re.finditer("-", found[0]))))] if found else [0]
        )
        return [Level(start, number, shown(_word(line[start:]))) for start in starts]

    def quote_opened_above(self, quote: str) -> Mark | None:
        """Where the quote was opened that closes right before the place, if that is in a line above."""
        if _quote_count(self.before, quote) % 2 == 0:
            return None
        for number in range(self.mark[0] - 1, max(0, self.mark[0] - _MOST_LINES_ABOVE), -1):
            line = self.line(number)
            if _quote_count(line, quote) % 2:
                return (number, line.rfind(quote) + 1)
        return None


def closer_of(bracket: str) -> str:
    """The bracket that closes another."""
    return _CLOSERS.get(bracket, "")


def shown(text: str, *, plain: bool = False) -> str:
    """A piece of the file as a message shows it: in one line, not long, in single quotes unless `plain`."""
    text = text.strip()
    text = text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
    return text if plain else f"'{text}'"


def _word(text: str) -> str:
    return re.split(r":(?:\s|$)", text, maxsplit=1)[0]


def _quote_count(text: str, quote: str) -> int:
    """How often a quote stands in a text, escaped ones left out."""
    return len(re.findall(r"(?<!\\)" + quote, text))
