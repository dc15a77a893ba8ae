"""Training over weights of 4 bits (QLoRA)."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tiny import PACKS_4_BITS
from training.test_stages import assert_same, stop_after, weights
from uniconv import pretrained
from uniconv.config import TrainConfig
from uniconv.config import training as settings
from uniconv.errors import ConfigError, ModelError
from uniconv.model import UniConv
from uniconv.training.trainer import Trainer, train
from uniconv.types import Passage

Configure = Callable[..., TrainConfig]

needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed (the extra qlora)"
)
QLORA: dict[str, Any] = {"method": "lora", "quantise": "4bit", "adapter": {"rank": 4}}


@needs_bitsandbytes
def test_linear_layers_have_4_bits_and_the_adapter_is_trained(configure: Configure) -> None:
    run = Trainer(configure(model=QLORA))
    own = dict(run.model.network.named_parameters())
    quantised = {name for name, one in own.items() if one.dtype == torch.uint8}
    assert len(quantised) == 2 * 7  # layers, and their linear layers
    trained = {name for name, one in own.items() if one.requires_grad}
    assert trained
    assert all("lora_" in name and own[name].dtype == torch.float32 for name in trained)


@needs_bitsandbytes
def test_4_bits_resume_exactly(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = (configure(name, model=QLORA) for name in ("whole", "parts"))
    uninterrupted = weights(train(whole))
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(SystemExit):
            train(parts)
    assert_same(weights(train(parts)), uninterrupted)


@needs_bitsandbytes
@pytest.mark.skipif(PACKS_4_BITS, reason="bitsandbytes can't pack so small a model here")
def test_the_adapter_serves_with_and_without_4_bits(configure: Configure) -> None:
    folder = train(configure(model=QLORA))
    passages = [Passage("1", "Tower 3 opened in 1803."), Passage("2", "A hill.")]
    whole, small = (
        UniConv.from_pretrained(folder, four_bits=four).encode_passages(passages)
        for four in (False, True)
    )
    assert not np.array_equal(whole, small)
    assert (whole * small).sum(1).min() > 0.8


def test_what_can_not_be_is_told_before_the_model_is_loaded(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, world: Path
) -> None:
    for module in (settings, pretrained):
        monkeypatch.setattr(module, "find_spec", lambda _: None)
    wrong = {**QLORA, "path": "none", "method": "full", "merge": True}
    with pytest.raises(ConfigError) as caught:
        train(configure(model=wrong))
    assert r"model.quantise: 4bit needs the extra qlora (pip install 'uniconv[qlora]')" in str(
        caught.value
    )
    assert "weights of 4 bits can't be trained; set model.method to lora" in str(caught.value)
    assert "model.merge: an adapter can't be folded into weights of 4 bits" in str(caught.value)
    with pytest.raises(ModelError, match="the extra qlora"):
        UniConv.from_pretrained(world / "model", four_bits=True)
