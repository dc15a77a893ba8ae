"""Weights, gradients and optimizer state split over processes: FSDP2, PyTorch's ``fully_shard``.

Accelerate's own FSDP plugin acts on GPUs alone. Here the same code runs on GPUs and, in tests, on
CPUs. Every layer of the LM is a unit that is gathered for as long as it computes; what lies outside
the layers (embeddings, last norm, head) is gathered for a whole pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from uniconv.training.distributed import processes


def shard(unit: nn.Module, parts: list[nn.Module], device: torch.device) -> None:
    """Splits the parameters of ``unit`` over all processes, in place, and moves them to ``device``.

    ``unit`` must be called as a module wherever its parameters, or those of its ``parts``, are
    needed, equally often in every process. Optimizers are made afterwards.
    """
    mesh = init_device_mesh(device.type, (processes(),))
    for part in parts:
        fully_shard(part, mesh=mesh)
    fully_shard(unit, mesh=mesh)


def is_sharded(network: nn.Module) -> bool:
    """Whether (parts of) a network were split by :func:`shard`."""
    return any(isinstance(module, FSDPModule) for module in network.modules())


def layers(lm: Any) -> list[nn.Module]:
    """The transformer layers of a causal LM, by the classes that its family says never to split."""
    names = set(getattr(lm, "_no_split_modules", None) or ())
    return [module for module in lm.modules() if type(module).__name__ in names]


def reshard(network: nn.Module) -> None:
    """Gives up what was gathered, as passes without gradients don't, before weights change."""
    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def whole(value: Any) -> Any:
    """``value`` with every tensor in its mappings and lists put together; in all processes.

    Parts are on the CPU where they were split, and shared tensors stay shared.
    """
    return _whole(value, {})


def _whole(value: Any, seen: dict[int, Tensor]) -> Any:
    if isinstance(value, DTensor):
        if id(value) not in seen:
            seen[id(value)] = value.full_tensor().detach().cpu()
        return seen[id(value)]
    if isinstance(value, Mapping):
        return {key: _whole(inner, seen) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner, seen) for inner in value]
    return value


def whole_weights(network: nn.Module) -> dict[str, Tensor]:
    """The weights that a checkpoint needs, put together; in all processes.

    Of a network with an adapter those of the adapter, of any other all.
    """
    weights = network.state_dict(keep_vars=True)
    if isinstance(network, PeftModel):
        weights = {name: one for name, one in weights.items() if one.requires_grad}
    found: dict[str, Tensor] = whole(weights)
    return found


def split_like(state: dict[str, Any], parameters: list[Tensor]) -> dict[str, Any]:
    """An optimizer's state with whole tensors, split as its parameters are."""
    states = {
        number: {
            name: split(value, parameters[number]) if isinstance(value, Tensor) else value
            for name, value in of_one.items()
        }
        for number, of_one in state["state"].items()
    }
    return {**state, "state": states}


def split(value: Tensor, parameter: Tensor) -> Tensor:
    """A tensor that every process has whole, split as ``parameter`` is if it has its shape."""
    if not isinstance(parameter, DTensor) or value.shape != parameter.shape:
        return value
    return distribute_tensor(
        value.to(parameter.device), parameter.device_mesh, parameter.placements
    )
