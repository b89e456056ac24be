"""What a folder says, as a store in memory that follows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from actorflow.errors import StoreDamagedError
from actorflow.journal.json.facts import KeptStore, forget_unnamed, replay
from actorflow.journal.json.folder import JsonFolder
from actorflow.journal.memory import MemoryJournal
from actorflow.journal.memory_store import MemoryStore

_LOOKS: Final = 3
"""How often a folder is read anew before it counts as damaged: runs may be removed while it is read."""


class JsonView:
    """A folder as this process has read it.

    Args:
        root: the folder.
        clock: the wall clock, in epoch seconds.
        is_still: whether nobody can be writing just now.

    Raises:
        StoreUnusableError: a later version has written it.
        StoreDamagedError: it is not what was written.
        OSError: it cannot be read.
    """

    def __init__(self, root: Path, clock: Callable[[], float], is_still: Callable[[], bool]) -> None:
        self._root = root
        self._clock = clock
        self._is_still = is_still
        self._seen = (-1, -1)  #: the sign that there is more, when it was looked at last
        self._empty()
        self.refresh()

    def refresh(self) -> None:
        """Read what was committed since; costs next to nothing where that is nothing.

        Raises:
            StoreDamagedError: it is not what was written.
            OSError: it cannot be read.
        """
        sign = self.folder.sign()
        if sign != self._seen:
            self.catch_up()
            self._seen = sign

    def catch_up(self) -> None:
        """The same, also of what nobody has acknowledged."""
        for looks_left in reversed(range(_LOOKS)):
            try:
                self._take_news()
            except StoreDamagedError:
                self._empty()
                if not looks_left:
                    self._seen = (-1, -1)
                    raise
            else:
                return

    def _empty(self) -> None:
        self.folder = JsonFolder(self._root)
        self.kept = KeptStore(MemoryStore(self._clock))
        self.memory = MemoryJournal(clock=self._clock, store=self.kept.store)

    def _take_news(self) -> None:
        try:
            commits = self.folder.news(is_still=self._is_still())
        except FileNotFoundError as error:
            raise StoreDamagedError(
                f"{error.filename}: the file was removed; restore the folder from a copy"
            ) from error
        for lines in commits:
            for line in lines:
                try:
                    replay(self.kept, line.name, line.facts)
                except (LookupError, TypeError, ValueError) as error:
                    raise StoreDamagedError(
                        f"{self._root / self.folder.events_name(line.name)}: the store is damaged: what its lines say does "
                        f"not fit together ({error}); restore the folder from a copy"
                    ) from error
        if commits:
            forget_unnamed(self.kept.store)
