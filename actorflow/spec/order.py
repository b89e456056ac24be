"""What comes before what: topological order, cycles, and who is upstream of whom, for any number of nodes.

Nodes are numbered; `before[n]` lists the nodes that must have ended before n starts. All of it is linear in nodes and
edges but `not_upstream`, and none of it recurses.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

__all__ = ["Before", "cycles", "not_upstream", "topological"]

Before: TypeAlias = Sequence[Sequence[int]]

_MOST_CYCLES: Final = 20
_BATCH: Final = 1_024  # targets that share one sweep: a mask of 128 bytes a node


def topological(before: Before) -> list[int]:
    """The nodes in an order in which each comes after all that is before it; those in or behind a cycle are missing."""
    after = _reversed(before)
    unmet = [len(nodes) for nodes in before]
    ready = deque(node for node, count in enumerate(unmet) if count == 0)
    order: list[int] = []
    while ready:
        node = ready.popleft()
        order.append(node)
        for follower in after[node]:
            unmet[follower] -= 1
            if unmet[follower] == 0:
                ready.append(follower)
    return order


def cycles(before: Before) -> list[list[int]]:
    """Some cycles, at most twenty, no two with a node in common, and each from its lowest node in running order."""
    left = set(range(len(before))).difference(topological(before))
    found: list[list[int]] = []
    while left and len(found) < _MOST_CYCLES:
        cycle = _one_cycle(before, left)
        if not cycle:
            break
        found.append(cycle)
        left.difference_update(cycle)
        left = _still_cyclic(before, left)
    return found


def _one_cycle(before: Before, left: set[int]) -> list[int]:
    """Walk back along edges until a node comes again; each node that is left has an edge to another that is."""
    place: dict[int, int] = {}
    walk: list[int] = []
    node = min(left)
    while node not in place:
        place[node] = len(walk)
        walk.append(node)
        step = next((other for other in before[node] if other in left), None)
        if step is None:
            return []
        node = step
    cycle = walk[place[node] :][::-1]  # backwards along `before` is forwards in time
    lowest = cycle.index(min(cycle))
    return cycle[lowest:] + cycle[:lowest]


def _still_cyclic(before: Before, left: set[int]) -> set[int]:
    """Those of the nodes that are in or behind a cycle among themselves."""
    numbers = sorted(left)
    index = {node: number for number, node in enumerate(numbers)}
    inner = [[index[other] for other in before[node] if other in index] for node in numbers]
    done = set(topological(inner))
    return {node for number, node in enumerate(numbers) if number not in done}


def not_upstream(
    before: Before, order: Sequence[int], pairs: Iterable[tuple[int, int]]
) -> set[tuple[int, int]]:
    """Of pairs (reader, target), those whose target is not, by any path, before the reader.

    Targets are taken 1,024 at a time: one sweep over the nodes in their order carries a bit for each. A pair that is
    joined by an edge costs nothing.
    """
    readers: dict[int, set[int]] = {}
    for reader, target in pairs:
        if target not in before[reader]:
            readers.setdefault(target, set()).add(reader)
    targets = sorted(readers)
    missing: set[tuple[int, int]] = set()
    for start in range(0, len(targets), _BATCH):
        bits = {target: 1 << number for number, target in enumerate(targets[start : start + _BATCH])}
        reached = _sweep(before, order, bits)
        for target, bit in bits.items():
            missing.update((reader, target) for reader in readers[target] if not reached[reader] & bit)
    return missing


def _sweep(before: Before, order: Sequence[int], bits: dict[int, int]) -> list[int]:
    """For each node, the bits of the targets that are before it."""
    reached = [0] * len(before)
    for node in order:
        mask = 0
        for other in before[node]:
            mask |= reached[other] | bits.get(other, 0)
        reached[node] = mask
    return reached


def _reversed(before: Before) -> list[list[int]]:
    after: list[list[int]] = [[] for _ in before]
    for node, others in enumerate(before):
        for other in others:
            after[other].append(node)
    return after
