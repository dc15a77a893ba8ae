"""Token sequences as trees: what several of them have in common at their beginning is there once.

Templates are prefix-stable, so everything that is built on a conversation begins with its tokens:
the marker after each of its turns, its responses, its grounded prompts. As a tree they are a trunk
with branches, and one causal pass over the tree gives the states that a pass over each sequence
would give (docs/architecture.md, "Read once").

Nodes are tokens in depth-first order. Then a node j is an ancestor of a node i, or i itself,
exactly if ``j <= i < ends[j]``: two integers say who sees whom.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

Tokens = list[int]

LEAST_SHARED = 32
"""Sequences that share fewer tokens than this are kept in trees of their own: reading so few
twice costs less than attention to keys that lie apart."""


@dataclass(slots=True)
class Tree:
    """Some of a list of sequences, merged where they begin alike.

    ``ids``, ``positions`` (the depth) and ``ends`` (one more than the last descendant) are by node.
    ``rows`` tell which sequences of the list are in it, ``paths`` their nodes from the root.
    """

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    paths: list[list[int]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_chain(self) -> bool:
        """Whether it has no branches, so that plain causal attention serves."""
        return self.positions[-1] == len(self) - 1

    def add(self, row: int, tokens: Tokens, shared: int) -> None:
        """Hangs a sequence on the path of the one before it, after ``shared`` common tokens."""
        path = self.paths[-1][:shared] if self.paths else []
        for token in tokens[shared:]:
            path.append(len(self.ids))
            self.ids.append(token)
            self.positions.append(len(path) - 1)
        self.rows.append(row)
        self.paths.append(path)

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


def grow(sequences: Sequence[Tokens], budget: int, least_shared: int = LEAST_SHARED) -> list[Tree]:
    """Merges sequences into trees of at most ``budget`` tokens (one sequence may take more).

    Where a tree is full, the next one reads again what both have in common.
    """
    trees: list[Tree] = []
    before: Tokens = []
    for row in sorted(range(len(sequences)), key=lambda row: sequences[row]):
        tokens = sequences[row]
        shared = _shared(before, tokens)
        new = len(tokens) - shared
        full = bool(trees) and len(trees[-1]) + new > budget
        if not trees or (new and (shared < least_shared or full)):
            trees.append(Tree())
            shared = 0
        trees[-1].add(row, tokens, shared)
        before = tokens
    return [tree.close() for tree in trees]


def separate(sequences: Sequence[Tokens]) -> list[Tree]:
    """Each sequence as a tree of its own: nothing is shared."""
    trees = []
    for row, tokens in enumerate(sequences):
        trees.append(Tree())
        trees[-1].add(row, tokens, 0)
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


def packed(trees: Sequence[Tree], multiple: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """``ids``, ``positions`` and ``ends`` of trees one after another, int64 [1, length].

    ``length`` is the next multiple; a padding token at the end sees itself alone.
    """
    ids = [token for tree in trees for token in tree.ids]
    positions = [position for tree in trees for position in tree.positions]
    ends: list[int] = []
    for tree in trees:
        start = len(ends)
        ends += [start + end for end in tree.ends]
    padding = -len(ids) % multiple
    ends += range(len(ends) + 1, len(ends) + 1 + padding)
    zeros = [0] * padding
    return torch.tensor([ids + zeros]), torch.tensor([positions + zeros]), torch.tensor([ends])


def padded(trees: Sequence[Tree]) -> tuple[Tensor, Tensor, Tensor]:
    """``ids``, ``positions`` and ``ends``, int64 [n, length], padded on the right.

    A padding token sees itself alone, and no other token sees it.
    """
    length = max(map(len, trees))
    ids, positions = torch.zeros(2, len(trees), length, dtype=torch.long)
    ends = torch.arange(1, length + 1).repeat(len(trees), 1)
    for row, tree in enumerate(trees):
        for tensor, values in ((ids, tree.ids), (positions, tree.positions), (ends, tree.ends)):
            tensor[row, : len(tree)] = torch.tensor(values)
    return ids, positions, ends


def visible(ends: Tensor) -> Tensor:
    """Which node (row) sees which (column): bool [n, 1, length, length] from int64 [n, length]."""
    nodes = torch.arange(ends.shape[1], device=ends.device)
    mask = (nodes[None, :] <= nodes[:, None]) & (nodes[None, :, None] < ends[:, None, :])
    return mask[:, None]


def _shared(a: Tokens, b: Tokens) -> int:
    """How many tokens two sequences have in common at their beginning."""
    if a == b[: len(a)]:
        return len(a)
    return next(
        (place for place, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]),
        min(len(a), len(b)),
    )
