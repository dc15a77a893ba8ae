"""Frozen layers keep their weights, whatever else is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tiny import FAMILIES, tiny_uniconv
from training.test_stages import weights
from uniconv.config import Adapter, ModelConfig, TrainConfig
from uniconv.errors import ConfigError
from uniconv.training.freezing import freeze
from uniconv.training.network import unfreeze
from uniconv.training.trainer import train

Configure = Callable[..., TrainConfig]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_first_layers_are_frozen(family: str, method: str) -> None:
    model = tiny_uniconv(family)
    config = ModelConfig("tiny", method, Adapter(rank=2), frozen_layers=1)  # type: ignore[arg-type]
    unfreeze(model, config)
    freeze(model, config)
    trained = {name for name, one in model.network.named_parameters() if one.requires_grad}
    assert trained
    assert not any(".0." in name.split("lora_")[0] for name in trained)
    assert any(".1." in name for name in trained)


def test_frozen_weights_stay_as_they_are(configure: Configure) -> None:
    frozen = {"frozen_layers": 1, "frozen_embeddings": True}
    config = configure(model=frozen)
    before = weights(Path(config.model.path))
    after = weights(train(config))
    same = {name for name, value in before.items() if torch.equal(value, after[name])}
    assert same == {name for name in before if "embed" in name or "layers.0." in name}


def test_a_layer_is_left_to_train(configure: Configure) -> None:
    with pytest.raises(ConfigError, match="has 2 layers, so at most 1 can be frozen, not 2"):
        train(configure(model={"frozen_layers": 2}))
