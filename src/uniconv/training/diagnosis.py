"""A diagnosis: what losses don't tell, at intervals, and without a trace in what is trained."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

import torch

from uniconv.config import TrainConfig
from uniconv.training.collate import Collator
from uniconv.training.distributed import processes, rank
from uniconv.training.gradients import compare_gradients, few
from uniconv.training.heldout import HeldOut
from uniconv.training.objective import Objective
from uniconv.training.optimisation import seed_step
from uniconv.training.sharding import reshard
from uniconv.training.stages import Course


class Diagnosis:
    """Compares the gradients of the objectives and measures held-out responses.

    ``off`` says in a sentence each why something can't be measured.
    """

    def __init__(
        self,
        config: TrainConfig,
        objective: Objective,
        held_out: HeldOut,
        course: Course,
        collators: Mapping[str, Collator],
    ) -> None:
        self._seed, self._every = config.optimisation.seed, config.reporting.diagnose_every
        self._objective, self._held_out = objective, held_out
        self._course, self._collators = course, collators
        self.off = held_out.off if self._every else []

    def due(self, step: int) -> bool:
        """Before the first step, then every so many steps, and at the end of each stage."""
        ends = self._course.ended(step) is not None
        return self._every > 0 and (step % self._every == 0 or ends)

    def run(self, step: int, averaged: AbstractContextManager[None]) -> dict[str, float]:
        """The measurements after ``step`` steps; to be called by all processes together.

        Gradients are those of the next turns of the stage. Held-out responses are read by the
        model inside ``averaged``, which is the one that is kept.
        """
        last = max(step - 1, 0)
        stage = self._course.at(last)
        objective = self._objective
        objective.use(stage.objectives(last))
        objective.train()
        picks = next(stage.picks(step, rank(), processes()))
        device = next(objective.parameters()).device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            seed_step(self._seed, step, rank())  # dropout, the same in a resumed run
            values = compare_gradients(objective, self._collators[stage.name](few(picks)))
        with averaged:
            values |= self._held_out.measure()
            reshard(objective)
        return values
