"""Weights, gradients and optimizer state split over processes: FSDP2, PyTorch's ``fully_shard``.

Accelerate's own FSDP plugin acts on GPUs alone. Here the same code runs on GPUs and, in tests, on
CPUs. Every layer of the LM is a unit that is gathered for as long as it computes; what lies outside
the layers (embeddings, last norm, head) is gathered for a whole pass.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from uniconv.config import Optimisation
from uniconv.errors import ConfigError
from uniconv.training.distributed import processes, rank


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


def whole(tensor: Tensor) -> Tensor:
    """A tensor put together, in all processes; on the CPU where it was split."""
    return tensor.full_tensor().detach().cpu() if isinstance(tensor, DTensor) else tensor


def whole_weights(network: nn.Module) -> dict[str, Tensor]:
    """The weights that make the model, put together one by one; only in the first process.

    Of a network with an adapter those of the adapter, of any other all. Called by all processes.
    """
    seen: dict[int, Tensor] = {}  # shared weights stay shared
    found: dict[str, Tensor] = {}
    for name, one in network.state_dict(keep_vars=True).items():
        if isinstance(network, PeftModel) and not one.requires_grad:
            continue
        if id(one) not in seen:
            gathered = whole(one)
            seen[id(one)] = gathered if rank() == 0 else gathered.new_empty(0)
        found[name] = seen[id(one)]
    return found if rank() == 0 else {}


def parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """All that an optimizer trains."""
    return [one for group in optimizer.param_groups for one in group["params"]]
