from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from tiny import FAMILIES, tiny_uniconv
from uniconv.engine.kv import KVBuffer
from uniconv.engine.ragged import Chunk, run
from uniconv.model import UniConv

CUTS = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5), min_size=1, max_size=4)


def sliding() -> UniConv:
    """A model of which layers see eight tokens back."""
    tiny = tiny_uniconv("mistral")
    config = copy.deepcopy(tiny.lm.config)
    config.sliding_window = 8
    torch.manual_seed(0)
    lm = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    return UniConv(lm, tiny.tokenizer, tiny.template)


@pytest.mark.parametrize("family", [*FAMILIES, "sliding"])
@settings(max_examples=5, deadline=None)
@given(cuts=CUTS, seed=st.integers(0, 99))
def test_chunks_of_many_sequences_have_the_states_of_each_alone(
    family: str, cuts: list[list[int]], seed: int
) -> None:
    model = sliding() if family == "sliding" else tiny_uniconv(family)
    chance = torch.Generator().manual_seed(seed)
    sequences = [torch.randint(3, 60, (sum(parts),), generator=chance).tolist() for parts in cuts]
    buffers = [KVBuffer() for _ in sequences]
    states: list[list[torch.Tensor]] = [[] for _ in sequences]
    for step in range(max(map(len, cuts))):
        going = [row for row, parts in enumerate(cuts) if step < len(parts)]
        chunks = []
        for row in going:
            start = buffers[row].length
            chunks.append(Chunk(buffers[row], sequences[row][start : start + cuts[row][step]]))
        for row, found in zip(going, run(model, chunks), strict=True):
            states[row].append(found)
    for sequence, found, kv in zip(sequences, states, buffers, strict=True):
        with torch.no_grad():
            expected = model.lm.base_model(torch.tensor([sequence])).last_hidden_state[0]
        torch.testing.assert_close(torch.cat(found), expected, atol=2e-5, rtol=1e-4)
        assert kv.length == len(sequence)


def test_what_was_cropped_is_written_over() -> None:
    model = tiny_uniconv()
    kv = KVBuffer()
    run(model, [Chunk(kv, [5, 6, 7, 8, 9])])
    kv.crop(3)
    (found,) = run(model, [Chunk(kv, [11, 12])])
    (expected,) = run(model, [Chunk(KVBuffer(), [5, 6, 7, 11, 12])])
    torch.testing.assert_close(found, expected[3:], atol=2e-5, rtol=1e-4)
