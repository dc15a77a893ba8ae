"""Which examples a step sees: a pure function of the seed, so that a resumed run needs no state.

Epochs follow each other as one endless stream of positions. A step takes the next
``batch_size * accumulation * processes`` of them; the last of an epoch may share a batch with the
first of the next.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import groupby

from uniconv.config import Optimisation, Source
from uniconv.training.examples import Examples


class Stream:
    """The endless stream of examples, each with the random generator for its own sampling.

    An epoch visits the examples of a source as evenly as ``visits`` allows: all of them equally
    often, and some once more by chance, in random order; ``together`` keeps those of a conversation
    in a row. ``positions`` are the examples of each source that are used, all unless it is given; a
    source without any takes no part.
    """

    def __init__(
        self,
        examples: Examples,
        seed: int | str,
        mixing_temperature: float = 1.0,
        positions: Sequence[list[int]] | None = None,
        *,
        together: bool = False,
    ) -> None:
        positions = examples.by_source() if positions is None else positions
        self._groups = [_groups(examples, found, together) for found in positions]
        used = [number for number, found in enumerate(positions) if found]
        counts = visits(
            [examples.sources[number] for number in used],
            [len(positions[number]) for number in used],
            mixing_temperature,
        )
        by_source = dict(zip(used, counts, strict=True))
        self.visits = [by_source.get(number, 0) for number in range(len(positions))]
        self._seed = seed
        self.epoch_length = sum(self.visits)
        self._epoch = lru_cache(maxsize=2)(self._shuffled)

    def _shuffled(self, epoch: int) -> Sequence[int]:
        rng = random.Random(f"{self._seed}/epoch/{epoch}")
        order: list[list[int]] = []
        for groups, count in zip(self._groups, self.visits, strict=True):
            whole, rest = divmod(count, max(sum(map(len, groups)), 1))
            order += groups * whole
            order += _drawn(groups, rest, rng)
        rng.shuffle(order)
        return [position for group in order for position in group]

    def __getitem__(self, place: int) -> tuple[int, random.Random]:
        """The example at a place of the stream, and its generator."""
        epoch, offset = divmod(place, self.epoch_length)
        return self._epoch(epoch)[offset], random.Random(f"{self._seed}/place/{place}")


def _groups(examples: Examples, positions: Sequence[int], together: bool) -> list[list[int]]:
    """What stays in a row: the examples of a conversation, or each one alone."""
    if not together:
        return [[position] for position in positions]
    found = groupby(positions, key=lambda position: id(examples.examples[position].conversation))
    return [list(group) for _, group in found]


def _drawn(groups: Sequence[list[int]], count: int, rng: random.Random) -> list[list[int]]:
    """Groups by chance that hold ``count`` examples together; the last one may lose its end."""
    drawn: list[list[int]] = []
    for group in rng.sample(groups, len(groups)) if count else ():
        drawn.append(group[:count])
        count -= len(drawn[-1])
        if not count:
            break
    return drawn


def visits(
    sources: Sequence[Source], sizes: Sequence[int], mixing_temperature: float = 1.0
) -> list[int]:
    """How many examples of each source an epoch visits; none is lost by rounding.

    With weights alone a source of ``n`` examples is visited ``weight * n`` times. Shares divide an
    epoch as long as all sources together, and so does a mixing temperature T, by which shares are
    proportional to ``(weight * n) ** (1 / T)`` (Arivazhagan et al. 2019, arXiv 1907.05019).
    """
    weighted = [size * Fraction(str(one.weight)) for one, size in zip(sources, sizes, strict=True)]
    if any(source.share is not None for source in sources):
        shares = [Fraction(str(source.share)) for source in sources]
    elif mixing_temperature == 1:
        return [max(1, round(size)) for size in weighted]
    else:
        shares = [Fraction(float(size) ** (1 / mixing_temperature)) for size in weighted]
    length = max(round(sum(weighted)), len(sources))
    return _divided(length, [share / sum(shares) for share in shares])


def _divided(length: int, shares: Sequence[Fraction]) -> list[int]:
    """``length`` by shares that sum to 1, by largest remainders, so that the sum is exact."""
    counts = [math.floor(length * share) for share in shares]
    by_rest = sorted(range(len(shares)), key=lambda place: counts[place] - length * shares[place])
    for place in by_rest[: length - sum(counts)]:
        counts[place] += 1
    return [max(1, count) for count in counts]


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
