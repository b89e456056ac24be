"""How often deliveries are counted for a live view: it may read much of a journal, and is wanted by the second."""

from __future__ import annotations

from typing import Final

__all__ = ["rest_s"]

_EVERY_S: Final = 1.0
_PART: Final = 20


def rest_s(took_s: float) -> float:
    """How long to wait after a count that took so long: a second, and so that counting takes one part in twenty of the time."""
    return max(_EVERY_S, _PART * took_s)
