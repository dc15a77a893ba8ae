"""What a run is after a step: trained weights, their averages and AdamW's moments, by name.

On disk each process has a file of what is its own: a tensor that is split over processes is split
there too, and is read into as many parts as there are then. PyTorch's distributed checkpoints do
that; of their formats it is the one of safetensors, which nothing is executed to read.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from uniconv.errors import UniConvError
from uniconv.training.distributed import rank


class RunState:
    """The tensors of a network under training; made when its weights have been split.

    ``averages`` are by the names of the parameters. :meth:`write` and :meth:`read` are called by
    all processes together.
    """

    def __init__(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, averages: Mapping[str, Tensor]
    ) -> None:
        self._weights = {name: one for name, one in network.named_parameters() if one.requires_grad}
        self._optimizer = optimizer
        self._averages = averages

    def tensors(self) -> dict[str, Tensor]:
        """``weights.NAME``, ``average.NAME``, and ``step.NAME`` and moments as AdamW calls them."""
        found = {f"weights.{name}": one.detach() for name, one in self._weights.items()}
        found |= {f"average.{name}": one for name, one in self._averages.items()}
        for name, one in self._weights.items():
            for kind, value in self._optimizer.state.get(one, {}).items():
                found[f"{kind}.{name}"] = value
        return found

    def write(self, folder: Path) -> None:
        """Writes this process's part into an empty folder, on the disk when it returns.

        Raises:
            UniConvError: the parts of other processes are not in this folder.
            OSError: in the process that could not write; the others leave.
        """
        tensors = self.tensors()
        writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
        planner = DefaultSavePlanner(dedup_save_to_lowest_rank=True)
        with _its_own_failure():
            save(tensors, storage_writer=writer, planner=planner)
        if rank() == 0 and not _is_all(tensors, _held(folder)):
            raise UniConvError(
                f"{folder.parent}: parts of a checkpoint that other processes wrote are missing; "
                "the output folder must be one that all nodes share"
            )

    def read(self, folder: Path) -> None:
        """Takes what was written by any number of processes.

        Raises:
            UniConvError: it is damaged, or of another model.
        """
        try:
            held = _held(folder)
            for name, one in self._weights.items():
                if f"exp_avg.{name}" in held:  # of weights that had gradients
                    moments = {kind: torch.zeros_like(one.detach()) for kind in _MOMENTS}
                    self._optimizer.state[one] = {"step": torch.tensor(0.0), **moments}
            tensors = self.tensors()
            if not _is_all(tensors, held):
                raise UniConvError(
                    f"{folder}: is not the whole checkpoint of this model; remove the folder to go "
                    "on from the one before"
                )
            with _its_own_failure():
                load(tensors, storage_reader=HuggingFaceStorageReader(str(folder)))
        except (OSError, SafetensorError) as error:
            raise UniConvError(
                f"{folder}: can't be read ({error}); remove the folder to go on from the "
                "checkpoint before"
            ) from error


_MOMENTS = ("exp_avg", "exp_avg_sq")


def _held(folder: Path) -> dict[str, TensorStorageMetadata]:
    found = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    return {name: one for name, one in found.items() if isinstance(one, TensorStorageMetadata)}


def _is_all(tensors: Mapping[str, Tensor], held: Mapping[str, TensorStorageMetadata]) -> bool:
    """Whether every tensor is there with all of its parts."""
    return all(
        name in held
        and held[name].size == one.shape
        and sum(prod(chunk.sizes) for chunk in held[name].chunks) == one.numel()
        for name, one in tensors.items()
    )


@contextmanager
def _its_own_failure() -> Iterator[None]:
    """Raises what went wrong in this process; leaves where it went wrong in others."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")
            yield
    except CheckpointException as error:
        failure = error.failures.get(rank())
        raise (SystemExit(2) if failure is None else failure[0]) from None
