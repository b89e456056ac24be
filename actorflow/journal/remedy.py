"""What to do about a SQLite store that is damaged, in the words of every error that says so."""

from __future__ import annotations

from typing import Final

__all__ = ["DAMAGE_REMEDY", "RESTORE"]

DAMAGE_REMEDY: Final = "`actorflow doctor --repair` saves what can be read into a new file"
RESTORE: Final = f"restore the store from a copy; {DAMAGE_REMEDY}"
