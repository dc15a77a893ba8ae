"""Attention over trees: a token sees its ancestors, and no mask of all pairs is made.

The LM's linear layers run over the tokens of many trees, packed one after another without padding.
Attention then goes sequence by sequence: the longest of a tree first, and of every other one for
the tokens that no earlier one has, with the keys of their whole path. It is exact, and costs what
the sequences' own attention would, less what they share. On CUDA one kernel of ``flex_attention``
does it, by blocks of the mask that :mod:`uniconv.tree` describes.

Transformers calls it as the attention implementation ``uniconv``, which is its own ``sdpa`` for
every pass that gives no ``pattern`` of who sees whom.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch._dynamo.config
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from uniconv.tree import Layout, Tree

NAME = "uniconv"


class Pattern(Protocol):
    """Who sees whom among the tokens of a row, as what computes attention by it."""

    def attend(
        self, layer: Any, query: Tensor, key: Tensor, value: Tensor, **options: Any
    ) -> Tensor:
        """Queries [1, h, n, d] over keys and values [1, g, n, d]; gives [1, n, h, d].

        ``layer`` is the LM's module; options are ``scaling``, ``dropout``, and ``window``, the
        number of tokens that the layer sees back, itself included, if not all.
        """


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

    def attend(
        self,
        layer: Any,  # noqa: ARG002
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scaling: float | None,
        dropout: float,
        window: int | None,  # noqa: ARG002 no sequence is longer (uniconv.states)
    ) -> Tensor:
        # One gather and one split for all segments: a slice each would cost them all in backward.
        queries = torch.split(query.index_select(2, self.queries), self.asking, 2)
        keys = torch.split(key.index_select(2, self.keys), self.lengths, 2)
        values = torch.split(value.index_select(2, self.keys), self.lengths, 2)
        pieces = [
            scaled_dot_product_attention(
                q,
                k,
                v,
                attn_mask=_causal_tail(q.shape[2], k.shape[2], q.device),
                is_causal=q.shape[2] == k.shape[2],
                dropout_p=dropout,
                scale=scaling,
                enable_gqa=q.shape[1] != k.shape[1],
            )
            for q, k, v in zip(queries, keys, values, strict=True)
        ]
        return torch.cat(pieces, 2).index_select(2, self.answers).transpose(1, 2)


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


@dataclass(frozen=True, slots=True)
class Blocks:
    """Trees in one row, as the mask of ``flex_attention``."""

    mask: BlockMask

    def attend(
        self, layer: Any, query: Tensor, key: Tensor, value: Tensor, **options: Any
    ) -> Tensor:
        del options["window"]  # no sequence is longer (uniconv.states)
        # Under autocast, rotary positions of a float32 model make queries and keys float32, but not
        # values; and not every version of this kernel takes more than one dtype.
        query, key = query.to(value.dtype), key.to(value.dtype)
        found: Tensor = flex_attention_forward(layer, query, key, value, self.mask, **options)[0]
        return found


def blocks(layout: Layout) -> Blocks:
    """The mask of trees in one row."""
    positions, ends, firsts = layout.positions[0], layout.ends[0], layout.firsts[0]

    def sees(_batch: Tensor, _head: Tensor, node: Tensor, other: Tensor) -> Tensor:
        return (other <= node) & (node < ends[other]) & (positions[other] >= firsts[node])

    length = len(ends)
    return Blocks(create_block_mask(sees, None, None, length, length, device=ends.device))


def uniconv_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    pattern: Pattern | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """By the pattern if there is one, else by the mask, as transformers calls it."""
    if pattern is not None:
        window = options.get("sliding_window")
        about = {"scaling": scaling, "dropout": dropout, "window": window}
        return pattern.attend(module, query, key, value, **about), None
    found: tuple[Tensor, None] = sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
    )
    return found


def _causal_tail(asking: int, length: int, device: torch.device) -> Tensor | None:
    """The causal mask of the last tokens of ``length``, bool [asking, length]; None if all ask."""
    if asking == length:
        return None
    return torch.ones(asking, length, dtype=torch.bool, device=device).tril(length - asking)


# Flex attention is compiled for each mode in which it is called (with and without gradients,
# autocast, inference; not for each length). After 8 times PyTorch would silently compute all pairs.
torch._dynamo.config.cache_size_limit = max(64, torch._dynamo.config.cache_size_limit)

AttentionInterface.register(NAME, uniconv_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
