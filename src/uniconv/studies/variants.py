"""The variants of a training configuration that studies compare; each changes one thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from uniconv.config import ObjectiveChanges, Source, Stage, TrainConfig, VariantName
from uniconv.errors import ConfigError

NAMES: dict[VariantName, str] = {
    "joint": "joint",
    "retrieval": "retrieval only",
    "generation": "generation only",
    "no-cii": "without CII",
    "no-ddm": "without DDM",
    "two-stage": "two stages",
}
"""What reports call the variants."""


def variant(name: VariantName, base: TrainConfig) -> TrainConfig:
    """The variant of a base whose objective is joint.

    Raises:
        ConfigError: the base has stages or lacks an objective, so that variants would not differ.
    """
    weights = base.objectives
    if not (weights.retrieval and weights.generation and weights.alpha):
        raise ConfigError(
            "objectives: the base of the variants needs retrieval, generation and alpha above 0"
        )
    if base.stages:
        raise ConfigError("stages: the base of the variants has stages; leave them out")
    return _VARIANTS[name](base)


def with_alpha(base: TrainConfig, alpha: float) -> TrainConfig:
    """The base with another weight of context identification."""
    return replace(base, objectives=replace(base.objectives, alpha=alpha))


def retrieval_only(base: TrainConfig) -> TrainConfig:
    """What trains a separate retriever."""
    weights = replace(base.objectives, generation=0.0, alpha=0.0, gamma=0.0)
    return replace(base, objectives=weights)


def generation_only(base: TrainConfig) -> TrainConfig:
    """What trains a separate generator; grounded generation stays where the base has it."""
    return replace(base, objectives=replace(base.objectives, retrieval=0.0, alpha=0.0))


def without_ddm(base: TrainConfig) -> TrainConfig:
    """The naive mixture: half of the visits retrieve a response as if it were a passage, the other
    half write a passage as if it were a response. Objectives and the epoch's length are kept."""
    halves = [half for source in base.data.train for half in _naive(source)]
    return replace(base, data=replace(base.data, train=tuple(halves)))


def _naive(source: Source) -> list[Source]:
    """A source as two of half its size; what it doesn't supervise stays that way."""
    half = replace(
        source,
        weight=source.weight if source.share else source.weight / 2,
        share=source.share and source.share / 2,
    )
    retrieves, writes = source.retrieval != "none", source.generation != "none"
    return [
        replace(half, retrieval="responses" if retrieves else "none", generation="none"),
        replace(half, retrieval="none", generation="passages" if writes else "none"),
    ]


def two_stages(base: TrainConfig) -> TrainConfig:
    """Retrieval and generation for the first half of the run, context identification alone after
    it; as many steps in all as the base."""
    settings = base.optimisation
    first = Stage("first", objectives=ObjectiveChanges(alpha=0.0))
    alone = ObjectiveChanges(retrieval=0.0, generation=0.0, gamma=0.0)
    second = Stage("cii", objectives=alone)
    if settings.steps is None:
        half = settings.epochs / 2
        stages = replace(first, epochs=half), replace(second, epochs=half)
    else:
        steps = max(1, settings.steps // 2)
        rest = max(1, settings.steps - steps)
        stages = replace(first, steps=steps), replace(second, steps=rest)
    return replace(base, stages=stages)


_VARIANTS: dict[VariantName, Callable[[TrainConfig], TrainConfig]] = {
    "joint": lambda base: base,
    "retrieval": retrieval_only,
    "generation": generation_only,
    "no-cii": lambda base: with_alpha(base, 0.0),
    "no-ddm": without_ddm,
    "two-stage": two_stages,
}
