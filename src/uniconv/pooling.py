"""From the states of a sequence to its embedding."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

Pooling = Literal["last", "mean", "weighted_mean"]


def pool(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """Embeddings from last-layer states.

    ``hidden`` is [n, length, d], ``mask`` boolean [n, length] with padding on the right; returns
    float32 [n, d], L2-normalised. ``weighted_mean`` weighs a state by its position (SGPT,
    Muennighoff 2022, equation 2).
    """
    hidden = hidden.float()
    if pooling == "last":
        last = mask.sum(1) - 1
        return normalize(hidden[torch.arange(len(hidden), device=hidden.device), last], dim=-1)
    weights = mask.float()
    if pooling == "weighted_mean":
        weights = weights * torch.arange(1, mask.shape[1] + 1, device=mask.device)
    # The scale is lost in normalising, so the sum serves as the mean.
    with torch.autocast(hidden.device.type, enabled=False):  # sums of bfloat16 would lose too much
        return normalize(torch.einsum("nl,nld->nd", weights, hidden), dim=-1)
