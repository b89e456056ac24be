"""What an examination of a store finds."""

from __future__ import annotations

from typing import Literal, TypeAlias

from attrs import frozen

__all__ = ["Finding", "Level"]

Level: TypeAlias = Literal["ok", "warning", "problem"]


@frozen
class Finding:
    """One thing that was looked at."""

    check: str  #: what was looked at, in a word or two
    level: Level
    text: str  #: what was found
    remedy: str = ""  #: what to do about it, as a sentence without its beginning
    run_id: str | None = None
    is_mendable: bool = False  #: whether rebuilding what is derived from the events mends it
    is_damage: bool = False  #: whether something that was written is not there any more
