"""Every way of attention lets a node see what the layout of its tree says."""

from __future__ import annotations

import shutil

import pytest
import torch
from hypothesis import given
from torch._dynamo.utils import counters
from torch.nn.attention.flex_attention import create_mask
from transformers.integrations import flex_attention

from test_tree import WALLED
from tiny import FAMILIES, tiny_uniconv
from uniconv.attention import blocks, segments
from uniconv.tree import Tree, grow, packed


def trees_of(sequences: list[tuple[list[int], int]], budget: int = 1000) -> list[Tree]:
    return grow([one for one, _ in sequences], budget, 1, [wall for _, wall in sequences])


@given(WALLED)
def test_segments_answer_every_node_by_what_it_may_see(
    sequences: list[tuple[list[int], int]],
) -> None:
    trees = trees_of(sequences, budget=12)
    visible = packed(trees).visible()[0, 0]
    found = segments(trees, torch.device("cpu"))
    assert found.queries[found.answers].tolist() == list(range(len(visible)))
    seen: list[list[int]] = []
    for asking, keys in zip(found.asking, found.keys.split(found.lengths), strict=True):
        first = len(keys) - asking + 1
        seen += [sorted(keys[:end].tolist()) for end in range(first, len(keys) + 1)]
    for node, answer in enumerate(found.answers):
        assert seen[answer] == visible[node].nonzero().flatten().tolist()


@pytest.mark.parametrize("seed", range(3))
def test_blocks_are_the_same_mask(seed: int) -> None:
    torch.manual_seed(seed)
    sequences = [
        (torch.randint(0, 3, (int(length),)).tolist(), int(wall))
        for length, wall in zip(torch.randint(5, 60, (9,)), torch.randint(0, 5, (9,)), strict=True)
    ]
    layout = packed(trees_of(sequences), multiple=128)
    length = layout.ids.shape[1]
    mask = create_mask(blocks(layout).mask.mask_mod, None, None, length, length, device="cpu")
    assert torch.equal(mask, layout.visible())


@pytest.mark.skipif(shutil.which("c++") is None, reason="flex_attention is compiled")
@pytest.mark.parametrize("family", FAMILIES)
def test_one_kernel_of_flex_attention_gives_the_same_states(family: str) -> None:
    reader = tiny_uniconv(family).reader
    trees = trees_of([([5, *range(3, 40)], 0), ([5, *range(3, 30), 7, 9, 8], 28), ([6, 4], 0)])
    with torch.no_grad():
        flex = reader._pass(trees, "flex")
        expected = reader._pass(trees, "segments")
    for one, other in zip(flex.paths, expected.paths, strict=True):
        torch.testing.assert_close(flex.hidden[one], expected.hidden[other], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_ordinary_passes_are_those_of_sdpa(family: str) -> None:
    model = tiny_uniconv(family)
    ids = torch.tensor([[5, 6, 7, 8], [9, 8, 3, 3]])
    mask = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1]])
    with torch.no_grad():
        expected = model.lm(input_ids=ids, attention_mask=mask).logits
        assert model.reader.way == "segments"
        assert model.lm.config._attn_implementation == "uniconv"
        assert torch.equal(model.lm(input_ids=ids, attention_mask=mask).logits, expected)


def test_flex_attention_is_not_compiled_for_each_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond PyTorch's limit of compilations it would compute all pairs."""
    compiled = torch.compile(flex_attention.flex_attention, backend="eager")

    def attend(*tensors: torch.Tensor, training: bool, **options: object) -> torch.Tensor:
        del training
        return compiled(*tensors, **options)

    monkeypatch.setattr(flex_attention, "compile_friendly_flex_attention", attend)
    reader = tiny_uniconv().reader
    torch._dynamo.reset()
    counters.clear()
    with torch.no_grad():
        for blocks in range(1, 13):
            trees = trees_of([(list(range(3, 103)), 0)]) * blocks
            assert reader._pass(trees, "flex").hidden.shape[0] == -(-100 * blocks // 128) * 128
    assert counters["stats"]["unique_graphs"] <= 3


def test_flex_attention_gets_one_dtype_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotary positions leave a float32 model's queries and keys in float32, but not its values."""
    dtypes: list[torch.dtype] = []

    def look(*tensors: torch.Tensor, **_: object) -> torch.Tensor:
        dtypes.extend(tensor.dtype for tensor in tensors)
        return tensors[0]

    monkeypatch.setattr(flex_attention, "compile_friendly_flex_attention", look)
    reader = tiny_uniconv().reader
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        reader._pass(trees_of([([5, 6, 7, 9], 0), ([5, 6, 8], 0)]), "flex")
    assert len(dtypes) == 6 and set(dtypes) == {torch.bfloat16}
