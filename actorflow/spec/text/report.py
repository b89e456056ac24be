"""Where all that is wrong with a file comes together, to be told in one go and in the file's order."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final

from actorflow.errors import Problem, SpecError
from actorflow.spec.text.nodes import Mark

__all__ = ["Report", "nearest"]

_MOST_PROBLEMS: Final = 1_000
_MOST_LOOKUPS: Final = 50  # each costs up to a few milliseconds over many names
_MOST_CANDIDATES: Final = 2_000
_LONGEST_SOURCE: Final = 500
_LONGEST_MESSAGE: Final = 800
_WORD: Final = re.compile(r"[^\s,\]}#]+")


class Report:
    """The problems and warnings of one file or definition."""

    def __init__(self, *, file: str = "", text: str = "") -> None:
        self.file = file
        self.text = text
        self._lines: list[str] | None = None
        self._problems: list[Problem] = []
        self._warnings: list[Problem] = []
        self._told: set[int] = set()  # hashes: of a million problems, the texts would be too many
        self._unlisted_count = 0
        self._lookup_count = 0

    @property
    def has_problems(self) -> bool:
        """Whether anything was found that keeps the file from loading."""
        return bool(self._problems)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is worth saying and keeps nothing from loading, in the file's order."""
        return tuple(sorted(self._warnings, key=_position))

    def add(self, code: str, mark: Mark, message: str, hint: str = "") -> None:
        """Note a problem, once however often it is found; after a thousand only their number grows."""
        if self._is_told(code, mark, message):
            return
        if len(self._problems) < _MOST_PROBLEMS:
            self._problems.append(self._problem(code, mark, message, hint))
        else:
            self._unlisted_count += 1

    def warn(self, code: str, mark: Mark, message: str, hint: str = "") -> None:
        """Note a warning, once however often it is found."""
        if len(self._warnings) < _MOST_PROBLEMS and not self._is_told(code, mark, message):
            self._warnings.append(self._problem(code, mark, message, hint))

    def _is_told(self, code: str, mark: Mark, message: str) -> bool:
        fact = hash((code, mark, message))
        if fact in self._told:
            return True
        self._told.add(fact)
        return False

    def raise_problems(self) -> None:
        """Raise SpecError with all problems, if there is one."""
        if not self._problems:
            return
        problems = sorted(self._problems, key=_position)
        if self._unlisted_count:
            problems.append(Problem("E199", f"and {self._unlisted_count} more problems", file=self.file))
        raise SpecError(tuple(problems))

    def close(self, word: str, known: Iterable[str]) -> str:
        """The closest of the known words, or nothing; after many such questions nothing is looked up any more."""
        if self._lookup_count >= _MOST_LOOKUPS:
            return ""
        self._lookup_count += 1
        return nearest(word, known)

    def nearest(self, word: str, known: Iterable[str]) -> str:
        """Say `did you mean 'x'?` where one of the known words is close, else nothing."""
        close = self.close(word, known)
        return f"did you mean {close!r}?" if close else ""

    def choices(self, word: str, known: Iterable[str]) -> str:
        """Say what is meant, or what there is to choose from."""
        known = tuple(known)
        return self.nearest(word, known) or f"choose from {', '.join(known)}"

    def word_at(self, mark: Mark) -> str:
        """The word that stands at a position of the text, as it is written there."""
        line = self.line(mark[0])
        found = _WORD.match(line, mark[1] - 1) if 0 < mark[1] <= len(line) else None
        return found[0].strip("\"'") if found else ""

    def within(self, mark: Mark, text: str, column: int) -> Mark:
        """The position of a column of a scalar's text, where the scalar stands literally in one line."""
        line = self.line(mark[0])
        for quote in (0, 1):
            if text and line.startswith(text, mark[1] - 1 + quote):
                return (mark[0], mark[1] + quote + max(column, 1) - 1)
        return mark

    def line(self, number: int) -> str:
        """A line of the text by its number from 1, or nothing where there is no such line."""
        if self._lines is None:
            self._lines = self.text.split("\n")
        return self._lines[number - 1] if 0 < number <= len(self._lines) else ""

    def _problem(self, code: str, mark: Mark, message: str, hint: str) -> Problem:
        line, column = mark
        source = self.line(line)
        if len(source) > _LONGEST_SOURCE:
            source = source[: column + 60] if column < _LONGEST_SOURCE else ""
        return Problem(code, _printable(message), self.file, line, column, _printable(hint), source)


def _printable(text: str) -> str:
    """A sentence without what would speak to a terminal or break its line, and not long: keys and names come from the file."""
    if len(text) > _LONGEST_MESSAGE:
        text = f"{text[: _LONGEST_MESSAGE // 2]}…{text[-_LONGEST_MESSAGE // 2 :]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _position(problem: Problem) -> Mark:
    return (problem.line, problem.column)


def nearest(word: str, known: Iterable[str]) -> str:
    """The closest of the known words, or nothing where none is close; filtered by length and letters first, as difflib is slow over many."""
    letters = set(word.lower())
    candidates = [
        name
        for name in known
        if abs(len(name) - len(word)) <= 3 and len(letters & set(name.lower())) * 2 >= len(letters)
    ][:_MOST_CANDIDATES]
    lowered = {name.lower(): name for name in reversed(candidates)}
    found = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return lowered[found[0]] if found else ""
