"""Which weights stay as they are."""

from __future__ import annotations

from torch import nn

from uniconv.config import ModelConfig
from uniconv.errors import ConfigError
from uniconv.model import UniConv


def freeze(model: UniConv, config: ModelConfig) -> None:
    """Takes the first layers, and the embeddings where that is set, out of what is trained.

    Raises:
        ConfigError: no layer would be left to train, or the layers aren't found.
    """
    if config.frozen_layers:
        layers = _layers(model, config)
        for layer in layers[: config.frozen_layers]:
            layer.requires_grad_(False)
    if config.frozen_embeddings:
        model.lm.get_input_embeddings().requires_grad_(False)


def _layers(model: UniConv, config: ModelConfig) -> nn.ModuleList:
    depth = int(model.lm.config.get_text_config().num_hidden_layers)
    if config.frozen_layers >= depth:
        raise ConfigError(
            f"model.frozen_layers: {config.path} has {depth} layers, so at most {depth - 1} can be "
            f"frozen, not {config.frozen_layers}"
        )
    for module in model.lm.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return module
    raise ConfigError(
        f"model.frozen_layers: the layers of {config.path} were not found; leave it 0 for this "
        "architecture"
    )
