"""How much a definition may grow while its subflows are written out where they are used."""

from __future__ import annotations

from typing import Final, final

from attrs import define

from actorflow.spec.text.nodes import ListNode, MapNode, Mark, Node
from actorflow.spec.text.report import Report

__all__ = ["Filling", "Growth"]

_MOST_TASKS: Final = 20_000  # which are read in some three seconds
_MOST_LEVELS: Final = 32
_LONGEST: Final = 64 * 1024
_MOST_TEXT: Final = 8 * 1024 * 1024


@final
class Growth:
    """What subflows may still add to one file: tasks, and what is put into texts."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._tasks = _MOST_TASKS
        self._text = _MOST_TEXT

    @property
    def is_spent(self) -> bool:
        """Whether nothing more may be put into any text."""
        return self._text < 0

    def add_tasks(self, count: int) -> None:
        """Count tasks that are written out for a subflow."""
        self._tasks -= count

    def admits_subflow(self, levels: int, mark: Mark) -> bool:
        """Whether one more may be written out, inside so many levels of tasks; reported where it may not."""
        if self._tasks < 0:
            what = f"the subflows make more than {_MOST_TASKS:,} tasks"
        elif levels > _MOST_LEVELS:
            what = f"the subflows make tasks inside each other more than {_MOST_LEVELS} levels deep"
        else:
            return True
        self._report.add(
            "E128", mark, f"subflow: {what}", "use a collection, or fewer subflows in each other"
        )
        return False

    def filling(self, mark: Mark) -> Filling:
        """A text that values are going to be put into."""
        return Filling(self, mark)

    def spend(self, size: int, filled: int, mark: Mark) -> bool:
        """Whether a text that holds `filled` of values may take `size` more; reported where it may not."""
        self._text -= size
        if filled <= _LONGEST and not self.is_spent:
            return True
        message = f"more than {_LONGEST // 1024} KiB are put into one text"
        if filled <= _LONGEST:
            message = f"more than {_MOST_TEXT // 1024 // 1024} MiB are put into the texts of subflows"
        self._report.add("E128", mark, message, "pass data in inputs of the workflow, or in files")
        return False


@define
class Filling:
    """One text, and how much of values it holds: characters, and the parts of lists and mappings."""

    growth: Growth
    mark: Mark
    filled: int = 0
    is_refused: bool = False

    def takes(self, value: Node) -> bool:
        """Whether the value may be put there as well."""
        if not self.is_refused:
            size = 0 if self.growth.is_spent else _size(value)
            self.filled += size
            self.is_refused = not self.growth.spend(size, self.filled, self.mark)
        return not self.is_refused


def _size(value: Node) -> int:
    """The size of a value, at most a little above what a text may hold: it may share its parts many times over."""
    size, pending = 0, [value]
    while pending and size <= _LONGEST:
        part = pending.pop()
        size += len(part) if isinstance(part, str) else 1
        if isinstance(part, MapNode):
            size += sum(map(len, part))
            pending.extend(part.values())
        elif isinstance(part, ListNode):
            pending.extend(part)
    return size
