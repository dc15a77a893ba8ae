"""Attention over trees: a token sees its ancestors, and no mask of all pairs is made.

The LM's linear layers run over the tokens of many trees, packed one after another without padding.
Attention then goes sequence by sequence: the longest of a tree first, and of every other one for
the tokens that no earlier one has, with the keys of their whole path. It is exact, and costs what
the sequences' own attention would, less what they share. On CUDA one kernel of ``flex_attention``
does it, by blocks of the mask that :mod:`uniconv.tree` describes.

Transformers calls it as the attention implementation ``uniconv``, which is its own ``sdpa`` for
every pass that gives no ``tree``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from uniconv.tree import Layout, Tree

NAME = "uniconv"


@dataclass(frozen=True, slots=True)
class Segments:
    """Trees, packed one after another, as what attention computes piece by piece.

    A segment is a path of nodes of which the last ``asking`` ask and all are seen. ``keys``
    (int64) are the nodes of all paths, ``lengths`` how many each path has; ``queries`` are the
    nodes that ask, segment by segment; ``answers`` (int64) tells for each node which of all the
    queries' results is its own.
    """

    keys: Tensor
    lengths: list[int]
    queries: Tensor
    asking: list[int]
    answers: Tensor


def segments(trees: Sequence[Tree], device: torch.device) -> Segments:
    """Every node gets its answer in one segment: that of the longest path that it is on.

    Where more than half of a path is new, all of it asks: half of a square costs less than most
    of it. Behind a wall a path goes on as a segment of its own, that sees from the wall on.
    """
    keys: list[int] = []
    queries: list[int] = []
    lengths: list[int] = []
    asking: list[int] = []
    answers = [-1] * sum(map(len, trees))
    start = 0
    for tree in trees:
        for seen, first in sorted(_runs(tree), key=lambda run: -len(run[0])):
            path = [start + node for node in seen]
            new = [node for node in path[first:] if answers[node] < 0]
            if new:
                asks = path if 2 * len(new) > len(path) else new
                for back, node in enumerate(reversed(new), 1):
                    answers[node] = len(queries) + len(asks) - back
                keys += path
                queries += asks
                lengths.append(len(path))
                asking.append(len(asks))
        start += len(tree)
    return Segments(
        torch.tensor(keys, device=device),
        lengths,
        torch.tensor(queries, device=device),
        asking,
        torch.tensor(answers, device=device),
    )


def _runs(tree: Tree) -> Iterator[tuple[list[int], int]]:
    """Nodes of which each sees all before it, and the place from which on they ask in this run.

    A wall begins the run of what follows it, but asks in the one before.
    """
    for path, wall in zip(tree.paths, tree.walls, strict=True):
        yield path[: wall + 1] if wall else path, 0
        if wall:
            yield path[wall:], 1


def blocks(layout: Layout) -> BlockMask:
    """The mask of ``flex_attention`` for trees in one row."""
    positions, ends, firsts = layout.positions[0], layout.ends[0], layout.firsts[0]

    def sees(_batch: Tensor, _head: Tensor, node: Tensor, other: Tensor) -> Tensor:
        return (other <= node) & (node < ends[other]) & (positions[other] >= firsts[node])

    length = len(ends)
    return create_block_mask(sees, None, None, length, length, device=ends.device)


def tree_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    tree: Segments | BlockMask | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """Queries [1, h, n, d] over keys and values [1, g, n, d]; gives [1, n, h, d]."""
    if tree is None:
        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
        return found
    if isinstance(tree, BlockMask):
        flex: tuple[Tensor, Tensor | None] = flex_attention_forward(
            module, query, key, value, tree, scaling=scaling, dropout=dropout
        )
        return flex
    # One gather and one split for all segments: a slice each would cost them all in backward.
    queries = torch.split(query.index_select(2, tree.queries), tree.asking, 2)
    keys = torch.split(key.index_select(2, tree.keys), tree.lengths, 2)
    values = torch.split(value.index_select(2, tree.keys), tree.lengths, 2)
    pieces = [
        scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=_last(q.shape[2], k.shape[2], q.device),
            is_causal=q.shape[2] == k.shape[2],
            dropout_p=dropout,
            scale=scaling,
            enable_gqa=q.shape[1] != k.shape[1],
        )
        for q, k, v in zip(queries, keys, values, strict=True)
    ]
    return torch.cat(pieces, 2).index_select(2, tree.answers).transpose(1, 2), None


def _last(asking: int, length: int, device: torch.device) -> Tensor | None:
    """The causal mask of the last tokens of so many, bool [asking, length], if not all ask."""
    if asking == length:
        return None
    return torch.ones(asking, length, dtype=torch.bool, device=device).tril(length - asking)


AttentionInterface.register(NAME, tree_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
