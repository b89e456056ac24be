"""How the values of secrets are kept out of what is told: `***` in their place, in whatever form they come back.

All places of all forms are covered together, so that no part of one is left where two overlap.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final, TypeGuard

from attrs import field, frozen

from actorflow.secrecy.forms import SHORTEST_HIDDEN, encoded, spelled
from actorflow.secrecy.joined import joined, roughly_joined
from actorflow.secrecy.search import Search, Span, merged, search_for

__all__ = ["HIDDEN", "NOTHING_HIDDEN", "Hiding", "hiding_of"]

HIDDEN: Final = "***"

_SHORTEST_REST: Final = 4  # characters of a form whose beginning was cut off


@frozen
class Hiding:
    """Takes values out of what is told. `hiding_of` makes one."""

    is_needed: bool  #: whether there is any value
    _search: Search
    _encoded: Search  #: for what is in base64 alone
    _numbers: frozenset[float] = field(repr=False)  #: values that are numbers, as a reader of JSON has them

    def text(self, told: str) -> str:
        """A text without the values."""
        spans = self.spans(told)
        if not spans:
            return told
        kept: list[str] = []
        end = 0
        for start, behind in spans:
            kept += (told[end:start], HIDDEN)
            end = behind
        kept.append(told[end:])
        return "".join(kept)

    def after_cut(self, told: str) -> str:
        """A text whose beginning was cut off, without the rest of a value that it may begin with.

        Whole values stay in it. A rest of fewer than four characters is not looked for.
        """
        text = told.lstrip("\N{REPLACEMENT CHARACTER}")  # the cut may go through a character
        head = text[:_SHORTEST_REST]
        if len(head) < _SHORTEST_REST:
            return told
        rests = (form[at:] for form in self._search.forms for at in _places(form, head))
        longest = max((len(rest) for rest in rests if text.startswith(rest)), default=0)
        return HIDDEN + text[longest:] if longest else told

    def data(self, told: Any) -> Any:
        """JSON data without the values: in texts, keys included, and as numbers.

        Of keys that have become the same, each but the first has its number behind it.
        """
        return self._replaced(told) if self.is_needed else told

    def spans(self, told: str) -> list[Span]:
        """Where values are, in order; no two of the places overlap."""
        if len(told) < SHORTEST_HIDDEN:
            return []
        return merged(chain(self._search.spans(told), self._broken(told)))

    def unfinished(self, told: str) -> int:
        """Where a form may begin that the text ends in the middle of: the first such place, or the text's length."""
        first = max(0, len(told) - 3 * self._encoded.longest)  # a line's end has two characters at the most
        end = joined(told[first:])
        broken = first + end.place(self._encoded.unfinished(end.text))
        return min(self._search.unfinished(told), broken)

    def _broken(self, told: str) -> Iterator[Span]:
        """Where values are in base64 that was broken into lines."""
        if "\n" in told and self._encoded.is_in(roughly_joined(told)):
            whole = joined(told)
            yield from (whole.span(*span) for span in self._encoded.spans(whole.text))

    def _replaced(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if _is_list(value):
            return [self._replaced(item) for item in value]
        if _is_mapping(value):
            return self._replaced_mapping(value)
        return HIDDEN if self._numbers and _is_number(value) and value in self._numbers else value

    def _replaced_mapping(self, value: Mapping[Any, Any]) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key, item in value.items():
            told = self.text(key) if isinstance(key, str) else key  # a record's fields may be anything
            result[told if told == key else _free(told, value, result)] = self._replaced(item)
        return result


def hiding_of(values: Iterable[str]) -> Hiding:
    """What hides these values, however long it takes to tell of them; `spelled` and `encoded` say as what they are known.

    One of fewer than `SHORTEST_HIDDEN` characters is not looked for.
    """
    each = tuple(values)
    search = search_for(chain(*map(spelled, each), *map(encoded, each)))
    numbers = frozenset(chain.from_iterable(map(_numbers, search.forms)))
    return Hiding(bool(search.forms), search, search_for(chain(*map(encoded, each))), numbers)


def _numbers(form: str) -> Iterator[float]:
    """The number that a form is in JSON, if it is one."""
    try:
        number = json.loads(form)
    except (ValueError, RecursionError):
        return
    if _is_number(number):
        yield number


def _places(text: str, head: str) -> Iterator[int]:
    """Where a text has these characters, from its beginning on."""
    at = text.find(head)
    while at >= 0:
        yield at
        at = text.find(head, at + 1)


def _free(key: str, given: Mapping[Any, Any], taken: Mapping[Any, Any]) -> str:
    """The key, or with a number behind it if there is one like it."""
    name, number = key, 1
    while name in taken or name in given:
        number += 1
        name = f"{key} ({number})"
    return name


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def _is_list(value: object) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return isinstance(value, list | tuple)


NOTHING_HIDDEN: Final = hiding_of(())
