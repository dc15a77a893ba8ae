"""Half the memory for weights on a CPU, and faster kernels, with the same results.

Decoding reads every weight for every token. A float32 matrix whose values float16 holds too (those
of a checkpoint in bfloat16 or float16 do) is kept in float16 alone: FBGEMM reads half as many bytes
and still multiplies and adds in float32. Norms that take transformers six operations take one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, rms_norm

from uniconv.errors import ModelError

_LARGE = 1 << 15
"""Weights of a matrix that is worth packing."""

_ROUNDING = 2.0**-25
"""What float16 rounds the smallest values to, far below what float32 sums round to."""


class Kernels:
    """Replaces what can be replaced in an LM on a CPU, until :meth:`remove`.

    Meanwhile a packed matrix is nowhere else, so the LM can't be trained or saved; afterwards it is
    what it was, to the bit.

    PyTorch's matrix products are set to the precision "highest" meanwhile: with a lower one they go
    to oneDNN, which compiles a kernel for every number of rows and keeps a thousand of them. The
    engine's steps have another number of rows each time, so that took time, and a gigabyte.
    """

    def __init__(self, lm: nn.Module) -> None:
        self._lm = lm
        self._precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        self._packed = [_Packed(*one) for one in _by_weight(lm) if _can_be_packed(*one)]
        self._norms = [module for module in lm.modules() if _is_rms_norm(module)]
        for norm in self._norms:
            _replace(norm, _fused_norm(norm))

    def remove(self) -> None:
        """Puts everything back."""
        for packed in self._packed:
            packed.unpack()
        for norm in self._norms:
            _put_back(norm)
        self._packed, self._norms = [], []
        torch.set_float32_matmul_precision(self._precision)

    @property
    def weight_bytes(self) -> int:
        """The memory that the LM's weights take now."""
        plain = {one.untyped_storage().data_ptr(): one for one in self._lm.parameters()}
        unpacked = sum(one.untyped_storage().nbytes() for one in plain.values())
        return unpacked + sum(one.nbytes for one in self._packed)


class _Packed:
    """A matrix in float16, for the products and the lookups that it is there for."""

    def __init__(self, weight: nn.Parameter, modules: list[nn.Module]) -> None:
        self._weight, self._modules = weight, modules
        exact = weight.detach()
        half = exact.half()
        lost = half.float() != exact
        self._lost = lost.nonzero(as_tuple=True), exact[lost]
        self._rows: Tensor | None = None
        self._columns: Any = None
        for module in modules:
            if isinstance(module, nn.Linear):
                bias = None if module.bias is None else module.bias.detach()
                self._columns = torch.ops.quantized.linear_prepack_fp16(exact, bias)
                _replace(module, _product(module, self._columns))
            else:
                self._rows = half
                _replace(module, _lookup(half))
        # Takes no memory, has the right shape, and whoever reads it can't miss that it is gone.
        weight.data = torch.tensor(torch.nan).expand(weight.shape)

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        copies = (self._rows is not None) + (self._columns is not None)
        return copies * 2 * self._weight.numel()

    def unpack(self) -> None:
        """Puts the matrix back."""
        if self._rows is not None:
            exact = self._rows.float()
        else:
            exact, _ = torch.ops.quantized.linear_unpack_fp16(self._columns)
        places, values = self._lost
        exact[places] = values
        self._weight.data = exact
        for module in self._modules:
            _put_back(module)


def _by_weight(lm: nn.Module) -> list[tuple[nn.Parameter, list[nn.Module]]]:
    """Each weight, and the modules that have it: input and output embeddings may share one."""
    found: dict[nn.Parameter, list[nn.Module]] = {}
    for module in lm.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, nn.Parameter):
            found.setdefault(weight, []).append(module)
    return list(found.items())


def _can_be_packed(weight: nn.Parameter, modules: list[nn.Module]) -> bool:
    kinds = [type(module) for module in modules]
    return (
        "fbgemm" in torch.backends.quantized.supported_engines
        and weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and weight.numel() >= _LARGE
        and kinds in ([nn.Linear], [nn.Embedding], [nn.Embedding, nn.Linear])
        and all(getattr(module, "max_norm", None) is None for module in modules)
        and _survives_float16(weight)
    )


def _survives_float16(weight: Tensor) -> bool:
    rows = torch.split(weight.detach(), 1024)  # not a copy of all of them at once
    return all(bool(((part.half().float() - part).abs() <= _ROUNDING).all()) for part in rows)


def _product(linear: nn.Linear, packed: Any) -> Callable[[Tensor], Tensor]:
    product: Any = torch.ops.quantized.linear_dynamic_fp16

    def forward(rows: Tensor) -> Tensor:
        if linear.training and torch.is_grad_enabled():
            raise ModelError("the model is at work in an engine; close it before training")
        found: Tensor = product(rows.float(), packed)
        return found.to(rows.dtype)

    return forward


def _lookup(half: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda ids: embedding(ids, half).float()


def _is_rms_norm(module: Any) -> bool:
    """Whether it does what the operation of that name does, found by trying."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, nn.Parameter) or not hasattr(module, "variance_epsilon"):
        return False
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return False
    rows = torch.randn(3, weight.shape[-1], generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            return torch.allclose(module(rows), _fused_norm(module)(rows), atol=1e-6, rtol=1e-5)
    except (TypeError, ValueError, RuntimeError):
        return False


def _fused_norm(module: Any) -> Callable[[Tensor], Tensor]:
    def forward(rows: Tensor) -> Tensor:
        return rms_norm(rows, module.weight.shape, module.weight, module.variance_epsilon)

    return forward


def _replace(module: nn.Module, forward: Callable[[Tensor], Tensor]) -> None:
    module.__dict__["forward"] = forward  # found before the class's own


def _put_back(module: nn.Module) -> None:
    module.__dict__.pop("forward", None)
