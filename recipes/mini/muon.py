"""Muon for many matrices at once.

PyTorch's takes one at a time, and in bfloat16 whether the hardware has it or not: with matrices as
small as these a quarter of a step of 4,096 tokens on a CPU, and hundreds of launches on a GPU.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import torch
from network import computes_in_bfloat16
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5


class Muon(torch.optim.Optimizer):
    """Momentum (Nesterov's), made orthogonal, as large as AdamW's steps; decoupled weight decay.

    Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon); the size of the steps is Liu et
    al. 2025 (arXiv 2502.16982), equation 4.
    """

    def __init__(
        self,
        params: Iterable[dict[str, object]],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    alike[min(matrix.shape), max(matrix.shape)].append(matrix)
            for (_, longer), matrices in alike.items():
                wide = [_wide(self._towards(one, group["momentum"]), one) for one in matrices]
                directions = orthogonal(torch.stack(wide))
                size = group["lr"] * 0.2 * math.sqrt(longer)
                for matrix, direction in zip(matrices, directions, strict=True):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"])
                    matrix.add_(_wide(direction, matrix), alpha=-size)

    def _towards(self, matrix: Tensor, momentum: float) -> Tensor:
        state, gradient = self.state[matrix], matrix.grad
        assert gradient is not None
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        mean = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(mean, momentum)


def _wide(one: Tensor, matrix: Tensor) -> Tensor:
    """``one`` as it is, or transposed where ``matrix`` is higher than wide; its own inverse."""
    return one.T if matrix.shape[0] > matrix.shape[1] else one


def orthogonal(matrices: Tensor) -> Tensor:
    """Wide matrices [n, a, b] with all singular values brought near 1, by Newton and Schulz."""
    found = matrices.bfloat16() if computes_in_bfloat16(matrices.device) else matrices
    found = found / found.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    first, third, fifth = _COEFFICIENTS
    for _ in range(_ROUNDS):
        gram = found @ found.mT
        found = torch.baddbmm(
            found, torch.baddbmm(gram, gram, gram, beta=third, alpha=fifth), found, beta=first
        )
    return found.to(matrices.dtype)
