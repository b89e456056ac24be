"""`loop:` of a task: how often it is repeated, and how that is bounded."""

from __future__ import annotations

from typing import Final

from actorflow.spec.model import LoopSpec, TaskId
from actorflow.spec.readers.block import Block
from actorflow.spec.readers.draft import Draft, Scope
from actorflow.spec.readers.expressions import read_condition
from actorflow.spec.readers.words import LOOP

__all__ = ["read_loop"]

_WAYS: Final = ("repeat", "while", "until")
_MOST_ITERATIONS: Final = 1_000_000


def read_loop(draft: Draft, block: Block, scope: Scope) -> LoopSpec | None:
    """Read `loop:`; its conditions read the output of the iteration before them, and the iteration's `index`."""
    loop = block.block("loop")
    if loop is None:
        return None
    loop.allow(LOOP)
    given = [way for way in _WAYS if loop.has(way)]
    if not given:
        loop.own_fault("E122", "does not say how often", "add repeat:, while: or until:")
    for way in given[1:]:
        loop.key_fault("E125", way, f"{given[0]!r} and {way!r} both say how often; keep one")
    _check_bound(loop, given)
    after = _after(scope, scope.task)
    return LoopSpec(
        repeat=loop.integer("repeat", 1, _MOST_ITERATIONS),
        while_=read_condition(draft, loop, "while", after),
        until=read_condition(draft, loop, "until", after),
        max_iterations=loop.integer("max_iterations", 1, _MOST_ITERATIONS),
        delay=loop.duration("delay"),
        collect=loop.boolean("collect") or False,
    )


def _check_bound(loop: Block, given: list[str]) -> None:
    if loop.has("max_iterations"):
        if given == ["repeat"]:
            loop.key_fault("E125", "max_iterations", "'repeat' says how often already")
    elif given and given != ["repeat"]:
        loop.own_fault("E122", f"a loop with {given[-1]!r} needs a bound", "add max_iterations")


def _after(scope: Scope, task: TaskId) -> Scope:
    return Scope("after", scope.level, task, names=(*scope.names, "index"))
