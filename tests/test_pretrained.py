"""What loading a model sets up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from uniconv import pretrained


@pytest.fixture
def precision() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("precision")
@pytest.mark.parametrize("intel", [True, False])
def test_faster_products_keep_the_accuracy_of_float32(
    intel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "_is_intel", lambda: intel)
    pretrained._allow_faster_matmul()
    if intel:
        assert torch.get_float32_matmul_precision() == "highest"
    a, b = torch.randn(2, 512, 512, generator=torch.Generator().manual_seed(1))
    exact = a.double() @ b.double()
    assert float(((a @ b).double() - exact).abs().max() / exact.abs().max()) < 1e-5


@pytest.mark.usefixtures("precision")
def test_products_that_lose_accuracy_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "_is_intel", lambda: False)
    tried: list[str] = []

    def rounding(precision: str) -> None:
        tried.append(precision)

    product = torch.Tensor.__matmul__

    def rough(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        exact = product(left, right)
        return (
            exact.bfloat16().float()
            if tried == ["medium"] and exact.dtype == torch.float32
            else exact
        )

    monkeypatch.setattr(torch, "set_float32_matmul_precision", rounding)
    monkeypatch.setattr(torch.Tensor, "__matmul__", rough)
    pretrained._allow_faster_matmul()
    assert tried == ["medium", "highest"]
