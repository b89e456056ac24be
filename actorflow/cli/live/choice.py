"""Which tasks a live view shows where not all of them have room, and how many of each status it leaves out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Final

from attrs import frozen

from actorflow.cli.live.view import Row, RunView

__all__ = ["Choice", "chosen_rows"]


@frozen
class Choice:
    """The tasks that are shown, in the order in which people read them, and how many there are besides, by status."""

    rows: Sequence[Row]
    folded: Mapping[str, int]


def chosen_rows(view: RunView, height: int) -> Choice:
    """All tasks, where they have room with the names of their stages; else those that matter most now.

    These are the ones that have failed (where there are many, the latest in half of the room), that run, that wait; then,
    while the run goes on, those that ended last, and those that come next. One line is kept for how many are left out.

    Args:
        view: of the run.
        height: lines that there are for tasks and names of stages.
    """
    total = len(view.state.tasks)
    if total + len(view.stages) <= height:
        return Choice(_in_order(view, range(total)), {})
    numbers = _fitting(view, _by_weight(view, height), height - 1)
    rows = _in_order(view, numbers)
    left = dict(view.counts)
    for row in rows:
        left[row.status] -= 1
    return Choice(rows, {status: left[status] for status in _FOLD_ORDER if left.get(status)})


_FOLD_ORDER: Final = ("failed", "running", "waiting", "success", "skipped", "canceled", "pending")


def _by_weight(view: RunView, height: int) -> Iterator[int]:
    """The tasks that may be shown, those that matter most first, each once; a few more than have room."""
    failed = [*islice(reversed(view.numbers("failed")), height)]
    room = max(height // 2, 1)
    beside = [reversed(view.recent), islice(view.numbers("pending"), height)]
    return chain(
        failed[:room],
        islice(view.numbers("running"), height),
        islice(view.numbers("waiting"), height),
        failed[room:],
        *(beside if view.goes_on else ()),
    )


def _fitting(view: RunView, numbers: Iterable[int], height: int) -> Sequence[int]:
    """As many of the tasks as have room, each stage taking a line for its name."""
    found: list[int] = []
    stages: set[str] = set()
    used = 0
    for number in numbers:
        stage = view.stage_of(number)
        lines = 1 + (bool(stage) and stage not in stages)
        if used + lines > height:
            break
        used += lines
        stages.add(stage)
        found.append(number)
    return found


def _in_order(view: RunView, numbers: Iterable[int]) -> Sequence[Row]:
    return sorted((view.row(number) for number in numbers), key=lambda row: row.place)
