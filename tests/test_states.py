"""A tree's states are those of its sequences, in every family and with every precision of mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tiny import FAMILIES, tiny_uniconv
from uniconv.model import Settings, UniConv
from uniconv.states import Reader
from uniconv.tree import LEAST_SHARED
from uniconv.types import Conversation, Turn

TURNS = tuple(
    Turn(f"What does the function of the tower return in 189{n}?", f"It returns {n} numbers [1].")
    for n in range(6)
)
CONTEXTS = [Conversation("c", TURNS).context(n) for n in range(1, 7)]


class Counted:
    """The LM, counting the tokens that it reads."""

    def __init__(self, model: UniConv) -> None:
        self.tokens = 0
        model.lm.base_model.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, _module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        self.tokens += kwargs["input_ids"].numel()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_all_turns_of_a_conversation_are_embedded_in_one_pass(family: str, attention: str) -> None:
    model = tiny_uniconv(family)
    model.lm.set_attn_implementation(attention)
    expected = np.stack([model.read(context).embedding for context in CONTEXTS])
    assert model.reader.reads_trees
    counted = Counted(model)
    found = model.encode_conversations(CONTEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    whole = len(model.template.conversation(CONTEXTS[-1]))
    assert counted.tokens <= whole + len(CONTEXTS) + LEAST_SHARED


@pytest.mark.parametrize("pooling", ["last", "mean", "weighted_mean"])
def test_every_pooling_follows_the_paths_of_the_tree(pooling: Any) -> None:
    model = tiny_uniconv(settings=Settings(pooling=pooling))
    expected = np.stack([model.read(context).embedding for context in CONTEXTS])
    np.testing.assert_allclose(model.encode_conversations(CONTEXTS), expected, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_through_a_tree_are_those_of_its_sequences(family: str) -> None:
    gradients = []
    for together in (True, False):
        model = tiny_uniconv(family)
        sequences = [model.template.conversation_query(context) for context in CONTEXTS]
        parts = [sequences] if together else [[one] for one in sequences]
        embedded = torch.cat([model.embed(part) for part in parts])
        weights = torch.linspace(-1, 1, embedded.numel()).view_as(embedded)
        (embedded * weights).sum().backward()
        gradients.append(
            torch.cat([p.grad.flatten() for p in model.network.parameters() if p.grad is not None])
        )
    tree, separate = gradients
    assert (tree - separate).norm() <= 1e-5 * separate.norm()


def test_a_backbone_that_ignores_positions_reads_one_by_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = tiny_uniconv()
    base = model.lm.base_model
    forward = base.forward

    def deaf(**options: Any) -> Any:
        options.pop("position_ids", None)
        return forward(**options)

    base.forward = deaf
    expected = np.stack([model.read(context).embedding for context in CONTEXTS])
    np.testing.assert_allclose(model.encode_conversations(CONTEXTS), expected, atol=1e-5)
    assert not model.reader.reads_trees
    assert "one by one" in caplog.text


def test_a_backbone_that_refuses_masks_reads_one_by_one() -> None:
    model = tiny_uniconv()
    base = model.lm.base_model
    forward = base.forward

    def strict(**options: Any) -> Any:
        if "attention_mask" in options:
            raise ValueError("only masks of two dimensions")
        return forward(**options)

    base.forward = strict
    expected = np.stack([model.read(context).embedding for context in CONTEXTS])
    np.testing.assert_allclose(model.encode_conversations(CONTEXTS), expected, atol=1e-5)


def test_sequences_longer_than_a_sliding_window_are_read_one_by_one() -> None:
    model = tiny_uniconv("mistral")
    model.lm.config.sliding_window = 20
    reader = Reader(model.lm)
    long = [[*range(3, 43)], [*range(3, 43), 7]]
    assert len(list(reader.read(long, 10_000))) == 1
    assert sum(len(states.hidden) for states in reader.read(long, 10_000)) == 2 * 41
    assert sum(len(states.hidden) for states in reader.read([[3] * 20], 10_000)) == 20
