"""Whether the parts of the objective pull the same way: their gradients, compared."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from uniconv.training.batch import PARTS, Batch
from uniconv.training.distributed import processes, total
from uniconv.training.objective import Objective
from uniconv.training.sharding import is_sharded

TURNS = 8
"""Turns, of all processes together, whose gradients are compared: a batch of the default size, so
that in-batch negatives are as hard as in training."""

NUMBERS = 100_000_000
"""The most numbers of a gradient that are compared. Adapters have fewer; of a model that is trained
in full, tensors are taken evenly from all of it, to save the memory of several gradients."""

Picks = list[tuple[int, random.Random]]


def few(picks: Picks) -> Picks:
    """The turns of a forward pass of one process whose gradients are compared."""
    return picks[: math.ceil(TURNS / processes())]


def compare_gradients(objective: Objective, batch: Batch) -> dict[str, float]:
    """How the parts of the objective pull at the trained parameters, by one batch.

    ``cosine_{part}_{part}`` is that of their gradients: 1 if they want the same, below 0 if one
    undoes the other (Yu et al. 2020, arXiv 2001.06782). ``norm_{part}`` is the length of a part's
    gradient with its weight, which says what a step is made of. What a teacher says of a part
    belongs to it. Nothing for a single part.

    The batch is read once per part, with that part's sequences alone. All processes take part;
    there must be no gradients before, and there are none after it.
    """
    trained = objective.objectives
    parameters = [one for one in objective.parameters() if one.requires_grad]
    device = parameters[0].device
    counts = total(torch.tensor(batch.counts, dtype=torch.float64, device=device)).tolist()
    scale = [1 / count if count else 0.0 for count in counts]
    weighted = {name.partition("_")[0] for name, weight in objective.weights.items() if weight}
    parts = [part for part, count in zip(PARTS, counts, strict=True) if count and part in weighted]
    if len(parts) < 2:
        return {}
    compared = _evenly(parameters)
    sharded = is_sharded(objective)
    gradients: dict[str, Tensor] = {}
    for part in parts:
        objective.use(trained.only(part))
        torch.autograd.backward(objective(batch, scale)[0])
        gradient = torch.cat([_gradient(one) for one in compared])
        # FSDP has averaged over processes, where the sum is wanted, and split it.
        gradients[part] = gradient * processes() if sharded else total(gradient)
        for one in parameters:
            one.grad = None
    objective.use(trained)

    def product(part: str, other: str) -> float:
        here = gradients[part].dot(gradients[other])
        return float(total(here) if sharded else here)

    norms = {part: math.sqrt(product(part, part)) for part in parts}
    values = {
        f"cosine_{part}_{other}": product(part, other) / max(norms[part] * norms[other], 1e-30)
        for part, other in combinations(parts, 2)
    }
    return values | {f"norm_{part}": norm for part, norm in norms.items()}


def _gradient(parameter: Tensor) -> Tensor:
    """What this process has of it, float32 and flat."""
    gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    return (gradient.to_local() if isinstance(gradient, DTensor) else gradient).flatten().float()


def _evenly(parameters: Sequence[Tensor]) -> Sequence[Tensor]:
    """Every n-th tensor, with the least n that keeps to NUMBERS where possible."""
    every = 1
    while every < len(parameters) and _size(parameters[::every]) > NUMBERS:
        every += 1
    return parameters[::every]


def _size(parameters: Sequence[Tensor]) -> int:
    return sum(one.numel() for one in parameters)
