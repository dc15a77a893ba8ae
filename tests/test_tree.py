"""Sequences merged into trees keep their tokens, and every node sees exactly its ancestors."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from uniconv.tree import Tree, batches, grow, padded, separate, visible

# Few different tokens, so that beginnings are often shared.
SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=8)


def rebuilt(trees: list[Tree], count: int) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in range(count)]
    for tree in trees:
        for row, path in zip(tree.rows, tree.paths, strict=True):
            found[row] = [tree.ids[node] for node in path]
            assert [tree.positions[node] for node in path] == list(range(len(path)))
    return found


@given(SEQUENCES, st.integers(1, 40), st.integers(0, 4))
def test_no_token_is_lost_and_trees_keep_to_their_budget(
    sequences: list[list[int]], budget: int, least_shared: int
) -> None:
    trees = grow(sequences, budget, least_shared)
    assert rebuilt(trees, len(sequences)) == sequences
    assert sorted(row for tree in trees for row in tree.rows) == list(range(len(sequences)))
    for tree in trees:
        assert len(tree) <= max(budget, max(len(sequences[row]) for row in tree.rows))
    assert rebuilt(separate(sequences), len(sequences)) == sequences


@given(SEQUENCES)
def test_every_common_beginning_is_there_once(sequences: list[list[int]]) -> None:
    (tree,) = grow(sequences, budget=1000, least_shared=0)
    prefixes = {tuple(one[:length]) for one in sequences for length in range(1, len(one) + 1)}
    assert len(tree) == len(prefixes)
    assert tree.is_chain == (len(prefixes) == max(map(len, sequences)))


@given(SEQUENCES, SEQUENCES)
def test_a_node_sees_its_ancestors_and_itself(
    first: list[list[int]], second: list[list[int]]
) -> None:
    trees = [grow(one, budget=1000, least_shared=0)[0] for one in (first, second)]
    ids, positions, ends = padded(trees)
    mask = visible(ends)
    assert mask.shape == (2, 1, ids.shape[1], ids.shape[1])
    for row, tree in enumerate(trees):
        expected = {node: {node} for node in range(ids.shape[1])}  # padding sees itself
        for path in tree.paths:
            for place, node in enumerate(path):
                expected[node] = set(path[: place + 1])
        for node, ancestors in expected.items():
            assert set(mask[row, 0, node].nonzero().flatten().tolist()) == ancestors
        assert ids[row, : len(tree)].tolist() == tree.ids
        assert positions[row, : len(tree)].tolist() == tree.positions


@given(st.lists(SEQUENCES, min_size=1, max_size=6), st.integers(1, 60))
def test_batches_hold_trees_of_one_kind_and_similar_size(
    groups: list[list[list[int]]], budget: int
) -> None:
    trees = [grow(one, budget=1000, least_shared=0)[0] for one in groups]
    found = list(batches(trees, budget))
    assert sorted(map(id, trees)) == sorted(id(tree) for batch in found for tree in batch)
    for batch in found:
        sizes = [len(tree) for tree in batch]
        assert len(batch) == 1 or len(batch) * max(sizes) <= budget
        assert max(sizes) <= 2 * min(sizes)
        assert len({tree.is_chain for tree in batch}) == 1
