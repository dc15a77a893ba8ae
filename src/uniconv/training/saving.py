"""What a run writes: checkpoints, by all processes, and its model, put together by the first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from uniconv.config import TrainConfig, plain
from uniconv.files import provenance, writing
from uniconv.model import UniConv
from uniconv.pretrained import read_settings
from uniconv.training.averaging import Average
from uniconv.training.checkpoints import data_checksums, save_checkpoint
from uniconv.training.distributed import together
from uniconv.training.sharding import is_sharded, whole_weights
from uniconv.training.state import RunState

BEST = "best"
"""The folder of the model that is best on dev."""


class Saver:
    """Writes checkpoints and models; its methods are called by all processes together."""

    def __init__(
        self,
        config: TrainConfig,
        model: UniConv,
        state: RunState,
        average: Average,
        about: Mapping[str, Any],
    ) -> None:
        self._config = config
        self._model = model
        self._state = state
        self._average = average
        self._about = about
        self._best = _best(config)

    def best(self, step: int, measured: Mapping[str, float]) -> bool:
        """Keeps the model in the folder ``best`` if it is better on dev than any before."""
        value = _goodness(self._config.checkpoints.best, measured)
        if not value > self._best:
            return False
        self._best = value
        self.model(self._config.output / BEST, step, dev=dict(measured))
        return True

    def checkpoint(self, step: int, state: Mapping[str, Any]) -> None:
        """Writes a checkpoint after ``step`` steps, with ``state`` beside the step."""
        output, keep = self._config.output, self._config.checkpoints.keep
        save_checkpoint(output, step, self._state, keep, {**self._about, **state})

    def model(self, folder: Path, step: int, **about: Any) -> None:
        """Writes the model, with its averaged weights if there are any.

        ``about`` is kept in its record.
        """
        merge = self._config.model.merge
        with self._average.in_place():
            weights = self._weights()
            with together() as first:
                if first:
                    record = self._provenance(step) | about
                    if weights is None or not merge:
                        self._model.save_pretrained(
                            folder, merge=merge, training=record, weights=weights
                        )
                    else:
                        self._merge(folder, record, weights)

    def _provenance(self, step: int) -> dict[str, Any]:
        return provenance(
            config=plain(self._config), steps=step, data=self._checksums, **self._about
        )

    @cached_property
    def _checksums(self) -> dict[str, str]:
        return data_checksums(self._config)

    def _merge(self, folder: Path, about: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        """Folds an adapter into the backbone, which no process has whole, by loading it again."""
        output = self._config.output
        with writing(folder), TemporaryDirectory(dir=output, prefix=".merging-") as apart:
            self._model.save_pretrained(apart, training=about, weights=weights)
            dtype = self._model.lm.dtype
            merged = UniConv.from_pretrained(apart, device="cpu", dtype=dtype)
            merged.save_pretrained(folder, merge=True)

    def _weights(self) -> dict[str, Tensor] | None:
        return whole_weights(self._model.network) if is_sharded(self._model.network) else None


def _goodness(measure: str, measured: Mapping[str, float]) -> float:
    """Larger is better; a loss that is no number is worse than anything."""
    value = measured.get(measure, math.nan)
    better = measure.endswith(("_mrr", "_accuracy"))
    return (value if better else -value) if math.isfinite(value) else -math.inf


def _best(config: TrainConfig) -> float:
    """How good the model in the folder ``best`` was; minus infinity where there is none."""
    record = read_settings(config.output / BEST).get("training") or {}
    return _goodness(config.checkpoints.best, record.get("dev", {}))
