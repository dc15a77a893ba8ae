from __future__ import annotations

import pytest
import torch
from torch import nn

from tiny import FAMILIES, tiny_uniconv
from uniconv.engine import kernels

FBGEMM = "fbgemm" in torch.backends.quantized.supported_engines
needs_fbgemm = pytest.mark.skipif(not FBGEMM, reason="this build of torch lacks FBGEMM")


@pytest.fixture
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_LARGE", 1)


@needs_fbgemm
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tokens", [1, 5, 40])
def test_results_are_the_same_and_everything_can_be_put_back(
    family: str, tokens: int, everything_is_large: None
) -> None:
    lm = tiny_uniconv(family).lm
    lm.to(torch.bfloat16).to(torch.float32)
    ids = torch.randint(3, 60, (1, tokens))
    with torch.inference_mode():
        expected = lm(ids).logits
        installed = kernels.Kernels(lm)
        replaced = [module for module in lm.modules() if "forward" in module.__dict__]
        torch.testing.assert_close(lm(ids).logits, expected, atol=2e-5, rtol=1e-4)
        installed.remove()
        assert torch.equal(lm(ids).logits, expected)
    linears = [module for module in replaced if isinstance(module, nn.Linear)]
    assert installed.nbytes == sum(2 * linear.weight.numel() for linear in linears) > 0
    assert (family == "gpt2") != any("Norm" in type(module).__name__ for module in replaced)
    assert not any("forward" in module.__dict__ for module in lm.modules())


@needs_fbgemm
def test_weights_that_would_lose_precision_stay_as_they_are(everything_is_large: None) -> None:
    linear = nn.Linear(8, 8)
    kernels.Kernels(linear)
    assert "forward" not in linear.__dict__


@needs_fbgemm
def test_a_bias_is_added_and_gradients_go_the_usual_way(everything_is_large: None) -> None:
    linear = nn.Linear(16, 8).to(torch.bfloat16).to(torch.float32)
    rows = torch.randn(3, 16)
    expected = linear(rows)
    kernels.Kernels(linear)
    linear(rows).sum().backward()
    assert linear.weight.grad is not None
    with torch.no_grad():
        torch.testing.assert_close(linear(rows), expected)
        linear.weight.zero_()  # the packed copy is what is used
        torch.testing.assert_close(linear(rows), expected)


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
