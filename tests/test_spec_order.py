"""Order among nodes, against the plainest way to say it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actorflow.spec.order import cycles, not_upstream, topological

GRAPHS = st.integers(1, 12).flatmap(
    lambda count: st.lists(
        st.lists(st.integers(0, count - 1), max_size=3, unique=True), min_size=count, max_size=count
    )
)


def ancestors(before: list[list[int]], node: int) -> set[int]:
    """All that is before a node, found by walking."""
    found: set[int] = set()
    pending = list(before[node])
    while pending:
        other = pending.pop()
        if other not in found:
            found.add(other)
            pending.extend(before[other])
    return found


@given(GRAPHS)
def test_each_node_comes_after_all_that_is_before_it(before: list[list[int]]):
    order = topological(before)

    place = {node: index for index, node in enumerate(order)}
    assert all(place[other] < place[node] for node in order for other in before[node])
    cyclic = {node for node in range(len(before)) if node in ancestors(before, node)}
    behind = {node for node in range(len(before)) if ancestors(before, node) & cyclic}
    assert set(range(len(before))) - set(order) == cyclic | behind


@given(GRAPHS)
def test_cycles_are_cycles_and_are_found_if_there_is_one(before: list[list[int]]):
    found = cycles(before)

    for cycle in found:
        for index, node in enumerate(cycle):
            assert cycle[index - 1] in before[node]
        assert cycle[0] == min(cycle)
    assert bool(found) == (len(topological(before)) < len(before))
    nodes = [node for cycle in found for node in cycle]
    assert len(nodes) == len(set(nodes))


@given(GRAPHS)
def test_who_is_upstream_is_who_a_walk_finds(before: list[list[int]]):
    acyclic = [[other for other in others if other < node] for node, others in enumerate(before)]
    pairs = {(reader, target) for reader in range(len(acyclic)) for target in range(len(acyclic))}

    missing = not_upstream(acyclic, topological(acyclic), pairs)

    assert missing == {
        (reader, target) for reader, target in pairs if target not in ancestors(acyclic, reader)
    }


def test_more_targets_than_one_sweep_carries_are_found_too():
    count = 3_000
    chain = [[node - 1] if node else [] for node in range(count)]
    pairs = {(count - 1, node) for node in range(count - 1)} | {(0, count - 1)}

    assert not_upstream(chain, topological(chain), pairs) == {(0, count - 1)}
