"""A text as if its lines were one: many programs break what they write in base64 after 64 or 76 characters."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final

from attrs import frozen

from actorflow.secrecy.search import Span

__all__ = ["Joined", "joined", "roughly_joined"]

_BREAK: Final = re.compile(r"(?<![\r\n])(?:\r?\n(?![\r\n])|\r\Z)")
"""Of two lines that have something in them; also the first half of one, where a text ends there. A blank line stays."""


@frozen
class Joined:
    """A text without its single line breaks; it knows where its characters come from."""

    text: str
    _breaks: tuple[int, ...]  #: for each character that was left out, how many of the others come before it

    def place(self, at: int) -> int:
        """Where a character of it is in the text that it was made of; for its length, behind the last one."""
        return at + bisect_right(self._breaks, at) if at < len(self.text) else at + len(self._breaks)

    def span(self, start: int, end: int) -> Span:
        """The same of a part of it that has one character at the least."""
        return self.place(start), self.place(end - 1) + 1


def joined(text: str) -> Joined:
    """Join the lines of a text."""
    left_out = [at for found in _BREAK.finditer(text) for at in range(*found.span())]
    return Joined(_BREAK.sub("", text), tuple(at - number for number, at in enumerate(left_out)))


def roughly_joined(text: str) -> str:
    """Much faster, and without blank lines as well: what is not found in this one is not in the other."""
    return text.replace("\n", "").replace("\r", "")
