"""Where in a text any of many forms are.

Nearly all that is told holds none, so what counts is how fast that is seen. Letters and digits are spelled alike in
every form of a text but base64, so one look for its longest run of them stands for all of its spellings; and a string's
own search is ten times as fast as a pattern that knows all forms. Only where a run is found are the forms looked for,
each by itself.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final

from attrs import field, frozen

from actorflow.secrecy.forms import SHORTEST_HIDDEN

__all__ = ["Search", "Span", "merged", "search_for"]

_RUN: Final = re.compile("[A-Za-z0-9]+")

Span = tuple[int, int]  #: from a character on, up to another one


@frozen
class _Group:
    """Forms that all have something in common."""

    mark: str = field(repr=False)  #: is in each of them
    forms: tuple[str, ...] = field(repr=False)


@frozen
class Search:
    """Looks for forms. `search_for` makes one."""

    forms: tuple[str, ...] = field(repr=False)  #: sorted
    longest: int  #: characters of a form
    _groups: tuple[_Group, ...] = field(repr=False)
    _heads: frozenset[str] = field(
        repr=False
    )  #: how they begin, in as many characters as each has at the least

    def is_in(self, text: str) -> bool:
        """Whether a look for the forms may be worth it."""
        return any(group.mark in text for group in self._groups)

    def spans(self, text: str) -> Iterator[Span]:
        """Every place of a form, in no order; places of different forms may overlap."""
        for group in self._groups:
            if group.mark in text:
                for form in group.forms:
                    yield from _spans_of(form, text)

    def unfinished(self, text: str) -> int:
        """Where a form may begin that the text ends in the middle of: the first such place, or the text's length."""
        size = len(text)
        for at in range(max(0, size - self.longest + 1), size):
            head = text[at : at + SHORTEST_HIDDEN]
            if (len(head) < SHORTEST_HIDDEN or head in self._heads) and self._goes_on(text[at:]):
                return at
        return size

    def _goes_on(self, beginning: str) -> bool:
        """Whether some form begins like this and is longer."""
        at = bisect_left(self.forms, beginning)
        if at < len(self.forms) and self.forms[at] == beginning:
            at += 1
        return at < len(self.forms) and self.forms[at].startswith(beginning)


def search_for(families: Iterable[frozenset[str]]) -> Search:
    """What looks for these forms; those of a family are ways to spell one text."""
    groups = tuple(dict.fromkeys(group for family in families for group in _groups_of(family)))
    forms = tuple(sorted({form for group in groups for form in group.forms}))
    heads = frozenset(form[:SHORTEST_HIDDEN] for form in forms)
    return Search(forms, max(map(len, forms), default=0), groups, heads)


def merged(spans: Iterable[Span]) -> list[Span]:
    """Places in order, those that overlap as one; those that only touch stay apart."""
    result: list[Span] = []
    for start, end in sorted(spans):
        if result and start < result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def _groups_of(family: frozenset[str]) -> Iterator[_Group]:
    mark = _shared_by(family)
    if mark:
        yield _Group(mark, tuple(sorted(family)))
    else:
        yield from (_Group(form, (form,)) for form in sorted(family))


def _shared_by(family: frozenset[str]) -> str:
    """What is in all of these forms and worth a look of its own; nothing, if they have no such run."""
    shortest = min(family, key=len)
    runs = sorted(_RUN.findall(shortest), key=len, reverse=True)
    return next((run for run in (shortest, *runs[:1]) if all(run in form for form in family)), "")


def _spans_of(form: str, text: str) -> Iterator[Span]:
    """Every place of a form, those that overlap as one: a text of one letter has as many as it has characters."""
    size = len(form)
    at = text.find(form)
    while at >= 0:
        start, end = at, at + size
        at = text.find(form, at + 1)
        while 0 <= at < end:
            end = at + size
            at = text.find(form, at + 1)
        yield start, end
