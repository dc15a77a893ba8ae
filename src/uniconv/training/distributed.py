"""Tensors of all processes, with gradients that flow back to where they came from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from uniconv.errors import UniConvError


def processes() -> int:
    """The number of processes that train together; 1 without a launcher."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def wait() -> None:
    """Waits until every process is here."""
    if processes() > 1:
        dist.barrier()


def gather(tensor: Tensor) -> tuple[Tensor, int]:
    """Rows of all processes in order of their ranks, and where this process's rows begin.

    Processes may have different numbers of rows. The gradient of a row is the sum of its gradients
    in all processes, so every process has to run the backward pass.
    """
    if processes() == 1:
        return tensor, 0
    counts = [torch.zeros(1, dtype=torch.int64, device=tensor.device) for _ in range(processes())]
    dist.all_gather(counts, torch.tensor([len(tensor)], device=tensor.device))
    sizes = [int(count) for count in counts]
    gathered: Tensor = _Gather.apply(tensor, sizes)  # type: ignore[no-untyped-call]
    return gathered, sum(sizes[: rank()])


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, sizes: list[int]) -> Tensor:
        ctx.sizes = sizes
        padded = tensor.new_zeros(max(sizes), *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = gradients[0].contiguous()
        dist.all_reduce(gradient)
        own: Tensor = torch.split(gradient, ctx.sizes)[rank()]
        return own, None


def most(number: int) -> int:
    """The largest of the numbers that the processes give."""
    if processes() == 1:
        return number
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    largest = torch.tensor(number, device=device)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return int(largest)


def agree(number: int) -> bool:
    """Whether all processes give the same number."""
    return most(number) == -most(-number)


@contextmanager
def together() -> Iterator[bool]:
    """True in the first process, which acts for all; where one process fails, all leave."""
    failure: UniConvError | SystemExit | None = None
    try:
        yield rank() == 0
    except (UniConvError, SystemExit) as error:
        failure = error
    failed = most(int(failure is not None))
    if failure is not None:
        raise failure
    if failed:
        raise SystemExit(2)


def total(vector: Tensor) -> Tensor:
    """The sum of a vector over all processes; the vector itself is left alone."""
    if processes() > 1:
        vector = vector.clone()
        dist.all_reduce(vector)
    return vector
