"""Evaluation during training: losses and in-batch retrieval on held-out turns."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import torch

from uniconv.config import TrainConfig, all_objectives
from uniconv.model import UniConv
from uniconv.training.batch import PARTS
from uniconv.training.collate import Collator
from uniconv.training.distributed import total
from uniconv.training.examples import Examples, pool_size, read_examples
from uniconv.training.objective import Objective


def dev_examples(config: TrainConfig) -> Examples | None:
    """The held-out turns, where there are dev sources."""
    weights = all_objectives(config)
    if not config.data.dev:
        return None
    return read_examples(
        config.data.dev,
        weights,
        pool=pool_size(config.data, weights),
        seed=config.optimisation.seed,
        limit=config.reporting.evaluate_turns,
    )


class Evaluation:
    """Loss parts, perplexity, and MRR and accuracy among the documents of a batch.

    Batches are always the same ones. Their size, and so the difficulty of in-batch retrieval, is
    ``batch_size`` times the number of processes: compare figures of equal settings only. All parts
    that some stage trains are measured in every stage, at the temperature of the stage. False where
    there are no dev sources.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: UniConv,
        objective: Objective,
        accelerator: Any,
        examples: Examples | None,
    ) -> None:
        self._accelerator = accelerator
        self._objective = objective
        self._size = config.optimisation.batch_size
        self._seed = config.optimisation.seed
        self._order: list[int] = []
        self._weights = all_objectives(config)
        if examples is not None:
            self._order = list(range(len(examples)))
            random.Random(f"{self._seed}/dev").shuffle(self._order)
            self._collate = Collator(model.template, examples, config.data, self._weights)

    def __bool__(self) -> bool:
        return bool(self._order)

    @torch.no_grad()
    def run(self) -> dict[str, float]:
        """The measurements by name; to be called by all processes together."""
        objective, accelerator = self._objective, self._accelerator
        trained = objective.objectives
        objective.use(replace(self._weights, temperature=trained.temperature))
        objective.eval()
        counts = torch.zeros(len(PARTS), dtype=torch.float64, device=accelerator.device)
        sums: dict[str, torch.Tensor] = {}
        stride = self._size * accelerator.num_processes
        for start in range(0, len(self._order), stride):
            here = start + accelerator.process_index * self._size
            chosen = self._order[here : min(here + self._size, start + stride)]
            batch = self._collate(
                (position, random.Random(f"{self._seed}/dev/{position}")) for position in chosen
            )
            counts += torch.tensor(batch.counts, device=accelerator.device)
            for name, value in objective.sums(batch).items():
                sums[name] = sums.get(name, 0) + value.double()
        weights = objective.weights
        objective.train()
        objective.use(trained)
        by_part = dict(zip(PARTS, total(counts).tolist(), strict=True))
        values = total(torch.stack([*sums.values()])).tolist()
        means = _means(dict(zip(sums, values, strict=True)), by_part)
        loss = sum(weight * means.get(name, 0.0) for name, weight in weights.items())
        return {"loss": loss, **means}


def _means(sums: dict[str, float], counts: dict[str, float]) -> dict[str, float]:
    means: dict[str, float] = {}
    for name, value in sums.items():
        count = counts[name.partition("_")[0]]
        if count:
            means[name] = value / count
    for part in ("generation", "grounded"):
        if part in means:
            means[f"{part}_perplexity"] = math.exp(min(means[part], 700.0))
    return means
