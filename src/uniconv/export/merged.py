"""One set of weights without adapter, as transformers, vLLM and llama.cpp's converter read it."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import PeftModel

from uniconv.export.chat_templates import chat_template
from uniconv.model import UniConv


def fold_adapter(model: UniConv, dtype: torch.dtype | None) -> UniConv:
    """The model with its adapter's layers folded into the weights, which are then rounded.

    It takes the place of ``model``, whose weights are used up: two copies of a large model may not
    fit.
    """
    network = model.network
    if isinstance(network, PeftModel):
        network = network.merge_and_unload()
    return UniConv(
        network if dtype is None else network.to(dtype),
        model.tokenizer,
        model.template,
        model.settings,
        model.training,
        model.name,
    )


def export_merged(model: UniConv, out: Path) -> None:
    """Writes weights (safetensors), tokenizer with chat template, and ``uniconv.json``.

    The backbone's chat template is kept; where it has none, one is made from the frame.
    """
    if not model.tokenizer.chat_template:
        model.tokenizer.chat_template = chat_template(model.template.frame)
    model.save_pretrained(out)
