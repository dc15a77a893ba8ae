"""What a run writes of its model, by one process, put together where processes share it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from uniconv.config import TrainConfig
from uniconv.model import UniConv
from uniconv.training.averaging import Average
from uniconv.training.checkpoints import run_provenance, save_checkpoint
from uniconv.training.sharding import is_sharded, whole, whole_weights


class Saver:
    """Writes checkpoints and models; its methods are called by all processes together."""

    def __init__(
        self,
        config: TrainConfig,
        accelerator: Accelerator,
        model: UniConv,
        optimizer: torch.optim.Optimizer,
        average: Average,
        about: Mapping[str, Any],
    ) -> None:
        self._config = config
        self._accelerator = accelerator
        self._model = model
        self._optimizer = optimizer
        self._average = average
        self._about = about

    def checkpoint(self, step: int, state: Mapping[str, Any]) -> None:
        """Writes a checkpoint after ``step`` steps, with ``state`` beside the step."""
        weights = self._weights()
        optimizer = whole(self._optimizer.state_dict())
        average = whole(self._average.averages)
        if self._accelerator.is_main_process:
            save_checkpoint(
                self._config.output,
                step,
                self._model,
                optimizer,
                self._config.checkpoints.keep,
                {**self._about, **state},
                average,
                weights,
            )
        self._accelerator.wait_for_everyone()

    def model(self, folder: Path, step: int) -> None:
        """Writes the model, with its averaged weights if there are any."""
        merge = self._config.model.merge
        with self._average.in_place():
            weights = self._weights()
            if self._accelerator.is_main_process:
                about = run_provenance(self._config, step, self._about)
                if weights is None or not merge:
                    self._model.save_pretrained(
                        folder, merge=merge, training=about, weights=weights
                    )
                else:
                    self._merge(folder, about, weights)
        self._accelerator.wait_for_everyone()

    def _merge(self, folder: Path, about: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        """Folds an adapter into the backbone, which no process has whole, by loading it again."""
        with TemporaryDirectory(dir=self._config.output, prefix=".merging-") as apart:
            self._model.save_pretrained(apart, training=about, weights=weights)
            dtype = self._model.lm.dtype
            merged = UniConv.from_pretrained(apart, device="cpu", dtype=dtype)
            merged.save_pretrained(folder, merge=True)

    def _weights(self) -> dict[str, Tensor] | None:
        return whole_weights(self._model.network) if is_sharded(self._model.network) else None
