"""What several benchmarks build: models of a size, conversations and batches of chance words."""

from __future__ import annotations

import random
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
)

from uniconv.config import DataConfig, Objectives, Source
from uniconv.model import UniConv
from uniconv.pretrained import default_device
from uniconv.templates import Limits, load_template
from uniconv.training.batch import Batch
from uniconv.training.collate import Collator
from uniconv.training.examples import Example, Examples
from uniconv.types import Conversation, Passage, Turn

SIZES = ("embedded", "25m", "160m", "mistral-7b")
"""The embedded model, and shapes that get random weights."""

_TEXT = (
    "the harbour tower was built by engineers who opened a bridge in spring after long repairs and "
    "visitors came from every town to see how it moved over the river when ships arrived at night"
)


def shape(size: str) -> PretrainedConfig:
    """The configuration of a size that has random weights."""
    if size == "mistral-7b":
        return MistralConfig(sliding_window=None)
    width, inner, layers, heads, groups, vocabulary = {
        "25m": (512, 1408, 8, 8, 4, 16_384),
        "160m": (768, 3072, 12, 12, 12, 32_000),
    }[size]
    return LlamaConfig(
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        vocab_size=vocabulary,
    )


def narrow(config: PretrainedConfig) -> PretrainedConfig:
    """As many layers of the same kind, so thin that their arithmetic costs next to nothing."""
    thin = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
    }
    return type(config)(**{**config.to_dict(), **thin})


def build(size: str, limits: Limits, *, device: str = "", positions: int = 0) -> UniConv:
    """A model of a size in evaluation mode, with the embedded model's tokenizer.

    Without ``device`` on the first GPU, else on the CPU. ``positions`` is the longest context, in
    place of the model's own.
    """
    device = device or default_device()
    model = UniConv.from_pretrained("embedded", device="cpu")
    config = model.network.config if size == "embedded" else shape(size)
    if positions:
        config.max_position_embeddings = positions
    if size != "embedded":
        return random_model(config, model, limits, device)
    return _with_limits(model.network.to(device, _dtype(device)), model, limits)


def random_model(config: PretrainedConfig, like: UniConv, limits: Limits, device: str) -> UniConv:
    """Random weights of a shape, float32 on a CPU and bfloat16 elsewhere."""
    torch.manual_seed(0)
    with torch.device(device):
        network = AutoModelForCausalLM.from_config(config, dtype=_dtype(device))
    return _with_limits(network.eval(), like, limits)


def _dtype(device: str) -> torch.dtype:
    return torch.float32 if device == "cpu" else torch.bfloat16


def _with_limits(network: Any, like: UniConv, limits: Limits) -> UniConv:
    template = load_template(like.tokenizer, "auto", like.template.to_json(), limits)
    return UniConv(network, like.tokenizer, template)


def words(chance: random.Random, count: int) -> str:
    """So many words of a small vocabulary."""
    return " ".join(chance.choice(_TEXT.split()) for _ in range(count))


def talk_of(model: UniConv, tokens: int, chance: random.Random) -> Conversation:
    """A conversation with a history of about ``tokens`` tokens and an open question."""
    turns: list[Turn] = []
    while True:
        talk = Conversation("talk", (*turns, Turn(words(chance, 12))))
        if len(model.template.conversation(talk)) >= tokens:
            return talk
        turns.append(Turn(words(chance, 12), words(chance, 60)))


TURNS = 8
"""Turns of each of a batch's conversations."""


def batch_of(model: UniConv, turns: int, objectives: Objectives) -> Batch:
    """What ``turns`` turns make a step learn from, by the default settings of the data.

    A question has 12 words, a response 60, a passage 100; each turn names one relevant passage and
    four hard negatives, and a grounded prompt shows five.
    """
    chance = random.Random(0)
    passages: dict[str, Passage] = {}
    examples: list[Example] = []
    while len(examples) < turns:
        talk: list[Turn] = []
        for _ in range(min(TURNS, turns - len(examples))):
            names = [str(len(passages) + place) for place in range(5)]
            for name in names:
                passages[name] = Passage(name, words(chance, 100), words(chance, 3))
            question, response = words(chance, 12), words(chance, 60)
            talk.append(Turn(question, response, positives=(names[0],), negatives=(*names[1:],)))
        conversation = Conversation(f"talk{len(examples)}", tuple(talk))
        examples += [Example(conversation, number + 1, 0) for number in range(len(talk))]
    source = Source()
    found = Examples((source,), examples, (passages,), ([*passages.values()],))
    collator = Collator(model.template, found, DataConfig((source,)), objectives)
    return collator((place, random.Random(place)) for place in range(turns))
