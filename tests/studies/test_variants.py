"""Each variant changes what its name says, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from uniconv.config import Objectives, Source, TrainConfig, load_config, plain, stage_settings
from uniconv.errors import ConfigError
from uniconv.studies.variants import variant


@pytest.fixture
def base(world: Path) -> TrainConfig:
    config = load_config(world / "train.yaml")
    source = config.data.train[0]
    sources = (replace(source, weight=0.5), replace(source, retrieval="none", cii=False))
    weights = Objectives(alpha=0.7, gamma=0.3)
    return replace(config, data=replace(config.data, train=sources), objectives=weights)


def changed(base: TrainConfig, other: TrainConfig) -> set[str]:
    one, two = plain(base), plain(other)
    return {name for name in one | two if one.get(name) != two.get(name)}


def test_the_joint_variant_is_the_base(base: TrainConfig) -> None:
    assert variant("joint", base) == base


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("retrieval", (1.0, 0.0, 0.0, 0.0)),
        ("generation", (0.0, 1.0, 0.0, 0.3)),
        ("no-cii", (1.0, 1.0, 0.0, 0.3)),
    ],
)
def test_an_objective_is_left_out(base: TrainConfig, name: str, weights: tuple[float, ...]) -> None:
    other = variant(name, base)  # type: ignore[arg-type]
    own = other.objectives
    assert (own.retrieval, own.generation, own.alpha, own.gamma) == weights
    assert changed(base, other) == {"objectives"}


def test_the_naive_mixture_keeps_the_size_of_an_epoch(base: TrainConfig) -> None:
    other = variant("no-ddm", base)
    assert changed(base, other) == {"data"}
    assert [(one.retrieval, one.generation, one.weight, one.cii) for one in other.data.train] == [
        ("responses", "none", 0.25, True),
        ("none", "passages", 0.25, True),
        ("none", "none", 0.5, False),
        ("none", "passages", 0.5, False),
    ]
    sources: tuple[Source, ...] = (replace(base.data.train[0], weight=1.0, share=3.0),)
    shared = variant("no-ddm", replace(base, data=replace(base.data, train=sources)))
    assert [(one.weight, one.share) for one in shared.data.train] == [(1.0, 1.5), (1.0, 1.5)]


def test_two_stages_take_as_many_steps_as_the_base(base: TrainConfig) -> None:
    settings = replace(base.optimisation, steps=5)
    other = variant("two-stage", replace(base, optimisation=settings))
    first, second = stage_settings(other)
    assert (first.optimisation.steps, second.optimisation.steps) == (2, 3)
    assert first.objectives.weights == (1.0, 1.0, 0.0, 0.3)
    assert second.objectives.weights == (0.0, 0.0, 0.7, 0.0)
    assert changed(base, other) == {"stages", "optimisation"}
    epochs = variant("two-stage", replace(base, optimisation=replace(settings, steps=None)))
    assert [stage.epochs for stage in epochs.stages] == [0.5, 0.5]


def test_a_base_that_is_not_joint_is_refused(base: TrainConfig) -> None:
    with pytest.raises(ConfigError, match="alpha above 0"):
        variant("joint", replace(base, objectives=Objectives(alpha=0)))
    with pytest.raises(ConfigError, match="leave them out"):
        variant("joint", variant("two-stage", base))
