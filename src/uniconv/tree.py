"""Token sequences as trees: what several of them have in common at their beginning is there once.

Templates are prefix-stable, so everything that is built on a conversation begins with its tokens:
the marker after each of its turns, its responses, its grounded prompts. As a tree they are a trunk
with branches, and one causal pass over the tree gives the states that a pass over each sequence
would give (docs/architecture.md, "Read once").

Nodes are tokens in depth-first order. Then a node j is an ancestor of a node i, or i itself,
exactly if ``j <= i < ends[j]``. A wall in a sequence hides what is before it from what follows it
(the session mask): i sees j only if, besides, j is at depth ``firsts[i]`` or below.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

Tokens = list[int]

LEAST_SHARED = 32
"""Sequences that share fewer tokens than this are kept in trees of their own: reading so few
twice costs less than attention to keys that lie apart."""


@dataclass(slots=True)
class Tree:
    """Some of a list of sequences, merged where they begin alike.

    ``ids``, ``positions`` (the depth), ``ends`` (one more than the last descendant) and ``firsts``
    (the least depth that it sees) are by node. ``rows`` tell which sequences of the list are in
    it, ``paths`` their nodes from the root and ``walls`` the place in each from which on its later
    tokens see, 0 for all.
    """

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    paths: list[list[int]] = field(default_factory=list)
    walls: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_chain(self) -> bool:
        """Whether it has no branches and no walls, so that plain causal attention serves."""
        return self.positions[-1] == len(self) - 1 and not any(self.walls)

    def add(self, row: int, tokens: Tokens, shared: int, wall: int = 0) -> None:
        """Hangs a sequence on the path of the one before it, after ``shared`` common tokens."""
        path = self.paths[-1][:shared] if self.paths else []
        for token in tokens[shared:]:
            path.append(len(self.ids))
            self.ids.append(token)
            self.positions.append(len(path) - 1)
            self.firsts.append(wall if len(path) > wall + 1 else 0)
        self.rows.append(row)
        self.paths.append(path)
        self.walls.append(wall)

    def close(self) -> Tree:
        """Computes ``ends``, once all sequences are in."""
        self.ends = [node + 1 for node in range(len(self))]
        waiting: list[int] = []  # the path to the node, whose ends are still open
        for node, position in enumerate(self.positions):
            for done in waiting[position:]:
                self.ends[done] = node
            del waiting[position:]
            waiting.append(node)
        for done in waiting:
            self.ends[done] = len(self)
        return self


def grow(
    sequences: Sequence[Tokens],
    budget: int,
    least_shared: int = LEAST_SHARED,
    walls: Sequence[int] = (),
) -> list[Tree]:
    """Merges sequences into trees of at most ``budget`` tokens (one sequence may take more).

    Where a tree is full, the next one reads again what both have in common. ``walls`` are by
    sequence, none where it is empty; behind different walls nothing is in common.
    """
    walls = walls or [0] * len(sequences)
    trees: list[Tree] = []
    before: Tokens = []
    before_wall = 0
    for row in sorted(range(len(sequences)), key=lambda row: (sequences[row], walls[row])):
        tokens, wall = sequences[row], walls[row]
        shared = _shared(before, tokens)
        if wall != before_wall:
            shared = min(shared, 1 + min(filter(None, (wall, before_wall))))
        new = len(tokens) - shared
        full = bool(trees) and len(trees[-1]) + new > budget
        if not trees or (new and (shared < least_shared or full)):
            trees.append(Tree())
            shared = 0
        trees[-1].add(row, tokens, shared, wall)
        before, before_wall = tokens, wall
    return [tree.close() for tree in trees]


def separate(sequences: Sequence[Tokens], walls: Sequence[int] = ()) -> list[Tree]:
    """Each sequence as a tree of its own: nothing is shared."""
    trees = []
    for row, tokens in enumerate(sequences):
        trees.append(Tree())
        trees[-1].add(row, tokens, 0, walls[row] if walls else 0)
    return [tree.close() for tree in trees]


def batches(trees: Sequence[Tree], budget: int) -> Iterator[list[Tree]]:
    """Trees of similar size, those with branches apart from those without, largest first.

    A batch with its padding takes at most ``budget`` tokens (one tree may take more), and its
    largest tree is at most twice as large as its smallest.
    """
    order = sorted(trees, key=lambda tree: (tree.is_chain, -len(tree)))
    while order:
        first = order[0]
        size = 1
        while (
            size < len(order)
            and order[size].is_chain == first.is_chain
            and (size + 1) * len(first) <= budget
            and 2 * len(order[size]) >= len(first)
        ):
            size += 1
        yield order[:size]
        order = order[size:]


def packs(trees: Sequence[Tree], budget: int) -> Iterator[list[Tree]]:
    """Trees in their order, as many as ``budget`` tokens hold at a time (one may take more)."""
    pack: list[Tree] = []
    size = 0
    for tree in trees:
        if pack and size + len(tree) > budget:
            yield pack
            pack, size = [], 0
        pack.append(tree)
        size += len(tree)
    if pack:
        yield pack


class Layout(NamedTuple):
    """Trees as tensors, int64 [n, length] each; a padding token sees itself alone."""

    ids: Tensor
    positions: Tensor
    ends: Tensor
    firsts: Tensor

    def to(self, device: torch.device) -> Layout:
        return Layout(*(tensor.to(device) for tensor in self))

    def visible(self) -> Tensor:
        """Which node (row) sees which (column): bool [n, 1, length, length]."""
        nodes = torch.arange(self.ends.shape[1], device=self.ends.device)
        ancestor = (nodes[None, :] <= nodes[:, None]) & (nodes[None, :, None] < self.ends[:, None])
        return (ancestor & (self.positions[:, None] >= self.firsts[:, :, None]))[:, None]


def packed(trees: Sequence[Tree], multiple: int = 1) -> Layout:
    """Trees one after another in one row, whose length is filled up to a multiple."""
    whole = Tree()
    for tree in trees:
        start = len(whole)
        whole.ids += tree.ids
        whole.positions += tree.positions
        whole.firsts += tree.firsts
        whole.ends += [start + end for end in tree.ends]
    return padded([whole], -(-len(whole) // multiple) * multiple)


def padded(trees: Sequence[Tree], length: int = 0) -> Layout:
    """A row for each tree, padded on the right to ``length`` or the longest."""
    length = max(length, *map(len, trees))
    ids, positions, firsts = torch.zeros(3, len(trees), length, dtype=torch.long)
    ends = torch.arange(1, length + 1).repeat(len(trees), 1)
    for row, tree in enumerate(trees):
        of_tree = (tree.ids, tree.positions, tree.ends, tree.firsts)
        for tensor, values in zip((ids, positions, ends, firsts), of_tree, strict=True):
            tensor[row, : len(tree)] = torch.tensor(values)
    return Layout(ids, positions, ends, firsts)


def _shared(a: Tokens, b: Tokens) -> int:
    """How many tokens two sequences have in common at their beginning."""
    if a == b[: len(a)]:
        return len(a)
    return next(
        (place for place, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]),
        min(len(a), len(b)),
    )
