"""Texts that arrive in pieces, and are told in pieces, without the values that lie across the cuts."""

from __future__ import annotations

from actorflow.secrecy.hiding import HIDDEN, Hiding
from actorflow.secrecy.search import merged

__all__ = ["HidingStream"]


class HidingStream:
    """Takes values out of one text as it comes; what it tells is, put together, what `Hiding.text` makes of the whole.

    Of each piece all is told but an end that may be the beginning of a value: less than the longest form.
    """

    __slots__ = ("_covered", "_held", "_hiding")

    def __init__(self, hiding: Hiding) -> None:
        self._hiding = hiding
        self._held = ""  #: what may be the beginning of a value
        self._covered = 0  #: characters of it that belong to a value whose mark was told

    def feed(self, text: str) -> str:
        """What may be told of the text so far and was not."""
        if not self._hiding.is_needed:
            return text
        text = self._held + text
        return self._told(text, self._hiding.unfinished(text))

    def flush(self) -> str:
        """What is left, as nothing follows; the next piece begins another text."""
        return self._told(self._held, len(self._held))

    def _told(self, text: str, end: int) -> str:
        """Tell of a text up to there, and hold the rest. A value that goes on behind the end is told with its mark."""
        spans = self._hiding.spans(text)
        if self._covered:
            spans = merged([(0, self._covered), *spans])
        kept: list[str] = []
        at = covered = 0
        for start, behind in spans:
            is_marked = start == 0 and self._covered > 0
            if start >= end and not is_marked:
                break
            kept += (text[at:start], "" if is_marked else HIDDEN)
            at, covered = min(behind, end), max(behind - end, 0)
        kept.append(text[at:end])
        self._held, self._covered = text[end:], covered
        return "".join(kept)
