"""One pass of the LM over new tokens of many sequences, of any length and without padding.

Linear layers run over all tokens as one row. In attention each sequence's tokens see the keys and
values that it has already, and their own up to themselves. So the first tokens of a conversation,
the next token of an answer and a passage to embed share one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from uniconv.engine.kv import KVBuffer
from uniconv.model import UniConv


@dataclass(slots=True)
class Chunk:
    """The next tokens of a sequence whose keys and values so far are in ``kv``."""

    kv: KVBuffer
    tokens: list[int]


class RaggedBatch:
    """Chunks as a pattern of attention (:class:`uniconv.attention.Pattern`)."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._chunks = chunks
        self._lengths = [len(chunk.tokens) for chunk in chunks]
        self._masks: dict[tuple[int, int, int | None], Tensor] = {}

    def attend(
        self,
        layer: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scaling: float | None,
        dropout: float,  # noqa: ARG002 nothing is trained here
        window: int | None,
    ) -> Tensor:
        """Queries [1, h, n, d] over keys and values [1, g, n, d]; gives [1, n, h, d]."""
        new = (torch.split(tensor[0], self._lengths, 1) for tensor in (query, key, value))
        pieces = [
            self._attend(q, chunk.kv.write(layer.layer_idx, k, v), scaling, window)
            for chunk, q, k, v in zip(self._chunks, *new, strict=True)
        ]
        return torch.cat(pieces, 1).transpose(0, 1)[None]

    def _attend(
        self, query: Tensor, stored: Tensor, scaling: float | None, window: int | None
    ) -> Tensor:
        """A sequence's last queries [h, n, d] over its keys and values [2, g, l, d]: [h, n, d]."""
        heads, new, size = query.shape
        if window is not None:
            stored = stored[:, :, -(window + new - 1) :]
        groups, length = stored.shape[1:3]
        keys, values = stored[:, None]
        slides = window is not None and length > window
        if new == length and not slides:
            whole = scaled_dot_product_attention(
                query[None], keys, values, is_causal=True, scale=scaling, enable_gqa=heads != groups
            )
            return whole[0]
        # Heads that share keys become rows of one matrix: keys aren't repeated for each of them.
        rows = query.reshape(groups, -1, size)
        mask = None if new == 1 else self._mask(new, length, window, query, heads // groups)
        found = scaled_dot_product_attention(
            rows[None], keys, values, attn_mask=mask, scale=scaling
        )
        return found.view(heads, new, size)

    def _mask(
        self, new: int, length: int, window: int | None, query: Tensor, repeats: int
    ) -> Tensor:
        """What the last ``new`` of ``length`` tokens don't see is minus infinity, the rest 0.

        [repeats * new, length]; it is made once for all layers.
        """
        known = self._masks.get((new, length, window))
        if known is None:
            seen = torch.ones(new, length, dtype=torch.bool, device=query.device)
            seen = seen.tril(length - new)
            if window is not None:
                seen = seen.triu(length - new - window + 1)
            known = torch.zeros(new, length, dtype=query.dtype, device=query.device)
            known = known.masked_fill(~seen, float("-inf")).repeat(repeats, 1)
            self._masks[new, length, window] = known
        return known


@torch.inference_mode()
def run(model: UniConv, chunks: Sequence[Chunk]) -> list[Tensor]:
    """The last-layer states [n, d] of each chunk's tokens, whose keys and values are kept.

    A chunk's buffer must not be in another chunk.
    """
    lm = model.reader.lm
    tokens = [token for chunk in chunks for token in chunk.tokens]
    starts = [(chunk.kv.length, len(chunk.tokens)) for chunk in chunks]
    positions = [start + place for start, count in starts for place in range(count)]
    hidden = lm.base_model(
        input_ids=torch.tensor([tokens], device=lm.device),
        position_ids=torch.tensor([positions], device=lm.device),
        # A mask of four dimensions keeps transformers from making one of all pairs.
        attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool, device=lm.device),
        pattern=RaggedBatch(chunks),
        use_cache=False,
    ).last_hidden_state[0]
    for chunk in chunks:
        chunk.kv.extend(len(chunk.tokens))
    return list(torch.split(hidden, [len(chunk.tokens) for chunk in chunks]))
