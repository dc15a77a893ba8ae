"""Weights, gradients and optimizer state split over processes: FSDP2, PyTorch's ``fully_shard``.

Accelerate's own FSDP plugin acts on GPUs alone. Here the same code runs on GPUs and, in tests, on
CPUs. Every layer of the LM is a unit that is gathered for as long as it computes; what lies outside
the layers (embeddings, last norm, head) is gathered for a whole pass.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from uniconv.config import Optimisation
from uniconv.errors import ConfigError
from uniconv.training.distributed import processes


def wants_sharding(settings: Optimisation) -> bool:
    """Whether there are processes to share a model, and they shall.

    Raises:
        ConfigError: Accelerate was told to do it, which would change the model a second time.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
        raise ConfigError(
            "accelerate launch: --use_fsdp is not for UniConv; launch without it (--multi_gpu) and "
            "set optimisation.parallel to fsdp"
        )
    return settings.parallel == "fsdp" and processes() > 1


def shard(unit: nn.Module, lm: Any, device: torch.device) -> None:
    """Splits the parameters of ``unit`` over all processes, in place; ``lm`` is in it.

    ``unit`` must be called as a module wherever its parameters are needed, and all processes must
    call it, and ``lm`` in it, equally often. Optimizers are made afterwards.
    """
    mesh = init_device_mesh(device.type, (processes(),))
    # The classes that the LM's family says never to split over devices are its layers.
    names = set(getattr(lm, "_no_split_modules", None) or ())
    for module in list(lm.modules()):
        if type(module).__name__ in names:
            fully_shard(module, mesh=mesh)
    fully_shard(unit, mesh=mesh)


def is_sharded(network: nn.Module) -> bool:
    """Whether (parts of) a network were split by :func:`shard`."""
    return any(isinstance(module, FSDPModule) for module in network.modules())


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


def parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """In the order of the optimizer's state."""
    return [one for group in optimizer.param_groups for one in group["params"]]


def load_state(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Gives an optimizer a state of whole tensors, split as its parameters are."""
    trained = parameters(optimizer)
    states = {
        number: {
            name: split(value, trained[number]) if isinstance(value, Tensor) else value
            for name, value in of_one.items()
        }
        for number, of_one in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": states})


def split(value: Tensor, parameter: Tensor) -> Tensor:
    """A tensor that every process has whole, split as ``parameter`` is if it has its shape."""
    if not isinstance(parameter, DTensor) or value.shape != parameter.shape:
        return value
    return distribute_tensor(
        value.to(parameter.device), parameter.device_mesh, parameter.placements
    )
