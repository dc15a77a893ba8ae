"""Packed weights give the same results in half the memory, and come back unharmed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tiny import FAMILIES, tiny_uniconv
from uniconv.engine import kernels
from uniconv.errors import ModelError

FBGEMM = "fbgemm" in torch.backends.quantized.supported_engines
needs_fbgemm = pytest.mark.skipif(not FBGEMM, reason="this build of torch lacks FBGEMM")


@pytest.fixture
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_LARGE", 1)


@needs_fbgemm
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tokens", [1, 5, 40])
@pytest.mark.parametrize("tied", [True, False])
def test_results_are_the_same_and_everything_can_be_put_back(
    family: str, tokens: int, tied: bool, everything_is_large: None
) -> None:
    lm = tiny_uniconv(family).lm
    if not tied:
        lm.lm_head.weight = nn.Parameter(lm.lm_head.weight.detach().clone())
    lm.to(torch.bfloat16).to(torch.float32)
    ids = torch.randint(3, 60, (1, tokens))
    before = {name: one.clone() for name, one in lm.state_dict().items()}
    with torch.inference_mode():
        expected = lm(ids).logits
        installed = kernels.Kernels(lm)
        replaced = [module for module in lm.modules() if "forward" in module.__dict__]
        torch.testing.assert_close(lm(ids).logits, expected, atol=2e-5, rtol=1e-4)
        installed.remove()
        assert torch.equal(lm(ids).logits, expected)
    assert (family == "gpt2") != any("Norm" in type(module).__name__ for module in replaced)
    assert sum(isinstance(module, nn.Linear) for module in replaced) >= 1
    assert any(isinstance(module, nn.Embedding) for module in replaced)
    assert not any("forward" in module.__dict__ for module in lm.modules())
    for name, one in lm.state_dict().items():
        assert torch.equal(one, before[name]), name


@needs_fbgemm
def test_a_packed_matrix_takes_half_the_memory(everything_is_large: None) -> None:
    linear = nn.Linear(64, 128, bias=False).to(torch.bfloat16).to(torch.float32)
    installed = kernels.Kernels(linear)
    assert installed.weight_bytes == 2 * 64 * 128 + linear.weight.itemsize
    assert linear.weight.shape == (128, 64)
    installed.remove()
    assert installed.weight_bytes == 4 * 64 * 128


@needs_fbgemm
def test_values_that_float16_rounds_come_back_as_they_were(everything_is_large: None) -> None:
    linear = nn.Linear(8, 8).to(torch.bfloat16).to(torch.float32)
    with torch.no_grad():
        linear.weight[3, 4] = 2.0**-30
    exact = linear.weight.detach().clone()
    installed = kernels.Kernels(linear)
    assert "forward" in linear.__dict__
    installed.remove()
    assert torch.equal(linear.weight, exact)


@needs_fbgemm
def test_weights_that_would_lose_precision_stay_as_they_are(everything_is_large: None) -> None:
    linear = nn.Linear(8, 8)
    kernels.Kernels(linear)
    assert "forward" not in linear.__dict__


@needs_fbgemm
def test_a_bias_is_added_and_training_is_refused(everything_is_large: None) -> None:
    linear = nn.Linear(16, 8).to(torch.bfloat16).to(torch.float32)
    rows = torch.randn(3, 16)
    expected = linear(rows).detach()
    installed = kernels.Kernels(linear)
    with torch.no_grad():
        torch.testing.assert_close(linear(rows), expected)
        assert linear(rows.bfloat16()).dtype == torch.bfloat16
    with pytest.raises(ModelError, match="close it before training"):
        linear(rows)
    assert linear.weight.isnan().all()
    installed.remove()
    linear(rows).sum().backward()
    assert linear.weight.grad is not None


def test_small_matrices_are_left_alone() -> None:
    linear = nn.Linear(8, 8).to(torch.bfloat16).to(torch.float32)
    kernels.Kernels(linear)
    assert "forward" not in linear.__dict__


def test_the_precision_of_products_is_the_highest_until_the_kernels_are_removed() -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        installed = kernels.Kernels(nn.Linear(8, 8))
        assert torch.get_float32_matmul_precision() == "highest"
        installed.remove()
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
