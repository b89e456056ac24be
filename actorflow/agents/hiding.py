"""How the values of secrets are kept out of what is told: `***` in their place, in whatever shape they come back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeGuard, cast

from attrs import field, frozen

__all__ = ["NOTHING_HIDDEN", "Hiding", "hiding_of"]

SHORTEST_HIDDEN: Final = 4
"""Characters: to hide shorter texts would make every message unreadable, and they are no secrets."""

HIDDEN: Final = "***"


@frozen
class Hiding:
    """Takes values out of what is told of an attempt. `hiding_of` makes one."""

    _forms: tuple[str, ...] = field(repr=False)  #: how the values may look, the longest first
    _pattern: re.Pattern[str] = field(repr=False)  #: any of them
    _numbers: frozenset[float] = field(repr=False)  #: those that are numbers, as a reader of JSON has them

    def text(self, told: str) -> str:
        """A text without the values."""
        return self._pattern.sub(HIDDEN, told) if self._forms else told

    def after_cut(self, told: str) -> str:
        """A text whose beginning was cut off, without the rest of a value that it may begin with.

        Whole values stay in it. A rest of fewer than four characters is not looked for.
        """
        text = told.lstrip("\N{REPLACEMENT CHARACTER}")  # the cut may go through a character
        head = text[:SHORTEST_HIDDEN]
        if len(head) < SHORTEST_HIDDEN:
            return told
        rests = (form[at:] for form in self._forms for at in _places(form, head))
        longest = max((len(rest) for rest in rests if text.startswith(rest)), default=0)
        return HIDDEN + text[longest:] if longest else told

    def data(self, told: Any) -> Any:
        """JSON data without the values: in texts, keys included, and as numbers."""
        return self._replaced(told) if self._forms else told

    def _replaced(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._pattern.sub(HIDDEN, value)
        if _is_list(value):
            return [self._replaced(item) for item in value]
        if isinstance(value, Mapping):
            items = cast("Mapping[str, Any]", value).items()
            return {self._replaced(key): self._replaced(item) for key, item in items}
        return HIDDEN if _is_number(value) and value in self._numbers else value


def hiding_of(values: Iterable[str]) -> Hiding:
    """What hides these values, however long it takes to tell of them.

    A value is also found as it looks inside quotes, JSON or a shell's trace, and where bytes that are not UTF-8 were
    replaced; and each line of one with several lines by itself. One of fewer than four characters is not looked for.
    """
    found = {form for value in values for form in _forms(value) if len(form) >= SHORTEST_HIDDEN}
    forms = tuple(sorted(found, key=len, reverse=True))
    pattern = re.compile("|".join(map(re.escape, forms)))
    return Hiding(forms, pattern, frozenset(number for form in forms for number in _numbers(form)))


NOTHING_HIDDEN: Final = hiding_of(())


def _forms(value: str) -> Iterator[str]:
    readable = value.encode(errors="surrogateescape").decode(errors="replace")
    for whole in (value, readable):
        for text in {whole, whole.strip(), *(line.strip() for line in whole.splitlines())}:
            yield text
            yield repr(text)[1:-1]
            yield json.dumps(text)[1:-1]
            yield json.dumps(text, ensure_ascii=False)[1:-1]
            yield text.replace("'", "'\\''")


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


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)
