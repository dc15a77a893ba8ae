"""Faster kernels for a few tokens at a time on a CPU, which give the same results.

Decoding reads every weight for every token. A float32 matrix whose values float16 holds too
(those of a checkpoint in bfloat16 or float16 do) is packed a second time in float16: FBGEMM then
reads half as many bytes and still multiplies and adds in float32. Norms that take transformers
six operations take one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm

FEW = 16
"""Up to so many rows, the packed product was faster for every matrix tried."""

_LARGE = 1 << 15
"""Weights of a matrix that is worth a second copy."""

_ROUNDING = 2.0**-25
"""What float16 rounds the smallest values to, far below what float32 sums round to."""


class Kernels:
    """Replaces what can be replaced in an LM on a CPU, until :meth:`remove`.

    Training works as before in between, and goes around the new kernels. ``nbytes`` is the memory
    of the packed copies.

    PyTorch's matrix products are set to the precision "highest" meanwhile: with a lower one they go
    to oneDNN, which compiles a kernel for every number of rows and keeps a thousand of them. The
    engine's steps have another number of rows each time, so that took time, and a gigabyte.
    """

    def __init__(self, lm: nn.Module) -> None:
        self._replaced: list[nn.Module] = []
        self._precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        self.nbytes = 0
        for module, forward in _replacements(lm):
            module.__dict__["forward"] = forward  # found before the class's own
            self._replaced.append(module)
            if type(module) is nn.Linear:
                self.nbytes += module.weight.numel() * 2

    def remove(self) -> None:
        """Puts everything back."""
        for module in self._replaced:
            module.__dict__.pop("forward", None)
        self._replaced.clear()
        torch.set_float32_matmul_precision(self._precision)


def _replacements(lm: nn.Module) -> Iterator[tuple[nn.Module, Callable[[Tensor], Tensor]]]:
    packs = "fbgemm" in torch.backends.quantized.supported_engines
    for module in lm.modules():
        weight = getattr(module, "weight", None)
        if weight is None or weight.device.type != "cpu" or weight.dtype != torch.float32:
            continue
        if type(module) is nn.Linear and packs and weight.numel() >= _LARGE:
            if _survives_float16(weight):
                yield module, _packed(module)
        elif hasattr(module, "variance_epsilon") and _is_rms_norm(module):
            yield module, _fused_norm(module)


def _survives_float16(weight: Tensor) -> bool:
    rows = torch.split(weight.detach(), 1024)  # not a copy of all of them at once
    return all(bool(((part.half().float() - part).abs() <= _ROUNDING).all()) for part in rows)


def _packed(linear: nn.Linear) -> Callable[[Tensor], Tensor]:
    bias = None if linear.bias is None else linear.bias.detach()
    packed = torch.ops.quantized.linear_prepack_fp16(linear.weight.detach(), bias)
    plain = linear.forward
    product: Any = torch.ops.quantized.linear_dynamic_fp16

    def forward(rows: Tensor) -> Tensor:
        few = rows.numel() <= FEW * rows.shape[-1]
        if not few or torch.is_grad_enabled() or rows.dtype != torch.float32:
            return plain(rows)
        found: Tensor = product(rows, packed)
        return found

    return forward


def _is_rms_norm(module: Any) -> bool:
    """Whether it does what the operation of that name does, found by trying."""
    rows = torch.randn(3, module.weight.shape[-1], generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            return torch.allclose(module(rows), _fused_norm(module)(rows), atol=1e-6, rtol=1e-5)
    except (TypeError, ValueError, RuntimeError):
        return False


def _fused_norm(module: Any) -> Callable[[Tensor], Tensor]:
    def forward(rows: Tensor) -> Tensor:
        return rms_norm(rows, module.weight.shape, module.weight, module.variance_epsilon)

    return forward
