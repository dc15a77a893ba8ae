"""Sequences merged into trees keep their tokens, and every node sees exactly its ancestors."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from uniconv.tree import Tree, batches, grow, packed, padded, separate

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


WALLED = st.lists(
    st.lists(st.integers(0, 2), min_size=1, max_size=8).flatmap(
        lambda tokens: st.tuples(st.just(tokens), st.integers(0, len(tokens) - 1))
    ),
    min_size=1,
    max_size=8,
)


@given(WALLED, WALLED)
def test_a_node_sees_its_ancestors_and_itself_down_to_its_wall(
    first: list[tuple[list[int], int]], second: list[tuple[list[int], int]]
) -> None:
    trees = [
        grow([tokens for tokens, _ in one], 1000, least_shared=0, walls=[wall for _, wall in one])
        for one in (first, second)
    ]
    rows = padded([tree for tree, *_ in trees])
    one_row = packed([tree for tree, *_ in trees], multiple=16)
    assert one_row.ids.shape[1] % 16 == 0
    expected = {node: {node} for node in range(one_row.ids.shape[1])}  # padding sees itself
    start = 0
    for number, (tree, *_) in enumerate(trees):
        for path, wall in zip(tree.paths, tree.walls, strict=True):
            for place, node in enumerate(path):
                begin = wall if place > wall else 0
                expected[start + node] = {start + other for other in path[begin : place + 1]}
        length = len(tree)
        ids, positions = rows.ids[number, :length], rows.positions[number, :length]
        assert (ids.tolist(), positions.tolist()) == (tree.ids, tree.positions)
        inner = one_row.visible()[0, 0, start : start + length, start : start + length]
        assert torch.equal(inner, rows.visible()[number, 0, :length, :length])
        start += length
    visible = one_row.visible()[0, 0]
    assert {node: set(seen.nonzero().flatten().tolist()) for node, seen in enumerate(visible)} == (
        expected
    )


@given(WALLED)
def test_walls_are_kept_and_nothing_behind_different_ones_is_shared(
    sequences: list[tuple[list[int], int]],
) -> None:
    trees = grow([one for one, _ in sequences], 1000, 0, [wall for _, wall in sequences])
    assert rebuilt(trees, len(sequences)) == [tokens for tokens, _ in sequences]
    for tree in trees:
        for row, path, wall in zip(tree.rows, tree.paths, tree.walls, strict=True):
            assert wall == sequences[row][1]
            firsts = [wall if place > wall else 0 for place in range(len(path))]
            assert [tree.firsts[node] for node in path] == firsts


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
