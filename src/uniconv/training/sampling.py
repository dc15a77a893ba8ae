"""Which examples a step sees: a pure function of the seed, so that a resumed run needs no state.

Epochs follow each other as one endless stream of positions. A step takes the next
``batch_size * accumulation * processes`` of them; the last of an epoch may share a batch with the
first of the next.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import lru_cache

from uniconv.config import Optimisation
from uniconv.training.examples import Examples


class Stream:
    """The endless stream of examples, each with the random generator for its own sampling.

    An epoch visits each example of a source as often as the source's weight says, the fractional
    part by chance, in random order.
    """

    def __init__(self, examples: Examples, seed: int) -> None:
        self._positions = examples.by_source()
        self._weights = [source.weight for source in examples.sources]
        self._seed = seed
        self.epoch_length = sum(
            _visits(len(positions), weight)
            for positions, weight in zip(self._positions, self._weights, strict=True)
        )
        self._epoch = lru_cache(maxsize=2)(self._shuffled)

    def _shuffled(self, epoch: int) -> Sequence[int]:
        rng = random.Random(f"{self._seed}/epoch/{epoch}")
        order: list[int] = []
        for positions, weight in zip(self._positions, self._weights, strict=True):
            whole = int(weight)
            order += positions * whole
            rest = _visits(len(positions), weight) - whole * len(positions)
            order += rng.sample(positions, rest)
        rng.shuffle(order)
        return order

    def __getitem__(self, place: int) -> tuple[int, random.Random]:
        """The example at a place of the stream, and its generator."""
        epoch, offset = divmod(place, self.epoch_length)
        return self._epoch(epoch)[offset], random.Random(f"{self._seed}/place/{place}")


def _visits(size: int, weight: float) -> int:
    """How often an epoch visits a source in all; a source is never lost by rounding."""
    return max(1, round(size * weight))


def total_steps(settings: Optimisation, epoch_length: int, processes: int) -> int:
    """The length of a run in steps."""
    if settings.steps is not None:
        return settings.steps
    per_step = settings.batch_size * settings.accumulation * processes
    return max(1, math.ceil(settings.epochs * epoch_length / per_step))


def places(settings: Optimisation, step: int, pass_: int, process: int, processes: int) -> range:
    """Where in the stream one forward pass (of an accumulated step) of one process reads.

    Two processes of batch size b see in a pass what one process of batch size 2b would.
    """
    start = ((step * settings.accumulation + pass_) * processes + process) * settings.batch_size
    return range(start, start + settings.batch_size)
